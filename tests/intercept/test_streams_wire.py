"""Streams over wires of all kinds: how the bytes are cut and packed changes nothing."""

from __future__ import annotations

import gzip

import pytest

from farthing.testing import Reply
from intercept.kit import ASK, TOLD, USUAL, Wire, chunk, events

STREAM = {**ASK, "stream": True}
PIECES = [chunk("a farthing "), chunk("is a quarter "), chunk("of a penny"), chunk(finish="stop")]
ALL = [*PIECES, chunk(usage=TOLD)]


def _contents(kit, client):
    stream = kit.run(client.chat.completions.create(**STREAM))
    return [c.choices[0].delta.content if c.choices else "no choices" for c in kit.items(stream)]


SEEN = ["a farthing ", "is a quarter ", "of a penny", None]


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_line_ends_and_compression(kit, end, packed):
    body = events(*ALL, "[DONE]", end=end)
    headers = {"content-encoding": "gzip"} if packed else {}
    kit.provider.script(Reply(body=gzip.compress(body) if packed else body, headers=headers))
    assert _contents(kit, kit.client()) == SEEN
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", USUAL)


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_pieces_of_any_size(kit, size, end):
    body = events(*ALL, "[DONE]", end=end)

    def script(sock):
        sock.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")

    with Wire(script) as wire:
        assert _contents(kit, kit.client(wire.base_url)) == SEEN
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", USUAL)


def test_a_hundred_chunks_in_one_piece(kit):
    kit.provider.script(Reply(body=events(*[chunk(f"{n} ") for n in range(100)], *ALL[3:], "[DONE]")))
    assert len(_contents(kit, kit.client())) == 101
    assert kit.row().cost_nano == USUAL


def test_a_stream_longer_than_what_is_kept_is_read_to_its_end(kit):
    long = "x" * 40_000
    kit.provider.script(Reply(body=events(*[chunk(long) for _ in range(60)], *ALL[3:], "[DONE]")))
    assert len(_contents(kit, kit.client())) == 61
    assert (kit.row().output_tokens, kit.row().cost_nano) == (150, USUAL)


@pytest.mark.parametrize("usage", [True, False], ids=["usage", "no usage"])
def test_no_end_mark(kit, usage):
    kit.provider.script(Reply(body=events(*(ALL if usage else PIECES))))
    assert _contents(kit, kit.client()) == SEEN
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("complete", "reported" if usage else "estimated")
    assert row.cost_nano == row.counted_nano
    assert not usage or row.cost_nano == USUAL


def test_a_server_that_dies_in_mid_body_may_have_billed_it(kit):
    kit.provider.script(Reply(die_after=2, piecewise=True))
    stream = kit.run(kit.client().chat.completions.create(**STREAM))
    with pytest.raises(Exception) as caught:  # noqa: PT011  which one is up to the transport
        list(kit.items(stream))
    assert "ssertion" not in type(caught.value).__name__
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("unknown", "estimated")
    assert row.counted_nano == row.held_nano > row.cost_nano > 0
    assert row.output_tokens > 0
    assert row.error


def test_a_server_that_dies_after_the_usage_has_billed_what_it_said(kit):
    def script(sock):
        sock.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        body = events(*ALL)
        sock.sendall(b"%x\r\n%s\r\n" % (len(body), body))

    with Wire(script) as wire:
        stream = kit.run(kit.client(wire.base_url).chat.completions.create(**STREAM))
        with pytest.raises(Exception):  # noqa: B017, PT011  which one is up to the transport
            list(kit.items(stream))
    assert (kit.row().outcome, kit.row().cost_nano, kit.row().counted_nano) == ("complete", USUAL, USUAL)


def test_an_error_event_may_have_been_billed(kit):
    kit.provider.script(Reply(error_event=True))
    stream = kit.run(kit.client().chat.completions.create(**STREAM))
    with pytest.raises(Exception, match="status 500"):
        list(kit.items(stream))
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("unknown", "estimated")
    assert row.counted_nano == row.held_nano


def test_a_failed_response_may_have_been_billed(kit):
    kit.provider.script(Reply(end="failed", usage=None))
    stream = kit.run(
        kit.client().responses.create(model="gpt-4o", input="hi", max_output_tokens=900, stream=True)
    )
    list(kit.items(stream))
    assert (kit.row().outcome, kit.row().counted_nano) == ("unknown", kit.row().held_nano)


def test_a_streamed_whole_answer_that_nobody_can_read_may_have_been_billed(kit):
    kit.provider.script(Reply(body=b"<html>busy</html>", headers={"content-type": "text/html"}))
    with kit.inside(kit.client().chat.completions.with_streaming_response.create(**ASK)) as response:
        assert kit.run(response.text()).startswith("<html>")
    assert (kit.row().outcome, kit.row().counted_nano) == ("unknown", kit.row().held_nano)
