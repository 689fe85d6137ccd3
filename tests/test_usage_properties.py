"""What holds of every body, however it is made."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from farthing.records import Usage
from farthing.usage import (
    FLAVOURS,
    Reading,
    failed,
    finished,
    flavour_of,
    merge,
    read,
    read_event,
    visible,
    with_headers,
)
from farthing.usage.flavours import row_of

KEYS = sorted(
    {key for name in FLAVOURS for path in row_of(name).counts for key in path.split("[")[0].split(".")}
    | {key for name in FLAVOURS for key in (*row_of(name).inside, *row_of(name).bare, *row_of(name).marks)}
    | {key for name in FLAVOURS for path in row_of(name).usage_at for key in path.split(".")}
    | {"custom_id", "result", "body", "status_code", "key", "recordId", "modelInput", "modelOutput"}
    | {"output", "tools", "container", "candidates", "groundingMetadata", "webSearchQueries", "action"}
    | {"results", "tokenCount", "predictions", "timings", "cache_n", "tool_usage", "connectors"}
    | {"usage", "x_groq", "response", "message", "model", "id", "choices", "delta", "type", "object"}
    | {"tool_usage", "web_search", "num_requests", "usageMetadata", "iterations", "total_cost", "modality"}
)
COUNTS = st.integers(0, 1000) | st.sampled_from([2**53, 2**53 + 1, -1, 10**30, 10**400, 1.5, 7.0, "12", "-1"])
SCALARS = (
    st.none()
    | st.booleans()
    | COUNTS
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["AUDIO", "message", "web_search_call", "code_interpreter_call", "succeeded", "5m", "1h"]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner),
    max_leaves=40,
)
DETAILS = ("prompt_tokens_details", "input_tokens_details", "completion_tokens_details", "cache_creation")
PLAIN = st.fixed_dictionaries(
    {}, optional={key: st.none() | st.integers(0, 60) for key in KEYS if key.endswith(("tokens", "Count"))}
)
OBJECTS = st.builds(
    lambda plain, details: {**plain, **details},
    PLAIN,
    st.fixed_dictionaries({}, optional=dict.fromkeys(DETAILS, PLAIN)),
)
NAMES = st.sampled_from(FLAVOURS)


def possible(reading: Reading) -> None:
    """The checks of `Usage` itself, which a reading leaves out because it has made sure of them."""
    for usage in (reading.usage, *(part.usage for part in reading.parts)):
        if usage is not None:
            fields = {name: getattr(usage, name) for name in Usage.__dataclass_fields__}
            assert Usage(**fields) == usage
    if reading.suspect:
        assert reading.usage is None
        assert reading.raw is not None
    assert reading.raw is None or len(reading.raw) <= 4096
    assert reading.reported_nano is None or 0 <= reading.reported_nano <= 10**18
    for value in (reading.units or {}).values():
        assert type(value) is str or value > 0


PROVIDERS = st.sampled_from([None, "openai", "x-ai", "google"])


@settings(max_examples=300)
@given(body=JSON, flavour=NAMES | st.none(), provider=PROVIDERS)
def test_no_json_value_breaks_a_reading(body: Any, flavour: str | None, provider: str | None):
    possible(read(body, flavour=flavour, provider=provider))
    if isinstance(body, dict):
        assert flavour_of(body) in FLAVOURS


@settings(max_examples=200)
@given(body=st.dictionaries(st.sampled_from(KEYS), JSON), flavour=NAMES | st.none(), provider=PROVIDERS)
def test_no_json_object_breaks_a_reading(body: Any, flavour: str | None, provider: str | None):
    reading = read(body, flavour=flavour, provider=provider)
    possible(reading)
    possible(
        with_headers(reading, {"x-litellm-response-cost": "1e-3", "fireworks-cached-prompt-tokens": "3"})
    )


@pytest.mark.parametrize("flavour", [None, *FLAVOURS])
@pytest.mark.parametrize(
    "key", ["usage", "usageMetadata", "meta", "metadata", "timings", "response", "output"]
)
def test_depth_breaks_no_reading(flavour: str | None, key: str):
    for opening, closing in (
        ('{"a":', "}"),
        ("[", "]"),
        ('{"' + key + '":', "}"),
        ('{"custom_id":1,"response":{"body":', "}}"),
    ):
        body = json.loads(opening * 400 + "1" + closing * 400)
        possible(read({key: body, "model": "m"}, flavour=flavour))
        read_event({key: body}, flavour=flavour or "openai.chat")


@settings(max_examples=200)
@given(events=st.lists(JSON, max_size=5), flavour=NAMES)
def test_no_stream_breaks_a_reading(events: list[Any], flavour: str):
    reading = None
    for event in events:
        finished(event, flavour)
        failed(event, flavour)
        new = read_event(event, flavour=flavour)
        if new is not None:
            possible(new)
            reading = merge(reading, new)
            possible(reading)
    assert isinstance(visible(flavour, events), str)


@settings(max_examples=300)
@given(usage=OBJECTS, flavour=NAMES)
def test_counts_that_are_numbers_are_never_suspect_and_parts_never_exceed_wholes(usage: dict, flavour: str):
    key = "usageMetadata" if flavour.startswith("google") else "usage"
    reading = read({key: usage}, flavour=flavour)
    possible(reading)
    assert not reading.suspect


@given(
    prompt=st.integers(0, 2**50),
    shown=st.integers(0, 2**50),
    hidden=st.integers(0, 2**50),
    share=st.fractions(0, 1),
)
def test_output_is_what_the_total_leaves(prompt: int, shown: int, hidden: int, share: Any):
    cached = int(prompt * share)
    usage = {"prompt_tokens": prompt, "completion_tokens": shown, "total_tokens": prompt + shown + hidden}
    usage["prompt_tokens_details"] = {"cached_tokens": cached}
    reading = read({"usage": usage}, flavour="openai.chat")
    assert reading.usage == Usage(input_tokens=prompt, cached_tokens=cached, output_tokens=shown + hidden)
    assert (reading.raw is None) == (hidden == 0)


@given(
    fresh=st.integers(0, 2**50),
    cached=st.integers(0, 2**50),
    written=st.integers(0, 2**50),
    out=st.integers(0, 2**50),
)
def test_anthropics_input_is_the_sum_of_its_three(fresh: int, cached: int, written: int, out: int):
    usage = {
        "input_tokens": fresh,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "output_tokens": out,
    }
    reading = read({"type": "message", "usage": usage})
    assert reading.usage == Usage(
        input_tokens=fresh + cached + written,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=out,
    )


@given(usage=OBJECTS, flavour=NAMES)
def test_the_last_of_two_equal_readings_changes_nothing(usage: dict, flavour: str):
    reading = read({"usage": usage, "usageMetadata": usage}, flavour=flavour)
    again = merge(reading, reading)
    assert again.usage == reading.usage
    assert again.units == reading.units


CHAT_COUNTS = st.builds(
    lambda prompt, out, hidden: {
        "prompt_tokens": prompt,
        "completion_tokens": out,
        "total_tokens": prompt + out + hidden,
        "prompt_tokens_details": {"cached_tokens": prompt // 2},
    },
    st.integers(0, 2**50),
    st.integers(0, 2**50),
    st.integers(0, 2**50),
)


@given(usages=st.lists(CHAT_COUNTS | st.none(), min_size=1, max_size=6), provider=PROVIDERS)
def test_of_cumulative_chunks_the_last_that_says_anything_is_the_usage(
    usages: list[Any], provider: str | None
):
    chunks = [{"object": "chat.completion.chunk", "choices": [], "usage": usage} for usage in usages]
    readings = [read_event(chunk, flavour="openai.chat", provider=provider) for chunk in chunks]
    merged = reduce(lambda so_far, new: merge(so_far, new) if new else so_far, readings, None)
    last = next((usage for usage in reversed(usages) if usage is not None), None)
    if last is None:
        assert merged is None
    else:
        assert merged == read({"usage": last}, flavour="openai.chat", provider=provider)


@given(
    start=st.integers(0, 1000),
    cached=st.integers(0, 1000),
    outs=st.lists(st.integers(0, 1000), min_size=1, max_size=4),
    flavour=st.sampled_from(["anthropic.messages", "bedrock.invoke"]),
)
def test_events_that_state_some_counts_each_are_put_together(
    start: int, cached: int, outs: list[int], flavour: str
):
    usage = {"input_tokens": start, "cache_read_input_tokens": cached, "output_tokens": 0}
    events = [{"type": "message_start", "message": {"usage": usage}}]
    events += [{"type": "message_delta", "usage": {"output_tokens": out}} for out in outs]
    readings = [read_event(event, flavour=flavour) for event in events]
    assert reduce(merge, readings).usage == Usage(
        input_tokens=start + cached, cached_tokens=cached, output_tokens=outs[-1]
    )


@given(value=COUNTS | st.floats() | st.booleans() | st.text(max_size=3), flavour=NAMES)
def test_a_count_is_a_number_that_can_be_or_the_usage_is_suspect(value: Any, flavour: str):
    row = row_of(flavour)
    paths = [path for path, name in row.counts.items() if name == "output_tokens" and "." not in path]
    assume(paths and row.usage_at == ("usage",) and not row.yields)
    reading = read({"usage": {paths[0]: value}}, flavour=flavour)
    whole = type(value) is int or (type(value) is float and value.is_integer())
    can_be = whole and 0 <= value <= 2**53
    assert reading.suspect == (not can_be)
    if can_be:
        assert reading.usage.output_tokens == value
    else:
        assert reading.raw is not None


@given(text=st.text(), more=st.lists(st.text(), max_size=5))
def test_visible_text_is_the_deltas_joined(text: str, more: list[str]):
    events = [{"choices": [{"delta": {"content": piece}}]} for piece in (text, *more)]
    assert visible("openai.chat", events) == "".join((text, *more))


@given(text=st.text(min_size=80))
def test_no_text_gets_into_what_is_kept(text: str):
    raw = read({"usage": {"prompt_tokens": -1, "x": text, "y": [text], "z": {text: 1}}}).raw
    assert raw is not None
    assert json.dumps(text)[1:-1] not in raw
