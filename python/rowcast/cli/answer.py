"""What a command answers: the same for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """``text`` for people, ``data`` for ``--json``."""

    text: str
    data: Any
