"""Bursts of 64 threads, of 8 processes and of 2,000 tasks, at limits that afford 1, 5 and 500 calls.

Nothing is overspent, nothing is lost or booked twice, and all but what no hold fits into is used.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from farthing import Budget, InsufficientCredits, Meter
from farthing.testing import FakeClock, FakeProvider
from guard.making import (
    CALL,
    COST,
    PATIENCE,
    Burst,
    adds_up,
    ask,
    held_and_spent,
    limit_for,
    metered,
    openai,
    refusals,
    unguarded,
    upper,
)

THREADS = 64
PROCESSES, THREADS_EACH = 8, 8
TASKS = 2_000

AFFORDED = (1, 5, 500)
STARTING = 100.0
"""Seconds for eight processes to start, or 500 connections to be made, on a machine that is busy."""

LIMITS = pytest.mark.parametrize("afforded", AFFORDED)


@pytest.fixture
def waiting(ledger_path: Path, clock: FakeClock) -> Iterator[Meter]:
    """A meter whose callers wait for money that running calls hold, so that all of it gets used."""
    with metered(ledger_path, clock=clock, wait=PATIENCE) as made:
        yield made
        assert adds_up(made)


def all_that_fits(meter: Meter, afforded: int) -> int:
    """How many calls a budget for so many holds serves, each of which costs less than its hold."""
    limit, hold = (int(money * 10**9) for money in (limit_for(meter, afforded), upper(meter)))
    return (limit - hold) // COST + 1


def used_up(
    meter: Meter, afforded: int, served: int, *, budget: str = "all", account: str | None = None
) -> None:
    """What was served is booked, once, and fits; of a limit of 500 calls 99 % is used."""
    limit = int(limit_for(meter, afforded) * 10**9)
    [(held, spent)] = held_and_spent(meter, budget)
    assert (held, spent) == (0, served * COST)
    assert spent <= limit
    rows = meter.engine.ledger.calls(account=account, limit=10**5)
    assert Counter((row["outcome"], row["cost_nano"]) for row in rows) == {("complete", COST): served}
    assert afforded < 500 or spent * 100 >= limit * 99


def until_refused(client: Any, *, stream: bool = False) -> tuple[int, InsufficientCredits]:
    """Ask again and again; how often it was served, and what it was told in the end."""
    for served in range(10**6):
        answer = ask(client, stream=stream)
        if isinstance(answer, InsufficientCredits):
            return served, answer
        if stream:
            list(answer)
    raise AssertionError("nothing stopped it")


@LIMITS
def test_sixty_four_threads_use_a_budget_up_and_no_more(
    waiting: Meter, provider: FakeProvider, afforded: int
) -> None:
    waiting.set_budget(Budget("all", limit_for(waiting, afforded), "day"))
    client = waiting.wrap(openai(provider))
    provider.hold()
    burst = Burst([lambda: until_refused(client)] * THREADS)
    together = min(THREADS, afforded)
    provider.wait_for(together)
    [(held, spent)] = held_and_spent(waiting)
    assert (held, spent) == (together * int(upper(waiting) * 10**9), 0)
    provider.release()
    answers = burst.join()
    assert len(answers) == THREADS
    served = sum(count for count, _ in answers)
    assert served == provider.served == all_that_fits(waiting, afforded)
    assert provider.most_in_flight == together
    used_up(waiting, afforded, served)


def test_without_the_check_sixty_four_threads_overspend(
    still: Meter, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    unguarded(monkeypatch)
    still.set_budget(Budget("all", limit_for(still, 5), "day"))
    client = still.wrap(openai(provider))
    provider.hold()
    burst = Burst([lambda: ask(client)] * THREADS)
    provider.wait_for(THREADS)
    provider.release()
    assert refusals(burst.join()) == 0
    assert held_and_spent(still) == [(0, THREADS * COST)]


def child(path: str, url: str, start: Any, told: Any, accounts: list[str]) -> None:
    """For one account after the other, asks from its threads until each is refused."""
    with metered(path, wait=PATIENCE) as meter:
        meter.warm()

        def one(client: Any) -> None:
            start.wait(STARTING)
            try:
                told.put(until_refused(client)[0])
            except BaseException as error:
                told.put(repr(error))
                raise

        for account in accounts:
            with openai(url) as client:
                meter.wrap(client, account=account)
                threads = [threading.Thread(target=one, args=(client,)) for _ in range(THREADS_EACH)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()


class Children:
    """Processes with eight threads each, and this one, at one barrier."""

    def __init__(
        self, count: int, path: Path, provider: FakeProvider, accounts: list[str], beside: int
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.threads = count * THREADS_EACH
        self.start = context.Barrier(self.threads + beside)
        self.told = context.Queue()
        given = (str(path), provider.base_url, self.start, self.told, accounts)
        self.processes = [context.Process(target=child, args=given) for _ in range(count)]
        for process in self.processes:
            process.start()

    def served(self) -> int:
        """How often their threads were, when each of them has been refused."""
        return sum(self.told.get(timeout=STARTING) for _ in range(self.threads))

    def join(self) -> None:
        """They have ended, and well."""
        for process in self.processes:
            process.join(PATIENCE)
            assert process.exitcode == 0
            process.close()
        self.told.close()
        self.told.join_thread()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_eight_processes_of_eight_threads_use_budgets_up_and_no_more(
    meter: Meter, ledger_path: Path, provider: FakeProvider
) -> None:
    accounts = {str(afforded): afforded for afforded in AFFORDED}
    for account, afforded in accounts.items():
        meter.set_budget(Budget(account, limit_for(meter, afforded), "month", account=account))
    children = Children(PROCESSES, ledger_path, provider, list(accounts), beside=1)
    for account, afforded in accounts.items():
        provider.clear()
        provider.hold()
        children.start.wait(STARTING)
        together = min(PROCESSES * THREADS_EACH, afforded)
        provider.wait_for(together, STARTING)
        provider.release()
        served = children.served()
        assert served == provider.served == all_that_fits(meter, afforded)
        assert provider.most_in_flight == together
        used_up(meter, afforded, served, budget=account, account=account)
    children.join()


async def tasks_at_once(client: Any, provider: FakeProvider, tasks: int, afforded: int) -> int:
    """Ask from so many tasks; how many were served, after all others had been refused."""
    refused = asyncio.Semaphore(0)

    async def one() -> bool:
        try:
            await client.chat.completions.create(**CALL)
        except InsufficientCredits:
            refused.release()
            return False
        return True

    running = [asyncio.create_task(one()) for _ in range(tasks)]
    for _ in range(tasks - afforded):
        await asyncio.wait_for(refused.acquire(), STARTING)
    await asyncio.to_thread(provider.wait_for, afforded, STARTING)
    provider.release()
    return sum(await asyncio.gather(*running))


@pytest.mark.slow
@pytest.mark.timeout(400)
@LIMITS
def test_two_thousand_tasks_are_served_exactly_what_the_budget_affords(
    still: Meter, provider: FakeProvider, afforded: int
) -> None:
    still.set_budget(Budget("all", limit_for(still, afforded), "day"))

    async def main() -> int:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="test", max_retries=0) as client:
            return await tasks_at_once(still.wrap(client), provider, TASKS, afforded)

    provider.hold()
    assert asyncio.run(main()) == provider.served == provider.most_in_flight == afforded
    used_up(still, afforded, afforded)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_threads_streams_tasks_and_processes_share_one_budget(
    meter: Meter, ledger_path: Path, provider: FakeProvider
) -> None:
    """All from one barrier, each until it is refused."""
    afforded, threads, tasks = 40, 16, 200
    meter.set_budget(Budget("all", limit_for(meter, afforded), "month"))
    provider.hold()
    children = Children(2, ledger_path, provider, ["default"], beside=threads + 1)
    client = meter.wrap(openai(provider))

    async def asked_by_tasks() -> int:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="test", max_retries=0) as client:
            meter.wrap(client)
            answers = await asyncio.gather(
                *(client.chat.completions.create(**CALL) for _ in range(tasks)), return_exceptions=True
            )
        return tasks - refusals(answers)

    def by_tasks() -> int:
        children.start.wait(STARTING)
        return asyncio.run(asked_by_tasks())

    def by_thread(stream: bool) -> int:
        children.start.wait(STARTING)
        return until_refused(client, stream=stream)[0]

    ways = [lambda stream=number % 2 == 0: by_thread(stream) for number in range(threads)]
    burst = Burst([*ways, by_tasks])
    provider.wait_for(afforded, STARTING)
    [(held, spent)] = held_and_spent(meter)
    assert (held, spent) == (afforded * int(upper(meter) * 10**9), 0)
    provider.release()
    served = sum(burst.join()) + children.served()
    children.join()
    assert provider.most_in_flight == afforded
    assert afforded <= served == provider.served <= all_that_fits(meter, afforded)
    used_up(meter, afforded, served)
