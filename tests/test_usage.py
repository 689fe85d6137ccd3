"""What a body or a stream says of itself, quirk by quirk."""

from __future__ import annotations

import json
import math
import pickle
from collections import OrderedDict
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from farthing.records import Usage
from farthing.usage import Reading, failed, finished, flavour_of, merge, read, read_event, visible

CHAT = "openai.chat"
RESPONSES = "openai.responses"


def chat(**usage: Any) -> dict[str, Any]:
    return {"id": "c1", "object": "chat.completion", "model": "m-1", "choices": [], "usage": usage}


def counted(**usage: Any) -> Usage:
    reading = read(chat(**usage), flavour=CHAT)
    assert reading.usage is not None
    return reading.usage


FULL = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "total_tokens": 140,
    "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 25, "audio_tokens": 0, "accepted_prediction_tokens": 0},
}


# --- plain bodies ---------------------------------------------------------------------------------------


def test_a_chat_body_gives_its_counts_and_its_names():
    reading = read({**chat(**FULL), "service_tier": "flex"}, flavour=CHAT)
    assert reading.usage == Usage(
        input_tokens=100,
        cached_tokens=60,
        output_tokens=40,
        reasoning_tokens=25,
        audio_input_tokens=0,
        audio_output_tokens=0,
    )
    assert (reading.model, reading.response_id, reading.service_tier) == ("m-1", "c1", "flex")
    assert (reading.raw, reading.units, reading.status, reading.reported_nano) == (None, None, None, None)
    assert not reading.clamped
    assert not reading.suspect


def test_a_count_that_is_not_stated_is_unknown_and_not_zero():
    usage = counted(prompt_tokens=5, completion_tokens=2, prompt_tokens_details=None)
    assert usage.cached_tokens is None
    assert usage.reasoning_tokens is None
    assert (
        counted(
            prompt_tokens=5, completion_tokens=2, prompt_tokens_details={"cached_tokens": 0}
        ).cached_tokens
        == 0
    )


def test_an_embedding_has_input_only():
    body = {"object": "list", "model": "e", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    assert flavour_of(body) == "openai.embeddings"
    assert read(body).usage == Usage(input_tokens=8, output_tokens=0)
    total_only = {"object": "list", "model": "e", "usage": {"total_tokens": 8}}
    assert read(total_only, flavour="openai.embeddings").usage == Usage(input_tokens=8, output_tokens=0)


def test_a_response_gives_its_status_and_its_cache_writes():
    body = {
        "object": "response",
        "id": "r1",
        "model": "m",
        "status": "incomplete",
        "service_tier": "priority",
        "usage": {
            "input_tokens": 50,
            "input_tokens_details": {
                "cached_tokens": 10,
                "cache_write_tokens": 30,
                "cache_write_tokens_details": {"ttl_30m_tokens": 20, "ttl_12h_tokens": 10},
            },
            "output_tokens": 9,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 59,
        },
    }
    reading = read(body)
    assert (reading.flavour, reading.status, reading.service_tier) == (RESPONSES, "incomplete", "priority")
    assert reading.usage == Usage(
        input_tokens=50, cached_tokens=10, cache_write_tokens=30, output_tokens=9, reasoning_tokens=3
    )
    assert reading.units == {"cache_write_30m_tokens": 20, "cache_write_12h_tokens": 10}


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_background_response_states_no_usage_yet(status):
    reading = read({"object": "response", "id": "r", "model": "m", "status": status, "usage": None})
    assert (reading.usage, reading.status, reading.response_id) == (None, status, "r")


def test_hosted_tools_are_counted_beside_the_usage():
    image = {"input_tokens": 70, "input_tokens_details": {"image_tokens": 60}, "output_tokens": 900}
    body = {
        "object": "response",
        "usage": {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6},
        "tool_usage": {"web_search": {"num_requests": 2}, "image_gen": image},
    }
    reading = read(body)
    # "Usage reported by hosted tools, separate from base model `usage`": SDK types/responses/response.py
    assert reading.usage == Usage(input_tokens=5, output_tokens=1)
    assert reading.units == {
        "web_search_calls": 2,
        "image_gen_input_tokens": 70,
        "image_gen_image_input_tokens": 60,
        "image_gen_output_tokens": 900,
    }
    idle = {**body, "tool_usage": {"web_search": {"num_requests": 0}, "image_gen": {"input_tokens": 0}}}
    assert read(idle).usage == Usage(input_tokens=5, output_tokens=1)
    assert read(idle).units is None


def test_audio_images_and_seconds_go_to_the_units():
    reading = read(
        chat(
            prompt_tokens=30,
            completion_tokens=20,
            prompt_tokens_details={"audio_tokens": 12, "image_tokens": 6, "text_tokens": 12},
            completion_tokens_details={"audio_tokens": 15, "rejected_prediction_tokens": 4},
        ),
        flavour=CHAT,
    )
    assert reading.units == {
        "audio_input_tokens": 12,
        "image_input_tokens": 6,
        "audio_output_tokens": 15,
        "rejected_prediction_tokens": 4,
    }
    assert reading.raw is None
    spoken = read({"text": "hi", "usage": {"type": "duration", "seconds": 12.5}}, flavour=CHAT)
    assert spoken.usage == Usage(seconds=Decimal("12.5"))
    assert spoken.units == {"seconds": "12.5"}


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "usage": {"prompt_tokens": 7, "completion_tokens": 3}},
        {"model": "m", "usage": {"input_tokens": 7, "output_tokens": 3}},
        {"model": "m", "prompt_tokens": 7, "completion_tokens": 3, "answer": "text"},
        {"model": "m", "input_tokens": 7, "output_tokens": 3, "anything": {"more": 1}},
        {"model": "m", "usage": Usage(input_tokens=7, output_tokens=3)},
    ],
)
def test_a_bare_body_of_a_model_and_counts_is_read(body):
    reading = read(body)
    assert reading.usage == Usage(input_tokens=7, output_tokens=3)
    assert (reading.model, reading.raw) == ("m", None)


