"""What calls share in a process: the ledger, the catalog, the guard, and who does what has to wait."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from farthing import tokens
from farthing.catalog import Catalog
from farthing.engine.courier import Courier, Together
from farthing.engine.grouped import can_be_grouped, together
from farthing.engine.process import keep, nothing
from farthing.engine.quirks import Quirks
from farthing.engine.receipts import Receipts
from farthing.errors import LedgerError
from farthing.guard import Guard, Refusal, Reload
from farthing.ledger.store import Clock, Grant, Ledger, Reservation, Short, Stale, StandingBudget
from farthing.log import say_once
from farthing.settings import Policies, Who

if TYPE_CHECKING:
    from farthing.engine.call import Call, Settle

__all__ = ["Engine"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OVERDUE_MOST = 10_000


class Engine:
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
    ) -> None:
        self.who = who
        self.enabled = enabled
        self._warm = False
        self.policies = policies
        self.clock = clock
        self.ids = ids
        self.on_refused: Callable[[], None] = nothing
        self.guard = Guard(policies)
        self.quirks = Quirks()
        self.receipts = Receipts()
        self.courier = Courier()
        self._declared: list[StandingBudget] = []
        self._open_ledger = open_ledger
        self._open_catalog = catalog
        self._ledger: Ledger | None = None
        self._catalog: Catalog | None = None
        self._opening = threading.RLock()
        self._left: SimpleQueue[Callable[[], Settle | None]] = SimpleQueue()
        self._overdue: deque[Settle] = deque(maxlen=_OVERDUE_MOST)
        self._streams: dict[int, Callable[[], Settle | None]] = {}
        self._keeper: threading.Thread | None = None
        self._closed = threading.Event()
        self._known: dict[str | None, bool] = {}

    # -- what calls use ------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The ledger, opened at first use.

        Raises:
            LedgerError: if it cannot be opened; the next use tries again.
        """
        ledger = self._ledger
        if ledger is not None:
            return ledger
        with self._opening:
            if self._ledger is None:
                opened = self._open_ledger()
                for standing in self._declared:
                    opened.set_budget(standing.budget, origin=standing.origin)
                self.guard.load(opened, fresh=True)
                self._ledger = opened
                self._keep()
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
            if len(self._known) < _OVERDUE_MOST:
                self._known[base_url] = known
        return known

    @staticmethod
    def aware(ns: int) -> datetime:
        """Nanoseconds since 1970 as a datetime in UTC."""
        return _EPOCH + timedelta(microseconds=ns // 1000)

    @staticmethod
    def bug(doing: str, error: BaseException | None = None) -> None:
        """Log an error of our own, by default the one that is being handled; once for each place and kind.

        Where it happened, not what it said: a message may hold a piece of a prompt.
        """
        error = error or sys.exc_info()[1]
        frame = traceback.extract_tb(error.__traceback__ if error else None)[-1]
        name = type(error).__name__ if error else "error"
        say_once(
            ("bug", doing, name),
            logging.ERROR,
            "farthing failed while %s (%s at %s:%s in %s); your program goes on, the call may be missing "
            "in the ledger",
            doing,
            name,
            frame.filename,
            frame.lineno,
            frame.name,
        )

    # -- what drivers ask for ------------------------------------------------------------------------

    def perform(self, want: Reservation | Refusal | Reload | Settle) -> Grant | Short | Stale | None:
        """Do what a call's life wishes of the ledger, in this thread."""
        if type(want) is Reservation:
            if not self._left.empty():
                self.sweep()
            return self.ledger.reserve(want)
        if type(want) is Refusal:
            self._count(want)
        elif type(want) is Reload:
            self.guard.load(self.ledger, fresh=True)
        else:
            self.settle(want)  # type: ignore[arg-type]
        return None

    async def aperform(self, want: Reservation | Refusal | Reload | Settle) -> Grant | Short | Stale | None:
        """The same from a coroutine: the courier waits."""
        grouped = can_be_grouped(want)
        job = Together(self._together, want) if grouped else lambda: self.perform(want)
        if type(want) is not Reservation and getattr(want, "hurry", False):
            self.courier.post(job)
            return None
        answer: Grant | Short | Stale | None = await self.courier.bring(job, self._left_behind)
        return answer

    def _together(self, wants: list[Any]) -> list[Any]:
        return together(self, wants)

    def settle(self, want: Settle) -> None:
        """Book the end of a call. Never raises: what cannot be booked now is tried again later."""
        if want.grant is None:
            return
        try:
            if self.writing_here():
                self._left.put(lambda: want)
                return
            self._post(want)
            self.retry()
        except Exception as error:
            self.postpone(want, error)
        except BaseException:
            # Struck by a signal handler, perhaps after the commit: booking it twice changes nothing.
            self._overdue.append(want)
            raise

    def postpone(self, want: Settle, error: BaseException) -> None:
        """The end of a call could not be booked, as `error` that was raised says: it is tried again."""
        self._overdue.append(want)
        if isinstance(error, LedgerError):
            say_once(
                ("settle", type(error).__name__),
                logging.ERROR,
                "the end of a call could not be booked and will be tried again: %s",
                error,
            )
        else:
            self.bug("booking the end of a call", error)

    def _post(self, want: Settle) -> None:
        assert want.grant is not None  # noqa: S101  others are not booked
        self.ledger.settle(want.grant, want.end, void=want.void)
        for grant in want.also:
            self.ledger.release(grant)

    def release(self, grant: Grant) -> None:
        """Give a hold back without leaving a row. Never raises."""
        try:
            self.ledger.release(grant)
        except Exception:
            self.bug("releasing a hold")

    def retry(self) -> None:
        """Book what could not be booked before."""
        for _ in range(len(self._overdue)):
            try:
                late = self._overdue.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                self._post(late)
            except LedgerError:
                self._overdue.appendleft(late)
                return
            except Exception:  # it will never do: it must not keep the others from being booked
                self.bug("booking the end of a call")
            except BaseException:
                self._overdue.appendleft(late)
                raise

    def _count(self, refusal: Refusal) -> None:
        try:
            self.on_refused()
            self.ledger.refused(
                day_ns=refusal.at_ns,
                account=refusal.account,
                model=refusal.model,
                budget=refusal.budget,
                reason=refusal.reason,
            )
        except LedgerError as error:
            say_once(("refusal",), logging.WARNING, "a refusal could not be counted: %s", error)
        except Exception:  # it is a refusal all the same
            self.bug("counting a refusal")

    def give_up(self, call_id: str) -> None:
        """A call that may have been reserved will not be sent: its hold, if it has one, is voided."""
        self.courier.post(lambda: self._give_up(call_id))

    def _give_up(self, call_id: str) -> None:
        try:
            self.ledger.give_up(call_id)
        except Exception:
            self.bug("voiding a call that was not sent")

    def rescue(self, call: Call, error: BaseException, *, hurry: bool) -> None:
        """Book the end of a call whose course `error` broke off; booking it twice changes nothing."""
        try:
            want = call.rescue(error)
            if want is not None and hurry:
                self.courier.post(lambda: self.settle(want))
            elif want is not None:
                self.settle(want)
        except Exception:
            self.bug("booking a call that was broken off")

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
        """Book the streams that were garbage-collected."""
        while True:
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

    def _keep(self) -> None:
        if self._keeper is None:
            self._keeper = keep(self, self._left, self._closed)

    def tick(self) -> None:
        """Renew the lease of this process and book what dead ones left."""
        if self._ledger is None:
            return
        try:
            now = self.clock.time_ns()
            self._ledger.renew(now)
            self._ledger.expire(now)
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
        self.retry()

    def close(self) -> None:
        """Settle what is open and release the ledger."""
        self._closed.set()
        self.drain()
        self._left.put(nothing)
        with self._opening:
            ledger, self._ledger = self._ledger, None
            # For whoever uses it again.
            self.courier, self._keeper, self._closed = Courier(), None, threading.Event()
        if ledger is not None:
            ledger.close()

    def forked(self) -> None:
        """In a child: threads, queues and open streams are the parent's."""
        self.courier = Courier()
        self._keeper = None
        self._closed = threading.Event()
        self._opening = threading.RLock()
        self._left = SimpleQueue()
        self._overdue.clear()
        self._streams = {}
        if self._ledger is not None:
            self._keep()


def _ignore(_: object) -> None:
    """What nobody waits for any more."""
