"""Calls whose coroutine or generator a garbage collection closes, on whichever thread that runs: each leaves
one row and no hold, and nobody waits for anything meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from openai import AsyncOpenAI, OpenAI

import farthing
from farthing import LedgerLocked, Meter
from farthing.engine.courier import Courier
from farthing.testing import Reply
from intercept.kit import ASK, USUAL, rows_of

STREAM = {**ASK, "stream": True}
OPTIONS = SimpleNamespace(method="post", url="/chat/completions", json_data=ASK)
TOLD = {"model": "gpt-4o", "usage": {"prompt_tokens": 5, "completion_tokens": 300, "total_tokens": 305}}
COST = 5 * 2_500 + 300 * 10_000
CROWD = 50

LOUD = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning"
)
"""A connection that is dropped with its loop complains, and so does what awaits while it is closed."""

ONE_COLOUR = pytest.mark.one_colour("only what is suspended is closed by a collection")


class Told(dict):
    def model_dump(self):
        return dict(self)


class Client:
    """A client of coroutines that answers, or while it `hangs` never does; `leaving` is how it ends then."""

    base_url = "http://127.0.0.1/v1"

    def __init__(self, leaving="quietly"):
        self.hangs = True
        self.sent = 0
        self.leaving = leaving

    async def request(self, cast_to, options):
        self.sent += 1
        hangs = self.hangs
        try:
            if hangs:
                await Hanging()
        finally:
            if hangs and self.leaving == "awaits":
                await asyncio.sleep(0)
            if hangs and self.leaving == "raises":
                raise OSError
        return Told(TOLD)


class Hanging:
    """What never comes, in a loop or in none."""

    def __await__(self):
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            yield
        else:
            yield from loop.create_future()


@pytest.fixture
def collected_by_hand():
    """Nothing is collected before the test says so."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.collect()


@pytest.fixture
def small(ledger_path, collected_by_hand):
    made = Meter(ledger_path, durability="fast", ledger_timeout=30, wait=0)
    made.warm()
    yield made
    made.close()


@pytest.fixture
def brought(small, monkeypatch):
    """Whom the courier was asked to serve while he waits."""
    found = []
    bring = small.engine.courier.bring

    def noted(*args):
        found.append(threading.get_ident())
        return bring(*args)

    monkeypatch.setattr(small.engine.courier, "bring", noted)
    return found


