"""Calls that wait for money which running calls hold."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from farthing import Budget, FarthingError, Hold, InsufficientCredits, LedgerError, Meter
from farthing.guard import Line, Place
from farthing.testing import FakeClock, FakeProvider
from guard.making import CALL, COST, PATIENCE, Burst, ask, held_and_spent, limit_for, metered, openai, upper
from ledger.making import python

ASKED = {"model": "gpt-4o", "input_tokens": 5, "max_output_tokens": 300}

HOLDS = """
import sys
from guard.making import metered
with metered(sys.argv[1]) as meter:
    hold = meter.reserve(model="gpt-4o", input_tokens=5, max_output_tokens=300)
    print("held", flush=True)
    sys.stdin.readline()
    hold.void()
    print("void", flush=True)
    sys.stdin.readline()
"""


class Joined:
    """Knows when calls have joined a line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._joined = threading.Semaphore(0)
        join = Line.join

        def told(line: Line, place: Place) -> None:
            join(line, place)
            self._joined.release()

        monkeypatch.setattr(Line, "join", told)

    def wait_for(self, count: int = 1) -> None:
        for _ in range(count):
            assert self._joined.acquire(timeout=PATIENCE)

    @property
    def nobody(self) -> bool:
        return not self._joined.acquire(blocking=False)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> Joined:
    return Joined(monkeypatch)


@pytest.fixture
def patient(ledger_path: Path, clock: FakeClock) -> Iterator[Meter]:
    """A meter whose calls wait for a minute of a clock that stands still."""
    with metered(ledger_path, clock=clock, wait=PATIENCE) as made:
        yield made
        assert made.engine.ledger.check() == []
        assert not made.engine.guard.line.busy


def named(client: Any, name: str) -> Any:
    return lambda: ask(client, user=name)


def refused(answer: Any) -> InsufficientCredits:
    assert isinstance(answer, InsufficientCredits)
    return answer


def test_the_money_that_a_call_did_not_use_is_for_whoever_waits(
    patient: Meter, provider: FakeProvider, joined: Joined
) -> None:
    provider.usage = {"input_tokens": 5, "output_tokens": 3}
    client = patient.wrap(openai(provider), budget=f"${limit_for(patient, 1)}/day")
    provider.hold()
    first = Burst([lambda: ask(client)])
    provider.wait_for(1)
    second = Burst([lambda: ask(client)])
    joined.wait_for()
    provider.release()
    [one], [two] = first.join(), second.join()
    assert patient.receipt(one).cost == patient.receipt(two).cost
    assert patient.engine.ledger.refusals() == []
    assert patient.receipt(two).id > patient.receipt(one).id


def test_a_call_whose_time_is_up_is_refused_with_what_holds_now(
    patient: Meter, provider: FakeProvider, joined: Joined, clock: FakeClock
) -> None:
    client = patient.wrap(openai(provider), budget=f"${limit_for(patient, 1)}/day")
    provider.hold()
    first = Burst([lambda: ask(client)])
    provider.wait_for(1)
    second = Burst([lambda: ask(client)])
    joined.wait_for()
    clock.advance(PATIENCE)
    [answer] = second.join()
    refusal = refused(answer)
    assert refusal.transient
    assert (refusal.spent, refusal.held) == (0, upper(patient))
    provider.release()
    first.join()
    [row] = patient.engine.ledger.refusals()
    assert row["calls"] == 1


def test_the_median_of_the_latest_calls_is_when_to_try_again(
    still: Meter, provider: FakeProvider, clock: FakeClock
) -> None:
    for seconds in (1, 9, 2):
        hold = still.reserve(**ASKED)
        clock.advance(seconds)
        hold.settle({"input_tokens": 5, "output_tokens": 1})
    client = still.wrap(openai(provider), budget=f"${limit_for(still, 1)}/day")
    provider.hold()
    burst = Burst([lambda: ask(client)])
    provider.wait_for(1)
    assert refused(ask(client)).retry_after == 2
    provider.release()
    burst.join()


