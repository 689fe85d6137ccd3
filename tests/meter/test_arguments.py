"""What makes no sense is told in a sentence, by an error of farthing, before anything is booked or held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openai import OpenAI

from farthing import Budget, FarthingError, InvalidBudget, InvalidUsage, Meter
from farthing.usage import MOST_TOKENS

NO_TEXTS: tuple[Any, ...] = (True, 5, b"x", ["openai"], {"a": "b"}, 1.5)
HUGE = 10**5000
"""More digits than Python writes out."""

BODY = {"model": "gpt-4o", "usage": {"prompt_tokens": 5, "completion_tokens": 5}}


@pytest.fixture
def meter(ledger_path):
    with Meter(ledger_path, durability="fast") as made:
        yield made
        assert made.reports.records() == []
        assert made.windows() == []


@pytest.mark.parametrize("wrong", NO_TEXTS, ids=repr)
class TestNoText:
    def test_as_the_provider_of_a_record_or_a_hold(self, meter, wrong):
        with pytest.raises(FarthingError, match="provider must be a text"):
            meter.record(model="gpt-4o", usage={"input_tokens": 1}, provider=wrong)
        with pytest.raises(FarthingError, match="provider must be a text"):
            meter.reserve(model="gpt-4o", amount="0.1", provider=wrong)

    def test_as_the_tags_of_a_record_or_a_hold(self, meter, wrong):
        for tags in (wrong, {"a": wrong}, {5: "a"}):
            if tags == {"a": "b"}:
                continue
            with pytest.raises(FarthingError, match="tags must map text to text"):
                meter.record(model="gpt-4o", usage={"input_tokens": 1}, tags=tags)
            with pytest.raises(FarthingError, match="tags must map text to text"):
                meter.reserve(model="gpt-4o", amount="0.1", tags=tags)

    @pytest.mark.parametrize("name", ["provider", "base_url", "model"])
    def test_as_what_a_body_is_priced_by(self, meter, name, wrong):
        with pytest.raises(FarthingError, match=f"{name} must be a text"):
            meter.cost_of(BODY, **{name: wrong})

    def test_as_the_name_of_a_budget(self, meter, wrong):
        with pytest.raises(FarthingError, match="name must be a text"):
            meter.remove_budget(wrong)
        with pytest.raises(LookupError, match="no standing budget"):
            meter.budget(wrong)

    def test_as_what_spending_is_grouped_by(self, meter, wrong):
        with pytest.raises(FarthingError, match="by knows"):
            meter.reports.spend(by=wrong)


def test_an_empty_provider_says_nothing(ledger_path):
    with Meter(ledger_path, durability="fast") as meter:
        assert meter.record(model="gpt-4o", usage={"input_tokens": 1}, provider="").cost is not None
        meter.reserve(model="gpt-4o", amount="0.1", provider="").void()
        assert meter.cost_of(BODY, provider="", base_url="", model="").usd is not None
        assert not meter.remove_budget("")


@pytest.mark.parametrize("year", [1, 1600, 1969, 2255, 3000, 9999])
def test_a_record_of_a_year_that_no_ledger_holds_is_wrong_usage(meter, year):
    with pytest.raises(InvalidUsage, match=f"the years 1970 to 2254; got {year:04d}"):
        meter.record(model="gpt-4o", usage={"input_tokens": 1}, occurred_at=datetime(year, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("at", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2254, 12, 31, 23, tzinfo=UTC)])
def test_a_record_of_the_first_or_last_day_that_a_ledger_holds_is_booked(ledger_path, at):
    with Meter(ledger_path, durability="fast") as meter:
        receipt = meter.record(model="gpt-4o", usage={"input_tokens": 1}, occurred_at=at)
        assert abs(receipt.started_at - at) < timedelta(milliseconds=1)


def test_a_number_too_long_to_be_written_out_is_told_as_any_other(meter):
    unshown = "a value of type int that cannot be shown"
    for name in ("model", "provider", "account", "context", "operation", "transaction_id", "cost", "tags"):
        with pytest.raises(FarthingError, match=unshown):
            meter.record(**{"model": "gpt-4o", "usage": {"input_tokens": 1}, name: HUGE})
    for name in ("input_tokens", "max_output_tokens", "amount"):
        with pytest.raises(InvalidUsage, match=unshown):
            meter.reserve(**{"model": "gpt-4o", name: HUGE})
    with pytest.raises(InvalidBudget, match=unshown):
        meter.can_afford(HUGE)
    with pytest.raises(InvalidBudget, match=unshown):
        Budget.parse(HUGE)
    with pytest.raises(InvalidUsage, match=unshown):
        meter.correct(HUGE, cost=1, reason="the invoice")
    with pytest.raises(LookupError, match=unshown):
        meter.budget(HUGE)
    with pytest.raises(InvalidUsage, match=unshown):
        meter.reports.summary(start=HUGE)
    with pytest.raises(InvalidUsage, match=unshown):
        meter.reports.records(limit=HUGE)
    for name in ("account", "wait", "durability", "enabled", "output_cap", "budgets", "prices", "on_alert"):
        with pytest.raises(FarthingError, match=unshown):
            Meter(":memory:", **{name: HUGE})
    with pytest.raises(FarthingError, match=unshown):
        meter.scope(account=HUGE)
    with pytest.raises(InvalidBudget, match="must be below a billion USD"), meter.scope(budget=HUGE):
        pass


@pytest.mark.parametrize("name", ["output_cap", "min_output_tokens"])
@pytest.mark.parametrize("count", [0, -1, MOST_TOKENS + 1, 2**63, True, "5", 1.0])
def test_a_number_of_tokens_that_no_call_has_is_refused(name, count):
    with pytest.raises(FarthingError, match=f"{name} must be a number of tokens from 1 to"):
        Meter(":memory:", **{name: count})


@pytest.mark.parametrize("name", ["output_cap", "min_output_tokens"])
@pytest.mark.parametrize("budget", [None, "$5/day"])
def test_a_call_is_booked_with_the_largest_number_of_tokens_that_is_taken(
    ledger_path, provider, name, budget
):
    with (
        Meter(ledger_path, durability="fast", wait=0, **{name: MOST_TOKENS}) as meter,
        OpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as plain,
    ):
        client = meter.wrap(plain, budget=budget)
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
        assert len(meter.reports.records()) == 1
