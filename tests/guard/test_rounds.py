"""A loop hands over what its tasks wish once in each round, and nothing of it is lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from queue import SimpleQueue
from typing import Any

from farthing.engine.courier import Courier, Together
from guard.making import PATIENCE

TASKS = 50


class Jobs:
    """What a courier was given in one go each time."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def all_of(self, wants: list[int]) -> list[int]:
        self.seen.append(wants)
        return wants

    def job(self, number: int) -> Together:
        return Together(self.all_of, number)


def served(courier: Courier, jobs: Jobs, tasks: int = TASKS) -> list[Any]:
    async def main() -> list[Any]:
        return await asyncio.gather(*[courier.bring(jobs.job(n), print) for n in range(tasks)])

    return asyncio.run(main())


def test_what_the_tasks_of_one_round_wish_is_done_in_one_go() -> None:
    courier, jobs = Courier(), Jobs()
    assert served(courier, jobs) == list(range(TASKS))
    courier.stop()
    assert jobs.seen == [list(range(TASKS))]


def test_more_than_are_taken_at_once_are_all_answered() -> None:
    courier, jobs = Courier(), Jobs()
    assert served(courier, jobs, 1200) == list(range(1200))
    courier.stop()
    assert [len(some) for some in jobs.seen] == [512, 512, 176]


class Hasty(Courier):
    """Hands over each job as it is asked for, and waits until the first has been taken."""

    def __init__(self, taken: threading.Event) -> None:
        super().__init__()
        courier = self

        class Asked(SimpleQueue[Any]):
            def put(self, job: Any, *_: Any) -> None:
                courier._hand_over([job])
                assert taken.wait(PATIENCE)

        asked = Asked()
        self._asked_in = lambda _: asked  # type: ignore[method-assign]


def test_handed_over_by_each_task_it_takes_what_is_there_by_then() -> None:
    """The control: the first job is taken alone, as the courier is let at it before the second is there."""
    jobs, taken = Jobs(), threading.Event()
    courier = Hasty(taken)
    all_of = jobs.all_of
    jobs.all_of = lambda wants: (all_of(wants), taken.set())[0]  # type: ignore[method-assign,func-returns-value]
    assert served(courier, jobs) == list(range(TASKS))
    courier.stop()
    assert jobs.seen[0] == [0]
    assert len(jobs.seen) > 1


def stopped_before_it_rang(courier: Courier, jobs: Jobs, orphans: list[Any]) -> tuple[Any, asyncio.Task[Any]]:
    """A loop that ended its last round when a task had just posted a job."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(courier.bring(jobs.job(1), orphans.append))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert jobs.seen == []
    return loop, task


def test_what_a_stopped_loop_did_not_ring_for_is_done_at_the_end() -> None:
    courier, jobs, orphans = Courier(), Jobs(), list[Any]()
    loop, task = stopped_before_it_rang(courier, jobs, orphans)
    courier.stop()
    assert jobs.seen == [[1]]
    assert loop.run_until_complete(task) == 1
    loop.close()
    assert orphans == []


def test_it_is_done_with_what_anybody_else_wishes_and_before_it() -> None:
    courier, jobs, orphans = Courier(), Jobs(), list[Any]()
    loop, task = stopped_before_it_rang(courier, jobs, orphans)
    done = threading.Event()
    courier.post(done.set)
    assert done.wait(PATIENCE)
    assert jobs.seen == [[1]]
    assert loop.run_until_complete(task) == 1
    loop.close()
    courier.stop()


def test_it_is_done_and_handed_over_if_its_task_is_cancelled() -> None:
    courier, jobs, orphans = Courier(), Jobs(), list[Any]()
    loop, task = stopped_before_it_rang(courier, jobs, orphans)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    courier.stop()
    assert jobs.seen == [[1]]
    assert orphans == [1]
