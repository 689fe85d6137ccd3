"""Streams in which the server says that it failed: booked when that has been said, whatever the SDK does
with the response then."""

from __future__ import annotations

import pytest

from farthing.intercept import observing
from farthing.intercept.streams import Tee
from farthing.testing import Reply
from intercept.kit import ASK, SDK, TOLD, Wire, chunk, events

STREAM = {**ASK, "stream": True}
FAILED = {"error": {"message": "the mint is closed", "type": "server_error"}}
WORDS = [chunk("a farthing "), chunk("is a quarter ")]


def _open(kit, client, how):
    completions = client.chat.completions
    if how == "parsed":
        return kit.run(completions.with_raw_response.create(**STREAM)).parse()
    return kit.run(completions.create(**STREAM))


@pytest.mark.parametrize("how", ["stream", "parsed"])
def test_an_error_event_is_booked_while_its_exception_is_handled(kit, how):
    kit.provider.script(Reply(events=[*WORDS, FAILED]))
    stream = _open(kit, kit.client(), how)
    with pytest.raises(Exception, match="the mint is closed") as caught:
        list(kit.items(stream))
    row = kit.row()  # the exception still holds the frames that read the stream
    assert (row.outcome, row.usage_source) == ("unknown", "estimated")
    assert row.counted_nano == row.held_nano > row.cost_nano > 0
    assert caught.tb is not None


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_an_error_event_in_pieces_of_any_size_is_booked_too(kit, size):
    body = events(*WORDS, FAILED)

    def script(sock):
        sock.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")

    with Wire(script) as wire:
        stream = _open(kit, kit.client(wire.base_url), "stream")
        with pytest.raises(Exception, match="the mint is closed"):
            list(kit.items(stream))
        assert (kit.row().outcome, kit.row().counted_nano) == ("unknown", kit.row().held_nano)


@pytest.mark.skipif(SDK >= (2, 0), reason="this version of openai closes the response itself")
def test_without_the_watch_openai_1_leaves_such_a_call_open(kit, monkeypatch):
    monkeypatch.setattr(observing, "leaves_open", lambda _: False)
    kit.provider.script(Reply(events=[*WORDS, FAILED]))
    stream = _open(kit, kit.client(), "stream")
    with pytest.raises(Exception, match="the mint is closed"):
        list(kit.items(stream))
    assert kit.meter.engine.ledger.facts()["open_calls"] == 1
    kit.close(stream.response)
    assert kit.row().outcome == "unknown"


def test_a_reader_of_lines_may_read_on_after_an_error_and_is_booked_by_what_comes(kit):
    kit.provider.script(Reply(events=[*WORDS, FAILED, chunk(usage=TOLD), "[DONE]"]))
    opened = kit.client().chat.completions.with_streaming_response.create(**STREAM)
    with kit.inside(opened) as response:
        assert "data: [DONE]" in list(kit.items(response.iter_lines()))
    assert (kit.row().outcome, kit.row().output_tokens) == ("complete", 150)


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_an_error_event_is_noticed_when_it_is_whole_and_not_before(size, end):
    harmless = [chunk("error"), {"type": "response.created", "error": None}, chunk('{"error": "said"}')]
    before, failure = events(*harmless, end=end), events(FAILED, end=end)
    tee = Tee(None, "openai.chat", swallows=False, is_json=False, leaves_open=True)
    plain = tee.watcher()
    body = before + failure
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        tee.kept.append(piece)
        if not plain(piece):
            assert tee.feed(piece) == piece
        assert tee.broken == (start + size >= len(body))
