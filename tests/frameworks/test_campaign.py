"""The campaign's own judgement, on OpenAI's SDK alone; frameworks where this environment has them."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from frameworks.answering import example
from frameworks.checking import complaints, expected, of_refusal, request_id
from frameworks.running import FRAMEWORKS, one_run, outcomes, shown_for

PYTHON = Path(sys.executable)
PLAIN = FRAMEWORKS[0]


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return one_run(PLAIN, PYTHON, tmp_path_factory.mktemp("bare"), None)


@pytest.fixture(scope="module")
def metered(tmp_path_factory):
    return one_run(PLAIN, PYTHON, tmp_path_factory.mktemp("metered"), "wrap")


def test_a_program_that_is_metered_well_gives_no_complaint(bare, metered):
    assert len(metered.requests) == 7
    assert complaints(bare, metered) == []


def test_calls_that_nobody_meters_are_complained_of(bare):
    said = complaints(bare, bare)
    assert "not booked: ['req_000001', 'req_000002'" in said[0]


def test_a_lost_call_is_complained_of(bare, metered):
    said = complaints(bare, replace(metered, rows=metered.rows[1:]))
    assert "not booked: ['req_000001']" in said


def test_a_call_that_is_booked_twice_is_complained_of(bare, metered):
    said = complaints(bare, replace(metered, rows=[*metered.rows, metered.rows[-1]]))
    assert "booked, and not or not so often sent: ['req_000007']" in said


def test_a_call_that_is_still_open_is_complained_of(bare, metered):
    still = {"request_id": None, "outcome": "still open"}
    said = complaints(bare, replace(metered, rows=[*metered.rows[:-1], still]))
    assert "not booked: ['req_000007']" in said
    assert "booked, and not or not so often sent: ['None']" in said


@pytest.mark.parametrize("name", ["input_tokens", "cached_tokens", "output_tokens", "cost_nano"])
def test_a_figure_that_is_off_by_one_is_complained_of(bare, metered, name):
    first = metered.rows[0]
    said = complaints(bare, replace(metered, rows=[{**first, name: first[name] + 1}, *metered.rows[1:]]))
    assert said == [f"req_000001 (/v1/chat/completions): {name} is {first[name] + 1} and not {first[name]}"]


def test_the_figures_of_another_call_are_complained_of(bare, metered):
    first, second, *rest = metered.rows
    swapped = [
        {**first, "request_id": second["request_id"]},
        {**second, "request_id": first["request_id"]},
    ]
    assert len(complaints(bare, replace(metered, rows=[*swapped, *rest]))) == 2


def test_an_estimate_in_place_of_what_was_stated_is_complained_of(bare, metered):
    first = {**metered.rows[0], "usage_source": "estimated"}
    [said] = complaints(bare, replace(metered, rows=[first, *metered.rows[1:]]))
    assert "usage_source is 'estimated' and not 'reported'" in said


def test_money_that_stays_held_or_is_spent_without_a_row_is_complained_of(bare, metered):
    said = complaints(bare, replace(metered, held=1, spent=metered.spent + 1))
    assert [what.split()[0:3] for what in said] == [
        ["budgets", "still", "hold"],
        ["budgets", "have", "spent"],
    ]


def test_another_answer_and_another_request_are_complained_of(bare, metered):
    other = replace(metered.requests[0], body={**metered.requests[0].body, "max_tokens": 1})
    said = complaints(
        bare, replace(metered, answers=metered.answers[1:], requests=[other, *metered.requests[1:]])
    )
    assert len(said) == 2
    assert "was answered otherwise" in said[0]
    assert "was asked otherwise" in said[1]


def test_a_try_to_reach_another_machine_is_complained_of(bare, metered, tmp_path):
    program = tmp_path / "phones.py"
    program.write_text(
        "import contextlib, socket\nimport kit\n"
        "with contextlib.suppress(OSError):\n    socket.create_connection(('telemetry.example', 443))\n"
    )
    ran = one_run(PLAIN, PYTHON, tmp_path, None, program)
    assert ran.elsewhere == ["telemetry.example"]
    assert "the program tried to reach telemetry.example" in complaints(
        bare, replace(metered, elsewhere=ran.elsewhere)
    )


def test_a_refused_call_that_was_sent_or_booked_or_passed_over_is_complained_of(metered):
    assert of_refusal(metered) == [
        "7 requests were sent",
        "7 calls were booked",
        "the program exited with 0, not 3",
    ]


def test_the_cost_that_is_expected_is_that_of_the_price_list_by_hand(metered):
    first = metered.requests[0]  # 1,216 input, of which 1,025 cached, and 151 output
    assert request_id(first) == "req_000001"
    assert expected(first)["cost_nano"] == 191 * 2_500 + 1_025 * 1_250 + 151 * 10_000


def test_an_example_of_a_schema_fits_it():
    coin = {"type": "object", "properties": {"pence": {"anyOf": [{"type": "number"}, {"type": "null"}]}}}
    schema = {
        "type": "object",
        "properties": {
            "of": {"$ref": "#/$defs/Coin"},
            "many": {"type": "array", "items": {"enum": ["a", "b"]}},
        },
        "$defs": {"Coin": coin},
    }
    assert example(schema) == {"of": {"pence": 0.25}, "many": ["a"]}


def test_the_page_shows_a_program_for_each_framework_that_is_metered():
    frameworks = [framework for framework in FRAMEWORKS if framework.metered and framework is not PLAIN]
    assert [framework.name for framework in frameworks if not shown_for(framework.name)] == []


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.name)
def test_each_call_of_a_framework_is_booked_once_with_its_figures(framework, tmp_path):
    if missing := [module for module in framework.modules if not importable(module)]:
        pytest.skip(f"{missing[0]} is not installed here: python tests/frameworks/campaign.py installs it")
    found = {one.way: one.complaints for one in outcomes(framework, PYTHON, tmp_path)}
    assert {way: wrong for way, wrong in found.items() if wrong} == {}
    assert set(framework.ways) <= set(found)


def importable(module: str) -> bool:
    """Whether it is there, without loading it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
