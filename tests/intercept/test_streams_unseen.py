"""Streams that break off before they say what is billed, where that is more than anybody saw."""

from __future__ import annotations

import contextlib
import json

import anthropic
import pytest

from farthing.engine import call as calls
from farthing.intercept import streams
from farthing.testing import Reply
from farthing.wire import read_request
from intercept.kit import ASK, TOLD, USUAL, chunk

pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")  # the SDK knows their ends

REASONING = {"model": "gpt-5", "messages": ASK["messages"], "max_completion_tokens": 900, "stream": True}
PLAIN = {**ASK, "stream": True}
OVER = [chunk("A quarter of a penny."), chunk("", finish="stop")]
WORD = {
    "type": "response.output_text.delta",
    "delta": "A quarter of a penny. " * 3,
    "item_id": "m",
    "output_index": 0,
    "content_index": 0,
    "logprobs": [],
}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
FILE = {"type": "file", "file": {"file_id": "file-1"}}


@pytest.fixture
def known(kit, monkeypatch):
    """The server is the provider's own, which stops when a stream is closed."""
    monkeypatch.setattr(kit.meter.engine, "knows", lambda base_url: True)


def _left_when_over(kit, ask):
    """The row of a chat that is left when its answer is over, before its usage comes."""
    kit.provider.script(
        Reply(events=[*OVER, chunk(usage=TOLD), "[DONE]"], piecewise=True, pause_after=len(OVER))
    )
    with kit.inside(kit.run(kit.client().chat.completions.create(**ask))) as stream:
        for part in kit.items(stream):
            if part.choices[0].finish_reason:
                break
    return kit.row()


def _left(kit, made):
    """The row of a stream that is left after its first words."""
    with kit.inside(kit.run(made)) as stream:
        items = kit.items(stream)
        next(items)
        next(items)
    return kit.row()


def _counts_its_hold(row):
    return row.counted_nano == row.held_nano > row.cost_nano > 0


# -- an answer is over, its bill has not come ---------------------------------------------------------


def test_reasoning_that_is_left_before_its_usage_counts_its_hold(kit, known):
    row = _left_when_over(kit, REASONING)
    assert (row.outcome, row.usage_source) == ("aborted", "estimated")
    assert _counts_its_hold(row)


def test_reasoning_that_is_left_before_its_usage_would_count_what_was_seen(kit, known, monkeypatch):
    monkeypatch.setattr(streams, "hides", lambda quote, reading: False)
    row = _left_when_over(kit, REASONING)
    assert (row.outcome, row.counted_nano) == ("complete", row.cost_nano)


def test_an_answer_that_hides_nothing_is_complete_when_it_is_over(kit, known):
    row = _left_when_over(kit, PLAIN)
    assert (row.outcome, row.counted_nano) == ("complete", row.cost_nano)


def test_an_answer_to_a_file_that_is_left_before_its_usage_counts_its_hold(kit, known):
    row = _left_when_over(kit, {**PLAIN, "messages": [{"role": "user", "content": [FILE]}]})
    assert row.outcome == "aborted"
    assert _counts_its_hold(row)


@pytest.mark.parametrize("ask", [REASONING, PLAIN], ids=["reasoning", "plain"])
def test_a_server_that_dies_before_the_usage_may_have_billed_the_hold(kit, known, ask):
    kit.provider.script(Reply(events=[*OVER, chunk(usage=TOLD)], piecewise=True, die_after=len(OVER)))
    stream = kit.run(kit.client().chat.completions.create(**ask))
    with pytest.raises(Exception):  # noqa: B017, PT011  which one is up to the transport
        list(kit.items(stream))
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("unknown", "estimated")
    assert _counts_its_hold(row)


def test_reasoning_whose_usage_has_come_is_complete_wherever_it_is_left(kit, known):
    kit.provider.script(Reply(events=[*OVER, chunk(usage=TOLD), "[DONE]"], piecewise=True, pause_after=3))
    asked = {**REASONING, "stream_options": {"include_usage": True}}
    with kit.inside(kit.run(kit.client().chat.completions.create(**asked))) as stream:
        for part in kit.items(stream):
            if part.usage:
                break
    assert (kit.row().outcome, kit.row().usage_source) == ("complete", "reported")


