"""Tasks whose wishes of the ledger are done together."""

from __future__ import annotations

import asyncio
import fcntl
import threading
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from farthing import Meter
from farthing.engine.courier import Courier, Together
from farthing.errors import LedgerLocked
from farthing.testing import FakeProvider
from guard.making import CALL, PATIENCE, held_and_spent, metered


def asynchronous(meter: Meter, provider: FakeProvider) -> AsyncOpenAI:
    made = AsyncOpenAI(base_url=provider.base_url, api_key="test", max_retries=0)
    return meter.wrap(made, budget="$5/day")


def test_what_queues_up_while_the_thread_is_busy_is_done_in_one_go_and_in_order() -> None:
    courier, busy = Courier(), threading.Event()
    seen: list[Any] = []

    def of_all(wants: list[int]) -> list[Any]:
        seen.append(wants)
        return [ValueError(str(want)) if want == 2 else want * 10 for want in wants]

    async def main() -> list[Any]:
        courier.post(lambda: busy.wait(PATIENCE))
        tasks = [asyncio.create_task(courier.bring(Together(of_all, n), seen.append)) for n in range(4)]
        tasks.append(asyncio.create_task(courier.bring(lambda: seen.append("alone"), seen.append)))
        tasks.append(asyncio.create_task(courier.bring(Together(of_all, 4), seen.append)))
        await asyncio.sleep(0)
        busy.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(main())
    courier.stop()
    assert seen == [[0, 1, 2, 3], "alone", [4]]
    assert [str(answer) for answer in answers] == ["0", "10", "2", "30", "None", "40"]


def test_an_error_of_all_is_the_answer_of_each() -> None:
    courier = Courier()

    def broken(_: list[int]) -> list[Any]:
        raise RuntimeError("nothing works")

    async def main() -> list[Any]:
        jobs = [courier.bring(Together(broken, n), print) for n in range(3)]
        return await asyncio.gather(*jobs, return_exceptions=True)

    assert [type(answer) for answer in asyncio.run(main())] == [RuntimeError] * 3
    courier.stop()


def test_tasks_of_a_ledger_that_stays_locked_each_have_an_error_of_their_own(
    provider: FakeProvider, ledger_path: Path
) -> None:
    with metered(ledger_path, ledger_timeout=0.05) as meter:
        meter.warm()
        client = asynchronous(meter, provider)

        async def main() -> list[Any]:
            async with client:
                calls = [client.chat.completions.create(**CALL) for _ in range(12)]
                return await asyncio.gather(*calls, return_exceptions=True)

        with Path(f"{ledger_path}.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            answers = asyncio.run(main())
        meter.engine.ledger.wait_longer(30)
        assert {type(answer) for answer in answers} == {LedgerLocked}
        assert len({id(answer) for answer in answers}) == 12
        assert provider.requests == []
        assert held_and_spent(meter) in ([], [(0, 0)])


def test_settles_that_failed_together_are_booked_later(still: Meter, provider: FakeProvider) -> None:
    still.warm()
    client, store = asynchronous(still, provider), still.engine.ledger
    together, settle = store.together, store.settle

    def locked(writes: Any) -> Any:
        if any(isinstance(write, tuple) for write in writes):
            return [LedgerLocked("somebody holds it")] * len(writes)
        return together(writes)

    def alone(*_: Any, **__: Any) -> bool:
        raise LedgerLocked("somebody holds it")

    async def main() -> None:
        async with client:
            calls = [client.chat.completions.create(**CALL) for _ in range(12)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert all(getattr(a, "choices", None) or isinstance(a, LedgerLocked) for a in answers)

    store.together, store.settle = locked, alone
    try:
        asyncio.run(main())
    finally:
        del store.together, store.settle
    assert store.settle == settle
    still.close()
    assert [held for held, _ in held_and_spent(still)] == [0]
    assert {row["outcome"] for row in still.engine.ledger.calls()} == {"complete"}
