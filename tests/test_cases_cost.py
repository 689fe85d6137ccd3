"""The recorded usage of real providers costs what their published rates say, to the nano-dollar.

The cases are read where they are; the fields are described in their README. `expected` is only compared with.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing import usage as reader
from farthing.catalog import default
from farthing.pricing import price, total
from farthing.quote import cost_of
from farthing.records import Cost, Usage

CASES = Path(__file__).resolve().parents[1] / "../shared/cases"

COUNTS = {
    "input_tokens": "input_tokens",
    "cached_read_tokens": "cached_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_5m_tokens": "cache_write_5m_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "output_tokens": "output_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "audio_input_tokens": "audio_input_tokens",
    "audio_output_tokens": "audio_output_tokens",
    "web_search_requests": "web_searches",
}

USAGE_KEY = {"google.generate_content": "usageMetadata"}


def load(name: str) -> list[dict[str, Any]]:
    path = CASES / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


ALL = load("usage_cases.json")
PRICED = [case for case in ALL if case["expected"]["cost_usd"] is not None]


def by_id(cases: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case["id"] for case in cases])


def test_the_cases_are_there():
    if ALL:
        assert len(ALL) > 200
        return
    if os.environ.get("CI"):
        pytest.fail(f"no cases at {CASES}")
    pytest.skip(f"no cases at {CASES}")


def nano(usd: str) -> int:
    return int((Decimal(usd) * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN))


def rates_for(case: dict[str, Any], tier: str | None):
    at = datetime.fromisoformat(case["expected"]["priced_at"])
    return default().rates(
        case["model"], provider=case["provider"], at_ns=int(at.timestamp()) * 10**9, tier=tier
    )


def counted(expected: dict[str, Any]) -> Usage:
    return Usage(**{ours: expected[theirs] for theirs, ours in COUNTS.items()})


def body_of(case: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {k: v for k, v in case["response_fields"].items() if k != "item_types"}
    usage_at = case.get("usage_at") or USAGE_KEY.get(case["wire"], "usage")
    return {"model": case["model"], **body, usage_at: case["usage"]}


def charged(case: dict[str, Any]) -> Decimal:
    """What the body says that was charged: with a key of one's own, the upstream's bill comes on top."""
    usage = case["usage"]
    upstream = usage["cost_details"]["upstream_inference_cost"] if usage.get("is_byok") else 0
    return Decimal(case["expected"]["reported_cost_usd"]) + Decimal(str(upstream))


@by_id(PRICED)
def test_the_counts_of_a_case_cost_what_its_rates_say(case):
    rates = rates_for(case, case["response_fields"].get("service_tier"))
    found, source, missing = total(counted(case["expected"]), rates)
    assert (found, source, missing) == (nano(case["expected"]["cost_usd"]), "priced", ())


def cost(case: dict[str, Any]) -> Cost:
    at = datetime.fromisoformat(case["expected"]["priced_at"])
    return cost_of(body_of(case), default(), at_ns=int(at.timestamp()) * 10**9, provider=case["provider"])


@by_id(PRICED)
def test_a_body_costs_what_its_rates_say(case):
    assert case["wire"] in reader.FLAVOURS
    found = cost(case)
    assert found.nano == nano(case["expected"]["cost_usd"])
    stated = case["expected"].get("reported_cost_usd") is not None
    assert found.cost_source == ("reported" if stated else "priced")


@by_id([case for case in ALL if case["expected"]["price_status"] == "reported"])
def test_the_money_that_a_body_states_outranks_rates(case):
    found = cost(case)
    assert (found.nano, found.cost_source) == (nano(str(charged(case))), "reported")


@by_id([case for case in ALL if case["expected"]["price_status"] == "unpriced"])
def test_what_no_one_prices_has_an_unknown_cost(case):
    for unknown in (cost(case), price(counted(case["expected"]), rates_for(case, None))):
        assert (unknown.usd, unknown.nano, unknown.cost_source) == (None, None, "unpriced")
        assert unknown.lines == ()
        assert unknown.notes


TOOLS = ("web_search_call", "code_interpreter_call", "file_search_call", "image_generation_call")


@by_id([case for case in ALL if case["expected"]["reason"] == "builtin_tool_fee_possible"])
def test_a_hosted_tool_is_priced_or_the_cost_is_a_lower_bound(case):
    items = case["response_fields"].get("item_types", {})
    output = [{"type": kind} for kind, times in items.items() for _ in range(times)]
    at = datetime.fromisoformat(case["expected"]["priced_at"])
    at_ns = int(at.timestamp()) * 10**9
    plain = cost_of({**body_of(case), "tool_usage": None}, default(), at_ns=at_ns, provider=case["provider"])
    found = cost_of({**body_of(case), "output": output}, default(), at_ns=at_ns, provider=case["provider"])
    stated = case["response_fields"].get("tool_usage", {}).get("web_search", {}).get("num_requests")
    if not stated and not any(kind in items for kind in TOOLS):
        assert (found.nano, found.cost_source) == (plain.nano, plain.cost_source)
    elif found.cost_source == "priced":
        assert {"web_search", "file_search"} & {line.unit for line in found.lines}
        assert found.nano > plain.nano
    else:
        assert found.cost_source == "partial"
        assert "no price is known for" in found.notes[-1]


@by_id(load("iterations_cases.json"))
def test_a_body_of_several_steps_costs_each_at_its_own_model(case):
    found = cost({**case, "response_fields": {}})
    assert (found.nano, found.cost_source) == (nano(case["expected"]["cost_usd"]), "priced")
    assert sum(line.amount for line in found.lines) == Decimal(case["expected"]["cost_usd"])


@by_id(load("iterations_cases.json"))
def test_the_steps_of_an_answer_are_priced_one_by_one(case):
    spent = 0
    for step in case["expected"]["iterations"]:
        counts = {ours: step.get(theirs) for theirs, ours in COUNTS.items()}
        rates = rates_for({**case, "model": step["model"]}, None)
        step_cost, _, _ = total(Usage(**counts), rates)
        assert step_cost == nano(step["cost_usd"])
        spent += step_cost
    assert spent == nano(case["expected"]["cost_usd"])
