"""The two colours of a call's life: each does what the generator wishes, and tells it what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any

from farthing.engine.call import Call, Settle
from farthing.engine.core import Engine
from farthing.engine.life import Send
from farthing.ledger.store import Grant, Reservation

__all__ = ["adrive", "drive"]


class _Course:
    """How far a call has come, so that its hold ends with it wherever an interrupt strikes.

    A signal handler may raise between any two steps of this very code: what was asked of the ledger may be
    committed although no answer arrived.
    """

    __slots__ = ("_call", "_engine", "asked", "ended")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.asked: str | None = None  # the id of a call that may be held and has not been sent
        self._call: Call | None = None  # one that has been sent
        self.ended = False  # and that was booked

    def sends(self, call: Call | None) -> None:
        """The request is about to be sent; without a call nothing will book it."""
        if call is None:
            self.give_up()
        self.asked, self._call = None, call

    def failed(self, error: BaseException) -> None:
        """`error` came instead of what was wished."""
        if isinstance(error, Exception):  # the ledger itself said that it has written nothing
            self.asked = None

    def give_up(self) -> None:
        """Nothing was sent, and nothing will be."""
        asked, self.asked = self.asked, None
        if asked is not None:
            self._engine.give_up(asked)

    def broken(self, error: BaseException, *, hurry: bool) -> None:
        """`error` leaves the driver: what is not booked yet is booked now, or soon if nobody may wait."""
        call, self._call = self._call, None
        if call is None:
            self.give_up()
        elif not self.ended:
            self._engine.rescue(call, error, hurry=hurry)


def drive(engine: Engine, steps: Generator[Any, Any, Any], send: Callable[[Send], Any]) -> Any:
    """Drive a call from a thread."""
    course = _Course(engine)
    try:
        want = next(steps)
        while True:
            try:
                kind = type(want)
                if kind is Reservation:
                    course.asked = want.id
                    got = engine.perform(want)
                    if type(got) is not Grant:
                        course.asked = None
                elif kind is Send:
                    course.sends(want.call)
                    got = send(want)
                else:
                    got = engine.perform(want)
                    if kind is Settle:
                        course.ended = True
            except BaseException as error:
                course.failed(error)
                want = steps.throw(error)
            else:
                want = steps.send(got)
    except StopIteration as stop:
        return stop.value
    except BaseException as error:
        course.broken(error, hurry=False)
        raise


async def adrive(
    engine: Engine, steps: Generator[Any, Any, Any], send: Callable[[Send], Awaitable[Any]]
) -> Any:
    """Drive a call from a coroutine."""
    course = _Course(engine)
    try:
        want = next(steps)
        while True:
            try:
                kind = type(want)
                if kind is Reservation:
                    course.asked = want.id
                    got = await engine.aperform(want)
                    if type(got) is not Grant:
                        course.asked = None
                elif kind is Send:
                    course.sends(want.call)
                    got = await send(want)
                else:
                    got = await engine.aperform(want)
                    if kind is Settle:
                        course.ended = True
            except BaseException as error:
                course.failed(error)
                want = steps.throw(error)
            else:
                want = steps.send(got)
    except StopIteration as stop:
        return stop.value
    except BaseException as error:
        course.broken(error, hurry=True)
        raise
