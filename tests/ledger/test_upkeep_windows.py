"""Which windows stay when their calls are pruned: all but those of runs that have ended."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from farthing.ledger import Ledger
from farthing.ledger.budgets import ended, standing
from farthing.ledger.sqlite import SqliteLedger
from farthing.ledger.store import Bound, Grant, Short, Stale
from farthing.records import Budget
from ledger.making import (
    DAY,
    HOUR,
    NOON,
    USD,
    Clock,
    attached_bound,
    entry,
    opened,
    reservation,
    reserved,
    settlement,
    standing_bound,
    with_budget,
)

TODAY = NOON // DAY
RUN = Budget("job", 5, "run")
LONG_AGO = NOON - 40 * DAY


def of_run(key: str, budget: Budget = RUN) -> Bound:
    return attached_bound(budget, "job", key)


def spend(ledger: Ledger, *bounds: Bound, at: int = LONG_AGO, cost: int = USD, **fields: Any) -> None:
    """One call, matched anew until the ledger and it agree on the budgets."""
    while True:
        answer = ledger.reserve(reservation(ledger, bounds, started_ns=at, **fields))
        if isinstance(answer, Grant):
            break
        assert isinstance(answer, Stale), answer
        ledger.standing(fresh=True)
    ledger.settle(answer, settlement(cost))


def keys(ledger: Ledger) -> dict[str, int]:
    return {window.key: window.spent for window in ledger.windows()}


# Runs


def test_windows_of_runs_that_have_ended_go_with_their_calls(ledger: Ledger) -> None:
    for number in range(700):  # more than one commit's
        spend(ledger, of_run(f"run-{number}"))
    spend(ledger, of_run("run-now"), at=NOON)
    assert ledger.prune(TODAY) == 700
    assert keys(ledger) == {"run-now": USD}
    assert ledger.check() == []
    spend(ledger, of_run("run-1"), at=NOON)  # from memory of where its window was
    spend(ledger, of_run("run-now"), at=NOON)
    assert keys(ledger) == {"run-now": 2 * USD, "run-1": USD}


def test_a_run_that_may_go_on_keeps_what_it_has_spent(ledger: Ledger, clock: Clock) -> None:
    began = NOON - ended.IDLE
    for days in (0, 3):
        spend(ledger, of_run("slow"), at=began + days * DAY, cost=2 * USD)
    assert ledger.prune(TODAY) == 2
    clock.now += 2 * DAY  # it began 32 days ago, and called 29 days ago
    assert ledger.prune(TODAY) == 0
    assert keys(ledger) == {"slow": 4 * USD}
    spend(ledger, of_run("slow"), at=clock.now, cost=0)
    clock.now += 5 * DAY
    ledger.prune(TODAY)
    assert keys(ledger) == {"slow": 4 * USD}
    ledger.prune(TODAY + 3)
    clock.now += ended.IDLE
    ledger.prune(TODAY)
    assert keys(ledger) == {}


@pytest.mark.parametrize("end", ["pending", "free", "expired"])
def test_a_window_with_a_call_that_is_left_stays(ledger: Ledger, end: str) -> None:
    bound = of_run("old")
    spend(ledger, bound)
    grant = reserved(ledger, [bound], 0, started_ns=LONG_AGO if end == "pending" else NOON, expected=0)
    if end == "free":
        ledger.settle(grant, settlement(0))
    elif end == "expired":
        ledger.expire(NOON + DAY)
    assert ledger.prune(TODAY) == 1
    assert keys(ledger) == {"old": USD}
    if end == "pending":
        assert ledger.settle(grant, settlement(0))
        assert ledger.prune(TODAY) == 1
        assert keys(ledger) == {}


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_a_call_made_while_a_window_goes_is_not_without_one(
    ledger: Ledger, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control deletes what it has seen to be over, without another look."""
    bound = of_run("old")
    spend(ledger, bound)
    step = ended.put_away if guarded else ended.forget

    def joined(conn: sqlite3.Connection, windows: list[int]) -> None:
        one = entry(ledger, [bound], 0, started_ns=LONG_AGO)  # of no cost: no sum tells of it
        ledger._record(conn, one)  # as if it had been committed just before
        step(conn, windows)

    monkeypatch.setattr(ended, "put_away", joined)
    if not guarded:
        monkeypatch.setattr(ended, "_AWAY", "SELECT id FROM budget_window WHERE id = ?")
    ledger.prune(TODAY)
    assert (ledger.check() == []) is guarded
    assert keys(ledger) == ({"old": USD} if guarded else {})
    if not guarded:
        ledger._connections._conn.execute("UPDATE call SET windows = NULL")


@pytest.mark.parametrize("hold", [USD, 0])
def test_another_process_is_told_that_a_window_is_gone(tmp_path: Path, clock: Clock, hold: int) -> None:
    path = tmp_path / "ledger.db"
    one = opened(path, clock)
    other = SqliteLedger(str(path), clock=clock, durability="fast", timeout=20.0)  # as in that process
    bound = of_run("old")
    spend(other, bound)
    one.prune(TODAY)
    assert keys(one) == {}
    assert isinstance(other.reserve(reservation(other, [bound], hold, started_ns=LONG_AGO)), Stale)
    other.record(entry(other, [bound]))
    spend(other, bound, hold=hold)
    assert keys(one) == {"old": 2 * USD}
    assert one.check() == []
    for ledger in (one, other):
        ledger.close()


