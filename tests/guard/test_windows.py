"""Budgets in time: whose window a call is charged to, what a change of rules does, what never refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing import Budget, InsufficientCredits, InvalidBudget, Meter, Usage
from farthing.testing import FakeClock, FakeProvider
from guard.making import (
    CALL,
    COST,
    Burst,
    adds_up,
    ask,
    held_and_spent,
    limit_for,
    metered,
    openai,
    refusals,
    upper,
)
from ledger.making import python

DAY = 24 * 3600
FORTNIGHT = Budget("b", 1, timedelta(days=14), anchor=datetime(2026, 1, 5, tzinfo=UTC))
NEW_YEAR = 1_767_225_600 * 10**9

SET_LIMIT = """
import sys
from farthing import Budget
from guard.making import metered
with metered(sys.argv[1]) as meter:
    meter.set_budget(Budget("all", sys.argv[2], "total"), origin="cli")
"""


def served(client: Any, **call: Any) -> bool:
    return refusals([ask(client, **call)]) == 0


def test_a_call_is_charged_to_the_window_in_which_it_was_reserved(
    still: Meter, provider: FakeProvider, clock: FakeClock
) -> None:
    client = still.wrap(openai(provider), budget=f"${limit_for(still, 1)}/day")
    clock.advance(DAY - 1)
    provider.hold()
    burst = Burst([lambda: ask(client)])
    provider.wait_for(1)
    clock.advance(2)
    provider.release()
    assert refusals(burst.join()) == 0
    assert [(w.starts_ns, w.held, w.spent) for w in still.engine.ledger.windows()] == [(NEW_YEAR, 0, COST)]
    assert served(client)
    windows = [(w.starts_ns, w.held, w.spent) for w in still.engine.ledger.windows()]
    assert windows == [(NEW_YEAR, 0, COST), (NEW_YEAR + DAY * 10**9, 0, COST)]


def test_money_is_there_again_at_midnight_and_not_before(
    still: Meter, provider: FakeProvider, clock: FakeClock
) -> None:
    client = still.wrap(openai(provider), budget=f"${limit_for(still, 1)}/day")
    assert served(client)
    clock.advance(DAY - 1)
    refusal = ask(client)
    assert refusal.retry_after == 1
    assert refusal.resets_at == datetime(2026, 1, 2, tzinfo=UTC)
    clock.advance(timedelta(seconds=1))
    assert served(client)


def test_a_period_of_odd_length_resets_when_it_says(
    still: Meter, provider: FakeProvider, clock: FakeClock
) -> None:
    still.set_budget(Budget("odd", limit_for(still, 1), timedelta(seconds=90, microseconds=1)))
    client = still.wrap(openai(provider))
    assert served(client)
    refusal = ask(client)
    clock.set(refusal.resets_at - timedelta(microseconds=1))
    assert not served(client)
    clock.set(refusal.resets_at)
    assert served(client)


@pytest.mark.parametrize(
    ("budget", "asked", "resets"),
    [
        (Budget("b", 1, anchor=15), "2026-01-01", "2026-01-15"),
        (Budget("b", 1, anchor=15), "2026-01-15", "2026-02-15"),
        (Budget("b", 1, anchor=15), "2026-12-31T23:59:59", "2027-01-15"),
        (Budget("b", 1, anchor=15, timezone="Europe/Berlin"), "2026-03-20", "2026-04-14T22:00"),
        (Budget("b", 1, anchor=15, timezone="Asia/Kolkata"), "2026-03-14T18:29", "2026-03-14T18:30"),
        (Budget("b", 1, anchor=31), "2026-02-01", "2026-02-28"),
        (Budget("b", 1, anchor=31), "2028-02-01", "2028-02-29"),
        (Budget("b", 1, anchor=31), "2026-02-28", "2026-03-31"),
        (Budget("b", 1, anchor=29), "2026-02-28", "2026-03-29"),
        (
            Budget("b", 1, timedelta(days=14), anchor=datetime(2026, 1, 5, tzinfo=UTC)),
            "2026-01-04",
            "2026-01-05",
        ),
        (
            Budget("b", 1, timedelta(days=14), anchor=datetime(2026, 1, 5, tzinfo=UTC)),
            "2026-01-05",
            "2026-01-19",
        ),
        (Budget("b", 1, "week"), "2026-01-01", "2026-01-05"),
        (Budget("b", 1, "hour", timezone="Asia/Kathmandu"), "2026-01-01T00:14", "2026-01-01T00:15"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.period}-{value.anchor}-{value.timezone}",
)
def test_a_budget_resets_on_its_day_says_so_and_has_its_money_again_then(
    still: Meter, clock: FakeClock, budget: Budget, asked: str, resets: str
) -> None:
    now, then = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (asked, resets))
    clock.set(now)
    still.set_budget(budget)
    still.record(model="gpt-4o", usage={"input_tokens": 1}, cost=1)
    with pytest.raises(InsufficientCredits) as caught:
        still.reserve(model="gpt-4o", amount="0.5")
    refusal = caught.value
    assert (refusal.resets_at, refusal.retry_after) == (then, (then - now).total_seconds())
    assert not refusal.transient
    assert refusal.to_dict()["resets_at"] == then.isoformat()
    clock.set(then - timedelta(microseconds=1))
    with pytest.raises(InsufficientCredits):
        still.reserve(model="gpt-4o", amount="0.5")
    clock.set(then)
    still.reserve(model="gpt-4o", amount="0.5").void()


def test_money_that_is_only_held_comes_back_before_the_window_ends(still: Meter, clock: FakeClock) -> None:
    still.set_budget(Budget("b", 1, anchor=15))
    hold = still.reserve(model="gpt-4o", amount="0.75")
    with pytest.raises(InsufficientCredits) as caught:
        still.reserve(model="gpt-4o", amount="0.5")
    refusal = caught.value
    assert refusal.transient
    assert refusal.resets_at == datetime(2026, 1, 15, tzinfo=UTC)
    assert refusal.retry_after is not None
    assert refusal.retry_after < 3600
    hold.void()
    still.reserve(model="gpt-4o", amount="0.5").void()


def test_a_soft_budget_never_refuses(still: Meter, provider: FakeProvider) -> None:
    still.set_budget(Budget("told", "0.0001", "day", mode="soft"))
    client = still.wrap(openai(provider))
    assert all(served(client) for _ in range(4))
    assert held_and_spent(still) == [(0, 4 * COST)]


def test_a_soft_budget_beside_a_hard_one_lets_that_refuse(still: Meter, provider: FakeProvider) -> None:
    still.set_budget(Budget("told", "0.0001", "day", mode="soft"))
    client = still.wrap(openai(provider), budget=f"${limit_for(still, 2)}/day")
    assert [served(client) for _ in range(3)] == [True, True, False]
    assert held_and_spent(still, "told") == [(0, 2 * COST)]


def test_what_is_free_passes_also_when_the_budget_is_overrun(
    ledger_path: Path, provider: FakeProvider
) -> None:
    with metered(ledger_path, prices={"local-*": "free"}) as meter:
        meter.set_budget(Budget("all", limit_for(meter, 1), "total"))
        meter.record(model="gpt-4o", usage=Usage(input_tokens=10**9))
        client = meter.wrap(openai(provider))
        assert not served(client)
        for call in ({}, {"max_tokens": None}):
            assert served(client, model="local-llama", **call)
        assert meter.engine.ledger.calls()[0]["cost_source"] == "free"
        assert adds_up(meter)


def test_a_limit_lowered_below_what_is_spent_refuses(still: Meter, provider: FakeProvider) -> None:
    still.set_budget(Budget("all", limit_for(still, 5), "day"))
    client = still.wrap(openai(provider))
    assert served(client)
    assert served(client)
    still.set_budget(Budget("all", limit_for(still, 1), "day"))
    refusal = ask(client)
    assert refusal.spent > refusal.limit
    assert refusal.remaining < 0
    assert not refusal.transient
    still.set_budget(Budget("all", limit_for(still, 3), "day"))
    assert [served(client), served(client)] == [True, False]


@pytest.mark.parametrize("lowered", [True, False])
def test_a_limit_set_by_another_process_binds_at_the_next_call(
    meter: Meter, provider: FakeProvider, ledger_path: Path, lowered: bool
) -> None:
    meter.set_budget(Budget("all", limit_for(meter, 1 if not lowered else 9), "total"))
    client = meter.wrap(openai(provider))
    assert served(client)
    assert served(client) is lowered
    process = python(SET_LIMIT, ledger_path, limit_for(meter, 9 if not lowered else 1))
    out, told = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert told.count(" has reached ") == told.count("\n") == (3 if lowered else 0)  # what it spends no more
    assert served(client) is not lowered


def test_budgets_given_to_the_meter_bind_and_are_stored(ledger_path: Path, provider: FakeProvider) -> None:
    with metered(ledger_path) as plain:
        limit = limit_for(plain, 1)
    with metered(ledger_path, budgets=[Budget("mine", limit, "total")]) as meter:
        client = meter.wrap(openai(provider))
        assert [served(client), served(client)] == [True, False]
    with metered(ledger_path) as later:
        assert [b.name for b in later.budgets()] == ["mine"]
        assert later.budget("mine").limit == limit
        assert not served(later.wrap(openai(provider)))


def test_declaring_the_same_again_does_not_undo_a_limit_set_at_run_time(
    ledger_path: Path, provider: FakeProvider
) -> None:
    with metered(ledger_path) as first:
        low, high = limit_for(first, 1), limit_for(first, 2)
    declared = Budget("mine", low, "total")
    with metered(ledger_path, budgets=[declared]) as meter:
        meter.set_budget(Budget("mine", high, "total"), origin="cli")
        client = meter.wrap(openai(provider))
        meter.declare(declared, origin="code")
        assert [served(client) for _ in range(3)] == [True, True, False]
    with metered(ledger_path, budgets=[declared]) as again:
        assert again.budget("mine").limit == high


def test_a_removed_budget_binds_no_more(still: Meter, provider: FakeProvider) -> None:
    still.set_budget(Budget("all", limit_for(still, 1), "day"))
    client = still.wrap(openai(provider))
    assert [served(client), served(client)] == [True, False]
    assert still.remove_budget("all")
    assert served(client)
    assert not still.remove_budget("all")
    with pytest.raises(LookupError):
        still.budget("all")


def test_a_budget_removed_while_a_call_runs_lets_it_end(still: Meter, provider: FakeProvider) -> None:
    still.set_budget(Budget("all", limit_for(still, 1), "day"))
    client = still.wrap(openai(provider))
    provider.hold()
    burst = Burst([lambda: ask(client)])
    provider.wait_for(1)
    still.remove_budget("all")
    provider.release()
    assert refusals(burst.join()) == 0
    assert [row["outcome"] for row in still.engine.ledger.calls()] == ["complete"]


def test_a_standing_budget_of_a_run_is_refused(still: Meter) -> None:
    with pytest.raises(InvalidBudget):
        still.set_budget(Budget("all", 1, "run"))


def test_a_budget_made_in_mid_period_counts_what_was_spent_and_is_held(
    still: Meter, provider: FakeProvider, clock: FakeClock
) -> None:
    client = still.wrap(openai(provider), account="acme")
    assert served(client)  # yesterday
    clock.advance(DAY)
    assert served(client)
    assert served(still.wrap(openai(provider), account="other"))
    provider.hold()
    burst = Burst([lambda: ask(client)])
    provider.wait_for(4)
    clock.advance(3600)
    still.set_budget(Budget("acme", limit_for(still, 2), "day", account="acme"))
    assert held_and_spent(still) == [(int(upper(still) * 10**9), COST)]
    refusal = ask(client)
    assert isinstance(refusal, InsufficientCredits)
    provider.release()
    burst.join()
    assert held_and_spent(still) == [(0, 2 * COST)]
    assert not served(client)


def test_a_changed_time_zone_forgets_nothing(still: Meter, provider: FakeProvider, clock: FakeClock) -> None:
    clock.advance(12 * 3600)
    still.set_budget(Budget("all", limit_for(still, 1), "day"))
    client = still.wrap(openai(provider))
    assert [served(client), served(client)] == [True, False]
    still.set_budget(Budget("all", limit_for(still, 1), "day", timezone="Europe/Berlin"))
    refusal = ask(client)
    assert isinstance(refusal, InsufficientCredits)
    assert refusal.resets_at == datetime(2026, 1, 1, 23, tzinfo=UTC)


def test_can_afford_tells_what_the_tightest_budget_has_left(still: Meter, provider: FakeProvider) -> None:
    still.set_budget(Budget("wide", 5, "day"))
    still.set_budget(Budget("narrow", limit_for(still, 2), "day", account="acme"))
    client = still.wrap(openai(provider), account="acme")
    assert still.can_afford(2)
    yes = still.can_afford(upper(still), account="acme")
    assert yes
    assert (yes.limited_by, yes.remaining) == ("narrow", limit_for(still, 2))
    assert served(client)
    assert served(client)
    no = still.can_afford(upper(still), account="acme")
    assert not no
    assert no.remaining == limit_for(still, 2) - 2 * Decimal(COST) / 10**9
    with still.scope(budget="0.001"):
        assert still.can_afford(1).limited_by != "wide"


def test_estimate_upper_is_what_the_guard_holds(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget="$500/day")
    for call in ({}, {"max_tokens": None}, {"model": "gpt-5", "max_tokens": 5_000}):
        asked = {"model": CALL["model"], "max_tokens": CALL["max_tokens"]} | call
        held = still.receipt(client.chat.completions.create(**(CALL | call))).held
        assert held == upper(still, **asked)
