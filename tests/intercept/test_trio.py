"""Clients of coroutines under trio: held, booked and refused as under asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import threading
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from openai import AsyncOpenAI

from farthing import InsufficientCredits, Unmeterable, loops
from farthing.engine import courier
from farthing.testing import Reply
from intercept.kit import ASK, USUAL, rows_of

ONLY = pytest.mark.one_colour("trio runs coroutines only")
pytestmark = [
    ONLY,
    # The SDK leaves its own generators to the collector, which trio tells of.
    pytest.mark.filterwarnings("ignore:Async generator 'openai:ResourceWarning"),
]

PATIENCE = 30


@pytest.fixture
def under_trio(provider, meter):
    """Run a coroutine function under trio with a wrapped client."""

    async def main(scenario, settings):
        async with AsyncOpenAI(base_url=provider.base_url, api_key="sk-test", max_retries=0) as client:
            return await scenario(meter.wrap(client, **settings))

    def run(scenario, **settings):
        return trio.run(main, scenario, settings)

    return run


def test_a_call_is_held_and_booked(under_trio, meter):
    async def scenario(client):
        answer = await client.chat.completions.create(**ASK)
        return meter.receipt(answer)

    receipt = under_trio(scenario, budget="$5/day")
    (row,) = rows_of(meter)
    assert (row.cost_nano, row.outcome, row.held_nano > USUAL) == (USUAL, "complete", True)
    assert receipt.id == row.id


@pytest.mark.parametrize("known", [True, False])
def test_without_its_loop_nothing_would_be_held_or_booked(under_trio, meter, monkeypatch, known):
    if not known:
        monkeypatch.setattr(courier, "running", asyncio.get_running_loop)

    async def scenario(client):
        with contextlib.suppress(Unmeterable, RuntimeError):
            await client.chat.completions.create(**ASK)

    under_trio(scenario, budget="$5/day")
    assert len(rows_of(meter)) == known


def test_a_call_that_does_not_fit_is_refused_and_not_sent(under_trio, meter, provider):
    async def scenario(client):
        with pytest.raises(InsufficientCredits):
            await client.chat.completions.create(**ASK)

    under_trio(scenario, budget="$0.001/day")
    assert provider.requests == []
    assert rows_of(meter) == []


def test_a_stream_is_booked_when_it_has_been_read(under_trio, meter):
    async def scenario(client):
        stream = await client.chat.completions.create(**ASK, stream=True)
        async for _ in stream:
            pass
        return rows_of(meter)

    ((row),) = under_trio(scenario, budget="$5/day")
    assert (row.cost_nano, row.outcome) == (USUAL, "complete")


def test_a_stream_that_is_left_is_booked(under_trio, meter, provider):
    provider.script(Reply(text="one two three four five six", pause_after=2))

    async def scenario(client):
        stream = await client.chat.completions.create(**ASK, stream=True)
        async with stream:
            async for _ in stream:
                break

    under_trio(scenario, budget="$5/day")
    (row,) = rows_of(meter)
    assert row.outcome == "aborted"


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_cancelled_while_its_provider_thinks_is_booked_as_unknown(under_trio, meter, provider, stream):
    provider.hold()

    async def scenario(client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.chat.completions.create, **ASK, stream=stream))
            await trio.to_thread.run_sync(provider.wait_for, 1)
            nursery.cancel_scope.cancel()

    under_trio(scenario, budget="$5/day")
    meter.close()
    (row,) = rows_of(meter)
    assert (row.outcome, row.counted_nano) == ("unknown", row.held_nano)


def test_a_stream_cancelled_while_it_is_read_is_booked(under_trio, meter, provider):
    provider.script(Reply(text="one two three four five six", pause_after=2))

    async def scenario(client):
        stream = await client.chat.completions.create(**ASK, stream=True)
        with trio.CancelScope() as scope:
            async for _ in stream:
                scope.cancel()
        assert scope.cancelled_caught
        await stream.close()

    under_trio(scenario, budget="$5/day")
    meter.close()
    (row,) = rows_of(meter)
    assert row.outcome in {"aborted", "unknown"}
    assert row.counted_nano > 0


@contextlib.contextmanager
def locked(path):
    """Another program writes to the ledger."""
    with Path(f"{path}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_calls_cancelled_while_they_wait_for_the_ledger_leave_no_hold(
    under_trio, meter, provider, ledger_path
):
    meter.warm()

    async def scenario(client):
        with locked(ledger_path):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(partial(client.chat.completions.create, **ASK))
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

    under_trio(scenario, budget="$5/day")
    meter.close()
    assert provider.requests == []
    assert [(row.outcome, row.counted_nano) for row in rows_of(meter)] == [("error", 0)] * 10


def test_the_loop_goes_on_while_the_ledger_cannot_be_written(under_trio, meter, ledger_path):
    meter.warm()

    async def scenario(client):
        async with trio.open_nursery() as nursery:
            with locked(ledger_path):
                nursery.start_soon(partial(client.chat.completions.create, **ASK))
                await trio.testing.wait_all_tasks_blocked()  # it blocks, and this task goes on
        return len(rows_of(meter))

    assert under_trio(scenario, budget="$5/day") == 1


def test_many_tasks_share_a_budget_that_affords_some_of_them(under_trio, meter, provider):
    served, refused = [], []

    async def scenario(client):
        async def call():
            try:
                served.append(await client.chat.completions.create(**ASK))
            except InsufficientCredits as error:
                refused.append(error)

        provider.hold()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(call)
            await trio.to_thread.run_sync(provider.wait_for, 4)
            await trio.testing.wait_all_tasks_blocked()
            provider.release()

    under_trio(scenario, budget="$0.085/day")
    assert len(served) + len(refused) == 20
    assert len(served) >= 4
    assert sum(row.counted_nano for row in rows_of(meter)) == len(served) * USUAL <= 85_000_000


def test_by_hand_too(under_trio, meter):
    async def scenario(_):
        receipt = await meter.arecord(model="gpt-4o", usage={"input_tokens": 1000, "output_tokens": 100})
        hold = await meter.areserve(model="gpt-4o", input_tokens=1000, max_output_tokens=100)
        async with hold:
            hold.sent()
            settled = await hold.asettle({"input_tokens": 1000, "output_tokens": 100})
        return receipt.cost, settled.cost

    recorded, settled = under_trio(scenario)
    assert recorded == settled
    assert len(rows_of(meter)) == 2


def test_tasks_of_asyncio_and_trio_share_a_meter(under_trio, meter, provider):
    async def of_asyncio():
        async with AsyncOpenAI(base_url=provider.base_url, api_key="sk-test", max_retries=0) as client:
            await meter.wrap(client).chat.completions.create(**ASK)

    thread = threading.Thread(target=asyncio.run, args=(of_asyncio(),))

    async def scenario(client):
        thread.start()
        await client.chat.completions.create(**ASK)

    under_trio(scenario)
    thread.join(PATIENCE)
    assert len(rows_of(meter)) == 2


def test_in_the_guest_mode_of_trio_each_task_waits_in_its_own_loop():
    kinds = []

    async def guest():
        kinds.append(type(loops.running()).__name__)

    async def host():
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        trio.lowlevel.start_guest_run(
            guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=lambda _: done.set()
        )
        assert loops.running() is loop
        await done.wait()
        assert loops.running() is loop

    asyncio.run(host())
    assert kinds == ["_Trio"]


def test_whether_a_task_runs_here_is_known():
    async def here():
        return loops.is_running()

    assert trio.run(here)
    assert asyncio.run(here())
    assert not loops.is_running()


def test_a_coroutine_that_somebody_drives_by_hand_waits_where_it_is(meter):
    coroutine = meter.arecord(model="gpt-4o", usage={"input_tokens": 1000, "output_tokens": 100})
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value.cost is not None
    assert len(rows_of(meter)) == 1


def test_a_run_that_has_ended_before_its_answer_came_leaves_no_hold(meter, ledger_path):
    meter.warm()

    async def scenario():
        async with trio.open_nursery() as nursery:
            reserve = partial(meter.areserve, model="gpt-4o", input_tokens=1000, max_output_tokens=100)
            nursery.start_soon(reserve)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    with locked(ledger_path):
        trio.run(scenario)
    meter.close()
    assert [(row.outcome, row.counted_nano) for row in rows_of(meter)] == [("error", 0)]


@pytest.mark.parametrize("run", [trio.run, lambda work: asyncio.run(work())], ids=["trio", "asyncio"])
def test_a_thread_is_waited_for_and_its_error_raised(run):
    done = []

    async def well():
        await loops.aside(lambda: done.append(threading.current_thread()))

    async def badly():
        await loops.aside(lambda: 1 // 0)

    run(well)
    assert done != [threading.current_thread()]
    with pytest.raises(ZeroDivisionError):
        run(badly)
