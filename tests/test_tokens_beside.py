"""Texts that stand where nobody expects them: what may be billed is in the upper figure."""

from __future__ import annotations

import asyncio

import pytest

from farthing import wire
from farthing.quote.counting import counted
from farthing.tokens import UNSEEN, count_input, count_messages, count_text, is_large

PROSE = "The quick brown fox jumps over the lazy dog. " * 20
TOKENS = 200
HI = {"role": "user", "content": "hi"}


def chat(message, model="gpt-4o"):
    return count_messages([HI, message], model)


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": PROSE},
        {"reasoning": PROSE},
        {"reasoning_details": [{"type": "reasoning.text", "text": PROSE}]},
        {"annotations": [{"type": "url_citation", "url_citation": {"title": PROSE}}]},
        {"something_new": {"deep": [PROSE]}},
        {"tool_call_id": PROSE},
        {"refusal": PROSE},
        {"name": PROSE},
        {"function_call": {"name": "f", "arguments": PROSE}},
        {"function_call": {"name": "f", "arguments": "{}", "thought": PROSE}},
        {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": PROSE}}]},
        {"tool_calls": [{"id": "1", "type": "custom", "custom": {"name": "f", "input": PROSE}}]},
        {
            "tool_calls": [
                {
                    "id": "1",
                    "type": "function",
                    "function": {"name": "f", "arguments": "{}"},
                    "extra_content": {"google": {"thought_signature": PROSE}},
                }
            ]
        },
    ],
    ids="-".join,
)
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5", "claude-opus-4-8", "deepseek-chat"])
def test_a_text_in_any_field_of_a_message_is_in_the_upper_figure(fields, model):
    message = {"role": "assistant", "content": "ok"}
    assert chat({**message, **fields}, model).upper >= chat(message, model).upper + TOKENS


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "hi", "title": PROSE},
        {"type": "thinking", "thinking": "hm", "signature": PROSE},
        {"type": "redacted_thinking", "data": PROSE},
        {"type": "document", "source": {"type": "text", "data": "hi"}, "title": PROSE},
        {"type": "document", "source": {"type": "text", "data": "hi"}, "context": PROSE},
        {"type": "search_result", "title": "t", "content": [{"type": "text", "text": PROSE}]},
        {"type": "tool_result", "tool_use_id": PROSE, "content": "ok"},
        {"type": "tool_use", "name": "f", "input": {}, "caller": {"note": PROSE}},
        {"type": "web_search_tool_result", "content": [{"encrypted_content": PROSE}]},
        {"type": "file", "file": {"file_data": "AAAA", "filename": PROSE}},
        {"type": "input_text", "text": "hi", "note": PROSE},
        {"text": "hi", "note": PROSE},
        {"note": PROSE},
    ],
    ids="-".join,
)
def test_a_text_in_any_field_of_a_part_is_in_the_upper_figure(part):
    assert chat({"role": "user", "content": [part]}, "claude-sonnet-4-5").upper >= TOKENS
    assert count_input([{"role": "user", "content": [part]}], "gpt-5").upper >= TOKENS


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
        {"type": "input_video", "data": "AAAA"},
        {"type": "container_upload", "file_id": "file-1"},
        {"type": "media", "uri": "gs://bucket/a"},
        {"fileUri": "gs://bucket/a"},
    ],
    ids=lambda part: next(iter(part.values())) if isinstance(next(iter(part.values())), str) else "part",
)
def test_a_part_that_is_no_text_and_is_not_known_has_no_bound(part):
    assert chat({"role": "user", "content": [part]}).upper >= UNSEEN
    assert not chat({"role": "user", "content": [part]}).shown


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "role": "user", "content": "hi", "note": PROSE},
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "1", "namespace": PROSE},
        {"type": "function_call_output", "call_id": "1", "output": "ok", "note": PROSE},
        {
            "type": "custom_tool_call_output",
            "call_id": "1",
            "output": [{"type": "input_text", "text": PROSE}],
        },
        {"type": "shell_call_output", "call_id": "1", "output": [{"stdout": PROSE, "stderr": ""}]},
        {"type": "tool_search_output", "tools": [{"type": "function", "description": PROSE}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "x", "content": [{"text": PROSE}]},
        {"type": "mcp_list_tools", "tools": [{"name": "f", "description": PROSE}]},
        {"type": "web_search_call", "action": {"query": PROSE}},
        {"type": "something_new", "deep": [{"note": PROSE}]},
        {"role": "user", "content": PROSE},
    ],
    ids=lambda item: item.get("type", "no type"),
)
def test_a_text_in_any_field_of_an_item_is_in_the_upper_figure(item):
    assert count_input(["hi", item], "gpt-5").upper >= TOKENS


