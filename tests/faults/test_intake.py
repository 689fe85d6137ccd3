"""What was spilled is booked before the next reserve: whoever takes it in, whatever strikes, whatever else
lies beside it."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from farthing import InsufficientCredits, LedgerError, Meter
from farthing.engine import intake
from farthing.errors import LedgerLocked
from farthing.ledger import open_ledger
from farthing.ledger.spilled import Spilled
from farthing.ledger.upkeep import spill, taking_in
from farthing.records import Budget
from faults.world import COST, PATIENCE, SPILLS_AN_END, ended, metered, python, says, spills
from ledger.making import NOON, USD, Clock, attached_bound, opened, reservation, settlement

CENTS = 10_000_000
TEN = {"model": "gpt-4o", "amount": "0.1"}
"""Of a limit of $1."""


class Struck(BaseException):
    """What the handler of SIGINT raises."""


@pytest.fixture
def interrupts() -> Iterator[None]:
    def handler(*_: object) -> None:
        raise Struck

    before = signal.signal(signal.SIGINT, handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def outage(meter: Meter) -> Iterator[None]:
    def fails(*_: object, **__: object) -> object:
        raise LedgerLocked("held")

    with pytest.MonkeyPatch.context() as broken:
        for verb in ("reserve", "settle", "take_in", "look", "together", "at_once"):
            broken.setattr(meter.engine.ledger, verb, fails)
        yield


def spend(meter: Meter, calls: int) -> None:
    """Calls of ten cents."""
    for _ in range(calls):
        meter.reserve(**TEN).settle({"input_tokens": 0, "output_tokens": 10_000})


def spent(meter: Meter) -> list[tuple[int, int]]:
    return [(window.spent, window.held) for window in meter.engine.ledger.windows()]


@pytest.fixture
def tight(ledger_path: Path, home: Path) -> Iterator[Meter]:
    """Nine tenths of its budget have been spilled."""
    with metered(ledger_path, on_ledger_error="allow", budgets=[Budget("all", 1, "total")]) as meter:
        meter.warm()
        with outage(meter):
            spend(meter, 9)
        assert len(spills(home)) == 1
        yield meter


def refuse(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs the ledger, from now on."""
    guard = meter.engine.guard
    monkeypatch.setattr(guard, "allows", False)
    monkeypatch.setattr(guard, "policies", replace(guard.policies, on_ledger_error="refuse"))


