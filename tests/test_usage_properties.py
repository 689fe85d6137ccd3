"""What holds of every body, however it is made."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.records import Usage
from farthing.usage import FLAVOURS, Reading, failed, finished, flavour_of, merge, read, read_event, visible
from farthing.usage.flavours import row_of

KEYS = sorted(
    {key for name in FLAVOURS for path in row_of(name).counts for key in path.split("[")[0].split(".")}
    | {"usage", "x_groq", "response", "message", "model", "id", "choices", "delta", "type", "object"}
    | {"tool_usage", "web_search", "num_requests", "usageMetadata", "iterations", "total_cost", "modality"}
)
COUNTS = st.integers(0, 1000) | st.sampled_from([2**53, 2**53 + 1, -1, 10**400, 1.5, 7.0])
SCALARS = (
    st.none()
    | st.booleans()
    | COUNTS
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["AUDIO", "message"])
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


@settings(max_examples=300)
@given(body=JSON, flavour=NAMES | st.none(), provider=st.sampled_from([None, "openai", "x-ai"]))
def test_no_json_value_breaks_a_reading(body: Any, flavour: str | None, provider: str | None):
    possible(read(body, flavour=flavour, provider=provider))
    if isinstance(body, dict):
        assert flavour_of(body) in FLAVOURS


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


@given(text=st.text(), more=st.lists(st.text(), max_size=5))
def test_visible_text_is_the_deltas_joined(text: str, more: list[str]):
    events = [{"choices": [{"delta": {"content": piece}}]} for piece in (text, *more)]
    assert visible("openai.chat", events) == "".join((text, *more))


@given(text=st.text(min_size=80))
def test_no_text_gets_into_what_is_kept(text: str):
    raw = read({"usage": {"prompt_tokens": -1, "x": text, "y": [text], "z": {text: 1}}}).raw
    assert raw is not None
    assert json.dumps(text)[1:-1] not in raw
