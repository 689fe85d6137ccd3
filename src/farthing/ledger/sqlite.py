"""The ledger in a SQLite file, or in memory."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final, TypeVar

from farthing.errors import FarthingError, LedgerError, TransactionConflict
from farthing.ledger.budgets import refusals, standing
from farthing.ledger.budgets.outbox import SqliteOutbox
from farthing.ledger.budgets.windows import Windows
from farthing.ledger.calls import booking, holding, sql
from farthing.ledger.calls.corrections import Corrections
from farthing.ledger.calls.jobs import Jobs
from farthing.ledger.calls.keys import Keys
from farthing.ledger.calls.names import Names
from farthing.ledger.calls.owner import Owner
from farthing.ledger.calls.summing import Summing
from farthing.ledger.prices import Prices
from farthing.ledger.store import (
    Clock,
    Durability,
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
from farthing.ledger.upkeep.pruning import Upkeep
from farthing.ledger.upkeep.taking_in import TakingIn
from farthing.ledger.writing.connection import Connections
from farthing.ledger.writing.faults import sure
from farthing.ledger.writing.group import Group, concerns_all, needs_full
from farthing.ledger.writing.writer import Operation, Writer
from farthing.records import Budget
from farthing.struck import pass_on, was_struck

__all__ = ["SqliteLedger"]

_BATCH: Final = 500

_T = TypeVar("_T")


class SqliteLedger(Group, Jobs, Prices, Corrections, TakingIn, Upkeep):
    """See `farthing.ledger.store.Ledger`. Threads share one; each process opens its own."""

    _connected_by: type[Connections] = Connections

    def __init__(self, where: str, *, clock: Clock, durability: Durability, timeout: float) -> None:
        self.where = where
        self.durability: Durability = durability
        self._clock = clock
        self._names = Names()
        self._windows = Windows()
        self._standing = standing.Standing()
        self._keys = Keys()
        self._owner = Owner()
        self._summing = Summing()
        self._orphans: deque[str] = deque()
        self._voiding: list[str] = []
        self._connections = self._connected_by(where, timeout=timeout, ready=self._on_open)
        self._writer = Writer(self._connections, self)
        self.outbox = SqliteOutbox(self._connections, self._write, clock)
        self._connections.on_commit = self._on_commit
        self._connections.on_rollback = self._on_rollback
        self._connections.open()

    # The life of a call

    def reserve(self, wanted: Reservation) -> Grant | Short | Stale:
        try:
            return self._write(self._reserve, wanted, full=needs_full(wanted))
        except BaseException as error:
            if was_struck(error):  # perhaps after the commit: whoever asked will never know of it
                self._orphans.append(wanted.id)
            raise

    def settle(self, grant: Grant, end: Settlement, *, void: bool = False) -> bool:
        ending = (grant, end, void)
        settled = self._write(self._settle, ending, full=needs_full(ending))
        self._owner.ended(grant.reservation.id)
        return settled

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
                pass_on(error)
                if concerns_all(error):
                    raise
                answers += [self._record_alone(entry) for entry in batch]
        return answers

    def _record_alone(self, entry: Entry) -> tuple[str, bool] | Exception:
        try:
            return self.record(entry)
        except (FarthingError, ValueError) as error:
            pass_on(error)
            return error

    def refused(self, *, day_ns: int, account: str, model: str, budget: str, reason: str) -> None:
        refusal = (day_ns // booking.DAY, account, model, budget, reason)
        self._write(lambda conn, _: refusals.count(conn, self._names, refusal), None, full=False)

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
        return self._writer.writing_here()

    def close(self) -> None:
        self._connections.refuse_below()
        self._writer.stop()
        self._connections.close(self._farewell)

    # The process

    def in_place(self) -> bool:
        """False if the file under the path is not the one that was opened."""
        return self._connections.in_place()

    def wait_longer(self, timeout: float) -> None:
        """At least so many seconds for others that write."""
        self._connections.timeout = max(self._connections.timeout, timeout)

    def write_alone(self) -> None:
        """Have each thread write for itself from now on."""
        self._writer.stop()

    def before_fork(self) -> None:
        self._connections.before_fork()

    def after_fork_in_parent(self) -> None:
        self._connections.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        self._connections.after_fork_in_child()
        self._writer.after_fork_in_child()

    # Inside a transaction

    def _write(self, operation: Callable[[sqlite3.Connection, Any], _T], argument: Any, *, full: bool) -> _T:
        """Every write passes here."""
        durability = self.durability
        full = durability == "strict" or (full and durability == "safe")
        return self._writer.write(operation, argument, full=full)

    @staticmethod
    def can_be_grouped(operation: Operation) -> bool:
        return getattr(operation, "__func__", None) in _GROUPED

    @staticmethod
    def can_be_left(operation: Operation) -> bool:
        return getattr(operation, "__func__", None) in _LEFT

    def abandoned(self, argument: object) -> Operation:
        writes = argument if isinstance(argument, list) else [argument]
        self._orphans.extend(write.id for write in writes if isinstance(write, Reservation))
        return self._void_orphans

    def _reserve(self, conn: sqlite3.Connection, want: Reservation) -> Grant | Short | Stale:
        answer = self._hold(conn, want)
        if type(answer) is not Grant and not (type(answer) is Stale and answer.changed):
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
            if stale := self._stale(conn, want) or self._redefined(conn, want, now):
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
        epoch = sure(conn, sql.EPOCH)[0]
        if epoch == want.epoch:
            return None
        if epoch != self._standing.epoch:
            self._reload(conn)
        return Stale(epoch)

    def _redefined(self, conn: sqlite3.Connection, want: Reservation, now: int) -> Stale | None:
        """The answer to a call that gives an attached budget other rules: what was written stands."""
        if not holding.redefines(conn, self._windows, want, now):
            return None
        self._reload(conn)
        return Stale(self._standing.epoch, changed=True)

    def _settle(self, conn: sqlite3.Connection, ending: Ending) -> bool:
        grant, end, void = ending
        if void:
            end = booking.voided(end)
        state = booking.VOIDED if void else booking.POSTED
        if self._orphans:
            self._void_orphans(conn)
        names = self._names
        self._summing.ended(conn, 1)
        return booking.book(conn, names, grant, end, state) or booking.late(conn, names, grant, end, state)

    def _record(self, conn: sqlite3.Connection, entry: Entry) -> tuple[str, bool]:
        if holding.redefines(conn, self._windows, entry.reservation, self._clock.time_ns()):
            self._reload(conn)
        return self._book(conn, entry)

    def _book(self, conn: sqlite3.Connection, entry: Entry) -> tuple[str, bool]:
        """By the budgets of now; of an attached one by the rules that it has."""
        want = entry.reservation
        epoch = sure(conn, sql.EPOCH)[0]
        if epoch != want.epoch:
            if epoch != self._standing.epoch:
                self._reload(conn)
            entry = replace(
                entry,
                reservation=replace(want, bounds=holding.matched(self._standing.budgets, want), epoch=epoch),
            )
        self._summing.ended(conn, 1)
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

    def _expire(self, conn: sqlite3.Connection, now: int) -> int:
        return booking.expire(conn, now, _BATCH)

    def _renew(self, conn: sqlite3.Connection, now: int) -> None:
        self._void_orphans(conn)  # nobody else does where nothing is called any more
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
            call_id = self._orphans[0]  # until it is dealt with: a signal handler may raise here
            # One that is not there may still be reserved, by this very transaction, and is then given up once
            # more; so it is not forgotten as if it had ended.
            seq = self._owner.open_key(conn, call_id)
            if seq is not None:
                self._voiding.append(call_id)
                booking.give_up(conn, seq, call_id, self._clock.time_ns())
            self._orphans.popleft()

    def _on_open(self, conn: sqlite3.Connection) -> None:
        self._owner = Owner()
        self._reload(conn)
        now = self._clock.time_ns()
        while booking.expire(conn, now, _BATCH) == _BATCH:
            continue
        self._summing.catch_up(conn)

    def _on_commit(self) -> None:
        self._names.keep()
        self._windows.keep()
        self._owner.keep()
        self.outbox.keep()
        if self._voiding:
            for call_id in self._voiding:
                self._owner.ended(call_id)
            self._voiding.clear()

    def _forget(self) -> None:
        """What was written is taken back: what is remembered of it is not there."""
        self._names.forget()
        self._windows.forget()
        self._orphans.extend(self._voiding)
        self._voiding.clear()

    def _on_rollback(self) -> None:
        self._forget()
        self.outbox.forget()
        self._owner.forget()

    def _farewell(self, conn: sqlite3.Connection) -> None:
        self._void_orphans(conn)
        self._owner.leave(conn)


_GROUPED: Final = frozenset({SqliteLedger._reserve, SqliteLedger._settle})  # noqa: SLF001  its own
_LEFT: Final = _GROUPED | {SqliteLedger._do_all, SqliteLedger._do_each}  # noqa: SLF001
