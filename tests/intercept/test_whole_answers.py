"""Answers that come whole: one row each, whatever the resource and whatever the caller gets."""

from __future__ import annotations

import inspect
import json
from decimal import Decimal

import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from farthing import Unmeterable
from farthing.testing import Reply
from intercept.kit import ASK, HTTP, USUAL

takes_bytes = pytest.mark.skipif(
    "content" not in inspect.signature(openai.OpenAI.post).parameters,
    reason="this version of openai sends bodies of JSON data only",
)

BODY = {"model": "gpt-4o", "messages": ASK["messages"], "max_tokens": 2_000}


def test_a_chat_leaves_one_row_and_a_receipt_that_agree(kit):
    answer = kit.run(kit.client(account="acme").chat.completions.create(**ASK))
    row = kit.row()
    assert (row.outcome, row.operation, row.account) == ("complete", "chat", "acme")
    assert (row.usage_source, row.cost_source) == ("reported", "priced")
    assert (row.cost_nano, row.counted_nano) == (USUAL, USUAL)
    assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (1200, 1024, 150)
    assert (row.attempts, row.flags, row.capped_at) == (1, [], None)
    assert (row.request_id, row.response_id) == ("req_000001", answer.id)
    receipt = kit.meter.receipt(answer)
    assert receipt.id == row.id
    assert receipt.cost == receipt.counted == Decimal("0.00322")
    assert receipt.usage.cached_tokens == 1024


@pytest.mark.parametrize(
    ("operation", "ask"),
    [
        ("responses", lambda c: c.responses.create(model="gpt-4o", input="hi", max_output_tokens=2_000)),
        ("completion", lambda c: c.completions.create(model="gpt-4o", prompt="hi", max_tokens=2_000)),
        ("embedding", lambda c: c.embeddings.create(model="text-embedding-3-small", input="hi")),
    ],
)
def test_other_resources_are_metered_too(kit, operation, ask):
    answer = kit.run(ask(kit.client()))
    row = kit.row()
    assert (row.operation, row.outcome, row.usage_source, row.input_tokens) == (
        operation,
        "complete",
        "reported",
        1200,
    )
    assert row.cost_nano == (24_000 if operation == "embedding" else USUAL)
    assert kit.meter.receipt(answer).id == row.id


class Word(BaseModel):
    word: str


@pytest.mark.parametrize("resource", ["chat", "responses"])
def test_parse_gives_the_parsed_object_and_its_receipt(kit, resource):

    kit.provider.script(Reply('{"word": "groat"}'))
    client = kit.client()
    if resource == "chat":
        answer = kit.run(client.chat.completions.parse(**ASK, response_format=Word))
        assert answer.choices[0].message.parsed == Word(word="groat")
    else:
        answer = kit.run(
            client.responses.parse(model="gpt-4o", input="hi", max_output_tokens=2_000, text_format=Word)
        )
        assert answer.output_parsed == Word(word="groat")
    assert kit.row().cost_nano == USUAL
    assert kit.meter.receipt(answer).cost == Decimal("0.00322")


def test_a_raw_response_is_booked_before_it_is_parsed(kit):
    raw = kit.run(kit.client().chat.completions.with_raw_response.create(**ASK))
    assert kit.row().cost_nano == USUAL
    assert kit.row().request_id == raw.headers["x-request-id"] == "req_000001"
    assert type(raw.parse()) is ChatCompletion
    assert kit.meter.receipt(raw).cost == Decimal("0.00322")


@pytest.mark.parametrize("how", ["read", "json", "parse", "iter_lines", "iter_bytes"])
def test_a_streamed_whole_answer_is_booked_when_it_is_read(kit, how):
    with kit.inside(kit.client().chat.completions.with_streaming_response.create(**ASK)) as response:
        if how.startswith("iter"):
            list(kit.items(getattr(response, how)()))
        else:
            kit.run(getattr(response, how)())
        assert (kit.row().outcome, kit.row().cost_nano) == ("complete", USUAL)
    assert len(kit.rows()) == 1
    assert kit.meter.receipt(response).cost == Decimal("0.00322")


def test_a_streamed_whole_answer_that_nobody_reads_counts_its_hold(kit):
    with kit.inside(kit.client().chat.completions.with_streaming_response.create(**ASK)):
        pass
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("aborted", "estimated")
    assert row.counted_nano == row.held_nano > row.cost_nano > 0


@pytest.mark.parametrize("cast_to", [HTTP.Response, object])
def test_a_request_of_the_low_level_client_is_metered(kit, cast_to):
    answer = kit.run(kit.client().post("/chat/completions", body=dict(BODY), cast_to=cast_to))
    assert kit.row().cost_nano == USUAL
    if cast_to is HTTP.Response:
        assert answer.json()["usage"]["prompt_tokens"] == 1200
        assert kit.meter.receipt(answer).cost == Decimal("0.00322")
    else:
        assert answer["usage"]["prompt_tokens"] == 1200


def test_what_costs_nothing_leaves_no_row(kit):

    kit.provider.script(Reply(body={"object": "list", "data": []}))
    kit.run(kit.client().models.list())
    assert kit.rows() == []


@takes_bytes
def test_a_body_that_cannot_be_read_is_sent_unmetered_with_a_word(kit, caplog):
    ask = {"content": json.dumps(BODY).encode(), "cast_to": object}
    client = kit.client()
    for _ in range(2):
        kit.run(client.post("/chat/completions", **ask))
    assert kit.rows() == []
    (line,) = [r for r in caplog.records if r.name == "farthing"]
    assert "not metered" in line.getMessage()


@takes_bytes
def test_a_body_that_cannot_be_read_is_not_sent_under_a_hard_budget(kit):
    client = kit.client(budget="$5/day")
    with pytest.raises(Unmeterable):
        kit.run(client.post("/chat/completions", content=json.dumps(BODY).encode(), cast_to=object))
    assert kit.provider.requests == []


def test_several_choices_are_held_for(kit):
    kit.run(kit.client().chat.completions.create(**ASK, n=3))
    assert kit.row().held_nano > 3 * 20_000_000
