"""What could not be booked, and is booked as soon as it can be: in a file that outlives the process, or in
memory where there is no file."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from farthing import money
from farthing.engine.bugs import tell_of_bug
from farthing.engine.intake import Intake
from farthing.errors import LedgerError
from farthing.ledger.spilled import Spilled
from farthing.ledger.store import Clock, Ledger
from farthing.ledger.upkeep.spill import SpillFile, line_of, openings
from farthing.log import logger, say_once
from farthing.struck import pass_on

if TYPE_CHECKING:
    from farthing.engine.call import Settle
    from farthing.guard import Unheld

__all__ = ["Overdue", "nowhere"]

_MOST: Final = 10_000
"""Calls that are kept in memory where no file can be written."""

_all: Final[weakref.WeakSet[Overdue]] = weakref.WeakSet()


def nowhere() -> None:
    """Of a ledger that has no path."""


def _nothing() -> None:
    """To be done."""


def spilled_of(want: Settle) -> Spilled:
    """The end of a call, as it is spilled."""
    reservation = want.grant.reservation if want.grant is not None else want.wanted
    assert reservation is not None  # noqa: S101  one of them says whose end it is
    return Spilled(
        state="ended",
        reservation=reservation,
        held=want.end.counted if want.grant is None else want.grant.held,
        end=want.end,
        void=want.void,
        call=None if want.grant is None else want.grant.call,
        also=tuple((grant.call, grant.reservation.id) for grant in want.also),
    )


class Overdue(Intake):
    """Of one engine. Usable from any thread, and from a finalizer.

    A signal handler may raise between any two steps: what waits here is dropped after it is booked, never
    before, and booked once more if need be, which changes nothing.

    Args:
        where: the resolved path of the ledger; None if it is in memory, or not known.
        booked: called when all that had ended is booked.

    Attributes:
        lost: calls that could be kept nowhere.
        due: whether something that was spilled is to be booked; what has only been sent may still run. True
            until it is: whoever reserves meanwhile has to wait.
    """

    def __init__(
        self, where: Callable[[], str | None], clock: Clock, booked: Callable[[], None] = _nothing
    ) -> None:
        self._where = where
        self._clock = clock
        self._booked = booked
        self.lost = 0
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._mutex = threading.RLock()  # a garbage collection inside may bring the end of a stream
        self._taking = threading.RLock()
        self._inside = False
        self._settles: deque[Settle] = deque()
        self._kept: deque[Spilled] = deque()
        self._sent: dict[str, Spilled] = {}
        self._files: list[SpillFile] = []  # of this process, until they are taken in
        self._file: SpillFile | None = None  # the one of them that is written
        self._ends = 0  # that have been spilled
        self._told: dict[str, int | None] = {}  # what `part` has said may be lost
        self._ledger_id: str | None = None
        self._owner = os.urandom(8).hex()
        self._number = 0
        self.due = False

    def __bool__(self) -> bool:
        """Whether anything waits to be booked."""
        return self.due or bool(self._settles)

    # What cannot be booked

    def again(self, want: Settle, *, first: bool = False) -> None:
        """Keep the end of a call in memory, as it failed for a reason of its own."""
        if len(self._settles) >= _MOST:
            self._lose()
        elif first:
            self._settles.appendleft(want)
        else:
            self._settles.append(want)

    def sent(self, unheld: Unheld) -> None:
        """A call goes on without the ledger."""
        spilled = Spilled(state="sent", reservation=unheld.wanted, held=unheld.held)
        self._sent[unheld.wanted.id] = spilled
        try:
            self._spill(spilled)
        except BaseException:  # it will not be sent
            self.gone(unheld.wanted.id)
            raise

    def ended(self, want: Settle) -> None:
        """The end of a call cannot be booked now, or there is no row to book it on."""
        spilled = spilled_of(want)
        self._spill(spilled)
        self._sent.pop(spilled.reservation.id, None)

    def gone(self, call_id: str) -> None:
        """Nothing is to be booked for a call that went on without the ledger."""
        spilled = self._sent.get(call_id)
        if spilled is not None:
            self._spill(Spilled(state="gone", reservation=spilled.reservation, held=0))
            self._sent.pop(call_id, None)

    def _spill(self, spilled: Spilled) -> None:
        with self._mutex:
            if not self._wrote(spilled):
                if len(self._kept) >= _MOST:
                    self._lose()
                else:
                    self._kept.append(spilled)
            if spilled.state != "sent":
                self._ends += 1
                self.due = True

    def _wrote(self, spilled: Spilled) -> bool:
        where = self._where()
        if where is None:
            return False
        self._number += 1
        at = self._clock.time_ns()
        line = line_of(spilled, self._ledger_id, where, self._owner, self._number, at)
        if self._file is not None:
            try:
                self._file.append(line)
            except OSError as error:
                pass_on(error)
                self._file = None
            else:
                return True
        for file in openings(where, f"{self._owner}-{self._number}"):
            self._files.append(file)
            try:
                file.append(line)
            except OSError as error:
                pass_on(error)
                file.remove()
                self._files.remove(file)
            else:
                self._file = file
                return True
        return False

    def _lose(self) -> None:
        self.lost += 1
        if self.lost == 1 or self.lost % 1000 == 0:
            logger.critical(
                "%d calls are lost to the ledger: it cannot be written, no spill file can, and %d calls are "
                "kept in memory already",
                self.lost,
                _MOST,
            )

    # Taking in

    def opened(self, ledger: Ledger) -> None:
        """The ledger can be used (again): what dead processes left is booked. Never raises."""
        if ledger.read_only:
            return
        try:
            self._ledger_id = ledger.ledger_id()
            self.take_in(ledger, others=True)
        except LedgerError as error:
            say_once(("spill", type(error).__name__), logging.WARNING, "spilled calls wait: %s", error)
        except Exception:
            tell_of_bug("booking what was spilled")

    def post_again(self, post: Callable[[Settle], None]) -> None:
        """Book the ends that failed for a reason of their own.

        Raises:
            LedgerError: if the ledger cannot be used; what is not booked stays where it is.
        """
        for _ in range(len(self._settles)):
            try:
                late = self._settles[0]
            except IndexError:  # another thread was faster
                break
            try:
                post(late)
            except LedgerError:
                raise
            except Exception:  # it will never do: it must not keep the others from being booked
                tell_of_bug("booking the end of a call")
            with contextlib.suppress(ValueError):
                self._settles.remove(late)

    def catch_up(self, ledger: Ledger, *, wait: bool = True) -> None:
        """Book what this process has spilled, if it has.

        Args:
            wait: whether to wait for another thread that does it already, as whoever reserves has to.

        Raises:
            LedgerError: as `post_again`.
        """
        if self.due:
            try:
                self.take_in(ledger, others=False, patience=ledger.patience if wait else 0.0)
            except LedgerError:
                raise
            except Exception as error:
                tell_of_bug("booking what was spilled")
                raise LedgerError("calls that were spilled cannot be booked; the log says why") from error

    # The process

    @property
    def in_memory(self) -> bool:
        """Whether anything is kept that the process may take with it."""
        return bool(self._kept or self._settles)

    def part(self) -> None:
        """Say what is in memory only, as the process may end now; once for the same of them."""
        costs = self._only_here()
        known = [cost for cost in costs.values() if cost is not None]
        if costs and costs != self._told:
            logger.critical(
                "%d calls are in the memory of this process only, or what became of them is: what they cost "
                "(%s as far as is known, unknown for %d of them) is lost if it ends now",
                len(costs),
                money.show(sum(known) if known else None),
                len(costs) - len(known),
            )
        self._told = costs

    def _only_here(self) -> dict[str, int | None]:
        """What each call that is kept in memory cost, by its id; None if that is not known, or not yet."""
        with self._mutex:
            kept = list(self._kept)
        kept += [spilled_of(want) for want in list(self._settles) if want.can_be_spilled]
        costs: dict[str, int | None] = {}
        for each in kept:
            call_id = each.reservation.id
            if each.end is not None:
                costs[call_id] = 0 if each.void else each.end.cost
            elif each.state == "sent" and call_id in self._sent:
                costs.setdefault(call_id, None)
        return costs

    def close(self) -> None:
        """Leave what is not booked to whoever opens the ledger next."""
        with self._mutex:
            files, self._files, self._file = self._files, [], None
        for file in files:
            file.close()

    def forked(self) -> None:
        """In a child: what is here is the parent's to book, and so is the lock of its file."""
        files = self._files
        self._begin()
        for file in files:
            file.close()


def _in_child() -> None:
    for overdue in list(_all):
        overdue.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
