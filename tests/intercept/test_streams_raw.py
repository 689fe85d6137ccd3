"""Answers that are read as bytes: whichever way they are read, they are booked once by what they say."""

from __future__ import annotations

import gzip
import json

import pytest

from farthing.intercept import taps
from farthing.testing import Reply
from intercept.kit import ASK, HTTP, TOLD, USUAL, Wire, chunk, events

ASKED = {**ASK, "stream": True}
WITH_USAGE = {**ASKED, "stream_options": {"include_usage": True}}
PIECES = [chunk("a farthing "), chunk("is a quarter "), chunk(finish="stop"), chunk(usage=TOLD)]
WORDS = events(*PIECES, "[DONE]")
SEEN = events(*PIECES[:-1], "[DONE]")
ANSWER = json.dumps(
    {"id": "c", "object": "chat.completion", "model": "gpt-4o", "choices": [], "usage": TOLD}
).encode()


def _read(kit, response, how):
    """The body of a response of the SDK, read as bytes: decoded, or raw."""
    http = response.http_response
    if how == "stream":
        return b"".join(kit.items(http.stream))
    if how == "read":
        return kit.run(response.read())
    if how == "http read":
        return kit.run(kit.pick(http.read, getattr(http, "aread", None))())
    name, _, of_http = how.partition(" of ")
    source = getattr(http, kit.pick(name, "a" + name)) if of_http else getattr(response, name)
    pieces = list(kit.items(source()))
    if name.endswith("lines"):
        return "\n".join([*pieces, ""]).encode()
    return b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)


DECODED = [
    "read",
    "http read",
    "iter_bytes",
    "iter_text",
    "iter_lines",
    "iter_bytes of http",
    "iter_text of http",
    "iter_lines of http",
]
RAW = ["iter_raw of http", "stream"]


def _send(kit, body, *, packed, kind):
    headers = {"content-type": kind} | ({"content-encoding": "gzip"} if packed else {})
    kit.provider.script(Reply(body=gzip.compress(body) if packed else body, headers=headers))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("how", DECODED + RAW)
def test_a_stream_that_is_read_as_bytes_is_booked_by_its_usage(kit, how, packed):
    _send(kit, WORDS, packed=packed, kind="text/event-stream")
    opened = kit.client().chat.completions.with_streaming_response.create(**WITH_USAGE)
    with kit.inside(opened) as response:
        body = _read(kit, response, how)
    if packed and how in RAW:
        body = gzip.decompress(body)
    assert body.rstrip() == WORDS.rstrip()
    row = kit.row()
    assert (row.outcome, row.usage_source, row.cost_nano) == ("complete", "reported", USUAL)
    assert kit.meter.receipt(response).outcome == "complete"


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("how", RAW)
def test_a_whole_answer_that_is_read_raw_is_booked_by_its_usage(kit, how, packed):
    _send(kit, ANSWER, packed=packed, kind="application/json")
    with kit.inside(kit.client().chat.completions.with_streaming_response.create(**ASK)) as response:
        body = _read(kit, response, how)
    assert (gzip.decompress(body) if packed else body) == ANSWER
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", USUAL)


@pytest.mark.parametrize("how", [*DECODED, *RAW])
def test_the_event_that_was_asked_for_unasked_is_kept_from_the_reader(kit, how):
    _send(kit, WORDS, packed=False, kind="text/event-stream")
    opened = kit.client().chat.completions.with_streaming_response.create(**ASKED)
    with kit.inside(opened) as response:
        assert _read(kit, response, how).rstrip() == SEEN.rstrip()
    assert kit.row().cost_nano == USUAL


def test_a_raw_stream_that_is_left_counts_its_hold(kit):
    kit.provider.script(Reply(piecewise=True, pause_after=1))
    opened = kit.client().chat.completions.with_streaming_response.create(**ASKED)
    with kit.inside(opened) as response:
        raw = getattr(response.http_response, kit.pick("iter_raw", "aiter_raw"))()
        next(kit.items(raw))
        kit.close(raw)
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("aborted", "estimated")
    assert row.counted_nano == row.held_nano > row.cost_nano > 0


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_raw_stream_that_dies_may_have_been_billed(kit, packed):
    body = gzip.compress(SEEN) if packed else SEEN
    encoding = b"content-encoding: gzip\r\n" if packed else b""

    def script(sock):
        sock.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            + encoding
            + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body) - 30, body[:-30])
        )

    with Wire(script) as wire:
        opened = kit.client(wire.base_url).chat.completions.with_streaming_response.create(**ASKED)
        with pytest.raises(HTTP.RemoteProtocolError), kit.inside(opened) as response:
            _read(kit, response, "iter_raw of http")
    row = kit.row()
    assert (row.outcome, row.error) == ("unknown", "RemoteProtocolError")
    assert row.counted_nano == row.held_nano > row.cost_nano > 0


@pytest.mark.parametrize("encoding", ["gzip", "made-up"])
def test_raw_bytes_that_nobody_can_read_may_have_been_billed(kit, encoding, caplog):
    kit.provider.script(
        Reply(
            body=b"\x00\x01 no gzip",
            headers={"content-type": "text/event-stream", "content-encoding": encoding},
        )
    )
    opened = kit.client().chat.completions.with_streaming_response.create(**ASKED)
    with kit.inside(opened) as response:
        assert _read(kit, response, "iter_raw of http") == b"\x00\x01 no gzip"
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("unknown", "estimated")
    assert row.counted_nano == row.held_nano > 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_sound_that_is_read_raw_is_complete_and_not_kept(kit):
    kit.provider.script(
        Reply(
            body=gzip.compress(b"RIFF" * 50),
            headers={"content-type": "audio/wav", "content-encoding": "gzip"},
        )
    )
    client = kit.client(provider="openai")
    opened = client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="penny")
    with kit.inside(opened) as response:
        assert gzip.decompress(_read(kit, response, "iter_raw of http")) == b"RIFF" * 50
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", 5 * 15_000)


def test_without_the_tap_a_raw_stream_would_count_its_hold(kit, monkeypatch):
    monkeypatch.setattr(taps, "_pieces", lambda chunks, tee: iter(chunks))
    monkeypatch.setattr(taps, "_apieces", lambda chunks, tee: aiter(chunks))
    _send(kit, WORDS, packed=False, kind="text/event-stream")
    opened = kit.client().chat.completions.with_streaming_response.create(**WITH_USAGE)
    with kit.inside(opened) as response:
        _read(kit, response, "iter_raw of http")
    assert (kit.row().outcome, kit.row().counted_nano) == ("aborted", kit.row().held_nano)
