"""Threads that write at the same time: one writes for all, and does for each what each asked."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from farthing.errors import LedgerError, LedgerLocked, TransactionConflict
from farthing.ledger import Ledger, open_ledger
from farthing.ledger.sqlite import SqliteLedger
from farthing.ledger.store import Grant, Short, Stale
from farthing.ledger.writing import batch, writer
from farthing.ledger.writing.lock import FileLock
from farthing.records import Budget
from ledger.making import USD, Clock, entry, opened, python, reservation, reserved, settlement, with_budget

PATIENCE = 30
BEGUN = 3.0
"""Seconds after which a caller goes, by when the writer's thread has surely begun what he asked."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    store = opened(path)
    yield store
    store.close()
    again = opened(path)
    assert again.check() == []
    again.close()


@contextmanager
def locked(ledger: Ledger) -> Iterator[None]:
    """Another program is writing."""
    with Path(f"{ledger.where}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Asked:
    """Threads that each ask one thing; their answers or errors in the order of the questions."""

    def __init__(self, ledger: Ledger, *questions: Callable[[], Any]) -> None:
        self.ledger = ledger
        self.answers: list[Any] = [None] * len(questions)
        self.threads = []
        for number, question in enumerate(questions):
            thread = threading.Thread(target=self._ask, args=(number, question))
            self.threads.append(thread)
            thread.start()
            until(lambda number=number: queued(ledger) > number or not self.threads[number].is_alive())

    def _ask(self, number: int, question: Callable[[], Any]) -> None:
        try:
            self.answers[number] = question()
        except BaseException as error:  # noqa: BLE001  for the test to judge
            self.answers[number] = error

    def all(self) -> list[Any]:
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        return self.answers


def queued(ledger: Ledger) -> int:
    """Writes that wait; the first of them is in the hands of the thread that waits for the lock file."""
    waiting = ledger._writer
    return waiting._queue.qsize() + (1 if waiting._queueing else 0)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def kinds(answers: list[Any]) -> list[type]:
    return [type(answer) for answer in answers]


def test_what_queues_up_while_another_program_writes_is_one_commit_in_its_order(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 3))
    grant = reserved(ledger, [bound], 2 * USD)
    done: list[str] = []
    with locked(ledger):
        asked = Asked(
            ledger,
            lambda: ledger.reserve(reservation(ledger, [bound], 2 * USD)),
            lambda: ledger.settle(grant, settlement(USD)),
            *[lambda: ledger.reserve(reservation(ledger, [bound])) for _ in range(4)],
        )
        ledger._connections._conn.set_trace_callback(done.append)
    answers = asked.all()
    ledger._connections._conn.set_trace_callback(None)
    assert kinds(answers) == [Short, bool, Grant, Grant, Short, Short]
    assert done.count("COMMIT") == 1
    assert sum(statement.startswith("UPDATE budget_window SET held") for statement in done) == 1
    [window] = ledger.windows()
    assert (window.spent, window.held) == (USD, 2 * USD)