def test_without_a_call_that_has_ended_it_is_a_second_and_never_past_the_end_of_the_window(
    still: Meter, clock: FakeClock
) -> None:
    still.set_budget(Budget("all", limit_for(still, 1), "day"))
    hold = still.reserve(**ASKED)
    with pytest.raises(InsufficientCredits) as caught:
        still.reserve(**ASKED)
    assert caught.value.retry_after == 1
    clock.advance(24 * 3600 - 0.25)
    with pytest.raises(InsufficientCredits) as caught:
        still.reserve(**ASKED)
    assert caught.value.retry_after == 0.25
    hold.void()


def test_those_who_wait_are_served_in_the_order_in_which_they_came(
    patient: Meter, provider: FakeProvider, joined: Joined
) -> None:
    provider.usage = {"input_tokens": 5, "output_tokens": 3}
    client = patient.wrap(openai(provider), budget=f"${limit_for(patient, 1)}/day")
    provider.hold()
    bursts = [Burst([named(client, "a")])]
    provider.wait_for(1)
    for name in "bcd":
        bursts.append(Burst([named(client, name)]))
        joined.wait_for()
    for count in range(1, 5):
        provider.wait_for(count)
        provider.release(1)
    for burst in bursts:
        burst.join()
    assert [request.body["user"] for request in provider.requests] == list("abcd")


class _Stood(Place):
    def __init__(self, keys: set[str], short: str, clock: FakeClock) -> None:
        super().__init__([(key, False, "") for key in keys], (short, False, ""), 5, clock, 0, 0)
        self.rung = 0
        self.wake = self._ring

    def _ring(self) -> None:
        self.rung += 1


def test_only_those_are_woken_before_whom_nobody_waits_for_the_same_money(clock: FakeClock) -> None:
    line = Line()
    big = _Stood({"house", "team"}, "team", clock)
    small = _Stood({"team"}, "team", clock)
    other = _Stood({"house"}, "house", clock)
    for place in (big, small, other):
        line.join(place)
    line.freed()
    assert (big.rung, small.rung, other.rung) == (1, 0, 1)
    assert line.may_try(big)
    assert not line.may_try(small)
    line.leave(big)
    assert small.rung == 1
    assert line.may_try(small)
    assert line.ahead_of([("team", False, "")]) == ("team", False, "")
    assert line.ahead_of([("nothing", False, "")]) is None


def test_a_newcomer_does_not_take_what_somebody_waits_for(patient: Meter, joined: Joined) -> None:
    """A small call would fit, and a large one has been waiting for that money."""
    with newcomer(patient, joined) as small:
        joined.wait_for()
        assert small.answers.empty()


def test_without_a_line_it_does(patient: Meter, joined: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Line, "ahead_of", lambda *_: None)
    with newcomer(patient, joined) as small:
        [hold] = small.next(1)
        hold.void()
    assert joined.nobody


@contextlib.contextmanager
def newcomer(meter: Meter, joined: Joined) -> Iterator[Burst]:
    meter.set_budget(Budget("all", limit_for(meter, 2), "day"))
    running = [meter.reserve(**ASKED), meter.reserve(**ASKED)]
    large = Burst([lambda: meter.reserve(**{**ASKED, "max_output_tokens": 500})])
    joined.wait_for()
    running[0].void()  # not enough for the large one, enough for a small one
    small = Burst([lambda: meter.reserve(**{**ASKED, "max_output_tokens": 10})])
    yield small
    running[1].void()
    for hold in (*large.join(), *small.join()):
        assert isinstance(hold, Hold)
        hold.void()


