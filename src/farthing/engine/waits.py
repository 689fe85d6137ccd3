"""How a call waits in line for money, in a thread or in a task. It holds no lock and no ledger meanwhile."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue

from farthing.guard import Line, Place
from farthing.loops import Loop, Signal, is_running, running

__all__ = ["await_turn", "wait_for_turn"]


def wait_for_turn(line: Line, place: Place) -> bool:
    """Block until it is worth trying again; False if the time is up.

    Never where an event loop runs: those who could give the money back may be its tasks.
    """
    if is_running():
        return False
    bell: SimpleQueue[None] = SimpleQueue()  # may be rung by a finalizer, which must not need a lock
    place.wake = lambda: bell.put(None)
    try:
        while place.left() > 0:
            if line.may_try(place):
                return True
            nap = place.nap()
            try:
                bell.get(timeout=nap)
            except Empty:
                place.napped(nap)
                if line.is_first(place):
                    return place.left() > 0
        return False
    finally:
        place.sleeps()


async def await_turn(line: Line, place: Place) -> bool:
    """The same from a coroutine; the loop goes on."""
    loop = running()
    try:
        while place.left() > 0:
            bell = _Bell(loop, place)
            # Weakly: who stands in line must not keep the task of a dropped loop from being collected.
            place.wake = _weakly(bell)
            if line.may_try(place):
                return True
            nap = place.nap()
            if await bell.within(nap):
                continue
            place.napped(nap)
            if line.is_first(place):
                return place.left() > 0
        return False
    finally:
        place.sleeps()


class _Bell:
    """Wakes one task, from any thread."""

    __slots__ = ("__weakref__", "_loop", "_overslept", "_place", "_rung")

    def __init__(self, loop: Loop, place: Place) -> None:
        self._loop = loop
        self._place = place
        self._rung = loop.create_future()
        self._overslept = False

    def ring(self) -> None:
        try:
            self._loop.call_soon_threadsafe(_set, self._rung)
        except RuntimeError:  # the loop has ended, and with it whoever waited
            self._place.until(0)

    def oversleep(self) -> None:
        self._overslept = True
        self.ring()

    async def within(self, seconds: float) -> bool:
        """Wait until it rings; False if it had not after so long."""
        if isinstance(self._loop, asyncio.AbstractEventLoop):
            alarm: asyncio.TimerHandle | threading.Timer = self._loop.call_later(seconds, self.oversleep)
        else:
            alarm = threading.Timer(seconds, self.oversleep)
            alarm.daemon = True
            alarm.start()
        try:
            await self._rung
        finally:
            alarm.cancel()
        return not self._overslept


def _weakly(bell: _Bell) -> Callable[[], None]:
    found = weakref.ref(bell)

    def ring() -> None:
        alive = found()
        if alive is not None:
            alive.ring()

    return ring


def _set(rung: Signal) -> None:
    if not rung.done():
        rung.set_result(None)
