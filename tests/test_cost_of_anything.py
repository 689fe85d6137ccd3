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
