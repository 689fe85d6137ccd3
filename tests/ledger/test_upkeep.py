"""Copies of a ledger, leaving out what is old, and asking without writing."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from farthing.errors import LedgerCorrupt, LedgerError, TransactionConflict
from farthing.ledger import Ledger, open_ledger
from farthing.ledger.budgets import standing
from farthing.ledger.calls.booking import DAY
from farthing.ledger.upkeep.migrations import STEPS
from farthing.records import Budget
from ledger.making import (
    NOON,
    USD,
    Clock,
    attached_bound,
    entry,
    opened,
    reserved,
    settlement,
    standing_bound,
    with_budget,
)

TODAY = NOON // DAY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def some(ledger: Ledger, count: int, days_ago: int, *bounds: object) -> None:
    for _ in range(count):
        grant = reserved(ledger, list(bounds), started_ns=NOON - days_ago * DAY)
        ledger.settle(grant, settlement())


# backup


def test_a_backup_is_a_sound_ledger_of_the_users_own(path: Path, tmp_path: Path) -> None:
    ledger = opened(path)
    bound = with_budget(ledger, Budget("all", 1_000))
    some(ledger, 50, 0, bound)
    target = tmp_path / "copy.db"
    before = os.umask(0)
    try:
        assert ledger.backup(str(target)) == target.stat().st_size
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    some(ledger, 1, 0, bound)
    copy = opened(target)
    assert copy.ledger_id() == ledger.ledger_id()
    assert (copy.totals()[0].calls, ledger.totals()[0].calls) == (50, 51)
    assert copy.windows()[0].spent == 50 * USD // 2
    assert copy.check() == []
    copy.close()
    ledger.close()
    assert sorted(file.name for file in tmp_path.iterdir() if ".part" in file.name) == []


def test_a_backup_never_writes_over_a_file(path: Path, tmp_path: Path) -> None:
    ledger = opened(path)
    target = tmp_path / "precious"
    target.write_text("kept")
    for taken in (target, path):
        with pytest.raises(LedgerError, match="already"):
            ledger.backup(str(taken))
    with pytest.raises(LedgerError, match="nowhere"):
        ledger.backup(str(tmp_path / "nowhere" / "copy.db"))
    assert target.read_text() == "kept"
    ledger.close()


def test_a_backup_is_of_one_instant_while_others_write(path: Path, tmp_path: Path) -> None:
    ledger = opened(path)
    bound = with_budget(ledger, Budget("all", 1_000_000))
    some(ledger, 500, 0, bound)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            some(ledger, 1, 0, bound)

    thread = threading.Thread(target=write)
    thread.start()
    for number in range(5):
        target = tmp_path / f"{number}.db"
        ledger.backup(str(target))
        copy = opened(target)
        assert copy.check() == []
        assert copy.windows()[0].spent == copy.totals()[0].calls * USD // 2
        copy.close()
    stop.set()
    thread.join()
    ledger.close()


@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_a_file_system_without_hard_links_takes_a_backup(
    path: Path, tmp_path: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As FAT, exFAT and many file systems of the user's own are."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    ledger = opened(path)
    some(ledger, 5, 0)
    target = tmp_path / "backups" / "copy.db"
    target.parent.mkdir()
    monkeypatch.setattr(os, "link", refused)
    assert ledger.backup(str(target)) == target.stat().st_size > 0
    with pytest.raises(LedgerError, match="already"):
        ledger.backup(str(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [file.name for file in target.parent.iterdir()] == ["copy.db"]
    copy = opened(target)
    assert copy.totals()[0].calls == 5
    copy.close()
    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(LedgerError):
        ledger.backup(str(target.with_name("other.db")))
    assert "other.db" not in " ".join(file.name for file in target.parent.iterdir())
    ledger.close()


def test_alerts_of_a_copy_that_is_used_instead_have_ids_of_their_own(path: Path, tmp_path: Path) -> None:
    """What was raised after the copy has numbers, too, and may have been delivered under them."""
    clock = Clock()
    ids = []
    ledger = opened(path, clock)
    ledger.backup(str(tmp_path / "copy.db"))
    for used in (path, tmp_path / "copy.db"):
        ledger.close()
        ledger = opened(used, clock)
        bound = with_budget(ledger, Budget("all", 1, alerts=(0.5,)))
        ledger.record(entry(ledger, [bound]))
        [alert] = ledger.outbox.raised()
        [due] = ledger.outbox.claim("post", clock.now, clock.now + 1)
        assert due.alert.id == alert.id  # at each attempt
        ids.append(alert.id)
        clock.now += 10**9
    assert len(set(ids)) == 2
    ledger.close()


def test_a_ledger_in_memory_has_no_backup(tmp_path: Path) -> None:
    ledger = opened(":memory:")
    with pytest.raises(LedgerError, match="memory"):
        ledger.backup(str(tmp_path / "copy.db"))
    ledger.close()


# prune


@pytest.mark.parametrize("where", ["memory", "file"])
def test_pruning_keeps_sums_windows_and_keys(path: Path, where: str) -> None:
    ledger = opened(":memory:" if where == "memory" else path)
    total = with_budget(ledger, Budget("total", 1_000_000, "total"))
    day = attached_bound(Budget("day", 1_000_000, "day"))
    some(ledger, 700, 3, total, day)  # more than one commit's
    some(ledger, 5, 1, total, day)
    some(ledger, 7, 0, total)
    old = entry(ledger, [total], started_ns=NOON - 3 * DAY, transaction_id="t-1")
    first, _ = ledger.record(old)
    before = ledger.totals(("day", "model"))
    windows = ledger.windows()
    assert ledger.prune(TODAY) == 706
    assert ledger.check() == []
    assert ledger.totals(("day", "model")) == before
    assert ledger.windows() == windows
    assert len(ledger.calls(limit=1000)) == 7
    assert ledger.record(old) == (first, False)
    with pytest.raises(TransactionConflict):
        ledger.record(entry(ledger, transaction_id="t-1", digest=b"other"))
    assert ledger.prune(TODAY) == 0
    some(ledger, 1, 0, total)
    assert ledger.check() == []
    ledger.close()


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
@pytest.mark.parametrize("period", ["total", "month"])
@pytest.mark.parametrize("changed", [{"mode": "soft"}, {"timezone": "Asia/Kolkata"}])
def test_a_redefined_budget_does_not_forget_what_pruned_calls_have_spent(
    ledger: Ledger, changed: dict[str, Any], period: Any, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not guarded:
        monkeypatch.setattr(standing, "_pruned", lambda *_: {})
    budget = Budget("all", 100, period, per="account")
    ledger.set_budget(budget, origin="code")
    some(ledger, 3, 3, standing_bound(budget, "acme"))
    [before] = ledger.windows()
    assert ledger.prune(TODAY) == 3
    for one in (changed, {}):  # there and back again, at one instant
        ledger.set_budget(Budget("all", 100, period, per="account", **one), origin="code")
        found = [(window.key, window.spent, window.cost) for window in ledger.windows(at_ns=NOON)]
        assert found == ([(before.key, before.spent, before.cost)] if guarded else [])
    ledger.set_budget(Budget("all", 100, period, per="account", model="other"), origin="code")
    assert ledger.windows(at_ns=NOON) == []  # it counts other calls


def test_what_still_runs_is_not_pruned(path: Path) -> None:
    ledger = opened(path)
    bound = with_budget(ledger, Budget("total", 1_000, "total"))
    grant = reserved(ledger, [bound], started_ns=NOON - 3 * DAY)
    some(ledger, 3, 3, bound)
    assert ledger.prune(TODAY) == 3
    assert ledger.check() == []
    assert ledger.settle(grant, settlement())
    assert [w.spent for w in ledger.windows()] == [4 * USD // 2]
    assert ledger.check() == []
    assert ledger.prune(TODAY) == 1
    ledger.close()


def test_a_sum_that_needs_pruned_calls_is_refused_and_not_too_small(path: Path) -> None:
    ledger = opened(path)
    some(ledger, 3, 3)
    some(ledger, 2, 0)
    ledger.prune(TODAY)
    assert ledger.totals(("model",))[0].calls == 5
    with pytest.raises(LedgerError, match="pruned"):
        ledger.totals(("account", "model"))
    with pytest.raises(LedgerError, match="pruned"):
        ledger.totals(start_ns=NOON - 3 * DAY - 1)
    assert ledger.totals(("account", "model"), start_ns=TODAY * DAY)[0].calls == 2
    ledger.close()


def test_without_its_pruned_windows_a_ledger_would_not_add_up(path: Path) -> None:
    ledger = opened(path)
    bound = with_budget(ledger, Budget("total", 1_000, "total"))
    some(ledger, 3, 3, bound)
    ledger.prune(TODAY)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("DELETE FROM pruned_window")
    assert "Window 1" in " ".join(ledger.check())
    ledger.close()


# Asking only


def test_what_is_opened_to_ask_answers_and_writes_nothing(path: Path) -> None:
    ledger = opened(path)
    bound = with_budget(ledger, Budget("all", 1_000))
    some(ledger, 3, 0, bound)
    asked = open_ledger(path, clock=Clock(), read_only=True)
    some(ledger, 1, 0, bound)
    assert asked.totals() == ledger.totals()
    assert asked.windows() == ledger.windows()
    assert [each.budget.name for each in asked.standing(fresh=True)[1]] == ["all"]
    assert asked.check() == []
    for write in (
        lambda: reserved(asked, [bound]),
        lambda: asked.set_budget(Budget("b", 1), origin="cli"),
        lambda: asked.prune(TODAY),
    ):
        with pytest.raises(LedgerError, match="read only"):
            write()
    asked.close()
    with pytest.raises(LedgerError, match="closed"):
        asked.totals()
    assert reserved(ledger, [bound])
    ledger.close()


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_where_there_is_no_ledger_asking_makes_none(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "folder" / "ledger.db"
    if kind == "empty":
        path.parent.mkdir()
        path.touch()
    with pytest.raises(LedgerError, match="no ledger"):
        open_ledger(path, clock=Clock(), read_only=True)
    assert not path.exists() or path.stat().st_size == 0
    assert not path.with_name("ledger.db.lock").exists()


def test_asking_a_file_that_is_no_ledger_says_so(path: Path) -> None:
    path.write_bytes(b"hello" * 1000)
    with pytest.raises(LedgerCorrupt):
        open_ledger(path, clock=Clock(), read_only=True)
    path.unlink()
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE other (x)")
    with pytest.raises(LedgerCorrupt, match="not a ledger"):
        open_ledger(path, clock=Clock(), read_only=True)


def test_a_ledger_that_was_replaced_is_noticed_by_who_asks(path: Path) -> None:
    opened(path).close()
    asked = open_ledger(path, clock=Clock(), read_only=True)
    path.unlink()
    opened(path).close()
    with pytest.raises(LedgerError):
        asked.totals()
    asked.close()


def test_a_url_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LedgerError, match="path") as caught:
        opened("sqlite:///me:secret@ledger.db")
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def older(path: Path) -> Path:
    """A ledger that lacks a step, as one of the release before would."""
    ledger = opened(path)
    some(ledger, 3, 0, with_budget(ledger, Budget("all", 1_000)))
    ledger.close()
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("DROP VIEW calls")
        conn.execute("DELETE FROM _sqlite_migrations WHERE name = ?", (STEPS[-1][0],))
    return path


def test_a_ledger_of_an_older_release_can_be_copied_and_not_asked(path: Path, tmp_path: Path) -> None:
    asked = open_ledger(older(path), clock=Clock(), read_only=True)
    target = tmp_path / "copy.db"
    asked.backup(str(target))
    for question in (
        asked.totals,
        asked.windows,
        asked.check,
        asked.facts,
        asked.standing,
        asked.prices,
        lambda: asked.standing(fresh=True),
    ):
        with pytest.raises(LedgerError, match="older farthing"):
            question()
    with closing(sqlite3.connect(target)) as conn:
        steps = conn.execute("SELECT name FROM _sqlite_migrations").fetchall()
    assert len(steps) == len(STEPS) - 1  # as it was
    some(opened(path), 1, 0)  # which brings it up to date
    assert asked.totals()[0].calls == 4
    assert [each.budget.name for each in asked.standing(fresh=True)[1]] == ["all"]
    asked.close()
    copy = opened(target)
    assert copy.totals()[0].calls == 3
    assert copy.check() == []
    copy.close()
    opened(path).close()


def test_a_database_without_tables_is_no_ledger_yet(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
    assert path.stat().st_size
    with pytest.raises(LedgerError, match="no ledger"):
        open_ledger(path, clock=Clock(), read_only=True)


# What a doctor asks


def test_sizes_lock_and_spill_can_be_asked(path: Path) -> None:
    ledger = opened(path)
    some(ledger, 10, 0)
    sizes = ledger.sizes()
    if sizes:  # SQLite may be built without the table that says them
        assert sum(sizes.values()) <= path.stat().st_size + path.with_name("ledger.db-wal").stat().st_size
        assert {"call", "day_sum", "name"} <= set(sizes)
    assert ledger.locked() is False
    fcntl = pytest.importorskip("fcntl")
    with path.with_name("ledger.db.lock").open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert ledger.locked() is True
    assert ledger.spill().calls == 0
    ledger.close()
