"""`farthing report` and `farthing calls`."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal

import pytest

from cli.running import at_terminal, farthing, within
from farthing import Meter


def test_a_pipe_gets_json_with_money_to_its_last_digit(ledger):
    ended = farthing("report", "--ledger", ledger)
    assert ended.status == 0
    assert ended.err == ""
    assert [(row["model"], row["costUsd"], row["costNano"], row["unpricedCalls"]) for row in ended.json] == [
        ("gpt-4o", Decimal("0.1"), 100_000_000, 0),
        ("gpt-4o-mini", Decimal("0.000000001"), 1, 0),
        ("mystery-1", None, None, 1),
    ]
    assert '"costUsd": 0.000000001,' in ended.out


def test_a_terminal_gets_a_table_that_says_what_is_unknown(ledger):
    ended = at_terminal("report", "--ledger", ledger)
    lines = ended.out.splitlines()
    assert ended.status == 0
    assert lines[0] == "Cost by model"
    assert lines[1].split() == ["Model", "Calls", "Input", "Cached", "Output", "Cost"]
    assert lines[3].split() == ["gpt-4o", "1", "1,000", "400", "100", "$0.10"]
    assert lines[5].split() == ["mystery-1", "1", "1,000", "400", "100", "unknown"]
    assert lines[6].split() == ["Total", "3", "3,000", "1,200", "300", ">=", "$0.100000001"]
    assert "No price is known for 1 call: their cost is in no sum." in lines
    assert max(map(len, lines)) <= 80


def test_a_report_tells_the_errors_among_its_calls(ledger_path, book):
    book("0.1", account="acme")
    with Meter(ledger_path) as meter:
        for account in ("acme", "acme", "zoe"):
            meter.reserve(model="gpt-4o", amount=1, account=account).void()
    shown = within("report", "--by", "account", "--markdown", "--ledger", ledger_path).out.splitlines()
    assert shown[0] == "| Account | Calls | Errors | Input | Cached | Output | Cost |"
    assert [line.split(" | ")[:3] for line in shown[2:5]] == [
        ["| acme", "3", "2"],
        ["| zoe", "1", "1"],
        ["| Total", "4", "3"],
    ]
    assert "Of all calls 3 were errors, which the provider did not bill." in shown
    zoe = at_terminal("report", "--account", "zoe", "--ledger", ledger_path).out
    assert "Of all calls 1 was an error, which the provider did not bill." in zoe
    assert max(map(len, zoe.splitlines())) <= 80


def test_forms_can_be_asked_for_wherever_it_is_read(ledger):
    rows = list(csv.DictReader(io.StringIO(farthing("report", "--csv", "--ledger", ledger).out)))
    assert [(row["model"], row["costUsd"], row["costNano"]) for row in rows] == [
        ("gpt-4o", "0.1", "100000000"),
        ("gpt-4o-mini", "0.000000001", "1"),
        ("mystery-1", "", ""),
    ]
    lines = farthing("report", "--markdown", "--ledger", ledger).out.splitlines()
    assert lines[:3] == [
        "| Model | Calls | Input | Cached | Output | Cost |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| gpt-4o | 1 | 1,000 | 400 | 100 | $0.10 |",
    ]
    assert json.loads(at_terminal("report", "--json", "--ledger", ledger).out)[0]["model"] == "gpt-4o"


@pytest.mark.parametrize(
    ("arguments", "groups"),
    [
        (["--by", "day"], ["2026-11-19", "2026-11-20"]),
        (["--by", "month"], ["2026-11"]),
        (["--by", "account"], ["acme", "zoe"]),
        (["--by", "provider"], ["openai", None]),
        (["--by", "operation"], ["other"]),
        (["--by", "context"], ["customer"]),
        (["--since", "2026-11-20"], ["gpt-4o-mini", "mystery-1"]),
        (["--until", "2026-11-19"], ["gpt-4o"]),
        (["--until", "2026-11-20T12:00:00Z"], ["gpt-4o"]),
        (["--since", "2026-11-20T13:00:00+02:00", "--until", "2026-11-20"], ["gpt-4o-mini", "mystery-1"]),
        (["--account", "zoe"], ["gpt-4o-mini", "mystery-1"]),
        (["--account", "nobody"], []),
    ],
)
def test_a_report_is_by_what_and_of_what_is_asked(ledger, arguments, groups):
    by = arguments[1] if arguments[0] == "--by" else "model"
    result = within("report", *arguments, "--json", "--ledger", ledger)
    assert result.status == 0, result.err
    assert [row[by] for row in result.json] == groups


def test_a_report_by_several_things_has_each_combination(ledger):
    rows = within("report", "--by", "account", "--by", "day", "--ledger", ledger).json
    assert [(row["account"], row["day"]) for row in rows] == [("acme", "2026-11-19"), ("zoe", "2026-11-20")]


def test_calls_are_shown_with_the_newest_first(ledger):
    rows = farthing("calls", "--ledger", ledger).json
    assert [row["model"] for row in rows][-1] == "gpt-4o"
    assert rows[0]["costUsd"] is None
    assert rows[0]["tags"] == {"user": "ann"}
    assert rows[0]["flags"] == ["recorded"]
    assert rows[1]["countedUsd"] == Decimal("0.000000001")
    assert rows[0]["startedAt"] == "2026-11-20T12:00:00Z"


def test_calls_can_be_narrowed_down(ledger):
    assert len(within("calls", "--limit", 2, "--ledger", ledger).json) == 2
    assert len(within("calls", "--account", "zoe", "--ledger", ledger).json) == 2
    assert [row["model"] for row in within("calls", "--model", "gpt-4o", "--ledger", ledger).json] == [
        "gpt-4o"
    ]


def test_whoever_asks_for_a_model_by_half_its_name_is_told_the_other_half(ledger):
    shown = at_terminal("calls", "--model", "gpt-4", "--ledger", ledger).out
    assert shown.splitlines() == ["No calls.", "There are calls of gpt-4o, gpt-4o-mini."]


def test_at_a_terminal_calls_fit_80_columns_and_no_number_is_ever_cut(ledger):
    wide = at_terminal("calls", "--ledger", ledger)
    assert max(map(len, wide.out.splitlines())) <= 80
    assert "2026-11-20 12:00:00  zoe      gpt-4o-mini  1,000     100  $0.000000001  complete" in wide.out
    narrow = at_terminal("calls", "--ledger", ledger, columns=30).out
    assert "2026-11-20 12:00:00" in narrow
    assert "$0.000000001" in narrow


def test_estimates_are_marked(ledger_path):
    with Meter(ledger_path) as meter:
        hold = meter.reserve(model="gpt-4o", input_tokens=1000, max_output_tokens=100)
        hold.sent()
        hold.fail(TimeoutError())
    assert "~$0.0025" in at_terminal("calls", "--ledger", ledger_path).out
    shown = at_terminal("report", "--ledger", ledger_path).out
    assert "~$0.0025" in shown
    assert "Budgets were charged $0.001 more, for calls whose end is not certain." in shown


def test_names_cannot_command_a_terminal_or_break_a_table(ledger_path, book):
    evil = "x\x1b[2J\x07|<b>\n[red]y"
    book(1, account=evil)
    shown = at_terminal("report", "--by", "account", "--ledger", ledger_path).out
    assert "x?[2J?|<b>?[red]y" in shown
    marked = farthing("report", "--by", "account", "--markdown", "--ledger", ledger_path).out
    assert "| x?[2J?\\|&lt;b>?[red]y | 1 |" in marked
    assert farthing("report", "--by", "account", "--ledger", ledger_path).json[0]["account"] == evil


def test_an_empty_ledger_is_an_empty_answer(ledger_path):
    with Meter(ledger_path) as meter:
        meter.warm()
    assert within("report", "--ledger", ledger_path).json == []
    assert within("calls", "--ledger", ledger_path).json == []
    assert within("report", "--csv", "--ledger", ledger_path).out.startswith("model,calls,")
    assert at_terminal("calls", "--ledger", ledger_path).out == "No calls.\n"


def test_text_beyond_what_a_terminal_knows_is_spelt_out(ledger_path, book):
    book(1, account="\u017dofie")
    ask = ("report", "--by", "account", "--ledger", ledger_path)
    assert farthing(*ask, PYTHONIOENCODING="latin-1").json[0]["account"] == "\u017dofie"
    assert "\\u017dofie" in farthing(*ask, "--markdown", PYTHONIOENCODING="latin-1").out
    assert "\\u017dofie" in at_terminal(*ask, PYTHONIOENCODING="latin-1").out
