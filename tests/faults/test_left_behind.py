"""What a struck write, or a fork that could not wait, leaves behind keeps nobody from the ledger."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing.errors import LedgerLocked
from farthing.ledger import Ledger
from farthing.ledger.writing.connection import Connections
from farthing.ledger.writing.lock import FileLock, try_lock
from farthing.records import Budget
from faults.world import PATIENCE, python
from ledger.making import opened, reserved, settlement, with_budget

give_back = Connections.give_back


@pytest.fixture
def ledger(ledger_path: Path) -> Iterator[Ledger]:
    ledger = opened(ledger_path)
    with_budget(ledger, Budget("all", 1_000))
    yield ledger
    ledger.close()


def is_free(ledger: Ledger) -> bool:
    """Whether another program could write now."""
    fd = os.open(f"{ledger.where}.lock", os.O_RDWR)
    try:
        return try_lock(fd)
    finally:
        os.close(fd)


def struck_before_its_release(patch: pytest.MonkeyPatch) -> None:
    """The next write is struck after its commit, where a signal handler may: before the lock file is free."""
    release = FileLock.release

    def struck(lock: FileLock) -> None:
        patch.setattr(FileLock, "release", release)
        raise KeyboardInterrupt

    patch.setattr(FileLock, "release", struck)


def gives_nothing_back(*_: object) -> None:
    """The control."""


@pytest.mark.skipif(sys.platform == "win32", reason="a lock there is of the process")
@pytest.mark.parametrize("given_back", [True, False], ids=["given_back", "control"])
def test_a_write_struck_between_its_commit_and_its_end_leaves_the_lock_file_free(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, given_back: bool
) -> None:
    grant = reserved(ledger)
    if not given_back:
        monkeypatch.setattr(Connections, "give_back", gives_nothing_back)
    struck_before_its_release(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        ledger.settle(grant, settlement())
    assert is_free(ledger) is given_back
    assert [row["outcome"] for row in ledger.calls()] == ["complete"]
    assert not ledger.settle(grant, settlement())
    assert is_free(ledger)


def left_locked(ledger: Any) -> FileLock:
    """As if a write had been struck, and what was to give the lock file back as well."""
    lock: FileLock = ledger._connections._lock
    lock.acquire(None)
    ledger._writer._queueing = True  # others wait, so that the thread is asked
    return lock


@pytest.mark.skipif(sys.platform == "win32", reason="a lock there is of the process")
@pytest.mark.parametrize("given_back", [True, False], ids=["given_back", "control"])
def test_the_writer_does_not_wait_for_a_lock_that_its_own_process_has_left(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch, given_back: bool
) -> None:
    ledger = opened(ledger_path, timeout=PATIENCE if given_back else 0.2)
    reserved(ledger)
    if not given_back:
        monkeypatch.setattr(Connections, "give_back", gives_nothing_back)
    lock = left_locked(ledger)
    if given_back:
        assert reserved(ledger)
    else:
        with pytest.raises(LedgerLocked):
            reserved(ledger)
    lock.release()
    ledger.close()


@pytest.mark.skipif(sys.platform == "win32", reason="a lock there is of the process")
@pytest.mark.parametrize("given_back", [True, False], ids=["given_back", "control"])
def test_whoever_waited_too_long_frees_a_lock_that_its_own_process_has_left_meanwhile(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch, given_back: bool
) -> None:
    ledger = opened(ledger_path, timeout=0.2)
    reserved(ledger)

    def after_the_writer_looked(connections: Connections) -> None:
        monkeypatch.setattr(Connections, "give_back", give_back if given_back else gives_nothing_back)

    monkeypatch.setattr(Connections, "give_back", after_the_writer_looked)
    lock = left_locked(ledger)
    with pytest.raises(LedgerLocked):
        reserved(ledger)
    if given_back:
        ledger.wait_longer(PATIENCE)
        assert reserved(ledger)
    else:
        assert not is_free(ledger)
        with pytest.raises(LedgerLocked):
            reserved(ledger)
    lock.release()
    ledger.close()


STARTS_ANOTHER = """
import os, subprocess, sys
from ledger.making import opened
lock = opened(sys.argv[1])._connections._lock
if sys.argv[2] == "inherited":
    os.set_inheritable(lock._fd, True)
lock.acquire(None)
subprocess.Popen([sys.executable, "-c", "print('up', flush=True); input()"], close_fds=False)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a lock there is of the process")
@pytest.mark.parametrize("how", ["closed", "inherited"], ids=["closed", "control"])
def test_a_program_that_was_started_in_a_write_does_not_hold_the_lock_file(ledger: Ledger, how: str) -> None:
    """It outlives its parent, which is killed."""
    process = python(STARTS_ANOTHER, ledger.where, how)
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    assert not is_free(ledger)
    process.kill()
    process.wait(PATIENCE)
    assert is_free(ledger) is (how == "closed")
    process.stdin.write("\n")
    process.stdin.close()
    process.stdout.read()  # until the other has ended, too
    process.stdout.close()


FORKING = """
import os, signal, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
os.register_at_fork(after_in_child=lambda: signal.alarm(int(sys.argv[3])))  # the child may hang as it starts
from farthing.ledger.writing import connection
from ledger.making import opened, reserved, settlement
if sys.argv[2] == "closes":
    connection.leave_alone = lambda conn: conn.close()
ledger = opened(sys.argv[1], timeout=0.1)
reserved(ledger)
inside, go = threading.Event(), threading.Event()

def pause():
    inside.set()
    go.wait(60)
    return 1

def question(conn):
    conn.create_function("pause", 0, pause)
    return conn.execute("SELECT pause()").fetchone()[0]

answers = []
thread = threading.Thread(target=lambda: answers.append(ledger._connections.read(question)))
thread.start()
inside.wait(60)
pid = os.fork()  # a thread is within SQLite, for longer than a fork waits
if pid == 0:
    ledger.settle(reserved(ledger), settlement())
    os._exit(7)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
go.set()
thread.join()
ledger.settle(reserved(ledger), settlement())
print(code, answers, ledger.totals()[0].calls, ledger.check(), flush=True)
ledger.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize(("how", "seconds"), [("leaks", 60), ("closes", 2)], ids=["leaked", "control"])
def test_a_child_forked_in_the_middle_of_a_read_touches_nothing_of_it(
    ledger_path: Path, how: str, seconds: int
) -> None:
    """Its close would wait for ever for the parent's thread, which the child does not have."""
    process = python(FORKING, ledger_path, how, seconds)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    ended, calls = (7, 2) if how == "leaks" else (-signal.SIGALRM, 1)
    assert output == f"{ended} [1] {calls} []\n"


def test_the_lock_file_is_free_after_a_process_was_killed_in_a_write(ledger_path: Path) -> None:
    opened(ledger_path).close()
    process = python(
        """
import sys, time
from ledger.making import opened
ledger = opened(sys.argv[1])
def stuck(conn, argument):
    print("in", flush=True)
    time.sleep(3600)
ledger._write(stuck, None, full=False)
""",
        ledger_path,
    )
    assert process.stdout
    assert process.stdout.readline() == "in\n"
    process.kill()
    process.communicate(timeout=PATIENCE)
    ledger = opened(ledger_path, timeout=PATIENCE)
    assert reserved(ledger)
    assert ledger.check() == []
    ledger.close()
