"""Tasks that are cancelled, and loops that are closed, while their money is held."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from farthing import Meter
from farthing.engine.courier import Courier
from farthing.testing import FakeProvider
from guard.making import CALL, PATIENCE, held_and_spent, upper


def rows(meter: Meter) -> list[tuple[str, int]]:
    return [(row["outcome"], row["counted_nano"]) for row in meter.engine.ledger.calls()]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program writes to the ledger."""
    with Path(f"{path}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def stepped() -> None:
    """Let every task go as far as it can without an answer."""
    for _ in range(20):
        await asyncio.sleep(0)


class Gate:
    """Stops the next reserve on its way into the ledger, on whichever thread that does it."""

    def __init__(self, meter: Meter) -> None:
        self.store: Any = meter.engine.ledger
        self.reached = threading.Event()
        self.open = threading.Event()
        self._write = self.store._write
        self.store._write = self._stopped

    def _stopped(self, operation: Any, argument: Any, *, full: bool) -> Any:
        if operation.__name__ == "_reserve":
            del self.store._write
            self.reached.set()
            assert self.open.wait(PATIENCE)
        return self._write(operation, argument, full=full)

    async def until_reached(self) -> None:
        while not self.reached.is_set():  # noqa: ASYNC110  set by a thread, for a loop that may be closed
            await asyncio.sleep(0)


@pytest.fixture
def client(still: Meter, provider: FakeProvider) -> AsyncOpenAI:
    still.warm()
    made = AsyncOpenAI(base_url=provider.base_url, api_key="test", max_retries=0)
    return still.wrap(made, budget="$5/day")


def test_a_task_cancelled_while_it_waits_for_the_ledger_leaves_no_hold(
    still: Meter, client: AsyncOpenAI, provider: FakeProvider, ledger_path: Path
) -> None:
    async def main() -> None:
        async with client:
            with locked(ledger_path):
                tasks = [asyncio.create_task(client.chat.completions.create(**CALL)) for _ in range(10)]
                await stepped()
                for task in tasks:
                    task.cancel()
                answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(answer) for answer in answers} == {asyncio.CancelledError}

    asyncio.run(main())
    still.close()
    assert provider.requests == []
    assert held_and_spent(still) == [(0, 0)]
    assert rows(still) == [("error", 0)] * 10


def test_a_task_cancelled_when_its_answer_is_there_leaves_no_hold(
    still: Meter, client: AsyncOpenAI, provider: FakeProvider
) -> None:
    async def main() -> None:
        async with client:
            gate = Gate(still)
            task = asyncio.create_task(client.chat.completions.create(**CALL))
            await gate.until_reached()
            answered = threading.Event()
            still.engine.courier.post(answered.set)  # behind the reserve
            gate.open.set()
            assert answered.wait(PATIENCE)  # and the loop, which this holds up, has not told its task
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    still.close()
    assert provider.requests == []
    assert held_and_spent(still) == [(0, 0)]
    assert rows(still) == [("error", 0)]


def test_a_loop_closed_while_its_task_waits_for_the_ledger_leaves_no_hold(
    still: Meter, client: AsyncOpenAI, provider: FakeProvider, ledger_path: Path
) -> None:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # it would tell that its task was dropped
    with locked(ledger_path):
        task = loop.create_task(client.chat.completions.create(**CALL))
        loop.run_until_complete(stepped())
        loop.close()
        del task
        gc.collect()
    still.close()
    assert provider.requests == []
    assert held_and_spent(still) == [(0, 0)]
    assert rows(still) == [("error", 0)]


def test_a_loop_closed_before_it_could_tell_of_the_answer_leaves_no_hold(
    still: Meter, client: AsyncOpenAI, provider: FakeProvider
) -> None:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    gate = Gate(still)
    task = loop.create_task(client.chat.completions.create(**CALL))
    loop.run_until_complete(gate.until_reached())
    answered = threading.Event()
    still.engine.courier.post(answered.set)  # behind the reserve
    gate.open.set()
    assert answered.wait(PATIENCE)
    loop.close()
    del task
    gc.collect()
    still.close()
    assert provider.requests == []
    assert held_and_spent(still) == [(0, 0)]


def test_a_task_cancelled_while_its_request_is_in_flight_is_booked_as_unknown(
    still: Meter, client: AsyncOpenAI, provider: FakeProvider
) -> None:
    async def main() -> None:
        async with client:
            tasks = [asyncio.create_task(client.chat.completions.create(**CALL)) for _ in range(10)]
            await asyncio.to_thread(provider.wait_for, 10)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    provider.hold()
    asyncio.run(main())
    provider.release()
    still.close()
    hold = int(upper(still) * 10**9)
    assert rows(still) == [("unknown", hold)] * 10
    assert held_and_spent(still) == [(0, 10 * hold)]


def test_a_timeout_around_a_call_is_booked_as_unknown(
    still: Meter, client: AsyncOpenAI, provider: FakeProvider
) -> None:
    async def main() -> None:
        async with client:
            async with asyncio.timeout(None) as timeout:
                task = asyncio.create_task(asyncio.to_thread(provider.wait_for, 1))
                task.add_done_callback(lambda _: timeout.reschedule(0))
                await client.chat.completions.create(**CALL)

    provider.hold()
    with pytest.raises(TimeoutError):
        asyncio.run(main())
    provider.release()
    still.close()
    assert [outcome for outcome, _ in rows(still)] == ["unknown"]
    assert held_and_spent(still)[0][0] == 0


def test_a_loop_closed_while_a_request_is_in_flight_leaves_no_hold(
    still: Meter, client: AsyncOpenAI, provider: FakeProvider
) -> None:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    provider.hold()
    task = loop.create_task(client.chat.completions.create(**CALL))
    loop.run_until_complete(loop.run_in_executor(None, provider.wait_for, 1))
    loop.run_until_complete(loop.shutdown_default_executor())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    provider.release()
    still.close()
    assert [outcome for outcome, _ in rows(still)] == ["unknown"]
    assert held_and_spent(still)[0][0] == 0


def test_what_nobody_waits_for_is_handed_over_exactly_once() -> None:
    """Whether the job ends before, while or after its task gives up."""
    for steps in range(300):
        courier = Courier()
        handed_over: list[Any] = []
        asyncio.run(given_up_after(courier, handed_over, steps % 7))
        courier.stop()
        assert len(handed_over) == 1


async def given_up_after(courier: Courier, handed_over: list[Any], steps: int) -> None:
    go = threading.Event()
    task = asyncio.create_task(courier.bring(lambda: go.wait(PATIENCE), handed_over.append))
    await asyncio.sleep(0)
    go.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        handed_over.append(await task)


def test_a_meter_that_is_closed_and_used_again_leaves_no_thread_behind(still: Meter) -> None:
    before = set(threading.enumerate())
    for _ in range(20):
        still.reserve(model="gpt-4o", amount=1).void()
        still.close()
    for thread in set(threading.enumerate()) - before:
        if thread.name == "farthing-lease":
            thread.join(PATIENCE)  # `close` does not wait for one that is slow
            assert not thread.is_alive()
