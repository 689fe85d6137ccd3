"""Anthropic's Messages, through its own SDK."""

from __future__ import annotations

import json

import anthropic
import pytest

from farthing import Meter, Unbounded
from farthing.testing import Reply

pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")  # the SDK knows their ends

MODEL = "claude-sonnet-4-5"
ASK = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "What is a farthing?"}]}
TOLD = {
    "input_tokens": 176,
    "cache_read_input_tokens": 1000,
    "cache_creation_input_tokens": 24,
    "cache_creation": {"ephemeral_5m_input_tokens": 24, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 150,
    "service_tier": "standard",
}
COST = 176 * 3_000 + 1000 * 300 + 24 * 3_750 + 150 * 15_000
"""Nano-dollars, of 3.00, 0.30, 3.75 and 15.00 USD per million."""


def message(usage=TOLD, **more):
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": "A quarter of a penny."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
        **more,
    }


def frames(*events):
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


STARTS = (
    {
        "type": "message_start",
        "message": message({**TOLD, "output_tokens": 1}, content=[], stop_reason=None),
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "A quarter of a penny."},
    },
)
ENDS = (
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 150},
    },
    {"type": "message_stop"},
)


def streamed(*events, **more):
    return Reply(body=frames(*events), headers={"content-type": "text/event-stream"}, **more)


@pytest.fixture
def plain(kit):
    made = []

    def client(**options):
        kind = kit.pick(anthropic.Anthropic, anthropic.AsyncAnthropic)
        base_url = kit.provider.base_url.removesuffix("/v1")
        one = kind(api_key="sk-test", base_url=base_url, max_retries=0, **options)
        made.append(one)
        return one

    yield client
    for one in made:
        kit.run(one.close())


def test_a_message_is_booked_with_its_cache_and_tier(kit, plain):
    client = kit.meter.wrap(plain(), budget="$1/day")
    kit.provider.script(Reply(body=message(), headers={"request-id": "req_of_anthropic"}))
    answer = kit.run(client.messages.create(**ASK, system="Be brief."))
    assert type(answer).__module__.startswith("anthropic")
    row = kit.row()
    assert (row.operation, row.provider, row.requested_model) == ("chat", "anthropic", MODEL)
    assert (row.input_tokens, row.cached_tokens, row.cache_write_tokens) == (1200, 1000, 24)
    assert (row.output_tokens, row.usage_source, row.service_tier) == (150, "reported", "standard")
    assert (row.cost_nano, row.cost_source, row.outcome) == (COST, "priced", "complete")
    assert (row.response_id, row.request_id) == ("msg_1", "req_of_anthropic")
    assert row.held_nano >= 1000 * 15_000
    assert kit.meter.receipt(answer).usage.cache_write_5m_tokens == 24
    assert kit.provider.requests[0].body == {**ASK, "system": "Be brief."}


def test_a_stream_is_booked_at_its_end_and_passes_as_it_is(kit, plain):
    client = kit.meter.wrap(plain())
    kit.provider.script(streamed(*STARTS, *ENDS))
    stream = kit.run(client.messages.create(**ASK, stream=True))
    assert [event.type for event in kit.items(stream)] == [e["type"] for e in (*STARTS, *ENDS)]
    row = kit.row()
    assert (row.input_tokens, row.output_tokens, row.cost_nano) == (1200, 150, COST)
    assert (row.outcome, row.usage_source) == ("complete", "reported")


def test_the_streams_of_the_sdks_own_helper_are_seen(kit, plain):
    client = kit.meter.wrap(plain())
    kit.provider.script(streamed(*STARTS, *ENDS))
    with kit.inside(client.messages.stream(**ASK)) as stream:
        assert kit.run(stream.get_final_message()).usage.output_tokens == 150
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", COST)


def test_beta_messages_are_messages(kit, plain):
    client = kit.meter.wrap(plain())
    kit.provider.script(Reply(body=message()))
    kit.run(client.beta.messages.create(**ASK))
    assert kit.row().cost_nano == COST


@pytest.mark.parametrize(
    ("then", "raises"),
    [((), False), (({"type": "error", "error": {"type": "overloaded_error", "message": "x"}},), True)],
)
def test_the_first_counts_of_a_stream_that_breaks_off_are_not_taken_for_all(kit, plain, then, raises):
    client = kit.meter.wrap(plain(), budget="$1/day")
    kit.provider.script(streamed(*STARTS, *then))
    stream = kit.run(client.messages.create(**ASK, stream=True))
    if raises:
        with pytest.raises(anthropic.APIStatusError):
            list(kit.items(stream))
    else:
        list(kit.items(stream))
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("unknown", "estimated")
    assert row.counted_nano == row.held_nano > row.cost_nano
    assert row.input_tokens == 1200
    assert row.output_tokens > 1


