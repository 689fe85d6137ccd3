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
from itertools import islice, pairwise
from types import CodeType, FrameType
from typing import Any, Final

__all__ = ["pass_on", "was_struck"]

_MOST: Final = 500
"""Frames that are looked at: a recursion without end is nobody's signal."""

_DEEPEST: Final = 5
"""Errors that were raised on top of each other."""


def was_struck(error: BaseException) -> bool:
    """Whether an error came from outside of the code that raised it: it is no `Exception`, as
    `KeyboardInterrupt` and a task's cancellation are none, or it was raised in a signal handler, whose frame
    is in its traceback then."""
    return not isinstance(error, Exception) or _struck_by(error) is not None


def pass_on(error: BaseException | None) -> None:
    """Raise an `Exception` of a signal handler as it is. To be asked by whoever makes something else of
    an `Exception`."""
    found = _struck_by(error) if isinstance(error, Exception) else None
    if found is not None:
        try:
            raise found
        finally:
            del error, found  # they would keep this frame alive, and those of the caller with it


def _struck_by(error: Exception) -> BaseException | None:
    """What a handler raised: `error` itself, or what was being handled in the same frames when another error
    came on top of it, as one does where a thread is struck while it is started."""
    if threading.current_thread() is not threading.main_thread():
        return None
    try:
        handlers = set(_registered())
        step: BaseException | None = error
        for _ in range(_DEEPEST):
            # Below the one that caught it, which goes on: they have ended.
            frames = [] if step is None else list(islice(_frames(step), 1, _MOST))
            if any(frame.f_code in handlers or _is_handler(frame) for frame in frames):
                return step
            step = None if step is None else step.__context__
            caught_by = None if step is None else next(_frames(step), None)
            if not any(frame is caught_by for frame in frames):  # but by whoever has called us
                return None
    except Exception:  # noqa: BLE001  of the attributes of somebody's handler
        return None
    return None


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Those of its traceback, the outermost first."""
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame
        step = step.tb_next


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
