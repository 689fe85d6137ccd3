"""Whatever a server answers has a cost, or says that nobody knows it; it is never an error."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from farthing import Meter
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