def test_reasoning_that_is_read_to_the_end_is_complete_though_no_usage_came(kit, known):
    kit.provider.script(Reply(events=[*OVER, "[DONE]"]))
    list(kit.items(kit.run(kit.client().chat.completions.create(**REASONING))))
    assert (kit.row().outcome, kit.row().usage_source) == ("complete", "estimated")


def test_reasoning_that_is_left_at_its_last_event_is_complete_though_no_usage_came(kit, known):
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5", "output": []}
    last = {
        "type": "response.completed",
        "sequence_number": 2,
        "response": {**response, "status": "completed"},
    }
    kit.provider.script(Reply(events=[WORD, last, WORD], piecewise=True, pause_after=2))
    row = _left(kit, kit.client().responses.create(model="gpt-5", input="What is a farthing?", stream=True))
    assert (row.outcome, row.usage_source) == ("complete", "estimated")


# -- input and reasoning that the request does not show -----------------------------------------------

RESPONSES = {"model": "gpt-4o", "input": "What is a farthing?", "max_output_tokens": 300, "stream": True}
CHAT = {**PLAIN, "model": "anthropic/claude-sonnet-4"}
HIDING = {
    "an earlier response": {**RESPONSES, "previous_response_id": "resp_1"},
    "a hosted tool": {**RESPONSES, "tools": [{"type": "web_search"}], "max_tool_calls": 3},
    "a tool that lists its own": {**RESPONSES, "tools": [{"type": "mcp"}], "max_tool_calls": 0},
    "a file": {**PLAIN, "messages": [{"role": "user", "content": [FILE]}]},
    "an effort": {**CHAT, "reasoning_effort": "low"},
    "reasoning left out": {**CHAT, "extra_body": {"reasoning": {"max_tokens": 1_000, "exclude": True}}},
}


def _first_words(kit, ask):
    client = kit.client(provider="openrouter" if ask.get("model") == CHAT["model"] else "openai")
    if "input" in ask:
        kit.provider.script(Reply(events=[WORD] * 3, piecewise=True, pause_after=2))
        return _left(kit, client.responses.create(**ask))
    kit.provider.script(Reply(events=[chunk("penny ")] * 3, piecewise=True, pause_after=2))
    return _left(kit, client.chat.completions.create(**ask))


@pytest.mark.parametrize("name", HIDING)
def test_what_the_request_does_not_show_may_have_been_billed(kit, known, name):
    row = _first_words(kit, HIDING[name])
    assert row.outcome == "aborted"
    assert _counts_its_hold(row)


@pytest.mark.parametrize("name", sorted(HIDING.keys() - {"a file"}))  # whose size at most is the hold anyway
def test_without_looking_for_it_only_what_was_seen_would_count(kit, known, name, monkeypatch):
    monkeypatch.setattr(calls, "hides", lambda quote, reading: False)
    row = _first_words(kit, HIDING[name])
    assert row.counted_nano < row.held_nano


@pytest.mark.parametrize("ask", [RESPONSES, CHAT], ids=["responses", "chat"])
def test_what_is_shown_counts_with_its_margin(kit, known, ask):
    row = _first_words(kit, ask)
    assert row.cost_nano < row.counted_nano < row.held_nano


def test_an_image_counts_at_its_most_and_the_rest_as_seen(kit, known):
    ask = {**PLAIN, "messages": [{"role": "user", "content": [IMAGE]}]}
    row = _first_words(kit, ask)
    prompt = 2_500 * row.input_tokens
    assert prompt + (row.cost_nano - prompt) * 6 // 5 < row.counted_nano < row.held_nano


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({}, False),
        ({"reasoning": {"effort": "high", "exclude": True}}, True),
        ({"reasoning": {"enabled": True}}, True),
        ({"reasoning": {"enabled": False}}, False),
        ({"reasoning": {"effort": "none"}}, False),
        ({"reasoning": None}, False),
        ({"reasoning_effort": "minimal"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": "hard"}, False),
    ],
)
def test_the_fields_that_ask_for_reasoning(fields, reasons):
    ask = read_request("post", "/chat/completions", {"model": "m", "messages": [], **fields})
    assert ask.reasons is reasons
    assert ask.thinks is False  # the least cap of the model, and its field, stay as they are


