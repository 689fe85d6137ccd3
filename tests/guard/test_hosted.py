"""Tools that the provider runs: each run bills the context anew, and some have a fee."""

from __future__ import annotations

from decimal import Decimal

import pytest

from farthing import Budget, InsufficientCredits, Unbounded, UnpricedModel
from farthing.wire import UNLIMITED, read_request, with_model
from guard.making import CALL, MESSAGES, held_and_spent, metered, openai

WINDOW, PRICE, OUTPUT = 128_000, Decimal("2.5e-6"), Decimal("1e-5")  # of gpt-4o
FEE = Decimal("0.025")  # the dearest that a search of it may cost
SEARCH = {"type": "web_search"}
MCP = {"type": "mcp", "server_label": "docs", "server_url": "https://example.com/mcp"}


@pytest.fixture
def client(meter, provider):
    with openai(provider) as plain:
        yield meter.wrap(plain)


def respond(client, *tools, **more):
    asked = {"model": "gpt-4o", "input": "hi", "max_output_tokens": 100, "tools": list(tools)}
    return client.responses.create(**(asked | more))


def limit_sent(provider):
    return provider.requests[-1].body.get("max_tool_calls")


def test_under_a_hard_budget_a_limit_is_written_where_there_is_none(meter, client, provider):
    meter.set_budget(Budget("b", 100, "day"))
    receipt = meter.receipt(respond(client, SEARCH))
    assert limit_sent(provider) == 8
    assert receipt.held == 9 * WINDOW * PRICE + 8 * FEE + 100 * OUTPUT


def test_the_callers_own_limit_stays_and_is_what_is_held_for(meter, client, provider):
    meter.set_budget(Budget("b", 100, "day"))
    for limit in (0, 2):
        receipt = meter.receipt(respond(client, SEARCH, max_tool_calls=limit))
        assert limit_sent(provider) == limit
        assert receipt.held == (1 + limit) * WINDOW * PRICE + limit * FEE + 100 * OUTPUT


def test_a_server_of_mcp_has_no_fee(meter, client, provider):
    meter.set_budget(Budget("b", 100, "day"))
    assert meter.receipt(respond(client, MCP)).held == 9 * WINDOW * PRICE + 100 * OUTPUT
    assert limit_sent(provider) == 8


@pytest.mark.parametrize("budget", [None, Budget("b", 1, "day", mode="soft")], ids=["none", "soft"])
def test_without_a_hard_budget_nothing_is_written(budget, meter, client, provider):
    if budget is not None:
        meter.set_budget(budget)
    respond(client, SEARCH)
    assert limit_sent(provider) is None


def test_the_callers_body_is_not_changed(meter, client):
    meter.set_budget(Budget("b", 100, "day"))
    body = {"metadata": {"a": "b"}}
    respond(client, SEARCH, extra_body=body)
    assert body == {"metadata": {"a": "b"}}


def test_a_limit_in_the_extra_body_counts(meter, client, provider):
    meter.set_budget(Budget("b", 100, "day"))
    receipt = meter.receipt(respond(client, MCP, extra_body={"max_tool_calls": 1}))
    assert limit_sent(provider) == 1
    assert receipt.held == 2 * WINDOW * PRICE + 100 * OUTPUT


def test_where_no_limit_is_honoured_the_call_is_refused_before_it_is_sent(meter, provider):
    with openai(provider) as plain:
        client = meter.wrap(plain, provider="groq", budget="$100/day")
        with pytest.raises(Unbounded, match="max_tool_calls"):
            respond(client, MCP, model="openai/gpt-oss-120b")
    assert provider.requests == []
    assert held_and_spent(meter) == []


def test_what_is_unbounded_is_sent_where_that_is_allowed(ledger_path, provider):
    with metered(ledger_path, on_unbounded="allow") as meter, openai(provider) as plain:
        client = meter.wrap(plain, provider="groq", budget="$100/day")
        receipt = meter.receipt(respond(client, MCP, model="openai/gpt-oss-120b"))
        assert "unbounded_allowed" in receipt.flags
        assert limit_sent(provider) is None


def test_a_tool_whose_fee_nobody_knows_is_unpriced(meter, client, provider):
    tool = {"type": "image_generation"}
    with meter.scope(budget="$100"), pytest.raises(UnpricedModel, match="image_generation"):
        respond(client, tool)
    assert provider.requests == []
    respond(client, tool)
    assert len(provider.requests) == 1


def test_a_chat_that_searches_once_is_held_for_two_contexts_and_a_fee(meter, client):
    meter.set_budget(Budget("b", 100, "day"))
    asked = {**CALL, "max_tokens": 100, "web_search_options": {}}
    receipt = meter.receipt(client.chat.completions.create(**asked))
    assert receipt.held == 2 * WINDOW * PRICE + FEE + 100 * OUTPUT


def test_a_chat_whose_searches_nothing_limits_is_refused(meter, client, provider):
    meter.set_budget(Budget("b", 100, "day"))
    for more in ({"tools": [{"google_search": {}}]}, {"extra_body": {"search_parameters": {"mode": "auto"}}}):
        with pytest.raises(Unbounded):
            client.chat.completions.create(**CALL, **more)
    assert provider.requests == []


