"""When finished calls are added up changes no sum."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farthing.errors import LedgerCorrupt
from farthing.ledger import Ledger
from farthing.ledger.calls import sql
from farthing.ledger.calls.booking import DAY
from farthing.ledger.calls.keys import DAY as DAY_OF_KEYS
from farthing.ledger.calls.keys import key_at
from farthing.ledger.calls.owner import LEASE
from farthing.ledger.calls.summing import SUMMED, Summing, add_up
from farthing.records import Budget
from ledger.making import (
    NOON,
    USD,
    Clock,
    entry,
    opened,
    python,
    reservation,
    reserved,
    settlement,
    with_budget,
)

ROLLUPS = ((), ("day", "provider", "model", "operation"), ("day", "account", "context"))


def connection(ledger: Ledger) -> sqlite3.Connection:
    found: sqlite3.Connection = ledger._connections._conn  # type: ignore[attr-defined]
    return found


def summed(ledger: Ledger) -> int:
    found: int = connection(ledger).execute(SUMMED).fetchone()[0]
    return found


def shown(ledger: Ledger) -> list[object]:
    return [ledger.totals(by) for by in ROLLUPS]


def life(ledger: Ledger, clock: Clock) -> Iterator[None]:
    """Whatever can happen to a call, a step at a time."""
    bound = with_budget(ledger, Budget("all", 1_000, "day"))
    calls = [
        reserved(ledger, [bound], started_ns=NOON + n, account=f"account-{n % 2}", model=f"model-{n % 3}")
        for n in range(9)
    ]
    yield
    ledger.settle(calls[0], settlement())
    ledger.settle(calls[1], settlement(provider="azure", model="other"))
    yield
    ledger.settle(calls[2], settlement(), void=True)
    ledger.settle(calls[3], settlement(USD // 10, outcome="unknown", counted=USD, usage_source="estimated"))
    yield
    ledger.settle(calls[3], settlement(USD // 3))  # late
    ledger.correct(calls[0].reservation.id, cost=5, reason="the invoice")
    yield
    ledger.record(entry(ledger, started_ns=NOON - DAY))
    ledger.record(entry(ledger, started_ns=NOON + 5, account="account-1"))
    ledger.release(calls[4])
    yield
    ledger.together([(calls[5], settlement(), False), reservation(ledger, [bound], started_ns=NOON + 20)])
    yield
    was = ledger.call(calls[1].reservation.id)
    assert was is not None
    yield
    clock.now += LEASE + 1
    ledger.expire(clock.now)  # the rest
    yield
    ledger.settle(calls[6], settlement(USD // 7))  # late
    yield
    ledger.prune((NOON - DAY) // DAY + 1)
    yield


def steps_of(ledger: Ledger, clock: Clock) -> int:
    return sum(1 for _ in life(ledger, clock))


@pytest.mark.parametrize("at", [0, 4, 12, 30, None])
def test_when_calls_are_added_up_changes_no_sum(at: int | None) -> None:
    """Up to the fourth, twelfth ... call of the time, at each step of their life."""
    clock = Clock()
    plain = opened(":memory:", clock)
    steps = steps_of(plain, clock)
    wanted = shown(plain)
    assert summed(plain) <= NOON // DAY * DAY_OF_KEYS  # by the pruning alone
    for step in range(steps):
        clock = Clock()
        ledger = opened(":memory:", clock)
        for number, _ in enumerate(life(ledger, clock)):
            if number == step:
                before = 2**62 if at is None else key_at(NOON // 1000 * 1000) + at
                add_up(connection(ledger), before)
            assert ledger.check() == []
        assert shown(ledger) == wanted
        ledger.close()
    plain.close()


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_a_call_that_ends_after_its_time_was_added_up_is_added_too(
    guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not guarded:
        monkeypatch.setattr(sql, "BOOK", sql.BOOK.replace(f"AND seq >= ({SUMMED})", ""))
    ledger = opened(":memory:")
    grant = reserved(ledger)
    add_up(connection(ledger), grant.call + 1)
    assert ledger.settle(grant, settlement()) is True
    assert ledger.totals()[0].calls == int(guarded)
    assert (ledger.check() == []) is guarded
    ledger.close()


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_it_is_added_too_in_the_commit_of_many(guarded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = opened(":memory:")
    bound = with_budget(ledger, Budget("all", 1_000))
    before, after = (
        [reserved(ledger, [bound]) for _ in range(3)],
        [reserved(ledger, [bound]) for _ in range(3)],
    )
    add_up(connection(ledger), after[0].call)
    if not guarded:
        monkeypatch.setattr(sql, "BOOK", sql.BOOK.replace(f"AND seq >= ({SUMMED})", ""))
        monkeypatch.setattr("farthing.ledger.writing.batch._STATE", _blind("farthing.ledger.writing.batch"))
    answers = ledger.together([(grant, settlement(), False) for grant in (*before, *after)])
    assert list(answers) == [True] * 6
    assert ledger.totals()[0].calls == (6 if guarded else 3)
    assert (ledger.check() == []) is guarded
    ledger.close()


def _blind(module: str) -> str:
    from importlib import import_module  # noqa: PLC0415

    state: str = import_module(module)._STATE
    return state.replace(f"({SUMMED})", "0")


def test_calls_are_added_up_by_and_by(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger.db")
    marks = set()
    for _ in range(26):
        grants = ledger.together([reservation(ledger) for _ in range(100)])
        ledger.together([(grant, settlement(), False) for grant in grants])  # type: ignore[misc]
        marks.add(summed(ledger))
    assert len(marks) == 2  # 0, and as the 2,000th had ended; as the 1,000th had, there were too few
    rows = connection(ledger).execute("SELECT sum(calls) FROM day_sum WHERE account = 0").fetchone()[0]
    assert rows == 2_000 - Summing.latest - 1
    assert ledger.totals()[0].calls == 2_600
    assert ledger.check() == []
    ledger.close()


def test_what_short_lived_programs_leave_is_added_up_as_the_next_one_begins(tmp_path: Path) -> None:
    path, calls = tmp_path / "ledger.db", Summing.often - 1
    for turn in range(3):
        ledger = opened(path)
        assert (summed(ledger) > 0) is False
        ledger.record_many([entry(ledger, started_ns=NOON + n + turn * calls) for n in range(calls)])
        ledger.close()
    ledger = opened(path)
    assert summed(ledger) > 0
    assert ledger.totals()[0].calls == 3 * calls
    assert ledger.check() == []
    ledger.close()


CALLS = """
import sys
from pathlib import Path
from ledger.making import add_up_often, opened, reserved, settlement, standing_bound
from farthing.records import Budget
import time
add_up_often()
ledger = opened(Path(sys.argv[1]), time, timeout=60.0)
bound = standing_bound(Budget("all", 100_000))
print("ready", flush=True)
sys.stdin.readline()
running = []
for n in range(300):
    running.append(reserved(ledger, [bound], started_ns=time.time_ns()))
    if len(running) > n % 12:
        ledger.settle(running.pop(n % len(running)), settlement())
