"""`farthing budget`."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cli.running import at_terminal, farthing, told, within
from farthing import Budget, Meter
from farthing.cli.budgets_said import CLEARED


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
        (["5", "--context", "system"], Budget("b", 5, context="system")),
        (["5", "--anchor", "15"], Budget("b", 5, anchor=15)),
        (["5/month", "--anchor", "31"], Budget("b", 5, anchor=31)),
        (["5", "--period", "36h"], Budget("b", 5, timedelta(hours=36))),
        (["5", "--period", "90s"], Budget("b", 5, timedelta(seconds=90))),
        (
            ["5", "--period", "2w", "--anchor", "2026-11-02T06:00:00+01:00"],
            Budget("b", 5, timedelta(weeks=2), anchor=datetime(2026, 11, 2, 5, tzinfo=UTC)),
        ),
        (
            ["5", "--period", "14d", "--anchor", "2026-11-02"],
            Budget("b", 5, timedelta(days=14), anchor=datetime(2026, 11, 2, tzinfo=UTC)),
        ),
        (["5", "--alerts", "50%,0.8, 110%"], Budget("b", 5, alerts=(0.5, 0.8, 1.1))),
        (["5", "--alerts", "none"], Budget("b", 5, alerts=())),
        (
            ["5", "--fallback", "gpt-4o-mini", "--wait", "0.5"],
            Budget("b", 5, fallback="gpt-4o-mini", wait=0.5),
        ),
        (["5", "--uncertain", "expected"], Budget("b", 5, uncertain="expected")),
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
        (["5", "--context", "mine"], "'mine' is not one of"),
        (["5", "--period", "36"], "'36' is not one of hour, day, week, month, total, nor a length of time"),
        (["5", "--period", "0d"], "'0d' is not one of"),
        (["5", "--period", "999999999w"], "'999999999w' is not one of"),
        (["5/day", "--period", "36h"], "'5/day' says day and --period says 36h"),
        (["5", "--anchor", "32"], "anchor must be a day from 1 to 31 of a month"),
        (["5/day", "--anchor", "15"], "anchor must be a day from 1 to 31 of a month"),
        (["5", "--anchor", "soon"], "'soon' is no day of a month (1 to 31), and is no date such as"),
        (["5", "--anchor", "2026-11-02T06:00"], "has no time zone"),
        (["5", "--anchor", "2026-11-02"], "an instant as anchor belongs to a period that is a timedelta"),
        (["5", "--alerts", "75"], "'75' is no share of the limit: write 75%,90% or 0.75,0.9"),
        (["5", "--alerts", "75%,"], "'' is no share of the limit"),
        (["5", "--alerts", "0%"], "'0%' is no share of the limit"),
        (["5", "--wait", "-1"], "wait must be seconds from 0 on"),
        (["5", "--wait", "long"], "'long' is not a valid float"),
        (["5", "--wait", "nan"], "wait must be seconds from 0 on"),
        (["5", "--fallback", ""], "fallback of budget 'b' must be a text"),
        (["5", "--uncertain", "maybe"], "'maybe' is not one of"),
        (["5", "--clear", "limit"], "'limit' is not one of"),
        (["5", "--wait", "1", "--clear", "wait"], "--wait and --clear wait contradict each other"),
        (["5", "--tag", "a=1", "--clear", "tag"], "--tag and --clear tag contradict each other"),
        (["5", "--colour", "red"], "unexpected extra argument"),
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


def test_days_that_begin_elsewhere_are_shown_with_where_and_in_which_zone_they_end(ledger_path):
    farthing("budget", "set", "b", "5/day", "--timezone", "Asia/Tokyo", "--ledger", ledger_path)
    lines = at_terminal("budget", "list", "--ledger", ledger_path).out.splitlines()
    assert lines[2].startswith("b (Asia/Tokyo) ")
    assert lines[2].rstrip().endswith(" 15:00")
    assert lines[3] == "Instants are in UTC."


def test_no_budgets_is_an_empty_list_and_a_word_on_how_to_make_one(ledger):
    assert within("budget", "list", "--ledger", ledger).json == []
    assert (
        "`farthing budget set NAME '$5/day'` makes one"
        in at_terminal("budget", "list", "--ledger", ledger).out
    )


def test_a_budget_is_named_as_it_was_set_also_by_bytes_that_are_no_text(ledger_path):
    name = os.fsdecode(b"n\xff")
    [row] = farthing("budget", "set", name, "5/day", "--ledger", ledger_path).json
    assert row["name"] == Budget(name, 5).name
    ended = farthing("budget", "release", name, "--ledger", ledger_path)
    assert "nothing to release" in told(ended)
    assert farthing("budget", "remove", name, "--ledger", ledger_path).json == {"removed": row["name"]}
    assert within("budget", "list", "--ledger", ledger_path).json == []


def test_a_budget_is_removed_once(ledger_path):
    farthing("budget", "set", "b", "5", "--ledger", ledger_path)
    assert within("budget", "remove", "b", "--ledger", ledger_path).json == {"removed": "b"}
    assert stored(ledger_path) == []
    again = farthing("budget", "remove", "b", "--ledger", ledger_path)
    assert again.status == 1
    assert told(again).startswith("there is no standing budget 'b'")


EVERYTHING = {
    "period": timedelta(hours=36),
    "per": "tag:user",
    "account": "acme",
    "context": "customer",
    "provider": "openai",
    "model": "gpt-*",
    "tags": {"team": "red"},
    "timezone": "Europe/Berlin",
    "anchor": datetime(2026, 11, 2, 5, tzinfo=UTC),
    "mode": "soft",
    "alerts": (0.5,),
    "fallback": "gpt-4o-mini",
    "wait": 1.5,
    "uncertain": "count",
}
SAID = {
    "--period": "36h",
    "--per": "tag:user",
    "--account": "acme",
    "--context": "customer",
    "--provider": "openai",
    "--model": "gpt-*",
    "--tag": "team=red",
    "--timezone": "Europe/Berlin",
    "--anchor": "2026-11-02T06:00:00+01:00",
    "--mode": "soft",
    "--alerts": "50%",
    "--fallback": "gpt-4o-mini",
    "--wait": "1.5",
    "--uncertain": "count",
}


def set_whole(ledger_path, limit="5"):
    options = [word for pair in SAID.items() for word in pair]
    ended = within("budget", "set", "b", limit, *options, "--ledger", ledger_path)
    assert ended.status == 0, ended.err
    return ended.json


def test_every_field_of_a_budget_can_be_set_is_shown_and_stays(ledger_path):
    assert set(EVERYTHING) == set(Budget.__dataclass_fields__) - {"name", "limit"}
    (row,) = set_whole(ledger_path)
    assert stored(ledger_path) == [Budget("b", 5, **EVERYTHING)]
    shown = {name: row[name] for name in EVERYTHING}
    assert shown == {
        **EVERYTHING, "period": "36h", "anchor": "2026-11-02T05:00:00Z", "alerts": [0.5], "wait": 1.5,
    }  # fmt: skip
    assert within("budget", "list", "--ledger", ledger_path).json == [row]
    assert within("budget", "set", "b", "7", "--ledger", ledger_path).status == 0
    assert stored(ledger_path) == [Budget("b", 7, **EVERYTHING)]


@pytest.mark.parametrize("name", CLEARED)
def test_what_is_cleared_has_its_default_and_the_rest_stays(ledger_path, name):
    set_whole(ledger_path)
    assert within("budget", "set", "b", "5", "--clear", name, "--ledger", ledger_path).status == 0
    field = "tags" if name == "tag" else name
    kept = {other: value for other, value in EVERYTHING.items() if other != field}
    assert stored(ledger_path) == [Budget("b", 5, **kept)]


def test_another_period_lets_go_of_the_anchor_of_the_one_before(ledger_path):
    for options, anchor in (
        (["5/month", "--anchor", "15"], 15),
        (["6"], 15),
        (["5", "--period", "36h"], None),
        (["5", "--period", "36h", "--anchor", "2026-11-02"], datetime(2026, 11, 2, tzinfo=UTC)),
        (["5/month"], None),
    ):
        ended = within("budget", "set", "b", *options, "--ledger", ledger_path)
        assert ended.status == 0, ended.err
        assert stored(ledger_path)[0].anchor == anchor


def test_a_person_sees_what_a_budget_binds_and_when_it_starts_anew(ledger_path):
    within("budget", "set", "b", "5", "--period", "36h", "--fallback", "gpt-4o-mini", "--ledger", ledger_path)
    within("budget", "set", "m", "5", "--anchor", "15", "--ledger", ledger_path)
    shown = " ".join(at_terminal("budget", "list", "--ledger", ledger_path, columns=140).out.split())
    assert "b (else gpt-4o-mini) $5.00/36h" in shown
    assert "m (from day 15) $5.00/month" in shown


def test_a_budget_of_the_command_line_is_released_to_what_the_program_declares(ledger_path):
    for declared in (5, 6):
        with Meter(ledger_path, budgets=[Budget("b", declared)]) as meter:
            meter.warm()
    within("budget", "set", "b", "7", "--ledger", ledger_path)
    ended = within("budget", "release", "b", "--ledger", ledger_path)
    assert (ended.status, [row["limitUsd"] for row in ended.json]) == (0, [6])
    assert stored(ledger_path) == [Budget("b", 6)]


def test_there_is_nothing_to_release_where_nothing_was_declared(ledger_path):
    within("budget", "set", "b", "5", "--ledger", ledger_path)
    ended = within("budget", "release", "b", "--ledger", ledger_path)
    assert ended.status == 1
    assert told(ended).startswith("budget 'b' stands over no declaration")
    ended = within("budget", "release", "c", "--ledger", ledger_path)
    assert ended.status == 1
    assert told(ended).startswith("there is no standing budget 'c'")
    assert stored(ledger_path) == [Budget("b", 5)]
