"""What is said of windows that have too little left, or have reached what somebody is to be told of."""

from __future__ import annotations

import pytest

from farthing.ledger import Ledger
from farthing.ledger.store import Short
from farthing.records import Budget
from ledger.making import (
    DAY,
    NOON,
    USD,
    Clock,
    attached_bound,
    entry,
    reservation,
    reserved,
    settlement,
    with_budget,
)


def told(ledger: Ledger) -> list[tuple[str, float]]:
    return [(alert.budget, alert.threshold) for alert in ledger.outbox.raised()]


@pytest.mark.parametrize("least", ["all of it", "a part of it"])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_window_that_is_spent_is_named_before_one_that_calls_only_hold(
    ledger: Ledger, least: str, grouped: bool
) -> None:
    held, spent = (with_budget(ledger, Budget(name, 10)) for name in ("held", "spent"))
    reserved(ledger, [held], 9 * USD)
    ledger.settle(reserved(ledger, [spent]), settlement(8 * USD))
    lo = 3 * USD if least == "all of it" else 2 * USD + 1
    want = [reservation(ledger, [held, spent], 3 * USD, lo=lo) for _ in range(2)]
    answers = ledger.together(want) if grouped else [ledger.reserve(each) for each in want]
    for answer in answers:
        assert isinstance(answer, Short)
        assert (answer.bound.identity, answer.spent, answer.held) == ("spent", 8 * USD, 0)


def test_of_windows_that_are_both_spent_the_one_with_less_is_named(ledger: Ledger) -> None:
    bounds = [with_budget(ledger, Budget(name, 10)) for name in ("less", "more")]
    for bound, cost in zip(bounds, (9, 8), strict=True):
        ledger.settle(reserved(ledger, [bound]), settlement(cost * USD))
    answer = ledger.reserve(reservation(ledger, bounds, 5 * USD))
    assert isinstance(answer, Short)
    assert answer.bound.identity == "less"


def test_a_limit_that_is_set_below_what_is_spent_is_told_of_at_once(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 100))
    ledger.settle(reserved(ledger, [bound]), settlement(8 * USD))
    assert told(ledger) == []
    ledger.set_budget(Budget("all", 10), origin="cli")  # 80 %
    assert told(ledger) == [("all", 0.75)]
    ledger.set_budget(Budget("all", 8), origin="cli")
    assert told(ledger) == [("all", 0.75), ("all", 0.9), ("all", 1.0)]
    ledger.set_budget(Budget("all", 9, alerts=()), origin="cli")
    ledger.set_budget(Budget("all", 0, alerts=(1.0,)), origin="cli")
    assert told(ledger) == [("all", 1.0)]


def test_a_budget_that_begins_with_its_limit_spent_is_told_of(ledger: Ledger) -> None:
    ledger.settle(reserved(ledger), settlement(8 * USD))
    ledger.set_budget(Budget("late", 8, per="account"), origin="cli")
    assert told(ledger) == [("late", 0.75), ("late", 0.9), ("late", 1.0)]
    ledger.set_budget(Budget("other", 80), origin="cli")
    ledger.set_budget(Budget("none", 1, account="nobody"), origin="cli")
    assert told(ledger) == []


@pytest.mark.parametrize("recorded", [False, True])
def test_a_record_under_other_rules_gives_an_attached_budget_these_rules(
    ledger: Ledger, clock: Clock, recorded: bool
) -> None:
    day, month = (attached_bound(Budget("b", 10, period), "b") for period in ("day", "month"))
    ledger.settle(reserved(ledger, [day], 9 * USD), settlement(9 * USD))
    clock.now += DAY
    if recorded:
        ledger.record(entry(ledger, [month], cost=0, started_ns=NOON + DAY))
    for _ in range(2):  # matched anew by what the first has changed
        answer = ledger.reserve(reservation(ledger, [month], 2 * USD, started_ns=NOON + DAY))
    assert isinstance(answer, Short)
    assert answer.spent == 9 * USD
