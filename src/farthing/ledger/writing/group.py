"""Reserves and settles of several callers in one commit."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from farthing.errors import LedgerError
from farthing.ledger.budgets.windows import Windows
from farthing.ledger.calls import booking, holding
from farthing.ledger.calls.keys import BITS, Keys, key_at
from farthing.ledger.calls.names import Names
from farthing.ledger.calls.owner import Owner
from farthing.ledger.calls.summing import Summing
from farthing.ledger.store import Clock, Durability, Ending, Grant, Reservation, Short, Stale
from farthing.ledger.writing.batch import Apart, Batch
from farthing.ledger.writing.faults import translated
from farthing.ledger.writing.lock import Busy
from farthing.ledger.writing.writer import Writer
from farthing.struck import pass_on, was_struck

__all__ = ["Group", "concerns_all", "needs_full"]

_T = TypeVar("_T")
_Write = Reservation | Ending
_Answer = Grant | Short | Stale | bool

_SECOND: Final = 1_000_000 << BITS


class _Writes(Protocol):
    def __call__(
        self, operation: Callable[[sqlite3.Connection, Any], _T], argument: Any, *, full: bool
    ) -> _T: ...


def needs_full(write: _Write) -> bool:
    """Whether a commit must survive a power cut in `safe`: what reserves money, and what overruns it."""
    if isinstance(write, Reservation):
        return write.hi > 0 and bool(write.bounds)
    grant, end, void = write
    return bool(grant.lines) and not void and end.counted > grant.held


def concerns_all(error: object) -> bool:
    """Whether a write failed as any other would now: the ledger is locked, full or moved."""
    return isinstance(error, LedgerError) and type(error) is not LedgerError


class Group:
    """The part of `farthing.ledger.store.Ledger` that does many in one transaction."""

    where: str
    durability: Durability
    _clock: Clock
    _keys: Keys
    _names: Names
    _orphans: deque[str]
    _owner: Owner
    _summing: Summing
    _windows: Windows
    _write: _Writes
    _writer: Writer
    _hold: Callable[[sqlite3.Connection, Reservation], Grant | Short | Stale]
    _reserve: Callable[[sqlite3.Connection, Reservation], Grant | Short | Stale]
    _settle: Callable[[sqlite3.Connection, Ending], bool]
    _void_orphans: Callable[[sqlite3.Connection], None]
    _forget: Callable[[], None]

    def together(self, writes: Sequence[_Write]) -> Sequence[_Answer | BaseException]:
        try:
            return self.do_all(self._write, writes, full=any(map(needs_full, writes)))
        except BaseException:
            self._orphans.extend(write.id for write in writes if isinstance(write, Reservation))
            raise

    def at_once(self, writes: Sequence[_Write]) -> Sequence[_Answer | BaseException] | None:
        if self.durability != "fast" and (self.durability == "strict" or any(map(needs_full, writes))):
            return None
        if any(
            type(each) is Reservation and holding.known_places(self._windows, each) is None for each in writes
        ):
            return None  # a window that is made now may have to be summed from many rows
        try:
            return [self._one_at_once(writes[0])] if len(writes) == 1 else self._all_at_once(writes)
        except Busy:
            return None
        except BaseException as error:
            if was_struck(error):
                self._orphans.extend(write.id for write in writes if isinstance(write, Reservation))
                raise
            return [error] * len(writes)

    def _one_at_once(self, write: _Write) -> _Answer:
        if isinstance(write, Reservation):
            return self._writer.at_once(self._reserve, write)
        settled = self._writer.at_once(self._settle, write)
        self._owner.ended(write[0].reservation.id)
        return settled

    def _all_at_once(self, writes: Sequence[_Write]) -> Sequence[_Answer | BaseException]:
        return self.do_all(self._writer.at_once, writes, full=False)

    def do_all(
        self, write: _Writes, arguments: Sequence[_Write], *, full: bool
    ) -> Sequence[_Answer | BaseException]:
        """The answer or the error of each, in one transaction by `write`; in another one if one fails."""
        answers: Sequence[_Answer | BaseException]
        try:
            answers = write(self._do_all, arguments, full=full)
        except Busy:
            raise
        except Exception as error:  # noqa: BLE001  of one, which is found, or of all
            pass_on(error)
            if concerns_all(error):
                return [error] * len(arguments)
            try:
                answers = write(self._do_each, arguments, full=full)
            except Busy:
                raise
            except Exception as error:  # noqa: BLE001  it is the answer
                pass_on(error)
                return [error] * len(arguments)
        for argument, answer in zip(arguments, answers, strict=True):
            if not isinstance(argument, Reservation) and not isinstance(answer, BaseException):
                self._owner.ended(argument[0].reservation.id)
        return answers

    # Inside a transaction

    def _do_all(self, conn: sqlite3.Connection, writes: Sequence[_Write]) -> list[_Answer]:
        if self._orphans:
            self._void_orphans(conn)
        batch = Batch(conn, self._owner.id)
        now = self._clock.time_ns()
        answers = [
            self._reserve_in(batch, conn, write, now)
            if isinstance(write, Reservation)
            else self._settle_in(batch, conn, write)
            for write in writes
        ]
        batch.flush()
        self._summing.ended(conn, sum(type(write) is tuple for write in writes))
        return answers

    def _reserve_in(
        self, batch: Batch, conn: sqlite3.Connection, want: Reservation, now: int
    ) -> Grant | Short | Stale:
        owner = self._owner
        base = key_at(want.started_ns)
        if (
            want.epoch == batch.epoch
            and now < owner.renew_at
            and batch.first <= base - _SECOND
            and base + _SECOND <= batch.last
            and not owner.may_have(want.id)
            and want.topped is None
        ):
            taken = holding.known_places(self._windows, want)
            held = None if taken is None else batch.hold(want.lo, want.hi, taken)
            if type(held) is Short:
                return held
            if taken is not None and type(held) is int:
                lines = tuple([(place.id, place.expected) for place, _ in taken])
                windows = [place.id for place, _ in taken]
                values = booking.as_pending(conn, self._names, want, held, owner=owner.id, windows=windows)
                key = self._keys.propose(base)
                batch.begin((key, *values), held, taken)
                owner.began(want.id, key)
                return Grant(key, want, held, lines)
        return self._reserve_alone(batch, conn, want, now)

    def _reserve_alone(
        self, batch: Batch, conn: sqlite3.Connection, want: Reservation, now: int
    ) -> Grant | Short | Stale:
        batch.flush()
        if now >= self._owner.renew_at:
            self._owner.renew(conn, now)
        if self._orphans:
            self._void_orphans(conn)
        before = conn.total_changes
        answer = self._hold(conn, want)
        if not _stands(answer) and conn.total_changes != before:
            raise Apart
        batch.look(self._owner.id)
        return answer

    def _settle_in(self, batch: Batch, conn: sqlite3.Connection, ending: Ending) -> bool:
        grant, end, void = ending
        state = booking.VOIDED if void else booking.POSTED
        end = booking.voided(end) if void else end
        want, key = grant.reservation, grant.call
        if want.epoch == batch.epoch and key >= batch.summed:
            values = booking.as_ended(conn, self._names, want, end, state)
            batch.end(grant, (*values, key, want.id, want.epoch), end.counted, end.cost)
            return True
        batch.flush()
        return booking.late(conn, self._names, grant, end, state)

    def _do_each(self, conn: sqlite3.Connection, writes: Sequence[_Write]) -> list[_Answer | BaseException]:
        """Each as if it were alone; what fails is taken back, and only that."""
        now = self._clock.time_ns()
        if now >= self._owner.renew_at:
            self._owner.renew(conn, now)
        if self._orphans:
            self._void_orphans(conn)
        answers: list[_Answer | BaseException] = []
        for write in writes:
            owner = self._owner.id
            conn.execute("SAVEPOINT one")
            try:
                if isinstance(write, Reservation):
                    answer: _Answer = self._hold(conn, write)
                else:
                    answer = self._settle(conn, write)
                stands = _stands(answer)
                answers.append(answer)
            except Exception as error:
                pass_on(error)
                known = translated(error, self.where)
                if concerns_all(known) or not conn.in_transaction:
                    raise
                stands = False
                answers.append(known)
            if not stands:
                conn.execute("ROLLBACK TO one")
                self._forget()
                self._owner.id = owner  # not one that began in it: another process may be given that number
            conn.execute("RELEASE one")
        return answers


def _stands(answer: _Answer) -> bool:
    """Whether what was written for an answer is to be committed."""
    kind = type(answer)
    return kind is Grant or kind is bool or (isinstance(answer, Stale) and answer.changed)
