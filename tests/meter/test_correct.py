"""What somebody knows better of a call that has ended: `Meter.correct`, and how it is told afterwards."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest

import farthing
from farthing import (
    Budget,
    FarthingError,
    InsufficientCredits,
    InvalidUsage,
    LedgerError,
    Meter,
    UnknownCall,
    Usage,
)
from farthing.testing import FakeClock, FakeIds

USAGE = Usage(input_tokens=1000, output_tokens=100)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def meter(clock):
    with Meter(":memory:", clock=clock, ids=FakeIds()) as meter:
        yield meter
        assert meter.engine.ledger.check() == []


def uncertain(meter, **given):
    """A call that may have been billed: 0.0025 by its prompt, 0.0035 at most."""
    hold = meter.reserve(model="gpt-4o", input_tokens=1000, max_output_tokens=100, **given)
    hold.sent()
    hold.fail(TimeoutError())
    return hold.id


def test_a_correction_states_the_bill_and_is_told_on_the_receipt(meter):
    receipt = meter.correct(uncertain(meter), cost="0.003", reason="the invoice")
    assert (receipt.cost, receipt.counted) == (Decimal("0.003"), Decimal("0.003"))
    assert (receipt.outcome, receipt.cost_source) == ("unknown", "reported")
    assert "corrected" in receipt.flags
    assert receipt.breakdown is not None
    assert (receipt.breakdown.usd, receipt.breakdown.notes) == (Decimal("0.003"), ("stated by a correction",))
    summary = meter.reports.summary()
    assert (summary.total_cost_usd, summary.uncertain_usd, summary.estimated_calls) == (
        Decimal("0.003"),
        0,
        0,
    )


def test_a_voided_call_cost_nothing(meter):
    receipt = meter.correct(uncertain(meter), void=True, reason="not on the invoice")
    assert (receipt.outcome, receipt.cost, receipt.counted, receipt.cost_source) == ("error", 0, 0, "none")


def test_the_history_says_what_was_why_and_when(meter, clock):
    call_id = uncertain(meter)
    clock.advance(60)
    meter.correct(call_id, cost=Decimal("0.003"), reason="  the invoice ")
    [change] = meter.reports.corrections(call_id)
    assert (change.kind, change.reason, change.at) == (
        "correct",
        "the invoice",
        datetime(2026, 1, 1, 0, 1, tzinfo=UTC),
    )
    assert (change.old_cost, change.old_counted, change.old_outcome) == (
        Decimal("0.0025"),
        Decimal("0.0035"),
        "unknown",
    )
    assert (change.cost, change.counted, change.cost_source) == (
        Decimal("0.003"),
        Decimal("0.003"),
        "reported",
    )
    assert meter.reports.corrections(meter.record(model="gpt-4o", usage=USAGE).id) == []


def test_money_of_an_uncertain_call_is_free_again_for_the_next_call(clock):
    with Meter(":memory:", clock=clock, budgets=[Budget("tight", "0.004", "day")], wait=0) as meter:
        call_id = uncertain(meter)
        with pytest.raises(InsufficientCredits):
            uncertain(meter)
        meter.correct(call_id, void=True, reason="not billed")
        uncertain(meter)


def test_a_correction_may_take_a_budget_past_its_limit_but_nothing_else_may(clock):
    with Meter(":memory:", clock=clock, budgets=[Budget("tight", "0.004", "day")], wait=0) as meter:
        meter.correct(uncertain(meter), cost=1, reason="the invoice")
        [window] = meter.windows()
        assert (window.spent, window.cost) == (10**9, 10**9)
        with pytest.raises(InsufficientCredits):
            uncertain(meter)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "either states a cost or voids"),
        ({"cost": 1, "void": True}, "either states a cost or voids"),
        ({"cost": -1}, "must not be negative"),
        ({"cost": "NaN"}, "must be a number of USD"),
        ({"cost": True}, "must be a number of USD"),
        ({"void": "yes"}, "void must be True or False"),
        ({"cost": 1, "reason": "  "}, "needs a reason"),
        ({"cost": 1, "reason": "x" * 1001}, "needs a reason"),
        ({"cost": 1, "reason": None}, "needs a reason"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(meter, given, sentence):
    call_id = uncertain(meter)
    with pytest.raises(InvalidUsage, match=sentence):
        meter.correct(call_id, **({"reason": "why"} | given))
    assert meter.reports.corrections(call_id) == []


@pytest.mark.parametrize("call_id", ["", None, 7])
def test_an_id_is_a_text(meter, call_id):
    with pytest.raises(InvalidUsage, match="named by its id"):
        meter.correct(call_id, cost=1, reason="why")


def test_an_unknown_call_is_a_lookup_error_of_its_own(meter):
    with pytest.raises(UnknownCall) as caught:
        meter.correct("nobody", cost=1, reason="why")
    assert isinstance(caught.value, LookupError)
    assert isinstance(caught.value, FarthingError)
    assert not isinstance(caught.value, LedgerError)
    with pytest.raises(UnknownCall):
        meter.reports.corrections("nobody")


def test_a_call_that_runs_cannot_be_corrected_yet(meter):
    hold = meter.reserve(model="gpt-4o", input_tokens=1000, max_output_tokens=100)
    with pytest.raises(UnknownCall, match="nothing is booked yet"):
        meter.correct(hold.id, void=True, reason="why")
    assert hold.settle(USAGE).cost == Decimal("0.0035")


def test_coroutines_and_the_default_meter_correct_as_well(meter):
    first, second = uncertain(meter), uncertain(meter)

    async def program():
        with farthing.using(meter):
            receipt = await farthing.acorrect(first, cost=1, reason="the invoice")
            changes = await farthing.reports.acorrections(first)
            return receipt, changes, await farthing.reports.auncertain()

    receipt, changes, left = asyncio.run(program())
    assert (receipt.cost, len(changes), [row.id for row in left]) == (1, 1, [second])
    with farthing.using(meter):
        assert farthing.correct(second, void=True, reason="not billed").cost == 0
    assert meter.reports.uncertain() == []


def test_a_meter_that_is_switched_off_corrects_nothing():
    receipt = Meter(enabled=False).correct("nobody", cost=1, reason="why")
    assert (receipt.id, receipt.cost) == ("nobody", None)


def test_what_is_uncertain_can_be_asked(meter):
    sure = meter.record(model="gpt-4o", usage=USAGE)
    unpriced = meter.record(model="mystery-1", usage=USAGE)
    lost = uncertain(meter)
    assert {row.id for row in meter.reports.uncertain()} == {unpriced.id, lost} - {sure.id}
    assert len(meter.reports.uncertain(limit=1)) == 1
    with pytest.raises(InvalidUsage, match="limit"):
        meter.reports.uncertain(limit=0)


# -- lower bounds ---------------------------------------------------------------------------------


def test_sums_say_how_many_of_their_costs_are_lower_bounds(clock):
    prices = {"half-priced": {"input": 2}}
    with Meter(":memory:", clock=clock, prices=prices) as meter:
        with meter.scope() as run:
            meter.record(model="half-priced", usage=USAGE)
        meter.record(model="gpt-4o", usage=USAGE)
        assert (run.cost, run.partial, run.unpriced) == (Decimal("0.002"), 1, 0)
        assert meter.reports.summary().partial_calls == 1
        by_model = {row.group["model"]: row for row in meter.reports.spend("model")}
        assert (by_model["half-priced"].partial_calls, by_model["gpt-4o"].partial_calls) == (1, 0)
        assert by_model["half-priced"].cost_per_1k_tokens is None
        [by_week] = meter.reports.spend("week")
        assert by_week.partial_calls == 1
        meter.correct(meter.reports.uncertain()[0].id, cost=1, reason="the invoice")
        assert meter.reports.summary().partial_calls == run.partial == 0