@pytest.mark.parametrize(
    "body", [None, True, 3, 1.5, "text", b"{}", [], [chat(**FULL)], {}, {"usage": {}}, Usage]
)
def test_what_is_no_body_says_nothing(body):
    reading = read(body)
    assert reading.usage is None
    assert not reading.suspect


def test_a_total_alone_does_not_say_how_it_is_split():
    reading = read(chat(total_tokens=100), flavour=CHAT)
    assert (reading.usage, reading.raw) == (None, '{"total_tokens":100}')


def test_a_missing_count_follows_from_the_total():
    assert counted(prompt_tokens=10, total_tokens=14).output_tokens == 4
    assert counted(completion_tokens=4, total_tokens=14).input_tokens == 10
    assert counted(prompt_tokens=10, total_tokens=3).output_tokens is None


# --- what compatible servers do -------------------------------------------------------------------------


def test_usage_may_stand_in_x_groq():
    event = {"object": "chat.completion.chunk", "model": "g", "choices": [{"delta": {}}], "usage": None}
    event["x_groq"] = {"id": "req", "usage": {"prompt_tokens": 4, "completion_tokens": 2, "queue_time": 0.25}}
    reading = read_event(event, flavour=CHAT)
    assert reading == read(event, flavour=CHAT)
    assert reading.usage == Usage(input_tokens=4, output_tokens=2)
    assert reading.raw is None


@pytest.mark.parametrize(
    "spelling",
    [
        {"prompt_tokens_details": {"cached_tokens": 6}},
        {"prompt_token_details": {"cached_tokens": 6}},
        {"prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 4},
        {"prompt_cache_hit_tokens": 6, "prompt_tokens_details": {"cached_tokens": 0}},
        {"prompt_cache_hit_tokens": 0, "prompt_tokens_details": {"cached_tokens": 6}},
        {"cached_tokens": 6},
        {"num_cached_tokens": 6},
        {"cache_read_input_tokens": 6},
    ],
)
def test_every_spelling_of_cached_is_known_and_the_largest_counts(spelling):
    assert counted(prompt_tokens=10, completion_tokens=1, total_tokens=11, **spelling).cached_tokens == 6


def test_two_spellings_that_differ_are_kept_as_they_were():
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 6, "cached_tokens": 5}
    assert json.loads(read(chat(**usage)).raw) == usage


@pytest.mark.parametrize("reasoning", [{}, {"completion_tokens_details": {"reasoning_tokens": 30}}])
def test_reasoning_that_only_the_total_counts_is_output(reasoning):
    reading = read(chat(prompt_tokens=10, completion_tokens=5, total_tokens=45, **reasoning))
    assert reading.usage.output_tokens == 35
    assert not reading.clamped
    assert '"total_tokens":45' in reading.raw


