"""What an answer is billed for beside its tokens, in steps or by its headers; bills that nobody can read."""

from __future__ import annotations

import json

import anthropic
import pytest

from farthing import Budget
from farthing.engine import receipt_of_row
from farthing.testing import Reply
from intercept.kit import ASK

LITELLM = "x-litellm-response-cost"
TOKENS = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
PRICE = 1000 * 2_500 + 100 * 10_000
"""Nano-dollars of these tokens of gpt-4o, at 2.50 and 10.00 USD per million."""

SEARCH = 10_000_000
"""Nano-dollars of one search, at 10.00 USD per thousand."""


def response(*output, **more):
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_790_000_000,
        "status": "completed",
        "model": "gpt-4o-2024-08-06",
        "output": [*output, {"id": "m", "type": "message", "role": "assistant", "status": "completed",
                             "content": [{"type": "output_text", "text": "so", "annotations": []}]}],
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "usage": {**TOKENS, "input_tokens_details": {"cached_tokens": 0}},
        **more,
    }  # fmt: skip


def search(kind="search"):
    return {
        "id": "ws",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": kind, "query": "q"},
    }


def stored_breakdown(kit):
    return receipt_of_row(kit.meter.engine.ledger.call(kit.row().id)).breakdown


def asked(kit, client, stream=False):
    ask = {"model": "gpt-4o", "input": "What is a farthing?", "max_output_tokens": 2000}
    answer = kit.run(client.responses.create(**ask, stream=stream))
    if stream:
        list(kit.items(answer))
    return answer


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_searches_that_only_the_output_shows_are_paid_for(kit, stream):
    body = response(search(), search("open_page"), search())
    events = [{"type": "response.completed", "sequence_number": 0, "response": body}]
    kit.provider.script(Reply(events=events) if stream else Reply(body=body))
    client = kit.client()
    answer = asked(kit, client, stream)
    row = kit.row()
    assert (row.cost_nano, row.cost_source) == (PRICE + 2 * SEARCH, "priced")
    assert json.loads(row.units)["web_search_calls"] == 2
    lines = {line.unit: line.quantity for line in kit.meter.receipt(answer).breakdown.lines}
    assert lines == {"input": 1000, "output": 100, "web_search": 2}
    stored = stored_breakdown(kit)
    assert {line.unit: line.quantity for line in stored.lines} == lines


def test_searches_that_are_counted_are_not_counted_again(kit):
    tool_usage = {"web_search": {"num_requests": 1}, "image_gen": {"input_tokens": 0, "output_tokens": 0}}
    kit.provider.script(Reply(body=response(search(), search(), tool_usage=tool_usage)))
    asked(kit, kit.client())
    assert kit.row().cost_nano == PRICE + SEARCH


def test_a_tool_without_a_price_makes_the_cost_a_lower_bound_and_frees_no_money(kit):
    code = {"id": "ci", "type": "code_interpreter_call", "status": "completed", "container_id": "c",
            "code": "1", "outputs": None}  # fmt: skip
    kit.provider.script(Reply(body=response(code, code)))
    answer = asked(kit, kit.client(budget="$1/day"))
    row = kit.row()
    assert (row.cost_nano, row.cost_source, row.counted_nano) == (PRICE, "partial", row.held_nano)
    assert json.loads(row.units)["code_containers"] == 1
    assert "container" in kit.meter.receipt(answer).breakdown.notes[-1]


@pytest.mark.parametrize("usage", [{"completion_tokens": 100}, {"prompt_tokens": 1000}], ids=["out", "in"])
def test_half_of_a_usage_is_a_lower_bound(kit, usage):
    kit.provider.script(Reply(usage=usage))
    answer = kit.run(kit.client(budget="$1/day").chat.completions.create(**ASK))
    row = kit.row()
    assert row.cost_nano == PRICE - (1000 * 2_500 if "completion_tokens" in usage else 100 * 10_000)
    assert (row.cost_source, row.usage_source, row.counted_nano) == ("partial", "reported", row.held_nano)
    assert "does not say how much" in kit.meter.receipt(answer).breakdown.notes[-1]


