"""How calls end in the ledger; and where they wait if they cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING

from farthing.engine.bugs import tell_of_bug
from farthing.engine.courier import Courier
from farthing.engine.overdue import Overdue
from farthing.errors import LedgerError
from farthing.guard import Guard
from farthing.ledger.store import Grant, Ledger
from farthing.log import say_once
from farthing.struck import pass_on, was_struck

if TYPE_CHECKING:
    from farthing.engine.call import Call, Settle

__all__ = ["Ending"]


class Ending:
    """The part of an engine that books ends and gives holds back. Nothing here raises into a paid call."""

    courier: Courier
    enabled: bool
    guard: Guard
    _ledger: Ledger | None
    _left: SimpleQueue[Callable[[], Settle | None]]
    _overdue: Overdue

    bug = staticmethod(tell_of_bug)

    if TYPE_CHECKING:

        @property
        def ledger(self) -> Ledger:
            """The ledger, opened at first use."""

        def writing_here(self) -> bool:
            """Whether this thread is in the middle of a write."""

    def settle(self, want: Settle) -> None:
        """Book the end of a call. Never raises: what cannot be booked now is spilled or tried again."""
        if want.grant is None and (want.wanted is None or not self.enabled):
            return
        try:
            if self.writing_here():
                self._left.put(lambda: want)
            else:
                self._post(want)
                if want.grant is not None:  # else the ledger could not be used: the next call will see
                    self.retry()
        except BaseException as error:
            if was_struck(error):
                self.struck(want)
                pass_on(error)
                raise
            self.postpone(want, error)

    def struck(self, want: Settle) -> None:
        """A signal handler struck while the end of a call was booked, perhaps after the commit: it is booked
        again, which changes nothing then."""
        self._overdue.again(want)

    def postpone(self, want: Settle, error: BaseException) -> None:
        """The end of a call could not be booked, as `error` that was raised says: it is tried again."""
        if not isinstance(error, LedgerError):
            self._overdue.again(want)
            self.bug("booking the end of a call", error)
            return
        say_once(
            ("settle", type(error).__name__),
            logging.ERROR,
            "the end of a call could not be booked and will be tried again: %s",
            error,
        )
        if not want.can_be_spilled:
            self._overdue.again(want)
            return
        try:
            self._overdue.ended(want)
        except Exception:
            self._overdue.again(want)
            self.bug("spilling the end of a call")

    def _post(self, want: Settle) -> None:
        if want.grant is None or self.guard.allows:
            self.noted(want)
        if want.grant is None:
            self._overdue.ended(want)
            return
        want.post(self.ledger)
        self.guard.line.freed()

    def noted(self, want: Settle) -> None:
        """A call has ended, by the budgets that are kept in memory; it may not be booked yet."""
        asked = want.wanted if want.grant is None else want.grant.reservation
        if asked is not None and want.can_be_spilled:
            self.guard.unbooked.ended(asked.id, want.end.counted)

    def release(self, grant: Grant) -> None:
        """Give a hold back without leaving a row; soon, if the ledger cannot be written now. Raises only what
        a signal handler has raised."""
        try:
            self.ledger.release(grant)
            self.guard.unbooked.gone(grant.reservation.id)
            self.guard.line.freed()
        except BaseException as error:
            self.give_up(grant.reservation.id)
            if was_struck(error):
                pass_on(error)
                raise
            if not isinstance(error, LedgerError):
                self.bug("releasing a hold", error)

    def gone(self, call_id: str) -> None:
        """Nothing is to be booked for a call that goes on without the ledger. Never raises."""
        try:
            self.guard.unbooked.gone(call_id)
            self._overdue.gone(call_id)
        except Exception:
            self.bug("releasing a call without a hold")

    def retry(self) -> None:
        """Book what could not be booked before, if the ledger can be used."""
        if self._overdue and self._ledger is not None:
            try:
                self._overdue.post_again(self._post)
                self._overdue.catch_up(self._ledger, wait=False)
            except LedgerError as error:
                say_once(("spill", type(error).__name__), logging.WARNING, "spilled calls wait: %s", error)

    def catch_up(self) -> None:
        """Book what has been spilled, or wait until another thread has: whoever reserves has to see it.

        Raises:
            LedgerError: if the ledger cannot be used, or that takes too long.
        """
        if self._overdue.due:
            self._overdue.catch_up(self.ledger)

    def give_up(self, call_id: str) -> None:
        """A call that may have been reserved will not be sent: its hold, if it has one, is voided."""
        self.courier.post(lambda: self._give_up(call_id))

    def _give_up(self, call_id: str) -> None:
        try:
            self.guard.unbooked.gone(call_id)
            self.ledger.give_up(call_id)
            self.guard.line.freed()
        except LedgerError as error:  # it remembers: the next write voids it
            pass_on(error)
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
