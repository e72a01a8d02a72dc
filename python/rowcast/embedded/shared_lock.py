"""Counts a folder's users: a file lock that processes share, and that the system releases when a process dies.

Users hold it shared while they live. A process that starts or stops the server holds a second, exclusive lock, so no
process joins a server that is about to stop.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from rowcast.errors import ConfigurationError


class SharedLock:
    """One process's part in the lock at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fcntl = _fcntl()
        self._held: int | None = None

    @property
    def is_shared(self) -> bool:
        return self._held is not None

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Be the only one who starts or stops anything. Waits for others."""
        descriptor = _open(self._path.with_suffix(".change"))
        try:
            self._fcntl.flock(descriptor, self._fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def share(self) -> None:
        """Become a user. Called inside `changing`."""
        self._held = _open(self._path)
        self._fcntl.flock(self._held, self._fcntl.LOCK_SH)

    def leave(self) -> bool:
        """Stop being a user; True if no other process is one. Called inside `changing`."""
        if self._held is None:
            return False
        descriptor, self._held = self._held, None
        try:
            self._fcntl.flock(descriptor, self._fcntl.LOCK_EX | self._fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)


def _open(path: Path) -> int:
    # Close-on-exec, as Python opens all files: the server that we start must not inherit our share.
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _fcntl() -> ModuleType:
    try:
        import fcntl  # noqa: PLC0415 (absent on Windows, where only the embedded server is out of reach)
    except ImportError:
        raise ConfigurationError(
            "the embedded PostgreSQL needs Linux or macOS; set ROWCAST_DATABASE_URL to a server of yours",
            code="EMBEDDED_UNAVAILABLE",
        ) from None
    return fcntl