def drop(made, tasks=1, until=None):
    """Tasks that are under way when their loop is closed, and of which nobody knows any more."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # it would tell that they were dropped
    alive = [loop.create_task(made()) for _ in range(tasks)]
    loop.run_until_complete(stepped(until))
    assert not any(task.done() for task in alive)
    loop.close()
    knot = [alive]
    knot.append(knot)


async def stepped(until=None):
    """Let every task go as far as it can, or until what is asked for is true."""
    for _ in range(20):
        await asyncio.sleep(0)
    while until is not None and not until():  # noqa: ASYNC110  not every loop lives to see it
        await asyncio.sleep(0)


def closed_elsewhere(coroutine):
    """Begun in one context and closed in another, as by a collection."""
    contextvars.copy_context().run(coroutine.send, None)
    coroutine.close()


def outcomes(meter):
    meter.close()  # waits for all who book
    return [(row.outcome, row.error) for row in rows_of(meter)]


LEFT = {"quietly": "GeneratorExit", "raises": "OSError", "awaits": "RuntimeError"}


@LOUD
@ONE_COLOUR
@pytest.mark.parametrize("leaving", LEFT)
def test_on_the_thread_of_the_courier_which_serves_others_afterwards(small, leaving):
    client = small.wrap(Client(leaving), budget="$1000/total")
    drop(lambda: client.request(None, OPTIONS), 3, lambda: client.sent == 3)
    small.engine.courier.post(gc.collect)
    client.hangs = False

    async def crowd():
        calls = [client.request(None, OPTIONS) for _ in range(CROWD)]
        return await asyncio.wait_for(asyncio.gather(*calls), 60)

    assert len(asyncio.run(crowd())) == CROWD
    assert sorted(outcomes(small), key=str) == [("complete", None)] * CROWD + [("error", LEFT[leaving])] * 3


@LOUD
@ONE_COLOUR
@pytest.mark.parametrize("leaving", LEFT)
def test_on_a_thread_that_is_writing_the_ledger_and_does_not_wait(small, brought, leaving):
    client = small.wrap(Client(leaving), budget="$1000/total")
    drop(lambda: client.request(None, OPTIONS), until=lambda: client.sent)
    ledger, inside = small.engine.ledger, small.engine.ledger._reserve
    brought.clear()

    def collecting(conn, want):
        gc.collect()
        return inside(conn, want)

    ledger._reserve = collecting
    try:
        small.reserve(model="gpt-4o", amount="0.1").void()
    finally:
        del ledger._reserve
    assert brought == []
    assert sorted(outcomes(small), key=str) == sorted([("error", LEFT[leaving]), ("error", None)], key=str)


@LOUD
@ONE_COLOUR
@pytest.mark.parametrize("leaving", LEFT)
def test_in_a_loop_that_runs_with_a_crowd(small, leaving):
    client = small.wrap(Client(leaving), budget="$1000/total")
    other = small.wrap(Client(), budget="$1000/total")
    other.hangs = False

    async def crowd():
        for _ in range(5):
            before = client.sent
            hanging = asyncio.ensure_future(client.request(None, OPTIONS))
            await stepped(lambda before=before: client.sent > before)
            coroutine, knot = hanging.get_coro(), []
            knot.append((knot, coroutine))
            hanging._log_destroy_pending = False
            del hanging, coroutine, knot
            calls = [asyncio.ensure_future(other.request(None, OPTIONS)) for _ in range(10)]
            await asyncio.sleep(0)
            gc.collect()
            await asyncio.wait_for(asyncio.gather(*calls), 60)

    asyncio.run(crowd())
    assert sorted(outcomes(small), key=str) == [("complete", None)] * CROWD + [("error", LEFT[leaving])] * 5


@ONE_COLOUR
def test_a_call_that_waits_for_the_ledger_leaves_no_hold(small):
    client = small.wrap(Client(), budget="$1000/total")
    gate = threading.Event()
    small.engine.courier.post(gate.wait)
    drop(lambda: client.request(None, OPTIONS))
    small.engine.courier.post(gc.collect)
    gate.set()
    assert {outcome for outcome, _ in outcomes(small)} <= {"error"}
    assert client.sent == 0


@ONE_COLOUR
def test_nobody_books_before_the_collection_is_over(small, monkeypatch):
    client = small.wrap(Client(), budget="$1000/total")
    drop(lambda: client.request(None, OPTIONS), until=lambda: client.sent)
    here, settled = threading.get_ident(), []
    settle = small.engine.settle
    monkeypatch.setattr(
        small.engine, "settle", lambda want: (settled.append(threading.get_ident()), settle(want))
    )
    gc.collect()
    assert here not in settled
    assert outcomes(small) == [("error", "GeneratorExit")]


PROGRAM = """
import asyncio, sys
from types import SimpleNamespace
import farthing

class Client:
    base_url = "http://127.0.0.1/v1"
    async def request(self, cast_to, options):
        sent.append(self)
        await asyncio.get_running_loop().create_future()

sent = []
OPTIONS = SimpleNamespace(method="post", url="/chat/completions", json_data={ask})
meter = farthing.Meter(sys.argv[1], ledger_timeout=30)
client = meter.wrap(Client(), budget="$1000/total")
loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda *_: None)
tasks = [loop.create_task(client.request(None, OPTIONS)) for _ in range(3)]
async def until():
    while len(sent) < 3:
        await asyncio.sleep(0)
