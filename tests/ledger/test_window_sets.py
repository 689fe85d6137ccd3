"""Calls that are charged to several windows say so by the id of their set."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from farthing.ledger import Ledger
from farthing.ledger.budgets import ended
from farthing.ledger.calls.names import Names
from farthing.ledger.sqlite import SqliteLedger
from farthing.ledger.store import Bound, Stale
from farthing.records import Budget
from ledger.making import (
    DAY,
    NOON,
    Clock,
    attached_bound,
    opened,
    reservation,
    reserved,
    settlement,
    with_budget,
)

LIMIT = Budget("all", 1_000)


def spend(ledger: Ledger, *bounds: Bound, **fields: object) -> None:
    ledger.settle(reserved(ledger, bounds, **fields), settlement())  # type: ignore[arg-type]


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Of a ledger that is closed."""
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(statement).fetchall()


def test_calls_of_the_same_windows_have_one_set_whichever_process_made_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for _ in range(2):
        ledger = opened(path)
        one, two, three = (with_budget(ledger, Budget(name, 1_000)) for name in ("one", "two", "three"))
        for bounds in ([one, two], [two, one], [one, two, three], [one], []):
            spend(ledger, *bounds)
        faults = ledger.check()
        ledger.close()
        assert faults == []
    assert rows(path, "SELECT id, windows FROM window_set") == [(1, "1,2"), (2, "1,2,3")]
    assert rows(path, "SELECT windows, count(*) FROM call GROUP BY 1 ORDER BY 1") == [
        (None, 2),
        (-2, 2),
        (-1, 4),
        (1, 2),
    ]
    assert rows(path, "SELECT count(*) FROM line") == [(16,)]
    assert rows(path, "SELECT count(*) FROM more_line") == [(0,)]


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_a_set_that_was_taken_back_is_made_anew(
    tmp_path: Path, clock: Clock, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control goes on to believe that it is there."""
    path = tmp_path / "ledger.db"
    ledger = opened(path, clock)
    other = SqliteLedger(str(path), clock=clock, durability="fast", timeout=20.0)  # as in another process
    bounds = [with_budget(ledger, Budget(name, 1_000)) for name in ("one", "two")]
    for bound in bounds:
        spend(ledger, bound)
    other.set_budget(Budget("three", 1_000), origin="code")
    if not guarded:
        monkeypatch.setattr(Names, "forget", lambda self: self._fresh.clear())
    assert isinstance(ledger.reserve(reservation(ledger, bounds)), Stale)
    spend(ledger, *bounds)
    faults = ledger.check()
    ledger.close()
    other.close()
    assert (faults == []) is guarded
    if not guarded:
        assert "joins call" in " ".join(faults)


def test_a_set_goes_with_a_window_of_a_run_that_has_ended(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "ledger.db"
    ledger = opened(path, clock)
    house = with_budget(ledger, LIMIT)
    for key in ("old", "new"):
        run = attached_bound(Budget("job", 5, "run"), "job", key)
        spend(ledger, house, run, started_ns=NOON - (40 * DAY if key == "old" else 0))
    before = clock.now - ended.IDLE
    assert before > NOON - 40 * DAY
    ledger.prune(NOON // DAY)
    faults = ledger.check()
    ledger.close()
    assert faults == []
    [(left,)] = rows(path, "SELECT windows FROM window_set")
    assert rows(path, "SELECT group_concat(budget_window) FROM set_line") == [(left,)]


def test_a_window_that_was_to_begin_later_leaves_its_sets(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "ledger.db"
    ledger = opened(path, clock)
    names = ("stays", "changes")
    bounds = [with_budget(ledger, Budget(name, 1_000, "day")) for name in names]
    spend(ledger, *bounds, started_ns=NOON + DAY)  # by a clock that was ahead
    ledger.set_budget(Budget("changes", 1_000, "hour"), origin="cli")
    spent = {window.budget: window.spent for window in ledger.windows() if window.spent}
    faults = ledger.check()
    ledger.close()
    assert faults == []
    assert list(spent) == ["stays", "changes"]  # in one that was made for it since, with a line of its own
    assert spent["stays"] == spent["changes"]
    assert len(rows(path, "SELECT * FROM set_line")) == 1


def test_the_check_finds_a_call_whose_set_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = opened(path)
    spend(ledger, *(with_budget(ledger, Budget(name, 1_000)) for name in ("one", "two")))
    ledger.close()
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("DELETE FROM set_line")
        conn.execute("DELETE FROM window_set")
        conn.commit()
    ledger = opened(path)
    faults = " ".join(ledger.check())
    ledger.close()
    assert "and window -1, one of which is not there" in faults
    assert "Window 1 of budget 'one'" in faults
