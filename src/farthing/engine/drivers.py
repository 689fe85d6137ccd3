"""The two colours of a call's life: each does what the generator wishes, and tells it what came of it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any

from farthing.engine.call import Call, Settle
from farthing.engine.closed import Driven, is_below, later, refuse_below
from farthing.engine.core import Engine
from farthing.engine.life import Send
from farthing.engine.process import at_exit
from farthing.ledger.store import Grant, Reservation
from farthing.struck import was_struck

__all__ = ["adrive", "drive"]


class _Course:
    """How far a call has come, so that its hold ends with it wherever an interrupt strikes.

    A signal handler may raise between any two steps of this very code: what was asked of the ledger may be
    committed although no answer arrived.
    """

    __slots__ = ("_call", "_engine", "asked", "closed", "ended")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.asked: str | None = None  # the id of a call that may be held and has not been sent
        self._call: Call | None = None  # one that has been sent
        self.ended = False  # and that was booked
        self.closed = False  # its coroutine: nothing may be waited for

    def sends(self, call: Call | None) -> None:
        """The request is about to be sent; without a call nothing will book it."""
        if call is None:
            self.give_up()
        self.asked, self._call = None, call

    def failed(self, error: BaseException) -> None:
        """`error` came instead of what was wished."""
        if self.asked is not None and not was_struck(error):  # the ledger said that it has written nothing
            self.asked = None

    def give_up(self) -> None:
        """Nothing was sent, and nothing will be."""
        asked, self.asked = self.asked, None
        if asked is not None and self.closed:
            later(self._engine, partial(self._engine.give_up, asked))
        elif asked is not None:
            self._engine.give_up(asked)

    def broken(self, error: BaseException, *, hurry: bool) -> None:
        """`error` leaves the driver: what is not booked yet is booked now, or soon if nobody may wait."""
        call, self._call = self._call, None
        if call is None:
            self.give_up()
        elif not self.ended and self.closed:
            later(self._engine, partial(call.rescue, error))
        elif not self.ended:
            self._engine.rescue(call, error, hurry=hurry)


_suspended: dict[int, _Course] = {}
"""What is under way in coroutines."""


@at_exit
def _at_exit() -> None:
    """They will neither go on nor be closed while anybody can book. Asked before the engines are, which were
    imported first; what is posted here they do."""
    for course in list(_suspended.values()):
        try:
            course.broken(GeneratorExit(), hurry=False)
        except Exception:
            Engine.bug("booking a call at the exit")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_suspended.clear)  # they are the parent's


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
                elif kind is Settle:
                    engine.settle(want)
                    got, course.ended = None, True
                else:
                    got = engine.perform(want)
            except BaseException as error:
                course.closed = isinstance(error, GeneratorExit)
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
    course, driven = _Course(engine), Driven()
    _suspended[id(course)] = course
    try:
        want = next(steps)
        while True:
            try:
                kind = type(want)
                if kind is Reservation:
                    course.asked = want.id
                    refuse_below(engine)
                    got = await engine.aperform(want)
                    if type(got) is not Grant:
                        course.asked = None
                elif kind is Send:
                    course.sends(want.call)
                    got = await send(want)
                elif kind is Settle and is_below(engine):
                    later(engine, partial(_given, want))
                    got, course.ended = None, True
                else:
                    got = await engine.aperform(want)
                    if kind is Settle:
                        course.ended = True
            except BaseException as error:
                if driven.closed_by(error):
                    course.closed = True
                    steps.close()
                    raise
                course.failed(error)
                want = steps.throw(error)
            else:
                want = steps.send(got)
    except StopIteration as stop:
        return stop.value
    except BaseException as error:
        course.broken(error, hurry=True)
        raise
    finally:
        _suspended.pop(id(course), None)


def _given(want: Settle) -> Settle:
    return want
