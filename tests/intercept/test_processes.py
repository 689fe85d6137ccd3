"""Streams that are open when a process exits or forks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from farthing.testing import Reply
from intercept.kit import rows_of

pytestmark = pytest.mark.one_colour("each scenario names its colour and has its twin")

SYNC = """
import sys
from openai import OpenAI
from farthing import Meter
meter = Meter(sys.argv[1], durability="fast")
client = meter.wrap(OpenAI(base_url=sys.argv[2], api_key="k", max_retries=0))
ask = dict(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=2000, stream=True)
stream = client.chat.completions.create(**ask)
next(iter(stream))
"""

ASYNC = """
import asyncio, sys
from openai import AsyncOpenAI
from farthing import Meter
meter = Meter(sys.argv[1], durability="fast")
client = meter.wrap(AsyncOpenAI(base_url=sys.argv[2], api_key="k", max_retries=0))
ask = dict(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=2000, stream=True)
loop = asyncio.new_event_loop()
stream = loop.run_until_complete(client.chat.completions.create(**ask))
loop.run_until_complete(anext(aiter(stream)))
"""


def _run(code, meter, provider, **more):
    arguments = [sys.executable, "-c", code, str(meter.ledger_path), provider.base_url]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, **more)


@pytest.fixture
def paused(provider):

    provider.script(Reply(piecewise=True, pause_after=1))
    return provider


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise SystemExit", "1 / 0", "raise KeyboardInterrupt"])
def test_an_open_stream_is_booked_at_exit(meter, paused, code, end):
    done = _run(code + end, meter, paused)
    assert "farthing failed" not in done.stderr
    assert "Exception ignored" not in done.stderr
    (row,) = rows_of(meter)
    assert (row.outcome, row.usage_source) == ("aborted", "estimated")
    assert row.counted_nano == row.held_nano > 0


FORK = """
import gc, os
pid = os.fork()
if pid == 0:
    try:
        stream.response.close()
    finally:
        del stream
        gc.collect()
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(meter.engine.ledger.facts()["open_calls"], len(meter.engine.ledger.calls()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
def test_a_forked_child_does_not_book_its_parents_stream(meter, paused, code):
    fork = FORK if code is SYNC else FORK.replace("stream.response.close()", "pass")
    done = _run(code + fork, meter, paused)
    assert done.stdout.split() == ["1", "0"], done.stderr
    (row,) = rows_of(meter)
    assert row.outcome == "aborted"


CALLS_IN_CHILD = """
import os
del ask["stream"]
pid = os.fork()
client = meter.wrap(OpenAI(base_url=sys.argv[2], api_key="k", max_retries=0)) if pid == 0 else client
if pid == 0:
    client.chat.completions.create(**ask)
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
stream.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_books_its_own_calls(meter, paused):
    done = _run(SYNC + CALLS_IN_CHILD, meter, paused)
    assert done.returncode == 0, done.stderr
    assert sorted(row.outcome for row in rows_of(meter)) == ["aborted", "complete"]


IN_CHILD = """
import multiprocessing
def work():
    global stream
    %s
def child():
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0
child()
"""
SYNC_WORK = "stream = client.chat.completions.create(**ask); next(iter(stream))"
ASYNC_WORK = (
    "stream = loop.run_until_complete(client.chat.completions.create(**ask)); "
    "loop.run_until_complete(anext(aiter(stream)))"
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(("code", "work"), [(SYNC, SYNC_WORK), (ASYNC, ASYNC_WORK)], ids=["sync", "async"])
def test_an_open_stream_is_booked_at_the_end_of_a_child_of_multiprocessing(meter, provider, code, work):
    """It ends without what is registered with `atexit`."""
    provider.script(*[Reply(piecewise=True, pause_after=1)] * 2)
    seen = "print(meter.engine.ledger.facts()['open_calls'])"
    done = _run(code + IN_CHILD % work + seen, meter, provider)
    assert done.stdout.split() == ["1"], done.stderr  # its parent's
    assert [row.outcome for row in rows_of(meter)] == ["aborted", "aborted"]
