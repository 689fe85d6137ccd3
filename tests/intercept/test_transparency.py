"""The same scenario with and without the wrapper: the caller and the server see the same."""

from __future__ import annotations

import copy
import inspect
import pickle

import openai
import pytest

from farthing.testing import FakeProvider, Reply
from intercept.kit import ASK

STREAM = {**ASK, "stream": True}

SCENARIOS = {
    "chat": lambda kit, c: kit.run(c.chat.completions.create(**ASK)),
    "responses": lambda kit, c: kit.run(c.responses.create(model="gpt-4o", input="hi")),
    "completions": lambda kit, c: kit.run(c.completions.create(model="gpt-4o", prompt="hi")),
    "embeddings": lambda kit, c: kit.run(c.embeddings.create(model="text-embedding-3-small", input="hi")),
    "raw": lambda kit, c: kit.run(c.chat.completions.with_raw_response.create(**ASK)),
    "object": lambda kit, c: kit.run(c.post("/chat/completions", body=dict(ASK), cast_to=object)),
    "chat stream": lambda kit, c: list(kit.items(kit.run(c.chat.completions.create(**STREAM)))),
    "responses stream": lambda kit, c: list(
        kit.items(kit.run(c.responses.create(model="gpt-4o", input="hi", stream=True)))
    ),
    "manager": lambda *given: _managed(*given),  # noqa: PLW0108  it is defined below
}

LISTED = {"chat stream": {"stream_options"}, "manager": {"stream_options"}}
"""What the wrapper changes in requests without a budget."""


def _managed(kit, client):
    with kit.inside(client.chat.completions.stream(**ASK)) as stream:
        return [event.type for event in kit.items(stream)] + [kit.run(stream.get_final_completion()).choices]


def _seen(value):
    """Everything a caller can look at."""
    if isinstance(value, list):
        return [_seen(item) for item in value]
    if hasattr(value, "http_response"):
        headers = {k: v for k, v in value.headers.items() if k != "date"}
        return (type(value), value.status_code, headers, _seen(value.parse()))
    if hasattr(value, "model_dump"):
        return (type(value), value.model_dump(), repr(value), getattr(value, "_request_id", None))
    return (type(value), repr(value))


def _both(kit, act, *replies, **options):
    """What `act` gives and what the server got, without and with the wrapper."""
    outcomes = []
    for wrapped in (False, True):
        with FakeProvider(*replies) as provider:
            client = kit.plain(provider.base_url, **options)
            if wrapped:
                kit.meter.wrap(client)
            outcomes.append((act(kit, client), provider.requests))
            kit.run(client.close())
    return outcomes


@pytest.mark.parametrize("name", SCENARIOS)
def test_answers_and_requests_are_the_same(kit, name):
    (plain, sent_plain), (metered, sent_metered) = _both(kit, SCENARIOS[name])
    assert _seen(metered) == _seen(plain)
    assert len(sent_metered) == len(sent_plain) == 1
    before, after = sent_plain[0], sent_metered[0]
    for request in (before, after):
        for own in ("host", "content-length", "x-stainless-read-timeout", "idempotency-key"):
            request.headers.pop(own, None)
    assert (after.method, after.path, after.query, after.headers) == (
        before.method,
        before.path,
        before.query,
        before.headers,
    )
    if name in LISTED:
        assert {k: v for k, v in after.body.items() if k not in LISTED[name]} == before.body
    else:
        assert after.raw == before.raw
    assert len(kit.rows()) == 1


def _shape(error):
    """An exception as a program may inspect it."""
    chain = []
    step = error
    while step is not None:
        text = str(step)
        chain.append((type(step), text, len(step.args), step.__suppress_context__))
        step = step.__cause__
    return chain, type(error.__context__), getattr(error, "status_code", None), getattr(error, "body", None)