@pytest.mark.parametrize("usage", [{"tokens_used": 12}, {"total_tokens": 40}], ids=["foreign", "undivided"])
def test_a_usage_that_cannot_be_read_is_unknown_and_not_estimated(kit, usage):
    kit.provider.script(Reply(usage=usage))
    kit.run(kit.client(budget="$1/day").chat.completions.create(**ASK))
    row = kit.row()
    assert (row.outcome, row.usage_source, row.cost_source) == ("complete", "unknown", "unpriced")
    assert (row.cost_nano, row.counted_nano) == (None, row.held_nano)
    assert row.input_tokens is None


def test_a_proxy_may_state_its_bill_in_a_header(kit):
    kit.provider.script(Reply(headers={LITELLM: "1.35e-05"}))
    answer = kit.run(kit.client().chat.completions.create(**ASK))
    assert (kit.row().cost_nano, kit.row().cost_source) == (13_500, "reported")
    assert kit.meter.receipt(answer).breakdown.cost_source == "reported"


@pytest.mark.parametrize("said", ["0", "0.0", "None", "-1", "nan", "much"])
def test_a_header_that_says_nothing_of_a_bill_changes_nothing(kit, said):
    kit.provider.script(Reply(headers={LITELLM: said}))
    kit.run(kit.client().chat.completions.create(**ASK))
    assert kit.row().cost_source == "priced"


def test_what_the_body_states_outranks_the_header(kit):
    kit.provider.script(Reply(cost="0.25", headers={LITELLM: "0.5"}))
    kit.run(kit.client().chat.completions.create(**ASK))
    assert kit.row().cost_nano == 250_000_000


def test_the_headers_of_a_stream_know_no_bill_yet(kit):
    kit.provider.script(Reply(headers={LITELLM: "0.5"}))
    stream = kit.run(kit.client().chat.completions.create(**ASK, stream=True))
    list(kit.items(stream))
    assert kit.row().cost_source == "priced"


@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
def test_each_step_of_an_answer_is_paid_at_its_own_model(kit):
    steps = [
        {"type": "message", "input_tokens": 100, "output_tokens": 10},
        {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 200, "output_tokens": 20},
    ]
    usage = {"input_tokens": 100, "output_tokens": 10, "iterations": steps,
             "server_tool_use": {"web_search_requests": 1}}  # fmt: skip
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
            "content": [], "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}  # fmt: skip
    kit.provider.script(Reply(body=body))
    made = kit.pick(anthropic.Anthropic, anthropic.AsyncAnthropic)
    plain = made(api_key="sk-test", base_url=kit.provider.base_url.removesuffix("/v1"), max_retries=0)
    client = kit.meter.wrap(plain, budget=Budget("b", 5, "day"))
    ask = {"model": "claude-sonnet-4-5", "max_tokens": 1000, "messages": [{"role": "user", "content": "hm"}]}
    answer = kit.run(client.messages.create(**ask))
    row = kit.row()
    assert (row.input_tokens, row.output_tokens) == (300, 30)
    # 3 and 15 USD per million for the answer, 5 and 25 for the advice, 10 per thousand searches
    cost = 100 * 3_000 + 10 * 15_000 + 200 * 5_000 + 20 * 25_000 + SEARCH
    assert (row.cost_nano, row.cost_source) == (cost, "priced")
    units = [line.unit for line in kit.meter.receipt(answer).breakdown.lines]
    assert units == ["input", "output", "input of claude-opus-4-8", "output of claude-opus-4-8", "web_search"]
    stored = stored_breakdown(kit)
    assert (stored.nano, stored.lines) == (cost, ())
    assert "steps" in stored.notes[-1]
    kit.run(plain.close())
