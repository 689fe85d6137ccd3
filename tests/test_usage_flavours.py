"""Wires of other makers, quirk by quirk; the bodies are made up after the pages that the rows cite."""

from __future__ import annotations

from decimal import Decimal
from functools import reduce

import pytest

from farthing.records import Usage
from farthing.usage import FLAVOURS, finished, flavour_of, merge, read, read_event, visible, with_headers
from farthing.usage.flavours import row_of
from farthing.usage.reading import Reading


def streamed(events, flavour, provider=None):
    readings = (read_event(event, flavour=flavour, provider=provider) for event in events)
    return reduce(lambda so_far, new: merge(so_far, new) if new else so_far, readings, None)


def test_every_row_says_where_it_was_read():
    for name in FLAVOURS:
        row = row_of(name)
        assert row.name == name
        assert row.sources
        assert all(len(source) > 10 for source in row.sources)


BODIES = {
    "bedrock.converse": (
        {"inputTokens": 22, "outputTokens": 13, "totalTokens": 2527, "cacheReadInputTokens": 2492},
        Usage(input_tokens=2514, cached_tokens=2492, output_tokens=13),
    ),
    "cohere.chat": (
        {"billed_units": {"input_tokens": 51, "output_tokens": 13}, "tokens": {"input_tokens": 1533},
         "cached_tokens": 1440},
        Usage(input_tokens=51, output_tokens=13),
    ),
}  # fmt: skip


@pytest.mark.parametrize("flavour", BODIES)
def test_a_usage_object_is_told_by_its_shape(flavour):
    usage, counts = BODIES[flavour]
    body = {"model": "m", "usage": usage}
    assert flavour_of(body) == flavour
    assert read(body) == read(body, flavour=flavour)
    assert read(body).usage == counts
    assert read(body).raw is None


# --- Bedrock --------------------------------------------------------------------------------------------


def test_bedrock_states_what_was_written_for_an_hour_beside_all_that_was_written():
    usage = {
        "inputTokens": 3,
        "outputTokens": 5,
        "totalTokens": 308,
        "cacheWriteInputTokens": 300,
        "cacheDetails": [{"inputTokens": 100, "ttl": "5m"}, {"inputTokens": 200, "ttl": "1h"}],
    }
    assert read({"usage": usage}).usage == Usage(
        input_tokens=303, cache_write_tokens=300, cache_write_1h_tokens=200, output_tokens=5
    )


def test_input_that_holds_its_cache_is_not_given_it_a_second_time():
    usage = {"inputTokens": 100, "outputTokens": 10, "totalTokens": 110, "cacheReadInputTokens": 60}
    assert read({"usage": usage}).usage == Usage(input_tokens=100, cached_tokens=60, output_tokens=10)


def test_a_zero_of_a_model_without_a_cache_states_nothing():
    usage = {
        "inputTokens": 7,
        "outputTokens": 3,
        "cacheReadInputTokenCount": 0,
        "cacheWriteInputTokenCount": 0,
    }
    assert read({"usage": usage}).usage == Usage(input_tokens=7, output_tokens=3)
    usage["cacheReadInputTokenCount"] = 5
    assert read({"usage": usage}).usage == Usage(input_tokens=12, cached_tokens=5, output_tokens=3)
    usage["cacheReadInputTokenCount"] = -5
    assert read({"usage": usage}).suspect


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        ({}, None),
        ({"serviceTier": {"type": "flex"}}, "flex"),
        ({"serviceTier": {"type": "default"}, "performanceConfig": {"latency": "optimized"}}, "optimized"),
        ({"serviceTier": {"type": "priority"}, "performanceConfig": {"latency": "standard"}}, "priority"),
        ({"performanceConfig": {"latency": "standard"}}, "standard"),
    ],
)
def test_bedrock_names_the_tier_that_served(said, tier):
    usage = {"inputTokens": 1, "outputTokens": 1}
    assert read({"usage": usage, **said}, flavour="bedrock.converse").service_tier == tier
    event = {"metadata": {"usage": usage, **said}}
    assert read_event(event, flavour="bedrock.converse").service_tier == tier


def test_a_converse_stream_states_its_usage_in_the_last_event():
    events = [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "hm "}}}},
        {"contentBlockDelta": {"delta": {"text": "yes"}}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": {"inputTokens": 4, "outputTokens": 2}, "trace": {"guardrail": {}}}},
    ]
    assert streamed(events, "bedrock.converse").usage == Usage(input_tokens=4, output_tokens=2)
    assert visible("bedrock.converse", events) == "hm yes"
    assert [finished(event, "bedrock.converse") for event in events] == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        ({"inputTextTokenCount": 9, "results": [{"tokenCount": 4}, {"tokenCount": 3}]}, (9, 7)),
        ({"inputTextTokenCount": 9, "embedding": [0.1]}, (9, 0)),
        ({"generation": "x", "prompt_token_count": 9, "generation_token_count": 4}, (9, 4)),
        ({"type": "message", "usage": {"input_tokens": 9, "output_tokens": 4}}, (9, 4)),
        ({"usage": {"inputTokens": 9, "outputTokens": 4}}, (9, 4)),
        ({"object": "chat.completion", "usage": {"prompt_tokens": 9, "completion_tokens": 4}}, (9, 4)),
    ],
    ids=["titan", "titan embedding", "llama", "anthropic", "nova", "openai"],
)
def test_what_a_model_of_bedrock_answers_is_read_as_its_maker_spells_it(body, counts):
    for reading in (read(body), read(body, flavour="bedrock.invoke")):
        assert (reading.usage.input_tokens, reading.usage.output_tokens) == counts


def test_the_metrics_that_end_a_stream_of_bedrock_are_its_usage():
    metrics = {"inputTokenCount": 9, "outputTokenCount": 4, "invocationLatency": 7, "firstByteLatency": 3}
    events = [
        {"outputText": "a", "totalOutputTextTokenCount": None},
        {"outputText": "b", "completionReason": "FINISH", "amazon-bedrock-invocationMetrics": metrics},
    ]
    reading = streamed(events, "bedrock.invoke")
    assert (reading.usage, reading.raw) == (Usage(input_tokens=9, output_tokens=4), None)
    assert visible("bedrock.invoke", events) == "ab"


# --- Cohere ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "counts", "more"),
    [
        ({"input_tokens": 3}, Usage(input_tokens=3, output_tokens=0), None),
        (
            {"input_tokens": 3, "image_tokens": 5},
            Usage(input_tokens=8, image_input_tokens=5, output_tokens=0),
            {"image_input_tokens": 5},
        ),
        ({"search_units": 2}, Usage(), {"search_units": 2}),
        ({"classifications": 4}, Usage(), {"classifications": 4}),
    ],
    ids=["embed", "embed images", "rerank", "classify"],
)
def test_cohere_bills_units(units, counts, more):
    reading = read({"id": "i", "meta": {"api_version": {"version": "2"}, "billed_units": units}})
    assert (reading.flavour, reading.usage, reading.units) == ("cohere.chat", counts, more)


def test_streams_of_both_versions_of_cohere_end_in_what_is_billed():
    billed = {"billed_units": {"input_tokens": 3, "output_tokens": 2}}
    first = {
        "event_type": "stream-end",
        "is_finished": True,
        "response": {"meta": billed, "response_id": "r"},
    }
    second = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": billed}}
    for event in (first, second):
        assert read_event(event, flavour="cohere.chat").usage == Usage(input_tokens=3, output_tokens=2)
        assert finished(event, "cohere.chat")


# --- Google ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("traffic", "tier"),
    [
        ("ON_DEMAND", None),
        ("ON_DEMAND_PRIORITY", "priority"),
        ("ON_DEMAND_FLEX", "flex"),
        ("PROVISIONED_THROUGHPUT", "PROVISIONED_THROUGHPUT"),
        ("TRAFFIC_TYPE_UNSPECIFIED", None),
    ],
)
def test_vertex_names_its_tier_as_traffic(traffic, tier):
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "trafficType": traffic}
    assert read({"usageMetadata": usage}).service_tier == tier
    snake = {"prompt_token_count": 1, "candidates_token_count": 1, "traffic_type": traffic}
    assert read({"usage_metadata": snake}).service_tier == tier


def test_thoughts_are_outside_the_output_of_an_interaction():
    usage = {
        "total_input_tokens": 7,
        "input_tokens_by_modality": [{"modality": "text", "tokens": 5}, {"modality": "audio", "tokens": 2}],
        "total_output_tokens": 20,
        "total_thought_tokens": 22,
        "total_tool_use_tokens": 3,
        "total_tokens": 52,
    }
    reading = read({"object": "interaction", "model": "g", "usage": usage})
    assert reading.usage == Usage(
        input_tokens=10, audio_input_tokens=2, output_tokens=42, reasoning_tokens=22
    )
    assert flavour_of({"usage": {"totalInputTokens": 1}}) == "google.interactions"


def test_vertex_counts_each_text_that_it_embeds():
    one = {"embeddings": {"statistics": {"token_count": 4.0, "truncated": False}, "values": [0.5]}}
    body = {"predictions": [one, one], "metadata": {"billableCharacterCount": 30}}
    reading = read(body)
    assert reading.usage == Usage(input_tokens=8, output_tokens=0)
    assert (reading.units, reading.raw) == ({"billable_characters": 30}, None)
    images = read({"predictions": [{"mimeType": "image/png"}, {"mimeType": "image/png"}, None, 3]})
    assert images.usage == Usage(images=2)


def test_thoughts_are_outside_completions_of_googles_endpoint_for_openai():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    event = {"object": "chat.completion.chunk", "choices": [], "usage": usage}
    assert read_event(event, flavour="openai.chat", provider="google").usage.output_tokens == 35
    assert read_event(event, flavour="openai.chat", provider="x-ai").usage.output_tokens == 35
    usage["total_tokens"] = 15  # in them after all
    assert read(event, flavour="openai.chat", provider="google").usage.output_tokens == 5


# --- others ---------------------------------------------------------------------------------------------


def test_deep_research_states_its_reasoning_and_its_citations_apart():
    usage = {
        "prompt_tokens": 33,
        "completion_tokens": 7163,
        "total_tokens": 7196,
        "citation_tokens": 20016,
        "num_search_queries": 18,
        "reasoning_tokens": 73997,
    }
    reading = read({"object": "chat.completion", "model": "sonar-deep-research", "usage": usage})
    assert reading.usage == Usage(
        input_tokens=33, output_tokens=7163 + 73997, reasoning_tokens=73997, web_searches=18
    )
    assert reading.units == {"citation_tokens": 20016, "web_searches": 18}
    assert not reading.clamped


def test_mistral_counts_what_its_connectors_read_as_input():
    usage = {
        "prompt_tokens": 188,
        "completion_tokens": 55,
        "total_tokens": 7355,
        "connector_tokens": 7112,
        "connectors": {"web_search": 1, "code_interpreter": 2},
    }
    reading = read({"object": "conversation.response", "conversation_id": "c", "usage": usage})
    assert reading.usage == Usage(input_tokens=7300, output_tokens=55)
    assert reading.units == {"web_search_calls": 1, "hosted_tool_calls": 2}
    assert reading.response_id == "c"
    event = {"type": "conversation.response.done", "usage": usage}
    assert read_event(event, flavour="mistral.conversations").usage == reading.usage
    assert finished(event, "mistral.conversations")


_GEMINI = {"promptTokenCount": 9, "candidatesTokenCount": 5, "thoughtsTokenCount": 7, "trafficType": "x"}
_STEPS = [
    {"type": "compaction", "input_tokens": 90, "output_tokens": 4},
    {"type": "message", "input_tokens": 3},
]
_NINE = Usage(input_tokens=9, output_tokens=2)


@pytest.mark.parametrize(
    ("usage", "counts", "tier"),
    [
        (_GEMINI, Usage(input_tokens=9, output_tokens=12, reasoning_tokens=7), "x"),
        ({"prompt_token_count": 9, "total_token_count": 9}, Usage(input_tokens=9, output_tokens=0), None),
        ({"prompt_token_count": 9, "generation_token_count": 2}, _NINE, None),
        (
            {"input_tokens": 9, "cache_read_input_tokens": 1, "output_tokens": 2, "service_tier": "batch"},
            Usage(input_tokens=10, cached_tokens=1, output_tokens=2),
            "batch",
        ),
        (
            {"input_tokens": 3, "output_tokens": 1, "iterations": _STEPS},
            Usage(input_tokens=93, output_tokens=4),
            None,
        ),
        ({"billed_units": {"input_tokens": 9, "output_tokens": 2}}, _NINE, None),
        ({"inputTokens": 9, "outputTokens": 2}, _NINE, None),
        ({"type": "duration", "seconds": 60}, Usage(seconds=Decimal(60)), None),
    ],
)
def test_a_usage_object_alone_is_a_body_too(usage, counts, tier):
    reading = read(usage)
    assert (reading.usage, reading.service_tier) == (counts, tier)
    if "generation_token_count" not in usage:
        assert read({"model": "m", "usage": usage}).usage == counts


class _NotSet:
    """As the SDKs of Mistral and others have it in fields that are not set."""

    def __bool__(self):
        return False


@pytest.mark.parametrize("nothing", [None, {}, [], _NotSet()])
def test_a_count_that_holds_nothing_does_not_hide_the_others(nothing):
    usage = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
    reading = read({"object": "chat.completion", "usage": {**usage, "prompt_audio_seconds": nothing}})
    assert reading.usage == Usage(input_tokens=20, output_tokens=2)
    assert not reading.suspect
    assert read({"usage": {**usage, "prompt_audio_seconds": {"n": 1}}}).suspect


def test_documents_are_billed_by_the_page():
    body = {
        "model": "mistral-ocr-2505",
        "pages": [{}],
        "usage_info": {"pages_processed": 3, "doc_size_bytes": 9},
    }
    reading = read(body)
    assert (reading.usage, reading.units, reading.raw) == (Usage(), {"pages": 3}, None)


def test_ollama_leaves_out_zeros():
    body = {"model": "llama3.2", "message": {"content": "yes"}, "done": True, "prompt_eval_count": 26}
    assert read(body).usage == Usage(input_tokens=26, output_tokens=0)
    body["eval_count"] = 298
    assert read(body).usage == Usage(input_tokens=26, output_tokens=298)
    assert (read(body).flavour, read(body).raw, read(body).model) == ("ollama.chat", None, "llama3.2")
    begun = {"model": "llama3.2", "message": {"content": "y"}, "done": False}
    assert streamed([begun, body], "ollama.chat").usage == Usage(input_tokens=26, output_tokens=298)
    assert [finished(event, "ollama.chat") for event in (begun, body)] == [False, True]
    assert read({"model": "m", "done": True, "eval_count": 4}).usage == Usage(output_tokens=4)


def test_the_timings_of_llama_cpp_leave_out_its_cache():
    timings = {"cache_n": 236, "prompt_n": 1, "prompt_ms": 3.5, "predicted_n": 35, "predicted_ms": 9.5}
    native = {
        "content": "x",
        "tokens_predicted": 35,
        "tokens_evaluated": 237,
        "stop": True,
        "timings": timings,
    }
    assert read(native).usage == Usage(input_tokens=237, cached_tokens=236, output_tokens=35)
    del native["timings"]
    assert read(native).usage == Usage(input_tokens=237, output_tokens=35)
    usage = {"prompt_tokens": 237, "completion_tokens": 35, "total_tokens": 272}
    chat = {"object": "chat.completion", "usage": usage, "timings": timings}
    assert read(chat).usage == Usage(input_tokens=237, cached_tokens=236, output_tokens=35)


# --- headers --------------------------------------------------------------------------------------------


def test_fireworks_states_its_cache_in_a_header():
    reading = read({"usage": {"prompt_tokens": 100, "completion_tokens": 5}})
    headers = {"fireworks-prompt-tokens": "100", "fireworks-cached-prompt-tokens": "60"}
    assert with_headers(reading, headers).usage == Usage(input_tokens=100, cached_tokens=60, output_tokens=5)
    for odd in ("101", "-1", "", "6e1", "\u0666", "9" * 40):
        assert with_headers(reading, {"fireworks-cached-prompt-tokens": odd}) == reading


def test_bedrock_states_in_headers_what_some_bodies_leave_out():
    headers = {"x-amzn-bedrock-input-token-count": "9", "x-amzn-bedrock-output-token-count": "4"}
    nothing = read({"outputs": [{"text": "x"}]}, flavour="bedrock.invoke")
    assert with_headers(nothing, headers).usage == Usage(input_tokens=9, output_tokens=4)
    headers["x-amzn-bedrock-cache-read-input-token-count"] = "100"
    assert with_headers(nothing, headers).usage == Usage(input_tokens=109, cached_tokens=100, output_tokens=4)
    told = Reading(usage=Usage(input_tokens=1, output_tokens=1))
    assert with_headers(told, headers) == told
    assert with_headers(Reading(usage=None, suspect=True, raw="{}"), headers).usage is None


def test_seconds_may_be_all_that_is_known():
    assert read({"usage": {"type": "duration", "seconds": 3}}).usage == Usage(seconds=Decimal(3))
    verbose = {"task": "transcribe", "duration": 8.47, "text": "x", "segments": []}
    assert flavour_of(verbose) == "openai.transcriptions"
    assert read(verbose).usage == Usage(seconds=Decimal("8.47"))