def test_a_total_below_its_parts_is_not_believed():
    assert counted(prompt_tokens=10, completion_tokens=5, total_tokens=12).output_tokens == 5


def test_xai_leaves_reasoning_out_also_where_it_states_no_total():
    body = chat(prompt_tokens=10, completion_tokens=5, completion_tokens_details={"reasoning_tokens": 30})
    assert read(body, provider="x-ai").usage.output_tokens == 35
    body["usage"]["total_tokens"] = 45
    assert read(body, provider="x-ai").usage.output_tokens == 35
    inside = chat(prompt_tokens=10, completion_tokens=35, total_tokens=45)
    inside["usage"]["completion_tokens_details"] = {"reasoning_tokens": 30}
    assert read(inside, provider="x-ai").usage.output_tokens == 35


def test_input_that_leaves_out_its_cache_is_made_whole_where_the_total_says_so():
    reading = read(chat(prompt_tokens=2, completion_tokens=4, total_tokens=106, cached_tokens=100))
    assert reading.usage == Usage(input_tokens=102, cached_tokens=100, output_tokens=4)
    assert not reading.clamped


def test_searches_of_other_providers_are_searches():
    assert counted(prompt_tokens=1, completion_tokens=1, num_search_queries=3).web_searches == 3
    tools = {"web_search_requests": 2}
    assert counted(prompt_tokens=1, completion_tokens=1, server_tool_use=tools).web_searches == 2
    tools = {"web_search_calls": 4, "x_search_calls": 1, "mcp_calls": 0}
    reading = read(chat(prompt_tokens=1, completion_tokens=1, server_side_tool_usage_details=tools))
    assert reading.units == {"web_searches": 4, "x_search_calls": 1}


def test_whole_numbers_written_with_a_point_are_counts():
    assert counted(prompt_tokens=12.0, completion_tokens=3.0) == Usage(input_tokens=12, output_tokens=3)


# --- money ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("money", "nano"),
    [
        ({"cost": 0.00034225}, 342_250),
        ({"cost": 0}, 0),
        ({"cost": 2}, 2_000_000_000),
        ({"cost": 0.1}, 100_000_000),
        ({"cost": Decimal("0.0000000015")}, 2),
        ({"cost": Decimal("0.0000000025")}, 2),
        ({"cost": 7.5e-06}, 7_500),
        ({"cost": {"input_tokens_cost": 0.001, "total_cost": 0.006}}, 6_000_000),
        ({"cost": {"currency": "USD", "total_cost": 0.006}}, 6_000_000),
        ({"cost": {"currency": "EUR", "total_cost": 0.006}}, None),
        ({"cost": {"total_cost": None}}, None),
        ({"cost_in_usd_ticks": 318_319_000}, 31_831_900),
        ({"cost_in_usd_ticks": 15}, 2),
        ({"cost_in_usd_ticks": 25}, 2),
        ({"cost": 0.25, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.5}}, 250_000_000),
        ({"cost": 0.25, "cost_details": {"upstream_inference_cost": 0.5}}, 250_000_000),
        ({"cost": 0.25, "is_byok": "true", "cost_details": {"upstream_inference_cost": 0.5}}, 250_000_000),
        ({"cost": 0.25, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}, 750_000_000),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": 0, "is_byok": True}, None),
        ({"cost": "0.5"}, None),
        ({"cost": True}, None),
        ({"cost": -0.5}, None),
        ({"cost": math.nan}, None),
        ({"cost": math.inf}, None),
        ({"cost": 1e300}, None),
        ({"cost_in_usd_ticks": -1}, None),
        ({"cost_in_usd_ticks": 10**40}, None),
        ({}, None),
    ],
)
def test_the_providers_own_money_is_exact_or_unknown(money, nano):
    reading = read(chat(prompt_tokens=1, completion_tokens=1, **money))
    assert reading.reported_nano == nano
    assert reading.usage == Usage(input_tokens=1, output_tokens=1)


def test_both_parts_of_a_bill_are_rounded_once():
    details = {"upstream_inference_cost": Decimal("0.0000000006")}
    money = {"cost": Decimal("0.0000000006"), "is_byok": True, "cost_details": details}
    assert read(chat(prompt_tokens=1, **money)).reported_nano == 1


def test_money_may_be_stated_without_counts():
    reading = read({"model": "m", "usage": {"cost": 0.5}})
    assert (reading.usage, reading.reported_nano) == (None, 500_000_000)


# --- contradictions and hostile counts ------------------------------------------------------------------


def test_contradictory_counts_are_cut_to_what_is_possible_and_kept():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cached_tokens": 15,
        "cache_write_tokens": 3,
        "reasoning_tokens": 8,
    }
    reading = read(chat(**usage), flavour=CHAT)
    assert reading.clamped
    assert reading.usage == Usage(
        input_tokens=10, cached_tokens=10, cache_write_tokens=0, output_tokens=5, reasoning_tokens=5
    )
    assert json.loads(reading.raw) == usage


def test_a_part_of_an_unknown_whole_is_unknown():
    reading = read(chat(completion_tokens=5, cached_tokens=15), flavour=CHAT)
    assert reading.usage == Usage(output_tokens=5)
    assert reading.clamped


@pytest.mark.parametrize(
    "absurd",
    [-1, 2**53 + 1, 10**5000, 1.5, math.nan, math.inf, "12", True, False, [], [1], {"a": 1}, {}],
    ids=lambda value: type(value).__name__,
)
def test_an_absurd_count_makes_the_usage_suspect_and_not_zero(absurd):
    reading = read(chat(prompt_tokens=absurd, completion_tokens=3), flavour=CHAT)
    assert reading.suspect
    assert (reading.usage, reading.units) == (None, None)
    assert len(reading.raw) <= 4096
    assert reading.model == "m-1"


def test_an_absurd_sum_is_suspect_too():
    row = {"input_tokens": 2**53, "cache_read_input_tokens": 2**53, "output_tokens": 1}
    assert read({"type": "message", "usage": row}).suspect


@pytest.mark.parametrize("usage", ["lots", 5, [1], True])
def test_a_usage_that_is_no_object_is_suspect(usage):
    reading = read({**chat(), "usage": usage}, flavour=CHAT)
    assert reading.suspect
    assert reading.usage is None


def test_what_is_kept_is_bounded_and_holds_no_text():
    secret = "the quick brown fox " * 50
    usage: dict[str, Any] = {"prompt_tokens": 1, "note": secret, secret: 1, "deep": [[[[[[[[[[[[1]]]]]]]]]]]]}
    usage |= {f"field_{number}": number + 1 for number in range(10_000)}
    raw = read(chat(**usage), flavour=CHAT).raw
    assert "fox" not in raw
    assert len(raw) <= 4096


def test_unknown_fields_are_kept_only_if_they_say_something():
    assert read(chat(**FULL, novelty_tokens=0, other=None, more={"a": 0, "b": []})).raw is None
    assert '"novelty_tokens":4' in read(chat(**FULL, novelty_tokens=4)).raw


# --- objects of the SDK ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [ChatCompletion.model_validate, lambda body: ChatCompletion.construct(**body)]
)
def test_an_object_of_the_sdk_reads_as_its_body(make):
    usage = {**FULL, "cost": 0.5, "prompt_cache_hit_tokens": 60}
    body = {**chat(**usage), "created": 1, "service_tier": "default"}
    assert read(make(body), flavour=CHAT) == read(body, flavour=CHAT)
    assert read(make(body)).reported_nano == 500_000_000


def test_unnamed_fields_of_an_object_are_seen():
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    chunk["x_groq"] = {"usage": {"prompt_tokens": 4, "completion_tokens": 2}}
    made = ChatCompletionChunk.model_validate(chunk)
    assert read(made, flavour=CHAT).usage == Usage(input_tokens=4, output_tokens=2)


def test_money_that_an_object_states_in_an_object_is_seen():
    body = SimpleNamespace(
        usage=SimpleNamespace(
            prompt_tokens=5, completion_tokens=2, cost=SimpleNamespace(currency="USD", total_cost=0.25)
        )
    )
    reading = read(body, flavour=CHAT)
    assert (reading.usage, reading.reported_nano) == (Usage(input_tokens=5, output_tokens=2), 250_000_000)


def test_what_an_object_states_beyond_the_table_is_kept_as_json():
    inner = SimpleNamespace(cached_tokens=3, odd_tokens=4, empty=SimpleNamespace(nothing=0))
    reading = read(
        SimpleNamespace(usage=SimpleNamespace(prompt_tokens=5, prompt_tokens_details=inner)), flavour=CHAT
    )
    assert reading.raw is not None
    assert json.loads(reading.raw) == {
        "prompt_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 3, "odd_tokens": 4, "empty": {"nothing": 0}},
    }


