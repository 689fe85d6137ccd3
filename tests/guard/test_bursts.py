"""Many calls at once through one wrapped client: a budget for five serves five, whatever kind it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from openai import AsyncOpenAI

from farthing import Budget, InsufficientCredits, Meter
from farthing.ledger.calls import sql
from farthing.ledger.writing import batch
from farthing.testing import FakeProvider
from guard.making import CALL, COST, PATIENCE, Burst, ask, held_and_spent, limit_for, openai, refusals, upper

THREADS = 50
TASKS = 200
SERVED = 5

Way = Callable[[], Any]


def attached(meter: Meter, provider: FakeProvider) -> list[Way]:
    client = meter.wrap(openai(provider), budget=f"${limit_for(meter, SERVED)}/day")
    return [lambda: ask(client)] * THREADS


def for_the_life_of_the_client(meter: Meter, provider: FakeProvider) -> list[Way]:
    client = meter.wrap(openai(provider), budget=limit_for(meter, SERVED))
    return [lambda: ask(client)] * THREADS


def several_clients_of_one_account(meter: Meter, provider: FakeProvider) -> list[Way]:
    text = f"${limit_for(meter, SERVED)}/month"
    clients = [meter.wrap(openai(provider), account="acme", budget=text) for _ in range(5)]
    return [lambda client=client: ask(client) for client in clients * (THREADS // 5)]


def standing(meter: Meter, provider: FakeProvider) -> list[Way]:
    meter.set_budget(Budget("all", limit_for(meter, SERVED), "day"))
    client = meter.wrap(openai(provider))
    return [lambda: ask(client)] * THREADS


def one_scope(meter: Meter, provider: FakeProvider) -> list[Way]:
    client = meter.wrap(openai(provider))
    with meter.scope(budget=limit_for(meter, SERVED)) as run:
        return [run.bind(lambda: ask(client))] * THREADS


def the_tighter_of_two(meter: Meter, provider: FakeProvider) -> list[Way]:
    meter.set_budget(Budget("wide", limit_for(meter, SERVED + 3), "day"))
    meter.set_budget(Budget("narrow", limit_for(meter, SERVED), "month"))
    client = meter.wrap(openai(provider), budget=f"${limit_for(meter, THREADS)}/day")
    return [lambda: ask(client)] * THREADS


@pytest.mark.parametrize(
    "kind",
    [
        attached,
        for_the_life_of_the_client,
        several_clients_of_one_account,
        standing,
        one_scope,
        the_tighter_of_two,
    ],
)
def test_fifty_threads_are_served_exactly_what_the_budget_affords(
    still: Meter, provider: FakeProvider, kind: Callable[[Meter, FakeProvider], list[Way]]
) -> None:
    provider.hold()
    burst = Burst(kind(still, provider))
    provider.wait_for(SERVED)
    first = burst.next(THREADS - SERVED)
    assert refusals(first) == THREADS - SERVED
    assert all(refusal.transient for refusal in first)
    provider.release()
    assert refusals(burst.join()) == 0
    assert provider.most_in_flight == provider.served == SERVED
    assert all(window == (0, SERVED * COST) for window in held_and_spent(still))
    rows = still.engine.ledger.calls()
    assert [row["cost_nano"] for row in rows] == [COST] * SERVED
    assert sum(row["calls"] for row in still.engine.ledger.refusals()) == THREADS - SERVED
    if kind is the_tighter_of_two:
        assert {refusal.budget for refusal in first} == {"narrow"}


def test_each_account_has_its_own_window_of_a_budget_per_account(
    still: Meter, provider: FakeProvider
) -> None:
    still.set_budget(Budget("each", limit_for(still, 3), "day", per="account"))
    accounts = ["a", "b", "c"]
    clients = [still.wrap(openai(provider), account=account) for account in accounts]
    provider.hold()
    burst = Burst([lambda client=client: ask(client) for client in clients * 10])
    provider.wait_for(9)
    first = burst.next(21)
    assert refusals(first) == 21
    assert sorted(refusal.account for refusal in first) == ["a"] * 7 + ["b"] * 7 + ["c"] * 7
    provider.release()
    assert refusals(burst.join()) == 0
    assert provider.most_in_flight == 9
    windows = sorted((w.key, w.held, w.spent) for w in still.windows())
    assert windows == [(account, 0, 3 * COST) for account in accounts]


def test_streams_hold_their_money_until_they_end(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget=f"${limit_for(still, SERVED)}/day")
    burst = Burst([lambda: ask(client, stream=True)] * THREADS)
    answers = burst.join()
    assert refusals(answers) == THREADS - SERVED
    assert held_and_spent(still) == [(SERVED * int(upper(still) * 10**9), 0)]
    for answer in answers:
        if not isinstance(answer, InsufficientCredits):
            list(answer)
    assert held_and_spent(still) == [(0, SERVED * COST)]


@pytest.mark.parametrize("kind", ["attached", "standing", "scope"])
def test_two_hundred_tasks_are_served_exactly_what_the_budget_affords(
    still: Meter, provider: FakeProvider, kind: str
) -> None:
    limit = limit_for(still, SERVED)
    if kind == "standing":
        still.set_budget(Budget("all", limit, "day"))
    scope_budget = limit if kind == "scope" else None

    async def main() -> None:
        refused: asyncio.Queue[InsufficientCredits] = asyncio.Queue()
        start = asyncio.Event()

        async def one(client: AsyncOpenAI) -> bool:
            await start.wait()
            try:
                await client.chat.completions.create(**CALL)
            except InsufficientCredits as refusal:
                refused.put_nowait(refusal)
                return False
            return True

        async with AsyncOpenAI(base_url=provider.base_url, api_key="test", max_retries=0) as client:
            still.wrap(client, budget=f"${limit}/day" if kind == "attached" else None)
            async with still.scope(budget=scope_budget):
                tasks = [asyncio.create_task(one(client)) for _ in range(TASKS)]
            start.set()
            for _ in range(TASKS - SERVED):
                await asyncio.wait_for(refused.get(), PATIENCE)
            await asyncio.to_thread(provider.wait_for, SERVED)
            provider.release()
            assert sum(await asyncio.gather(*tasks)) == SERVED

    provider.hold()
    asyncio.run(main())
    assert provider.most_in_flight == provider.served == SERVED
    assert held_and_spent(still) == [(0, SERVED * COST)]


def test_without_the_check_the_same_burst_overspends(
    still: Meter, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with the condition of the guard's UPDATE taken out, all are let through."""
    monkeypatch.setattr(sql, "HOLD_GUARDED", sql.HOLD)
    monkeypatch.setattr(batch.Money, "affords", lambda *_: True)
    provider.hold()
    burst = Burst(attached(still, provider))
    provider.wait_for(THREADS)
    provider.release()
    assert refusals(burst.join()) == 0
    [(held, spent)] = held_and_spent(still)
    assert held == 0
    assert Decimal(spent) / 10**9 > limit_for(still, SERVED)
    assert provider.most_in_flight == THREADS
