"""What is done where a call cannot be guarded as it should: at each door the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from farthing import (
    Budget,
    InsufficientCredits,
    LedgerError,
    Meter,
    Unbounded,
    UnpricedModel,
    Usage,
)
from farthing.testing import FakeClock, FakeProvider
from guard.making import CALL, MESSAGES, held_and_spent, metered, openai

HARD = Budget("all", 1, "day")
USED = {"model": "gpt-4o", "input_tokens": 400, "output_tokens": 0}

Door = Callable[[Meter, FakeProvider, str], Any]


def by_client(meter: Meter, provider: FakeProvider, model: str) -> Any:
    return meter.wrap(openai(provider)).chat.completions.create(**{**CALL, "model": model})


def by_task(meter: Meter, provider: FakeProvider, model: str) -> Any:
    async def main() -> Any:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            return await meter.wrap(client).chat.completions.create(**{**CALL, "model": model})

    return asyncio.run(main())


def by_hand(meter: Meter, _: FakeProvider, model: str) -> Any:
    return meter.reserve(model=model, input_tokens=5, max_output_tokens=5).settle({"input_tokens": 5})


def by_coroutine(meter: Meter, _: FakeProvider, model: str) -> Any:
    async def main() -> Any:
        return await (await meter.areserve(model=model, input_tokens=5, max_output_tokens=5)).asettle(
            {"input_tokens": 5}
        )

    return asyncio.run(main())


def tracked(meter: Meter, provider: FakeProvider, model: str) -> Any:
    """A function whose call inside is metered."""

    @meter.track_usage(budget=Budget("fn", 1, "day"))
    def work() -> Any:
        return by_client(meter, provider, model)

    return work()


def estimated(meter: Meter, _: FakeProvider, model: str) -> Any:
    """A function without a metered call inside."""

    @meter.track_usage(model=model, estimate="0.01")
    def work() -> Any:
        return {"model": model, "input_tokens": 1, "output_tokens": 1}

    return work()


def checked(meter: Meter, _: FakeProvider, model: str) -> Any:
    """The same, without an estimate."""

    @meter.track_usage(model=model, budget=Budget("fn", 1, "day"))
    def work() -> Any:
        return {"model": model, "input_tokens": 1, "output_tokens": 1}

    return work()


def checked_coroutine(meter: Meter, _: FakeProvider, model: str) -> Any:
    @meter.track_usage(model=model, budget=Budget("fn", 1, "day"))
    async def work() -> Any:
        return {"model": model, "input_tokens": 1, "output_tokens": 1}

    return asyncio.run(work())


ALL: list[Door] = [
    by_client,
    by_task,
    by_hand,
    by_coroutine,
    tracked,
    estimated,
    checked,
    checked_coroutine,
]
HOLDING: list[Door] = [by_client, by_task, by_hand, by_coroutine, tracked]
"""Those that hold what the price of the model says."""


def meter_at(path: Path, **options: Any) -> Meter:
    made = metered(path, clock=FakeClock(), **options)
    made.set_budget(HARD)
    return made


# on_unpriced


@pytest.mark.parametrize("door", HOLDING)
def test_a_model_without_a_price_is_refused(ledger_path: Path, provider: FakeProvider, door: Door) -> None:
    with meter_at(ledger_path) as meter:
        with pytest.raises(UnpricedModel, match="nobody-knows"):
            door(meter, provider, "nobody-knows-1")
        assert provider.requests == []
        assert meter.engine.ledger.calls() == []
        assert [row["reason"] for row in meter.engine.ledger.refusals()] == ["unpriced"]


@pytest.mark.parametrize("door", HOLDING)
def test_or_let_pass_with_a_flag(ledger_path: Path, provider: FakeProvider, door: Door) -> None:
    with meter_at(ledger_path, on_unpriced="allow") as meter:
        door(meter, provider, "nobody-knows-1")
        [row] = meter.engine.ledger.calls()
        assert row["cost_nano"] is None
        assert "unpriced_allowed" in row["flags"]


def test_what_is_stated_as_an_amount_needs_no_price(ledger_path: Path, provider: FakeProvider) -> None:
    with meter_at(ledger_path) as meter:
        estimated(meter, provider, "nobody-knows-1")
        assert held_and_spent(meter, "all") == [(0, 10_000_000)]


# on_unbounded


def hosted(meter: Meter, provider: FakeProvider) -> Any:
    client: OpenAI = meter.wrap(openai(provider), provider="x-ai")
    return client.responses.create(model="grok-4", input="Hi.", tools=[{"type": "web_search"}])


def hosted_by_task(meter: Meter, provider: FakeProvider) -> Any:
    async def main() -> Any:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            wrapped = meter.wrap(client, provider="x-ai")
            return await wrapped.responses.create(model="grok-4", input="Hi.", tools=[{"type": "web_search"}])

    return asyncio.run(main())


def hosted_in_a_function(meter: Meter, provider: FakeProvider) -> Any:
    return meter.track_usage(budget="$1")(lambda: hosted(meter, provider))()


@pytest.mark.parametrize("door", [hosted, hosted_by_task, hosted_in_a_function])
def test_tools_without_a_limit_are_refused_or_let_pass_with_a_flag(
    tmp_path: Path, provider: FakeProvider, door: Callable[[Meter, FakeProvider], Any]
) -> None:
    with meter_at(tmp_path / "a.db") as meter:
        with pytest.raises(Unbounded):
            door(meter, provider)
        assert [row["reason"] for row in meter.engine.ledger.refusals()] == ["unbounded"]
    with meter_at(tmp_path / "b.db", on_unbounded="allow", on_unpriced="allow") as meter:
        door(meter, provider)
        assert "unbounded_allowed" in meter.engine.ledger.calls()[0]["flags"]


# on_ledger_error


def broken(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise LedgerError("gone")

    ledger = meter.engine.ledger
    for verb in ("reserve", "settle", "record", "look", "together", "standing"):
        monkeypatch.setattr(ledger, verb, fails)


@pytest.mark.parametrize("door", ALL)
def test_without_a_ledger_calls_are_refused_under_a_hard_budget(
    ledger_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, door: Door
) -> None:
    with meter_at(ledger_path) as meter:
        broken(meter, monkeypatch)
        with pytest.raises(LedgerError, match="gone"):
            door(meter, provider, "gpt-4o")
        assert provider.requests == []
        monkeypatch.undo()


@pytest.mark.parametrize("door", ALL)
def test_or_go_on_and_are_not_booked(
    ledger_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, door: Door
) -> None:
    with meter_at(ledger_path, on_ledger_error="allow") as meter:
        broken(meter, monkeypatch)
        assert door(meter, provider, "gpt-4o") is not None
        monkeypatch.undo()


# on_tight


def uncapped(meter: Meter, provider: FakeProvider) -> Any:
    client = meter.wrap(openai(provider))
    return meter.receipt(client.chat.completions.create(model="gpt-4o", messages=MESSAGES))


def uncapped_by_task(meter: Meter, provider: FakeProvider) -> Any:
    async def main() -> Any:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            answer = await meter.wrap(client).chat.completions.create(model="gpt-4o", messages=MESSAGES)
            return meter.receipt(answer)

    return asyncio.run(main())


def uncapped_in_a_function(meter: Meter, provider: FakeProvider) -> Any:
    return meter.track_usage(budget="$0.09")(lambda: uncapped(meter, provider))()


@pytest.mark.parametrize("door", [uncapped, uncapped_by_task, uncapped_in_a_function])
def test_a_tight_budget_caps_or_refuses(
    tmp_path: Path, provider: FakeProvider, door: Callable[[Meter, FakeProvider], Any]
) -> None:
    for policy, capped in (("cap", True), ("refuse", False)):
        with metered(tmp_path / policy, on_tight=policy) as meter:
            meter.set_budget(Budget("all", "0.05", "day"))
            if capped:
                assert door(meter, provider).capped_at > 256
                continue
            with pytest.raises(InsufficientCredits) as caught:
                door(meter, provider)
            assert caught.value.required > Decimal("0.1")


def test_a_hold_by_hand_is_whole_whichever(tmp_path: Path) -> None:
    for policy in ("cap", "refuse"):
        with metered(tmp_path / policy, on_tight=policy) as meter:
            meter.set_budget(Budget("all", "0.05", "day"))
            with pytest.raises(InsufficientCredits):
                meter.reserve(model="gpt-4o", input_tokens=5)


# A function without an estimate: is any money left?


@pytest.fixture
def spent(still: Meter) -> Meter:
    still.set_budget(Budget("house", "0.5", "day", model="gpt-4o*"))
    still.record(model="gpt-4o", usage=Usage(input_tokens=0), cost="0.4", account="other")
    return still


def work_of(meter: Meter, **options: Any) -> Callable[[], dict[str, Any]]:
    @meter.track_usage(**({"model": "gpt-4o", "budget": Budget("own", 9, "day")} | options))
    def work() -> dict[str, Any]:
        return dict(USED)

    return work


def test_a_standing_budget_refuses_it_with_every_figure(spent: Meter) -> None:
    hold = spent.reserve(model="gpt-4o", amount="0.1")
    with pytest.raises(InsufficientCredits) as caught:
        work_of(spent, account="acme")()
    refusal = caught.value
    assert (refusal.kind, refusal.budget, refusal.account, refusal.model) == (
        "budget",
        "house",
        "acme",
        "gpt-4o",
    )
    amounts = (refusal.limit, refusal.spent, refusal.held, refusal.remaining, refusal.required)
    assert [str(amount) for amount in amounts] == ["0.5", "0.4", "0.1", "0", "None"]
    assert refusal.resets_at == datetime(2026, 1, 2, tzinfo=UTC)
    assert refusal.transient
    assert refusal.retry_after == 1
    assert refusal.public_dict()["spent"] is None
    assert "work needs money but budget 'house' has $0.00 of $0.50 left" in str(refusal)
    [row] = spent.engine.ledger.refusals()
    assert (row["account"], row["budget"], row["reason"], row["calls"]) == ("acme", "house", "budget", 1)
    hold.void()
    work_of(spent)()


def test_what_is_spent_is_not_transient(spent: Meter) -> None:
    spent.record(model="gpt-4o", usage=Usage(input_tokens=0), cost="0.2")
    with pytest.raises(InsufficientCredits) as caught:
        work_of(spent)()
    assert (caught.value.transient, caught.value.retry_after) == (False, 24 * 3600)


def test_a_budget_for_other_models_does_not(spent: Meter) -> None:
    spent.record(model="gpt-4o", usage=Usage(input_tokens=0), cost="0.2")
    work_of(spent, model="claude-sonnet-4-5")()
    work_of(spent, model=None)()


def test_the_budget_of_a_scope_around_it_does(still: Meter) -> None:
    with still.scope(budget="$0.001"):
        work_of(still)()
        with pytest.raises(InsufficientCredits):
            work_of(still)()


def test_a_budget_that_another_process_has_set_does(still: Meter, ledger_path: Path) -> None:
    work_of(still)()
    with metered(ledger_path, clock=still.engine.clock) as other:
        other.engine.ledger.set_budget(Budget("new", 0, "day"), origin="cli")
    with pytest.raises(InsufficientCredits, match="new"):
        work_of(still)()


# The hold of an estimate


def test_a_coroutines_estimate_is_given_back_off_the_loop(
    still: Meter, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    release = still.engine.ledger.release

    def watched(grant: Any) -> bool:
        threads.append(threading.current_thread())
        return release(grant)

    still.warm()
    monkeypatch.setattr(still.engine.ledger, "release", watched)
    still.set_budget(Budget("all", "0.01", "day"))

    @still.track_usage(estimate="0.009")
    async def work() -> None:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            await still.wrap(client).chat.completions.create(**CALL)

    asyncio.run(work())
    assert [thread.name for thread in threads] == ["farthing-ledger"]
    assert len(provider.requests) == 1
    assert held_and_spent(still)[0][0] == 0


def test_a_functions_estimate_is_given_back_before_the_call_that_it_makes(
    still: Meter, provider: FakeProvider
) -> None:
    still.set_budget(Budget("all", "0.01", "day"))

    @still.track_usage(estimate="0.009")
    def work() -> None:
        still.wrap(openai(provider)).chat.completions.create(**CALL)

    work()
    assert len(provider.requests) == 1


# Records that are sent again


@pytest.mark.parametrize(
    "again",
    [
        {"usage": {"input_tokens": 5, "output_tokens": 7}},
        {"usage": {"input_tokens": 5, "output_tokens": 7, "cached_tokens": None}},
        {"usage": Usage(output_tokens=7, input_tokens=5)},
        {"usage": Usage(input_tokens=5, output_tokens=7), "tags": {}},
        {"usage": Usage(input_tokens=5, output_tokens=7), "operation": "other"},
    ],
    ids=str,
)
def test_the_same_content_in_another_form_is_the_same_transaction(still: Meter, again: Any) -> None:
    first = still.record(model="gpt-4o", usage=Usage(input_tokens=5, output_tokens=7), transaction_id="t")
    assert still.record(model="gpt-4o", transaction_id="t", **again).id == first.id