@pytest.mark.parametrize("counts", [True, False], ids=["counted", "control"])
def test_calls_of_one_commit_see_what_the_ones_before_have_taken(
    path: Path, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked against what is stored alone, all of them fit: the control."""
    ledger = opened(path)
    bound = with_budget(ledger, Budget("all", 5))
    reserved(ledger, [bound])
    if not counts:
        real = batch.Batch.begin

        def forgetful(self: batch.Batch, row: Any, held: int, taken: Any) -> None:
            real(self, row, held, taken)
            for place, _ in taken:
                self._windows[place.id].held -= held

        monkeypatch.setattr(batch.Batch, "begin", forgetful)
    with locked(ledger):
        asked = Asked(ledger, *[lambda: ledger.reserve(reservation(ledger, [bound])) for _ in range(8)])
    granted = kinds(asked.all()).count(Grant)
    assert (granted == 4) is counts
    assert (ledger.windows()[0].held <= 5 * USD) is counts
    ledger.close()


def test_an_error_of_one_is_its_callers_and_fails_no_other(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 9))
    there = reserved(ledger, [bound])
    huge, fine = reserved(ledger, [bound]), reserved(ledger, [bound])
    with locked(ledger):
        asked = Asked(
            ledger,
            lambda: ledger.reserve(reservation(ledger, [bound])),
            lambda: ledger.reserve(reservation(ledger, [bound], id=there.reservation.id)),
            lambda: ledger.settle(huge, settlement(2**70)),
            lambda: ledger.settle(fine, settlement()),
            lambda: ledger.reserve(reservation(ledger, [bound], started_ns=-1)),
            lambda: ledger.reserve(reservation(ledger, [bound])),
        )
    assert kinds(asked.all()) == [Grant, ValueError, LedgerError, bool, LedgerError, Grant]
    [window] = ledger.windows()
    assert (window.spent, window.held) == (USD // 2, 4 * USD)


def test_one_that_fails_is_taken_back_whole(ledger: Ledger) -> None:
    wide, narrow = with_budget(ledger, Budget("wide", 50)), with_budget(ledger, Budget("narrow", 3))
    reserved(ledger, [wide, narrow], transaction_id="known")
    wants = [reservation(ledger, [wide, narrow], transaction_id=name) for name in ("one", "known", "two")]
    with locked(ledger):
        asked = Asked(ledger, *[lambda want=want: ledger.reserve(want) for want in wants])
    assert kinds(asked.all()) == [Grant, TransactionConflict, Grant]
    assert [(window.spent, window.held) for window in ledger.windows()] == [(0, 3 * USD)] * 2


def test_writes_of_other_kinds_are_done_in_their_place(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 9))
    with locked(ledger):
        asked = Asked(
            ledger,
            lambda: ledger.reserve(reservation(ledger, [bound])),
            lambda: ledger.set_budget(Budget("all", 8), origin="code"),
            lambda: ledger.reserve(reservation(ledger, [bound])),
            lambda: ledger.record(entry(ledger, [bound])),
        )
    assert kinds(asked.all()) == [Grant, type(None), Stale, tuple]
    [window] = ledger.windows()
    assert (window.limit, window.spent, window.held) == (8 * USD, USD, USD)


def test_whoever_waits_too_long_has_an_error_of_his_own_and_nothing_is_done_later(path: Path) -> None:
    ledger = opened(path, timeout=0.3)
    bound = with_budget(ledger, Budget("all", 9))
    grant = reserved(ledger, [bound])
    with locked(ledger):
        asked = Asked(
            ledger,
            *[lambda: ledger.reserve(reservation(ledger, [bound])) for _ in range(3)],
            lambda: ledger.settle(grant, settlement()),
        )
        answers = asked.all()
    assert kinds(answers) == [LedgerLocked] * 4
    assert len({id(answer) for answer in answers}) == 4
    ledger.wait_longer(PATIENCE)
    ledger._writer.stop()
    [window] = ledger.windows()
    assert (window.spent, window.held) == (0, USD)
    assert ledger.settle(grant, settlement())
    ledger.close()


@pytest.mark.parametrize("undone", [True, False], ids=["undone", "control"])
def test_a_reserve_that_is_committed_after_its_caller_has_gone_is_voided(
    path: Path, undone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = opened(path, timeout=BEGUN)
    bound = with_budget(ledger, Budget("all", 9))
    reserved(ledger, [bound], 0)
    hold, gone = SqliteLedger._hold, threading.Event()

    def slow(self: SqliteLedger, conn: sqlite3.Connection, want: Any) -> Any:
        answer = hold(self, conn, want)
        assert gone.wait(PATIENCE)
        return answer

    monkeypatch.setattr(SqliteLedger, "_hold", slow)
    if not undone:
        monkeypatch.setattr(writer.Writer, "_undo", lambda *_: None)
    want = reservation(ledger, [bound])
    with locked(ledger):
        asked = Asked(ledger, lambda: ledger.reserve(want))
    assert kinds(asked.all()) == [LedgerLocked]
    gone.set()
    ledger._writer.stop()
    assert (ledger.windows()[0].held == 0) is undone
    assert ledger.facts()["open_calls"] == (1 if undone else 2)
    ledger.close()


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_a_record_that_has_been_begun_is_waited_for(
    path: Path, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing takes it back. Whom the control tells that it failed does it once more."""
    ledger = opened(path, timeout=BEGUN)
    record, give_up, late = SqliteLedger._record, writer.Writer._gave_up, threading.Event()

    def slow(self: SqliteLedger, conn: sqlite3.Connection, one: Any) -> Any:
        assert late.wait(PATIENCE)
        return record(self, conn, one)

    def seen(self: writer.Writer, slot: Any) -> bool:
        if guarded:
            late.set()
        return give_up(self, slot)

    monkeypatch.setattr(SqliteLedger, "_record", slow)
    monkeypatch.setattr(writer.Writer, "_gave_up", seen)
    if not guarded:
        monkeypatch.setattr(SqliteLedger, "can_be_left", lambda *_: True)
    with locked(ledger):
        asked = Asked(ledger, lambda: ledger.record(entry(ledger)))
    [answer] = asked.all()
    late.set()
    ledger._writer.stop()
    assert (type(answer) is LedgerLocked) is not guarded
    assert len(ledger.calls()) == 1
    ledger.close()


def test_closing_waits_for_no_thread_that_came_too_late(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that raises while a thread is started has another one started."""
    monkeypatch.setattr(writer, "_IDLE", PATIENCE)
    ledger = opened(path, timeout=PATIENCE / 2)
    for _ in range(3):
        ledger._writer._thread = None
        ledger._writer._start()
    closing = threading.Thread(target=ledger.close)
    closing.start()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert ledger._writer._alone


def test_one_write_that_must_reach_the_disk_makes_all_of_its_commit_reach_it(path: Path) -> None:
    ledger = open_ledger(path, clock=Clock(), durability="safe")
    bound = with_budget(ledger, Budget("all", 9))
    reserved(ledger, [bound])
    free = reserved(ledger)
    modes: list[int] = []

    def mode(conn: sqlite3.Connection) -> int:
        return int(conn.execute("PRAGMA synchronous").fetchone()[0])

    connections = ledger._connections
    on_commit = connections.on_commit

    def noted() -> None:
        modes.append(mode(connections._conn))
        on_commit()

    connections.on_commit = noted
    with locked(ledger):
        normal = Asked(ledger, *[lambda: ledger.reserve(reservation(ledger)) for _ in range(3)])
    normal.all()
    until(lambda: not ledger._writer._queueing)
    with locked(ledger):
        mixed = Asked(
            ledger,
            lambda: ledger.settle(free, settlement()),
            lambda: ledger.reserve(reservation(ledger, [bound])),
            lambda: ledger.reserve(reservation(ledger)),
        )
    mixed.all()
    connections.on_commit = on_commit
    ledger.close()
    assert modes[:1] == [1]
    assert modes[-1:] == [2]


def test_in_a_strict_ledger_every_commit_reaches_the_disk(path: Path) -> None:
    first = open_ledger(path, clock=Clock(), durability="fast")
    ledger = open_ledger(path, clock=Clock(), durability="strict")
    assert ledger is first
    conn = ledger._connections._conn
    modes = []
    for write in (
        lambda: reserved(ledger),
        lambda: ledger.settle(reserved(ledger), settlement()),
        lambda: ledger.refused(day_ns=0, account="a", model="m", budget="b", reason="r"),
    ):
        write()
        modes.append(conn.execute("PRAGMA synchronous").fetchone()[0])
    assert modes == [2, 2, 2]
    assert ledger.facts()["durability"] == "strict"
    ledger.close()
    first.close()


def test_the_thread_ends_when_nobody_queues_and_another_is_started(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_IDLE", 0.01)
    for _ in range(3):
        with locked(ledger):
            asked = Asked(ledger, *[lambda: ledger.reserve(reservation(ledger)) for _ in range(2)])
            thread = ledger._writer._thread
        assert kinds(asked.all()) == [Grant] * 2
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert not ledger._writer._queueing


def test_a_caller_that_is_alone_needs_no_thread(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 9))
    assert ledger.settle(reserved(ledger, [bound]), settlement())
    assert ledger._writer._thread is None


def test_where_no_thread_can_be_started_callers_write_for_themselves(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    connections, answers = ledger._connections, []
    with monkeypatch.context() as patch:
        patch.setattr(FileLock, "acquire", busy_once(FileLock.acquire))
        patch.setattr(threading.Thread, "start", cannot)
        answers.append(ledger.reserve(reservation(ledger)))
    assert kinds(answers) == [Grant]
    assert not connections.mutex.locked()


def busy_once(acquire: Callable[[FileLock, float | None], None]) -> Callable[[FileLock, float | None], None]:
    def impatient(self: FileLock, deadline: float | None) -> None:
        if deadline is None:
            raise writer.Busy
        acquire(self, deadline)

    return impatient


def test_a_write_from_below_the_writing_thread_is_refused_at_once(ledger: Ledger) -> None:
    """A finalizer that waited for the thread that runs it would wait for ever."""
    refused: list[BaseException] = []

    def below(conn: sqlite3.Connection, _: None) -> None:
        assert ledger.writing_here()
        with pytest.raises(LedgerLocked) as caught:
            ledger.reserve(reservation(ledger))
        refused.append(caught.value)

    with locked(ledger):
        asked = Asked(ledger, lambda: ledger._write(below, None, full=False))
    asked.all()
    ledger._write(below, None, full=False)
    assert len(refused) == 2
    assert not ledger.writing_here()


def test_closing_does_what_is_queued(path: Path) -> None:
    ledger = opened(path)
    with locked(ledger):
        asked = Asked(ledger, *[lambda: ledger.reserve(reservation(ledger)) for _ in range(3)])
        closing = threading.Thread(target=ledger.close)
        closing.start()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert kinds(asked.all()) == [Grant] * 3
    again = opened(path)
    assert again.facts()["open_calls"] == 3
    again.close()


def in_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_has_a_queue_and_a_thread_of_its_own(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 9))

    def contend() -> None:
        with locked(ledger):
            asked = Asked(ledger, *[lambda: ledger.reserve(reservation(ledger, [bound])) for _ in range(2)])
        assert kinds(asked.all()) == [Grant] * 2

    def contend_in_child() -> None:
        assert ledger.release(reserved(ledger, [bound]))  # which opens the ledger
        contend()

    contend()
    assert in_child(contend_in_child) == 0
    contend()
    assert ledger.windows()[0].held == 6 * USD


@pytest.mark.parametrize("guarded", [True, False], ids=["closed", "control"])
def test_a_fork_while_the_thread_holds_the_lock_file_unlocks_nothing(
    ledger: Ledger, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child shares the open file: if it unlocks instead of closing it, others write: the control."""
    if not guarded:
        close = FileLock.close

        def unlocking(self: FileLock) -> None:
            self.release()
            close(self)

        monkeypatch.setattr(FileLock, "close", unlocking)
    waiting, go = threading.Event(), threading.Event()
    wait = FileLock.wait

    def held(self: FileLock) -> None:
        wait(self)
        waiting.set()
        assert go.wait(PATIENCE)

    monkeypatch.setattr(FileLock, "wait", held)
    with locked(ledger):
        asked = Asked(ledger, *[lambda: ledger.reserve(reservation(ledger)) for _ in range(2)])
    assert waiting.wait(PATIENCE)
    assert in_child(lambda: None) == 0
    with Path(f"{ledger.where}.lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = False
        except BlockingIOError:
            is_held = True
    go.set()
    assert kinds(asked.all()) == [Grant] * 2
    assert is_held is guarded


EXITING = """
import sys, threading
from ledger.making import *
ledger = opened(sys.argv[1])
bound = standing_bound(Budget("all", 10**6))
stop, started = threading.Event(), threading.Barrier(9)
def work():
    started.wait()
    while not stop.is_set():
        ledger.settle(reserved(ledger, [bound]), settlement())
for _ in range(8):
    threading.Thread(target=work, daemon=True).start()
started.wait()
sys.stdin.readline()
import atexit
atexit.register(lambda: print("left", flush=True))
"""


def test_a_program_ends_while_its_threads_write(ledger: Ledger) -> None:
    with_budget(ledger, Budget("all", 10**6))
    process = python(EXITING, ledger.where)
    output, errors = process.communicate("\n", timeout=PATIENCE)
    assert (process.returncode, output, errors) == (0, "left\n", "")
    assert ledger.check() == []


STRUCK = """
import random, signal, sys, threading
from ledger.making import *

class Struck(BaseException):
    pass

def strike(*_):
    raise Struck

ledger = opened(sys.argv[1])
bound = with_budget(ledger, Budget("all", 10**6))
stop = threading.Event()
def work():
    while not stop.is_set():
        ledger.settle(reserved(ledger, [bound]), settlement())
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
signal.signal(signal.SIGALRM, strike)
rng, struck = random.Random(11), 0
while struck < 400:
    want = reservation(ledger, [bound])
    try:
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(20e-6, 2e-3))
        grant = ledger.reserve(want)
        signal.setitimer(signal.ITIMER_REAL, 0)
        ledger.settle(grant, settlement())
    except Struck:
        struck += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        ledger.give_up(want.id)
stop.set()
for thread in threads:
    thread.join()
ledger.give_up("nobody")
print(ledger.facts()["open_calls"], ledger.windows()[0].held, ledger.check())
ledger.close()
"""


def test_whatever_strikes_a_caller_that_waits_no_hold_is_left(path: Path) -> None:
    process = python(STRUCK, path)
    output, errors = process.communicate(timeout=4 * PATIENCE)
    assert (output, errors) == ("0 0 []\n", "")