def test_an_image_that_was_made_is_no_text():
    item = {"type": "image_generation_call", "id": "1", "status": "completed", "result": "A" * 1_000_000}
    assert count_input([item], "gpt-4o").upper < 3000
    shot = {"type": "computer_screenshot", "image_url": "data:image/png;base64," + "A" * 1_000_000}
    item = {"type": "computer_call_output", "call_id": "1", "output": shot}
    assert count_input([item], "gpt-4o").upper < 3000


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "custom", "custom": {"name": "f", "format": {"type": "grammar", "definition": PROSE * 20}}},
        {"type": "mcp", "server_label": "x", "server_description": PROSE * 20},
        {"type": "namespace", "name": "crm", "tools": [{"name": "f", "description": PROSE * 20}]},
        {"name": "f", "input_schema": {"type": "object"}, "input_examples": [{"note": PROSE * 20}]},
    ],
    ids=lambda tool: tool.get("type", "anthropic"),
)
def test_a_tool_is_held_for_with_all_that_its_declaration_says(tool):
    assert count_messages([HI], "gpt-4o", tools=[tool]).upper >= TOKENS * 20
    assert count_input("hi", "gpt-4o", tools=[tool]).upper >= TOKENS * 20


def test_a_custom_tool_of_a_chat_is_a_function_and_no_hosted_one():
    tool = {"type": "custom", "custom": {"name": "f", "description": "Does something."}}
    assert count_messages([HI], "gpt-4o", tools=[tool]).upper < 200


@pytest.mark.parametrize(
    "options",
    [
        {
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [{"note": PROSE}]}},
            "tools": [{}],
        },
        {"response_format": {"type": "grammar", "grammar": PROSE}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_an_option_of_an_unknown_shape_is_in_the_upper_figure(options):
    assert count_messages([HI], "gpt-4o", **options).upper >= TOKENS


def counted_body(path="/chat/completions", **body):
    known = {"messages": [HI]} if path != "/responses" else {"input": "hi"}
    ask = wire.read_request("post", path, {"model": "gpt-4o", **known, **body})
    assert ask is not None
    return counted(ask)


@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/v1/messages"])
@pytest.mark.parametrize("value", [PROSE, [PROSE], {"deep": {"er": PROSE}}], ids=["text", "list", "object"])
def test_a_text_in_an_unknown_field_of_a_request_is_in_the_upper_figure(path, value):
    plain = counted_body(path)
    found = counted_body(path, documents=value)
    assert found.upper >= plain.upper + TOKENS
    assert found.tokens == plain.tokens


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0, "seed": 1, "user": "u" * 64, "metadata": {"note": PROSE}, "stop": [PROSE]},
        {"new_mode": "fast", "new_number": 5, "new_flag": True, "nothing": None},
        {"modalities": ["text"], "logit_bias": {str(n): 1 for n in range(300)}},
    ],
    ids=["known", "words", "lists"],
)
def test_options_are_no_input(options):
    assert counted_body(**options) == counted_body()


def test_the_format_of_anthropics_answers_is_input():
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": PROSE}}}
    found = counted_body("/v1/messages", output_config={"format": {"type": "json_schema", "schema": schema}})
    assert found.upper >= TOKENS
    assert found == counted_body("/v1/messages", output_format={"type": "json_schema", "schema": schema})


def test_a_plain_chat_is_exact_whatever_ids_its_messages_have():
    message = {"role": "assistant", "content": "ok", "id": "msg_1", "status": "completed", "annotations": []}
    count = chat(message)
    assert count == chat({"role": "assistant", "content": "ok"})
    assert (count.method, count.shown) == ("exact", True)


def test_what_is_counted_ahead_is_not_counted_again():
    ask = wire.read_request("post", "/chat/completions", {"model": "gpt-4o", "messages": [HI]})
    assert ask is not None
    ask.counted = ask.model, count_text(PROSE, "gpt-4o")
    assert counted(ask).tokens >= TOKENS
    other = wire.with_model(ask, "gpt-4", None)
    assert counted(other).tokens == 8  # that was of another model


def test_a_large_body_is_seen_by_its_texts_not_by_its_numbers():
    async def main():
        return count_messages([{"role": "user", "content": PROSE}], "gpt-4o")

    assert not is_large({"messages": [{"role": "user", "content": PROSE}], "seed": 10**100})
    assert asyncio.run(main()).method == "exact"
