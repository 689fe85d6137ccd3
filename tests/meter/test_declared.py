"""Standing budgets that a file of settings declares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import farthing
from farthing import Budget, FarthingError, InvalidBudget, Meter
from farthing.meter.declared import period_of, period_text

FILE = """
ledger = "ledger.db"
budget = "$50/month"

[budgets]
house = "$200"
each = {limit = "0.50", period = "day", per = "tag:user", mode = "soft"}

[budgets.fortnight]
limit = "$5"
period = "14d"
anchor = 2026-11-02T06:00:00+01:00
alerts = [0.5, 1]
timezone = "Europe/Berlin"
tags = {team = "red"}
fallback = "gpt-4o-mini"
wait = 0.5
uncertain = "expected"

[budgets."15th"]
limit = 9
anchor = 15
"""
STATED = [
    Budget("15th", 9, anchor=15),
    Budget("default", 50, "month"),
    Budget("each", "0.50", "day", per="tag:user", mode="soft"),
    Budget(
        "fortnight",
        5,
        timedelta(days=14),
        anchor=datetime(2026, 11, 2, 5, tzinfo=UTC),
        alerts=(0.5, 1.0),
        timezone="Europe/Berlin",
        tags={"team": "red"},
        fallback="gpt-4o-mini",
        wait=0.5,
        uncertain="expected",
    ),
    Budget("house", 200, "total"),
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def declared(text: str) -> Meter:
    Path("farthing.toml").write_text(text, encoding="utf-8")
    return farthing.default_meter()


def origins(meter: Meter) -> set[str]:
    return {one.origin for one in meter.engine.ledger.standing(fresh=True)[1]}


def test_a_file_declares_any_number_of_budgets_with_all_their_fields() -> None:
    meter = declared(FILE)
    assert meter.budgets() == STATED
    assert origins(meter) == {"config"}


def test_budgets_of_a_file_bind() -> None:
    meter = declared('ledger = "l.db"\n[budgets]\nsmall = "$0.001/day"\n')
    with pytest.raises(farthing.InsufficientCredits) as caught:
        meter.reserve(model="gpt-4o", amount="0.002")
    assert caught.value.budget == "small"


def test_budgets_in_code_stand_in_the_place_of_those_in_the_file() -> None:
    Path("farthing.toml").write_text(FILE, encoding="utf-8")
    meter = farthing.configure(budgets=[Budget("mine", 1)])
    assert [budget.name for budget in meter.budgets()] == ["default", "mine"]
    assert origins(meter) == {"code", "config"}


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({"budgets": [Budget("default", 1, "day")]}, 1),
        ({"budget": "$2/day"}, 2),
        ({}, 3),
    ],
    ids=["code outranks all", "configure outranks the environment", "the environment outranks the file"],
)
def test_a_budget_that_is_stated_twice_is_that_of_the_higher_rank_and_written_once(
    given: dict[str, Any], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARTHING_BUDGET", "$3/day")
    Path("farthing.toml").write_text('ledger = "l.db"\n[budgets]\ndefault = "$4/week"\n', encoding="utf-8")
    epochs = []
    for _ in range(2):  # two starts of the program
        meter = farthing.configure(**given)
        assert meter.budgets() == [Budget("default", limit, "day")]
        epochs.append(meter.engine.ledger.standing(fresh=True)[0])
        farthing.configure(ledger="other.db")
    assert epochs[0] == epochs[1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("budgets = 5", "the budgets of a file are tables"),
        ("[[budgets]]\nlimit = 5", "the budgets of a file are tables"),
        ("[budgets]\na = '€5'", "'€5' is not understood"),
        ("[budgets.a]\nperiod = 'day'", "budget 'a' has no limit"),
        (
            "[budgets.a]\nlimit = 5\ncolour = 'red'",
            "budget 'a': 'colour' is no field; known are limit, period",
        ),
        ("[budgets.a]\nlimit = 5\nname = 'b'", "budget 'a': 'name' is no field"),
        ("[budgets.a]\nlimit = '$5/run'", "a standing budget is not of a run"),
        ("[budgets.a]\nlimit = 5\nperiod = 'run'", "'run' is not one of hour, day"),
        ("[budgets.a]\nlimit = '5/day'\nperiod = '36h'", "'5/day' says day and period says 36h"),
        ("[budgets.a]\nlimit = 5\nperiod = 36", "36 is not one of hour, day, week, month, total, nor"),
        ("[budgets.a]\nlimit = 5\nanchor = 2026-11-02T06:00:00", "anchor must have a time zone"),
        ("[budgets.a]\nlimit = true", "must be a number of USD"),
    ],
)
def test_a_budget_of_a_file_that_makes_no_sense_is_an_error_that_says_why(text: str, says: str) -> None:
    with pytest.raises(FarthingError) as caught:
        declared(text)
    assert says in str(caught.value)


@given(st.integers(1, 10**8), st.sampled_from("smhdw"))
def test_a_length_of_time_is_read_as_it_is_written(count: int, unit: str) -> None:
    try:
        length = period_of(f"{count}{unit}")
    except InvalidBudget:
        assert count > 10**7
        return
    assert period_of(period_text(length)) == length


def test_periods_by_name_are_read_as_they_are_written() -> None:
    for name in ("hour", "day", "week", "month", "total"):
        assert period_text(period_of(name)) == name
    assert period_text(timedelta(seconds=1, microseconds=500_000)) == "1.5s"
