"""`farthing budget`."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cli.running import at_terminal, farthing, told, within
from farthing import Budget, Meter


def stored(path):
    with Meter(path) as meter:
        return meter.budgets()


@pytest.mark.parametrize(
    ("arguments", "budget"),
    [
        (["5"], Budget("b", 5, "month")),
        (["$5/day"], Budget("b", 5, "day")),
        (["5 USD/week"], Budget("b", 5, "week")),
        (["0.50", "--period", "total"], Budget("b", "0.50", "total")),
        (["$5/day", "--period", "day"], Budget("b", 5, "day")),
        (["5", "--per", "account"], Budget("b", 5, per="account")),
        (["5", "--per", "tag:user", "--mode", "soft"], Budget("b", 5, per="tag:user", mode="soft")),
        (
            [
                "5",
                "--account",
                "acme",
                "--model",
                "gpt-*",
                "--provider",
                "openai",
                "--timezone",
                "Europe/Berlin",
            ],
            Budget("b", 5, account="acme", model="gpt-*", provider="openai", timezone="Europe/Berlin"),
        ),
        (["5", "--tag", "a=1", "--tag", "b=x=y"], Budget("b", 5, tags={"a": "1", "b": "x=y"})),
    ],
)
def test_a_budget_is_set_as_it_was_said(ledger_path, arguments, budget):
    ended = within("budget", "set", "b", *arguments, "--ledger", ledger_path)
    assert ended.status == 0, ended.err
    assert [(row["name"], row["origin"]) for row in ended.json] == [("b", "cli")]
    assert stored(ledger_path) == [budget]


def test_what_is_not_said_anew_stays_as_it_was(ledger_path):
    within("budget", "set", "b", "$5/day", "--account", "acme", "--ledger", ledger_path)
    assert within("budget", "set", "b", "7", "--ledger", ledger_path).status == 0
    assert stored(ledger_path) == [Budget("b", 7, "day", account="acme")]
    assert within("budget", "set", "b", "7/week", "--mode", "soft", "--ledger", ledger_path).status == 0
    assert stored(ledger_path) == [Budget("b", 7, "week", account="acme", mode="soft")]


def test_a_limit_of_the_command_line_stands_over_one_in_code(ledger_path):
    with Meter(ledger_path, budgets=[Budget("b", 5)]) as meter:
        meter.warm()
    within("budget", "set", "b", "7", "--ledger", ledger_path)
    with Meter(ledger_path, budgets=[Budget("b", 5)]) as meter:
        assert meter.budget("b").limit == 7


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["€5"], "'€5' is not understood: a budget is an amount of USD"),
        (["-5"], "'-5' is not understood: a budget is an amount of USD"),
        (["abc"], "'abc' is not understood: a budget is an amount of USD"),
        (["5/fortnight"], "'5/fortnight' is not understood"),
        (["5/run"], "a standing budget is not of a run"),
        (["5/day", "--period", "week"], "'5/day' says day and --period says week"),
        (["5", "--period", "run"], "'run' is not one of"),
        (["5", "--per", "user"], "per must be 'account' or 'tag:NAME'"),
        (["5", "--tag", "user"], "'user' is not of the form NAME=VALUE"),
        (["5", "--timezone", "Mars/Phobos"], "timezone must be an IANA name"),
        (["5", "--mode", "gentle"], "'gentle' is not one of"),
        (["5", "6"], "unexpected extra argument"),
        ([], "Missing argument 'LIMIT'"),
    ],
)
def test_a_budget_that_makes_no_sense_is_wrong_usage_and_changes_nothing(ledger_path, arguments, says):
    ended = within("budget", "set", "b", *arguments, "--ledger", ledger_path)
    assert ended.status == 2
    assert says in told(ended)
    assert ended.out == ""
    assert not ledger_path.exists()


def test_budgets_are_listed_with_where_they_stand(ledger_path, book):
    with Meter(
        ledger_path, budgets=[Budget("all", 4, "total"), Budget("each", 10, "total", per="account")]
    ) as meter:
        meter.warm()
    book(3, account="acme")
    rows = within("budget", "list", "--ledger", ledger_path).json
    assert [(row["name"], row["key"], row["spentUsd"], row["state"]) for row in rows] == [
        ("all", "", 3, "caution"),
        ("each", "acme", 3, "ok"),
    ]
    assert (rows[0]["limitNano"], rows[0]["remainingUsd"], rows[0]["usedPercent"]) == (
        4 * 10**9,
        1,
        Decimal("75.00"),
    )
    lines = at_terminal("budget", "list", "--ledger", ledger_path).out.splitlines()
    assert lines[0].split() == ["Budget", "Limit", "Spent", "Left", "Used", "Resets"]
    assert lines[2].split() == ["all", "$4.00/total", "$3.00", "$1.00", "75.00%", "caution", "never"]
    assert lines[3].split()[:2] == ["each", "[acme]"]
    assert max(map(len, lines)) <= 80


def test_no_budgets_is_an_empty_list_and_a_word_on_how_to_make_one(ledger):
    assert within("budget", "list", "--ledger", ledger).json == []
    assert (
        "`farthing budget set NAME '$5/day'` makes one"
        in at_terminal("budget", "list", "--ledger", ledger).out
    )


def test_a_budget_is_removed_once(ledger_path):
    farthing("budget", "set", "b", "5", "--ledger", ledger_path)
    assert within("budget", "remove", "b", "--ledger", ledger_path).json == {"removed": "b"}
    assert stored(ledger_path) == []
    again = farthing("budget", "remove", "b", "--ledger", ledger_path)
    assert again.status == 1
    assert told(again).startswith("there is no standing budget 'b'")
