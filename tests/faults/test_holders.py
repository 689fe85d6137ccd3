"""Other programs that hold the ledger: locked for ten seconds, stopped in the middle, reading for long."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from farthing.errors import LedgerLocked
from farthing.ledger.writing.lock import FileLock
from farthing.records import Budget
from farthing.testing import FakeProvider
from faults.world import COST, PATIENCE, ask, client_of, ended, metered, python, says, spills
from ledger.making import opened, reserved, settlement, with_budget

LOCKS = """
import fcntl, sys
with open(sys.argv[1] + ".lock", "r+b") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    sys.stdin.readline()
"""
TRANSACTION = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("BEGIN IMMEDIATE")
conn.execute("DELETE FROM refusal")
print("locked", flush=True)
sys.stdin.readline()
conn.execute("ROLLBACK")
conn.close()
"""
STOPPED = """
import sys
from ledger.making import *
ledger = opened(sys.argv[1])
def stop(conn, _):
    conn.execute("DELETE FROM refusal")
    print("locked", flush=True)
    sys.stdin.readline()
ledger._write(stop, None, full=False)
print("done", flush=True)
sys.stdin.readline()
"""

CHECKPOINT = 16_000 * 2_072
"""Bytes of the log from which on SQLite writes it back: so many pages, with their heads."""
MOST_LOGGED = 12_000
"""Bytes of it that a call writes, at most."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="flock and SIGSTOP are POSIX")


@pytest.fixture(params=["lock file", "transaction"])
def holder(request: pytest.FixtureRequest, ledger_path: Path) -> Iterator[object]:
    """A program that holds the ledger until it is told to let go."""
    opened(ledger_path).close()
    process = python(LOCKS if request.param == "lock file" else TRANSACTION, ledger_path)
    assert says(process) == "locked"
    yield process
    ended(process)


def let_go(process: object) -> None:
    process.stdin.write("\n")
    process.stdin.flush()
    process.wait(PATIENCE)


def test_what_is_held_for_longer_than_the_timeout_stops_only_what_a_hard_budget_binds(
    ledger_path: Path, holder: object, provider: FakeProvider, home: Path
) -> None:
    with metered(ledger_path, ledger_timeout=0.2) as meter:
        client = client_of(meter, provider)
        assert ask(client).choices
        before = time.monotonic()
        with pytest.raises(LedgerLocked):
            ask(client_of(metered(ledger_path, ledger_timeout=0.2), provider, budget="$5/day"))
        assert time.monotonic() - before < PATIENCE / 4
        assert len(provider.requests) == 1
        assert len(spills(home)) == 1
        let_go(holder)
        meter.engine.ledger.wait_longer(PATIENCE)
        assert ask(client).choices
        assert meter.engine.ledger.totals()[0].calls == 2
        assert meter.engine.ledger.check() == []
    assert spills(home) == []


@pytest.mark.parametrize("holder", ["lock file"], indirect=True)
def test_what_is_held_is_written_all_the_same_without_the_lock_file(
    ledger_path: Path, holder: object, provider: FakeProvider, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(FileLock, "acquire", lambda *_: None)
    monkeypatch.setattr(FileLock, "wait", lambda _: None)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_what_is_held_for_longer_than_the_timeout_stops_only_what_a_hard_budget_binds(
            ledger_path, holder, provider, home
        )


def test_many_threads_wait_a_bounded_time_for_a_holder_and_all_calls_are_booked_in_the_end(
    ledger_path: Path, holder: object, provider: FakeProvider, home: Path
) -> None:
    with metered(ledger_path, ledger_timeout=0.2) as meter:
        client = client_of(meter, provider)
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads)
        assert len(provider.requests) == 16
        let_go(holder)
        meter.engine.ledger.wait_longer(PATIENCE)
        ask(client)
        meter.engine.tick()
        assert meter.engine.ledger.totals()[0].calls == 17
        assert meter.engine.ledger.check() == []


@pytest.mark.slow
def test_a_ledger_that_is_held_for_ten_seconds_is_waited_for(
    ledger_path: Path, holder: object, provider: FakeProvider
) -> None:
    timer = threading.Timer(10, let_go, (holder,))
    timer.start()
    with metered(ledger_path, ledger_timeout=60, budgets=[Budget("all", 5)]) as meter:
        client = client_of(meter, provider)
        ask(client)
        timer.join()
        row = meter.engine.ledger.calls()[0]
        assert (row["cost_nano"], row["flags"]) == (COST, "[]")


def test_a_holder_that_is_stopped_in_its_write_is_waited_for_no_longer_than_the_timeout(
    ledger_path: Path, provider: FakeProvider
) -> None:
    opened(ledger_path).close()
    process = python(STOPPED, ledger_path)
    assert says(process) == "locked"
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with metered(ledger_path, ledger_timeout=0.2, budgets=[Budget("all", 5)]) as meter:
            client = client_of(meter, provider)
            with pytest.raises(LedgerLocked):
                ask(client)
            os.kill(process.pid, signal.SIGCONT)
            process.stdin.write("\n")
            process.stdin.flush()
            assert says(process) == "done"
            meter.engine.ledger.wait_longer(PATIENCE)
            ask(client)
            assert meter.engine.ledger.totals()[0].calls == 1
            assert meter.engine.ledger.check() == []
    finally:
        ended(process)


def test_a_holder_that_is_killed_while_it_is_stopped_leaves_the_ledger_free(ledger_path: Path) -> None:
    opened(ledger_path).close()
    process = python(STOPPED, ledger_path)
    assert says(process) == "locked"
    os.kill(process.pid, signal.SIGSTOP)
    ended(process)
    ledger = opened(ledger_path)
    assert reserved(ledger)
    assert ledger.check() == []
    ledger.close()


def times_begun(log: Path) -> int:
    """How often the log has been started over (https://sqlite.org/fileformat2.html#the_write_ahead_log)."""
    with log.open("rb") as file:
        return int.from_bytes(file.read(16)[12:], "big")


def snapshot_while(path: Path, calls: int) -> int:
    """Bytes of the log after so many calls were written under a reader's snapshot; once that has ended the
    log starts over."""
    log = path.with_name(path.name + "-wal")
    ledger = opened(path)
    bound = with_budget(ledger, Budget("all", 1_000_000))
    ledger.settle(reserved(ledger, [bound]), settlement())
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM calls").fetchone() == (1,)
        for _ in range(calls):
            ledger.settle(reserved(ledger, [bound]), settlement())
        assert reader.execute("SELECT count(*) FROM calls").fetchone() == (1,)
        grown, begun = log.stat().st_size, times_begun(log)
        reader.execute("COMMIT")
    assert ledger.totals()[0].calls == calls + 1
    for _ in range(20):
        ledger.settle(reserved(ledger, [bound]), settlement())
    assert times_begun(log) == begun + 1
    assert log.stat().st_size <= grown
    assert ledger.check() == []
    ledger.close()
    assert not log.exists()
    return grown


def test_a_reader_that_keeps_its_snapshot_neither_stops_writers_nor_sees_them(ledger_path: Path) -> None:
    grown = snapshot_while(ledger_path, CHECKPOINT // 4_000)
    assert CHECKPOINT < grown < CHECKPOINT * 4


@pytest.mark.slow
def test_a_hundred_thousand_calls_under_a_snapshot_grow_the_log_by_what_they_wrote(ledger_path: Path) -> None:
    grown = snapshot_while(ledger_path, 100_000)
    assert grown < 100_000 * MOST_LOGGED