def test_the_alerts_of_a_window_go_with_it(tmp_path: Path, clock: Clock) -> None:
    ledger = opened(tmp_path / "ledger.db", clock)
    spend(ledger, of_run("old"), cost=4 * USD)
    spend(ledger, of_run("now"), at=NOON, cost=4 * USD)
    assert len(ledger.outbox.raised()) == 2
    ledger.prune(TODAY)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as conn:
        assert conn.execute("SELECT key FROM alert").fetchall() == [("now",)]
        assert conn.execute("SELECT count(*) FROM delivery").fetchone() == (2,)
    assert ledger.check() == []
    ledger.close()


def test_windows_that_end_by_themselves_stay_as_figures_of_their_period(ledger: Ledger) -> None:
    """And so do those of standing budgets and of a total, which never ends."""
    bounds = [
        with_budget(ledger, Budget("standing", 100, "month")),
        *(attached_bound(Budget(period, 100, period), period) for period in ("hour", "day", "total")),
    ]
    spend(ledger, *bounds)
    before = ledger.windows()
    assert ledger.prune(TODAY) == 1
    assert ledger.windows() == before
    assert len(before) == 4


def test_a_window_of_a_run_that_was_redefined_goes_too(ledger: Ledger, clock: Clock) -> None:
    clock.now = LONG_AGO
    for budget in (RUN, Budget("job", 5, "run", mode="soft"), Budget("job", 5, "day")):
        spend(ledger, of_run("" if budget.period == "day" else "old", budget))
        clock.now += 1000
    clock.now = NOON
    ledger.prune(TODAY)
    assert keys(ledger) == {"": 3 * USD}  # of the day, with the calls of those before


