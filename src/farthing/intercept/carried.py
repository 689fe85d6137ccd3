"""What runs in the frame of a scope, though it is called, awaited or resumed outside of it."""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from types import CoroutineType
from typing import Any, Final

from farthing.settings import Frame, current, is_within, leave

__all__ = ["ONE", "async_generator", "awaits", "coroutine", "function", "generator", "runner"]


def _references() -> int:
    made = object()
    return sys.getrefcount(made)


ONE: Final = _references()
"""References to what one local variable holds, as `sys.getrefcount` tells them: 2, and 1 in Python 3.14."""


def runner(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Which of the four below runs a function of this kind."""
    if inspect.isasyncgenfunction(fn):
        return async_generator
    if inspect.iscoroutinefunction(fn):
        return coroutine
    if inspect.isgeneratorfunction(fn):
        return generator
    return function


def function(frame: Frame, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """`fn`, called in the frame; a coroutine that it returns, and nobody else holds, is awaited in it."""
    token = current.set(frame)
    try:
        made = fn(*args, **kwargs)
    finally:
        leave(frame, token)
    if isinstance(made, CoroutineType) and sys.getrefcount(made) <= ONE:
        return awaits(made, coroutine(frame, _giving(made)))
    return made


def _giving(made: CoroutineType[Any, Any, Any]) -> Callable[[], Any]:
    return lambda: made  # here: in `function` it would make of the variable another kind


async def coroutine(frame: Frame, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """What `fn` returns, awaited in the frame."""
    token = current.set(frame)
    try:
        return await fn(*args, **kwargs)
    finally:
        leave(frame, token)


def generator(frame: Frame, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
    """The generator that `fn` returns. Each step runs in the frame, or in the scope inside of it in which the
    last step ended; between the steps there is what the caller has."""
    made, inside = fn(*args, **kwargs), frame
    step, value = made.send, None
    while True:
        token = current.set(inside)
        try:
            item = step(value)
        except StopIteration as stop:
            return stop.value
        finally:
            inside = _innermost(frame)
            leave(frame, token)
        try:
            value, step = (yield item), made.send
        except GeneratorExit:
            token = current.set(inside)
            try:
                made.close()
            finally:
                leave(frame, token)
            raise
        except BaseException as error:
            value, step = error, made.throw


async def async_generator(
    frame: Frame, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> AsyncGenerator[Any, Any]:
    """The same for an asynchronous one."""
    made, inside = fn(*args, **kwargs), frame
    step, value = made.asend, None
    while True:
        token = current.set(inside)
        try:
            item = await step(value)
        except StopAsyncIteration:
            return
        finally:
            inside = _innermost(frame)
            leave(frame, token)
        try:
            value, step = (yield item), made.asend
        except GeneratorExit:
            token = current.set(inside)
            try:
                await made.aclose()
            finally:
                leave(frame, token)
            raise
        except BaseException as error:
            value, step = error, made.athrow


def awaits(made: CoroutineType[Any, Any, Any], around: Any, dropped: Callable[[], None] | None = None) -> Any:
    """The coroutine `around`, which awaits `made`, under the name of that. If it is dropped before it has
    started, as by a task that is cancelled at once, `made` is closed, so that Python warns of one coroutine
    and not of two, and `dropped` is called: perhaps by a collection."""
    around.__name__, around.__qualname__ = made.__name__, made.__qualname__
    weakref.finalize(around, _ended, made, dropped).atexit = False
    return around


def _ended(made: CoroutineType[Any, Any, Any], dropped: Callable[[], None] | None) -> None:
    if inspect.getcoroutinestate(made) == inspect.CORO_CREATED:
        made.close()
        if dropped is not None:
            dropped()


def _innermost(frame: Frame) -> Frame:
    """The scope inside of the frame that is in force here, else the frame."""
    here = current.get()
    return here if here is not None and is_within(frame) else frame
