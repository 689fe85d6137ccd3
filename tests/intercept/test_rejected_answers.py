"""Answers that are paid for, over which the SDK raises an error: what they state is booked all the same."""

from __future__ import annotations

import json

import anthropic
import openai
import pydantic
import pytest

import farthing
from farthing.intercept import attempts
from farthing.testing import Reply
from intercept.kit import ASK, USUAL

ODD = RuntimeError("no such coin")

INPUT = {"model": "gpt-4o", "input": "What is a farthing?", "max_output_tokens": 2_000}


class Coin(pydantic.BaseModel):
    pence: int


class Strange(pydantic.BaseModel):
    pence: int

    @pydantic.field_validator("pence")
    @classmethod
    def no_coin(cls, _):
        raise ODD


REJECTED = {
    "cut short": (Reply(text='{"pence": ', end="incomplete"), openai.LengthFinishReasonError),
    "of another shape": (Reply(text='{"pounds": 1}'), pydantic.ValidationError),
    "no JSON": (Reply(text="a quarter of a penny"), pydantic.ValidationError),
}


@pytest.fixture(autouse=True)
def _undone():
    yield
    farthing.uninstrument()


def client_of(kit, how, **options):
    if how == "wrapped":
        return kit.client(budget="$5/day", options=options)
    kit.meter.instrument(budget="$5/day")
    return kit.plain(**options)


def parsed(kit, client, **more):
    return kit.run(client.chat.completions.parse(**{**ASK, "response_format": Coin, **more}))


def is_exact(kit, *, error):
    row = kit.row()
    assert (row.outcome, row.usage_source, row.cost_source) == ("complete", "reported", "priced")
    assert row.cost_nano == row.counted_nano == USUAL < row.held_nano
    assert (row.error, row.flags, row.attempts) == (error, [], 1)
    assert [window.spent for window in kit.meter.windows()] == [USUAL]
    return row


@pytest.mark.parametrize("how", ["wrapped", "instrumented"])
@pytest.mark.parametrize("looked_at", [True, False], ids=["", "control"])
@pytest.mark.parametrize("reason", REJECTED)
def test_an_answer_that_parse_rejects_costs_what_it_states(kit, monkeypatch, how, looked_at, reason):
    """In the control nobody looks at the response: then nobody knows what the call cost."""
    reply, error = REJECTED[reason]
    kit.provider.script(reply, reply)
    with pytest.raises(error) as unmetered:
        parsed(kit, kit.plain())
    if not looked_at:
        monkeypatch.setattr(attempts, "_keep", lambda *_: None)
    with pytest.raises(error) as caught:
        parsed(kit, client_of(kit, how))
    assert type(caught.value) is type(unmetered.value)
    assert str(caught.value) == str(unmetered.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    if looked_at:
        row = is_exact(kit, error=error.__name__)
        assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (1200, 1024, 150)
        assert (row.request_id, row.response_id) == ("req_000002", "chatcmpl-000002")
    else:
        assert (kit.row().outcome, kit.row().counted_nano) == ("unknown", kit.row().held_nano)


def test_the_error_is_the_very_object_that_was_raised(kit):
    kit.provider.script(Reply(text='{"pence": 1}'))
    with pytest.raises(RuntimeError) as caught:
        parsed(kit, kit.client(budget="$5/day"), response_format=Strange)
    assert caught.value is ODD
    assert vars(caught.value) == {}
    is_exact(kit, error="RuntimeError")


@pytest.mark.parametrize("how", ["wrapped", "instrumented"])
def test_so_does_one_of_the_responses_api(kit, how):
    kit.provider.script(Reply(text='{"pounds": 1}'))
    client = client_of(kit, how)
    with pytest.raises(pydantic.ValidationError):
        kit.run(client.responses.parse(**INPUT, text_format=Coin))
    is_exact(kit, error="ValidationError")


@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
@pytest.mark.parametrize("how", ["wrapped", "instrumented"])
def test_so_does_one_of_anthropic(kit, how):
    made = kit.pick(anthropic.Anthropic, anthropic.AsyncAnthropic)
    client = made(base_url=kit.provider.base_url.removesuffix("/v1"), api_key="k", max_retries=0)
    if how == "wrapped":
        kit.meter.wrap(client, budget="$5/day")
    else:
        kit.meter.instrument(budget="$5/day")
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": '{"pounds": 1}'}], "stop_reason": "end_turn",
            "usage": {"input_tokens": 1000, "output_tokens": 100}}  # fmt: skip
    kit.provider.script(Reply(body=body))
    ask = {"model": "claude-sonnet-4-5", "messages": ASK["messages"], "max_tokens": 2_000}
    with pytest.raises(pydantic.ValidationError):
        kit.run(client.messages.parse(**ask, output_format=Coin))
    row = kit.row()
    assert (row.outcome, row.usage_source, row.error) == ("complete", "reported", "ValidationError")
    assert row.cost_nano == row.counted_nano == 1000 * 3_000 + 100 * 15_000
    kit.close(client)


