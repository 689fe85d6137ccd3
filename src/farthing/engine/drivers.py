"""The two colours of a call's life: each does what the generator wishes, and tells it what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any

from farthing.engine.core import Engine
from farthing.engine.life import Send

__all__ = ["adrive", "drive"]


def drive(engine: Engine, steps: Generator[Any, Any, Any], send: Callable[[Send], Any]) -> Any:
    """Drive a call from a thread."""
    try:
        want = next(steps)
        while True:
            try:
                got = send(want) if type(want) is Send else engine.perform(want)
            except BaseException as error:  # noqa: BLE001  the generator decides what becomes of it
                want = steps.throw(error)
            else:
                want = steps.send(got)
    except StopIteration as stop:
        return stop.value


async def adrive(
    engine: Engine, steps: Generator[Any, Any, Any], send: Callable[[Send], Awaitable[Any]]
) -> Any:
    """Drive a call from a coroutine."""
    try:
        want = next(steps)
        while True:
            try:
                got = await send(want) if type(want) is Send else await engine.aperform(want)
            except BaseException as error:  # noqa: BLE001  the generator decides what becomes of it
                want = steps.throw(error)
            else:
                want = steps.send(got)
    except StopIteration as stop:
        return stop.value
