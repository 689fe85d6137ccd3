"""Who brings alerts to where they are wanted: a thread for each way out that anybody wants, so that what is
slow or hangs on one holds up nothing on the other.

An alert that does not arrive is tried again, after one second, two, four, up to an hour, for three days; so
is one that was raised while no process had anybody to tell. It may arrive twice, under the same id: if a
process ends between having delivered it and having written that down, or if one attempt takes two minutes.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, NamedTuple, Protocol

from farthing.alerts.webhook import Webhook
from farthing.ledger.alerting import Channel, Due, Outbox
from farthing.ledger.store import Clock
from farthing.log import logger, say_once
from farthing.money import NANO, show
from farthing.records import Alert
from farthing.struck import pass_on

__all__ = ["Messenger"]

_SECOND: Final = 10**9
_UNDERTAKEN: Final = 120 * _SECOND
"""For how long from the start of an attempt nobody else makes one."""
_KEPT: Final = 3 * 86_400 * _SECOND
_LONGEST: Final = 3_600
_LOOK_SECONDS: Final = 15.0
"""How often a process with somebody to tell looks for alerts of processes without."""
_LEAVE_SECONDS: Final = 5.0
"""How long a program that ends waits for what is on its way. What is not delivered stays in the outbox."""


Word = Literal["look", "stop"]


class Deliver(Protocol):
    """One way out."""

    def __call__(self, alert: Alert, at_ns: int) -> None: ...


class Messenger:
    """Delivers the alerts of a ledger.

    Args:
        on_alert: called with each `Alert`, in a thread for it; a coroutine function is run there.
        webhook: each is posted to it, signed with what `secret` gives.
    """

    def __init__(
        self,
        *,
        clock: Clock = time,
        on_alert: Callable[[Alert], Any] | None = None,
        webhook: Webhook | None = None,
        secret: Callable[[], str] = str,
    ) -> None:
        self._clock = clock
        self._ways: dict[Channel, Deliver] = {}
        if on_alert is not None:
            self._ways["call"] = lambda alert, _: _call(on_alert, alert)
        if webhook is not None:
            self._ways["post"] = lambda alert, at: webhook.post(alert, secret(), at // _SECOND)
        self._outbox: Outbox | None = None
        self._running: dict[Channel, _Running] = {}
        self._starting = threading.Lock()

    def attach(self, outbox: Outbox) -> None:
        """Deliver from this outbox from now on, what has been waiting there first."""
        self._outbox = outbox
        self.wake()

    def wake(self) -> None:
        """There may be something to deliver."""
        if not self._ways or self._outbox is None:
            return
        with self._starting:
            for channel in self._ways:
                running = self._running.get(channel)
                if running is None:
                    self._start(channel)
                else:
                    running.bell.put("look")

    def _start(self, channel: Channel) -> None:
        bell: SimpleQueue[Word] = SimpleQueue()
        thread = threading.Thread(
            target=_run, args=(weakref.ref(self), channel, bell), name="farthing-alerts", daemon=True
        )
        self._running[channel] = _Running(thread, bell)  # at once: what it delivers may close this
        try:
            thread.start()
        except RuntimeError as error:  # there can be no more threads: the next alert tries again
            self._running.pop(channel, None)
            pass_on(error)
            say_once(("alerts", "thread"), logging.ERROR, "alerts cannot be delivered: %s", error)

    def tell(self) -> None:
        """Log what this process has raised, and have it delivered."""
        raised = [] if self._outbox is None else self._outbox.raised()
        for alert in raised:
            logger.warning("%s", _sentence(alert))
        if raised:
            self.wake()

    def deliver(self, *channels: Channel) -> int:
        """Deliver what is due now, in this thread, on these ways, by default on all; returns how many have
        arrived."""
        return sum(self._deliver(channel, self._ways[channel]) for channel in channels or self._ways)

    def _deliver(self, channel: Channel, way: Deliver) -> int:
        outbox = self._outbox
        if outbox is None:
            return 0
        begun = self._clock.time_ns()
        due = outbox.next_due(channel)
        if due is None or due > begun:
            return 0
        arrived = 0
        while self._outbox is outbox:
            # What fails meanwhile is due later than `begun`, so this ends; also if the clock is set back.
            now = self._clock.time_ns()
            claimed = outbox.claim(channel, min(begun, now), now + _UNDERTAKEN)
            if not claimed:
                break
            arrived += sum(self._tries(outbox, channel, way, each) for each in claimed)
        return arrived

    def _tries(self, outbox: Outbox, channel: Channel, way: Deliver, due: Due) -> bool:
        now = self._clock.time_ns()
        age = now - int(due.alert.raised_at.timestamp()) * _SECOND
        if age > _KEPT:
            logger.error("an alert could not be delivered for three days: %s", _sentence(due.alert))
            outbox.delivered(channel, due.number)
            return False
        try:
            way(due.alert, now)
        except BaseException as error:  # noqa: BLE001  of the user's function, or of the network
            say_once(
                ("alert", channel, type(error).__name__),
                logging.ERROR,
                "an alert was not delivered and will be tried again: %s%s",
                type(error).__name__,
                f" {status}" if (status := getattr(error, "code", None)) else "",
            )
            outbox.failed(channel, due.number, now + min(2 ** (due.tries - 1), _LONGEST) * _SECOND)
            return False
        outbox.delivered(channel, due.number)
        return True

    def pause(self, channel: Channel) -> float:
        """Seconds after which to look again."""
        due = None if self._outbox is None else self._outbox.next_due(channel)
        if due is None:
            return _LOOK_SECONDS
        return min(_LOOK_SECONDS, max(due - self._clock.time_ns(), _SECOND // 10) / _SECOND)

    def close(self) -> None:
        """Deliver once more what is due, and stop; it starts again with the next `attach`."""
        self.tell()
        running, self._running = self._running, {}
        for each in running.values():
            each.bell.put("stop")
        until = time.monotonic() + _LEAVE_SECONDS
        for each in running.values():
            if each.thread.is_alive() and each.thread is not threading.current_thread():
                each.thread.join(max(until - time.monotonic(), 0))
        self._outbox = None

    def forked(self) -> None:
        """In a child: the threads are the parent's."""
        self._running, self._starting = {}, threading.Lock()


class _Running(NamedTuple):
    thread: threading.Thread
    bell: SimpleQueue[Word]


def _run(messenger: weakref.ref[Messenger], channel: Channel, bell: SimpleQueue[Word]) -> None:
    word: Word = "look"
    while True:
        alive = messenger()
        if alive is None:
            return
        pause = _LOOK_SECONDS
        try:
            alive.deliver(channel)
            pause = alive.pause(channel)
        except Exception as error:  # noqa: BLE001  a ledger that cannot be used now may be usable later
            say_once(("alerts", type(error).__name__), logging.ERROR, "alerts cannot be delivered: %s", error)
        del alive
        if word == "stop":
            return
        try:
            word = bell.get(timeout=pause)
        except Empty:
            continue


def _call(on_alert: Callable[[Alert], Any], alert: Alert) -> None:
    result = on_alert(alert)
    if inspect.iscoroutine(result):
        asyncio.run(result)


def _sentence(alert: Alert) -> str:
    key = f" ({alert.key})" if alert.key else ""
    until = f"; it ends at {alert.ends_at:%Y-%m-%d %H:%M} UTC" if alert.ends_at else ""
    return (
        f"budget {alert.budget!r}{key} has reached {alert.threshold * 100:g}% of its limit: "
        f"{show(int(alert.spent * NANO))} of {show(int(alert.limit * NANO))} spent{until}"
    )
