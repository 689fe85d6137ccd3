"""What a signal handler, a collection or a fork does in the middle of a write or of a question."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from farthing.errors import LedgerLocked
from farthing.forks import Quiet, _Note
from farthing.ledger import Ledger
from farthing.records import Budget
from ledger.making import entry, opened, reservation, reserved, settlement, with_budget

NEVER = 10_000.0
"""Seconds: whoever waits for himself is found by the time that a test may take."""

HERE = [
    ("write", lambda ledger, do: ledger._write(lambda conn, _: do(), None, full=False)),
    ("question", lambda ledger, do: ledger._connections.read(lambda conn: do())),
    ("brief question", lambda ledger, do: ledger._connections.read(lambda conn: do(), brief=True)),
]
Within = Callable[[Ledger, Callable[[], Any]], Any]


@pytest.fixture(params=["memory", "file"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    store = opened(":memory:" if request.param == "memory" else tmp_path / "l.db", timeout=NEVER)
    yield store
    assert store.check() == []
    store.close()


@pytest.mark.parametrize("within", [pytest.param(do, id=name) for name, do in HERE])
def test_closing_from_below_is_refused_and_done_afterwards(ledger: Ledger, within: Within) -> None:
    def close() -> None:
        with pytest.raises(LedgerLocked, match="by this very thread"):
            ledger._connections.close(lambda conn: None)
        with pytest.raises(LedgerLocked, match="by this very thread"):
            type(ledger).__mro__[1].close(ledger)  # of the store itself, whoever else has it open

    within(ledger, close)
    assert ledger.settle(reserved(ledger), settlement())


def test_a_question_below_a_question_is_refused(ledger: Ledger) -> None:
    def ask() -> None:
        with pytest.raises(LedgerLocked, match="by this very thread"):
            ledger.windows()

    ledger._connections.read(lambda conn: ask())
    assert ledger.windows() == []


def test_a_write_below_a_question_is_done(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "l.db", timeout=NEVER)
    ledger._connections.read(lambda conn: ledger.record(entry(ledger)))
    assert len(ledger.calls()) == 1
    ledger.close()


@pytest.mark.parametrize("within", [pytest.param(do, id=name) for name, do in HERE])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_from_below_does_not_wait_for_itself(ledger: Ledger, within: Within) -> None:
    def fork() -> int:
        child = os.fork()
        if child == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert within(ledger, fork) == 7
    assert ledger.settle(reserved(ledger), settlement())
    assert ledger.windows() == []


def test_a_question_is_asked_after_one_that_was_struck_before_its_end(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "l.db")
    ledger.windows()
    reader = ledger._connections._reader
    reader.conn.execute("BEGIN")
    ledger.record(entry(ledger))
    assert len(ledger.calls()) == 1
    assert not reader.conn.in_transaction
    ledger.close()


def test_a_look_does_not_wait_for_a_long_report(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "l.db", timeout=NEVER)
    asked, answered = threading.Event(), threading.Event()

    def report(conn: Any) -> None:
        asked.set()
        assert answered.wait(30)

    thread = threading.Thread(target=ledger._connections.read, args=(report,))
    thread.start()
    assert asked.wait(30)
    assert ledger.look(reservation(ledger).bounds, 0) == []
    answered.set()
    thread.join()
    ledger.close()


def test_of_several_timeouts_a_store_has_the_longest(tmp_path: Path) -> None:
    first = opened(tmp_path / "l.db", timeout=0.2)
    second = opened(tmp_path / "l.db", timeout=3.0)
    assert second._connections.timeout == first._connections.timeout == 3.0
    first.close()
    second.close()


# Locks over a fork


class Struck(BaseException):
    """Of a signal handler."""


def struck_at(number: int, do: Callable[[], None], within: tuple[str, ...]) -> bool:
    """Do it, with a handler that raises before an instruction of these functions; False if there is none."""
    left = number

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal left
        if frame.f_code.co_qualname not in within:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise Struck
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do()
    except Struck:
        return True
    finally:
        sys.settrace(before)
    return False


class Careless(Quiet):
    """Between an answer and its note is an instruction."""

    def take(self, locks: Sequence[Any], timeout: float) -> None:
        note = self._notes[threading.get_ident()] = _Note(locks)
        for lock in locks:
            note.took.append(lock.acquire(timeout=timeout))


@pytest.mark.parametrize("kind", [Quiet, Careless])
def test_locks_taken_for_a_fork_are_given_back_wherever_a_handler_strikes(kind: type[Quiet]) -> None:
    stuck = 0
    for number in itertools.count(1):
        quiet, locks = kind(), (threading.Lock(), threading.Lock())
        struck = struck_at(number, lambda q=quiet, k=locks: q.take(k, 5), (f"{kind.__qualname__}.take",))
        quiet.give_back()
        stuck += any(lock.locked() for lock in locks)
        if not struck:
            break
    assert number > 20
    assert (stuck > 0) is (kind is Careless)


def test_giving_back_may_be_struck_and_asked_again() -> None:
    for number in itertools.count(1):
        quiet, locks = Quiet(), (threading.Lock(), threading.Lock())
        quiet.take(locks, 5)
        assert quiet.is_whole
        struck = struck_at(number, quiet.give_back, ("Quiet.give_back",))
        quiet.give_back()
        assert not any(lock.locked() for lock in locks)
        assert not quiet.is_whole
        if not struck:
            break
    assert number > 10


def test_what_somebody_else_has_is_not_given_back() -> None:
    quiet, locks = Quiet(), (threading.Lock(), threading.Lock(), threading.Lock())
    locks[1].acquire()
    quiet.take(locks, 0)
    assert not quiet.is_whole
    quiet.give_back()
    assert [lock.locked() for lock in locks] == [False, True, False]


def test_threads_that_fork_at_once_give_back_their_own(tmp_path: Path) -> None:
    """While a third one writes, and the first of the two waits for that."""
    ledger = opened(tmp_path / "l.db", timeout=NEVER)
    connections = ledger._connections
    inside, written, first_has, second_gone = (threading.Event() for _ in range(4))

    def write() -> None:
        def slow(conn: Any, _: None) -> None:
            inside.set()
            assert written.wait(30)

        ledger._write(slow, None, full=False)

    def first() -> None:
        connections.before_fork()
        first_has.set()
        assert second_gone.wait(30)
        connections.after_fork_in_parent()

    def second() -> None:
        connections._quiet.take((connections.mutex,), 0)
        assert not connections._quiet.is_whole
        connections.after_fork_in_parent()

    threads = [threading.Thread(target=each) for each in (write, first)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    second()
    written.set()
    assert first_has.wait(30)
    second()
    assert connections.mutex.locked()
    second_gone.set()
    for thread in threads:
        thread.join(30)
    assert not connections.mutex.locked()
    assert ledger.settle(reserved(ledger), settlement())
    ledger.close()


def test_no_instruction_is_run_within_a_statement(tmp_path: Path) -> None:
    """What a handler raised there would be SQLite's error of the statement, and lost."""
    ledger = opened(tmp_path / "l.db")
    bound = with_budget(ledger, Budget("all", 1, alerts=(0.5,)))
    grant = reserved(ledger, [bound])
    within: list[str] = []
    running = False

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal running
        if event in {"c_call", "c_return", "c_exception"} and "execute" in getattr(arg, "__name__", ""):
            running = event == "c_call"
        elif event == "call" and running:
            within.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    try:
        ledger.settle(grant, settlement())
    finally:
        sys.setprofile(None)
    assert within == []
    assert [alert.threshold for alert in ledger.outbox.raised()] == [0.5]
    ledger.close()
