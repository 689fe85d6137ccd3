"""A long stream is not kept whole: what has passed is turned into text and usage from time to time."""

import pytest

from farthing.intercept import streams
from farthing.testing import Reply
from intercept.kit import ASK

CHUNKS = 4 * streams.EVERY
KEEP = 50_000
"""Less than a tenth of the stream."""


@pytest.fixture
def most(monkeypatch):
    """The most bytes that any tee has kept when it was asked to look at them."""
    seen = [0]
    feed = streams.Tee.feed

    def watched(tee, chunk):
        seen.append(sum(map(len, tee.kept)))
        return feed(tee, chunk)

    monkeypatch.setattr(streams.Tee, "feed", watched)
    return lambda: max(seen)


@pytest.mark.parametrize("asks", [True, False])
def test_a_long_stream_is_not_kept_whole_and_booked_as_stated(kit, most, monkeypatch, asks):
    monkeypatch.setattr(streams, "_KEEP", KEEP)
    whole = read(kit, asks)
    assert kit.rows()[0].usage_source == "reported"
    assert KEEP < most() < whole / 2


@pytest.mark.parametrize("asks", [True, False])
def test_without_that_it_would_be(kit, most, monkeypatch, asks):
    monkeypatch.setattr(streams, "_KEEP", float("inf"))
    whole = read(kit, asks)
    assert most() > whole / 2


def read(kit, asks):
    """Reads a long stream; returns about how many bytes it has."""
    kit.provider.script(Reply("word " * CHUNKS, chunks=CHUNKS, piecewise=True))
    more = {"stream_options": {"include_usage": True}} if asks else {}
    stream = kit.run(kit.client().chat.completions.create(**ASK, stream=True, **more))
    return 200 * sum(1 for _ in kit.items(stream))