def test_who_waits_for_one_budget_does_not_hold_up_the_calls_of_another(
    patient: Meter, provider: FakeProvider, joined: Joined
) -> None:
    tight = patient.wrap(openai(provider), name="tight", budget=f"${limit_for(patient, 1)}/day")
    wide = patient.wrap(openai(provider), name="wide", budget="$5/day")
    provider.hold()
    first = Burst([lambda: ask(tight)])
    provider.wait_for(1)
    second = Burst([lambda: ask(tight)])
    joined.wait_for()
    third = Burst([lambda: ask(wide)])
    provider.wait_for(2)
    provider.release()
    for burst in (first, second, third):
        burst.join()


def test_a_call_does_not_wait_for_money_that_is_spent(
    patient: Meter, provider: FakeProvider, joined: Joined
) -> None:
    client = patient.wrap(openai(provider), budget=f"${limit_for(patient, 1)}/day")
    ask(client)
    assert not refused(ask(client)).transient
    assert joined.nobody


def test_who_waits_for_money_that_is_then_spent_is_refused_at_once(
    patient: Meter, provider: FakeProvider, joined: Joined
) -> None:
    client = patient.wrap(openai(provider), budget=f"${limit_for(patient, 1)}/day")
    provider.hold()
    first = Burst([lambda: ask(client)])
    provider.wait_for(1)
    second = Burst([lambda: ask(client)])
    joined.wait_for()
    provider.release()
    first.join()
    [answer] = second.join()
    refusal = refused(answer)
    assert not refusal.transient
    assert refusal.spent * 10**9 == COST


def test_a_budget_says_for_itself_how_long_to_wait(
    patient: Meter, still: Meter, provider: FakeProvider, joined: Joined
) -> None:
    patient.set_budget(Budget("never", limit_for(patient, 1), "day", wait=0))
    running = patient.reserve(**ASKED)
    with pytest.raises(InsufficientCredits):
        patient.reserve(**ASKED)
    assert joined.nobody
    patient.set_budget(Budget("never", limit_for(patient, 1), "day", wait=PATIENCE))
    waiting = Burst([lambda: still.reserve(**ASKED)])  # of a meter that does not wait by itself
    joined.wait_for()
    running.void()
    [hold] = waiting.join()
    hold.void()


def test_a_limit_that_is_raised_lets_in_who_waits_for_it(patient: Meter, joined: Joined) -> None:
    patient.set_budget(Budget("all", limit_for(patient, 1), "day"))
    running = patient.reserve(**ASKED)
    waiting = Burst([lambda: patient.reserve(**ASKED)])
    joined.wait_for()
    patient.set_budget(Budget("all", limit_for(patient, 2), "day"))
    [hold] = waiting.join()
    assert isinstance(hold, Hold)
    hold.void()
    running.void()


def test_what_another_process_gives_back_is_found(ledger_path: Path, joined: Joined) -> None:
    with metered(ledger_path, wait=PATIENCE) as meter:
        meter.set_budget(Budget("all", limit_for(meter, 1), "total"))
        process = python(HOLDS, ledger_path)
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "held\n"
        waiting = Burst([lambda: meter.reserve(**ASKED)])
        joined.wait_for()
        process.stdin.write("\n")
        process.stdin.flush()
        [hold] = waiting.join()
        assert isinstance(hold, Hold)
        hold.void()
        process.communicate("\n", timeout=PATIENCE)


