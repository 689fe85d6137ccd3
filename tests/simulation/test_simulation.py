"""Several processes on one ledger agree with a model of it after each step; `campaign.py` takes more."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from farthing.ledger.calls import booking, sql, summing
from farthing.ledger.writing import batch
from simulation.campaign import simulate
from simulation.processes import Died, Herd
from simulation.steps import Simulation

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork, nor kill -9")

STEPS = 1_500


def test_processes_agree_with_the_model_whatever_happens(ledger_path: Path) -> None:
    """Reserves, ends of all kinds, late ones, corrections, budgets that change, time, kills in mid-write."""
    simulation = simulate(ledger_path, 1, STEPS, sums_every=250, forks=False)
    assert len(simulation.model.calls) > STEPS / 5
    assert simulation.done["kill"] > 0


def test_forked_processes_agree_with_the_model(ledger_path: Path) -> None:
    simulate(ledger_path, 2, STEPS, sums_every=250, forks=True)


def unguarded() -> None:
    sql.HOLD_GUARDED = sql.HOLD
    batch.Money.affords = lambda *_: True


def free_what_the_dead_held() -> None:
    expire = booking._expire
    booking._expire = lambda conn, now, dead: expire(conn, now, [(*row[:-1], 0) for row in dead])


def keep_holds() -> None:
    sql.BOOK_WINDOW = sql.BOOK_WINDOW.replace("held = held - ?1", "held = held - ?1 + (?1 > 85)")


def leave_out_what_ends_late() -> None:
    sql.BOOK = sql.BOOK.replace(f"AND seq >= ({summing.SUMMED})", "")


def add_twice() -> None:
    summing._MOVE = "UPDATE meta SET number = number WHERE ? AND key = 'summed'"


@pytest.mark.parametrize(
    "fault", [unguarded, free_what_the_dead_held, keep_holds, leave_out_what_ends_late, add_twice]
)
def test_a_ledger_with_a_fault_differs_from_the_model(ledger_path: Path, fault: Callable[[], None]) -> None:
    """The control."""
    with pytest.raises(AssertionError):
        simulate(ledger_path, 3, STEPS, prepare=fault, forks=False)


@pytest.mark.parametrize(
    "kind",
    [
        Simulation.pass_time,
        Simulation.change_limit,
        Simulation.redefine,
        Simulation.remove,
        Simulation.kill,
        Simulation.fork,
        Simulation.reopen,
    ],
)
def test_a_step_that_moves_no_money_is_compared_at_once_too(
    ledger_path: Path, kind: Callable[[Simulation], None]
) -> None:
    """So that a difference is put down to the step that made it, not to the next one."""
    herd = Herd(ledger_path)
    try:
        simulation = Simulation(herd, 4)
        for _ in range(100):
            simulation.step()
        with closing(sqlite3.connect(ledger_path, isolation_level=None)) as conn:
            conn.execute("UPDATE budget_window SET spent = spent + 1")
        with pytest.raises(AssertionError, match="is true of"):
            simulation.step(kind)
    finally:
        herd.close()


def test_a_herd_leaves_alone_whoever_has_the_number_of_one_that_has_ended(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of processes are given out again; a long simulation has had many."""
    herd = Herd(ledger_path)
    ended, alive = herd.start(), herd.start()
    assert ended.kill() is None
    signalled, kill = [], os.kill
    monkeypatch.setattr(os, "kill", lambda pid, number: signalled.append(pid) or kill(pid, number))
    herd.close()
    assert ended.pid not in signalled
    with pytest.raises(Died):
        alive.end()
