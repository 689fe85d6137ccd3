"""Calls that fail: one row that says whether they may have been billed; refusals leave none."""

from __future__ import annotations

import socket

import openai
import pytest

from farthing import InsufficientCredits
from farthing.testing import Reply
from intercept.kit import ASK, HTTP, SOON, USUAL, Wire


def _fails(kit, client, error):
    with pytest.raises(error) as caught:
        kit.run(client.chat.completions.create(**ASK))
    return caught.value


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 529])
def test_what_is_not_billed_costs_nothing(kit, status):
    kit.provider.script(Reply(status=status))
    error = _fails(kit, kit.client(budget="$5/day"), openai.APIStatusError)
    assert error.status_code == status
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.counted_nano, row.cost_source) == ("error", 0, 0, "none")
    assert (row.error, row.request_id) == (type(error).__name__, "req_000001")
    assert all(window.spent == 0 for window in kit.meter.windows())
    assert kit.meter.engine.ledger.totals()[0].unpriced == 0


@pytest.mark.parametrize("status", [408, 502, 504, 520, 524, 518])
def test_what_may_have_been_billed_counts_its_hold(kit, status):
    kit.provider.script(Reply(status=status))
    _fails(kit, kit.client(budget="$5/day"), openai.APIStatusError)
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("unknown", "estimated")
    assert row.counted_nano == row.held_nano > row.cost_nano > 0
    assert [window.spent for window in kit.meter.windows()] == [row.held_nano]


def test_a_connection_that_is_refused_costs_nothing(kit):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    _fails(kit, kit.client(f"http://127.0.0.1:{port}/v1"), openai.APIConnectionError)
    assert (kit.row().outcome, kit.row().counted_nano) == ("error", 0)


def test_a_read_timeout_may_have_cost_the_hold(kit):
    kit.provider.hold()
    _fails(kit, kit.client(options={"timeout": SOON}), openai.APITimeoutError)
    kit.provider.release()
    row = kit.row()
    assert (row.outcome, row.error) == ("unknown", "APITimeoutError")
    assert row.counted_nano == row.held_nano


def test_what_the_caller_was_handling_does_not_make_a_timeout_free(kit):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    nowhere = kit.plain(f"http://127.0.0.1:{port}/v1")
    kit.provider.hold()
    client = kit.client(options={"timeout": SOON})
    try:
        kit.run(nowhere.chat.completions.create(**ASK))
    except openai.APIConnectionError:
        _fails(kit, client, openai.APITimeoutError)
    kit.provider.release()
    assert kit.row().outcome == "unknown"


@pytest.mark.parametrize(
    "reply", [Reply(no_answer=True), Reply(die_after=0)], ids=["no answer", "half a body"]
)
def test_an_answer_that_is_cut_may_have_cost_the_hold(kit, reply):
    kit.provider.script(reply)
    _fails(kit, kit.client(), openai.APIConnectionError)
    assert (kit.row().outcome, kit.row().counted_nano) == ("unknown", kit.row().held_nano)


def test_a_protocol_error_may_have_cost_the_hold(kit):
    with Wire(lambda sock: sock.sendall(b"this is not HTTP\r\n\r\n")) as wire:
        _fails(kit, kit.client(wire.base_url), openai.APIConnectionError)
    assert kit.row().outcome == "unknown"


@pytest.mark.parametrize("status", [429, 500])
def test_retries_of_the_sdk_are_one_call(kit, status):
    again = Reply(status=status, headers={"retry-after-ms": "1"})
    kit.provider.script(again, again, Reply())
    kit.run(kit.client(options={"max_retries": 2}).chat.completions.create(**ASK))
    row = kit.row()
    assert (row.outcome, row.attempts, row.cost_nano, row.counted_nano) == ("complete", 3, USUAL, USUAL)
    assert row.flags == []


def test_retries_that_all_fail_are_one_call(kit):
    again = Reply(status=429, headers={"retry-after-ms": "1"})
    kit.provider.script(again, again, again)
    _fails(kit, kit.client(options={"max_retries": 2}), openai.RateLimitError)
    assert (kit.row().outcome, kit.row().attempts, kit.row().counted_nano) == ("error", 3, 0)


def test_a_refusal_is_raised_as_it_is_and_nothing_is_sent(kit):
    client = kit.client(account="acme", budget="$0.001/day", options={"max_retries": 2})
    error = _fails(kit, client, InsufficientCredits)
    assert type(error) is InsufficientCredits
    assert error.__cause__ is None
    assert kit.provider.requests == []
    assert kit.rows() == []
    (refusal,) = kit.meter.engine.ledger.refusals()
    assert (refusal["account"], refusal["reason"]) == ("acme", "budget")


def test_a_stream_is_refused_before_anything_is_sent(kit):
    client = kit.client(budget="$0.001/day")
    with pytest.raises(InsufficientCredits):
        kit.run(client.chat.completions.create(**ASK, stream=True))
    with pytest.raises(InsufficientCredits), kit.inside(client.chat.completions.stream(**ASK)):
        pass
    assert kit.provider.requests == []


@pytest.mark.one_colour("the hook is the same; the pool is the client's own")
def test_a_pool_without_a_free_connection_costs_nothing(provider, meter):
    http = HTTP.Client(limits=HTTP.Limits(max_connections=1), timeout=HTTP.Timeout(5, pool=0.1))
    with openai.OpenAI(base_url=provider.base_url, api_key="k", max_retries=0, http_client=http) as client:
        meter.wrap(client)
        provider.script(Reply(pause_after=0))
        with client.chat.completions.create(**ASK, stream=True), pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(**ASK)
    rows = meter.engine.ledger.calls()
    assert sorted(row["outcome"] for row in rows) == ["aborted", "error"]