# Redefined attached budgets


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
@pytest.mark.parametrize("period", ["total", "month"])
@pytest.mark.parametrize("changed", [{"mode": "soft"}, {"timezone": "Asia/Kolkata"}])
def test_an_attached_budget_keeps_what_pruned_calls_have_spent_when_it_is_redefined(
    ledger: Ledger, changed: dict[str, Any], period: Any, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not guarded:
        monkeypatch.setattr(standing, "_PRUNED_NOW", f"{standing._PRUNED_NOW} AND 0")
    old = Budget("mine", 100, period)
    other = Budget("mine", 100, period, **changed)
    third = Budget("mine", 100, period, uncertain="expected")
    spend(ledger, attached_bound(old, "mine"), at=NOON - 3 * DAY, cost=3 * USD)
    spend(ledger, attached_bound(old, "elsewhere"), at=NOON - 3 * DAY)
    assert ledger.prune(TODAY) == 2
    total = 3 * USD
    for budget in (old, other, third):  # each at the same instant
        spend(ledger, attached_bound(budget, "mine"), at=NOON)
        total += USD
        spend_now = [w.spent for w in ledger.windows(at_ns=NOON) if w.budget == "mine"]
        assert spend_now == [total if guarded or budget is old else total - 3 * USD]
        assert ledger.check() == []


def test_each_key_of_an_attached_budget_keeps_its_own(ledger: Ledger, clock: Clock) -> None:
    old = Budget("mine", 100, "total", per="account")
    for account, cost in (("a", USD), ("b", 2 * USD)):
        spend(ledger, attached_bound(old, "mine", account), at=NOON - 3 * DAY, cost=cost, account=account)
    ledger.prune(TODAY)
    clock.now += DAY
    soft = Budget("mine", 100, "total", per="account", mode="soft")
    spend(ledger, attached_bound(soft, "mine", "a"), at=clock.now, account="a")
    assert {w.key: w.spent for w in ledger.windows(at_ns=clock.now)} == {"a": 2 * USD, "b": 2 * USD}


def test_the_limit_holds_over_a_redefinition_of_pruned_calls(ledger: Ledger) -> None:
    old = Budget("mine", 3, "total")
    spend(ledger, attached_bound(old, "mine"), at=NOON - 3 * DAY, cost=3 * USD)
    ledger.prune(TODAY)
    new = attached_bound(Budget("mine", 3, "total", timezone="Asia/Kolkata"), "mine")
    assert isinstance(ledger.reserve(reservation(ledger, [new])), Stale)
    assert not isinstance(ledger.reserve(reservation(ledger, [new])), Grant | Stale)


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
@pytest.mark.parametrize(
    "changed", [{"timezone": "Europe/Berlin"}, {"mode": "soft"}, {"model": "gpt-*"}, {"per": "account"}]
)
@pytest.mark.parametrize("period", ["month", "total"])
def test_what_was_spent_before_a_redefinition_is_kept_if_it_is_pruned_after(
    ledger: Ledger, changed: dict[str, Any], period: Any, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the call that stated the new rules was refused, so that it made nothing of its own."""
    if not guarded:
        monkeypatch.setattr(standing, "_open", lambda *_, **__: None)
    old = attached_bound(Budget("mine", 1, period), "mine")
    budget = Budget("mine", 1, period, **changed)
    new = attached_bound(budget, "mine", "acme" if budget.per else "")
    spend(ledger, old, at=NOON - 3 * DAY)
    assert isinstance(ledger.reserve(reservation(ledger, [new])), Stale)
    if guarded and budget.mode == "hard":
        assert isinstance(ledger.reserve(reservation(ledger, [new])), Short)
    ledger.prune(TODAY)
    answer = ledger.reserve(reservation(ledger, [new]))
    assert isinstance(answer, Short if guarded and budget.mode == "hard" else Grant)
    assert [window.spent for window in ledger.windows(at_ns=NOON)] == [USD if guarded else 0]
    assert ledger.check() == []


def test_a_redefinition_makes_windows_of_those_who_named_the_budget_alone(ledger: Ledger) -> None:
    old = Budget("mine", 100, "day")
    spend(ledger, attached_bound(old, "mine"), at=NOON, account="a")
    spend(ledger, attached_bound(old, "elsewhere"), at=NOON, account="b")
    spend(ledger, at=NOON, account="c")
    each = Budget("mine", 100, "day", per="account")
    spend(ledger, attached_bound(each, "mine", "d"), at=NOON, account="d")
    mine = [window for window in ledger.windows(at_ns=NOON) if window.budget == "mine"]
    assert {window.key: window.spent for window in mine} == {"a": USD, "d": USD}


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
@pytest.mark.parametrize("attached", [True, False])
def test_what_pruned_calls_spent_is_kept_between_the_zones_that_are_farthest_apart(
    ledger: Ledger, attached: bool, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """25 hours lie between two beginnings of one month."""
    if not guarded:
        monkeypatch.setattr(standing, "_ZONES", DAY)
    east = Budget("mine", 1, "month", timezone="Pacific/Kiritimati")
    west = Budget("mine", 1, "month", timezone="Pacific/Pago_Pago")

    def stated(budget: Budget) -> Bound:
        if attached:
            return attached_bound(budget, "mine")
        ledger.set_budget(budget, origin="code")
        return standing_bound(budget)

    spend(ledger, stated(east), at=NOON - 3 * DAY)
    assert ledger.prune(TODAY) == 1
    bound = stated(west)
    answer = ledger.reserve(reservation(ledger, [bound]))
    if isinstance(answer, Stale):
        answer = ledger.reserve(reservation(ledger, [bound]))
    assert isinstance(answer, Short if guarded else Grant)


@pytest.mark.parametrize("attached", [True, False])
def test_what_pruned_calls_spent_in_the_period_before_is_not_carried_over(
    ledger: Ledger, clock: Clock, attached: bool
) -> None:
    """It is the first of a month where the new rules look, and the last of one where the old did; or the very
    instant at which a day begins."""
    for start, back, rules, other in (
        (datetime(2026, 3, 1, 5, tzinfo=UTC), 9 * DAY, {"timezone": "Pacific/Pago_Pago"}, {}),
        (datetime(2026, 3, 10, tzinfo=UTC), 5 * HOUR, {"period": "day"}, {"uncertain": "expected"}),
    ):
        name = f"{start:%d}"
        clock.now = int(start.timestamp()) * 10**9
        old = Budget(name, 1, **{"period": "month", **rules})
        new = Budget(name, 1, old.period, **other)
        if not attached:
            ledger.set_budget(old, origin="code")
        spend(ledger, attached_bound(old, name) if attached else standing_bound(old), at=clock.now - back)
        assert ledger.prune(clock.now // DAY) == 1
        if not attached:
            ledger.set_budget(new, origin="code")
        spend(ledger, attached_bound(new, name) if attached else standing_bound(new), at=clock.now)
        assert [w.spent for w in ledger.windows(at_ns=clock.now) if w.budget == name] == [USD]
        ledger.prune(clock.now // DAY + 1)


def test_one_that_counts_other_calls_starts_from_those_that_are_left(ledger: Ledger) -> None:
    old = Budget("mine", 100, "total")
    spend(ledger, attached_bound(old, "mine"), at=NOON - 3 * DAY, cost=3 * USD)
    spend(ledger, attached_bound(old, "mine"), at=NOON)
    ledger.prune(TODAY)
    spend(ledger, attached_bound(Budget("mine", 100, "total", account="acme"), "mine"), at=NOON)
    assert [w.spent for w in ledger.windows(at_ns=NOON)] == [2 * USD]


def test_a_run_keeps_what_it_has_spent_whatever_the_rules(ledger: Ledger, clock: Clock) -> None:
    spend(ledger, of_run("old"), at=NOON - 3 * DAY, cost=3 * USD)
    ledger.prune(TODAY)
    for budget in (Budget("job", 5, "run", mode="soft"), Budget("job", 5, "run", account="acme")):
        spend(ledger, of_run("old", budget), at=clock.now, cost=0)
        assert [w.spent for w in ledger.windows(at_ns=clock.now)] == [3 * USD]
        clock.now += 1000
