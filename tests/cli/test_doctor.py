"""`farthing doctor`."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from cli.running import at_terminal, farthing, told
from farthing import Meter
from farthing.cli import doctor as room
from farthing.ledger.calls.summing import add_up


def test_settings_are_shown_with_who_said_them(tmp_path, ledger_path):
    (tmp_path / "farthing.toml").write_text('account = "acme"\nledger = "elsewhere.db"\noutput_cap = 500\n')
    ended = farthing("doctor", "--ledger", ledger_path, cwd=tmp_path, FARTHING_ACCOUNT="zoe")
    settings = ended.json["settings"]
    assert ended.status == 0
    assert settings["account"] == {"value": "zoe", "source": "FARTHING_ACCOUNT"}
    assert settings["ledger"] == {"value": str(ledger_path), "source": "--ledger"}
    assert settings["output_cap"] == {"value": 500, "source": str(tmp_path / "farthing.toml")}
    assert settings["durability"] == {"value": "safe", "source": "default"}
    assert not ledger_path.exists()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("alert_url", "https://hooks.example.com/services/T0/B0/xyz?a=b", "https://hooks.example.com/***"),
        ("alert_url", "https://me:word@hooks.example.com:8443/x", "https://***@hooks.example.com:8443/***"),
        (
            "ledger",
            "postgresql://me:word@db.example.com/farthing",
            "postgresql://***@db.example.com/farthing",
        ),
        ("ledger", "postgresql://db/f?password=word", "postgresql://db/f?***"),
        ("ledger", "postgresql://[::1", "***"),
        ("tags", {"api_key": "word", "team": "a"}, {"api_key": "***", "team": "a"}),
        ("ledger", "/home/me/ledger.db", "/home/me/ledger.db"),
        ("wait", 2.0, "2.0"),
        ("enabled", True, True),
    ],
)
def test_secrets_are_masked(name, value, shown):
    assert room._masked(name, value) == shown


def test_a_secret_in_a_setting_is_in_no_form_of_the_answer(tmp_path):
    (tmp_path / "farthing.toml").write_text('alert_url = "https://me:pass-word@example.com/tok-en"\n')
    for form in ("--json", "--csv", "--markdown"):
        ended = farthing("doctor", form, cwd=tmp_path)
        assert "example.com" in ended.out
        assert "pass-word" not in ended.out + ended.err
        assert "tok-en" not in ended.out + ended.err


@pytest.mark.parametrize(
    "command", [["doctor"], ["report"], ["prices", "show", "gpt-4o"], ["backup", "copy.db"]]
)
def test_links_that_lead_round_in_a_circle_are_a_fault_and_not_a_ledger_to_come(tmp_path, command):
    loop = tmp_path / "loop.db"
    loop.symlink_to(loop)
    ended = farthing(*command, "--ledger", loop, cwd=tmp_path)
    assert ended.status == 1
    assert "no path of a ledger" in told(ended)


def test_a_file_where_a_folder_should_be_is_a_fault_and_not_a_ledger_to_come(tmp_path):
    (tmp_path / "file").write_text("")
    ended = farthing("doctor", "--ledger", tmp_path / "file" / "ledger.db")
    assert ended.status == 1
    assert "There is no ledger at" in told(ended)


def test_a_link_to_a_ledger_to_come_is_no_fault(tmp_path):
    (tmp_path / "link.db").symlink_to(tmp_path / "ledger.db")
    assert farthing("doctor", "--ledger", tmp_path / "link.db").status == 0


def test_versions_and_the_facts_of_a_ledger_are_told(ledger):
    found = farthing("doctor", "--ledger", ledger).json
    assert {"farthing", "Python", "SQLite", "openai", "genai-prices"} <= set(found["versions"])
    assert found["versions"]["SQLite"] == sqlite3.sqlite_version
    facts = found["ledger"]
    assert (facts["finishedCalls"], facts["callsWithoutAKnownPrice"], facts["openHolds"]) == (3, 1, 0)
    assert (facts["uncertainUsd"], facts["uncertainNano"]) == (0, 0)
    assert facts["path"] == str(ledger)


def test_an_old_sqlite_is_told_with_where_a_newer_one_comes_from(monkeypatch):
    monkeypatch.setattr(room, "_sqlite_version", lambda: "3.40.1")
    [sentence] = room._old_sqlite()
    assert "3.51.3" in sentence
    assert "uv python install" in sentence
    monkeypatch.setattr(room, "_sqlite_version", lambda: "3.51.3")
    assert list(room._old_sqlite()) == []


def test_open_holds_are_counted(ledger_path):
    with Meter(ledger_path) as meter:
        hold = meter.reserve(model="gpt-4o", amount=1)
        assert farthing("doctor", "--ledger", ledger_path).json["ledger"]["openHolds"] == 1
        hold.void()


def test_a_ledger_that_adds_up_is_proved_to(ledger):
    ended = farthing("doctor", "--check", "--ledger", ledger)
    assert (ended.status, ended.err) == (0, "")
    assert (ended.json["checked"], ended.json["faults"]) == (True, [])
    assert "The ledger adds up." in at_terminal("doctor", "--check", "--ledger", ledger).out


def test_a_ledger_that_does_not_add_up_is_found_out(ledger):
    with closing(sqlite3.connect(ledger)) as conn, conn:
        add_up(conn, 2**62)
        conn.execute("UPDATE call SET cost = cost + 1 WHERE cost IS NOT NULL")
    ended = farthing("doctor", "--check", "--ledger", ledger)
    assert ended.status == 1
    assert len(ended.json["faults"]) > 1
    assert told(ended).startswith(ended.json["faults"][0])
    assert farthing("doctor", "--ledger", ledger).status == 0


def test_without_a_ledger_it_says_so_and_makes_none(ledger_path):
    ended = farthing("doctor", "--check", "--ledger", ledger_path)
    assert ended.status == 0
    assert "There is no ledger yet: the first metered call makes it." in ended.json["warnings"]
    assert not ledger_path.exists()


def test_settings_that_cannot_be_read_do_not_hide_the_rest(tmp_path):
    (tmp_path / "farthing.toml").write_text("acount = 'acme'\n")
    ended = farthing("doctor", cwd=tmp_path)
    assert ended.status == 1
    assert "'acount' is no setting" in told(ended)
    assert "farthing" in ended.json["versions"]


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        ('[budgets]\nhouse = "5/fortnight"', "farthing.toml: budgets.house: '5/fortnight' is not understood"),
        ('[budgets.house]\nlimit = 5\nmode = "firm"', "farthing.toml: budgets.house: mode must be one of"),
        ('budgets = ["$5/day"]', "farthing.toml: budgets: the budgets of a file are tables"),
        ('budget = "5/fortnight"', "farthing.toml: budget: '5/fortnight' is not understood"),
        ('enabled = "no"', "enabled must be True or False; got 'no'"),
        ('on_tight = "squeeze"', "on_tight must be one of cap, refuse"),
    ],
)
def test_settings_that_a_program_would_not_start_with_are_faults_with_and_without_a_ledger(
    tmp_path, ledger_path, ledger, file, fault
):
    (tmp_path / "farthing.toml").write_text(file)
    for where in (ledger, tmp_path / "none.db"):
        ended = farthing("doctor", "--ledger", where, cwd=tmp_path)
        assert ended.status == 1
        assert fault in told(ended)
        assert len(ended.json["faults"]) == 1
    assert not (tmp_path / "none.db").exists()


def test_budgets_that_a_program_can_declare_are_no_fault(tmp_path, ledger):
    (tmp_path / "farthing.toml").write_text(
        'budget = "$50/month"\n[budgets]\nhouse = "$200/month"\n[budgets.shift]\nlimit = 5\nperiod = "36h"\n'
    )
    ended = farthing("doctor", "--ledger", ledger, cwd=tmp_path)
    assert (ended.status, ended.json["faults"]) == (0, [])


def test_at_a_terminal_it_fits_80_columns(ledger):
    shown = at_terminal("doctor", "--ledger", ledger).out
    assert max(map(len, shown.splitlines())) <= 80
    assert "uncertain money" in shown
