"""Attached budgets whose name is given other rules, and limits that change while calls run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from farthing import Budget, InsufficientCredits, Meter
from farthing.ledger.budgets import attached
from farthing.testing import FakeClock, FakeProvider
from guard.making import COST, adds_up, ask, held_and_spent, limit_for, metered, openai, refusals
from ledger.making import python

DAY = timedelta(days=1)

GIVES = """
import sys
from farthing import Budget
from guard.making import metered
with metered(sys.argv[1]) as meter, meter.scope(budget=Budget("mine", 1, sys.argv[2])):
    meter.reserve(model="gpt-4o", amount="0.001").settle({"input_tokens": 400, "output_tokens": 0})
"""
MICRO = 1_000_000
"""Nano-dollars of 400 tokens that gpt-4o reads."""


def spend(meter: Meter, budget: Budget, **call: Any) -> None:
    with meter.scope(budget=budget):
        meter.reserve(model="gpt-4o", amount="0.001", **call).settle(
            {"input_tokens": 400, "output_tokens": 0}
        )


def spent(meter: Meter) -> list[int]:
    return [window.spent for window in meter.windows()]


def test_a_name_that_is_given_another_period_keeps_what_is_spent_in_it(
    still: Meter, clock: FakeClock
) -> None:
    spend(still, Budget("mine", 1, "day"))
    clock.advance(DAY)
    spend(still, Budget("mine", 1, "day"))
    clock.advance(60)
    spend(still, Budget("mine", 1, "month"))
    assert spent(still) == [3 * MICRO]
    [window] = still.windows()
    assert window.ends_ns is not None
    assert window.ends_ns - window.starts_ns > 25 * DAY.total_seconds() * 10**9
    clock.advance(DAY)
    spend(still, Budget("mine", 1, "month"))
    assert spent(still) == [4 * MICRO]


def test_a_shorter_period_forgets_what_was_spent_before_it(still: Meter, clock: FakeClock) -> None:
    spend(still, Budget("mine", 1, "month"))
    clock.advance(DAY)
    spend(still, Budget("mine", 1, "month"))
    spend(still, Budget("mine", 1, "day"))
    assert spent(still) == [2 * MICRO]
    clock.advance(DAY)
    spend(still, Budget("mine", 1, "day"))
    assert spent(still) == [MICRO]


def test_calls_that_run_are_carried_over_and_end_there(still: Meter) -> None:
    with still.scope(budget=Budget("mine", 1, "day")):
        running = still.reserve(model="gpt-4o", amount="0.25")
    spend(still, Budget("mine", 1, "month"))
    assert held_and_spent(still) == [(250_000_000, MICRO)]
    running.settle({"input_tokens": 400, "output_tokens": 0})
    assert held_and_spent(still) == [(0, 2 * MICRO)]


def test_the_limit_holds_over_a_redefinition(still: Meter, provider: FakeProvider) -> None:
    limit = limit_for(still, 1)
    one = still.wrap(openai(provider), budget=Budget("mine", limit, "day"))
    two = still.wrap(openai(provider), budget=Budget("mine", limit, "month"))
    assert refusals([ask(one), ask(two), ask(one)]) == 2
    assert len(provider.requests) == 1


def test_if_the_rules_were_not_compared_it_would_not(
    still: Meter, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two days with one window for both meanings: the month's budget is spent twice."""
    monkeypatch.setattr(attached, "same_rules", lambda *_: True)
    monkeypatch.setattr("farthing.ledger.budgets.windows.same_rules", lambda *_: True)
    assert over_two_days(still, provider) == 2


def test_a_month_is_not_cut_into_days_by_who_came_first(still: Meter, provider: FakeProvider) -> None:
    assert over_two_days(still, provider) == 1


def over_two_days(meter: Meter, provider: FakeProvider) -> int:
    limit = limit_for(meter, 1)
    meter.wrap(openai(provider), budget=Budget("mine", limit, "day"))
    spend(meter, Budget("mine", "0.0001", "day", mode="soft"))
    clients = [meter.wrap(openai(provider), budget=Budget("mine", limit, "month")) for _ in range(2)]
    served = 0
    for client in clients:
        served += 1 - refusals([ask(client)])
        meter.engine.clock.advance(DAY)
    return served


