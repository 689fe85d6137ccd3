"""The default meter: found when it is used, from configure(), the environment, a file, or defaults."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from openai import OpenAI

import farthing
from farthing import Budget, FarthingError
from farthing.meter.config import settings

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 300}


def test_a_client_wrapped_before_configure_books_on_the_ledger_of_the_moment_of_the_call(provider, tmp_path):
    with OpenAI(base_url=provider.base_url, api_key="k") as plain:
        client = farthing.wrap(plain)
        farthing.configure(ledger=tmp_path / "one.db")
        client.chat.completions.create(**CHAT)
        farthing.configure(ledger=tmp_path / "two.db")
        answer = client.chat.completions.create(**CHAT)
    assert farthing.receipt(answer).cost is not None
    for name in ("one.db", "two.db"):
        with farthing.Meter(tmp_path / name) as meter:
            assert len(meter.engine.ledger.calls()) == 1


def test_the_same_configure_again_does_nothing_and_another_one_replaces_and_says_so(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="farthing")
    first = farthing.configure(ledger=tmp_path / "one.db")
    assert farthing.configure(ledger=tmp_path / "one.db") is first
    assert farthing.configure(ledger=tmp_path / "two.db") is not first
    assert [r.message for r in caplog.records] == ["the default meter is replaced"]


def test_a_configure_that_makes_no_sense_changes_nothing(tmp_path):
    first = farthing.configure(ledger=tmp_path / "one.db")
    for wrong in (
        {"budget": "€5"},
        {"colour": "red"},
        {"on_tight": "squeeze"},
        {"account": 5},
        {"prices": 3},
    ):
        with pytest.raises(FarthingError):
            farthing.configure(**wrong)
    assert farthing.default_meter() is first


def test_the_environment_outranks_a_file_and_configure_outranks_both(tmp_path, monkeypatch):
    (tmp_path / "farthing.toml").write_text('account = "file"\nledger = "file.db"\ndurability = "fast"\n')
    below = tmp_path / "deep" / "down"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.setenv("FARTHING_ACCOUNT", "environment")
    found = settings({"ledger": "given.db"})
    assert {name: s.value for name, s in found.items()} == {
        "account": "environment",
        "ledger": "given.db",
        "durability": "fast",
    }
    assert found["durability"].source == str(tmp_path / "farthing.toml")
    assert found["account"].source == "FARTHING_ACCOUNT"


@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
def test_a_path_in_a_file_is_from_its_folder_wherever_the_program_starts(tmp_path, monkeypatch, named):
    file = tmp_path / "farthing.toml"
    file.write_text('ledger = "here/l.db"\nprice_file = "prices.json"\n')
    below = tmp_path / "deep" / "down"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    if named:
        monkeypatch.setenv("FARTHING_CONFIG", "../../farthing.toml")
    found = settings({})
    assert Path(found["ledger"].value).resolve() == tmp_path / "here" / "l.db"
    assert Path(found["prices"].value.file).resolve() == tmp_path / "prices.json"


@pytest.mark.parametrize("path", [":memory:", "~/l.db", "postgresql://host/name"])
def test_what_is_no_relative_path_stays_as_it_is(tmp_path, monkeypatch, path):
    (tmp_path / "farthing.toml").write_text(f'ledger = "{path}"\n')
    monkeypatch.chdir(tmp_path)
    assert settings({})["ledger"].value == path


def test_a_table_in_pyproject_serves_as_well(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text('[tool.farthing]\naccount = "here"\n')
    monkeypatch.chdir(tmp_path)
    assert settings({})["account"].value == "here"


@pytest.mark.parametrize("text", ["colour = 1", "ledger = [", "ledger = 5", "budget = '€5'"])
def test_a_file_that_makes_no_sense_is_told_with_its_name(tmp_path, monkeypatch, text):
    (tmp_path / "farthing.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FarthingError, match=r"farthing\.toml|not understood"):
        farthing.default_meter()


def test_the_budget_of_the_environment_is_the_standing_budget_default(tmp_path, monkeypatch):
    monkeypatch.setenv("FARTHING_LEDGER", str(tmp_path / "l.db"))
    monkeypatch.setenv("FARTHING_BUDGET", "$5/day")
    assert [(b.name, b.period) for b in farthing.budgets()] == [("default", "day")]


def test_a_budget_of_the_environment_without_a_period_is_for_good(tmp_path, monkeypatch):
    monkeypatch.setenv("FARTHING_LEDGER", str(tmp_path / "l.db"))
    monkeypatch.setenv("FARTHING_BUDGET", "$5")
    assert farthing.budget("default").period == "total"


def test_using_overrides_the_default_meter_in_its_context(tmp_path):
    farthing.configure(ledger=tmp_path / "one.db")
    with farthing.Meter(tmp_path / "two.db") as other:
        with farthing.using(other):
            assert farthing.default_meter() is other
            farthing.set_budget(Budget("b", 1, "day"))
        assert farthing.default_meter() is not other
        assert [b.name for b in other.budgets()] == ["b"]
        assert farthing.budgets() == []


def test_without_any_setting_the_ledger_is_in_the_users_data_folder(home):
    assert farthing.default_meter().ledger_path.is_relative_to(home)


def test_importing_farthing_opens_and_loads_nothing(tmp_path):
    code = (
        "import sys, farthing, farthing.meter.default\n"
        "farthing.wrap, farthing.track_usage, farthing.Meter\n"
        "heavy = {'genai_prices', 'tiktoken', 'sqlite_utils', 'rich', 'click', 'starlette', 'sqlite3'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []
