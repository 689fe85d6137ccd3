"""Tokens of requests: against bills, and for shapes that nobody foresaw."""

from __future__ import annotations

import base64
import json
import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farthing.tokens import UNSEEN, Count, count_input, count_messages, count_text, count_texts
from farthing.tokens.families import family_of
from farthing.tokens.media import image_size

CASES = Path(__file__).resolve().parents[1] / "../shared/cases/token_cases.json"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def cases(*kinds: str) -> list[dict]:
    if not CASES.is_file():
        if os.environ.get("CI"):
            pytest.fail(f"{CASES} is not there")
        pytest.skip("recorded bills are not on this machine")
    return [case for case in json.loads(CASES.read_text()) if not kinds or case["kind"] in kinds]


def counted(case: dict) -> Count:
    if case["kind"].startswith("responses"):
        return count_input(case["messages"], case["model"])
    return count_messages(
        case["messages"],
        case["model"],
        tools=case.get("tools"),
        tool_choice=case.get("tool_choice"),
        functions=case.get("functions"),
        response_format=case.get("response_format"),
        extra={"function_call": case.get("function_call")},
    )


def test_plain_chats_of_openai_models_are_counted_as_billed():
    found = cases("plain_chat", "responses_plain")
    exact = [case for case in found if counted(case).tokens == case["expected_prompt_tokens"]]
    assert len(exact) >= 0.95 * len(found)


def test_the_upper_figure_of_a_plain_chat_is_close():
    for case in cases("plain_chat", "responses_plain"):
        count = counted(case)
        assert count.tokens <= count.upper <= 1.3 * case["expected_prompt_tokens"], case["id"]


def test_no_bill_is_above_the_upper_figure():
    above = [case["id"] for case in cases() if counted(case).upper < case["expected_prompt_tokens"]]
    assert above == []


def test_tools_and_their_calls_are_counted_within_ten_per_cent():
    found = cases("tools", "functions", "function_messages", "tool_roundtrip")
    near = [
        c
        for c in found
        if abs(counted(c).tokens - c["expected_prompt_tokens"]) <= c["expected_prompt_tokens"] / 10
    ]
    assert len(near) >= 0.9 * len(found)
    assert {counted(case).method for case in found} == {"approximate"}


def test_images_of_known_size_are_counted_within_ten_per_cent():
    for case in cases("image"):
        size = case["images"][0]
        url = "data:image/png;base64," + base64.b64encode(png(size["width"], size["height"])).decode()
        text = json.dumps(case["messages"])
        for part in ("data:[removed]", size.get("url", "-")):
            text = text.replace(json.dumps(part), json.dumps(url))
        count = counted({**case, "messages": json.loads(text)})
        assert count.tokens == pytest.approx(case["expected_prompt_tokens"], rel=0.1), case["id"]
        assert count.upper >= case["expected_prompt_tokens"]


@pytest.mark.parametrize(
    ("model", "tokens"), [("gpt-4", 129), ("gpt-3.5-turbo-0613", 129), ("gpt-4o", 124), ("gpt-4o-mini", 124)]
)
def test_the_example_of_the_cookbook(model, tokens):
    messages = [
        {
            "role": "system",
            "content": "You are a helpful, pattern-following assistant that translates "
            "corporate jargon into plain English.",
        },
        {
            "role": "system",
            "name": "example_user",
            "content": "New synergies will help drive top-line growth.",
        },
        {
            "role": "system",
            "name": "example_assistant",
            "content": "Things working well together will increase revenue.",
        },
        {
            "role": "system",
            "name": "example_user",
            "content": "Let's circle back when we have more bandwidth to touch base on "
            "opportunities for increased leverage.",
        },
        {
            "role": "system",
            "name": "example_assistant",
            "content": "Let's talk later when we're less busy about how to do better.",
        },
        {
            "role": "user",
            "content": "This late pivot means we don't have time to boil the ocean "
            "for the client deliverable.",
        },
    ]
    count = count_messages(messages, model)
    assert (count.tokens, count.method) == (tokens, "exact")


ANSWERED = [
    {"role": "user", "content": "How do I cross a road?"},
    {"role": "assistant", "content": "Look both ways."},
    {"role": "user", "content": "And a river?"},
]


def test_a_short_response_with_an_earlier_answer_is_held_for_by_what_bills_had_above_their_counts():
    """Of 62 that were recorded the one farthest above had 58 tokens more; nobody says why."""
    count = count_input(ANSWERED, "gpt-5")
    assert count.upper == count.tokens + 64
    for items, model in ((ANSWERED[:1], "gpt-5"), (ANSWERED, "gpt-4.1")):  # these bill what was counted
        other = count_input(items, model)
        assert other.upper <= 1.3 * other.tokens
    long = count_input([*ANSWERED, {"role": "user", "content": "why? " * 400}], "gpt-5")
    assert long.tokens + 64 <= long.upper <= 1.2 * long.tokens


def test_a_text_is_counted_without_overhead():
    assert count_text("hello world", "gpt-4o").tokens == 2
    assert count_texts("hello world", "text-embedding-3-small") == Count(2, 2, "exact")
    assert count_texts(["hello world", "hello"], "text-embedding-3-small").tokens == 3
    assert count_texts([1, 2, 3], "text-embedding-3-small").tokens == 3
    assert count_texts([[1, 2], [3]], "text-embedding-3-small").tokens == 3
    assert count_texts([], "text-embedding-3-small").tokens == 0


def test_a_text_as_input_is_one_message_of_the_user():
    assert count_input("hello", "gpt-4o") == count_messages([{"role": "user", "content": "hello"}], "gpt-4o")
    assert count_input("hello", "gpt-4o", instructions="Be brief.") == count_messages(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}], "gpt-4o"
    )


def test_text_parts_count_as_their_texts():
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": " world"}]
    assert count_messages([{"role": "user", "content": parts}], "gpt-4o").tokens == 4 + 3 + 2
    parts = [{"type": "input_text", "text": "hello world"}]
    assert count_input([{"role": "user", "content": parts}], "gpt-4o").tokens == 4 + 3 + 2


@pytest.mark.parametrize(
    ("model", "encoding", "exact"),
    [
        ("gpt-4o-2024-08-06", "o200k_base", True),
        ("openai/GPT-4o", "o200k_base", True),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", "o200k_base", True),
        ("ft:gpt-3.5-turbo:acme", "cl100k_base", True),
        ("gpt-4-1106-preview", "cl100k_base", True),
        ("gpt-4.1-nano", "o200k_base", True),
        ("gpt-35-turbo", "cl100k_base", True),
        ("o3-mini", "o200k_base", True),
        ("gpt-5.4-mini-2026-03-17", "o200k_base", True),
        ("gpt-oss-120b", "o200k_base", False),
        ("gpt-9", "o200k_base", False),
        ("claude-opus-4-8", "o200k_base", False),
        ("us.anthropic.claude-3-5-haiku-20241022-v1:0", "o200k_base", False),
        ("a-deployment", "o200k_base", False),
        ("", "o200k_base", False),
    ],
)
def test_a_model_has_the_vocabulary_of_its_family(model, encoding, exact):
    family = family_of(model)
    assert (family.encoding, family.exact) == (encoding, exact)
    assert count_messages([{"role": "user", "content": "hi"}], model).method == (
        "exact" if exact else "approximate"
    )


@pytest.mark.parametrize(
    ("model", "percent"),
    [
        ("claude-3-5-sonnet-20241022", 130),
        ("claude-sonnet-4-20250514", 130),
        ("anthropic/claude-opus-4.6", 130),
        ("claude-opus-4-1@20250805", 130),
        ("claude-2.1", 130),
        ("claude-opus-4-8", 165),
        ("claude-haiku-4.10", 165),
        ("claude-somethingelse", 165),
        ("claude-opus-5-20270101", 165),
        ("nobody-knows", 150),
    ],
)
def test_the_upper_figure_of_other_makers_has_their_margin(model, percent):
    text = "The quick brown fox jumps over the lazy dog. " * 40
    own = count_messages([{"role": "user", "content": text}], "gpt-4o").tokens
    count = count_messages([{"role": "user", "content": text}], model)
    assert own < count.tokens < count.upper
    assert count.upper == pytest.approx(own * percent / 100 + 15, abs=2)


def test_other_scripts_have_a_wider_margin_on_other_vocabularies():
    text = "नमस्ते दुनिया " * 50
    latin, hindi = (count_text(t, "claude-sonnet-4-5") for t in ("hello world " * 50, text))
    assert hindi.upper / hindi.tokens > 1.5 > latin.upper / latin.tokens


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "input_audio", "input_audio": {}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
    ],
)
def test_what_the_request_does_not_show_is_above_any_context_window(part):
    assert count_messages([{"role": "user", "content": [part]}], "gpt-4o").upper >= UNSEEN


@pytest.mark.parametrize("messages", [iter([]), object(), 7])
def test_messages_that_cannot_be_looked_at_have_no_bound(messages):
    assert count_messages(messages, "gpt-4o").upper >= UNSEEN


def test_an_iterator_is_not_used_up():
    messages = iter([{"role": "user", "content": "hi"}])
    assert count_messages(messages, "gpt-4o").method == "approximate"
    assert len(list(messages)) == 1


def test_a_model_object_counts_as_its_fields():
    class Message:
        def model_dump(self, *, exclude_none):
            return {"role": "assistant", "content": "hello"}

    assert count_messages([Message()], "gpt-4o").tokens == 8


def test_a_longer_text_never_counts_less_at_most():
    uppers = [count_messages([{"role": "user", "content": "word " * n}], "gpt-4o").upper for n in range(400)]
    assert uppers == sorted(uppers)


def test_nested_and_recursive_values_are_guessed():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    loop: dict = {"role": "user"}
    loop["content"] = [loop]
    for value in (deep, [loop]):
        for count in (
            count_messages(value, "gpt-4o"),
            count_input(value, "gpt-5"),
            count_texts(value, "gpt-4"),
        ):
            assert 0 <= count.tokens <= count.upper
    schema: dict = {"type": "object"}
    schema["properties"] = {"a": schema}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert count_messages([], "gpt-4o", tools=[tool]).method == "heuristic"


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=4)
kinds = st.sampled_from([
    "text", "image_url", "input_image", "input_audio", "file", "tool_use", "tool_result", "image", "document",
    "message", "function_call", "function_call_output", "reasoning", "item_reference", "mcp_call", "refusal",
    "function", "object", "array", "json_schema", "computer_call_output",
])  # fmt: skip
names = st.sampled_from([
    "role", "content", "type", "name", "text", "tool_calls", "function", "arguments", "image_url", "source",
    "file", "input_audio", "parameters", "properties", "required", "anyOf", "enum", "items", "output",
    "summary", "schema", "json_schema", "function_call", "url", "data", "description", "input",
])  # fmt: skip
values = st.recursive(
    scalars | kinds,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=20,
)
models = st.sampled_from(["gpt-4o", "gpt-4", "gpt-5-mini", "claude-opus-4-8", "gpt-oss-20b", "x"])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values, values, values, values, models)
def test_no_value_breaks_a_count(first, tools, choice, form, model):
    for count in (
        count_messages(first, model, tools=tools, tool_choice=choice, response_format=form, functions=form),
        count_messages([first], model, tools=[tools], extra={"system": form}),
        count_input(first, model, instructions=form, tools=tools, tool_choice=choice, text=form),
        count_input([first], model, tools=[tools]),
        count_texts(first, model),
    ):
        assert 0 <= count.tokens <= count.upper


@given(st.lists(st.text(), min_size=1, max_size=5), models)
def test_a_chat_has_more_tokens_than_its_texts(texts, model):
    chat = count_messages([{"role": "user", "content": text} for text in texts], model)
    assert chat.tokens >= count_texts(texts, model).tokens + 3 * len(texts)


def test_tools_add_to_the_count_and_are_remembered_as_counted():
    messages = [{"role": "user", "content": "What is the weather in Paris? Use the tool."}]
    first = count_messages(messages, "gpt-4o", tools=[TOOL])
    assert first.tokens == 48
    assert count_messages(messages, "gpt-4o", tools=[TOOL]) == first
    other = {**TOOL, "function": {**TOOL["function"], "description": "Now with a description of its own."}}
    assert count_messages(messages, "gpt-4o", tools=[other]).tokens > first.tokens


def test_a_call_counts_though_its_message_has_no_content():
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
    }
    bare, with_null = (
        count_messages([{"role": "assistant", "tool_calls": [call], **more}], "gpt-4o")
        for more in ({}, {"content": None})
    )
    assert bare == with_null
    assert bare.tokens > count_text("get_weather" + call["function"]["arguments"], "gpt-4o").tokens


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"\0" * 9


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (png(640, 480), (640, 480)),
        (b"GIF89a" + struct.pack("<HH", 640, 480) + b"\0" * 5, (640, 480)),
        (
            b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc0\0\x11\x08" + struct.pack(">HH", 480, 640) + b"\3",
            (640, 480),
        ),
        (b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + b"\x7f\x02\0\xdf\x01\0", (640, 480)),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 639 | 479 << 14), (640, 480)),
        (b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 10 + struct.pack("<HH", 640, 480), (640, 480)),
        (png(0, 480), None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"\xff\xd8\xff\xe0\0\0", None),
        (b"%PDF", None),
        (b"", None),
    ],
)
def test_the_size_of_an_image_is_read_from_its_first_bytes(head, size):
    assert image_size("data:image/x;base64," + base64.b64encode(head).decode()) == size


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF....WEBPVP8L"]))
def test_no_image_breaks_the_count(tail, head):
    url = "data:image/png;base64," + base64.b64encode(head + tail).decode()
    part = {"type": "image_url", "image_url": {"url": url}}
    assert count_messages([{"role": "user", "content": [part]}], "gpt-4o").upper < 1600


@pytest.mark.parametrize(
    "url", ["data:image/png;base64,???", "data:image/png;base64,Zm9v\ud800", "https://x/y.png"]
)
def test_an_image_that_cannot_be_read_counts_as_the_largest(url):
    part = {"type": "image_url", "image_url": {"url": url}}
    count = count_messages([{"role": "user", "content": [part]}], "gpt-4o")
    assert count.upper >= 85 + 8 * 170
    low = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    assert count_messages([{"role": "user", "content": [low]}], "gpt-4o").tokens == 7 + 85
