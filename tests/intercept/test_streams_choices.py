"""Streams of several answers at once: over when the last of them is, not when the first is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from farthing.intercept.streams import Tee
from farthing.testing import Reply
from farthing.usage import choices_ended
from intercept.kit import ASK, TOLD, USUAL, chunk, events

TWO = {**ASK, "stream": True, "n": 2}


def said(index, text="penny ", finish=None):
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return {**chunk(""), "choices": [choice]}


BOTH_BEGUN = [said(0), said(1), said(0), said(1)]
ONE_OVER = [*BOTH_BEGUN, said(0, "", "stop"), said(1, "and more of it ")]
BOTH_OVER = [*ONE_OVER, said(1, "", "length")]


def _left(kit, parts, ask=TWO, **more):
    """The row of a stream that is left when these parts have come."""
    kit.provider.script(Reply(events=[*parts, said(1)], piecewise=True, pause_after=len(parts), **more))
    with kit.inside(kit.run(kit.client().chat.completions.create(**ask))) as stream:
        seen = kit.items(stream)
        for _ in parts:
            next(seen)
    return kit.row()


def test_a_stream_that_is_left_when_one_of_two_answers_is_over_counts_its_hold(kit):
    row = _left(kit, ONE_OVER)
    assert (row.outcome, row.usage_source) == ("aborted", "estimated")
    assert row.counted_nano == row.held_nano > row.cost_nano > 0


def test_a_stream_that_is_left_when_both_answers_are_over_is_complete(kit):
    row = _left(kit, BOTH_OVER)
    assert (row.outcome, row.usage_source) == ("complete", "estimated")
    assert row.counted_nano == row.cost_nano < row.held_nano


def test_a_stream_of_one_answer_is_complete_when_that_is_over(kit):
    row = _left(kit, [said(0), said(0, "", "stop")], {**ASK, "stream": True})
    assert (row.outcome, row.counted_nano) == ("complete", row.cost_nano)


def test_a_server_that_dies_when_one_of_two_answers_is_over_may_bill_the_other(kit):
    kit.provider.script(Reply(events=[*ONE_OVER, said(1)], piecewise=True, die_after=len(ONE_OVER)))
    stream = kit.run(kit.client().chat.completions.create(**TWO))
    with pytest.raises(Exception):  # noqa: B017, PT011  which one is up to the transport
        list(kit.items(stream))
    row = kit.row()
    assert (row.outcome, row.counted_nano) == ("unknown", row.held_nano)


def test_usage_in_every_chunk_is_a_part_while_one_answer_goes_on(kit):
    parts = [{**part, "usage": {**TOLD, "completion_tokens": 7 + n}} for n, part in enumerate(ONE_OVER)]
    row = _left(kit, parts)
    assert (row.outcome, row.usage_source) == ("aborted", "estimated")
    assert row.counted_nano == row.held_nano


def test_two_answers_that_are_read_to_the_end_are_booked_by_their_usage(kit):
    kit.provider.script(Reply(events=[*BOTH_OVER, chunk(usage=TOLD), "[DONE]"]))
    stream = kit.run(kit.client().chat.completions.create(**TWO))
    assert len(list(kit.items(stream))) == len(BOTH_OVER)
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", USUAL)


@pytest.mark.parametrize("choices", [1, 2])
def test_the_number_of_answers_is_what_tells(choices):
    call = SimpleNamespace(hold=SimpleNamespace(reservation=SimpleNamespace(provider="openai")))
    tee = Tee(call, "openai.chat", swallows=False, is_json=False, choices=choices)
    tee._look([events(part) for part in ONE_OVER])
    assert tee._final == (choices == 1)


@pytest.mark.parametrize(
    ("event", "ended"),
    [
        (said(0), set()),
        (said(0, "", "stop"), {0}),
        (said(3, "", "stop"), {3}),
        ({"choices": [{"finish_reason": None}, {"finish_reason": "stop"}]}, {1}),
        ({"choices": [{"index": None, "finish_reason": "stop"}]}, {0}),
        ({"choices": None}, set()),
        ({"choices": "no list"}, set()),
        ("no event", set()),
    ],
)
def test_the_choices_that_an_event_ends(event, ended):
    assert choices_ended(event, "openai.chat") == ended
    assert choices_ended(event, "no flavour") == set()
