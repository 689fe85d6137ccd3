"""Sums above 63 bits: 922 bills of ten million dollars are all that a window can hold."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from farthing.errors import LedgerError
from farthing.ledger import Ledger
from farthing.ledger.calls import booking
from farthing.ledger.calls.owner import LEASE
from farthing.ledger.parking import JobRef
from farthing.ledger.store import Bound, Grant
from farthing.ledger.upkeep import migrations
from farthing.money import MAX_CALL
from farthing.records import Budget
from ledger.making import (
    DAY,
    NOON,
    USD,
    Clock,
    entry,
    opened,
    reservation,
    reserved,
    settlement,
    with_budget,
)

BILLS = 922
LATER = NOON + 2 * LEASE
SOFT = Budget("soft", 999_999_999, "total", mode="soft")


def full(ledger: Ledger) -> Bound:
    """A budget whose window has room for less than one bill."""
    bound = with_budget(ledger, SOFT)
    ledger.record_many([entry(ledger, [bound], MAX_CALL) for _ in range(BILLS)])
    return bound


def window(ledger: Ledger) -> tuple[int, int, int]:
    [only] = ledger.windows()
    return only.spent, only.held, only.cost


def settles(ledger: Ledger, bound: Bound, grant: Grant) -> Any:
    return ledger.settle(grant, settlement(MAX_CALL))


def settles_with_others(ledger: Ledger, bound: Bound, grant: Grant) -> Any:
    [answer, free] = ledger.together(
        [(grant, settlement(MAX_CALL), False), (reserved(ledger), settlement(0), False)]
    )
    assert free is True
    return answer


def records(ledger: Ledger, bound: Bound, grant: Grant) -> Any:
    return ledger.record(entry(ledger, [bound], MAX_CALL))


def records_with_others(ledger: Ledger, bound: Bound, grant: Grant) -> Any:
    [answer, (_, new)] = ledger.record_many([entry(ledger, [bound], MAX_CALL), entry(ledger, [bound], 0)])
    assert new
    return answer


def corrects(ledger: Ledger, bound: Bound, grant: Grant) -> Any:
    call_id, _ = ledger.record(entry(ledger, [bound], 0))
    return ledger.correct(call_id, cost=MAX_CALL, reason="the invoice")


WAYS = [settles, settles_with_others, records, records_with_others, corrects]


@pytest.mark.parametrize("way", WAYS)
def test_a_bill_that_no_sum_can_hold_is_an_error_and_changes_nothing(
    ledger: Ledger, way: Callable[[Ledger, Bound, Grant], Any]
) -> None:
    bound = full(ledger)
    grant = reserved(ledger, [bound])
    before = window(ledger)
    assert before == (BILLS * MAX_CALL, USD, BILLS * MAX_CALL)
    try:
        error = way(ledger, bound, grant)
    except LedgerError as raised:
        error = raised
    assert type(error) is LedgerError  # and not one that says that the file is damaged or locked
    assert window(ledger) == before
    assert ledger.check() == []
    assert ledger.settle(grant, settlement(7))  # what has room goes on
    assert window(ledger) == (before[0] + 7, 0, before[2] + 7)
    [total] = ledger.totals()
    assert (total.cost, type(total.cost)) == (before[2] + 7, int)


def test_holds_that_no_sum_can_hold_are_an_error(ledger: Ledger) -> None:
    bound = with_budget(ledger, SOFT)
    for _ in range(BILLS):
        reserved(ledger, [bound], MAX_CALL)
    with pytest.raises(LedgerError):
        ledger.reserve(reservation(ledger, [bound], MAX_CALL))
    [answer] = ledger.together([reservation(ledger, [bound], MAX_CALL)])
    assert type(answer) is LedgerError
    assert window(ledger) == (0, BILLS * MAX_CALL, 0)


@pytest.mark.parametrize("way", [settles, settles_with_others, records])
def test_in_a_table_of_any_types_it_would_become_a_figure_that_is_not_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[Ledger, Bound, Grant], Any]
) -> None:
    """The control: STRICT is what refuses it (https://sqlite.org/stricttables.html)."""
    tables = tuple(table.replace(") STRICT", ")") for table in migrations.TABLES)
    monkeypatch.setattr(migrations, "TABLES", tables)
    ledger = opened(tmp_path / "ledger.db")
    bound = full(ledger)
    way(ledger, bound, reserved(ledger, [bound]))
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as conn:
        assert conn.execute("SELECT typeof(spent) FROM budget_window").fetchone() == ("real",)
    ledger.close()


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_a_dead_call_that_no_sum_can_hold_keeps_nobody_from_the_ledger(
    tmp_path: Path, clock: Clock, guarded: bool, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    if not guarded:
        monkeypatch.setattr(booking, "unless_too_large", lambda _conn, _what, step: step() or True)
    first = opened(tmp_path / "ledger.db", clock)
    bound = full(first)
    large = reserved(first, [bound], MAX_CALL, expected=MAX_CALL)
    small = [reserved(first, [bound]) for _ in range(3)]
    job = reserved(first, [bound], MAX_CALL, expected=MAX_CALL)
    first.park(job, JobRef("", "batch", "b"), NOON + 1, {})
    first.close()
    clock.now = LATER
    if not guarded:
        with pytest.raises(LedgerError):
            opened(tmp_path / "ledger.db", clock)
        return
    with caplog.at_level(logging.ERROR):
        second = opened(tmp_path / "ledger.db", clock)
    left = {large.reservation.id, job.reservation.id}
    assert {each.split()[1] for each in caplog.messages} == left
    booked = BILLS * MAX_CALL + 3 * USD // 10  # a soft budget is charged what is expected
    assert window(second) == (booked, 2 * MAX_CALL, booked)
    assert [second.call(grant.reservation.id)["outcome"] for grant in small] == ["expired"] * 3
    assert second.expire(LATER + DAY) == 0
    assert second.facts()["open_calls"] == 2
    assert second.check() == []
    for grant in (large, job):
        assert second.settle(grant, settlement(0), void=True)
    assert second.expire(LATER + DAY) == 0
    assert (second.facts()["open_calls"], second.facts()["owners"]) == (0, 0)
    assert second.check() == []
    second.close()
