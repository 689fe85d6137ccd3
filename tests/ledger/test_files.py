"""What can happen to the file of a ledger."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from farthing.errors import (
    LedgerCorrupt,
    LedgerError,
    LedgerFull,
    LedgerLocked,
    LedgerMoved,
    LedgerTooNew,
)
from farthing.ledger import Ledger, open_ledger
from farthing.ledger.calls.summing import add_up
from farthing.ledger.upkeep.schema import VIEWS
from farthing.records import Budget
from faults import world
from ledger.making import NOON, USD, Clock, opened, python, reservation, reserved, settlement, with_budget

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes and flock are POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def some_calls(path: Path, count: int = 3) -> None:
    ledger = opened(path)
    bound = with_budget(ledger, Budget("all", 1_000_000))
    for _ in range(count):
        ledger.settle(reserved(ledger, [bound]), settlement())
    ledger.close()


# Opening


def test_what_was_written_is_there_after_a_reopening(path: Path) -> None:
    some_calls(path)
    ledger = opened(path)
    assert ledger.totals()[0].calls == 3
    assert ledger.windows()[0].spent == 3 * USD // 2
    assert ledger.check() == []
    ledger.close()


def test_one_file_is_one_store_in_a_process(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    first, second = opened(path), opened(link)
    assert first is second
    first.close()
    assert reserved(second)
    second.close()
    with pytest.raises(LedgerError, match="closed"):
        reserved(second)
    second.close()


def test_a_second_opening_can_only_make_it_safer(path: Path) -> None:
    first, second = opened(path, durability="fast"), opened(path, durability="safe")
    assert first.facts()["durability"] == "safe"
    first.close()
    second.close()


def test_memory_ledgers_are_private() -> None:
    first, second = opened(":memory:"), opened(":memory:")
    reserved(first)
    assert second.facts()["rows"]["call"] == 0
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("where", "options", "error"),
    [
        ("postgresql://host/db", {}, "PostgreSQL"),
        (":memory:", {"durability": "other"}, "must be"),
    ],
)
def test_what_is_not_supported_says_so(where: str, options: dict[str, str], error: str) -> None:
    with pytest.raises((LedgerError, ValueError), match=error):
        opened(where, **options)


@posix
def test_all_files_are_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "ledger.db"
    before = os.umask(0)
    try:
        ledger = opened(path)
        ledger.settle(reserved(ledger), settlement())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        ledger.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"), 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.with_name("ledger.db.lock").exists()


@posix
def test_files_that_are_not_made_the_users_own_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    made = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, *_, **more: made(path, flags, 0o644, **more))
    with pytest.raises(AssertionError):
        test_all_files_are_the_users_own(tmp_path)


def test_forty_processes_can_open_a_new_file_at_once(path: Path) -> None:
    code = (
        "import sys; from ledger.making import *; sys.stdin.readline()\n"
        "l = opened(sys.argv[1]); l.settle(reserved(l), settlement()); l.close(); print('ok')"
    )
    batch = [python(code, path) for _ in range(10)]
    threads_code = (
        "import sys, threading; from ledger.making import *; sys.stdin.readline()\n"
        "def one():\n"
        "    l = opened(sys.argv[1]); l.settle(reserved(l), settlement()); l.close()\n"
        "ts = [threading.Thread(target=one) for _ in range(30)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]; print('ok')"
    )
    batch.append(python(threads_code, path))
    for process in batch:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in batch]
    assert answers == [("ok\n", "")] * 11
    ledger = opened(path)
    assert ledger.totals()[0].calls == 40
    assert ledger.check() == []
    ledger.close()


def test_the_views_are_those_of_this_release(path: Path) -> None:
    opened(path).close()
    with closing(sqlite3.connect(path)) as conn:
        stored = dict(conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'"))
    assert stored == {name: f"CREATE VIEW {name} AS {select}" for name, select in VIEWS}


def test_the_public_views_have_their_columns(path: Path) -> None:
    some_calls(path)
    columns = [
        "id", "started_at", "recorded_at", "account", "context", "tags", "run", "provider",
        "requested_model", "model", "operation", "service_tier", "outcome", "attempts",
        "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
        "usage_source", "cost_nano", "cost_usd", "counted_nano", "cost_source", "held_nano",
        "overrun", "capped_at", "fallback_from", "duration_ms", "request_id", "response_id",
        "transaction_id", "error", "flags", "units", "prices_version",
    ]  # fmt: skip
    of_windows = ["budget", "key", "starts_at", "ends_at", "limit_nano", "spent_nano", "held_nano"]
    with closing(sqlite3.connect(path)) as conn:
        for view, wanted in (
            ("calls", columns),
            ("open_calls", columns),
            ("budget_windows", of_windows),
        ):
            cursor = conn.execute(f"SELECT * FROM {view}")
            assert [column[0] for column in cursor.description] == wanted
        assert conn.execute("SELECT count(*), sum(cost_nano) FROM calls").fetchone() == (3, 3 * USD // 2)
        assert conn.execute("SELECT spent_nano, ends_at FROM budget_windows").fetchone() == (
            3 * USD // 2,
            "2026-10-01T00:00:00.000000Z",
        )


# Files that are not ours


@pytest.mark.parametrize("content", [b"hello", b"\0" * 5000, b"SQLite format 4\0" + b"\0" * 200])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(LedgerCorrupt, match="not a"):
        opened(path)
    assert path.read_bytes() == content


def test_a_database_that_is_no_ledger_is_refused_and_left_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE other (x)")
    before = path.read_bytes()
    with pytest.raises(LedgerCorrupt, match="not a ledger"):
        opened(path)
    assert path.read_bytes() == before


def test_a_ledger_of_a_newer_release_is_refused(path: Path) -> None:
    opened(path).close()
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("INSERT INTO _sqlite_migrations VALUES (99, 'farthing', '9999 new', '')")
        conn.commit()
    with pytest.raises(LedgerTooNew, match="9999 new"):
        opened(path)


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError):
        opened(tmp_path)


def test_a_path_below_a_file_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError):
        opened(tmp_path / "file" / "ledger.db")


def test_damage_is_an_error_and_never_a_zero(path: Path) -> None:
    some_calls(path, 200)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(2048)
        file.write(os.urandom(size - 2048))
    with pytest.raises(LedgerCorrupt, match="damaged"):
        opened(path).totals()


def test_check_finds_what_does_not_add_up(path: Path) -> None:
    some_calls(path)
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("UPDATE budget_window SET spent = spent + 1")
        add_up(conn, conn.execute("SELECT max(seq) FROM call").fetchone()[0])
        conn.execute("UPDATE day_sum SET cost = cost + 1 WHERE account = 0")
        conn.execute("INSERT INTO more_line VALUES (99, 99)")
        conn.commit()
    ledger = opened(path)
    faults = " ".join(ledger.check())
    ledger.close()
    for part in ("Window 1 of budget 'all'", "day_model differs", "call 99 and window 99"):
        assert part in faults
    assert "day_account" not in faults


@pytest.mark.parametrize("table", ["name", "tagset", "price"])
def test_check_finds_calls_that_no_view_shows_any_more(path: Path, table: str) -> None:
    ledger = opened(path)
    ledger.settle(reserved(ledger, tags={"team": "a"}), settlement())
    assert ledger.check() == []
    ledger.close()
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(f"DELETE FROM {table}")
        conn.commit()
    ledger = opened(path)
    [fault] = ledger.check()
    ledger.close()
    assert "of a name, its tags or its rates is not there" in fault


# Files that go away


@pytest.mark.parametrize("which", ["ledger", "lock"])
@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_ledger_that_was_moved_is_not_written_to(path: Path, which: str, how: str) -> None:
    ledger = opened(path)
    reserved(ledger)
    victim = path if which == "ledger" else path.with_name("ledger.db.lock")
    victim.rename(path.with_name("elsewhere"))
    if how == "replaced":
        shutil.copy(path.with_name("elsewhere"), victim)
    for action in (lambda: reserved(ledger), lambda: ledger.expire(NOON), ledger.totals):
        with pytest.raises(LedgerMoved):
            action()
    again = opened(path)
    assert again is not ledger
    assert reserved(again)
    again.close()
    with pytest.raises(LedgerMoved):
        ledger.close()


# Files that cannot be written


@posix
def test_a_held_lock_is_waited_for_and_then_an_error(path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    ledger = opened(path, timeout=0.05)
    epoch_before = ledger.standing()
    with path.with_name("ledger.db.lock").open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LedgerLocked):
            reserved(ledger)
        assert ledger.totals()[0].calls == 0  # reading does not wait
        timer = threading.Timer(0.02, fcntl.flock, (other, fcntl.LOCK_UN))
        timer.start()
        ledger_again = opened(path, timeout=10)
        assert ledger_again is ledger
        timer.join()
        assert reserved(ledger)
    assert ledger.standing() == epoch_before
    ledger_again.close()
    ledger.close()


@posix
def test_many_threads_wait_for_a_held_lock_no_longer_than_one(path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    ledger = opened(path, timeout=0.3)
    errors: list[LedgerLocked] = []

    def attempt() -> None:
        with pytest.raises(LedgerLocked) as caught:
            reserved(ledger)
        errors.append(caught.value)

    with path.with_name("ledger.db.lock").open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        threads = [threading.Thread(target=attempt) for _ in range(120)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=10)  # one after the other would be 36 seconds
        assert not any(thread.is_alive() for thread in threads)
    assert len(errors) == 120
    ledger.wait_longer(20)
    ledger.close()


def test_a_foreign_writer_is_waited_for_and_then_an_error(path: Path) -> None:
    ledger = opened(path, timeout=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerLocked):
            reserved(ledger)
        other.execute("ROLLBACK")
    ledger.wait_longer(20)
    assert reserved(ledger)
    ledger.close()


@posix
def test_without_permission_it_is_an_error_that_says_so(path: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anything")
    opened(path).close()
    path.chmod(0o400)
    with pytest.raises(LedgerError, match="permissions"):
        opened(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    with world.small_disk(tmp_path / "small") as folder:
        yield folder


def test_a_full_disk_is_an_error_and_nothing_half_done(small_disk: Path) -> None:
    ledger = opened(small_disk / "ledger.db")
    bound = with_budget(ledger, Budget("all", 1_000_000))
    booked = 0
    with pytest.raises(LedgerFull):  # noqa: PT012  it is the last of many
        while True:
            ledger.settle(reserved(ledger, [bound]), settlement())
            booked += 1
    ballast = small_disk / "ballast"
    ballast.touch()
    for _ in range(3):
        with pytest.raises(LedgerFull):
            reserved(ledger, [bound], account="x" * 100_000)
    assert ledger.totals()[0].calls == booked
    assert ledger.check() == []
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert ledger.settle(reserved(ledger, [bound]), settlement())
    assert ledger.totals()[0].calls == booked + 1
    ledger.close()


def test_a_stale_transaction_is_rolled_back_before_the_next_write(path: Path) -> None:
    ledger = opened(path)
    conn = ledger._connections._conn
    assert conn is not None
    conn.execute("BEGIN IMMEDIATE")
    conn.execute("DELETE FROM meta")
    assert reserved(ledger)
    assert ledger.check() == []
    ledger.close()


@pytest.mark.parametrize("later", [reserved, lambda ledger: ledger.renew(NOON)], ids=["call", "idle"])
def test_a_reserve_that_a_signal_struck_is_voided_later(
    later: Callable[[Ledger], object], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = opened(path)
    bound = with_budget(ledger, Budget("all", 1))
    want = reservation(ledger, [bound])
    real = ledger._connections.write

    def struck(*args: object, **options: object) -> object:
        real(*args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger._connections, "write", struck)
        with pytest.raises(KeyboardInterrupt):
            ledger.reserve(want)
    assert ledger.windows()[0].held == USD
    later(ledger)
    assert ledger.windows()[0].held == 0
    row = ledger.call(want.id)
    assert row is not None
    assert row["outcome"] == "error"
    assert ledger.check() == []
    ledger.close()


def test_the_durability_of_each_write(path: Path) -> None:
    ledger = open_ledger(path, clock=Clock(), durability="safe")
    modes: list[int] = []

    def mode() -> int:
        return int(ledger._connections._conn.execute("PRAGMA synchronous").fetchone()[0])

    bound = with_budget(ledger, Budget("all", 10))
    modes.append(mode())
    unbudgeted = reserved(ledger)
    modes.append(mode())
    grant, second = reserved(ledger, [bound]), reserved(ledger, [bound])
    modes.append(mode())
    ledger.settle(grant, settlement(USD))
    modes.append(mode())
    ledger.settle(second, settlement(2 * USD))
    modes.append(mode())
    ledger.settle(unbudgeted, settlement(2 * USD))
    modes.append(mode())
    full, normal = 2, 1
    assert modes == [full, normal, full, normal, full, normal]
    ledger.close()


def test_a_closed_ledger_without_open_calls_leaves_no_owner(path: Path) -> None:
    ledger: Ledger = opened(path)
    ledger.settle(reserved(ledger), settlement())
    ledger.close()
    ledger = opened(path)
    assert ledger.facts()["owners"] == 0
    reserved(ledger)
    ledger.close()
    ledger = opened(path)
    assert ledger.facts()["owners"] == 1
    ledger.close()
