"""Hosted tools are counted once, by whichever place shows them, and apart from the tokens."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce

import pytest
from openai.types.responses import Response

from farthing.catalog import default
from farthing.catalog.own import TOOL_FEES
from farthing.pricing import price, total
from farthing.quote import cost_of
from farthing.records import Rates, Usage
from farthing.records.cost import Unit
from farthing.records.fees import FEES, ONLY_IF_PRICED
from farthing.usage import merge, read, read_event

NOW = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9
TOKENS = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}


def response(*output, model="gpt-5", **more):
    return {"object": "response", "id": "r", "model": model, "output": list(output), "usage": TOKENS, **more}


def call(kind, **more):
    return {"type": f"{kind}_call", **more}


def searching(action=None):
    return call("web_search", action=None if action is None else {"type": action})


@pytest.mark.parametrize(
    ("output", "units"),
    [
        ([{"type": "message"}, {"type": "reasoning"}], None),
        ([call("function"), call("mcp"), call("computer"), call("custom_tool"), call("tool_search")], None),
        ([searching("search"), searching("open_page"), searching("find_in_page")], {"web_search_calls": 1}),
        ([searching(), searching("search")], {"web_search_calls": 2}),
        ([call("file_search"), call("file_search")], {"file_search_calls": 2}),
        ([call("code_interpreter", container_id="a")] * 3, {"code_containers": 1}),
        (
            [call("code_interpreter", container_id="a"), call("code_interpreter", container_id="b")],
            {"code_containers": 2},
        ),
        ([call("code_interpreter")], {"code_containers": 1}),
        (
            [call("shell", environment={"type": "container_reference", "container_id": "a"})],
            {"code_containers": 1},
        ),
        ([call("shell", environment={"type": "local"})], None),
        ([call("image_generation")], {"image_generation_calls": 1}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_items_of_an_output_are_counted_if_they_are_billed(output, units):
    reading = read(response(*output))
    assert reading.units == units
    assert reading.usage == Usage(input_tokens=1000, output_tokens=100)
    assert read_event({"type": "response.completed", "response": response(*output)},
                      flavour="openai.responses").units == units  # fmt: skip
    assert read(Response.construct(**response(*output))).units == units


def test_what_the_provider_counts_of_its_searches_stands():
    counted = {"web_search": {"num_requests": 1}}
    assert read(response(searching(), searching(), tool_usage=counted)).units == {"web_search_calls": 1}
    free = {"web_search": {"num_requests": 0}}
    assert read(response(searching(), tool_usage=free)).units is None
    body = response(searching())
    body["usage"] = {**TOKENS, "server_tool_use": {"web_search_requests": 2}}
    reading = read(body)
    assert (reading.usage.web_searches, reading.units) == (2, {"web_searches": 2})


def test_pictures_are_billed_by_their_tokens_where_those_are_stated():
    made = {"image_gen": {"input_tokens": 50, "output_tokens": 900}, "web_search": {"num_requests": 0}}
    reading = read(response(call("image_generation"), tool_usage=made))
    assert reading.units == {"image_gen_input_tokens": 50, "image_gen_output_tokens": 900}


def test_the_older_search_tool_has_a_price_of_its_own():
    tools = [{"type": "web_search_preview_2025_03_11"}]
    reading = read(response(searching(), tools=tools))
    assert reading.units == {"web_search_preview_calls": 1}
    older = cost_of(response(searching(), tools=tools, model="gpt-4o"), default(), at_ns=NOW)
    newer = cost_of(response(searching(), model="gpt-4o"), default(), at_ns=NOW)
    assert older.usd - newer.usd == Decimal("0.015")  # 25 against 10 USD per thousand


def test_searches_that_are_billed_by_the_block_have_no_known_price():
    found = cost_of(response(searching(), model="gpt-4o-mini"), default(), at_ns=NOW)
    assert found.cost_source == "partial"
    assert "search_content" in found.notes[-1]


@pytest.mark.parametrize(
    ("provider", "model", "name", "fee"),
    [
        ("openai", "gpt-5-codex", "web_search_calls", "0.01"),
        ("openai", "gpt-4.1", "web_search_preview_calls", "0.025"),
        ("openai", "o3", "web_search_preview_calls", "0.01"),
        ("x-ai", "grok-4", "x_search_calls", "0.005"),
        ("x-ai", "grok-4", "web_search_calls", "0.005"),
        ("x-ai", "grok-4", "code_interpreter_calls", "0.005"),
        ("x-ai", "grok-4", "document_search_calls", "0.01"),
        ("x-ai", "grok-4", "file_search_calls", "0.0025"),
    ],
)
def test_our_own_table_has_what_the_source_lacks(provider, model, name, fee):
    found = price(COUNTS, default().rates(model, provider=provider, at_ns=NOW), units={name: 1})
    assert found.cost_source == "priced"
    assert found.lines[-1].amount == Decimal(fee)


def test_each_row_of_our_own_table_says_where_and_when_it_was_read():
    for row in TOOL_FEES:
        assert re.search(r"20\d\d-\d\d-\d\d", row.source)
        assert row.per_thousand > 0
        assert row.unit in FEES.values()


@pytest.mark.parametrize(
    ("model", "units"),
    [
        ("gpt-4o-search-preview-2025-03-11", {"web_search_preview_calls": 1}),
        ("gpt-4o-mini-search-preview", {"web_search_preview_calls": 1}),
        ("gpt-5-search-api", {"hosted_tool_calls": 1}),
        ("research-model", None),
    ],
)
def test_a_model_that_searches_before_it_answers_is_billed_a_search(model, units):
    body = {
        "object": "chat.completion",
        "model": model,
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    assert read(body).units == units


def test_xai_names_its_tools_or_only_their_number():
    usage = {**TOKENS, "num_server_side_tools_used": 3, "num_sources_used": 7}
    assert read(response(model="grok-4") | {"usage": usage}).units == {
        "server_side_tools_used": 3,
        "sources_used": 7,
        "hosted_tool_calls": 3,
    }
    usage["server_side_tool_usage_details"] = {"x_search_calls": 2, "web_search_calls": 1}
    named = read(response(searching(), model="grok-4") | {"usage": usage})
    assert named.usage.web_searches == 1
    assert named.units == {
        "server_side_tools_used": 3,
        "sources_used": 7,
        "x_search_calls": 2,
        "web_searches": 1,
    }


def test_code_of_anthropics_runs_in_a_container():
    usage = {"input_tokens": 5, "output_tokens": 2}
    body = {"type": "message", "model": "c", "usage": usage, "container": {"id": "k", "expires_at": "later"}}
    assert read(body).units == {"code_containers": 1}
    events = [
        {
            "type": "message_start",
            "message": {"model": "c", "usage": {"input_tokens": 5, "output_tokens": 1}},
        },
        {"type": "message_delta", "delta": {"container": {"id": "k"}}, "usage": {"output_tokens": 2}},
    ]
    found = reduce(merge, (read_event(event, flavour="anthropic.messages") for event in events))
    assert (found.usage, found.units) == (Usage(**usage), {"code_containers": 1})
    assert read({**body, "container": None}).units is None


@pytest.mark.parametrize("snake", [False, True])
def test_grounding_is_counted_by_the_query(snake):
    names = ("grounding_metadata", "web_search_queries", "grounding_chunks")
    if not snake:
        names = ("groundingMetadata", "webSearchQueries", "groundingChunks")
    grounding = {names[1]: ["a", "", "b", "a"], names[2]: [{"web": {"uri": "u"}}, {"maps": {"uri": "u"}}]}
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 2}
    body = {
        "modelVersion": "gemini-3-flash-preview",
        "candidates": [{names[0]: grounding}],
        "usageMetadata": usage,
    }
    reading = read(body)
    assert reading.units == {"grounding_queries": 2, "maps_grounded_prompts": 1}
    cost = cost_of(body, default(), at_ns=NOW, provider="google")
    assert cost.cost_source == "partial"
    assert "grounding, maps_grounding" in cost.notes[-1]
    chunks = [body, {**body, "candidates": []}]
    last = reduce(merge, (read_event(chunk, flavour="google.generate_content") for chunk in chunks))
    assert last.units == reading.units


@pytest.mark.parametrize(
    "odd", [None, 3, "x", [], {}, [None, 3, "x", [], {}, {"type": 3}, {"type": "web_search_call"}]]
)
def test_odd_outputs_break_nothing(odd):
    for body in (response(tool_usage=odd), {**response(), "output": odd, "tools": odd, "container": odd}):
        assert read(body).usage == Usage(input_tokens=1000, output_tokens=100)
    for flavour in (
        "google.generate_content",
        "mistral.conversations",
        "anthropic.messages",
        "bedrock.converse",
    ):
        read({"usage": {"connectors": odd}, "usageMetadata": {"totalTokenCount": 1}, "candidates": odd,
              "container": odd, "delta": odd}, flavour=flavour)  # fmt: skip


# --- fees -----------------------------------------------------------------------------------------------


def rates(status="priced", **prices):
    return Rates(provider="p", model="m", prices=prices, status=status)


COUNTS = Usage(input_tokens=10, output_tokens=1)


@pytest.mark.parametrize("name", sorted(set(FEES) - {"citation_tokens"}))
def test_a_fee_is_priced_or_named(name):
    plain = rates(input=1000, output=1000)
    assert total(COUNTS, plain, {name: 3}) == (11, "partial", (FEES[name],))
    assert total(COUNTS, rates(input=1000, output=1000, **{FEES[name]: 5000}), {name: 3}) == (
        26,
        "priced",
        (),
    )
    assert total(Usage(), plain, {name: 3}) == (None, "unpriced", (FEES[name],))
    assert total(Usage(), rates(**{FEES[name]: 5000}), {name: 3}) == (15, "priced", ())
    assert FEES[name] in str(Unit)


def test_a_fee_that_only_some_models_have_is_none_without_a_price():
    assert sorted(ONLY_IF_PRICED) == ["citation"]
    units = {"citation_tokens": 7}
    assert total(COUNTS, rates(input=1000, output=1000), units) == (11, "priced", ())
    assert total(COUNTS, rates(input=1000, output=1000, citation=1000), units) == (18, "priced", ())


def test_counts_that_are_parts_of_the_tokens_are_no_fees():
    units = {"audio_cached_tokens": 3, "web_fetches": 2, "inference_geo": "us", "seconds": "1.5", "x": 1}
    assert total(COUNTS, rates(input=1000, output=1000), units) == (11, "priced", ())


def test_searches_that_the_usage_counts_are_paid_for_once():
    searched = Usage(input_tokens=10, output_tokens=1, web_searches=2)
    found = price(searched, rates(input=1000, output=1000, web_search=5000), units={"web_search_calls": 2})
    assert found.nano == 21
    assert [line.unit for line in found.lines] == ["input", "output", "web_search"]


def test_deep_research_is_priced_by_all_its_units():
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 1000,
        "total_tokens": 2000,
        "citation_tokens": 1000,
        "num_search_queries": 10,
        "reasoning_tokens": 1000,
    }
    body = {"object": "chat.completion", "model": "sonar-deep-research", "usage": usage}
    found = cost_of(body, default(), at_ns=NOW, provider="perplexity")
    # 2 + 8 + 2 + 3 USD per million, and 5 per thousand searches (docs.perplexity.ai, pricing, 2026)
    assert (found.usd, found.cost_source) == (Decimal("0.065"), "priced")


def test_pages_and_file_searches_have_the_prices_of_the_source():
    pages = {"model": "mistral-ocr-2505", "usage_info": {"pages_processed": 1000}}
    assert cost_of(pages, default(), at_ns=NOW, provider="mistral").usd == 1
    found = cost_of(response(call("file_search"), model="gpt-4.1"), default(), at_ns=NOW)
    assert {line.unit: line.amount for line in found.lines}["file_search"] == Decimal("0.0025")


def test_batch_rates_leave_fees_as_they_are():
    whole = cost_of(response(searching()), default(), at_ns=NOW)
    half = cost_of(response(searching()), default(), at_ns=NOW, batch=True)
    fee = Decimal("0.01")
    assert half.usd - fee == (whole.usd - fee) / 2
