"""Processes that fork, and processes that are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from farthing.ledger import Ledger
from farthing.ledger.store import Grant
from farthing.records import Budget
from ledger.making import HOUR, NOON, USD, opened, python, reservation, reserved, settlement, with_budget

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fork and kill -9 are POSIX")

WORKER = """
import sys, threading, itertools
from ledger.making import *
ledger = opened(sys.argv[1])
bound = standing_bound(Budget("all", 1_000_000))
def work():
    while True:
        grant = ledger.reserve(reservation(ledger, [bound]))
        os.write(1, f"r {grant.reservation.id}\\n".encode())
        ledger.settle(grant, settlement(USD // 2))
        os.write(1, f"s {grant.reservation.id}\\n".encode())
for _ in range(8):
    threading.Thread(target=work, daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("lines", [1, 40, 333])
def test_nothing_acknowledged_is_lost_when_a_process_is_killed(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "ledger.db"
    ledger = opened(path)
    with_budget(ledger, Budget("all", 1_000_000))
    acknowledged: list[str] = []
    for _ in range(2):
        process = python(WORKER, path)
        assert process.stdout
        for _ in range(lines):
            acknowledged += [process.stdout.readline()]
        process.send_signal(signal.SIGKILL)
        rest, errors = process.communicate(timeout=60)
        assert errors == ""
        acknowledged += rest.splitlines(keepends=True)
    acknowledged = [line for line in acknowledged if line.endswith("\n")]
    reserved_ids = {line.split()[1] for line in acknowledged if line.startswith("r")}
    settled_ids = {line.split()[1] for line in acknowledged if line.startswith("s")}

    assert ledger.check() == []
    rows = {row["id"]: row for row in ledger.calls(limit=10**6)}
    assert settled_ids <= rows.keys()
    facts = ledger.facts()
    [window] = ledger.windows()
    assert window.held == facts["open_calls"] * USD
    assert window.spent == len(rows) * USD // 2
    assert facts["rows"]["call"] >= len(reserved_ids | settled_ids)

    assert ledger.expire(NOON + HOUR) == facts["open_calls"]
    assert ledger.check() == []
    rows = {row["id"]: row for row in ledger.calls(limit=10**6)}
    assert reserved_ids | settled_ids <= rows.keys()
    assert {rows[name]["outcome"] for name in settled_ids} <= {"complete"}
    assert {row["outcome"] for name, row in rows.items() if name not in settled_ids} <= {
        "complete",
        "expired",
    }
    assert [(w.held, w.spent) for w in ledger.windows()] == [
        (0, window.spent + facts["open_calls"] * USD),
    ]
    ledger.close()


def test_a_process_killed_while_it_opens_leaves_a_ledger_that_opens(tmp_path: Path) -> None:
    code = "import sys; from ledger.making import *; print('x', flush=True); opened(sys.argv[1])"
    for number in range(4):
        path = tmp_path / f"{number}.db"
        process = python(code, path)
        assert process.stdout
        process.stdout.readline()
        time.sleep(number * 0.008)  # no synchronisation: a different point each time, all of them right
        process.kill()
        process.communicate(timeout=60)
        ledger = opened(path)
        assert reserved(ledger)
        assert ledger.check() == []
        ledger.close()


def in_child(work: object) -> int:
    """The exit status of a forked child that runs `work` and then leaves as a program does."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    store = opened(tmp_path / "ledger.db")
    yield store
    assert store.check() == []
    store.close()


def test_parent_and_forked_child_both_write(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 10))
    before = reserved(ledger, [bound])
    parent_owner = ledger._owner.id

    def child() -> None:
        grant = reserved(ledger, [bound])
        assert ledger._owner.id != parent_owner
        assert ledger.settle(grant, settlement(USD))
        assert ledger.totals()[0].calls == 1
        reserved(ledger, [bound])

    assert in_child(child) == 0
    assert ledger.settle(before, settlement(USD))
    assert [(w.spent, w.held) for w in ledger.windows()] == [(2 * USD, USD)]


def test_a_childs_exit_neither_unlocks_nor_deletes_what_is_the_parents(ledger: Ledger) -> None:
    def grandchild() -> None:
        reserved(ledger)

    def child() -> None:
        reserved(ledger)
        assert in_child(grandchild) == 0
        ledger.close()

    for _ in range(5):
        reserved(ledger)
        assert in_child(child) == 0
    wal = Path(ledger.where + "-wal")
    assert wal.exists()
    code = "import sys; from ledger.making import *; l = opened(sys.argv[1]); reserved(l); l.close()"
    assert python(code, ledger.where).communicate(timeout=60) == ("", "")
    assert ledger.facts()["rows"]["call"] == 16


def test_a_child_that_only_exits_leaves_the_ledger_alone(tmp_path: Path) -> None:
    """With the interpreter's own finalisation, which closes what it finds."""
    code = """
import os, sys
from ledger.making import *
ledger = opened(sys.argv[1])
for _ in range(5):
    reserved(ledger)
pid = os.fork()
if pid == 0:
    sys.exit(0)
os.waitpid(pid, 0)
reserved(ledger)
print(ledger.facts()["rows"]["call"], ledger.check(), os.path.exists(sys.argv[1] + "-wal"))
"""
    assert python(code, tmp_path / "l.db").communicate(timeout=60) == ("6 [] True\n", "")


def test_calls_of_a_child_expire_with_its_own_lease(ledger: Ledger) -> None:
    assert in_child(lambda: reserved(ledger)) == 0
    mine = reserved(ledger)
    ledger.renew(NOON + HOUR)
    assert ledger.expire(NOON + HOUR) == 1
    assert ledger.settle(mine, settlement())


def test_a_fork_under_load_neither_hangs_nor_tears(ledger: Ledger) -> None:
    code = """
import os, sys, threading, warnings
from ledger.making import *
warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
ledger = opened(sys.argv[1])
stop = threading.Event()
def work():
    while not stop.is_set():
        ledger.settle(reserved(ledger), settlement())
def read():
    while not stop.is_set():
        ledger.totals()
threads = [threading.Thread(target=each) for each in (work, work, read, read)]
[t.start() for t in threads]
failed = 0
for _ in range(15):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ledger.settle(reserved(ledger), settlement()); ledger.totals(); status = 0
        finally:
            os._exit(status)
    failed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
stop.set()
[t.join() for t in threads]
print(failed, ledger.check())
"""
    output, errors = python(code, ledger.where).communicate(timeout=90)
    assert (output, errors) == ("0 []\n", "")


def _in_pool(path: str) -> int:
    ledger = opened(path)
    answer = ledger.reserve(reservation(ledger))
    assert isinstance(answer, Grant)
    ledger.settle(answer, settlement())
    return os.getpid()


def test_multiprocessing_children_write(ledger: Ledger) -> None:
    reserved(ledger)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pids = set(pool.map(_in_pool, [ledger.where] * 12))
    assert os.getpid() not in pids
    assert ledger.totals()[0].calls == 12


def test_a_memory_ledger_is_the_childs_own_copy() -> None:
    ledger = opened(":memory:")
    reserved(ledger)

    def child() -> None:
        reserved(ledger)
        assert ledger.facts()["rows"]["call"] == 2

    assert in_child(child) == 0
    assert ledger.facts()["rows"]["call"] == 1
    ledger.close()
