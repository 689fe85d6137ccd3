"""A process that is killed while its threads call loses no acknowledged call, and its holds stay held."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from crash.killing import NURSERY, Nursery, Tally, every_request_has_a_row, everything_is_there, kill_one
from farthing.testing import FakeClock
from guard.making import HANGING
from ledger.making import python

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX"),
    pytest.mark.timeout(400),
]

SEEDS = {"fast": range(5), "safe": range(5, 9)}


@pytest.mark.parametrize("durability", ["fast", "safe"])
def test_kills_lose_nothing_and_free_nothing(ledger_path: Path, durability: str) -> None:
    """One ledger for all of them; `campaign.py` does the same as often as it is told."""
    clock, tally = FakeClock(), Tally()
    with Nursery(ledger_path.parent) as nursery:
        for seed in SEEDS[durability]:
            kill = kill_one(ledger_path, nursery, seed, durability=durability, now=clock.time_ns())
            everything_is_there(ledger_path, kill, clock, tally)
            every_request_has_a_row(ledger_path, kill, seed, clock)
    assert tally.with_open_holds * 3 >= tally.kills
    assert tally.acknowledged
    assert tally.expired


LAST_TO_END = """
import threading
run, join, awaited = threading.Thread.run, threading.Thread.join, threading.Event()
def run_until_awaited(thread):
    run(thread)
    awaited.wait()
def await_it(thread, timeout=None):
    awaited.set()
    join(thread, timeout)
threading.Thread.run, threading.Thread.join = run_until_awaited, await_it
"""


def test_a_nursery_forks_when_the_threads_of_its_meter_have_ended() -> None:
    """However late they do; here they do not before they are waited for."""
    assert python(LAST_TO_END + NURSERY).communicate("", timeout=HANGING) == ("", "")