def test_an_interrupt_while_it_waits_leaves_nothing_behind(
    patient: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.set_budget(Budget("all", limit_for(patient, 1), "day"))
    running = patient.reserve(**ASKED)

    def interrupted(_: Place) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(Place, "nap", interrupted)
    with pytest.raises(KeyboardInterrupt):
        patient.reserve(**ASKED)
    assert not patient.engine.guard.line.busy
    assert len(held_and_spent(patient)) == 1
    running.void()
    assert held_and_spent(patient) == [(0, 0)]
    assert len(patient.engine.ledger.calls()) == 1


def test_a_ledger_that_fails_while_it_waits_is_told(
    patient: Meter, joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.set_budget(Budget("all", limit_for(patient, 1), "day"))
    running = patient.reserve(**ASKED)
    waiting = Burst([lambda: patient.reserve(**ASKED)])
    joined.wait_for()

    def gone(_: object) -> None:
        raise LedgerError("gone")

    monkeypatch.setattr(patient.engine.ledger, "reserve", gone)
    patient.engine.guard.line.freed()
    [answer] = waiting.join()
    assert isinstance(answer, LedgerError)
    monkeypatch.undo()
    running.void()


def test_a_blocking_call_in_an_event_loop_does_not_hold_that_up(
    patient: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.set_budget(Budget("all", limit_for(patient, 1), "day"))
    monkeypatch.setattr(Place, "nap", lambda _: pytest.fail("it blocks the loop"))

    async def main() -> None:
        hold = await patient.areserve(**ASKED)
        with pytest.raises(InsufficientCredits) as caught:
            patient.reserve(**ASKED)
        assert caught.value.transient
        await hold.avoid()

    asyncio.run(main())


# Tasks


@pytest.fixture
def steps(patient: Meter, monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[None]:
    """Gets an item whenever a task has joined the line. The loop that waits for it must go on."""
    queue: asyncio.Queue[None] = asyncio.Queue()
    join = Line.join

    def told(line: Line, place: Place) -> None:
        join(line, place)
        queue.put_nowait(None)

    monkeypatch.setattr(Line, "join", told)
    return queue


async def joins(steps: asyncio.Queue[None]) -> None:
    async with asyncio.timeout(PATIENCE):
        await steps.get()


def tasks_client(meter: Meter, provider: FakeProvider) -> AsyncOpenAI:
    client = AsyncOpenAI(base_url=provider.base_url, api_key="test", max_retries=0)
    return meter.wrap(client, budget=f"${limit_for(meter, 1)}/day")


def test_tasks_wait_in_order_and_the_loop_goes_on(
    patient: Meter, provider: FakeProvider, steps: asyncio.Queue[None]
) -> None:
    provider.usage = {"input_tokens": 5, "output_tokens": 3}
    provider.hold()

    async def main() -> None:
        async with tasks_client(patient, provider) as client:
            tasks = [asyncio.create_task(client.chat.completions.create(**CALL, user="a"))]
            await asyncio.to_thread(provider.wait_for, 1)
            for name in "bcd":
                tasks.append(asyncio.create_task(client.chat.completions.create(**CALL, user=name)))
                await joins(steps)
            for count in range(1, 5):
                await asyncio.to_thread(provider.wait_for, count)
                provider.release(1)
            await asyncio.gather(*tasks)

    asyncio.run(main())
    assert [request.body["user"] for request in provider.requests] == list("abcd")
    assert patient.engine.ledger.refusals() == []


def test_a_task_whose_time_is_up_is_refused(
    patient: Meter, provider: FakeProvider, steps: asyncio.Queue[None], clock: FakeClock
) -> None:
    provider.hold()

    async def main() -> None:
        async with tasks_client(patient, provider) as client:
            running = asyncio.create_task(client.chat.completions.create(**CALL))
            await asyncio.to_thread(provider.wait_for, 1)
            waiting = asyncio.create_task(client.chat.completions.create(**CALL))
            await joins(steps)
            clock.advance(PATIENCE)
            with pytest.raises(InsufficientCredits) as caught:
                await waiting
            assert caught.value.transient
            provider.release()
            await running

    asyncio.run(main())


def test_a_task_that_is_cancelled_while_it_waits_leaves_nothing_behind(
    patient: Meter, provider: FakeProvider, steps: asyncio.Queue[None]
) -> None:
    provider.usage = {"input_tokens": 5, "output_tokens": 3}
    provider.hold()

    async def main() -> None:
        async with tasks_client(patient, provider) as client:
            running = asyncio.create_task(client.chat.completions.create(**CALL))
            await asyncio.to_thread(provider.wait_for, 1)
            waiting = [asyncio.create_task(client.chat.completions.create(**CALL)) for _ in range(2)]
            await joins(steps)
            await joins(steps)
            waiting[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting[0]
            provider.release()
            await asyncio.gather(running, waiting[1])

    asyncio.run(main())
    patient.close()
    assert len(provider.requests) == 2
    assert [row["outcome"] for row in patient.engine.ledger.calls()] == ["complete"] * 2
    assert held_and_spent(patient)[0][0] == 0


def test_a_loop_that_is_closed_while_its_task_waits_leaves_nothing_behind(
    patient: Meter, provider: FakeProvider, steps: asyncio.Queue[None]
) -> None:
    patient.set_budget(Budget("all", limit_for(patient, 1), "day"))
    running = patient.reserve(**ASKED)
    gc.freeze()  # what other tests have left is not collected here
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    task = loop.create_task(patient.areserve(**ASKED))
    loop.run_until_complete(joins(steps))
    loop.close()
    del task
    gc.collect()
    gc.unfreeze()
    patient.engine.guard.line.freed()
    assert not patient.engine.guard.line.busy
    running.void()
    assert held_and_spent(patient) == [(0, 0)]


def test_a_check_of_a_function_waits_too(patient: Meter, joined: Joined) -> None:
    budget = Budget("fn", limit_for(patient, 1), "day")
    patient.set_budget(budget)
    running = patient.reserve(model="gpt-4o", amount=budget.limit)

    @patient.track_usage(budget=Budget("own", 1, "day"), model="gpt-4o")
    def work() -> dict[str, Any]:
        return {"model": "gpt-4o", "input_tokens": 1, "output_tokens": 1}

    waiting = Burst([work])
    joined.wait_for()
    running.void()
    [answer] = waiting.join()
    assert answer["model"] == "gpt-4o"


def test_seconds_that_make_no_sense_are_refused(ledger_path: Path) -> None:
    with pytest.raises(FarthingError, match="wait must be"):
        Meter(ledger_path, wait=-1)


def test_a_coroutine_that_somebody_drives_by_hand_waits_as_well(ledger_path: Path) -> None:
    with metered(ledger_path, wait=0.02) as meter:
        meter.set_budget(Budget("all", limit_for(meter, 1), "day"))
        running = meter.reserve(**ASKED)
        with pytest.raises(InsufficientCredits) as caught:
            meter.areserve(**ASKED).send(None)
        assert caught.value.transient
        running.void()
        with pytest.raises(StopIteration) as ended:
            meter.areserve(**ASKED).send(None)
        ended.value.value.void()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_does_not_stand_behind_who_waits_in_its_parent(patient: Meter, joined: Joined) -> None:
    patient.set_budget(Budget("all", limit_for(patient, 1), "day"))
    running = patient.reserve(**ASKED)
    waiting = Burst([lambda: patient.reserve(**ASKED)])
    joined.wait_for()
    assert patient.engine.guard.line.busy
    child = os.fork()
    if child == 0:
        os._exit(int(patient.engine.guard.line.busy))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    running.void()
    [hold] = waiting.join()
    hold.void()


def test_a_task_of_another_loop_waits_without_holding_that_up(
    patient: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    trio = pytest.importorskip("trio")
    patient.set_budget(Budget("all", limit_for(patient, 1), "day"))
    running = patient.reserve(**ASKED)
    served = []

    async def waits() -> None:
        served.append(await patient.areserve(**ASKED))

    async def main() -> None:
        stands = trio.Event()
        join = Line.join

        def told(line: Line, place: Place) -> None:
            join(line, place)
            stands.set()

        monkeypatch.setattr(Line, "join", told)
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits)
                await stands.wait()
                await running.avoid()

    trio.run(main)
    served[0].void()