@pytest.mark.parametrize("name", ["chat", "chat stream", "responses", "raw"])
@pytest.mark.parametrize(
    "reply",
    [Reply(status=400), Reply(status=401), Reply(status=429), Reply(status=500), Reply(no_answer=True)],
    ids=["400", "401", "429", "500", "no answer"],
)
def test_errors_are_the_same(kit, name, reply):
    def fail(kit, client):
        with pytest.raises(openai.APIError) as caught:
            SCENARIOS[name](kit, client)
        return caught.value

    (plain, _), (metered, _) = _both(kit, fail, reply)
    assert _shape(metered) == _shape(plain)


@pytest.mark.parametrize(
    "reply", [Reply(die_after=1, piecewise=True), Reply(error_event=True)], ids=["died", "error"]
)
def test_errors_in_mid_stream_are_the_same(kit, reply):
    def fail(kit, client):
        with pytest.raises(Exception) as caught:  # noqa: PT011  whichever it is
            SCENARIOS["chat stream"](kit, client)
        return caught.value

    (plain, _), (metered, _) = _both(kit, fail, reply)
    assert type(metered) is type(plain)
    assert str(metered) == str(plain)
    assert type(metered.__cause__) is type(plain.__cause__)


def test_a_piece_arrives_when_the_server_sends_it(kit):
    """A stream whose server waits: the first piece is there before the second is sent."""
    kit.provider.script(Reply(piecewise=True, pause_after=1))
    stream = kit.run(kit.client().chat.completions.create(**STREAM))
    items = kit.items(stream)
    assert next(items).choices[0].delta.role == "assistant"
    assert next(items).choices[0].delta.content
    kit.provider.resume()
    assert len(list(items)) == 3


def test_the_receipt_does_not_alter_the_answer(kit):
    answer = kit.run(kit.client().chat.completions.create(**ASK))
    before = answer.model_dump(), answer.model_copy(deep=True)
    kit.meter.receipt(answer)
    assert (answer.model_dump(), answer) == before


def test_there_is_no_receipt_for_what_came_from_elsewhere(kit):
    answer = kit.run(kit.plain().chat.completions.create(**ASK))
    with pytest.raises(LookupError, match="no receipt"):
        kit.meter.receipt(answer)
    assert kit.meter.receipt(answer, None) is None


def test_a_stream_has_no_receipt_before_it_ends(kit):
    stream = kit.run(kit.client().chat.completions.create(**STREAM))
    with pytest.raises(LookupError, match="not ended"):
        kit.meter.receipt(stream)
    assert kit.meter.receipt(stream, None) is None
    list(kit.items(stream))
    assert kit.meter.receipt(stream).outcome == "complete"


def test_methods_keep_their_kind_and_signature(kit):

    plain, metered = kit.plain(), kit.client()
    for name in ("request", "copy", "with_options"):
        before, after = getattr(plain, name), getattr(metered, name)
        assert inspect.iscoroutinefunction(after) is inspect.iscoroutinefunction(before)
        assert inspect.signature(after) == inspect.signature(before)
        assert after.__name__ == before.__name__
        assert after.__doc__ == before.__doc__


@pytest.mark.parametrize("read", [True, False])
def test_a_response_of_a_stream_can_be_copied_and_pickled(kit, read):
    def act(kit, client):
        stream = kit.run(client.chat.completions.create(**STREAM))
        response = stream.response
        if read:
            list(kit.items(stream))
        copies = [pickle.loads(pickle.dumps(response))]
        if read:  # an open connection cannot be copied
            copies.append(copy.deepcopy(response))
        kit.run(response.aclose() if kit.is_async else response.close())
        return [(copied.status_code, "iter_bytes" in repr(copied.iter_bytes)) for copied in copies]

    (plain, _), (wrapped, _) = _both(kit, act)
    assert wrapped == plain
    assert kit.row().outcome == ("complete" if read else "aborted")


def test_a_pickled_response_is_read_without_the_meter(kit):
    with kit.inside(kit.client().chat.completions.with_streaming_response.create(**ASK)) as answer:
        kit.run(answer.read())
        response = answer.http_response
    copied = pickle.loads(pickle.dumps(response))
    assert copied.content == response.content
    read = copied.aiter_bytes if kit.is_async else copied.iter_bytes
    assert b"".join(kit.items(read())) == response.content
    assert len(kit.rows()) == 1