def test_thinking_makes_an_aborted_stream_uncertain_up_to_its_hold(kit, plain):
    client = kit.meter.wrap(plain(), budget="$1/day")
    kit.provider.script(streamed(*STARTS, *ENDS))
    stream = kit.run(
        client.messages.create(
            **{**ASK, "max_tokens": 2000}, stream=True, thinking={"type": "enabled", "budget_tokens": 1024}
        )
    )
    kit.close(stream)
    row = kit.row()
    assert (row.outcome, row.counted_nano) == ("aborted", row.held_nano)


@pytest.mark.parametrize(
    ("status", "outcome"), [(400, "error"), (429, "error"), (529, "error"), (504, "unknown")]
)
def test_errors_are_told_apart(kit, plain, status, outcome):
    client = kit.meter.wrap(plain())
    kit.provider.script(Reply(status=status))
    with pytest.raises(anthropic.APIStatusError):
        kit.run(client.messages.create(**ASK))
    assert kit.row().outcome == outcome


def test_a_system_prompt_is_part_of_the_hold(kit, plain):
    client = kit.meter.wrap(plain())
    kit.provider.script(Reply(body=message()), Reply(body=message()))
    kit.run(client.messages.create(**ASK))
    kit.run(client.messages.create(**ASK, system=[{"type": "text", "text": "penny " * 500}]))
    first, second = kit.rows()
    assert second.held_nano >= first.held_nano + 500 * 6_000  # at the dearest rate: written to a cache


def test_the_fast_mode_is_not_priced_as_the_usual_one(kit, plain):
    client = kit.meter.wrap(plain())
    kit.provider.script(Reply(body=message({**TOLD, "speed": "fast"})))
    kit.run(client.messages.create(**ASK, extra_body={"speed": "fast"}))
    row = kit.row()
    assert (row.service_tier, row.cost_nano, row.cost_source) == ("fast", None, "unpriced")


def test_tools_of_the_servers_are_bounded_by_their_own_limits(kit, plain):
    client = kit.meter.wrap(plain(), budget="$50/day")
    search = {"type": "web_search_20250305", "name": "web_search"}
    with pytest.raises(Unbounded):
        kit.run(client.messages.create(**ASK, tools=[search]))
    with pytest.raises(Unbounded):
        kit.run(client.messages.create(**ASK, extra_body={"mcp_servers": [{"type": "url", "url": "x"}]}))
    kit.provider.script(
        Reply(body=message({**TOLD, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0}}))
    )
    kit.run(client.messages.create(**ASK, tools=[{**search, "max_uses": 2}]))
    row = kit.row()
    assert row.cost_nano == COST + 2 * 10_000_000
    assert row.held_nano >= 3 * 200_000 * 3_000 + 2 * 10_000_000
    assert len(kit.provider.requests) == 1


def test_tools_that_the_caller_runs_are_not_hosted(kit, plain):
    client = kit.meter.wrap(plain(), budget="$1/day")
    kit.provider.script(Reply(body=message()))
    kit.run(client.messages.create(**ASK, tools=[{"type": "bash_20250124", "name": "bash"}]))
    assert kit.row().outcome == "complete"


def test_counting_tokens_is_free(kit, plain):
    client = kit.meter.wrap(plain(), budget="$1/day")
    kit.provider.script(Reply(body={"input_tokens": 12}))
    counted = kit.run(client.messages.count_tokens(model=MODEL, messages=ASK["messages"]))
    assert counted.input_tokens == 12
    assert kit.rows() == []


def test_a_retry_after_an_answer_that_may_be_billed_is_paid_for(kit, plain, tmp_path):
    with Meter(tmp_path / "retry.db", durability="fast") as meter:
        client = meter.wrap(plain().with_options(max_retries=1), budget="$1/day")
        kit.provider.script(Reply(status=504, headers={"retry-after-ms": "1"}), Reply(body=message()))
        answer = kit.run(client.messages.create(**ASK))
        receipt = meter.receipt(answer)
        assert receipt.attempts == 2
        assert "lost_attempts" in receipt.flags
