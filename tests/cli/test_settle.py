"""`farthing calls settle`: which calls wait for a figure, and giving it to them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cli.running import at_terminal, farthing, told, within
from farthing import Meter, Usage

USAGE = Usage(input_tokens=1000, output_tokens=100)


@pytest.fixture
def uncertain(ledger_path):
    """A ledger with a call that may have been billed and one without a price; the id of the first."""
    with Meter(ledger_path) as meter:
        meter.record(model="gpt-4o", usage=USAGE)
        meter.record(model="mystery-1", usage=USAGE)
        hold = meter.reserve(model="gpt-4o", input_tokens=1000, max_output_tokens=100)
        hold.sent()
        hold.fail(TimeoutError())
        return hold.id


def test_without_an_id_it_lists_what_is_uncertain_and_whom_to_ask(ledger_path, uncertain):
    ended = farthing("calls", "settle", "--ledger", ledger_path)
    assert ended.status == 0
    assert [(row["model"], row["outcome"], row["ask"]) for row in ended.json] == [
        ("gpt-4o", "unknown", "provider"),
        ("mystery-1", "complete", "price"),
    ]
    assert (ended.json[0]["id"], ended.json[0]["countedUsd"]) == (uncertain, Decimal("0.0035"))
    shown = at_terminal("calls", "settle", "--ledger", ledger_path).out
    assert uncertain in shown
    assert " ~$0.0025 " in shown  # an estimate
    assert "`farthing calls settle ID --cost USD`" in shown
    assert "then `farthing reprice` books it." in " ".join(shown.split())


def test_a_call_is_settled_with_what_it_was_billed(ledger_path, uncertain):
    ended = farthing(
        "calls", "settle", uncertain, "--cost", "$0.003", "--reason", "the invoice", "--ledger", ledger_path
    )
    assert ended.status == 0, ended.err
    [row] = ended.json
    assert (row["costUsd"], row["countedUsd"], row["previousCostUsd"]) == (
        Decimal("0.003"),
        Decimal("0.003"),
        Decimal("0.0025"),
    )
    assert "corrected" in row["flags"]
    [change] = row["changes"]
    assert (change["kind"], change["reason"], change["oldCostNano"]) == ("correct", "the invoice", 2_500_000)
    assert len(within("calls", "settle", "--ledger", ledger_path).json) == 1


def test_a_call_that_was_not_billed_is_voided_and_calls_show_what_they_said(ledger_path, uncertain):
    assert within("calls", "settle", uncertain, "--void", "--ledger", ledger_path).status == 0
    shown = at_terminal("calls", "--ledger", ledger_path, columns=120).out
    assert "error, corrected from $0.0025" in shown
    [row] = [row for row in within("calls", "--ledger", ledger_path).json if row["id"] == uncertain]
    assert (row["costNano"], row["previousCostNano"]) == (0, 2_500_000)
    assert row["changes"][0]["reason"] == "settled on the command line"


def test_a_ledger_named_before_the_verb_is_meant_for_it_as_well(ledger_path, uncertain):
    assert len(within("calls", "--ledger", ledger_path, "settle").json) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ID"], "say what it was billed with --cost, or that it was not with --void"),
        (["ID", "--cost", "1", "--void"], "say what it was billed with --cost"),
        (["ID", "--cost", "-1"], "cost must not be negative"),
        (["ID", "--cost", "much"], "cost must be a number of USD"),
        (["ID", "--cost", ""], "cost must be a number of USD"),
        (["--cost", "1"], "which call?"),
        (["--void"], "which call?"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(ledger_path, uncertain, arguments, sentence):
    asked = [uncertain if argument == "ID" else argument for argument in arguments]
    ended = within("calls", "settle", *asked, "--ledger", ledger_path)
    assert ended.status == 2
    assert sentence in told(ended)


def test_an_unknown_call_is_an_error_of_one_line(ledger_path, uncertain):
    ended = within("calls", "settle", "nobody", "--void", "--ledger", ledger_path)
    assert ended.status == 1
    assert told(ended) == "there is no call 'nobody'"


def test_a_ledger_without_uncertain_calls_says_so(ledger_path):
    with Meter(ledger_path) as meter:
        meter.record(model="gpt-4o", usage=USAGE)
    assert at_terminal("calls", "settle", "--ledger", ledger_path).out == "Every call has a certain cost.\n"


def test_a_lower_bound_is_marked_wherever_it_is_shown(ledger_path):
    with Meter(ledger_path, prices={"half-priced": {"input": 2}}) as meter:
        meter.record(model="half-priced", usage=USAGE)
    shown = at_terminal("report", "--ledger", ledger_path).out
    assert ">= $0.002" in shown
    assert "The cost of 1 call is a lower bound: no price is known for a part of what they used." in " ".join(
        shown.split()
    )
    assert within("report", "--ledger", ledger_path).json[0]["partialCalls"] == 1
    assert ">= $0.002" in at_terminal("calls", "--ledger", ledger_path).out
    assert ">= $0.002" in at_terminal("calls", "settle", "--ledger", ledger_path).out
