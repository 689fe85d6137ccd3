"""Standing budgets and their windows, on every store."""

from __future__ import annotations

from datetime import timedelta

import pytest

from farthing.ledger import Ledger
from farthing.ledger.calls.codes import budget_from_json, budget_to_json
from farthing.ledger.store import Bound, Origin, Short
from farthing.records import Budget
from ledger.making import (
    DAY,
    HOUR,
    NOON,
    USD,
    Clock,
    attached_bound,
    entry,
    names,
    reservation,
    reserved,
    settlement,
    standing_bound,
    with_budget,
)  # fmt: skip


def shown(ledger: Ledger) -> dict[tuple[str, str], list[tuple[int, int]]]:
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for window in ledger.windows():
        found.setdefault((window.budget, window.key), []).append((window.spent // USD, window.held // USD))
    return found


def spend(ledger: Ledger, *bounds: Bound, cost: int = USD, **fields: object) -> None:
    assert ledger.settle(reserved(ledger, bounds, **fields), settlement(cost))


# Where they come from


def test_a_standing_budget_is_there_until_it_is_removed(ledger: Ledger) -> None:
    epoch, none = ledger.standing()
    assert names(none) == []
    ledger.set_budget(Budget("all", 5), origin="code")
    assert ledger.standing()[0] > epoch
    assert names(ledger.standing(fresh=True)[1]) == ["all"]
    assert ledger.remove_budget("all")
    assert not ledger.remove_budget("all")
    assert names(ledger.standing()[1]) == []
    assert ledger.windows() == []


def test_the_same_declaration_again_changes_nothing(ledger: Ledger) -> None:
    ledger.set_budget(Budget("all", 5), origin="code")
    epoch, _ = ledger.standing()
    ledger.set_budget(Budget("all", "5.00"), origin="code")
    assert ledger.standing()[0] == epoch


@pytest.mark.parametrize("origin", ["code", "config"])
@pytest.mark.parametrize("declared_first", [True, False])
def test_a_limit_set_at_run_time_stands_until_it_is_released(
    ledger: Ledger, origin: Origin, declared_first: bool
) -> None:
    if declared_first:
        ledger.set_budget(Budget("all", 5), origin=origin)
    ledger.set_budget(Budget("all", 9), origin="cli")
    ledger.set_budget(Budget("all", 5), origin=origin)
    [standing] = ledger.standing()[1]
    assert (standing.budget.limit, standing.origin, standing.pinned) == (9, "cli", True)
    ledger.set_budget(Budget("all", 6, mode="soft"), origin=origin)
    [standing] = ledger.standing()[1]
    assert (standing.budget.limit, standing.budget.mode, standing.pinned) == (9, "soft", True)
    assert ledger.release_budget("all")
    [standing] = ledger.standing()[1]
    assert (standing.budget.limit, standing.origin, standing.pinned) == (6, origin, False)
    assert not ledger.release_budget("all")


def test_a_changed_declaration_is_written(ledger: Ledger) -> None:
    ledger.set_budget(Budget("all", 5), origin="code")
    ledger.set_budget(Budget("all", 7), origin="code")
    [standing] = ledger.standing()[1]
    assert standing.budget.limit == 7


def test_a_removed_budget_can_be_declared_again(ledger: Ledger) -> None:
    spend(ledger, with_budget(ledger, Budget("all", 5)))
    ledger.remove_budget("all")
    ledger.set_budget(Budget("all", 5), origin="code")
    assert sum(spent for spent, _ in shown(ledger)["all", ""]) >= 1
    assert [w.spent for w in ledger.windows(at_ns=NOON)] == [USD]


@pytest.mark.parametrize(
    "budget",
    [
        Budget("b", "0.000000001", timedelta(hours=36), per="tag:user", tags={"a": "ü"}),
        Budget(
            "b", 5, "month", anchor=31, timezone="Europe/Berlin", mode="soft", wait=2, fallback="gpt-5-mini"
        ),
        Budget("b", 5, account="a", context="system", provider="p", model="gpt-*", uncertain="expected"),
    ],
)
def test_a_budget_comes_back_as_it_was_stored(ledger: Ledger, budget: Budget) -> None:
    assert budget_from_json(budget_to_json(budget)) == budget
    ledger.set_budget(budget, origin="http")
    [standing] = ledger.standing(fresh=True)[1]
    assert standing.budget == budget


# What a new one starts with


def test_a_new_budget_counts_the_rows_and_holds_of_its_period(ledger: Ledger, clock: Clock) -> None:
    spend(ledger, started_ns=NOON - DAY)
    spend(ledger)
    spend(ledger, account="other")
    spend(ledger, model="claude-x")
    spend(ledger, tags={"user": "u"})
    spend(ledger, context="system")
    grant = reserved(ledger)
    ledger.settle(reserved(ledger), settlement(0), void=True)
    for budget in (
        Budget("everything", 99, "day"),
        Budget("acme", 99, "day", account="acme"),
        Budget("gpt", 99, "day", model="gpt-*"),
        Budget("u", 99, "day", tags={"user": "u"}),
        Budget("customers", 99, "day", context="customer"),
        Budget("each", 99, "day", per="account"),
        Budget("users", 99, "day", per="tag:user"),
        Budget("month", 99, "month"),
        Budget("total", 99, "total"),
        Budget("nobody", 99, account="nobody"),
    ):
        ledger.set_budget(budget, origin="code")
    assert shown(ledger) == {
        ("everything", ""): [(5, 1)],
        ("acme", ""): [(4, 1)],
        ("gpt", ""): [(4, 1)],
        ("u", ""): [(1, 0)],
        ("customers", ""): [(4, 1)],
        ("each", "acme"): [(4, 1)],
        ("each", "other"): [(1, 0)],
        ("users", "u"): [(1, 0)],
        ("month", ""): [(6, 1)],
        ("total", ""): [(6, 1)],
    }
    assert ledger.check() == []
    assert ledger.settle(grant, settlement(2 * USD))
    assert shown(ledger)["acme", ""] == [(6, 0)]
    assert ledger.check() == []


def test_an_uncertain_row_seeds_a_window_with_what_that_window_charges(ledger: Ledger) -> None:
    grant = reserved(ledger)
    ledger.settle(grant, settlement(USD, outcome="unknown", counted=4 * USD))
    with_budget(ledger, Budget("hard", 9)), with_budget(ledger, Budget("soft", 9, mode="soft"))
    assert shown(ledger) == {("hard", ""): [(4, 0)], ("soft", ""): [(1, 0)]}
    assert ledger.settle(grant, settlement(2 * USD))
    assert shown(ledger) == {("hard", ""): [(2, 0)], ("soft", ""): [(2, 0)]}


def test_a_total_begins_at_the_first_row_it_counts(ledger: Ledger) -> None:
    spend(ledger, started_ns=NOON - 40 * DAY)
    with_budget(ledger, Budget("total", 9, "total"))
    [window] = ledger.windows()
    assert (window.starts_ns, window.ends_ns, window.spent) == (NOON - 40 * DAY, None, USD)


def test_a_call_of_before_the_budget_is_settled_in_its_window(ledger: Ledger) -> None:
    old = with_budget(ledger, Budget("old", 9))
    grant = reserved(ledger, [old])
    new = with_budget(ledger, Budget("new", 1))
    assert isinstance(ledger.reserve(reservation(ledger, [old, new])), Short)
    assert ledger.settle(grant, settlement(USD // 2))
    assert {w.budget: (w.spent, w.held) for w in ledger.windows()} == {
        "old": (USD // 2, 0),
        "new": (USD // 2, 0),
    }


def test_a_past_window_of_a_new_budget_counts_the_rows_it_finds(ledger: Ledger) -> None:
    spend(ledger, started_ns=NOON - DAY)
    bound = with_budget(ledger, Budget("daily", 9, "day"))
    ledger.record(entry(ledger, [bound], started_ns=NOON - DAY))
    assert shown(ledger) == {("daily", ""): [(2, 0)]}


# What changes when they change


def test_a_changed_limit_keeps_the_window_and_binds_at_once(ledger: Ledger) -> None:
    spend(ledger, with_budget(ledger, Budget("all", 5)))
    [before] = ledger.windows()
    bound = with_budget(ledger, Budget("all", 1))
    [after] = ledger.windows()
    assert (after.starts_ns, after.ends_ns, after.spent) == (before.starts_ns, before.ends_ns, USD)
    assert after.limit == USD
    assert isinstance(ledger.reserve(reservation(ledger, [bound], 1)), Short)


@pytest.mark.parametrize("later", [0, HOUR])
@pytest.mark.parametrize(
    "changed",
    [
        Budget("all", 5, "day", timezone="Asia/Tokyo"),
        Budget("all", 5, "week"),
        Budget("all", 5, "total"),
        Budget("all", 5, "day", mode="soft"),
        Budget("all", 5, "day", model="gpt-*"),
    ],
)
def test_changed_rules_do_not_forget_what_was_spent(
    ledger: Ledger, clock: Clock, changed: Budget, later: int
) -> None:
    bound = with_budget(ledger, Budget("all", 5, "day"))
    spend(ledger, bound)
    grant = reserved(ledger, [bound])
    clock.now += later
    ledger.set_budget(changed, origin="code")
    now = [(w.spent, w.held) for w in ledger.windows(at_ns=clock.now)]
    assert now == [(USD, USD)]
    assert ledger.settle(grant, settlement(USD))
    assert [(w.spent, w.held) for w in ledger.windows(at_ns=clock.now)] == [(2 * USD, 0)]
    spend(ledger, standing_bound(changed), started_ns=clock.now)
    assert [w.spent for w in ledger.windows(at_ns=clock.now)] == [3 * USD]


def test_changing_back_and_forth_at_one_instant_adds_up(ledger: Ledger) -> None:
    day, week = Budget("all", 9, "day"), Budget("all", 9, "week")
    grants = []
    for budget in (day, week, day, week, day):
        bound = with_budget(ledger, budget)
        grants.append(reserved(ledger, [bound]))
        assert ledger.check() == []
    for grant in grants:
        assert ledger.settle(grant, settlement(USD))
    assert [(w.spent, w.held) for w in ledger.windows(at_ns=NOON)] == [(5 * USD, 0)]


# Which window


def test_a_call_is_charged_to_the_window_of_its_reserve(ledger: Ledger, clock: Clock) -> None:
    bound = with_budget(ledger, Budget("daily", 1, "day"))
    grant = reserved(ledger, [bound])
    clock.now = NOON + DAY
    assert reserved(ledger, [bound], started_ns=NOON + DAY).held == USD
    assert ledger.settle(grant, settlement(USD, ended_ns=NOON + DAY))
    assert [(w.spent, w.held) for w in ledger.windows()] == [(USD, 0), (0, USD)]


def test_an_instant_before_the_last_one_finds_its_own_window(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("daily", 1, "day"))
    for instant in (NOON, NOON + DAY, NOON - DAY, NOON, NOON + DAY):
        reserved(ledger, [bound], USD // 4, started_ns=instant)
    assert sorted((w.starts_ns, w.held * 4 // USD) for w in ledger.windows()) == [
        (NOON - DAY - DAY // 2, 1),
        (NOON - DAY // 2, 2),
        (NOON + DAY - DAY // 2, 2),
    ]


def test_a_total_takes_what_came_before_it(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("total", 9, "total"))
    spend(ledger, bound)
    ledger.record(entry(ledger, [bound], started_ns=NOON - DAY))
    [window] = ledger.windows()
    assert (window.starts_ns, window.spent) == (NOON - DAY, 2 * USD)


def test_runs_have_windows_of_their_own(ledger: Ledger) -> None:
    budget = Budget("run", 1, "run")
    for run in ("a", "b"):
        bound = attached_bound(budget, "scope|acme|run", run)
        reserved(ledger, [bound])
        assert isinstance(ledger.reserve(reservation(ledger, [bound], started_ns=NOON + 9 * DAY)), Short)
    assert shown(ledger) == {("scope|acme|run", "a"): [(0, 1)], ("scope|acme|run", "b"): [(0, 1)]}


def test_an_attached_budget_starts_empty_and_its_limit_is_the_callers(ledger: Ledger) -> None:
    spend(ledger)
    narrow, wide = (attached_bound(Budget("x", limit, "day")) for limit in (1, 2))
    assert ledger.room([narrow], NOON) == [(narrow, USD)]
    reserved(ledger, [narrow])
    assert isinstance(ledger.reserve(reservation(ledger, [narrow])), Short)
    reserved(ledger, [wide])
    assert ledger.room([narrow, wide], NOON) == [(narrow, -USD), (wide, 0)]


def test_an_attached_and_a_standing_budget_of_one_name_are_two(ledger: Ledger) -> None:
    budget = Budget("all", 1, "day")
    standing, attached = with_budget(ledger, budget), attached_bound(budget, "all")
    reserved(ledger, [standing])
    reserved(ledger, [attached])
    assert sorted(w.attached for w in ledger.windows()) == [False, True]
