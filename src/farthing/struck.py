"""Exceptions that a signal handler raised, which are the program's own wherever they strike.

Python runs signal handlers on the main thread, between two instructions of whatever runs there. What one
raises, such as the soft time limit of a task queue, comes out of code that knows nothing of it, and is mostly
an `Exception`; a timeout by alarm is even an `OSError`. Taken for the error of a ledger, or for a bug, it
would be lost, and so would be what is known of a write: it may have been committed.
"""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any, Final

__all__ = ["pass_on", "was_struck"]

_MOST: Final = 500
"""Frames that are looked at: a recursion without end is nobody's signal."""


def was_struck(error: BaseException) -> bool:
    """Whether an error came from outside of the code that raised it: it is no `Exception`, as
    `KeyboardInterrupt` and a task's cancellation are none, or it was raised in a signal handler, whose frame
    is in its traceback then."""
    if not isinstance(error, Exception):
        return True
    if threading.current_thread() is not threading.main_thread():
        return False
    try:
        registered = set(_registered())
        return any(frame.f_code in registered or _is_handler(frame) for frame in _frames(error))
    except Exception:  # noqa: BLE001  of a handler's own attributes
        return False


def pass_on(error: BaseException | None) -> None:
    """Raise an error of a signal handler as it is. To be asked by whoever makes something else of an
    `Exception`."""
    if isinstance(error, Exception) and was_struck(error):
        try:
            raise error
        finally:
            del error  # it would keep this frame alive, and those of the caller with it


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Those below the one that caught it, which have ended."""
    step = error.__traceback__
    for _ in range(_MOST):
        step = None if step is None else step.tb_next
        if step is None:
            return
        yield step.tb_frame


def _registered() -> Iterator[CodeType]:
    """The code of the handlers that are registered now."""
    for number in range(1, signal.NSIG):
        handler: Any = signal.getsignal(number)
        if not callable(handler):
            continue
        while isinstance(handler, partial):
            handler = handler.func
        if not inspect.isroutine(handler):
            handler = type(handler).__call__
        code = getattr(getattr(handler, "__func__", handler), "__code__", None)
        if code is not None:
            yield code


def _is_handler(frame: FrameType) -> bool:
    """Whether it was called as a handler is, with a signal and the frame below which it runs: one that is not
    registered any more, or that a decorator hides."""
    below, code = frame.f_back, frame.f_code
    given = code.co_argcount + bool(code.co_flags & inspect.CO_VARARGS)
    if below is None or not given:
        return False
    names = code.co_varnames
    values = [frame.f_locals.get(name) for name in names[: code.co_argcount]]
    if code.co_flags & inspect.CO_VARARGS:
        values += frame.f_locals.get(names[code.co_argcount + code.co_kwonlyargcount], ())
    return any(isinstance(number, int) and value is below for number, value in pairwise(values))