def test_the_content_of_an_object_is_not_looked_at():
    class Sealed:
        def __init__(self) -> None:
            self.usage = SimpleNamespace(prompt_tokens=3, completion_tokens=1, total_tokens=4)
            self.model = "m"

        @property
        def choices(self):
            raise AssertionError("the answer is none of our business")

        def model_dump(self):
            raise AssertionError("nor is the rest")

    assert read(Sealed(), flavour=CHAT).usage == Usage(input_tokens=3, output_tokens=1)


def test_an_object_without_fields_may_dump_itself():
    class Dumps:
        __slots__ = ()

        def model_dump(self):
            return chat(**FULL)

    class Breaks(Dumps):
        __slots__ = ()

        def model_dump(self):
            raise RuntimeError("no")

    assert read(Dumps()) == read(chat(**FULL))
    assert read(Breaks()) == Reading(usage=None)


def test_responses_and_embeddings_objects_are_told_by_their_shape():
    usage = {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7,
    }
    fields = {
        "id": "r",
        "object": "response",
        "model": "m",
        "status": "completed",
        "output": [],
        "usage": usage,
    }
    fields["tool_usage"] = {"web_search": {"num_requests": 3}}
    reading = read(Response.construct(**fields))
    assert reading == read(fields)
    assert (reading.flavour, reading.status) == (RESPONSES, "completed")
    assert (reading.usage.web_searches, reading.units) == (None, {"web_search_calls": 3})
    vectors = {"object": "list", "model": "e", "data": [], "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    assert read(CreateEmbeddingResponse.model_validate(vectors)) == read(vectors)


def test_other_mappings_are_bodies_too():
    assert read(OrderedDict(chat(**FULL))) == read(chat(**FULL))


# --- flavours -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "flavour"),
    [
        ({"object": "chat.completion"}, CHAT),
        ({"object": "chat.completion.chunk"}, CHAT),
        ({"object": "text_completion", "usage": {"prompt_tokens": 1}}, "openai.completions"),
        ({"object": "response"}, RESPONSES),
        ({"type": "response.completed", "response": {}}, RESPONSES),
        ({"object": "list", "usage": {"prompt_tokens": 1, "total_tokens": 1}}, "openai.embeddings"),
        ({"usage": {"prompt_tokens": 1, "total_tokens": 1}}, "openai.embeddings"),
        ({"usage": {"prompt_tokens": 1, "completion_tokens": 1}}, CHAT),
        ({"usage": {"input_tokens": 1, "output_tokens": 1}}, RESPONSES),
        ({"usage": {"input_tokens": 1, "cache_read_input_tokens": 1}}, "anthropic.messages"),
        ({"usage": {"prompt_tokens": 1, "cache_read_input_tokens": 1, "completion_tokens": 1}}, CHAT),
        ({"type": "message", "usage": {"input_tokens": 1}}, "anthropic.messages"),
        ({"usageMetadata": {}}, "google.generate_content"),
        ({"object": ["odd"], "type": {"odd": 1}}, CHAT),
        ({}, CHAT),
    ],
)
def test_the_flavour_is_told_by_the_shape(body, flavour):
    assert flavour_of(body) == flavour


def test_a_flavour_that_is_not_known_is_told_by_the_shape():
    assert read(chat(**FULL), flavour="of.tomorrow") == read(chat(**FULL), flavour=CHAT)


def test_anthropic_leaves_its_cache_out_of_its_input():
    usage = {
        "input_tokens": 2,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
        "output_tokens": 7,
        "service_tier": "priority",
        "inference_geo": "us",
        "speed": "standard",
        "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 2},
    }
    reading = read({"type": "message", "id": "a", "model": "c", "usage": usage})
    assert reading.usage == Usage(
        input_tokens=152,
        cached_tokens=100,
        cache_write_tokens=50,
        cache_write_5m_tokens=20,
        cache_write_1h_tokens=30,
        output_tokens=7,
        web_searches=1,
    )
    assert reading.service_tier == "priority"
    assert reading.units == {
        "cache_write_5m_tokens": 20,
        "cache_write_1h_tokens": 30,
        "web_searches": 1,
        "web_fetches": 2,
        "inference_geo": "us",
    }


def test_anthropic_steps_are_parts_and_the_usage_their_sum():
    steps = [
        {"type": "compaction", "input_tokens": 900, "output_tokens": 10},
        {"type": "advisor_message", "model": "big", "input_tokens": 50, "output_tokens": 5},
        {"type": "message", "input_tokens": 20, "output_tokens": 4},
    ]
    usage = {"input_tokens": 20, "output_tokens": 4, "iterations": steps}
    reading = read({"type": "message", "model": "c", "usage": usage})
    assert [(part.kind, part.model) for part in reading.parts] == [
        ("compaction", None),
        ("advisor_message", "big"),
        ("message", None),
    ]
    assert reading.usage == Usage(input_tokens=970, output_tokens=19)
    assert json.loads(reading.raw)["iterations"] == steps  # the columns cannot give them back
    one = {"input_tokens": 20, "output_tokens": 4, "iterations": steps[2:]}
    assert read({"type": "message", "usage": one}).parts == ()


def test_gemini_leaves_thoughts_and_tool_prompts_out():
    usage = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 5,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 20,
        "totalTokenCount": 38,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 6},
            {"modality": "AUDIO", "tokenCount": 4},
        ],
        "serviceTier": "flex",
    }
    reading = read({"usageMetadata": usage, "modelVersion": "g", "responseId": "x"})
    assert reading.usage == Usage(
        input_tokens=15, output_tokens=23, reasoning_tokens=20, audio_input_tokens=4
    )
    assert (reading.model, reading.response_id, reading.service_tier) == ("g", "x", "flex")
    inside = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 23,
        "thoughtsTokenCount": 20,
        "totalTokenCount": 33,
    }
    assert read({"usageMetadata": inside}).usage.output_tokens == 23
    snake = {"prompt_token_count": 10, "candidates_token_count": 3, "thoughts_token_count": 20}
    assert read(SimpleNamespace(usage_metadata=SimpleNamespace(**snake))).usage.output_tokens == 23


# --- streams --------------------------------------------------------------------------------------------


def chunk(usage: Any = None, **more: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "id": "c", "model": "m", "choices": [], "usage": usage, **more}


def streamed(*events: dict[str, Any], flavour: str = CHAT) -> Reading | None:
    reading = None
    for event in events:
        new = read_event(event, flavour=flavour)
        reading = merge(reading, new) if new is not None else reading
    return reading


def test_an_event_without_usage_says_none():
    assert read_event(chunk(), flavour=CHAT) is None
    assert read_event({"choices": None, "error": {}}, flavour=CHAT) is None
    assert read_event({"type": "response.created", "response": {"usage": None}}, flavour=RESPONSES) is None


def test_the_last_usage_of_a_stream_wins_and_nothing_is_summed():
    counts = [{"prompt_tokens": 9, "completion_tokens": n, "total_tokens": 9 + n} for n in (1, 2, 3)]
    assert streamed(*map(chunk, counts)).usage == Usage(input_tokens=9, output_tokens=3)
    assert streamed(chunk(counts[2]), chunk(None)).usage == Usage(input_tokens=9, output_tokens=3)


def test_names_are_taken_from_either_reading():
    first = Reading(usage=None, model="m", service_tier="auto", response_id="i")
    last = Reading(usage=Usage(input_tokens=1), service_tier="default", status="completed")
    both = merge(first, last)
    assert (both.model, both.service_tier, both.response_id, both.status) == (
        "m",
        "default",
        "i",
        "completed",
    )
    assert both.usage == Usage(input_tokens=1)
    assert merge(last, first).usage == Usage(input_tokens=1)
    assert merge(None, last) is last


def test_money_belongs_to_the_usage_that_it_was_stated_with():
    early = read(chat(prompt_tokens=9, completion_tokens=1, cost=0.25))
    late = read(chat(prompt_tokens=9, completion_tokens=5))
    assert merge(early, late).reported_nano is None
    assert merge(early, read(chat(prompt_tokens=9, completion_tokens=1))).reported_nano == 250_000_000
    assert merge(late, read({"usage": {"cost": 0.5}})).reported_nano == 500_000_000
    assert merge(late, read({"usage": {"cost": 0.5}})).usage == late.usage


