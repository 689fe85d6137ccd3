"""The two colours of a call's life: each does what the generator wishes, and tells it what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any

from farthing.engine.core import Engine
from farthing.engine.life import Send
from farthing.ledger.store import Grant

__all__ = ["adrive", "drive"]


def drive(engine: Engine, steps: Generator[Any, Any, Any], send: Callable[[Send], Any]) -> Any:
    """Drive a call from a thread."""
    grant: Grant | None = None  # of a call that has not been sent, and so is nobody's to settle
    try:
        want = next(steps)
        while True:
            try:
                if type(want) is Send:
                    if grant is not None and want.call is None:
                        engine.orphaned(grant)
                    grant = None
                    got = send(want)
                else:
                    got = engine.perform(want)
                    if type(got) is Grant:
                        grant = got
            except BaseException as error:
                want = steps.throw(error)
            else:
                want = steps.send(got)
    except StopIteration as stop:
        return stop.value
    except BaseException:
        if grant is not None:
            engine.orphaned(grant)
        raise


async def adrive(
    engine: Engine, steps: Generator[Any, Any, Any], send: Callable[[Send], Awaitable[Any]]
) -> Any:
    """Drive a call from a coroutine."""
    grant: Grant | None = None  # as above
    try:
        want = next(steps)
        while True:
            try:
                if type(want) is Send:
                    if grant is not None and want.call is None:
                        engine.orphaned(grant)
                    grant = None
                    got = await send(want)
                else:
                    got = await engine.aperform(want)
                    if type(got) is Grant:
                        grant = got
            except BaseException as error:
                want = steps.throw(error)
            else:
                want = steps.send(got)
    except StopIteration as stop:
        return stop.value
    except BaseException:
        if grant is not None:
            engine.orphaned(grant)
        raise
