"""`farthing reprice`."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cli.running import at_terminal, farthing, told, within
from farthing import Meter, Usage, UserPrice

USAGE = Usage(input_tokens=1000, output_tokens=100)


@pytest.fixture
def ledger(ledger_path):
    """Two calls without a price, for which one has been stored since, and one of a stated cost."""
    with Meter(ledger_path) as meter:
        for _ in range(2):
            meter.record(model="mystery-1", usage=USAGE)
        meter.record(model="mystery-1", usage=USAGE, cost="0.5")
        meter.engine.ledger.set_price(UserPrice(model="mystery-1", prices={"input": 2, "output": 8}))
    return ledger_path


def test_a_dry_run_shows_what_would_change_and_writes_nothing(ledger):
    ended = farthing("reprice", "--dry-run", "--ledger", ledger)
    assert ended.status == 0, ended.err
    assert ended.json == {
        "written": False,
        "calls": 3,
        "changed": 2,
        "changes": [
            {
                "provider": None,
                "model": "mystery-1",
                "reason": "its price became known",
                "calls": 2,
                "oldCostUsd": None,
                "oldCostNano": None,
                "costUsd": Decimal("0.0056"),
                "costNano": 5_600_000,
                "oldPrices": None,
                "prices": "user",
            }
        ],
        "left": {"the provider stated the cost": 1},
        "overtaken": 0,
    }
    assert [row["costUsd"] for row in within("calls", "--ledger", ledger).json] == [
        Decimal("0.5"),
        None,
        None,
    ]


def test_what_changes_is_written_once_and_calls_show_what_they_said(ledger):
    assert farthing("reprice", "--ledger", ledger).json["changed"] == 2
    assert within("reprice", "--ledger", ledger).json["changed"] == 0
    rows = within("calls", "--ledger", ledger).json
    assert [row["costUsd"] for row in rows] == [Decimal("0.5"), Decimal("0.0028"), Decimal("0.0028")]
    assert [row["changes"][0]["kind"] for row in rows if row["changes"]] == ["reprice", "reprice"]
    assert within("doctor", "--check", "--ledger", ledger).status == 0
    assert "complete, repriced from unknown" in at_terminal("calls", "--ledger", ledger, columns=120).out


def test_a_terminal_gets_a_table_of_old_new_and_why(ledger):
    lines = at_terminal("reprice", "--dry-run", "--ledger", ledger).out.splitlines()
    assert lines[0] == "What would change"
    assert lines[1].split() == ["Model", "Calls", "Before", "After", "Why"]
    assert lines[3].split() == ["mystery-1", "2", "unknown", "$0.0056", "its", "price", "became", "known"]
    assert "3 calls looked at." in lines
    assert "Left alone: 1 call, because the provider stated the cost." in lines
    assert "Nothing was written; without --dry-run it is." in lines
    assert max(map(len, lines)) <= 80
    assert at_terminal("reprice", "--ledger", ledger).out.startswith("What has changed\n")
    assert "Nothing.\n" in at_terminal("reprice", "--ledger", ledger).out


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (["--model", "mystery-*"], 2),
        (["--model", "gpt-*"], 0),
        (["--since", "2999-01-01"], 0),
        (["--until", "2020-01-01"], 0),
        (["--include-reported"], 3),
        (["--include-estimated"], 2),
    ],
)
def test_the_options_choose_the_calls(ledger, arguments, changed):
    assert within("reprice", "--dry-run", *arguments, "--ledger", ledger).json["changed"] == changed


def test_a_price_in_the_settings_outranks_the_stored_one(ledger, tmp_path):
    (tmp_path / "farthing.toml").write_text("[prices]\nmystery-1 = { input = 3, output = 8 }\n")
    ended = farthing("reprice", "--dry-run", "--ledger", ledger, cwd=tmp_path)
    assert ended.json["changes"][0]["costUsd"] == Decimal("0.0076")


def test_an_end_before_the_start_is_wrong_usage(ledger):
    ended = within("reprice", "--since", "2026-11-20", "--until", "2026-11-19", "--ledger", ledger)
    assert (ended.status, "--until is before --since" in told(ended)) == (2, True)


def test_a_model_without_a_name_is_wrong_usage(ledger):
    ended = within("reprice", "--model", "", "--ledger", ledger)
    assert (ended.status, "--model has no name" in told(ended)) == (2, True)


def test_there_has_to_be_a_ledger(tmp_path):
    ended = within("reprice", "--ledger", tmp_path / "none.db")
    assert ended.status == 1
    assert "there is no ledger" in told(ended)
