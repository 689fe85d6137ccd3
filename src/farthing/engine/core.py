"""What calls share in a process: the ledger, the catalog, the guard, and who does what has to wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from operator import methodcaller
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from farthing import tokens
from farthing.alerts import Messenger
from farthing.catalog import Catalog
from farthing.engine.courier import Courier, Together
from farthing.engine.ending import Ending
from farthing.engine.grouped import at_once, can_be_grouped, together
from farthing.engine.overdue import Overdue, nowhere
from farthing.engine.process import end, keep, mind, nothing
from farthing.engine.quirks import Quirks
from farthing.engine.receipts import Receipts
from farthing.engine.refusals import count
from farthing.engine.waits import await_turn, wait_for_turn
from farthing.errors import LedgerError
from farthing.guard import Guard, Look, Refusal, Reload, Unheld, Wait, line_of
from farthing.ledger import open_ledger
from farthing.ledger.store import Clock, Grant, Ledger, Reservation, StandingBudget
from farthing.log import say_once
from farthing.quote import Margins
from farthing.settings import Policies, Who
from farthing.struck import pass_on

if TYPE_CHECKING:
    from farthing.engine.call import Call, Settle

    Wish = Reservation | Refusal | Reload | Look | Wait | Unheld | Settle

__all__ = ["Engine"]

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KNOWN_MOST = 10_000

_GLIMPSE = 1.0
"""Seconds to wait for a ledger that is only read."""


class Engine(Ending):
    """Everything that a call needs besides itself. Usable from any thread and any event loop."""

    def __init__(
        self,
        *,
        open_ledger: Callable[[], Ledger],
        catalog: Callable[[], Catalog],
        policies: Policies,
        clock: Clock,
        ids: Callable[[], str],
        who: Who,
        enabled: bool = True,
        alerts: Messenger | None = None,
        where: Callable[[], str | None] = nowhere,
    ) -> None:
        self.who = who
        self.enabled = enabled
        self._warm = False
        self.policies = policies
        self.clock = clock
        self.ids = ids
        self.on_refused: Callable[[], None] = nothing
        self.guard = Guard(policies)
        self.margins = Margins()
        self.quirks = Quirks()
        self.receipts = Receipts()
        self.parked: WeakValueDictionary[str, Call] = WeakValueDictionary()
        self.courier = Courier()
        self.alerts = alerts or Messenger(clock=clock)
        self._declared: list[StandingBudget] = []
        self._open_ledger = open_ledger
        self._open_catalog = catalog
        self._ledger: Ledger | None = None
        self._catalog: Catalog | None = None
        self._opening = threading.RLock()
        self._left: SimpleQueue[Callable[[], Settle | None]] = SimpleQueue()
        self._where = where
        self._overdue = Overdue(where, clock, self.guard.unbooked.booked)
        self._streams: dict[int, Callable[[], Settle | None]] = {}
        self._keeper: threading.Thread | None = None
        self._closed = threading.Event()
        self._known: dict[str | None, bool] = {}
        mind(self)

    # -- what calls use ------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The ledger, opened at first use.

        Raises:
            LedgerError: if it cannot be opened; the next use tries again.
        """
        ledger = self._ledger
        if ledger is None:
            ledger = self._opened()
        if self._keeper is None:
            self._keep()
        return ledger

    def use(self, do: Callable[[Ledger], T]) -> T:
        """What is done with the ledger; with a new one, if this was closed before anything was done."""
        ledger = self.ledger
        try:
            return do(ledger)
        except LedgerError as error:
            if type(error) is not LedgerError or self._ledger is ledger:
                raise
        return do(self.ledger)

    def _opened(self) -> Ledger:
        with self._opening:
            if self._ledger is None:
                opened = self._open_ledger()
                for standing in self._declared:
                    opened.set_budget(standing.budget, origin=standing.origin)
                self.guard.load(opened, fresh=True)
                self.guard.line = line_of(opened)
                self.margins.read(opened, self.clock)
                self._ledger = opened
                self._overdue.opened(opened)
                opened.outbox.listen(self._alerted)
                self.alerts.attach(opened.outbox)
            return self._ledger

    @property
    def catalog(self) -> Catalog:
        """The prices, loaded at first use."""
        catalog = self._catalog
        if catalog is None:
            with self._opening:
                catalog = self._catalog = self._catalog or self._open_catalog()
        return catalog

    def declare(self, standing: StandingBudget) -> None:
        """A standing budget that this program states; stored when the ledger is opened, or now if it is."""
        with self._opening:
            self._declared.append(standing)
            self.guard.declare(standing)
            if self._ledger is not None:
                self._ledger.set_budget(standing.budget, origin=standing.origin)
                self.guard.load(self._ledger, fresh=True)

    def knows(self, base_url: str | None) -> bool:
        """True if the address is one of a known provider."""
        known = self._known.get(base_url)
        if known is None:
            known = bool(base_url) and self.catalog.provider_of("", base_url) is not None
            if len(self._known) < _KNOWN_MOST:
                self._known[base_url] = known
        return known

    @staticmethod
    def aware(ns: int) -> datetime:
        """Nanoseconds since 1970 as a datetime in UTC."""
        return _EPOCH + timedelta(microseconds=ns // 1000)

    # -- what drivers ask for ------------------------------------------------------------------------

    def perform(self, want: Wish) -> Any:
        """Do what a call's life wishes, in this thread; what came of it (see `farthing.guard`)."""
        if type(want) is Reservation:
            if not self._left.empty():
                self.sweep()
            if self._overdue.due:
                self.catch_up()
            return self.use(methodcaller("reserve", want))
        if type(want) is Wait:
            return wait_for_turn(self.guard.line, want.place)
        if type(want) is Look:
            return self.use(lambda ledger: ledger.look(want.bounds, want.at_ns))
        if type(want) is Refusal:
            count(self, want)
        elif type(want) is Unheld:
            self._overdue.sent(want)
        elif type(want) is Reload:
            self._reload()
        else:
            self.settle(want)  # type: ignore[arg-type]
        return None

    def _reload(self) -> None:
        try:
            self.guard.load(self.ledger, fresh=True)
            self.retry()  # who only looks does not reserve
        except LedgerError:
            if self.guard.unread:
                self._glimpse()
            raise

    def _glimpse(self) -> None:
        """Read the standing budgets of a ledger that cannot be used, which needs no lock."""
        where = self._where()
        if where is None:
            return
        try:
            with closing(open_ledger(where, clock=self.clock, timeout=_GLIMPSE, read_only=True)) as seen:
                self.guard.glimpse(seen.standing()[1])
        except LedgerError:
            return  # those that the program declares have to do
        except Exception:
            self.bug("reading standing budgets")

    async def aperform(self, want: Wish) -> Any:
        """The same from a coroutine: the courier waits for the ledger."""
        if type(want) is Wait:
            return await await_turn(self.guard.line, want.place)
        grouped = can_be_grouped(want)
        job = Together(self._together, want, self._at_once) if grouped else lambda: self.perform(want)
        if type(want) is not Reservation and getattr(want, "hurry", False):
            self.courier.post(job)
            return None
        return await self.courier.bring(job, self._left_behind)

    def _together(self, wants: list[Any]) -> list[Any]:
        return together(self, wants)

    def _at_once(self, wants: list[Any]) -> list[Any] | None:
        return at_once(self, wants)

    def is_quiet(self) -> bool:
        """True if the ledger is open, and nothing has to be booked before anything else."""
        return self._ledger is not None and self._left.empty() and not self._overdue

    def _left_behind(self, answer: object) -> None:
        """What the ledger answered to a task that has been cancelled meanwhile."""
        if isinstance(answer, Grant):
            self.give_up(answer.reservation.id)

    # -- streams that nobody ends --------------------------------------------------------------------

    def watch(self, call: Call, abandon: Callable[[], Settle | None]) -> None:
        """A stream is open: `abandon` gives its end if the process exits first."""
        self._streams[id(call)] = abandon

    def unwatch(self, call: Call) -> None:
        """The stream has ended."""
        self._streams.pop(id(call), None)

    def writing_here(self) -> bool:
        """True if this thread is writing the ledger: then a collection is what runs us, and all it may do is
        `leave`."""
        return self._ledger is not None and self._ledger.writing_here()

    def leave(self, abandon: Callable[[], Settle | None]) -> None:
        """From a finalizer, which may run on a thread that holds any lock: only queue it."""
        self._left.put(abandon)

    def sweep(self) -> None:
        """Book the streams that were garbage-collected; later, if this thread is in the midst of a write."""
        while not self.writing_here():
            try:
                abandon = self._left.get_nowait()
            except Empty:
                return
            self.book_left(abandon)

    def book_left(self, abandon: Callable[[], Settle | None]) -> None:
        """Book one stream that was left."""
        try:
            want = abandon()
            if want is not None:
                self.settle(want)
        except Exception:
            self.bug("booking a stream that was left")

    # -- the process ---------------------------------------------------------------------------------

    def warm(self) -> None:
        """Load what the first call needs: the ledger, the prices and the tokens of the usual models.

        Raises:
            LedgerError: if the ledger cannot be opened; the rest is loaded all the same.
        """
        tokens.warm()
        self.catalog.rates("gpt-4o", at_ns=self.clock.time_ns())
        self._warm = True
        _ = self.ledger

    async def awarm(self) -> None:
        """The same, once, without blocking an event loop; a ledger that cannot be opened is met later."""
        if not self._warm:
            try:
                await self.courier.bring(self.warm, _ignore)
            except LedgerError:
                return  # the call that needs the ledger will say so
            except Exception:
                self.bug("warming up")

    def _alerted(self) -> None:
        """The ledger has raised an alert, and is still locked: another thread tells, or the next call."""
        self._left.put(self.alerts.tell)

    def _keep(self) -> None:
        """Start the thread of the lease; if none can be started, the next use tries again."""
        try:
            with self._opening:
                if self._keeper is None:
                    self._keeper = keep(self, self._left, self._closed)
        except RuntimeError as error:
            pass_on(error)
            say_once(("lease",), logging.WARNING, "no thread can be started to renew the lease: %s", error)

    def tick(self) -> None:
        """Renew the lease of this process and book what dead ones left."""
        if self._ledger is None:
            return
        try:
            now = self.clock.time_ns()
            self._ledger.renew(now)
            self._ledger.expire(now)
            self._overdue.opened(self._ledger)
            self.margins.read(self._ledger, self.clock)
            self.sweep()
        except Exception:
            self.bug("renewing the lease")

    def drain(self) -> None:
        """Settle every open stream, and do all that is queued. No thread is needed afterwards."""
        for key in list(self._streams):
            abandon = self._streams.pop(key, None)
            if abandon is not None:
                self.book_left(abandon)
        self.sweep()
        self.courier.stop()
        if self._overdue.in_memory:
            self._open_at_last()
        self.retry()
        self._overdue.part()
        self.alerts.close()

    def _open_at_last(self) -> None:
        """No call may come any more that would find the ledger usable, and book what is kept in memory."""
        try:
            self._opened()
        except LedgerError:
            return  # which was said when they were kept; they are counted in a moment
        except Exception:
            self.bug("opening the ledger")

    def close(self) -> None:
        """Book the streams that are open and what is queued, and release the ledger. What other calls hold
        stays held until they end, or the lease does."""
        self._closed.set()
        self.drain()
        end(self._keeper, self._left)
        with self._opening:
            ledger, self._ledger = self._ledger, None
            # For whoever uses it again.
            self.courier, self._keeper, self._closed = Courier(), None, threading.Event()
        try:
            if ledger is not None:
                ledger.close()
        except LedgerError as error:  # as when its file was moved: what is not booked is in the spill
            say_once(("close", type(error).__name__), logging.ERROR, "a ledger is left open: %s", error)
        finally:
            self._overdue.close()

    def forked(self) -> None:
        """In a child: threads, queues and open streams are the parent's."""
        self.courier = Courier()
        self._keeper = None
        self._closed = threading.Event()
        if not self._opening.acquire(blocking=False):  # by a thread of the parent: it may be half open
            self._ledger = None
        self._opening = threading.RLock()
        self._left = SimpleQueue()
        self._streams = {}
        self.alerts.forked()
        self.guard.unbooked.forked()
        if self._ledger is not None:
            self.guard.line = line_of(self._ledger)  # the thread starts at its first use, not at the fork


def _ignore(_: object) -> None:
    """What nobody waits for any more."""
