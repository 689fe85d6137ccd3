"""What needs no waiting is done in the event loop itself; what does never holds it up."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from farthing import Budget, Meter
from farthing.engine import courier as couriers
from farthing.engine.courier import Courier, Together
from farthing.ledger.writing import posting
from farthing.ledger.writing.connection import Connections
from farthing.ledger.writing.posting import Posting
from guard.making import PATIENCE, metered

TASKS = 40


class Jobs:
    """Who has done what: numbers, and whether by the loop's own thread.

    Args:
        free: whether it can be done at once.
    """

    def __init__(self, *, free: bool = True) -> None:
        self.free = free
        self.here: list[list[int]] = []
        self.there: list[list[int]] = []
        self.loop = threading.get_ident()

    def all_of(self, wants: list[int]) -> list[int]:
        assert threading.get_ident() != self.loop
        self.there.append(wants)
        return wants

    def at_once(self, wants: list[int]) -> list[int] | None:
        assert threading.get_ident() == self.loop
        if self.free:
            self.here.append(wants)
        return wants if self.free else None

    def job(self, number: int) -> Together:
        return Together(self.all_of, number, self.at_once)


async def together(courier: Courier, jobs: Jobs, tasks: int = TASKS) -> list[Any]:
    return await asyncio.gather(*[courier.bring(jobs.job(n), print) for n in range(tasks)])


def test_a_lone_task_is_served_when_it_asks() -> None:
    courier, jobs = Courier(), Jobs()
    task = courier.bring(jobs.job(7), print)

    async def main() -> None:
        with pytest.raises(StopIteration) as stop:  # without having been suspended once
            task.send(None)
        assert stop.value.value == 7

    asyncio.run(main())
    assert jobs.here == [[7]]
    assert courier._thread is None


def test_those_who_ask_in_one_round_are_served_together_at_its_end() -> None:
    courier, jobs = Courier(), Jobs()

    async def main() -> None:
        for _ in range(3):
            assert await together(courier, jobs) == list(range(TASKS))

    asyncio.run(main())
    assert jobs.here == [[0], list(range(1, TASKS)), list(range(TASKS)), list(range(TASKS))]
    assert jobs.there == []
    courier.stop()


def test_a_task_that_is_alone_again_is_served_when_it_asks() -> None:
    courier, jobs = Courier(), Jobs()

    async def main() -> None:
        await together(courier, jobs, 2)
        for number in (2, 3):
            await courier.bring(jobs.job(number), print)
            await asyncio.sleep(0)
        assert not courier._crowded

    asyncio.run(main())
    assert jobs.here == [[0], [1], [2], [3]]


def test_what_cannot_be_done_at_once_is_done_by_the_thread_in_one_go() -> None:
    courier, jobs = Courier(), Jobs(free=False)
    assert asyncio.run(together(courier, jobs)) == list(range(TASKS))
    courier.stop()
    assert jobs.here == []
    assert jobs.there == [list(range(TASKS))]


def test_more_than_a_loop_should_do_itself_is_done_by_the_thread() -> None:
    courier, jobs = Courier(), Jobs()
    asyncio.run(together(courier, jobs, couriers._MOST_AT_ONCE + 2))
    courier.stop()
    assert [len(some) for some in jobs.here] == [1]
    assert [len(some) for some in jobs.there] == [couriers._MOST_AT_ONCE + 1]


def test_other_jobs_are_done_by_the_thread_and_not_overtaken() -> None:
    courier, jobs = Courier(), Jobs()

    async def main() -> None:
        other = courier.bring(threading.get_ident, print)
        ours = [courier.bring(jobs.job(n), print) for n in range(3)]
        ident, *numbers = await asyncio.gather(other, *ours)
        assert ident != threading.get_ident()
        assert numbers == [0, 1, 2]

    asyncio.run(main())
    courier.stop()
    assert (jobs.here, jobs.there) == ([], [[0, 1, 2]])


@pytest.mark.parametrize("tasks", [1, 3])
def test_what_was_asked_for_before_is_not_overtaken(tasks: int) -> None:
    """Who gives money back, and then asks for some, has it."""
    courier, jobs = Courier(), Jobs()
    begun, ends, done = threading.Event(), threading.Event(), list[str]()

    def gives_back() -> None:
        begun.set()
        assert ends.wait(PATIENCE)
        done.append("given back")

    all_of = jobs.all_of
    jobs.all_of = lambda wants: (done.append("asked"), all_of(wants))[1]  # type: ignore[method-assign,func-returns-value]

    async def main() -> None:
        courier.post(gives_back)
        assert begun.wait(PATIENCE)
        asked = asyncio.ensure_future(together(courier, jobs, tasks))
        for _ in range(3):  # it begins, its tasks ask, and their round ends
            await asyncio.sleep(0)
        ends.set()
        assert await asked == list(range(tasks))
        assert await together(courier, jobs, tasks) == list(range(tasks))  # it is idle again when it tells

    asyncio.run(main())
    courier.stop()
    assert done == ["given back", "asked"]
    assert jobs.there == [list(range(tasks))]


def test_what_was_asked_in_a_loop_that_is_closed_before_its_round_ends_is_an_orphan() -> None:
    courier, jobs, orphans, done = Courier(), Jobs(), list[Any](), threading.Event()
    loop = asyncio.new_event_loop()

    def orphan(answer: int) -> None:
        orphans.append(answer)
        done.set()

    tasks = [loop.create_task(courier.bring(jobs.job(n), orphan)) for n in range(2)]
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert (jobs.here, jobs.there) == ([[0]], [])
    loop.close()
    assert done.wait(PATIENCE)
    courier.stop()
    assert (jobs.there, orphans) == ([[1]], [1])
    assert tasks.pop(0).result() == 0
    tasks.pop().get_coro().close()


@pytest.mark.parametrize("tasks", [1, 3])
def test_what_strikes_the_loop_meanwhile_strikes_those_who_asked(tasks: int) -> None:
    courier = Courier()

    class Struck(BaseException):
        pass

    def at_once(_: list[int]) -> list[int]:
        raise Struck

    async def main() -> None:
        jobs = [courier.bring(Together(list, n, at_once), print) for n in range(tasks)]
        for answer in await asyncio.gather(*jobs, return_exceptions=True):
            assert isinstance(answer, Struck)

    asyncio.run(main())


def test_what_strikes_a_loop_does_not_strike_what_another_loop_asked_meanwhile() -> None:
    courier, asked, struck = Courier(), threading.Event(), threading.Event()
    answers: list[Any] = []

    class Struck(BaseException):
        pass

    def at_once(_: list[int]) -> list[int]:
        raise Struck

    async def hold_the_round() -> None:
        asked.set()
        assert struck.wait(PATIENCE)

    async def other() -> None:
        both = [courier.bring(Together(list, n, list), print) for n in range(2)]
        answers.extend(await asyncio.wait_for(asyncio.gather(*both, hold_the_round()), PATIENCE))

    async def main() -> None:
        both = [courier.bring(Together(list, n, at_once), print) for n in range(2)]
        found = await asyncio.gather(*both, return_exceptions=True)
        assert [type(answer) for answer in found] == [Struck, Struck]

    thread = threading.Thread(target=asyncio.run, args=(other(),))
    thread.start()
    assert asked.wait(PATIENCE)
    with contextlib.suppress(Struck):
        asyncio.run(main())
    struck.set()
    thread.join(PATIENCE)
    courier.stop()
    assert answers == [0, 1, None]


def test_where_no_thread_can_be_started_the_loop_does_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    courier, done = Courier(), list[Any]()

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> list[Any]:
        both = [courier.bring(Together(list, n), print) for n in range(2)]
        return [*await asyncio.gather(*both), await courier.bring(lambda: 2, print)]

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        assert asyncio.run(main()) == [0, 1, 2]
        courier.post(lambda: done.append(1))
    assert done == [1]


def test_what_is_done_for_a_task_that_was_cancelled_in_the_same_round_is_an_orphan() -> None:
    courier, jobs, orphans = Courier(), Jobs(), list[Any]()

    async def main() -> None:
        tasks = [asyncio.create_task(courier.bring(jobs.job(n), orphans.append)) for n in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in done] == [int, asyncio.CancelledError, int]

    asyncio.run(main())
    assert jobs.here == [[0], [1, 2]]
    assert orphans == [1]


def test_what_was_asked_when_a_signal_struck_is_an_orphan() -> None:
    """It is done all the same, after whatever its caller could say of it."""

    class Struck(BaseException):
        pass

    class Asked(SimpleQueue[Any]):
        def put(self, job: Any, *_: Any) -> None:
            super().put(job)
            raise Struck

    courier, jobs, orphans = Courier(), Jobs(free=False), list[Any]()
    courier._asked_in = lambda loop: courier._asked.setdefault(id(loop), Asked())  # type: ignore[method-assign]

    async def main() -> None:
        with pytest.raises(Struck):
            await courier.bring(jobs.job(7), orphans.append)
        await asyncio.sleep(0)  # the end of the round
        courier.stop()  # in a loop that could still be told

    asyncio.run(main())
    assert jobs.there == [[7]]
    assert orphans == [7]


# The ledger


class Written:
    """Which threads have committed, and what they synced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by: list[tuple[bool, bool]] = []  # by the loop; surviving a power cut
        real = Connections._commit
        loop = threading.get_ident()

        def commit(these: Connections, conn: Posting) -> None:
            self.by.append((threading.get_ident() == loop, conn.full))
            real(these, conn)

        monkeypatch.setattr(Connections, "_commit", commit)


