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


def until_refused(
    client: Any, *, stream: bool = False, most: int | None = None
) -> tuple[int, InsufficientCredits | None]:
    """Ask again and again, or at most so often; how often it was served, and what it was told in the end."""
    for served in range(10**6 if most is None else most):
        answer = ask(client, stream=stream)
        if isinstance(answer, InsufficientCredits):
            return served, answer
        if stream:
            list(answer)
    assert most is not None, "nothing stopped it"
    return most, None


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


def child(path: str, url: str, start: Any, told: Any, accounts: list[str], most: int | None) -> None:  # noqa: PLR0917  the target of a process
    """For one account after the other, asks from its threads until each is refused; at most so often, without
    the check, in a control."""
    if most is not None:
        unguarded(pytest.MonkeyPatch())
    with metered(path, wait=PATIENCE) as meter:
        meter.warm()

        def one(client: Any) -> None:
            start.wait(STARTING)
            try:
                told.put(until_refused(client, most=most)[0])
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
        self,
        count: int,
        path: Path,
        provider: FakeProvider,
        accounts: list[str],
        *,
        beside: int,
        most: int | None = None,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.threads = count * THREADS_EACH
        self.start = context.Barrier(self.threads + beside)
        self.told = context.Queue()
        given = (str(path), provider.base_url, self.start, self.told, accounts, most)
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


def test_without_the_check_tasks_overspend(
    still: Meter, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control, with as many as there are connections without ado."""
    tasks = TASKS // 10
    unguarded(monkeypatch)
    still.set_budget(Budget("all", limit_for(still, 5), "day"))

    async def main() -> int:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="test", max_retries=0) as client:
            return await tasks_at_once(still.wrap(client), provider, tasks, tasks)

    provider.hold()
    assert asyncio.run(main()) == provider.served == provider.most_in_flight == tasks
    with pytest.raises(AssertionError, match="<="):
        used_up(still, 5, tasks)


MIXED_THREADS, MIXED_PROCESSES, MIXED_TASKS = 16, 2, 200
AT_ONCE = MIXED_THREADS + MIXED_PROCESSES * THREADS_EACH + MIXED_TASKS


def mixed(
    meter: Meter, path: Path, provider: FakeProvider, afforded: int, most: int | None = None
) -> tuple[int, list[tuple[int, int]]]:
    """Threads, half of which stream, tasks and processes, from one barrier. Each task asks once, all others
    until they are refused, or at most so often. How often they were served, and what was held and spent
    before the first answer."""
    provider.hold()
    children = Children(MIXED_PROCESSES, path, provider, ["default"], beside=MIXED_THREADS + 1, most=most)
    client = meter.wrap(openai(provider))

    async def asked_by_tasks() -> int:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="test", max_retries=0) as client:
            meter.wrap(client)
            answers = await asyncio.gather(
                *(client.chat.completions.create(**CALL) for _ in range(MIXED_TASKS)), return_exceptions=True
            )
        return MIXED_TASKS - refusals(answers)

    def by_tasks() -> int:
        children.start.wait(STARTING)
        return asyncio.run(asked_by_tasks())

    def by_thread(stream: bool) -> int:
        children.start.wait(STARTING)
        return until_refused(client, stream=stream, most=most)[0]

    ways = [lambda stream=number % 2 == 0: by_thread(stream) for number in range(MIXED_THREADS)]
    burst = Burst([*ways, by_tasks])
    provider.wait_for(min(afforded, AT_ONCE) if most is None else AT_ONCE, STARTING)
    before = held_and_spent(meter)
    provider.release()
    served = sum(burst.join()) + children.served()
    children.join()
    return served, before


@pytest.mark.slow
@pytest.mark.timeout(400)
@LIMITS
def test_threads_streams_tasks_and_processes_share_one_budget(
    meter: Meter, ledger_path: Path, provider: FakeProvider, afforded: int
) -> None:
    meter.set_budget(Budget("all", limit_for(meter, afforded), "month"))
    served, before = mixed(meter, ledger_path, provider, afforded)
    together = min(afforded, AT_ONCE)
    assert before == [(together * int(upper(meter) * 10**9), 0)]
    assert provider.most_in_flight == together
    assert afforded <= served == provider.served <= all_that_fits(meter, afforded)
    used_up(meter, afforded, served)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_without_the_check_threads_streams_tasks_and_processes_overspend_one_budget(
    meter: Meter, ledger_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    unguarded(monkeypatch)
    meter.set_budget(Budget("all", limit_for(meter, 5), "month"))
    served, before = mixed(meter, ledger_path, provider, 5, most=2)
    assert before == [(AT_ONCE * int(upper(meter) * 10**9), 0)]
    assert served == provider.served == 2 * (AT_ONCE - MIXED_TASKS) + MIXED_TASKS
    with pytest.raises(AssertionError, match="<="):
        used_up(meter, 5, served)
