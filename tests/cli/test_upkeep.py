"""`farthing backup`, `farthing prune`, and asking a ledger that cannot be written."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cli.running import farthing, told, within
from farthing import Meter, Usage
from farthing import ledger as ledgers
from farthing.ledger.upkeep import spill
from farthing.ledger.upkeep.migrations import STEPS
from faults.world import small_disk


def test_a_backup_can_be_asked_as_the_ledger_can(ledger, tmp_path):
    copy = tmp_path / "copy.db"
    ended = farthing("backup", copy, "--ledger", ledger)
    assert (ended.status, ended.err) == (0, "")
    assert ended.json == {"ledger": str(ledger), "file": str(copy), "bytes": copy.stat().st_size}
    report = farthing("report", "--ledger", ledger)
    assert report.status == 0
    assert farthing("report", "--ledger", copy).json == report.json
    again = farthing("backup", copy, "--ledger", ledger)
    assert again.status == 1
    assert "already" in told(again)


def test_a_ledger_of_an_older_release_can_be_copied_before_a_program_changes_it(ledger, tmp_path):
    with closing(sqlite3.connect(ledger)) as conn, conn:
        conn.execute("DELETE FROM _sqlite_migrations WHERE name = ?", (STEPS[-1][0],))
    ended = farthing("backup", tmp_path / "copy.db", "--ledger", ledger)
    assert (ended.status, ended.err) == (0, "")
    assert "older farthing" in told(farthing("report", "--ledger", ledger))


def test_a_backup_of_a_ledger_that_somebody_keeps_to_himself_gives_up(ledger, tmp_path):
    (tmp_path / "farthing.toml").write_text("ledger_timeout = 0.1\n", encoding="utf-8")
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        ended = farthing("backup", copy, "--ledger", ledger, cwd=tmp_path)
    assert ended.status == 1
    assert "has locked" in told(ended)
    assert not copy.exists()


def test_a_backup_waits_for_the_ledger_as_long_as_the_settings_say(ledger, tmp_path, monkeypatch):
    opened, timeouts = ledgers.open_ledger, []

    def opening(*given, **named):
        timeouts.append(named.get("timeout"))
        return opened(*given, **named)

    monkeypatch.setattr(ledgers, "open_ledger", opening)
    monkeypatch.chdir(tmp_path)
    for timeout in (0.5, 20):
        Path("farthing.toml").write_text(f"ledger_timeout = {timeout}\n", encoding="utf-8")
        assert within("backup", f"copy-{timeout}.db", "--ledger", ledger).status == 0
    assert timeouts == [0.5, 20]


def test_a_backup_into_a_folder_that_is_not_there_says_so(ledger, tmp_path):
    ended = farthing("backup", tmp_path / "nowhere" / "copy.db", "--ledger", ledger)
    assert ended.status == 1
    assert told(ended).endswith("copy.db: there is no such folder")


@pytest.mark.parametrize(
    ("name", "why"), [("", "it names no file"), (b"\xff.db", "a ledger's name must be in UTF-8")], ids=str
)
def test_a_backup_to_what_can_be_no_ledgers_name_is_wrong_usage(ledger, tmp_path, name, why):
    ended = farthing("backup", os.fsdecode(name), "--ledger", ledger, cwd=tmp_path)
    assert ended.status == 2
    assert why in told(ended)
    assert not list(tmp_path.glob("*\udcff*"))


def test_pruning_keeps_the_sums_and_tells_how_many_calls_went(ledger):
    before = within("report", "--by", "model", "--ledger", ledger).json
    ended = within("prune", "--before", "2026-11-21", "--ledger", ledger)
    assert ended.status == 0
    assert ended.json["deleted"] > 0
    assert within("report", "--by", "model", "--ledger", ledger).json == before
    assert within("doctor", "--check", "--ledger", ledger).status == 0
    assert within("prune", "--before", "2026-11-21", "--ledger", ledger).json["deleted"] == 0


@pytest.mark.parametrize(
    "before", ["2199-01-01", "2026-11-20T12:00:00Z", "soon", "", "0001-01-01", "1969-12-31"]
)
def test_what_is_no_past_day_is_wrong_usage(ledger, before):
    ended = within("prune", "--before", before, "--ledger", ledger)
    assert ended.status == 2
    assert farthing("prune", "--ledger", ledger).status == 2


def test_a_record_of_a_pruned_transaction_is_known_but_no_longer_what_it_cost(ledger_path):
    from datetime import UTC, datetime  # noqa: PLC0415

    call = {"model": "gpt-4o", "usage": Usage(input_tokens=7), "transaction_id": "t-1"}
    with Meter(ledger_path) as meter:
        first = meter.record(**call, occurred_at=datetime(2026, 1, 2, tzinfo=UTC))
        meter.engine.ledger.prune(20_500)
        again = meter.record(**call, occurred_at=datetime(2026, 1, 2, tzinfo=UTC))
        assert (again.id, again.cost) == (first.id, None)
        assert meter.reports.summary().calls == 1


@pytest.mark.parametrize(
    "command", [["report"], ["calls"], ["budget", "list"], ["doctor", "--check"], ["calls", "settle"]]
)
def test_a_ledger_on_a_disk_that_cannot_be_written_can_be_asked(ledger, tmp_path, command):
    with small_disk(tmp_path / "small") as folder:
        copy = folder / "ledger.db"
        assert within("backup", str(copy), "--ledger", ledger).status == 0
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        ended = farthing(*command, "--ledger", copy)
        assert (ended.status, ended.err) == (0, "")
        assert [file.name for file in folder.iterdir()] == ["ledger.db"]


@pytest.mark.parametrize("command", [["report"], ["calls"], ["budget", "list"]])
@pytest.mark.parametrize("kind", ["missing", "empty", "url"])
def test_where_there_is_no_ledger_a_question_says_so_and_makes_none(tmp_path, command, kind):
    path = tmp_path / "none.db"
    if kind == "empty":
        path.touch()
    before = sorted(tmp_path.iterdir())
    ended = farthing(*command, "--ledger", "sqlite:///none.db" if kind == "url" else path, cwd=tmp_path)
    assert ended.status == 1
    assert ("URL" if kind == "url" else "no ledger") in told(ended)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in the way of a file")
def test_a_doctor_tells_what_waits_in_the_spill(ledger_path, monkeypatch, home):
    ledger_path.mkdir()
    meter = Meter(ledger_path)
    meter.reserve(model="gpt-4o", amount=1).void()
    ledger_path.rmdir()
    with monkeypatch.context() as patch:
        patch.setattr(spill, "left_behind", lambda _: iter(()))
        patch.setattr("farthing.engine.intake.left_behind", lambda _: iter(()))
        with Meter(ledger_path) as other:
            other.warm()
    found = within("doctor", "--ledger", str(ledger_path)).json
    assert found["ledger"]["spilledCalls"] == 1
    assert any("not in it yet" in warning for warning in found["warnings"])
    [file] = home.rglob("*.spill")
    file.with_suffix(".bad").write_text("torn")
    found = within("doctor", "--ledger", str(ledger_path)).json
    assert any(".bad" in warning for warning in found["warnings"])
    meter.close()


def test_a_doctor_tells_the_lock_and_the_sizes(ledger):
    facts = within("doctor", "--ledger", ledger).json["ledger"]
    assert facts["lock"] == "free"
    assert isinstance(facts["bytesByTable"], dict)
