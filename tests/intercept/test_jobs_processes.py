"""Jobs that outlive the process that started them, and those that nobody asks for again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from farthing import Budget, Meter
from farthing.testing import FakeClock
from intercept.jobs_kit import BATCH_COST, BATCH_USAGE, batch, message_batch, thread_run, told, tuning, video
from intercept.kit import Kit, rows_of

DONE = batch("completed", model="gpt-4o", usage=BATCH_USAGE)
RESPONSE = {
    "id": "resp_bg",
    "object": "response",
    "created_at": 1,
    "model": "gpt-4o",
    "status": "queued",
    "output": [],
    "parallel_tool_calls": True,
    "tools": [],
    "usage": None,
}
SPENT = {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010}
SPENT_COST = 1000 * 2_500 + 10 * 10_000


class Places:
    """Meters on one ledger file, one after the other, with one clock: as processes that come and go."""

    def __init__(self, colour, provider, path):
        self.colour, self.provider, self.path = colour, provider, path
        self.clock = FakeClock()
        self.open = []

    def kit(self, **settings):
        meter = Meter(self.path, durability="fast", clock=self.clock, on_unbounded="allow", **settings)
        self.open.append(Kit(self.colour, self.provider, meter))
        return self.open[-1]

    def end(self, kit):
        self.open.remove(kit)
        kit.finish()
        kit.meter.close()


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture
def places(kind, provider, ledger_path):
    made = Places(kind, provider, ledger_path)
    yield made
    for kit in list(made.open):
        made.end(kit)


def start_batch(kit):
    client = kit.client(provider="openai")
    kit.run(client.batches.create(input_file_id="f", endpoint="/v1/embeddings", completion_window="24h"))
    return client


def start_response(kit, **settings):
    client = kit.client(provider="openai", **settings)
    kit.run(client.responses.create(model="gpt-4o", input="pennies", background=True, max_output_tokens=1000))
    return client


def test_another_meter_on_the_same_ledger_books_the_end(places):
    first = places.kit()
    places.provider.script(told(batch("validating")), lambda _: told(DONE))
    start_batch(first)
    places.end(first)
    places.clock.advance(timedelta(hours=3))
    second = places.kit()
    client = second.client(provider="openai")
    for _ in range(5):
        last = second.run(client.batches.retrieve("batch_1"))
    row = second.row()
    assert (row.outcome, row.cost_nano, row.service_tier, row.operation) == (
        "complete", BATCH_COST, "batch", "batch",
    )  # fmt: skip
    assert row.duration_ms == 3 * 3_600_000
    assert second.meter.receipt(last, None) is None
    assert "overrun" in row.flags


def test_whom_it_is_booked_on_stays_what_it_was_when_it_started(places):
    first = places.kit()
    places.provider.script(told(RESPONSE), told({**RESPONSE, "status": "completed", "usage": SPENT}))
    start_response(first, account="acme", tags={"feature": "coins"}, budget="$5/day")
    places.end(first)
    second = places.kit()
    done = second.run(second.client(account="other").responses.retrieve("resp_bg"))
    row = second.row()
    assert (row.account, row.tags, row.cost_nano) == ("acme", {"feature": "coins"}, SPENT_COST)
    assert second.meter.receipt(done).cost == second.meter.receipt(done).counted
    (window,) = second.meter.engine.ledger.windows()
    assert (window.spent, window.held) == (row.cost_nano, 0)


def test_an_end_that_says_nothing_is_estimated_from_the_row(places):
    first = places.kit()
    places.provider.script(told(RESPONSE), told({**RESPONSE, "status": "cancelled"}))
    start_response(first, budget="$5/day")
    places.end(first)
    second = places.kit()
    second.run(second.client().responses.cancel("resp_bg"))
    row = second.row()
    assert (row.outcome, row.usage_source) == ("unknown", "estimated")
    assert row.counted_nano == row.held_nano > row.cost_nano > 0


def test_a_job_that_nobody_asks_for_expires_at_its_limit_and_no_earlier(places):
    first = places.kit()
    places.provider.script(told(RESPONSE))
    start_response(first, budget=Budget("house", "5", "total"))
    places.end(first)
    places.clock.advance(timedelta(hours=25))
    second = places.kit()
    ledger = second.meter.engine.ledger
    assert ledger.facts()["open_calls"] == 1
    (window,) = ledger.windows()
    assert (window.spent, window.held) == (0, window.held)
    assert window.held > 0
    places.clock.advance(timedelta(hours=2))
    second.meter.engine.tick()
    row = second.row()
    assert (row.outcome, row.usage_source) == ("expired", "estimated")
    assert row.counted_nano == row.held_nano == window.held


def test_one_that_has_expired_is_corrected_when_it_is_asked_for_after_all(places):
    kit = places.kit()
    places.provider.script(told(RESPONSE), told({**RESPONSE, "status": "completed", "usage": SPENT}))
    client = start_response(kit)
    places.clock.advance(timedelta(hours=30))
    kit.meter.engine.tick()
    assert kit.row().outcome == "expired"
    kit.run(client.responses.retrieve("resp_bg"))
    row = kit.row()
    assert (row.outcome, row.cost_nano) == ("complete", SPENT_COST)
    assert row.counted_nano == row.cost_nano


STARTS = {
    "batch": (batch("validating"), start_batch, 26),
    "run": (
        thread_run("queued"),
        lambda kit: kit.run(kit.client().beta.threads.runs.create("thread_1", assistant_id="asst_1")),
        2,
    ),
    "tuning": (
        tuning("queued"),
        lambda kit: kit.run(
            kit.client().fine_tuning.jobs.create(model="gpt-4o-mini-2024-07-18", training_file="file-1")
        ),
        30 * 24,
    ),
}


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", STARTS)
def test_each_kind_waits_as_long_as_its_work_may_take(places, name):
    answer, start, hours = STARTS[name]
    kit = places.kit()
    places.provider.script(told(answer))
    start(kit)
    places.clock.advance(timedelta(hours=hours))
    kit.meter.engine.tick()
    assert kit.meter.engine.ledger.facts()["open_calls"] == 1
    places.clock.advance(1)
    kit.meter.engine.tick()
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.counted_nano) == ("expired", None, 0)


# -- real processes -------------------------------------------------------------------------------------

BEGIN = """
import asyncio, os, signal, sys
from openai import AsyncOpenAI, OpenAI
from farthing import Meter
meter = Meter(sys.argv[1], durability="fast", on_unbounded="allow")
kind = AsyncOpenAI if sys.argv[3] == "async" else OpenAI
client = meter.wrap(kind(base_url=sys.argv[2], api_key="k", max_retries=0), provider="openai")
loop = asyncio.new_event_loop()
def run(made):
    return loop.run_until_complete(made) if sys.argv[3] == "async" else made