@contextlib.contextmanager
def a_meter(path: Path, **options: Any) -> Iterator[Meter]:
    """One whose windows are there, as they are after the first call."""
    with metered(path, budgets=[Budget("all", 9)], **options) as meter:
        meter.warm()
        asyncio.run(called(meter))
        yield meter


async def called(meter: Meter) -> None:
    hold = await meter.areserve(model="gpt-4o", input_tokens=5, max_output_tokens=300)
    await hold.asettle({"prompt_tokens": 5, "completion_tokens": 300})


@pytest.mark.parametrize(
    ("durability", "by"),
    [
        ("fast", [(True, False), (True, False)]),
        ("safe", [(False, True), (True, False)]),
        ("strict", [(False, True), (False, True)]),
    ],
)
def test_only_what_is_not_synced_is_written_by_the_loop(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str, by: list[tuple[bool, bool]]
) -> None:
    with a_meter(ledger_path, durability=durability) as meter:
        written = Written(monkeypatch)
        asyncio.run(called(meter))
        assert written.by == by


def test_a_window_that_is_new_is_made_by_the_thread(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_meter(ledger_path) as meter:
        meter.set_budget(Budget("another", 9))
        written = Written(monkeypatch)
        asyncio.run(called(meter))
        assert written.by == [(False, False), (True, False)]


@contextlib.contextmanager
def by_its_lock_file(path: Path) -> Iterator[None]:
    with Path(f"{path}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def without_it(path: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("way", [by_its_lock_file, without_it])
def test_another_program_that_writes_does_not_hold_up_the_loop(ledger_path: Path, way: Any) -> None:
    with a_meter(ledger_path) as meter:
        assert goes_on(meter, ledger_path, way, PATIENCE)


def test_it_would_if_the_loop_waited_as_threads_do(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(Posting, "suit", lambda *_, **__: None)
    with a_meter(ledger_path) as meter:
        assert not goes_on(meter, ledger_path, without_it, 1.0)


def goes_on(meter: Meter, path: Path, way: Any, patience: float) -> bool:
    """Whether the loop runs while a task calls and another program writes, until the loop has been seen to
    run or nobody has the patience."""
    locked, asked, runs = threading.Event(), threading.Event(), threading.Event()
    seen: list[bool] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def writes() -> None:
            with way(path):
                locked.set()
                assert asked.wait(PATIENCE)
                loop.call_soon_threadsafe(runs.set)
                seen.append(runs.wait(patience))

        other = threading.Thread(target=writes)
        other.start()
        assert locked.wait(PATIENCE)
        asked.set()
        await called(meter)
        other.join(PATIENCE)

    asyncio.run(main())
    return seen == [True]


def test_a_long_log_is_written_back_by_a_thread(ledger_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "_COMMITS", 6)
    by: list[bool] = []
    real, loop = Posting.checkpoint, threading.get_ident()

    def checkpoint(self: Posting) -> None:
        by.append(threading.get_ident() == loop)
        real(self)

    monkeypatch.setattr(Posting, "checkpoint", checkpoint)
    with a_meter(ledger_path) as meter:
        for _ in range(20):
            asyncio.run(called(meter))
        assert by[:3] == [False] * 3
        assert not any(by)
        assert meter.engine.ledger.check() == []