def test_two_meanings_of_a_name_do_not_take_turns(still: Meter) -> None:
    day, month = Budget("mine", 1, "day"), Budget("mine", 2, "month")
    for _ in range(5):
        spend(still, day)
        spend(still, month)
    assert len(still.engine.ledger.windows()) == 2  # the day's, closed, and the month's
    assert spent(still) == [10 * MICRO]


def test_another_process_takes_part_in_the_new_window(ledger_path: Path) -> None:
    with metered(ledger_path) as meter:
        spend(meter, Budget("mine", 1, "hour"))
        process = python(GIVES, ledger_path, "total")
        assert process.communicate(timeout=60) == ("", "")
        spend(meter, Budget("mine", 1, "hour"))
        assert spent(meter) == [3 * MICRO]
        assert adds_up(meter)


def test_per_account_takes_over_the_calls_of_each(still: Meter) -> None:
    for account in ("a", "b", "a"):
        spend(still, Budget("mine", 1, "day"), account=account)
    for account in ("a", "b"):
        spend(still, Budget("mine", 1, "day", per="account"), account=account)
    assert {w.key: w.spent for w in still.windows()} == {"a": 3 * MICRO, "b": 2 * MICRO}


def test_scopes_of_a_run_become_a_day_and_back(still: Meter) -> None:
    spend(still, Budget("mine", 1, "run"))
    spend(still, Budget("mine", 1, "day"))
    assert [w.spent for w in still.windows() if w.key == ""] == [2 * MICRO]
    spend(still, Budget("mine", 1, "run"))
    assert adds_up(still)


def test_another_limit_or_fallback_is_no_redefinition(still: Meter) -> None:
    spend(still, Budget("mine", 1, "day"))
    spend(still, Budget("mine", 2, "day", fallback="gpt-4o-mini", wait=0, alerts=(0.5,)))
    assert [(w.limit, w.spent) for w in still.engine.ledger.windows()] == [(2 * 10**9, 2 * MICRO)]


def test_other_alerts_are_heeded(
    ledger_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with metered(ledger_path, clock=clock) as meter:
        spend(meter, Budget("mine", "0.1", "day"))
        spend(meter, Budget("mine", "0.1", "day", alerts=(0.02,)))
    assert any("has reached 2% of its limit" in record.getMessage() for record in caplog.records)


def test_a_limit_that_is_lowered_binds_the_next_call(still: Meter) -> None:
    still.set_budget(Budget("all", 1, "day"))
    hold = still.reserve(model="gpt-4o", amount="0.5")
    still.set_budget(Budget("all", "0.6", "day"))
    with pytest.raises(InsufficientCredits) as caught:
        still.reserve(model="gpt-4o", amount="0.2")
    assert (str(caught.value.limit), str(caught.value.held)) == ("0.6", "0.5")
    hold.void()


def test_what_is_left_is_told_also_if_nobody_was_let_through_since(still: Meter, clock: FakeClock) -> None:
    spend(still, Budget("mine", "0.0015", "month"))
    other = Budget("mine", "0.0015", "month", timezone="Europe/Berlin")
    for _ in range(3):
        clock.advance(3_600)
        with pytest.raises(InsufficientCredits):
            spend(still, other)
    with still.scope(budget=other) as run:
        assert str(run.remaining) == "0.0005"
        assert not still.can_afford("0.001")
    assert spent(still) == [MICRO]
    assert [str(budget.spent) for budget in still.reports.budgets()] == ["0.001"]


def test_the_costs_of_calls_are_those_of_the_window(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget=Budget("mine", 1, "day"))
    ask(client)
    again = still.wrap(openai(provider), budget=Budget("mine", 1, "week"))
    ask(again)
    assert spent(still) == [2 * COST]
