"""Many at once on one budget, from a barrier; each race is first shown to be one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from farthing.ledger import Ledger
from farthing.ledger.calls import holding, sql
from farthing.ledger.store import Grant, Short
from farthing.ledger.writing import batch
from farthing.records import Budget
from ledger.making import USD, opened, python, reservation, settlement, standing_bound, with_budget

LIMIT = 20
RACERS = 8

RACE = """
import sys
from ledger.making import *
from ledger.test_races import LIMIT, RACERS, Unguarded, all_ask_first, race_on
path, guarded, barrier = sys.argv[1], sys.argv[2] == "guarded", sys.stdin
ledger = opened(path)
bound = standing_bound(Budget("all", LIMIT))
print("ready", flush=True)
barrier.readline()
def meet():
    print("asked", flush=True)
    barrier.readline()
if not guarded:
    ledger.room = all_ask_first(ledger.room, threading.Barrier(RACERS, meet))
print(race_on(ledger, bound, guarded=guarded), flush=True)
barrier.readline()
"""


class Unguarded:
    """What a guard that reads first and adds later does: the statement without its condition."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def reserve(self, want: object) -> Grant | Short | None:
        [(_, left)] = self.ledger.room(want.bounds, want.started_ns)
        if left < want.lo:
            return None
        return self.ledger.reserve(want)


def all_ask_first(room: Callable[..., Any], barrier: threading.Barrier) -> Callable[..., Any]:
    """`Ledger.room` for threads that all have their first answer before any of them goes on."""
    asked = threading.local()

    def ask(*args: object) -> Any:
        answer = room(*args)
        if not hasattr(asked, "before"):
            asked.before = True
            barrier.wait()
        return answer

    return ask


def race_on(ledger: Ledger, bound: object, *, guarded: bool) -> int:
    """Calls that were admitted to 8 threads which each want more than their share."""
    admitted = []
    start = threading.Barrier(RACERS)
    if not guarded:
        sql.HOLD_GUARDED = sql.HOLD_GUARDED.partition(" AND ")[0] + " AND ?2 >= 0"
        batch.Money.affords = lambda *_: True

    def racer() -> None:
        asking = ledger if guarded else Unguarded(ledger)
        start.wait()
        for _ in range(LIMIT):
            answer = asking.reserve(reservation(ledger, [bound]))
            if isinstance(answer, Grant):
                admitted.append(answer)
                ledger.settle(answer, settlement(USD))

    threads = [threading.Thread(target=racer) for _ in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(admitted)


def tell(processes: list[Popen[str]]) -> None:
    """They go on when all of them have come so far."""
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()


def in_processes(path: Path, guarded: str) -> int:
    processes = [python(RACE, path, guarded) for _ in range(4)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    tell(processes)
    if guarded == "unguarded":
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "asked\n"
        tell(processes)
    admitted = sum(int(process.stdout.readline()) for process in processes if process.stdout)
    for process in processes:
        _, errors = process.communicate("\n", timeout=60)
        assert errors == ""
    return admitted


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    store = opened(tmp_path / "ledger.db")
    with_budget(store, Budget("all", LIMIT))
    yield store
    assert store.check() == []
    store.close()


def test_threads_spend_a_budget_exactly(ledger: Ledger) -> None:
    assert race_on(ledger, standing_bound(Budget("all", LIMIT)), guarded=True) == LIMIT
    assert [(w.spent, w.held) for w in ledger.windows()] == [(LIMIT * USD, 0)]


def test_without_the_guard_threads_overspend(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "HOLD_GUARDED", sql.HOLD_GUARDED)
    monkeypatch.setattr(batch.Money, "affords", batch.Money.affords)
    ledger.settle(  # all but the last dollar is gone
        ledger.reserve(reservation(ledger, [standing_bound(Budget("all", LIMIT))], (LIMIT - 1) * USD)),
        settlement((LIMIT - 1) * USD),
    )
    monkeypatch.setattr(ledger, "room", all_ask_first(ledger.room, threading.Barrier(RACERS)))
    assert race_on(ledger, standing_bound(Budget("all", LIMIT)), guarded=False) > 1


def test_processes_spend_a_budget_exactly(ledger: Ledger) -> None:
    assert in_processes(Path(ledger.where), "guarded") == LIMIT
    assert [(w.spent, w.held) for w in ledger.windows()] == [(LIMIT * USD, 0)]


def test_without_the_guard_processes_overspend(ledger: Ledger) -> None:
    assert in_processes(Path(ledger.where), "unguarded") > LIMIT


def test_many_windows_are_taken_all_or_none(ledger: Ledger) -> None:
    bounds = [with_budget(ledger, Budget(name, limit)) for name, limit in (("a", 9), ("b", 3), ("c", 6))]
    start = threading.Barrier(RACERS)
    admitted = []

    def racer(number: int) -> None:
        start.wait()
        for turn in range(6):
            some = [bounds[(number + turn) % 3], bounds[(number + turn + 1) % 3]]
            if isinstance(ledger.reserve(reservation(ledger, some)), Grant):
                admitted.append([bound.identity for bound in some])

    threads = [threading.Thread(target=racer, args=(n,)) for n in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, limit in (("a", 9), ("b", 3), ("c", 6)):
        held = sum(name in names for names in admitted)
        assert held <= limit
        [window] = [w for w in ledger.windows() if w.budget == name]
        assert window.held == held * USD


def test_eight_threads_settle_one_call_once(ledger: Ledger) -> None:
    bound = standing_bound(Budget("all", LIMIT))
    for _ in range(10):
        grant = ledger.reserve(reservation(ledger, [bound]))
        assert isinstance(grant, Grant)
        start = threading.Barrier(RACERS)
        answers = []

        def settle(
            grant: Grant = grant, start: threading.Barrier = start, answers: list[bool] = answers
        ) -> None:
            start.wait()
            answers.append(ledger.settle(grant, settlement(USD)))

        threads = [threading.Thread(target=settle) for _ in range(RACERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [False] * (RACERS - 1) + [True]


assert holding.sql is sql
