"""A disk that is full, and one that is damaged."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from farthing.engine.overdue import Overdue
from farthing.errors import LedgerCorrupt, LedgerError, LedgerFull
from farthing.ledger import Ledger
from farthing.ledger.writing import faults
from farthing.records import Budget
from farthing.testing import FakeProvider
from faults.world import COST, ask, client_of, metered, small_disk, spills
from ledger.making import opened, reserved, settlement, with_budget


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small") as folder:
        yield folder


def filled(folder: Path) -> Path:
    """Take what room is left."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(b"x")
    return ballast


def test_calls_that_end_on_a_full_disk_are_spilled_and_booked_when_there_is_room(
    disk: Path, home: Path, provider: FakeProvider
) -> None:
    with metered(disk / "ledger.db", budgets=[Budget("all", 1000)]) as meter:
        client = client_of(meter, provider)
        ask(client)
        holds = [meter.reserve(model="gpt-4o", amount="0.01") for _ in range(200)]
        ballast = filled(disk)
        for hold in holds:
            assert hold.settle({"model": "gpt-4o", "usage": {"prompt_tokens": 5, "completion_tokens": 300}})
        assert spills(home) != []
        calls_before = len(provider.requests)
        with pytest.raises(LedgerFull):  # noqa: PT012  it is one of many
            for _ in range(100):  # the log has some room within its last page
                ask(client)
        unsent = len(provider.requests)
        ballast.unlink()
        ask(client)
        ledger = meter.engine.ledger
        assert ledger.totals()[0].calls == 200 + 1 + 1 + (unsent - calls_before)
        [window] = ledger.windows()
        assert (window.held, window.spent) == (0, ledger.totals()[0].calls * COST)
        assert ledger.check() == []
    assert spills(home) == []


def test_calls_that_end_on_a_full_disk_without_being_spilled_are_missed(
    disk: Path, home: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(Overdue, "_spill", lambda *_: None)
    with pytest.raises(AssertionError):
        test_calls_that_end_on_a_full_disk_are_spilled_and_booked_when_there_is_room(disk, home, provider)


def test_calls_without_a_hard_budget_go_on_over_a_full_disk(
    disk: Path, home: Path, provider: FakeProvider
) -> None:
    with metered(disk / "ledger.db") as meter:
        client = client_of(meter, provider)
        ask(client)
        ballast = filled(disk)
        for _ in range(60):
            assert ask(client).choices
        ballast.unlink()
        assert ask(client).choices
        assert meter.engine.ledger.totals()[0].calls == 62
        assert meter.engine.ledger.check() == []
    assert spills(home) == []


def test_a_disk_without_room_for_a_ledger_is_an_error_that_says_so(disk: Path) -> None:
    ballast = filled(disk)
    with pytest.raises(LedgerFull, match="room"):
        opened(disk / "ledger.db")
    ballast.unlink()
    ledger = opened(disk / "ledger.db")
    assert reserved(ledger)
    ledger.close()


def test_a_full_disk_that_is_an_error_like_any_other_is_noticed(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(faults, "LedgerFull", LedgerError)
    with pytest.raises(LedgerError) as passed_on:
        test_a_disk_without_room_for_a_ledger_is_an_error_that_says_so(disk)
    assert not isinstance(passed_on.value, LedgerFull)


def test_a_disk_that_is_mounted_read_only_can_be_read(disk: Path, provider: FakeProvider) -> None:
    with metered(disk / "ledger.db") as meter:
        ask(client_of(meter, provider))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    meter = metered(disk / "ledger.db")
    with pytest.raises(LedgerError, match="permissions"):
        meter.warm()
    meter.close()
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    with metered(disk / "ledger.db") as meter:
        assert meter.engine.ledger.totals()[0].calls == 1


def many(path: Path, count: int) -> None:
    ledger = opened(path)
    bound = with_budget(ledger, Budget("all", 1_000_000))
    for _ in range(count):
        ledger.settle(reserved(ledger, [bound]), settlement())
    ledger.close()


def used(ledger: Ledger) -> None:
    """Everything that a program does with a ledger."""
    bound = with_budget(ledger, Budget("all", 1_000_000, alerts=()))
    ledger.settle(reserved(ledger, [bound]), settlement())
    ledger.totals()
    ledger.calls(limit=100_000)
    ledger.windows()
    if faults := ledger.check():
        raise LedgerCorrupt(faults[0])


def opened_and_used(path: Path) -> None:
    ledger = opened(path)
    try:
        used(ledger)
    finally:
        with suppress(LedgerError):
            ledger.close()


def test_every_page_that_is_overwritten_is_an_error_or_a_fault_that_check_finds(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    many(path, 300)
    sound = path.read_bytes()
    size = int.from_bytes(sound[16:18], "big")
    pages = len(sound) // size
    assert pages > 50
    for page in range(1, pages, 7):
        path.write_bytes(sound[: page * size] + os.urandom(size) + sound[(page + 1) * size :])
        with pytest.raises(LedgerError):
            opened_and_used(path)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(sound)
    opened_and_used(path)
    ledger = opened(path)
    assert ledger.totals()[0].calls == 301
    ledger.close()
