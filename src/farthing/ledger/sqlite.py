"""The ledger in a SQLite file, or in memory."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final, Literal, TypeVar

from farthing.errors import FarthingError, LedgerError, TransactionConflict
from farthing.ledger import booking, holding, sql, standing
from farthing.ledger.codes import clean
from farthing.ledger.connection import Connections
from farthing.ledger.keys import Keys
from farthing.ledger.names import ACCOUNT, MODEL, Names
from farthing.ledger.owner import Owner
from farthing.ledger.questions import Questions
from farthing.ledger.store import (
    Clock,
    Ending,
    Entry,
    Grant,
    Origin,
    Reservation,
    Settlement,
    Short,
    Stale,
    StandingBudget,
)
from farthing.ledger.windows import Windows
from farthing.records import Budget

__all__ = ["SqliteLedger"]

_BATCH: Final = 500

_T = TypeVar("_T")


class _Apart(Exception):
    """A write of several has to be taken back, which it can only be on its own."""


def _needs_full(write: Reservation | Ending) -> bool:
    """Whether a commit must survive a power cut in `safe`: what reserves money, and what overruns it."""
    if isinstance(write, Reservation):
        return write.hi > 0 and bool(write.bounds)
    grant, end, void = write
    return bool(grant.lines) and not void and end.counted > grant.held


def _is_of_all(error: object) -> bool:
    """Whether a write failed as any other would now: the ledger is locked, full or moved."""
    return isinstance(error, LedgerError) and type(error) is not LedgerError


class SqliteLedger(Questions):
    """See `farthing.ledger.store.Ledger`. Threads share one; each process opens its own."""

    def __init__(
        self, where: str, *, clock: Clock, durability: Literal["safe", "fast"], timeout: float
    ) -> None:
        self.where = where
        self.durability = durability
        self._clock = clock
        self._names = Names()
        self._windows = Windows()
        self._standing = standing.Standing()
        self._keys = Keys()
        self._owner = Owner()
        self._orphans: deque[str] = deque()
        self._voiding: list[str] = []
        self._connections = Connections(where, timeout=timeout, ready=self._on_open)
        self._connections.on_commit = self._on_commit
        self._connections.on_rollback = self._on_rollback
        self._connections.open()

    # The life of a call

    def reserve(self, wanted: Reservation) -> Grant | Short | Stale:
        try:
            return self._write(self._reserve, wanted, full=_needs_full(wanted))
        except Exception:
            raise
        except BaseException:
            # Struck by a signal handler, perhaps after the commit: whoever asked will never know of it.
            self._orphans.append(wanted.id)
            raise

    def settle(self, grant: Grant, end: Settlement, *, void: bool = False) -> bool:
        ending = (grant, end, void)
        settled = self._write(self._settle, ending, full=_needs_full(ending))
        self._owner.ended(grant.reservation.id)
        return settled

    def together(
        self, writes: Sequence[Reservation | Ending]
    ) -> Sequence[Grant | Short | Stale | bool | BaseException]:
        answers: list[Any]
        full = any(_needs_full(write) for write in writes)
        try:
            answers = self._write(self._do_all, writes, full=full)
        except Exception as error:  # noqa: BLE001  of one, which is found, or of all
            if _is_of_all(error):
                return [error] * len(writes)
            answers = []
            for write in writes:
                stopped = bool(answers) and _is_of_all(answers[-1])
                answers.append(answers[-1] if stopped else self._do_alone(write))
            return answers
        except BaseException:
            self._orphans.extend(write.id for write in writes if isinstance(write, Reservation))
            raise
        for write in writes:
            if not isinstance(write, Reservation):
                self._owner.ended(write[0].reservation.id)
        return answers

    def _do_alone(self, write: Reservation | Ending) -> Grant | Short | Stale | bool | Exception:
        try:
            if isinstance(write, Reservation):
                return self.reserve(write)
            grant, end, void = write
            return self.settle(grant, end, void=void)
        except Exception as error:  # noqa: BLE001  it is the answer
            return error

    def give_up(self, call_id: str) -> None:
        self._orphans.append(call_id)
        self._write(self._void_orphans, None, full=False)

    def release(self, grant: Grant) -> bool:
        released = self._write(booking.release, grant, full=False)
        self._owner.ended(grant.reservation.id)
        return released

    def record(self, entry: Entry) -> tuple[str, bool]:
        return self._write(self._record, entry, full=True)

    def record_many(self, entries: Iterable[Entry]) -> list[tuple[str, bool] | Exception]:
        answers: list[tuple[str, bool] | Exception] = []
        rest = iter(entries)
        while batch := list(islice(rest, _BATCH)):
            try:
                answers += self._write(self._record_batch, batch, full=True)
            except (LedgerError, ValueError) as error:
                if _is_of_all(error):
                    raise
                answers += [self._record_alone(entry) for entry in batch]
        return answers

    def _record_alone(self, entry: Entry) -> tuple[str, bool] | Exception:
        try:
            return self.record(entry)
        except (FarthingError, ValueError) as error:
            return error

    def refused(self, *, day_ns: int, account: str, model: str, budget: str, reason: str) -> None:
        self._write(self._refused, (day_ns, account, model, budget, reason), full=False)

    def expire(self, now_ns: int) -> int:
        booked = 0
        while True:
            some = self._write(self._expire, now_ns, full=False)
            booked += some
            if some < _BATCH:
                return booked

    def renew(self, now_ns: int) -> None:
        """Prolong the lease of this process's calls; for one that is idle."""
        if self._owner.id is not None:
            self._write(self._renew, now_ns, full=False)

    # Budgets

    def standing(self, *, fresh: bool = False) -> tuple[int, Sequence[StandingBudget]]:
        if fresh:
            self._write(self._reload, None, full=False)
        return self._standing.epoch, self._standing.budgets

    def set_budget(self, budget: Budget, *, origin: Origin) -> None:
        self._write(self._change, lambda conn, now: standing.write(conn, budget, origin, now), full=True)

    def remove_budget(self, name: str) -> bool:
        return self._write(self._change, lambda conn, now: standing.remove(conn, name, now), full=True)

    def release_budget(self, name: str) -> bool:
        return self._write(self._change, lambda conn, now: standing.release(conn, name, now), full=True)

    def writing_here(self) -> bool:
        return self._connections.writing_here()

    def close(self) -> None:
        self._connections.close(self._farewell)

    # The process

    def in_place(self) -> bool:
        """False if the file under the path is not the one that was opened."""
        return self._connections.in_place()

    def before_fork(self) -> bool:
        return self._connections.before_fork()

    def after_fork_in_parent(self) -> None:
        self._connections.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        self._connections.after_fork_in_child()

    # Inside a transaction

    def _write(self, operation: Callable[[sqlite3.Connection, Any], _T], argument: Any, *, full: bool) -> _T:
        """Every write passes here."""
        return self._connections.write(operation, argument, full=full and self.durability == "safe")

    def _reserve(self, conn: sqlite3.Connection, want: Reservation) -> Grant | Short | Stale:
        answer = self._hold(conn, want)
        if type(answer) is not Grant:
            self._connections.cancel(conn)
        return answer

    def _hold(self, conn: sqlite3.Connection, want: Reservation) -> Grant | Short | Stale:
        """The answer to a reserve; if it is no grant, what was written has to be taken back."""
        owner, now = self._owner, self._clock.time_ns()
        if now >= owner.renew_at:
            owner.renew(conn, now)
        if self._orphans:
            self._void_orphans(conn)
        if owner.open_key(conn, want.id) is not None:
            raise ValueError(f"call {want.id!r} was reserved before; every call needs an id of its own")
        # The insert finds out whether the budgets have changed; before a window is made it must be known.
        taken = holding.known_places(self._windows, want)
        if taken is None:
            if stale := self._stale(conn, want):
                return stale
            taken = holding.places(conn, self._windows, want)
        held = holding.hold(conn, want, taken) if taken else want.hi
        if not isinstance(held, int):
            if stale := self._stale(conn, want):
                return stale
            if held is None:
                raise LedgerError(f"A window that binds call {want.id!r} is not there any more.")
            return held
        lines = tuple((place.id, place.expected) for place, _ in taken)
        seq = self._insert(conn, want, held, lines)
        if seq is None:
            if stale := self._stale(conn, want):
                return stale
            owner.renew(conn, now, want.started_ns)
            seq = self._insert(conn, want, held, lines)
        if seq is None:
            raise LedgerError(f"{self.where} cannot hold call {want.id!r} now.")
        owner.began(want.id, seq)
        return Grant(seq, want, held, lines)

    def _insert(
        self, conn: sqlite3.Connection, want: Reservation, held: int, lines: Sequence[tuple[int, bool]]
    ) -> int | None:
        try:
            return booking.insert(
                conn,
                self._names,
                want,
                held,
                keys=self._keys,
                owner=self._owner.id,
                windows=[line[0] for line in lines],
            )
        except sqlite3.IntegrityError as error:
            raise holding.twice(error, want) from error

    def _stale(self, conn: sqlite3.Connection, want: Reservation) -> Stale | None:
        """The answer to a call that was matched against other budgets than there are now."""
        epoch = conn.execute(sql.EPOCH).fetchone()[0]
        if epoch == want.epoch:
            return None
        if epoch != self._standing.epoch:
            self._reload(conn)
        return Stale(epoch)

    def _do_all(
        self, conn: sqlite3.Connection, writes: Sequence[Reservation | Ending]
    ) -> list[Grant | Short | Stale | bool]:
        answers: list[Grant | Short | Stale | bool] = []
        for write in writes:
            if not isinstance(write, Reservation):
                answers.append(self._settle(conn, write))
                continue
            before = conn.total_changes
            answer = self._hold(conn, write)
            if type(answer) is not Grant and conn.total_changes != before:
                raise _Apart
            answers.append(answer)
        return answers

    def _settle(self, conn: sqlite3.Connection, ending: Ending) -> bool:
        grant, end, void = ending
        if void:
            end = booking.voided(end)
        state = booking.VOIDED if void else booking.POSTED
        if self._orphans:
            self._void_orphans(conn)
        names = self._names
        return booking.book(conn, names, grant, end, state) or booking.late(conn, names, grant, end, state)

    def _record(self, conn: sqlite3.Connection, entry: Entry) -> tuple[str, bool]:
        want = entry.reservation
        epoch = conn.execute(sql.EPOCH).fetchone()[0]
        if epoch != want.epoch:
            if epoch != self._standing.epoch:
                self._reload(conn)
            entry = replace(
                entry,
                reservation=replace(want, bounds=holding.matched(self._standing.budgets, want), epoch=epoch),
            )
        return booking.record(conn, self._names, self._windows, self._keys, entry)

    def _record_batch(
        self, conn: sqlite3.Connection, batch: list[Entry]
    ) -> list[tuple[str, bool] | Exception]:
        answers: list[tuple[str, bool] | Exception] = []
        for entry in batch:
            try:
                answers.append(self._record(conn, entry))
            except TransactionConflict as conflict:
                answers.append(conflict)
        return answers

    def _refused(self, conn: sqlite3.Connection, refusal: tuple[int, str, str, str, str]) -> None:
        day_ns, account, model, budget, reason = refusal
        conn.execute(
            "INSERT INTO refusal (day, account, model, budget, reason, calls) VALUES (?, ?, ?, ?, ?, 1)"
            " ON CONFLICT (day, account, model, budget, reason) DO UPDATE SET calls = calls + 1",
            (
                day_ns // booking.DAY,
                self._names.name(conn, ACCOUNT, account),
                self._names.name(conn, MODEL, model),
                clean(budget),
                clean(reason),
            ),
        )

    def _expire(self, conn: sqlite3.Connection, now: int) -> int:
        return booking.expire(conn, now, _BATCH)

    def _renew(self, conn: sqlite3.Connection, now: int) -> None:
        self._owner.renew(conn, now)  # which may be another since the connection was opened for this write

    def _change(self, conn: sqlite3.Connection, change: Callable[[sqlite3.Connection, int], bool]) -> bool:
        changed = change(conn, self._clock.time_ns())
        if changed:
            self._reload(conn)
        return changed

    def _reload(self, conn: sqlite3.Connection, _: None = None) -> None:
        self._standing.read(conn)
        self._windows.clear()

    def _void_orphans(self, conn: sqlite3.Connection, _: None = None) -> None:
        while self._orphans:
            call_id = self._orphans.popleft()
            self._voiding.append(call_id)
            seq = self._owner.open_key(conn, call_id)
            if seq is not None:
                booking.give_up(conn, seq, call_id, self._clock.time_ns())

    def _on_open(self, conn: sqlite3.Connection) -> None:
        self._owner = Owner()
        self._reload(conn)
        now = self._clock.time_ns()
        while booking.expire(conn, now, _BATCH) == _BATCH:
            continue

    def _on_commit(self) -> None:
        self._names.keep()
        self._windows.keep()
        self._owner.keep()
        if self._voiding:
            for call_id in self._voiding:
                self._owner.ended(call_id)
            self._voiding.clear()

    def _on_rollback(self) -> None:
        self._names.forget()
        self._windows.forget()
        self._orphans.extend(self._voiding)
        self._voiding.clear()
        self._owner.forget()

    def _farewell(self, conn: sqlite3.Connection) -> None:
        self._void_orphans(conn)
        self._owner.leave(conn)
