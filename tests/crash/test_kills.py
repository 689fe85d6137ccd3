"""A process that is killed while its threads call loses no acknowledged call, and its holds stay held."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crash.killing import NURSERY, Nursery, Tally, every_request_has_a_row, everything_is_there, kill_one
from farthing.ledger.calls import booking
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


def acknowledged_before_it_is_written(patch: pytest.MonkeyPatch) -> str:
    """A settle answers, and what it was to write is lost with the process."""
    return """
from farthing.ledger.sqlite import SqliteLedger
SqliteLedger.settle = lambda *_, **__: True
"""


def sent_before_it_is_written(patch: pytest.MonkeyPatch) -> str:
    """A reserve answers, and its call is written only when it ends."""
    return """
from farthing.ledger.sqlite import SqliteLedger
from farthing.ledger.store import Grant
written, ended = SqliteLedger.reserve, SqliteLedger.settle
def reserve(ledger, want):
    answer = written(ledger, want)
    if isinstance(answer, Grant):
        ledger.release(answer)
    return answer
def settle(ledger, grant, end, *, void=False):
    return ended(ledger, written(ledger, grant.reservation), end, void=void)
SqliteLedger.reserve, SqliteLedger.settle = reserve, settle
"""


def freed_by_death(patch: pytest.MonkeyPatch) -> str:
    """Whoever expires what the dead held takes it for nothing."""
    expire = booking._expire
    patch.setattr(
        booking, "_expire", lambda conn, now, dead: expire(conn, now, [(*row[:-1], 0) for row in dead])
    )
    return ""


@pytest.mark.parametrize(
    ("fault", "noticed"),
    [
        (acknowledged_before_it_is_written, "<= dict_keys"),
        (sent_before_it_is_written, "requests"),
        (freed_by_death, "expired"),
    ],
)
def test_a_ledger_with_a_fault_breaks_a_promise(
    ledger_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], str],
    noticed: str,
) -> None:
    """The control."""
    clock, tally = FakeClock(), Tally()
    seed = 1  # kills while all threads wait for their answers
    with Nursery(ledger_path.parent, fault(monkeypatch)) as nursery:
        kill = kill_one(ledger_path, nursery, seed, durability="fast", now=clock.time_ns())
        with pytest.raises(AssertionError, match=noticed):  # noqa: PT012  whichever notices
            everything_is_there(ledger_path, kill, clock, tally)
            every_request_has_a_row(ledger_path, kill, seed, clock)


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