@pytest.mark.parametrize("how", ["wrapped", "instrumented"])
def test_so_does_one_that_a_strict_client_rejects(kit, how):
    told = {"prompt_tokens": 1200, "completion_tokens": 150, "prompt_tokens_details": {"cached_tokens": 1024}}
    kit.provider.script(Reply(body={"id": "chatcmpl-1", "choices": "none", "usage": told}))
    client = client_of(kit, how, _strict_response_validation=True)
    with pytest.raises(openai.APIResponseValidationError):
        kit.run(client.chat.completions.create(**ASK))
    is_exact(kit, error="APIResponseValidationError")


def test_an_answer_that_states_no_usage_is_estimated_as_it_is_for_create(kit):
    bare = Reply(text='{"pounds": 1}', usage=None)
    kit.provider.script(bare, bare)
    client = kit.client(budget="$5/day")
    kit.run(client.chat.completions.create(**ASK, response_format={"type": "json_object"}))
    with pytest.raises(pydantic.ValidationError):
        parsed(kit, client, response_format=Coin)
    created, rejected = kit.rows()
    assert (created.outcome, created.usage_source) == (rejected.outcome, rejected.usage_source)
    assert (rejected.outcome, rejected.usage_source) == ("complete", "estimated")
    assert rejected.cost_nano == rejected.counted_nano < rejected.held_nano
    assert rejected.output_tokens == created.output_tokens > 0


def test_one_that_nobody_can_read_may_have_cost_the_hold(kit):
    kit.provider.script(Reply(body=b"{", headers={"content-type": "application/json"}))
    with pytest.raises(json.JSONDecodeError):
        kit.run(kit.client(budget="$5/day").chat.completions.create(**ASK))
    row = kit.row()
    assert (row.outcome, row.counted_nano) == ("unknown", row.held_nano)


@pytest.mark.parametrize("how", ["wrapped", "instrumented"])
def test_attempts_that_were_lost_before_it_stay_paid_for(kit, how):
    kit.provider.script(Reply(status=502, headers={"retry-after-ms": "1"}), Reply(text='{"pounds": 1}'))
    with pytest.raises(pydantic.ValidationError):
        parsed(kit, client_of(kit, how, max_retries=1))
    row = kit.row()
    assert (row.outcome, row.attempts, row.flags) == ("complete", 2, ["lost_attempts"])
    assert row.counted_nano == USUAL + row.held_nano


@pytest.mark.parametrize("how", ["wrapped", "instrumented"])
def test_what_a_proxy_states_in_a_header_is_its_bill(kit, how):
    said = {"x-litellm-response-cost": "1.35e-05"}
    kit.provider.script(Reply(text='{"pounds": 1}', headers=said), Reply(headers=said))
    client = client_of(kit, how)
    with pytest.raises(pydantic.ValidationError):
        parsed(kit, client)
    kit.run(client.chat.completions.create(**ASK))
    assert [(row.cost_nano, row.cost_source) for row in kit.rows()] == [(13_500, "reported")] * 2


def test_a_raw_response_is_booked_before_it_is_parsed(kit):
    kit.provider.script(Reply(text='{"pounds": 1}'))
    client = kit.client(budget="$5/day")
    raw = kit.run(client.chat.completions.with_raw_response.parse(**ASK, response_format=Coin))
    is_exact(kit, error=None)
    with pytest.raises(pydantic.ValidationError):
        raw.parse()
    is_exact(kit, error=None)


def test_a_response_that_the_caller_reads_is_booked_when_it_is_read(kit):
    kit.provider.script(Reply(text='{"pounds": 1}'))
    client = kit.client(budget="$5/day")
    made = client.chat.completions.with_streaming_response.parse(**ASK, response_format=Coin)
    with kit.inside(made) as response, pytest.raises(pydantic.ValidationError):
        kit.run(response.parse())
    is_exact(kit, error=None)


def test_nothing_is_read_of_a_response_that_is_not_here(kit):
    """As if the SDK failed while it made a stream of it: the hold, and no wait for the rest."""

    def fails(*_):
        raise ODD

    kit.provider.script(Reply(pause_after=1))
    client = kit.client(budget="$5/day")
    original = type(client)._farthing_original
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(original, "_process_response", _coloured(kit, fails), raising=False)
        with pytest.raises(RuntimeError):
            kit.run(client.chat.completions.create(**ASK, stream=True))
    kit.provider.resume()
    row = kit.row()
    assert (row.outcome, row.counted_nano) == ("unknown", row.held_nano)


def _coloured(kit, fails):
    async def afails(*_, **__):
        fails()

    return afails if kit.is_async else lambda *_, **__: fails()


def test_work_that_goes_on_is_found_again_although_its_first_answer_was_rejected(kit):
    body = {"id": "resp_1", "object": "response", "status": "queued", "model": "gpt-4o", "output": "none"}
    kit.provider.script(Reply(body=body))
    client = kit.client(budget="$5/day", options={"_strict_response_validation": True})
    with pytest.raises(openai.APIResponseValidationError):
        kit.run(client.responses.create(**INPUT, background=True))
    row = kit.row()
    assert (row.outcome, row.counted_nano) == ("unknown", row.held_nano)
    told = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    kit.provider.script(Reply(body={**body, "status": "completed", "output": [], "usage": told}))
    kit.run(kit.client().responses.retrieve("resp_1"))
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", 1000 * 2_500 + 100 * 10_000)
    assert kit.row().counted_nano == kit.row().cost_nano
