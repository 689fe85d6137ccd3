"""Two `farthing reprice` at once on one ledger, while another program makes calls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.running import environment, within
from farthing import Budget, Meter, Usage, UserPrice

SEEDED = 600
"""More than one commit's worth."""
EACH = 2_800_000
"""Nano-dollars of a call at the price that is stored later."""

REPRICE = """
import sys
from farthing.cli.app import app
from farthing.ledger.calls import corrections

write = corrections.Corrections.reprice

def gated(self, wanted):
    global write
    if wanted and write is not None:
        sys.stderr.write("read\\n"); sys.stderr.flush()
        sys.stdin.readline()
        corrections.Corrections.reprice, write = write, None
    return self.reprice(wanted)

corrections.Corrections.reprice = gated
if "blind" in sys.argv:
    corrections._is_as = lambda *_: True
app(["reprice", "--json", "--ledger", sys.argv[1]])
"""
"""Waits for a word between what it has read and its first write."""

CALLS = """
import sys, threading
from farthing import Meter, Usage

stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
made = 0
with Meter(sys.argv[1], wait=0) as meter:
    while not stop.is_set():
        with meter.reserve(model="mystery-1", input_tokens=1000, max_output_tokens=100) as hold:
            hold.settle(Usage(input_tokens=1000, output_tokens=100))
        made += 1
        if made == 1:
            sys.stderr.write("calling\\n"); sys.stderr.flush()
print(made)
"""


_running: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _no_process_is_left():
    yield
    while _running:
        process = _running.pop()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    _running.append(process)
    return process


@pytest.fixture
def ledger(ledger_path):
    """Calls that a budget counts, which have no price until one is stored."""
    with Meter(ledger_path, budgets=[Budget("all", 1_000, "total")], on_unpriced="allow") as meter:
        for _ in range(SEEDED):
            meter.record(model="mystery-1", usage=Usage(input_tokens=1000, output_tokens=100))
        meter.engine.ledger.set_price(UserPrice(model="mystery-1", prices={"input": 2, "output": 8}))
    return ledger_path


def raced(ledger: Path, *how: str) -> tuple[list[dict], int]:
    """What both say, and how many calls were made meanwhile."""
    calling = started(CALLS, ledger)
    assert calling.stderr.readline() == "calling\n"
    both = [started(REPRICE, ledger, *how) for _ in range(2)]
    for each in both:
        assert each.stderr.readline() == "read\n"  # the same rows, as neither has written
    for each in both:
        each.stdin.write("go\n")
        each.stdin.flush()
    ended = [each.communicate(timeout=60) for each in both]
    made, errors = calling.communicate(timeout=60)
    assert (errors, [error for _, error in ended]) == ("", ["", ""])
    assert [each.returncode for each in (calling, *both)] == [0, 0, 0]
    return [json.loads(out) for out, _ in ended], int(made)


def changes(ledger: Path) -> list[int]:
    """How often each of the calls that were there before has been changed."""
    with Meter(ledger) as meter:
        rows = [row for row in meter.reports.records(limit=10_000) if "recorded" in row.flags]
        assert {row.cost_source for row in rows} == {"priced"}
        return [len(meter.reports.corrections(row.id)) for row in rows]


def test_two_at_once_change_each_call_once_and_all_sums_agree(ledger):
    said, made = raced(ledger)
    assert sum(each["changed"] for each in said) == SEEDED
    assert sum(each["overtaken"] for each in said) > 0  # both wanted the same calls
    assert changes(ledger) == [1] * SEEDED
    with Meter(ledger) as meter:
        [window] = meter.windows()
        summary = meter.reports.summary()
        assert (summary.calls, summary.unpriced_calls) == (SEEDED + made, 0)
        assert (window.spent, window.held) == ((SEEDED + made) * EACH, 0)
        assert summary.total_cost_usd * 10**9 == window.spent
    assert within("doctor", "--check", "--ledger", ledger).status == 0
    assert within("reprice", "--ledger", ledger).json["changed"] == 0


def test_without_a_look_at_what_a_row_says_by_now_calls_would_be_changed_twice(ledger):
    """The control of the test above."""
    said, _ = raced(ledger, "blind")
    assert sum(each["changed"] for each in said) > SEEDED
    assert max(changes(ledger)) == 2
