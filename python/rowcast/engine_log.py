"""Writes the engine's log lines to ``logging``: ``rowcast.engine``, ``rowcast.engine.capture`` etc.

The engine puts its lines on a bounded list and rings a loop, as it does for everything; nothing of it waits for a
handler. There is one list for the process: with several managers the first to wake logs a line. Without a
running manager lines wait until `drain_log` is called.

A starting manager and `drain_log` set the engine's level from the loggers; lines below it cost nothing.
"""

from __future__ import annotations

import logging
import sys
import traceback

from rowcast._engine import set_log_level, take_log

LOG_LINES = 2**64 - 1
LINES_PER_TURN = 128
_NAME = "rowcast.engine"
_LEVEL_MAX = 255

_log = logging.getLogger(_NAME)


def drain_log() -> int:
    """Hand the engine's waiting lines to ``logging``, and let it write from now on what its loggers' levels ask for.

    A running manager does the first by itself. Call this where a `SubscriptionExecutor` is used without one, or after a
    change of levels. May be called from any thread.

    Returns:
        How many lines there were.
    """
    ask_level()
    told = 0
    while lines := tell_lines():
        told += lines
    return told


def ask_level() -> None:
    """The lowest of the levels of ``rowcast.engine`` and of its rooms' loggers, as they are now."""
    known = [logger for name, logger in list(logging.root.manager.loggerDict.items()) if name.startswith(f"{_NAME}.")]
    loggers = [_log, *(logger for logger in known if isinstance(logger, logging.Logger))]
    level = min(logger.getEffectiveLevel() for logger in loggers)
    set_log_level(max(0, min(level, _LEVEL_MAX)))


def tell_lines() -> int:
    """As many of the waiting lines as one turn of a loop has time for; how many. Does not raise."""
    lost, lines = take_log(LINES_PER_TURN)
    if lost:
        _log.warning("dropped %d engine log lines: they arrived faster than they were read", lost)
    for line in lines:
        try:
            _tell(*line)
        except Exception:
            _complain()
    return len(lines)


class LogLines:
    """Whom a loop's bridge wakes when lines wait; what is left over rings again."""

    def wake(self) -> None:
        tell_lines()


def _tell(level: int, name: str, text: str, at: float, file: str, line: int) -> None:
    """The time is the engine's: the line may have waited."""
    logger = logging.getLogger(name)
    if logger.isEnabledFor(level):
        record = logger.makeRecord(name, level, file, line, text, (), None)
        record.relativeCreated += (at - record.created) * 1000
        record.created = at
        record.msecs = float(int(at % 1 * 1000))
        logger.handle(record)


def _complain() -> None:
    """What ``logging`` does when a handler fails; here it was a filter, or a handler that raises."""
    if logging.raiseExceptions and sys.stderr is not None:
        traceback.print_exc()
