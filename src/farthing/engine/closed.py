"""Coroutines and generators that are closed while a call of theirs is under way.

Mostly by a garbage collection, of a task that was dropped with its loop: on any thread, between any two
instructions, under any lock, also on the thread that others wait for. Python throws GeneratorExit into it
then; what awaits, or waits, is lost ("coroutine ignored GeneratorExit", or a thread that waits for itself).
So nothing is waited for there: what cannot be booked at once is put into a queue.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from farthing.engine.grouped import at_once, can_be_grouped
from farthing.errors import LedgerLocked
from farthing.loops import task_here

if TYPE_CHECKING:
    from farthing.engine.core import Engine

__all__ = ["Driven", "closes", "is_below", "later", "promptly", "refuse_below", "soon"]


class Driven:
    """Who drives a coroutine: made at its start, to tell of an error whether it is being closed."""

    __slots__ = ("_handled", "_task")

    def __init__(self) -> None:
        self._task = task_here()
        self._handled = id(sys.exception())  # by the caller: it says nothing of what comes

    def elsewhere(self) -> bool:
        """Whether another task, or none, runs it now: only who closes it does."""
        return task_here() != self._task

    def closed_by(self, error: BaseException) -> bool:
        """Whether `error` came of closing it, though code on the way may have made something else of it:
        what awaits in its `finally` gives a RuntimeError, which knows nothing of its cause."""
        return closes(error, self._handled) or self.elsewhere()


def closes(error: BaseException | None, but: int = 0) -> bool:
    """Whether an error is GeneratorExit, or was raised while that was handled; not before the one whose id
    is `but`."""
    seen: set[int] = set()
    while error is not None and id(error) != but and id(error) not in seen:
        if isinstance(error, GeneratorExit):
            return True
        seen.add(id(error))
        error = error.__context__
    return False


def is_below(engine: Engine) -> bool:
    """Whether a collection, or a signal, has made the thread that all wait for run this: it must not wait."""
    here = engine.courier._thread is threading.current_thread()  # noqa: SLF001  one room
    return here or engine.writing_here()


def refuse_below(engine: Engine) -> None:
    """To be asked before the ledger is.

    Raises:
        LedgerLocked: if it would be waited for by the very thread that has to answer.
    """
    if is_below(engine):
        raise LedgerLocked("the ledger is being written by this very thread, below us")


def later(engine: Engine, end: Callable[[], Any]) -> None:
    """Have the end of a call booked: `end` gives it, or does it itself. Nothing is waited for, nor locked,
    unless the process has ended its threads, or the engine is closed: nobody looks into the queue then."""
    if engine._keeper is None or engine.courier._stopped:  # noqa: SLF001  one room
        engine.courier.post(lambda: engine.book_left(end))
    else:
        engine.leave(end)


def soon(engine: Engine, end: Callable[[], Any]) -> None:
    """The same for what is closed in a thread, mostly by who read it: the row is there when `close` returns,
    unless that thread must not wait."""
    if is_below(engine):
        later(engine, end)
    else:
        engine.book_left(end)


def promptly(engine: Engine, end: Callable[[], Any]) -> None:
    """The same in a loop, for what another task closes than began it: nobody may wait there, so what cannot
    be written at once is queued."""
    if is_below(engine):
        later(engine, end)
        return
    want = end()
    if want is not None and not (can_be_grouped(want) and at_once(engine, [want]) is not None):
        later(engine, lambda: want)
