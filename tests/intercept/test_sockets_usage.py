"""What a Realtime response says of its own cost, and that sound, images and text are priced apart."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing import usage
from intercept.socket_kit import HEARD, answered, done, live


def read(told):
    return usage.read(done(usage=told), flavour="openai.realtime")


def counts(input_tokens=0, cached_tokens=0, output_tokens=0, **more):
    return {
        "input_tokens": input_tokens,
        "cached_tokens": cached_tokens,
        "output_tokens": output_tokens,
        **more,
    }


def known(record):
    return {name: value for name in record.__slots__ if (value := getattr(record, name)) is not None}


def test_every_count_is_read():
    reading = read(HEARD)
    assert known(reading.usage) == counts(
        1000, 500, 300, audio_input_tokens=600, audio_output_tokens=200, image_input_tokens=0
    )
    assert reading.units == {
        "audio_input_tokens": 600,
        "audio_output_tokens": 200,
        "audio_cached_tokens": 300,
    }
    assert (reading.response_id, reading.status, reading.raw) == ("resp_1", "completed", None)


def test_each_kind_is_a_part_with_what_of_it_came_from_a_cache():
    assert [(part.kind, known(part.usage)) for part in read(HEARD).parts] == [
        ("text", counts(400, 200, 300, audio_output_tokens=200)),
        ("audio", counts(600, 300, 0, audio_input_tokens=600)),
        ("image", counts(0, 0, 0, image_input_tokens=0)),
    ]


@pytest.mark.parametrize(
    ("audio", "image", "why"),
    [
        (700, 0, "more sound from the cache than there was sound"),
        (0, 1, "images from the cache and no image"),
        (0, 0, "nothing of either"),
        (None, None, "nobody says"),
    ],
)
def test_what_contradicts_itself_or_is_not_said_is_one_whole(audio, image, why):
    told = copy.deepcopy(HEARD)
    told["input_token_details"]["cached_tokens_details"] = {"audio_tokens": audio, "image_tokens": image}
    assert read(told).parts == (), why


TOKENS = st.integers(0, 10_000)


@given(heard=TOKENS, looked=TOKENS, text=TOKENS, of=st.tuples(TOKENS, TOKENS, TOKENS), out=TOKENS)
def test_the_parts_are_the_whole(heard, looked, text, of, out):
    cached = [min(pair) for pair in zip(of, (heard, looked, text), strict=True)]
    told = {
        "input_tokens": heard + looked + text,
        "output_tokens": out,
        "input_token_details": {
            "audio_tokens": heard,
            "image_tokens": looked,
            "text_tokens": text,
            "cached_tokens": sum(cached),
            "cached_tokens_details": dict(
                zip(("audio_tokens", "image_tokens", "text_tokens"), cached, strict=True)
            ),
        },
    }
    reading = read(told)
    assert bool(reading.parts) == bool(cached[0] or cached[1])
    for name in ("input_tokens", "cached_tokens", "output_tokens") if reading.parts else ():
        assert sum(getattr(part.usage, name) for part in reading.parts) == getattr(reading.usage, name)


@pytest.mark.parametrize(
    ("event", "flavour"),
    [
        (done(), "openai.realtime"),
        (live("session.closed", seconds=3), "openai.live"),
        (answered(), "openai.responses"),
    ],
)
def test_events_are_told_by_their_shape(event, flavour):
    assert usage.flavour_of(event) == flavour
    assert usage.finished(event, flavour)