def test_a_suspect_last_usage_is_not_covered_by_an_earlier_one():
    reading = streamed(chunk({"prompt_tokens": 9, "completion_tokens": 1}), chunk({"prompt_tokens": -9}))
    assert reading.suspect
    assert reading.usage is None


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed"])
def test_a_responses_stream_states_it_in_its_last_event(kind):
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    body = {"id": "r", "object": "response", "model": "m", "status": kind, "usage": usage}
    event = {"type": f"response.{kind}", "response": body}
    reading = streamed({"type": "response.created", "response": {"usage": None}}, event, flavour=RESPONSES)
    assert reading == read(body)
    assert reading.status == kind
    assert finished(event, RESPONSES)
    assert failed(event, RESPONSES) == (kind == "failed")


def test_anthropic_events_state_some_of_the_counts_each():
    start = {"input_tokens": 4, "cache_read_input_tokens": 100, "output_tokens": 1}
    first = {"type": "message_start", "message": {"id": "a", "model": "c", "usage": start}}
    last = {"type": "message_delta", "usage": {"output_tokens": 50}}
    flavour = "anthropic.messages"
    reading = streamed(first, last, flavour=flavour)
    assert reading.usage == Usage(input_tokens=104, cached_tokens=100, output_tokens=50)
    assert (reading.model, reading.response_id) == ("c", "a")
    again = {"type": "message_delta", "usage": {"input_tokens": 6, "output_tokens": 50}}
    assert streamed(first, again, flavour=flavour).usage.input_tokens == 106
    broken = {"type": "message_delta", "usage": {"output_tokens": "50"}}
    assert streamed(first, broken, flavour=flavour).suspect


def test_the_text_that_was_seen_is_all_that_is_billed_as_output():
    call = {"index": 0, "function": {"name": "look", "arguments": '{"a":'}}
    deltas = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "think ", "reasoning": "think "},
        {"reasoning": "more "},
        {"content": "say "},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "muse "}]},
                {"text": "list "},
            ]
        },
        {"refusal": "no "},
        {"tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {"content": None},
    ]
    events = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    assert visible(CHAT, events) == 'think more say muse list no look{"a":1}'
    assert visible(CHAT, [{"choices": None}, {"choices": [None, 3]}, {}, {"choices": {"delta": 1}}]) == ""
    assert visible("openai.completions", [{"choices": [{"text": "a"}]}, {"choices": [{"text": "b"}]}]) == "ab"
    assert visible("of.tomorrow", events) == ""


def test_the_text_of_a_responses_stream_counts_each_piece_once():
    events = [
        {"type": "response.output_item.added", "item": {"type": "function_call", "name": "look"}},
        {"type": "response.function_call_arguments.delta", "delta": "{}"},
        {"type": "response.function_call_arguments.done", "arguments": "{}"},
        {"type": "response.reasoning_summary_text.delta", "delta": "hm "},
        {"type": "response.output_text.delta", "delta": "yes"},
        {"type": "response.output_text.done", "text": "yes"},
        {"type": "response.refusal.delta", "delta": " no"},
    ]
    assert visible(RESPONSES, events) == "look{}hm yes no"


def test_the_text_of_other_streams():
    anthropic = [
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "look"}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm "}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "yes"}},
    ]
    assert visible("anthropic.messages", anthropic) == "look{}hm yes"
    parts = [{"text": "yes "}, {"functionCall": {"name": "look", "args": {"a": 1}}}]
    google = [{"candidates": [{"content": {"parts": parts}}]}]
    assert visible("google.generate_content", google) == 'yes look{"a":1}'


def test_how_streams_end():
    assert finished({"choices": [{"delta": {}, "finish_reason": "stop"}]}, CHAT)
    assert not finished({"choices": [{"delta": {"content": "x"}, "finish_reason": None}]}, CHAT)
    assert not finished(chunk(), CHAT)
    assert finished({"type": "message_stop"}, "anthropic.messages")
    assert finished({"candidates": [{"finishReason": "STOP"}]}, "google.generate_content")
    assert failed({"error": {"message": "overloaded"}}, CHAT)
    assert finished({"error": {"message": "overloaded"}}, CHAT)
    assert not failed({"error": None, "choices": []}, CHAT)
    assert failed({"type": "error", "code": "x"}, RESPONSES)
    assert failed({"type": "error"}, "anthropic.messages")
    assert not failed({"type": "error"}, CHAT)
    for odd in (None, [], "x", 3):
        assert not finished(odd, CHAT)
        assert not failed(odd, CHAT)


def test_a_reading_can_be_pickled():
    reading = read(chat(**FULL, cost=0.5))
    assert pickle.loads(pickle.dumps(reading)) == reading