def calls_of(path="/responses", **body):
    ask = read_request("post", path, {"model": "gpt-4o", **body})
    assert ask is not None
    return ask.tool_calls


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "name": "f", "parameters": {}},
        {"type": "function", "function": {"name": "f"}},
        {"name": "f", "parameters": {}},
        {"function_declarations": [{"name": "f"}]},
        {"type": "custom", "name": "f"},
        {"type": "namespace", "name": "crm", "tools": []},
        {"type": "local_shell"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "apply_patch"},
        {"type": "computer_use_preview", "environment": "browser"},
        {"type": "computer"},
        {"type": "tool_search", "execution": "client"},
        {},
    ],
    ids=str,
)
def test_tools_that_the_caller_runs_are_not_hosted(tool):
    assert calls_of(tools=[tool]) is None
    assert calls_of("/chat/completions", messages=MESSAGES, tools=[tool]) is None


@pytest.mark.parametrize(
    "tool",
    [
        MCP,
        SEARCH,
        {"type": "web_search_preview_2025_03_11"},
        {"type": "file_search", "vector_store_ids": ["v"]},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "shell"},
        {"type": "tool_search"},
        {"type": "programmatic_tool_calling"},
        {"type": "builtin_function", "function": {"name": "$web_search"}},
        {"google_search": {}},
        {"type": "something_new"},
    ],
    ids=str,
)
def test_every_other_tool_is_hosted_and_unlimited_unless_something_limits_it(tool):
    mine = {"type": "function", "name": "f", "parameters": {}}
    assert calls_of(tools=[mine, tool]) == UNLIMITED
    assert calls_of(tools=(mine, tool)) == UNLIMITED
    assert calls_of(tools=[mine, tool], max_tool_calls=3) == 3
    assert calls_of(tools=[mine, tool], max_tool_calls=-1) == UNLIMITED


@pytest.mark.parametrize(
    ("more", "calls"),
    [
        ({}, None),
        ({"web_search_options": {}}, 1),
        ({"web_search_options": None}, None),
        ({"plugins": [{"id": "web", "max_results": 3}]}, 1),
        ({"plugins": [{"id": "file-parser"}]}, None),
        ({"enable_search": True}, 1),
        ({"search_parameters": {"mode": "on"}}, UNLIMITED),
        ({"search_parameters": {"mode": "off"}}, None),
        ({"model": "openai/gpt-4o:online"}, 1),
        ({"model": "groq/compound-mini"}, UNLIMITED),
        ({"model": "sonar-deep-research"}, UNLIMITED),
        ({"model": "accompound"}, None),
        ({"web_search_options": {}, "tools": [SEARCH], "max_tool_calls": 2}, 3),
        ({"web_search_options": {}, "tools": [SEARCH]}, UNLIMITED),
    ],
    ids=str,
)
def test_what_else_makes_a_chat_search(more, calls):
    assert calls_of("/chat/completions", messages=MESSAGES, **more) == calls


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        ({"tools": [{"type": "bash_20250124", "name": "bash"}, {"name": "f", "input_schema": {}}]}, None),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]}, 2),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, UNLIMITED),
        (
            {"tools": [{"type": "web_search_20250305", "max_uses": 2}, {"type": "web_fetch_20250910"}]},
            UNLIMITED,
        ),
        (
            {"tools": [{"type": "web_fetch_20250910"}, {"type": "web_search_20250305", "max_uses": 2}]},
            UNLIMITED,
        ),
        (
            {"tools": [{"type": t, "max_uses": 2} for t in ("web_search_20250305", "web_fetch_20250910")]},
            4,
        ),
        ({"mcp_servers": [{"type": "url", "url": "https://example.com"}]}, UNLIMITED),
    ],
    ids=str,
)
def test_each_of_anthropics_tools_has_a_limit_of_its_own(body, calls):
    assert calls_of("/v1/messages", messages=MESSAGES, **body) == calls


@pytest.mark.parametrize("old", ["gpt-4o", "openai/gpt-4o:online", "groq/compound"])
@pytest.mark.parametrize("new", ["gpt-4o-mini", "openai/gpt-4o-mini:online", "sonar-deep-research"])
@pytest.mark.parametrize("more", [{}, {"web_search_options": {}}, {"tools": [SEARCH]}], ids=str)
def test_the_tools_of_a_fallback_are_its_own(old, new, more):
    body = {"messages": MESSAGES, **more}
    asked = read_request("post", "/chat/completions", {"model": old, **body})
    assert with_model(asked, new, None) == read_request("post", "/chat/completions", {"model": new, **body})


def test_a_fallback_that_searches_at_an_unknown_fee_is_not_asked(meter, provider):
    meter.set_budget(Budget("b", "0.005", "day", fallback="openai/gpt-4o-mini:online"))
    client = meter.wrap(openai(provider), provider="openrouter")
    with pytest.raises(InsufficientCredits) as caught:
        client.chat.completions.create(model="openai/gpt-4o", messages=MESSAGES, max_tokens=1_000)
    assert caught.value.model == "openai/gpt-4o"
    assert provider.requests == []
    meter.set_budget(Budget("b", "0.005", "day", fallback="openai/gpt-4o-mini"))  # the control
    client.chat.completions.create(model="openai/gpt-4o", messages=MESSAGES, max_tokens=1_000)
    assert provider.requests[-1].body["model"] == "openai/gpt-4o-mini"
