"""What could not be booked, and is booked as soon as it can be: in a file that outlives the process, or in
memory where there is no file."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Final

from farthing.engine.bugs import tell_of_bug
from farthing.errors import LedgerError
from farthing.ledger.spilled import Spilled
from farthing.ledger.store import Clock, Ledger
from farthing.ledger.upkeep.spill import Line, SpillFile, left_behind, line_of, openings
from farthing.log import logger, say_once

if TYPE_CHECKING:
    from farthing.engine.call import Settle
    from farthing.guard import Unheld

__all__ = ["Overdue", "nowhere"]

_MOST: Final = 10_000
"""Calls that are kept in memory where no file can be written."""

_all: Final[weakref.WeakSet[Overdue]] = weakref.WeakSet()

_CHUNK: Final = 200
"""Calls that are booked in one commit: others wait for it."""


def nowhere() -> None:
    """Of a ledger that has no path."""


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


class Overdue:
    """Of one engine. Usable from any thread, and from a finalizer.

    Args:
        where: the resolved path of the ledger; None if it is in memory, or not known.

    Attributes:
        lost: calls that could be kept nowhere.
        due: whether something that was spilled is to be booked; what has only been sent may still run.
    """

    def __init__(self, where: Callable[[], str | None], clock: Clock) -> None:
        self._where = where
        self._clock = clock
        self.lost = 0
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._mutex = threading.RLock()  # a garbage collection inside may bring the end of a stream
        self._taking = threading.Lock()
        self._settles: deque[Settle] = deque()
        self._kept: deque[Spilled] = deque()
        self._sent: dict[str, Spilled] = {}
        self._file: SpillFile | None = None
        self._done: list[SpillFile] = []  # files of this process that are to be taken in
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
        self._spill(spilled)

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
            except OSError:
                self._done.append(self._file)
                self._file = None
            else:
                return True
        for file in openings(where, f"{self._owner}-{self._number}"):
            try:
                file.append(line)
            except OSError:
                file.remove()
            else:
                if self._file is not None:  # of a call that a garbage collection ended meanwhile, in here
                    self._done.append(self._file)
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
                late = self._settles.popleft()
            except IndexError:  # another thread was faster
                break
            try:
                post(late)
            except LedgerError:
                self.again(late, first=True)
                raise
            except Exception:  # it will never do: it must not keep the others from being booked
                tell_of_bug("booking the end of a call")
            except BaseException:
                self.again(late, first=True)
                raise

    def catch_up(self, ledger: Ledger) -> None:
        """Book what this process has spilled, if it has.

        Raises:
            LedgerError: as `post_again`.
        """
        if self.due:
            try:
                self.take_in(ledger, others=False)
            except LedgerError:
                raise
            except Exception:
                tell_of_bug("booking what was spilled")

    def take_in(self, ledger: Ledger, *, others: bool) -> None:
        """Book what was spilled by this process, and by `others` that have died.

        Raises:
            LedgerError: if the ledger cannot be used; what is not booked stays where it is.
        """
        where = self._where()
        if not self._taking.acquire(blocking=False):
            return  # somebody does it
        try:
            with self._mutex:
                self.due = False
                kept, self._kept = self._kept, deque()
                if self._file is not None:
                    self._done.append(self._file)
                    self._file = None
            try:
                self._take_kept(ledger, kept)
            finally:
                with self._mutex:
                    self._kept.extendleft(reversed(kept))
            while self._done:
                self._take_file(ledger, self._done[0], where, own=True)
                self._done.pop(0)
            if others and where is not None:
                for file in left_behind(where):
                    try:
                        self._take_file(ledger, file, where, own=False)
                    finally:
                        file.close()
        except BaseException:
            self.due = True
            raise
        finally:
            self._taking.release()

    def _take_kept(self, ledger: Ledger, kept: deque[Spilled]) -> None:
        now = self._clock.time_ns()
        ended = {each.reservation.id for each in kept if each.state != "sent"}
        while kept:
            some = list(islice(kept, _CHUNK))
            ripe = [each for each in some if each.state == "ended"]
            for answer in ledger.take_in(ripe, now):
                if isinstance(answer, Exception):
                    self._tell(answer)
            for each in some:
                kept.popleft()
                if each.state == "sent" and each.reservation.id not in ended:
                    self._spill(each)  # it still runs

    def _take_file(self, ledger: Ledger, file: SpillFile, where: str | None, *, own: bool) -> None:
        known = self._ledger_id or ledger.ledger_id()
        ended: set[str] = set()
        for line in file.lines():
            call = line.spilled
            if call is None:
                continue
            if not line.belongs_to(known, where or ""):
                return  # it is of another ledger, which will take it in
            if call.state != "sent":
                ended.add(call.reservation.id)
        bad: list[bytes] = []
        lines = file.lines()
        while chunk := list(islice(lines, _CHUNK)):
            bad += self._take_lines(ledger, chunk, ended, own=own)
        if bad:
            logger.error("%d lines of %s cannot be booked; they are kept as .bad", len(bad), file.path)
            file.keep(bad)
        file.remove()

    def _take_lines(self, ledger: Ledger, lines: list[Line], ended: set[str], *, own: bool) -> list[bytes]:
        bad = [line.raw for line in lines if line.spilled is None]
        ripe: list[tuple[Line, Spilled]] = []
        for line in lines:
            call = line.spilled
            if call is None or call.state == "gone":
                continue
            if call.state == "sent" and own and call.reservation.id in self._sent:
                self._spill(call)  # it still runs: a new file has to know of it
            elif call.state == "ended" or call.reservation.id not in ended:
                ripe.append((line, call))
        answers = ledger.take_in([call for _, call in ripe], self._clock.time_ns())
        for (line, _), answer in zip(ripe, answers, strict=True):
            if isinstance(answer, Exception):
                self._tell(answer)
                bad.append(line.raw)
        return bad

    def _tell(self, error: Exception) -> None:
        key = ("spilled", type(error).__name__)
        say_once(key, logging.ERROR, "a spilled call cannot be booked: %s", error)

    # The process

    def close(self) -> None:
        """Leave what is not booked to whoever opens the ledger next."""
        with self._mutex:
            files = [file for file in (self._file, *self._done) if file is not None]
            self._file, self._done = None, []
        for file in files:
            file.close()

    def forked(self) -> None:
        """In a child: what is here is the parent's to book, and so is the lock of its file."""
        files = [file for file in (self._file, *self._done) if file is not None]
        self._begin()
        for file in files:
            file.close()


def _in_child() -> None:
    for overdue in list(_all):
        overdue.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
