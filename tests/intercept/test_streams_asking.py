"""Streams are asked for their usage; the caller sees what it would have seen."""

from __future__ import annotations

import pytest

from farthing import Meter
from farthing.testing import Reply
from intercept.kit import ASK, TOLD, USUAL, chunk, events

STREAM = {**ASK, "stream": True}


def _asked(kit, number=0):
    return kit.provider.requests[number].body.get("stream_options")


def test_usage_is_asked_for_and_its_chunk_is_swallowed(kit):
    unmetered = [
        c.choices[0].delta.content for c in kit.items(kit.run(kit.plain().chat.completions.create(**STREAM)))
    ]
    stream = kit.run(kit.client().chat.completions.create(**STREAM))
    assert [c.choices[0].delta.content for c in kit.items(stream)] == unmetered
    assert (_asked(kit, 0), _asked(kit, 1)) == (None, {"include_usage": True})
    row = kit.row()
    assert (row.outcome, row.usage_source, row.cost_nano, row.counted_nano) == (
        "complete",
        "reported",
        USUAL,
        USUAL,
    )
    assert kit.meter.receipt(stream).id == row.id


def test_a_streamed_completion_is_asked_too(kit):
    stream = kit.run(
        kit.client().completions.create(model="gpt-4o", prompt="hi", max_tokens=2_000, stream=True)
    )
    assert all(c.choices for c in kit.items(stream))
    assert _asked(kit) == {"include_usage": True}
    assert kit.row().cost_nano == USUAL


def test_a_caller_who_asks_for_usage_gets_its_chunk(kit):
    options = {"include_usage": True}
    stream = kit.run(kit.client().chat.completions.create(**STREAM, stream_options=options))
    assert [c.usage.prompt_tokens for c in kit.items(stream) if not c.choices] == [1200]
    assert kit.row().cost_nano == USUAL


def test_a_caller_who_wants_no_usage_is_left_alone(kit):
    stream = kit.run(kit.client().chat.completions.create(**STREAM, stream_options={"include_usage": False}))
    assert all(c.choices for c in kit.items(stream))
    assert _asked(kit) == {"include_usage": False}
    row = kit.row()
    assert (row.outcome, row.usage_source, row.cost_source) == ("complete", "estimated", "priced")
    assert row.counted_nano == row.cost_nano > 0


def test_other_stream_options_of_the_caller_are_kept(kit):
    kit.run(kit.client().chat.completions.create(**STREAM, stream_options={"include_obfuscation": False}))
    assert _asked(kit) == {"include_obfuscation": False, "include_usage": True}


def test_stream_options_in_extra_body_are_the_callers(kit):
    extra = {"stream_options": {"include_usage": True}}
    stream = kit.run(kit.client().chat.completions.create(**STREAM, extra_body=extra))
    assert [bool(c.choices) for c in kit.items(stream)].count(False) == 1
    assert kit.row().cost_nano == USUAL


def test_a_meter_may_leave_streams_alone(kit, tmp_path):

    with Meter(tmp_path / "l.db", inject_usage=False) as quiet:
        client = quiet.wrap(kit.plain())
        list(kit.items(kit.run(client.chat.completions.create(**STREAM))))
        assert _asked(kit) is None
        assert quiet.engine.ledger.calls()[0]["usage_source"] == "estimated"


def test_responses_are_never_asked(kit):
    stream = kit.run(
        kit.client().responses.create(model="gpt-4o", input="hi", max_output_tokens=2_000, stream=True)
    )
    kinds = [event.type for event in kit.items(stream)]
    assert kinds[-1] == "response.completed"
    assert _asked(kit) is None
    assert kit.row().cost_nano == USUAL


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_stream_options_is_asked_without_them_and_remembered(kit, status):
    def strict(request):
        if "stream_options" in request.body:
            return Reply("Unknown parameter: stream_options", status=status)
        return None

    kit.provider.script(strict)
    client = kit.client()
    for _ in range(2):
        assert all(c.choices for c in kit.items(kit.run(client.chat.completions.create(**STREAM))))
    assert [_asked(kit, n) for n in range(3)] == [{"include_usage": True}, None, None]
    assert len(kit.provider.requests) == 3
    first, second = kit.rows()
    assert (first.outcome, first.usage_source, first.attempts) == ("complete", "estimated", 2)
    assert (second.outcome, second.usage_source, second.attempts) == ("complete", "estimated", 1)


def test_another_refusal_is_not_asked_again(kit):
    kit.provider.script(Reply("Unknown parameter: messages", status=400))
    with pytest.raises(Exception, match="Unknown parameter"):
        kit.run(kit.client().chat.completions.create(**STREAM))
    assert len(kit.provider.requests) == 1
    assert (kit.row().outcome, kit.row().cost_nano, kit.row().cost_source) == ("error", 0, "none")


def test_a_first_chunk_without_choices_is_not_swallowed(kit):
    first = chunk(prompt_filter_results=[])
    kit.provider.script(Reply(events=[first, chunk("a"), chunk(finish="stop"), chunk(usage=TOLD)]))
    stream = kit.run(kit.client().chat.completions.create(**STREAM))
    assert [len(c.choices) for c in kit.items(stream)] == [0, 1, 1]
    assert kit.row().cost_nano == USUAL


def test_the_last_usage_wins_and_none_is_summed(kit):
    small = {"prompt_tokens": 1200, "completion_tokens": 1, "total_tokens": 1201}
    kit.provider.script(
        Reply(events=[chunk("a", usage=small), chunk("b", usage=small), chunk(finish="stop", usage=TOLD)])
    )
    list(kit.items(kit.run(kit.client().chat.completions.create(**STREAM))))
    assert (kit.row().output_tokens, kit.row().cost_nano) == (150, USUAL)


@pytest.mark.parametrize("resource", ["chat", "responses"])
def test_stream_managers_are_metered(kit, resource):
    client = kit.client()
    manager = (
        client.chat.completions.stream(**ASK)
        if resource == "chat"
        else client.responses.stream(model="gpt-4o", input="hi", max_output_tokens=2_000)
    )
    with kit.inside(manager) as stream:
        assert len(list(kit.items(stream))) > 3
    row = kit.row()
    assert (row.outcome, row.cost_nano) == ("complete", USUAL)
    assert kit.meter.receipt(stream).id == row.id


@pytest.mark.parametrize("how", ["raw", "lines"])
def test_other_ways_to_a_stream_are_metered(kit, how):
    completions = kit.client().chat.completions
    if how == "raw":
        raw = kit.run(completions.with_raw_response.create(**STREAM))
        assert all(c.choices for c in kit.items(raw.parse()))
    else:
        with kit.inside(completions.with_streaming_response.create(**STREAM)) as response:
            lines = list(kit.items(response.iter_lines()))
        assert "data: [DONE]" in lines
        assert not any('"choices":[]' in line for line in lines)
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", USUAL)


def test_a_whole_answer_to_a_request_for_a_stream_is_read_all_the_same(kit):
    body = {"id": "chatcmpl-9", "object": "chat.completion", "model": "gpt-4o", "choices": [], "usage": TOLD}
    kit.provider.script(Reply(body=body))
    assert list(kit.items(kit.run(kit.client().chat.completions.create(**STREAM)))) == []
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", USUAL)


def test_events_alone_make_the_helper_speak_as_servers_do():
    assert events({"a": 1}, "[DONE]") == b'data: {"a": 1}\n\ndata: [DONE]\n\n'
