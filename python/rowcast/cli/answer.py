"""What a command answers: the same for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """``text`` for people, ``data`` for ``--json``; not ``ok`` when it is bad news (exit code 1)."""

    text: str
    data: Any
    ok: bool = True
