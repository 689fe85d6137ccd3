"""The logger, and a way to say each thing once per process."""

from __future__ import annotations

import logging
import sys
import threading

from farthing.forks import renewed_in_children

__all__ = ["logger", "say_once"]

logger = logging.getLogger("farthing")

_said: set[tuple[str, ...]] = set()
_lock = threading.Lock()
renewed_in_children(sys.modules[__name__], _lock=threading.Lock)


def say_once(key: tuple[str, ...], level: int, message: str, *args: object, exc: bool = False) -> None:
    """Log `message` unless this process has logged something under `key` before; `exc` adds the traceback."""
    with _lock:
        if key in _said:
            return
        if len(_said) > 10_000:  # keys carry names of users' models: bounded all the same
            _said.clear()
        _said.add(key)
    logger.log(level, message, *args, exc_info=exc)
