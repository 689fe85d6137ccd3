"""Budgets that are kept in memory while the ledger cannot be used (`on_ledger_error="allow"`)."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from farthing import Budget, InsufficientCredits, LedgerLocked, Meter
from farthing.guard import unbooked
from farthing.guard.unbooked import Unbooked
from farthing.ledger.store import Bound, Short
from farthing.testing import FakeClock, FakeProvider
from guard.making import MESSAGES, ask, metered, openai

USD = 10**9


@contextmanager
def outage(meter: Meter) -> Iterator[None]:
    def fails(*_: Any, **__: Any) -> Any:
        raise LedgerLocked("held")

    with pytest.MonkeyPatch.context() as broken:
        for verb in ("reserve", "settle", "release", "take_in", "look", "together", "at_once"):
            broken.setattr(meter.engine.ledger, verb, fails)
        yield


@pytest.fixture
def lenient(ledger_path: Path, clock: FakeClock) -> Iterator[Meter]:
    """Without its ledger, it keeps a budget of $1 in memory."""
    budgets = [Budget("all", 1, "day")]
    with metered(ledger_path, clock=clock, on_ledger_error="allow", budgets=budgets) as meter:
        meter.warm()
        yield meter
        assert meter.engine.ledger.check() == []


def by_thread(meter: Meter, dimes: int) -> None:
    hold = meter.reserve(model="gpt-4o", amount=f"0.{dimes}")
    hold.settle({"input_tokens": 0, "output_tokens": dimes * 10_000})


def by_task(meter: Meter, dimes: int) -> None:
    async def main() -> None:
        hold = await meter.areserve(model="gpt-4o", amount=f"0.{dimes}")
        await hold.asettle({"input_tokens": 0, "output_tokens": dimes * 10_000})

    asyncio.run(main())


Spend = Callable[[Meter, int], None]
spending = pytest.mark.parametrize("spend", [by_thread, by_task])


def left(meter: Meter) -> int:
    """Dimes that could be held now."""
    for dimes in range(9, 0, -1):
        try:
            meter.reserve(model="gpt-4o", amount=f"0.{dimes}").release()
        except InsufficientCredits:
            continue
        return dimes
    return 0


@spending
@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_what_was_spent_since_the_last_look_is_known(
    lenient: Meter, spend: Spend, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not guarded:
        monkeypatch.setattr(Unbooked, "granted", lambda *_: None)
    for _ in range(7):
        spend(lenient, 1)
    with outage(lenient):
        assert left(lenient) == (3 if guarded else 9)


def test_and_what_was_held_before_it_counts_with_what_it_came_to(lenient: Meter, clock: FakeClock) -> None:
    first = lenient.reserve(model="gpt-4o", amount="0.5")
    second = lenient.reserve(model="gpt-4o", amount="0.2")
    clock.advance(10)
    by_thread(lenient, 1)  # looks at the window, of which the two hold seven tenths
    with outage(lenient):
        assert left(lenient) == 2
    first.settle({"input_tokens": 0, "output_tokens": 10_000})
    with outage(lenient):
        assert left(lenient) == 6
        second.settle({"input_tokens": 0, "output_tokens": 10_000})
        assert left(lenient) == 7
    assert left(lenient) == 7


@spending
def test_what_goes_on_without_the_ledger_is_known_in_the_next_outage_too(
    lenient: Meter, spend: Spend
) -> None:
    with outage(lenient):
        spend(lenient, 4)
    spend(lenient, 1)
    with outage(lenient):
        assert left(lenient) == 5
        spend(lenient, 4)
        assert left(lenient) == 1
    assert left(lenient) == 1


def test_it_is_not_counted_twice_when_it_was_booked_by_the_opening(ledger_path: Path) -> None:
    ledger_path.mkdir()
    with metered(ledger_path, on_ledger_error="allow", budgets=[Budget("all", 1, "day")]) as meter:
        by_thread(meter, 4)
        ledger_path.rmdir()
        meter.warm()
        assert left(meter) == 6
        with outage(meter):
            assert left(meter) == 6


def test_a_window_that_has_ended_is_another(lenient: Meter, clock: FakeClock) -> None:
    running = lenient.reserve(model="gpt-4o", amount="0.3")
    by_thread(lenient, 6)
    with outage(lenient):
        assert left(lenient) == 1
        clock.advance(24 * 3600)
        assert left(lenient) == 9
        by_thread(lenient, 2)
        running.settle({"input_tokens": 0, "output_tokens": 30_000})  # of yesterday
        assert left(lenient) == 8


# Given back


def released(meter: Meter) -> None:
    meter.reserve(model="gpt-4o", amount="0.6").release()


def voided(meter: Meter) -> None:
    meter.reserve(model="gpt-4o", amount="0.6").void()


def of_a_function(meter: Meter) -> None:
    with FakeProvider(usage={"input_tokens": 5, "cached_tokens": 0, "output_tokens": 3}) as provider:
        client = meter.wrap(openai(provider))

        @meter.track_usage(estimate="0.6")
        def work() -> None:
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES, max_tokens=3)

        work()


def of_a_coroutine(meter: Meter) -> None:
    @meter.track_usage(estimate="0.6")
    async def work(url: str) -> None:
        async with AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
            wrapped = meter.wrap(client)
            await wrapped.chat.completions.create(model="gpt-4o", messages=MESSAGES, max_tokens=3)

    with FakeProvider(usage={"input_tokens": 5, "cached_tokens": 0, "output_tokens": 3}) as provider:
        asyncio.run(work(provider.base_url))


@pytest.mark.parametrize("way", [released, voided, of_a_function, of_a_coroutine])
def test_what_is_given_back_is_free_again(lenient: Meter, way: Callable[[Meter], None]) -> None:
    with outage(lenient):
        for _ in range(3):
            way(lenient)
    with outage(lenient):
        assert left(lenient) == 9


def test_what_an_interrupt_keeps_from_being_sent_is_free_again(
    lenient: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def struck(*_: object) -> None:
        raise KeyboardInterrupt

    with outage(lenient):
        with monkeypatch.context() as interrupted:
            interrupted.setattr(lenient.engine._overdue, "_wrote", struck)
            with pytest.raises(KeyboardInterrupt):
                lenient.reserve(model="gpt-4o", amount="0.6")
        assert left(lenient) == 9


# Without a cap of the caller's


def sync_answer(meter: Meter, provider: FakeProvider) -> Any:
    return ask(meter.wrap(openai(provider)), max_tokens=None)


def task_answer(meter: Meter, provider: FakeProvider) -> Any:
    async def main() -> Any:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            return await meter.wrap(client).chat.completions.create(model="gpt-4o", messages=MESSAGES)

    return asyncio.run(main())


@pytest.mark.parametrize("answer", [sync_answer, task_answer])
def test_a_call_without_a_cap_is_given_a_share_of_what_is_left_as_the_ledger_gives_it(
    ledger_path: Path, provider: FakeProvider, answer: Callable[[Meter, FakeProvider], Any]
) -> None:
    budgets = [Budget("all", "0.02", "day")]
    with metered(ledger_path, on_ledger_error="allow", budgets=budgets) as meter:
        meter.warm()
        with outage(meter):
            without = meter.receipt(answer(meter, provider))
            assert provider.requests[-1].body["max_tokens"] == without.capped_at
        assert str(without.held) == "0.005"
    with metered(ledger_path.with_name("other.db"), on_ledger_error="allow", budgets=budgets) as meter:
        receipt = meter.receipt(answer(meter, provider))
    assert (without.held, without.capped_at) == (receipt.held, receipt.capped_at)


# What it costs, and who may use it


def bounds(limit: int = 1000) -> list[Bound]:
    return [Bound("all", Budget("all", limit, "total"), "", limit * USD, attached=False)]


def test_a_call_of_a_long_outage_looks_at_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    stands = unbooked._stands

    def watched(*args: Any) -> Short:
        looked.append(1)
        return stands(*args)

    monkeypatch.setattr(unbooked, "_stands", watched)
    memory = Unbooked()
    for number in range(500):
        assert memory.hold(str(number), bounds(), USD, USD, 0) == USD
        memory.ended(str(number), USD)
    assert len(looked) == 500
    assert memory._running == {}
    assert isinstance(memory.hold("one more", bounds(), 501 * USD, 501 * USD, 0), Short)


def test_threads_together_are_not_given_more_than_there_is() -> None:
    memory, answers = Unbooked(), []
    barrier = threading.Barrier(8)

    def run(first: int) -> None:
        barrier.wait()
        answers.extend(memory.hold(f"{first}-{n}", bounds(100), USD, USD, 0) for n in range(50))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answer == USD for answer in answers) == 100


def test_a_look_that_began_before_a_grant_does_not_take_it_back() -> None:
    memory, [bound] = Unbooked(), bounds(10)
    seen = Short(bound, bound.limit, 0, 0, None)
    memory.granted("before", [bound], 2 * USD, 0)
    began, too_late = memory.outdated([bound], 0), memory.outdated([bound], 0)
    memory.granted("meanwhile", [bound], 3 * USD, 0)
    memory.saw([seen], began, 0)
    memory.saw([seen], too_late, 0)
    answer = memory.hold("next", [bound], 8 * USD, 8 * USD, 0)
    assert isinstance(answer, Short)
    assert answer.held == 3 * USD


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_is_not_kept_waiting_by_a_thread_of_its_parent(lenient: Meter) -> None:
    memory = lenient.engine.guard.unbooked
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with memory._mutex:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if memory.hold("in the child", bounds(), 1, 1, 0) == 1 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    done.set()
    thread.join()
