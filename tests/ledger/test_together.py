"""Writes of several callers in one commit: each has the answer that it would have had alone."""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from pathlib import Path

import pytest

from farthing.errors import LedgerLocked, TransactionConflict
from farthing.ledger import Ledger
from farthing.ledger.calls.owner import LEASE
from farthing.ledger.sqlite import SqliteLedger
from farthing.ledger.store import Grant, Reservation, Short, Stale
from farthing.ledger.writing.batch import Batch
from farthing.records import Budget
from ledger.making import NOON, USD, Clock, opened, reservation, reserved, settlement, with_budget


def spent_and_held(ledger: Ledger) -> list[tuple[int, int]]:
    return [(window.spent, window.held) for window in ledger.windows()]


def test_reserves_and_settles_are_done_in_their_order(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 3))
    first = reserved(ledger, [bound], 2 * USD)
    small, large = reservation(ledger, [bound], USD), reservation(ledger, [bound], 2 * USD)
    answers = ledger.together([(first, settlement(USD // 2), False), small, large])
    assert answers[0] is True
    assert isinstance(answers[1], Grant)
    assert isinstance(answers[2], Short)
    assert spent_and_held(ledger) == [(USD // 2, USD)]


def test_no_more_are_granted_than_the_limit_affords(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 5))
    answers = ledger.together([reservation(ledger, [bound]) for _ in range(64)])
    assert [type(answer) for answer in answers] == [Grant] * 5 + [Short] * 59
    assert spent_and_held(ledger) == [(0, 5 * USD)]


def test_what_a_refused_one_had_taken_of_its_other_windows_is_free_again(ledger: Ledger) -> None:
    wide, narrow = with_budget(ledger, Budget("wide", 50)), with_budget(ledger, Budget("narrow", 2))
    answers = ledger.together([reservation(ledger, [wide, narrow]) for _ in range(4)])
    assert [type(answer) for answer in answers] == [Grant, Grant, Short, Short]
    assert spent_and_held(ledger) == [(0, 2 * USD), (0, 2 * USD)]


def test_an_error_of_one_is_its_answer_and_stops_no_other(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 9))
    there = reserved(ledger, [bound])
    again = reservation(ledger, [bound], id=there.reservation.id)
    huge = reserved(ledger, [bound])
    before, after = reservation(ledger, [bound]), reservation(ledger, [bound])
    answers = ledger.together([before, again, (huge, settlement(2**70), False), after])
    assert isinstance(answers[0], Grant)
    assert isinstance(answers[1], ValueError)
    assert isinstance(answers[2], Exception)
    assert isinstance(answers[3], Grant)
    assert spent_and_held(ledger) == [(0, 4 * USD)]


def test_one_that_was_matched_before_the_budgets_changed_is_stale_alone(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 9))
    old = reservation(ledger, [bound])
    bound = with_budget(ledger, Budget("all", 8))
    answers = ledger.together([old, reservation(ledger, [bound])])
    assert [type(answer) for answer in answers] == [Stale, Grant]
    assert spent_and_held(ledger) == [(0, USD)]


def test_a_call_settled_twice_is_booked_once(ledger: Ledger) -> None:
    grant = reserved(ledger, [with_budget(ledger, Budget("all", 9))])
    ending = (grant, settlement(USD // 2), False)
    assert list(ledger.together([ending, ending])) == [True, False]
    assert spent_and_held(ledger) == [(USD // 2, 0)]


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_one_that_is_given_up_while_all_are_tried_again_leaves_no_hold(
    guarded: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A call that is settled twice has the commit tried again. The control forgets the one that was given up,
    as if it had ended, when it is not there yet."""
    ledger = opened(tmp_path / "ledger.db")
    bound = with_budget(ledger, Budget("all", 9))
    ended, want = reserved(ledger, [bound]), reservation(ledger, [bound])
    ledger.settle(ended, settlement(USD // 2))
    real, given_up = Batch.flush, iter([want.id])

    def flush(batch: Batch) -> None:
        ledger._orphans.extend(given_up)  # type: ignore[attr-defined]
        real(batch)

    monkeypatch.setattr(Batch, "flush", flush)
    answers = ledger.together([(ended, settlement(USD // 2), False), want])
    assert [type(answer) for answer in answers] == [bool, Grant]
    if not guarded:
        ledger._owner.ended(want.id)  # type: ignore[attr-defined]
    ledger.give_up(want.id)
    assert ledger.facts()["open_calls"] == (0 if guarded else 1)
    ledger.close()


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_one_that_is_given_up_just_before_a_refusal_is_taken_back_leaves_no_hold(
    guarded: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a refused call has written is taken back, and with it the void of the other. The control believes
    that this stands."""
    ledger = opened(tmp_path / "ledger.db")
    bound = with_budget(ledger, Budget("all", 3))
    ended, left = reserved(ledger, [bound]), reserved(ledger, [bound])
    ledger.settle(ended, settlement(USD // 2))
    real, given_up = SqliteLedger._hold, iter([left.reservation.id])

    def hold(self: SqliteLedger, conn: sqlite3.Connection, want: Reservation) -> Grant | Short | Stale:
        self._orphans.extend(given_up)
        return real(self, conn, want)

    monkeypatch.setattr(SqliteLedger, "_hold", hold)
    if not guarded:
        monkeypatch.setattr(SqliteLedger, "_forget", lambda _: None)
    answers = ledger.together([(ended, settlement(), False), reservation(ledger, [bound], 3 * USD)])
    assert [type(answer) for answer in answers] == [bool, Short]
    ledger.give_up(left.reservation.id)
    assert ledger.facts()["open_calls"] == (0 if guarded else 1)
    ledger.close()


def test_a_lease_that_began_for_a_refused_one_is_nobody_elses(tmp_path: Path, clock: Clock) -> None:
    """A process whose lease others have ended takes a new one; the number of one that was taken back may be
    given to somebody else, who would answer for its calls."""
    ledger = opened(tmp_path / "ledger.db", clock)
    ended, named = reserved(ledger), reserved(ledger, transaction_id="t")
    for grant in (ended, named):
        ledger.settle(grant, settlement())
    later = Clock(NOON + LEASE + 1)
    other = SqliteLedger(str(tmp_path / "ledger.db"), clock=later, durability="fast", timeout=20.0)
    again = reservation(ledger, transaction_id="t")
    answers = ledger.together([(ended, settlement(), False), again])
    assert [type(answer) for answer in answers] == [bool, TransactionConflict]
    theirs = reserved(other, started_ns=NOON + LEASE)
    reserved(ledger)
    other.settle(theirs, settlement())
    other.close()
    assert ledger.check() == []
    ledger.close()


def test_a_voided_one_costs_nothing(ledger: Ledger) -> None:
    grants = [reserved(ledger, [with_budget(ledger, Budget("all", 9))]) for _ in range(2)]
    assert list(ledger.together([(grant, settlement(USD), True) for grant in grants])) == [True, True]
    assert spent_and_held(ledger) == [(0, 0)]
    assert {row["outcome"] for row in ledger.calls()} == {"error"}


def test_all_of_them_are_one_commit(tmp_path: Path, clock: Clock) -> None:
    ledger = opened(tmp_path / "ledger.db", clock)
    bound = with_budget(ledger, Budget("all", 99))
    reserved(ledger, [bound])  # which makes the window
    done: list[str] = []
    connection: sqlite3.Connection = ledger._connections._conn  # type: ignore[attr-defined]
    connection.set_trace_callback(done.append)
    ledger.together([reservation(ledger, [bound]) for _ in range(20)])
    connection.set_trace_callback(None)
    assert done.count("COMMIT") == 1
    assert spent_and_held(ledger) == [(0, 21 * USD)]
    ledger.close()


def test_a_locked_ledger_is_waited_for_once_for_all(tmp_path: Path, clock: Clock) -> None:
    ledger = opened(tmp_path / "ledger.db", clock, timeout=0.05)
    waits: list[object] = []
    connections = ledger._connections  # type: ignore[attr-defined]
    wait = connections._lock.__class__.wait
    with pytest.MonkeyPatch.context() as patch, (tmp_path / "ledger.db.lock").open("rb") as lock:
        entered = threading.Event()
        patch.setattr(
            connections._lock.__class__, "wait", lambda self: (waits.append(self), entered.set(), wait(self))
        )
        fcntl.flock(lock, fcntl.LOCK_EX)
        answers = ledger.together([reservation(ledger) for _ in range(20)])
        assert entered.wait(20)
    assert {type(answer) for answer in answers} == {LedgerLocked}
    assert len(waits) == 1
    ledger.wait_longer(20)  # for a thread of its own that has the lock file now
    ledger.close()
