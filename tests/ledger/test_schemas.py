"""The schema of each release is frozen, and a ledger of each can be used by this one.

A file `schemas/VERSION.sql` is what a ledger of that release says of itself, with a few calls in it. It is
written once, at the release, by `python tests/ledger/test_schemas.py VERSION`, and never changed.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from contextlib import closing
from importlib import metadata
from pathlib import Path

import pytest

from farthing.ledger import open_ledger
from farthing.records import Budget
from ledger.making import (
    USD,
    Clock,
    attached_bound,
    entry,
    opened,
    python,
    reserved,
    settlement,
    with_budget,
)

SCHEMAS = Path(__file__).parent / "schemas"
RELEASES = sorted(path.stem for path in SCHEMAS.glob("*.sql"))
CHANGELOG = Path(__file__).resolve().parents[2] / "CHANGELOG.md"


def is_released(version: str, changelog: str) -> bool:
    """Whether a version has a date there: then its schema is frozen."""
    [date] = re.findall(rf"^## \[?{re.escape(version)}\]? - (.+)$", changelog, re.MULTILINE)
    return bool(date != "unreleased")


RELEASED = is_released(metadata.version("farthing"), CHANGELOG.read_text(encoding="utf-8"))


def filled(path: Path) -> None:
    """A ledger with some of everything."""
    ledger = opened(path)
    both = [with_budget(ledger, Budget("all", 1_000)), attached_bound(Budget("one", 1_000, "day"))]
    for tags in ({}, {"feature": "search"}):
        ledger.settle(reserved(ledger, both, tags=tags), settlement())
    ledger.settle(reserved(ledger, both), settlement(None, counted=USD))
    ledger.settle(reserved(ledger), settlement(0), void=True)
    ledger.record(entry(ledger, transaction_id="t-1"))
    reserved(ledger, both)
    ledger.close()


def dumped(path: Path) -> str:
    with closing(sqlite3.connect(path)) as conn:
        head = f"PRAGMA application_id = {conn.execute('PRAGMA application_id').fetchone()[0]};\n"
        return head + "\n".join(conn.iterdump()) + "\n"


def shape(path: Path) -> list[tuple[str, str, str]]:
    """Every table, index and view, as it was made."""
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
            "ORDER BY type, name"
        ).fetchall()


def restored(release: str, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as conn:
        conn.executescript((SCHEMAS / f"{release}.sql").read_text(encoding="utf-8"))
    return path


def test_this_version_has_a_frozen_schema() -> None:
    assert metadata.version("farthing") in RELEASES


@pytest.mark.skipif(not RELEASED, reason="it may still change until it is released")
@pytest.mark.parametrize("release", [metadata.version("farthing")])
def test_a_new_ledger_is_as_the_frozen_schema_says(release: str, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    opened(new).close()
    assert shape(new) == shape(restored(release, tmp_path / "old.db"))


@pytest.mark.skipif(not RELEASED, reason="it may still change until it is released")
@pytest.mark.parametrize("release", RELEASES)
def test_a_ledger_of_each_release_is_brought_up_to_date_and_adds_up(release: str, tmp_path: Path) -> None:
    path = restored(release, tmp_path / "old.db")
    with closing(sqlite3.connect(path)) as conn:
        before = conn.execute(
            "SELECT id, account, tags, outcome, cost_nano, counted_nano FROM calls"
        ).fetchall()
        windows = conn.execute("SELECT * FROM budget_windows").fetchall()
    ledger = opened(path)
    after = [
        tuple(row[name] for name in ("id", "account", "tags", "outcome", "cost_nano", "counted_nano"))
        for row in ledger.calls()
    ]
    assert sorted(after) == sorted(before)
    assert ledger.check() == []
    assert ledger.settle(reserved(ledger), settlement())
    assert ledger.check() == []
    ledger.close()
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("SELECT * FROM budget_windows").fetchall() == windows
    opened(tmp_path / "new.db").close()
    assert {each[:2] for each in shape(path)} == {each[:2] for each in shape(tmp_path / "new.db")}


@pytest.mark.parametrize(
    ("heading", "released"),
    [
        ("## 0.1.0 - unreleased", False),
        ("## 0.1.0 - 2026-12-01", True),
        ("## [0.1.0] - 2026-12-01", True),
        ("## 0.2.0 - unreleased\n\n## 0.1.0 - 2026-12-01", True),
    ],
)
def test_a_version_is_released_when_the_changelog_has_its_date(heading: str, released: bool) -> None:
    assert is_released("0.1.0", f"# Changelog\n\n## [Unreleased]\n\n{heading}\n\n### Added\n") is released


def without_views(path: Path) -> None:
    """As a release leaves it whose last step came before that of the views."""
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("DELETE FROM _sqlite_migrations WHERE name = '0001 views'")
        for (view,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
            conn.execute(f"DROP VIEW {view}")
        conn.commit()


UPGRADES = """
import sys
from ledger.making import opened, reserved, settlement
sys.stdin.readline()
ledger = opened(sys.argv[1])
assert ledger.settle(reserved(ledger), settlement())
ledger.close()
"""
PROCESSES = 6


def test_a_ledger_that_lacks_a_step_is_brought_up_to_date_once_by_processes_that_open_it_together(
    tmp_path: Path,
) -> None:
    path, new = tmp_path / "old.db", tmp_path / "new.db"
    filled(path)
    opened(new).close()
    without_views(path)
    assert shape(path) != shape(new)
    processes = [python(UPGRADES, path) for _ in range(PROCESSES)]
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60) for process in processes] == [("", "")] * PROCESSES
    assert shape(path) == shape(new)
    ledger = opened(path)
    assert ledger.totals()[0].calls == 5 + PROCESSES
    assert ledger.check() == []
    ledger.close()


def test_a_dump_is_a_ledger_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    filled(first)
    with closing(sqlite3.connect(second)) as conn:
        conn.executescript(dumped(first))
    ledger = opened(second)
    assert ledger.totals()[0].calls == 5
    assert ledger.check() == []
    ledger.close()
    asked = open_ledger(second, clock=Clock(), read_only=True)
    assert asked.totals()[0].calls == 5
    asked.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "ledger.db"
        filled(made)
        (SCHEMAS / f"{sys.argv[1]}.sql").write_text(dumped(made), encoding="utf-8")