meter.warm()
loop.run_until_complete(until())
{end}
"""

ENDS = {
    "a loop that is open": "",
    "a loop that was closed": "loop.close()",
    "only a knot": "loop.close(); knot = [tasks]; knot.append(knot); del tasks, loop, knot",
    "a meter that was closed": "meter.close(); loop.close()",
}


@ONE_COLOUR
@pytest.mark.parametrize("left", ENDS)
def test_at_the_exit_of_the_process(ledger_path, left):
    program = PROGRAM.replace("{ask}", repr(ASK)).replace("{end}", ENDS[left])
    done = subprocess.run(
        [sys.executable, "-c", program, ledger_path], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    with Meter(ledger_path) as meter:
        assert outcomes(meter) == [("error", "GeneratorExit")] * 3


@LOUD
@ONE_COLOUR
@pytest.mark.parametrize("where", ["courier", "here", "loop"])
def test_a_stream_of_the_sdk(provider, small, where):
    alive = [small.wrap(AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0))]
    provider.script(Reply(piecewise=True, pause_after=1))

    async def read():
        answer = await alive[0].chat.completions.create(**STREAM)
        async for _ in answer:
            arrived.set()

    arrived = asyncio.Event()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    task = loop.create_task(read())
    loop.run_until_complete(arrived.wait())
    loop.close()
    del task, loop, read
    alive.clear()
    if where == "courier":
        small.engine.courier.post(gc.collect)
        small.engine.courier.post((done := threading.Event()).set)
        assert done.wait(60)
    elif where == "here":
        gc.collect()
    else:

        async def collects():
            gc.collect()

        asyncio.run(collects())
    ((outcome, _),) = outcomes(small)
    assert outcome in {"unknown", "aborted"}


@ONE_COLOUR
def test_what_encloses_a_call_can_be_closed_in_another_context(small, collected_by_hand):
    client = small.wrap(Client())

    async def uses():
        with farthing.using(small):
            await Hanging()

    async def scoped():
        async with small.scope(budget="$1"):
            await Hanging()

    @small.track_usage(estimate="0.1", budget="$5/day")
    async def tracked():
        await Hanging()

    async def asks():
        await client.request(None, OPTIONS)

    async def reserves():
        async with await small.areserve(model="gpt-4o", amount="0.1") as held:
            held.sent()
            await Hanging()

    for made in (uses, scoped, tracked, asks, reserves):
        closed_elsewhere(made())
    assert sorted(outcomes(small), key=str) == [
        ("error", "GeneratorExit"),
        ("unknown", "GeneratorExit"),
        ("unknown", "GeneratorExit"),
    ]


@ONE_COLOUR
@pytest.mark.parametrize("estimate", [None, "0.1"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_tracked_generator_that_is_collected(small, estimate, fails):
    @small.track_usage(estimate=estimate, model="gpt-4o")
    def chunks():
        try:
            while True:
                yield TOLD
        finally:
            if fails:
                raise ZeroDivisionError

    items = chunks()
    next(items)
    with pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext():
        items.close()
    (row,) = booked(small)
    if estimate is None:
        assert (row.outcome, row.cost_nano) == ("complete", COST)
    else:
        assert (row.outcome, row.counted_nano) == ("unknown", 100_000_000)


def booked(meter):
    outcomes(meter)
    return rows_of(meter)


@ONE_COLOUR
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_hold_whose_generator_is_closed(small, colour):
    def generator():
        with small.reserve(model="gpt-4o", amount="0.1") as held:
            held.sent()
            yield

    async def agenerator():
        async with await small.areserve(model="gpt-4o", amount="0.1") as held:
            held.sent()
            yield

    if colour == "sync":
        made = generator()
        next(made)
        made.close()
    else:

        async def main():
            made = agenerator()
            await anext(made)
            await made.aclose()

        asyncio.run(main())
    assert outcomes(small) == [("unknown", "GeneratorExit")]


@pytest.mark.one_colour("a generator's twin is closed by its loop, in a task")
def test_a_stream_whose_generator_is_closed_is_booked_when_that_returns(provider, small):
    provider.script(Reply(piecewise=True, pause_after=1))
    with OpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
        small.wrap(client)

        def pieces():
            with client.chat.completions.create(**STREAM) as stream:
                yield from stream

        made = pieces()
        next(made)
        made.close()
        assert outcomes(small) == [("aborted", None)]


def test_a_call_that_is_made_while_a_generator_is_closed_goes_as_any_other(kit):
    client = kit.client(budget="$5/day")

    def generator():
        try:
            yield
        finally:
            answers.append(kit.run(client.chat.completions.create(**ASK)))

    answers = []
    made = generator()
    next(made)
    made.close()
    assert len(answers) == 1
    assert kit.row().cost_nano == USUAL


@ONE_COLOUR
def test_the_courier_never_waits_for_itself():
    courier, answers = Courier("farthing-test"), []

    def asks():
        coroutine = courier.bring(lambda: "later", answers.append)
        with pytest.raises(LedgerLocked):
            coroutine.send(None)
        answers.append("refused")

    courier.post(asks)
    courier.post((asked := threading.Event()).set)
    assert asked.wait(60)
    courier.stop()
    assert answers == ["refused", "later"]
