"""Money is written in one way wherever a meter is given it: 5, "0.50", "$5"."""

from __future__ import annotations

from decimal import Decimal

import pytest

import farthing
from farthing import Budget, InsufficientCredits, Meter
from farthing.errors import InvalidBudget, InvalidUsage
from farthing.testing import FakeClock

HALF = [Decimal("0.5"), 0.5, "0.5", "$0.50", " $0.50 ", "$ .5"]
NO_AMOUNTS = ["$", "$$5", "5$", "-$5", "€5", "$5 USD", "$five", ""]


@pytest.fixture
def meter(ledger_path):
    with Meter(ledger_path, clock=FakeClock(), durability="fast") as made:
        yield made


@pytest.mark.parametrize("amount", HALF, ids=repr)
class TestTaken:
    def test_what_can_be_afforded(self, meter, amount):
        meter.set_budget(Budget("left", "0.5", "day"))
        assert meter.can_afford(amount)
        meter.set_budget(Budget("left", "0.499999999", "day"))
        assert not meter.can_afford(amount)

    def test_what_can_be_afforded_on_the_default_meter(self, meter, amount):
        meter.set_budget(Budget("left", "0.4", "day"))
        with farthing.using(meter):
            assert not farthing.can_afford(amount)

    def test_what_a_call_cost(self, meter, amount):
        assert meter.record(model="gpt-4o", usage={"input_tokens": 1}, cost=amount).cost == Decimal("0.5")

    def test_what_a_call_is_corrected_to(self, meter, amount):
        booked = meter.record(model="gpt-4o", usage={"input_tokens": 1})
        assert meter.correct(booked.id, cost=amount, reason="the invoice").cost == Decimal("0.5")

    def test_what_is_held(self, meter, amount):
        with meter.reserve(model="gpt-4o", amount=amount) as hold:
            assert hold.settle({"input_tokens": 1}).held == Decimal("0.5")

    def test_what_a_function_may_cost(self, meter, amount):
        for estimate in (amount, lambda: amount):
            tracked = meter.track_usage(budget="$0.49", estimate=estimate)(lambda: "answer")
            with pytest.raises(InsufficientCredits) as refused:
                tracked()
            assert refused.value.required == Decimal("0.5")


@pytest.mark.parametrize("text", NO_AMOUNTS, ids=repr)
def test_what_is_no_amount_is_refused(meter, text):
    with pytest.raises(InvalidBudget, match="an amount must"):
        meter.can_afford(text)
    with pytest.raises(InvalidUsage, match="cost must"):
        meter.record(model="gpt-4o", usage={"input_tokens": 1}, cost=text)
    with pytest.raises(InvalidUsage, match="cost must"):
        meter.correct("x", cost=text, reason="the invoice")
    with pytest.raises(InvalidUsage, match="amount must"):
        meter.reserve(model="gpt-4o", amount=text)
    with pytest.raises(InvalidBudget, match="estimate must"):
        meter.track_usage(estimate=text)
    assert meter.reports.records() == []


def test_the_same_record_in_another_way_of_writing_its_cost_is_the_same_row(meter):
    given = {"model": "gpt-4o", "usage": {"input_tokens": 1}, "transaction_id": "t"}
    first, again = (meter.record(cost=cost, **given) for cost in ("0.5", "$0.50"))
    assert first.id == again.id
