"""A stream that tells all at its end is not parsed as a whole: what is booked is the same."""

import json
from types import SimpleNamespace

import pytest

from farthing.intercept import streams
from farthing.intercept.streams import Tee

USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}


def event(choices, **more):
    body = {"id": "c1", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": choices, **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def said(text, finish=None, **more):
    return event([{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **more)


LAST, DONE = event([], usage=USAGE), b"data: [DONE]\n\n"
MANY = [said(f"word {n}", usage=None) for n in range(9)]
STREAMS = {
    "usage last": [*MANY, said("", "stop"), LAST, DONE],
    "usage in every chunk": [
        *[said("w", usage=USAGE) for _ in range(9)],
        said("", "stop", usage=USAGE),
        DONE,
    ],
    "money in the middle": [
        *MANY,
        said("w", usage={**USAGE, "cost": 0.01}),
        *MANY,
        said("", "stop"),
        LAST,
        DONE,
    ],
    "no usage": [*MANY, said("", "stop"), DONE],
    "broken off": MANY,
    "broken off amid usages": [said("w", usage=USAGE) for _ in range(9)],
    "an error in the middle": [*MANY, b'data: {"error": {"message": "x"}}\n\n', *MANY, LAST, DONE],
    "an error at the end": [*MANY, b'data: {"error": {"message": "x"}}\n\n'],
    "few events": [said("w"), LAST, DONE],
    "carriage returns": [e.replace(b"\n", b"\r\n") for e in (*MANY, said("", "stop"), LAST, DONE)],
}


def ended(pieces, *, whole):
    """(outcome, reading, text) of a stream."""
    found = []
    engine = SimpleNamespace(unwatch=lambda _: None, bug=pytest.fail)
    call = SimpleNamespace(
        engine=engine,
        hold=SimpleNamespace(reservation=SimpleNamespace(provider=None)),
        ended=False,
        finish=lambda outcome, reading, *, seen, **_: found.append((outcome, reading, seen)),
    )
    tee = Tee(call, "openai.chat", swallows=False, is_json=False)
    for piece in pieces:
        tee.kept.append(piece)
        if not tee.plain(piece):
            tee.feed(piece)
    tee.end(whole=whole)
    return found[0]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", STREAMS)
def test_the_end_says_what_the_whole_says(name, whole, monkeypatch):
    outcome, reading, seen = ended(STREAMS[name], whole=whole)
    monkeypatch.setattr(streams, "_LAST_EVENTS", 10_000)
    slow_outcome, slow_reading, slow_seen = ended(STREAMS[name], whole=whole)
    assert (outcome, reading) == (slow_outcome, slow_reading)
    if reading is None or reading.usage is None or outcome != "complete":
        assert seen == slow_seen  # where nothing states the usage, the text counts


def test_chunks_before_the_end_are_not_parsed(monkeypatch):
    parsed = []
    parse = streams.data_of
    monkeypatch.setattr(streams, "data_of", lambda e: parsed.append(e) or parse(e))
    outcome, reading, _ = ended(STREAMS["usage last"], whole=True)
    assert (outcome, reading.usage.output_tokens) == ("complete", 7)
    assert len(parsed) < 5