def in_thread(work: Callable[[], object]) -> object:
    """What another thread gets, or is raised there."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001  for the test to judge
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    [answer] = found
    return answer


# What strikes


class Lock:
    """One whose taking is struck, once."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._strikes = True

    def acquire(self, **how: Any) -> bool:
        taken: bool = self._lock.acquire(**how)
        if self._strikes:
            self._strikes = False
            signal.raise_signal(signal.SIGINT)
        return taken

    def release(self) -> None:
        self._lock.release()


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_an_intake_that_is_struck_as_it_begins_leaves_no_lock(
    tight: Meter, interrupts: None, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    overdue = tight.engine._overdue
    lock = Lock(overdue._taking)
    monkeypatch.setattr(overdue, "_taking", lock)
    if not guarded:
        take_in = overdue.take_in

        def unguarded(*args: Any, **how: Any) -> None:
            lock.acquire(timeout=0.1)  # as if it were taken before the `try`
            take_in(*args, **how)

        monkeypatch.setattr(overdue, "take_in", unguarded)
    with pytest.raises(Struck):
        spend(tight, 1)
    monkeypatch.setattr(type(tight.engine.ledger), "patience", 0.1)
    refuse(tight, monkeypatch)
    answer = in_thread(lambda: spend(tight, 1))
    assert (answer is None) is guarded
    assert guarded or isinstance(answer, LedgerLocked)
    if guarded:
        assert spent(tight) == [(100 * CENTS, 0)]
        with pytest.raises(InsufficientCredits):
            spend(tight, 1)


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_an_intake_that_is_struck_as_it_ends_goes_on(
    tight: Meter, interrupts: None, home: Path, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = spill.SpillFile.close

    def close(file: spill.SpillFile) -> None:
        real(file)
        monkeypatch.setattr(spill.SpillFile, "close", real)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(spill.SpillFile, "close", close)
    if not guarded:
        monkeypatch.setattr(spill.SpillFile, "closed", False)
    with pytest.raises(Struck):
        spend(tight, 1)
    if not guarded:
        with pytest.raises(LedgerError, match="spilled"):
            tight.engine.catch_up()
        return
    spend(tight, 1)
    assert spills(home) == []
    assert spent(tight) == [(100 * CENTS, 0)]
    with outage(tight), pytest.raises(InsufficientCredits):
        spend(tight, 1)


def test_an_end_that_is_struck_while_it_is_booked_again_is_not_lost(
    ledger_path: Path, interrupts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with metered(ledger_path, budgets=[Budget("all", 1, "total")]) as meter:
        hold = meter.reserve(**TEN)
        settle = meter.engine.ledger.settle

        def struck(*_: Any, **__: Any) -> bool:
            signal.raise_signal(signal.SIGINT)
            return True

        monkeypatch.setattr(meter.engine.ledger, "settle", struck)
        for end in (lambda: hold.settle({"output_tokens": 10_000}), meter.engine.retry):
            with pytest.raises(Struck):
                end()
        monkeypatch.setattr(meter.engine.ledger, "settle", settle)
        meter.engine.retry()
        assert spent(meter) == [(10 * CENTS, 0)]


# Who reserves meanwhile


def by_thread(meter: Meter) -> object:
    return meter.reserve(**TEN)


def by_task(meter: Meter) -> object:
    async def main() -> object:
        return await meter.areserve(**TEN)

    return asyncio.run(main())


@pytest.mark.parametrize("reserve", [by_thread, by_task])
@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_whoever_reserves_waits_for_the_thread_that_takes_in(
    tight: Meter, guarded: bool, reserve: Callable[[Meter], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, overdue = tight.engine.ledger, tight.engine._overdue
    begun, go_on, asked = threading.Event(), threading.Event(), threading.Event()
    answers: dict[str, object] = {}
    take_in = ledger.take_in
    with outage(tight):
        spend(tight, 1)
    if not guarded:
        monkeypatch.setattr(type(ledger), "patience", 0.0)

    def slow(*args: Any) -> Any:
        begun.set()
        go_on.wait(PATIENCE)
        return take_in(*args)

    def takes(*args: Any, **how: Any) -> Any:
        asked.set()
        return real(*args, **how)

    def run(name: str, reserve: Callable[[Meter], object]) -> None:
        try:
            answers[name] = reserve(tight)
        except InsufficientCredits as refusal:
            answers[name] = refusal

    monkeypatch.setattr(ledger, "take_in", slow)
    first = threading.Thread(target=run, args=("first", by_thread))
    first.start()
    assert begun.wait(PATIENCE)
    real = overdue.take_in
    monkeypatch.setattr(overdue, "take_in", takes)
    second = threading.Thread(target=run, args=("second", reserve))
    second.start()
    assert asked.wait(PATIENCE)
    if not guarded:
        second.join(PATIENCE)
        assert not isinstance(answers["second"], InsufficientCredits)
    go_on.set()
    for thread in (first, second):
        thread.join(PATIENCE)
    assert isinstance(answers["first"], InsufficientCredits)
    assert isinstance(answers["second"], InsufficientCredits) is guarded
    assert spent(tight)[0] == (100 * CENTS, 0 if guarded else 10 * CENTS)


def test_who_waits_too_long_for_it_is_told_that_the_ledger_is_locked(
    tight: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(tight, monkeypatch)
    monkeypatch.setattr(type(tight.engine.ledger), "patience", 0.05)
    with tight.engine._overdue._taking:
        answer = in_thread(lambda: tight.reserve(**TEN))
    assert isinstance(answer, LedgerLocked)
    spend(tight, 1)


def test_what_cannot_be_read_keeps_a_hard_budget_from_being_checked(
    tight: Meter, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> object:
        raise OSError(errno.EIO, "the disk fails")

    refuse(tight, monkeypatch)
    with monkeypatch.context() as broken:
        broken.setattr(spill.SpillFile, "lines", fails)
        with pytest.raises(LedgerError, match="spilled"):
            tight.reserve(**TEN)
    assert len(spills(home)) == 1
    spend(tight, 1)
    assert spent(tight) == [(100 * CENTS, 0)]
    assert spills(home) == []


# What lies beside it


def left(path: Path, home: Path, calls: int) -> Path:
    """A file that a process has left, of calls which were voided."""
    path.mkdir()
    with metered(path) as meter:
        for _ in range(calls):
            meter.reserve(**TEN).void()
    path.rmdir()
    [file] = spills(home)
    return file


def rewritten(line: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    head, call = json.loads(line[9:])
    call["reservation"]["id"] = f"x{call['reservation']['id'][1:]}"
    change(call)
    body = json.dumps([head, call], separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(body), body)


def operation(call: dict[str, Any]) -> None:
    call["reservation"]["operation"] = "unheard-of"


def flag(call: dict[str, Any]) -> None:
    call["reservation"]["flags"] = ["unheard-of"]


def seconds(call: dict[str, Any]) -> None:
    if call["end"]:
        call["end"]["usage"] = {"seconds": "a while"}
        call["end"]["outcome"], call["void"] = "complete", False


@pytest.mark.parametrize("change", [operation, flag, seconds])
def test_lines_that_say_what_this_release_does_not_know_are_kept_and_the_others_are_booked(
    ledger_path: Path, home: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    file = left(ledger_path, home, 3)
    foreign = [rewritten(line, change) for line in file.read_bytes().splitlines()]
    file.with_name("0000-1.spill").write_bytes(b"".join(foreign))
    with metered(ledger_path) as meter:
        ids = [str(row["id"]) for row in meter.engine.ledger.calls()]
        assert sum(not name.startswith("x") for name in ids) == 3
        assert meter.engine.ledger.check() == []
    assert spills(home) == []
    [bad] = home.rglob("*.bad")
    assert set(bad.read_bytes().splitlines(keepends=True)) <= set(foreign)


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_a_file_that_cannot_be_read_keeps_no_other_from_being_booked(
    ledger_path: Path, home: Path, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = left(ledger_path, home, 2)
    unreadable = file.with_name("0000-1.spill")
    unreadable.write_bytes(b"")
    lines = spill.SpillFile.lines

    def fails(found: spill.SpillFile) -> Any:
        if found.path == unreadable:
            raise OSError(errno.EIO, "the disk fails") if guarded else LedgerLocked("held")
        return lines(found)

    monkeypatch.setattr(spill.SpillFile, "lines", fails)
    with metered(ledger_path) as meter:
        assert len(meter.engine.ledger.calls()) == (2 if guarded else 0)
    assert spills(home) == ([unreadable] if guarded else [unreadable, file])


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_a_ledger_that_cannot_be_written_makes_no_line_a_bad_one(
    tmp_path: Path, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = opened(tmp_path / "ledger.db")
    lines = [Spilled(state="ended", reservation=reservation(ledger), held=USD, end=settlement(USD))]
    connection: Any = ledger._connections._conn  # type: ignore[attr-defined]
    connection.execute("PRAGMA query_only = ON")
    if guarded:
        with pytest.raises(LedgerError):
            ledger.take_in(lines, 0)
    else:
        write = ledger._write  # type: ignore[attr-defined]

        def unguarded(operation: Any, argument: Any, *, full: bool) -> Any:
            return None if operation is taking_in._changes_nothing else write(operation, argument, full=full)

        monkeypatch.setattr(ledger, "_write", unguarded)
        [answer] = ledger.take_in(lines, 0)
        assert isinstance(answer, LedgerError)
    connection.execute("PRAGMA query_only = OFF")
    assert ledger.take_in(lines, 0) == [True]
    ledger.close()


def test_an_end_that_comes_after_its_call_was_taken_for_lost_is_booked(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger.db", Clock(NOON))
    bound = attached_bound(Budget("b", 100, "day"))
    want = reservation(ledger, [bound])
    sent = Spilled(state="sent", reservation=want, held=2 * USD)
    end = Spilled(state="ended", reservation=want, held=2 * USD, end=settlement(USD))
    assert ledger.take_in([sent], NOON) == [True]
    assert ledger.windows()[0].spent == 2 * USD
    assert ledger.take_in([end], NOON) == [True]
    assert ledger.take_in([sent, end], NOON) == [False, False]
    [row] = ledger.calls()
    assert (row["outcome"], row["cost_nano"]) == ("complete", USD)
    assert ledger.windows()[0].spent == USD
    assert ledger.check() == []
    ledger.close()


# A copy


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_a_copy_does_not_take_what_the_original_has_to_book(
    ledger_path: Path, home: Path, tmp_path: Path, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = python(SPILLS_AN_END, ledger_path)
    assert says(process) == "asked"
    ended(process)
    copy = tmp_path / "copy.db"
    original = open_ledger(ledger_path, clock=Clock(NOON), read_only=True)
    original.backup(str(copy))
    if not guarded:
        monkeypatch.setattr(intake, "is_at", lambda *_: False)
    with metered(copy) as meter:
        assert meter.engine.ledger.spill().calls == 0
        outcomes = [row["outcome"] for row in meter.engine.ledger.calls()]
        assert outcomes == ([] if guarded else ["complete"])
    assert original.spill().calls == (1 if guarded else 0)
    original.close()
    assert len(spills(home)) == (1 if guarded else 0)
    if guarded:
        with metered(ledger_path) as meter:
            assert [row["cost_nano"] for row in meter.engine.ledger.calls()] == [COST]
        assert spills(home) == []


def test_a_copy_takes_them_where_there_is_no_original_any_more(
    ledger_path: Path, home: Path, tmp_path: Path
) -> None:
    line = spill.Line(b"", None, "id", str(ledger_path))
    assert line.belongs_to("id", str(tmp_path / "copy.db"))
    assert not line.belongs_to("other", str(tmp_path / "copy.db"))
    ledger_path.write_bytes(b"damaged" * 1000)
    assert line.belongs_to("id", str(tmp_path / "copy.db"))
    ledger_path.unlink()
    with metered(ledger_path) as meter:
        meter.warm()
        mine = spill.Line(b"", None, meter.engine.ledger.ledger_id(), str(ledger_path))
        assert not mine.belongs_to(str(mine.ledger_id), str(tmp_path / "copy.db"))
        assert mine.belongs_to(str(mine.ledger_id), str(ledger_path))