# -- answers that are no streams ----------------------------------------------------------------------


@pytest.mark.parametrize("read", [False, True], ids=["unread", "in part"])
def test_a_whole_answer_that_is_left_counts_its_hold_at_a_provider_that_stops_streams(kit, known, read):
    kit.provider.script(Reply(text="word " * 3_000))
    with kit.inside(kit.client().chat.completions.with_streaming_response.create(**ASK)) as response:
        if read:
            next(kit.items(response.iter_bytes(100)))
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("aborted", "estimated")
    assert _counts_its_hold(row)


def test_a_whole_answer_that_is_read_is_booked_as_it_says(kit, known):
    with kit.inside(kit.client().chat.completions.with_streaming_response.create(**ASK)) as response:
        kit.run(response.read())
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", USUAL)


# -- a prompt that is stated at the beginning ---------------------------------------------------------

WRITTEN = {
    "input_tokens": 10,
    "cache_read_input_tokens": 2_000,
    "cache_creation_input_tokens": 30_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 10_000, "ephemeral_1h_input_tokens": 20_000},
    "output_tokens": 1,
}
STATED = 10 * 3_000 + 2_000 * 300 + 10_000 * 3_750 + 20_000 * 6_000
"""Nano-dollars, of 3.00, 0.30, 3.75 and 6.00 USD per million."""

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": WRITTEN,
}
BEGUN = (
    {"type": "message_start", "message": MESSAGE},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "penny " * 40}},
)
FAILED = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}


def _message(kit, *events, content="What is a farthing?"):
    """The row of a message whose stream has these events, and is left after its first words unless an
    error ends it."""
    body = b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)
    kit.provider.script(Reply(body=body, headers={"content-type": "text/event-stream"}))
    kind = kit.pick(anthropic.Anthropic, anthropic.AsyncAnthropic)
    plain = kind(api_key="k", base_url=kit.provider.base_url.removesuffix("/v1"), max_retries=0)
    asked = {"model": "claude-sonnet-4-5", "max_tokens": 1_000, "stream": True}
    asked["messages"] = [{"role": "user", "content": content}]
    try:
        with (
            contextlib.suppress(anthropic.APIStatusError),
            kit.inside(kit.run(kit.meter.wrap(plain).messages.create(**asked))) as stream,
        ):
            for event in kit.items(stream):
                if event.type == "content_block_delta" and FAILED not in events:
                    break
    finally:
        kit.run(plain.close())
    return kit.row()


def test_a_stream_that_is_left_costs_the_prompt_as_it_was_stated(kit, known):
    row = _message(kit, *BEGUN, content="penny " * 40_000)
    assert (row.outcome, row.usage_source) == ("aborted", "estimated")
    assert (row.input_tokens, row.cached_tokens, row.cache_write_tokens) == (32_010, 2_000, 30_000)
    seen = 15_000 * row.output_tokens
    assert row.output_tokens > 10
    assert row.cost_nano == STATED + seen
    assert row.counted_nano == STATED + seen * 6 // 5 < row.held_nano


def test_a_stream_that_breaks_off_costs_the_prompt_as_it_was_stated(kit, known):
    row = _message(kit, *BEGUN, FAILED)
    assert row.outcome == "unknown"
    assert row.cost_nano == STATED + 15_000 * row.output_tokens
    assert row.counted_nano == max(row.held_nano, row.cost_nano)


def test_a_file_whose_size_was_stated_hides_nothing(kit, known):
    document = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    row = _message(kit, *BEGUN, content=[document, {"type": "text", "text": "Sum up."}])
    seen = 15_000 * row.output_tokens
    assert row.cost_nano == STATED + seen
    assert row.counted_nano == STATED + seen * 6 // 5 < row.held_nano