for grant in running:
    ledger.settle(grant, settlement())
ledger.close()
"""


def test_processes_that_add_up_at_once_add_each_call_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = opened(path)
    with_budget(ledger, Budget("all", 100_000))
    ledger.close()
    processes = [python(CALLS, path) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    errors = [process.communicate("\n")[1] for process in processes]
    assert errors == [""] * 4
    ledger = opened(path)
    assert summed(ledger) > 0
    assert ledger.totals()[0].calls == 1_200
    assert ledger.check() == []
    ledger.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda ledger, call: ledger.correct(call, cost=5, reason="the invoice"),
        lambda ledger, _: ledger.prune(NOON // DAY),
    ],
)
def test_a_ledger_that_has_lost_what_was_added_up_is_damaged(change: Callable[[Ledger, str], object]) -> None:
    ledger = opened(":memory:")
    call, _ = ledger.record(entry(ledger))
    connection(ledger).execute("DELETE FROM meta WHERE key = 'summed'")
    with pytest.raises(LedgerCorrupt, match="restore it from a backup"):
        change(ledger, call)
    ledger.close()


@pytest.mark.parametrize("view", ["day_model", "day_account"])
def test_what_is_not_added_up_yet_is_found_without_reading_all_calls(view: str) -> None:
    ledger = opened(":memory:")
    plan = connection(ledger).execute(f"EXPLAIN QUERY PLAN SELECT sum(cost) FROM {view} WHERE day = 5")
    steps = " ".join(row[3] for row in plan)
    assert "SEARCH call USING INTEGER PRIMARY KEY (rowid>?)" in steps
    assert "SEARCH day_sum USING PRIMARY KEY (day=?" in steps
    ledger.close()
