"""Whatever a server answers has a cost, or says that nobody knows it; it is never an error."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from farthing import Meter, Usage
from farthing.quote import as_asked
from test_usage_properties import JSON, KEYS, OBJECTS

METER = Meter(":memory:", enabled=False)
BODIES = (
    JSON
    | st.dictionaries(st.sampled_from(KEYS), JSON)
    | st.fixed_dictionaries(
        {"usage": OBJECTS},
        optional={
            "model": st.sampled_from(["gpt-4o", "claude-opus-4-8", "x", ""]) | JSON,
            "service_tier": st.sampled_from(["default", "batch", "flex", "priority", "x"]) | JSON,
            "usageMetadata": OBJECTS,
        },
    )
)


def test_a_body_that_says_what_it_used_has_a_cost():
    """So that what follows is not all about bodies without one."""
    assert (
        METER.cost_of({"model": "gpt-4o", "usage": {"prompt_tokens": 2, "completion_tokens": 1}}).nano
        == 15_000
    )


def test_the_dialect_of_a_body_is_that_of_whoever_sends_the_bill():
    """xAI leaves reasoning out of its completions; nothing in such a body says so if it states no total."""
    details = {"reasoning_tokens": 3}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": details}
    body = {"object": "chat.completion", "model": "grok-4-0709", "usage": usage}
    told = METER.cost_of(body, provider="x-ai")
    assert told.usage.output_tokens == 8
    assert METER.cost_of(body) == told
    assert METER.cost_of(body, base_url="https://api.x.ai/v1") == told
    unnamed = {**body, "model": "g"}
    assert METER.cost_of(unnamed, base_url="https://api.x.ai/v1").usage.output_tokens == 8
    assert METER.cost_of(unnamed).usage.output_tokens == 5


@settings(max_examples=300)
@given(
    body=BODIES,
    provider=st.sampled_from([None, "openai", "anthropic", "nobody"]),
    model=st.sampled_from([None, "gpt-4o", "gemini-2.5-pro", ""]),
    batch=st.booleans(),
)
def test_no_json_value_breaks_a_cost(body, provider, model, batch):
    cost = METER.cost_of(body, provider=provider, model=model, batch=batch)
    assert cost.nano is None or cost.nano >= 0
    assert (cost.nano is None) == (cost.cost_source == "unpriced")


COUNTS = Usage(input_tokens=10, cached_tokens=4, output_tokens=1)


class TestUsage:
    """A `Usage` alone is priced as the model that the caller names."""

    def test_it_costs_what_a_body_with_its_counts_does(self):
        details = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens": 1}
        body = {"model": "gpt-4o", "usage": details}
        assert METER.cost_of(COUNTS, model="gpt-4o").nano == METER.cost_of(body).nano == 30_000

    def test_a_batch_costs_half(self):
        counts = Usage(input_tokens=10, output_tokens=1)
        assert METER.cost_of(counts, model="gpt-4o").nano == 35_000
        assert METER.cost_of(counts, model="gpt-4o", batch=True).nano == 17_500

    def test_at_a_provider_it_costs_what_that_asks(self):
        found = METER.cost_of(COUNTS, model="gpt-4o", provider="azure")
        assert (found.nano, found.rates.provider) == (30_000, "azure")

    def test_of_no_model_it_has_no_price(self):
        assert METER.cost_of(COUNTS).nano is None


class TestAnotherNameAnswers:
    """Where that has no price, the asked model's is taken, and the call says so, however it is booked."""

    NOTE = "no price is known of 'acme-7', which answered: priced as 'gpt-4o', which was asked for"
    USED: ClassVar = {"prompt_tokens": 10, "completion_tokens": 1}
    ANSWER: ClassVar[dict[str, Any]] = {"model": "acme-7", "usage": USED}
    NANO = 35_000

    def test_when_it_is_asked_for_alone(self):
        found = METER.cost_of(self.ANSWER, model="gpt-4o")
        assert (found.nano, found.notes) == (self.NANO, (self.NOTE,))

    def test_when_a_recorded_one_is_priced_anew(self):
        with Meter(":memory:") as meter:
            receipt = meter.record(model="gpt-4o", usage=self.ANSWER)
            assert receipt.cost is None
            assert meter.reprice().changed == 1
            row = meter.engine.ledger.call(receipt.id)
        assert (row["model"], row["cost_nano"]) == ("acme-7", self.NANO)
        assert self.NOTE in json.loads(row["rates"])["notes"]

    def test_by_one_object_for_each_name(self):
        """Else each such call would be a row of its own in the table of prices."""
        asked = METER.engine.catalog.rates("gpt-4o", at_ns=0)
        assert as_asked(asked, "acme-7") is as_asked(asked, "acme-7")
        assert as_asked(asked, "acme-7") is not as_asked(asked, "acme-8")