"""
START = (
    BEGIN
    + """
run(client.batches.create(input_file_id="f", endpoint="/v1/embeddings", completion_window="24h"))
"""
)
ASK = (
    BEGIN
    + """
sys.stdin.readline()
run(client.batches.retrieve("batch_1"))
meter.close()
"""
)
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


def process(code, kind, meter, provider):
    arguments = [sys.executable, "-c", code, str(meter.ledger_path), provider.base_url, kind]
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no such signal")
def test_a_job_survives_the_kill_of_the_process_that_started_it(meter, provider, kind):
    provider.script(told(batch("validating")), lambda _: told(DONE))
    with process(START + KILL, kind, meter, provider) as started:
        started.communicate(timeout=60)
    assert started.returncode == -signal.SIGKILL
    ledger = meter.engine.ledger
    assert ledger.expire(meter.engine.clock.time_ns() + 24 * 3_600 * 10**9) == 0
    assert ledger.facts()["open_calls"] == 1
    with process(ASK, kind, meter, provider) as asked:
        _, said = asked.communicate("go\n", timeout=60)
    assert asked.returncode == 0, said
    (row,) = rows_of(meter)
    assert (row.outcome, row.cost_nano) == ("complete", BATCH_COST)


def test_processes_that_ask_at_the_same_time_book_it_once(meter, provider, kind):
    provider.script(told(batch("validating")), lambda _: told(DONE))
    with process(START, kind, meter, provider) as started:
        started.communicate(timeout=60)
    asking = [process(ASK, kind, meter, provider) for _ in range(3)]
    provider.hold()
    for one in asking:
        one.stdin.write("go\n")
        one.stdin.flush()
    provider.wait_for(4, timeout=60)
    provider.release()
    for one in asking:
        _, said = one.communicate(timeout=60)
        assert one.returncode == 0, said
        assert "farthing failed" not in said
    (row,) = rows_of(meter)
    assert row.cost_nano == BATCH_COST


IN_CHILD = (
    START
    + """
run(client.close())
loop.close()  # its selector would be shared with the child
pid = os.fork()
if pid != 0:
    assert os.waitpid(pid, 0)[1] == 0
loop = asyncio.new_event_loop()
client = meter.wrap(kind(base_url=sys.argv[2], api_key="k", max_retries=0), provider="openai")
run(client.batches.retrieve("batch_1"))
run(client.close())
loop.close()
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_may_end_what_its_parent_started(meter, provider, kind):
    provider.script(told(batch("validating")), lambda _: told(DONE))
    with process(IN_CHILD, kind, meter, provider) as done:
        _, said = done.communicate(timeout=60)
    assert done.returncode == 0, said
    (row,) = rows_of(meter)
    assert row.cost_nano == BATCH_COST


def test_an_interrupted_booking_is_made_up_for_by_the_next_answer(places):
    kit = places.kit()
    places.provider.script(told(batch("validating")), lambda _: told(DONE))
    client = start_batch(kit)
    ledger = kit.meter.engine.ledger
    settle = ledger.settle

    def failing(*args, **kwargs):
        raise RuntimeError

    ledger.settle = failing
    kit.run(client.batches.retrieve("batch_1"))
    ledger.settle = settle
    kit.run(client.batches.retrieve("batch_1"))
    assert kit.row().cost_nano == BATCH_COST


def test_what_is_kept_of_a_request_is_no_text_of_it(places, kind):
    kit = places.kit()
    places.provider.script(told(video("queued")), told(message_batch("in_progress")))
    kit.run(kit.client().post("/videos", body={"prompt": "a secret", "size": "720x1280"}, cast_to=object))
    secret = "http://user:word@" + places.provider.base_url.removeprefix("http://")
    client = kit.client(secret)
    kit.run(client.post("/videos/edits", body={"prompt": "a secret"}, cast_to=object))
    places.end(kit)
    kept = places.path.read_bytes()
    assert b"/videos/edits" in kept
    assert b"720x1280" in kept
    assert b"secret" not in kept
    assert b"user:word" not in kept
