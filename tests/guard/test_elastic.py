"""Calls without a cap of their own: a share of what is left becomes an output cap in the request."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from farthing import Budget, InsufficientCredits, Meter
from farthing.testing import FakeProvider
from guard.making import MESSAGES, Burst, adds_up, ask, held_and_spent, metered, openai, refusals, upper

UNCAPPED = {"max_tokens": None}
ANY = {"model": "gpt-4o", "messages": MESSAGES}


def create(client: Any, **call: Any) -> Any:
    return client.chat.completions.create(**(ANY | call))


def test_a_tight_budget_caps_the_output_and_says_so(
    still: Meter, provider: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    client = still.wrap(openai(provider), budget="$0.01/day")
    with caplog.at_level(logging.INFO, "farthing"):
        answer = create(client)
    [request] = provider.requests
    cap = request.body["max_tokens"]
    assert cap >= 256
    receipt = still.receipt(answer)
    assert receipt.capped_at == cap
    assert receipt.held * 10**9 >= cap * 10_000
    assert receipt.held < upper(still, max_tokens=cap + 1)
    assert [r.getMessage() for r in caplog.records if str(cap) in r.getMessage()]
    assert still.engine.ledger.calls()[0]["capped_at"] == cap


def test_the_callers_request_is_left_as_it_is(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget="$0.01/day")
    body = {"model": "gpt-4o", "messages": [dict(message) for message in MESSAGES]}
    before = {"model": "gpt-4o", "messages": [dict(message) for message in MESSAGES]}
    client.chat.completions.create(**body)
    assert body == before


def test_a_budget_that_is_wide_enough_changes_nothing(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget="$5/day")
    answer = create(client)
    assert "max_tokens" not in provider.requests[0].body
    assert still.receipt(answer).capped_at is None


def test_without_a_budget_nothing_is_written(still: Meter, provider: FakeProvider) -> None:
    create(still.wrap(openai(provider)))
    assert set(provider.requests[0].body) == {"model", "messages"}


def test_fifty_calls_at_once_share_what_one_could_take(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget="$5/day")
    provider.hold()
    burst = Burst([lambda: ask(client, model="gpt-5", **UNCAPPED)] * 50)
    first = burst.next(30)
    assert refusals(first) == 30
    requests = provider.wait_for(15)
    caps = [r.body["max_completion_tokens"] for r in requests if "max_completion_tokens" in r.body]
    assert min(caps) >= 4_096
    [(held, _)] = held_and_spent(still)
    assert held <= 5 * 10**9
    provider.release()
    refused = refusals(burst.join())
    assert provider.served == 20 - refused >= 15


def test_on_tight_refuse_never_caps(ledger_path: Path, provider: FakeProvider) -> None:
    with metered(ledger_path, on_tight="refuse") as meter:
        client = meter.wrap(openai(provider), budget="$0.01/total")
        with pytest.raises(InsufficientCredits) as caught:
            create(client)
        assert caught.value.required == upper(meter, max_tokens=None)
        assert provider.requests == []
        assert adds_up(meter)


@pytest.mark.parametrize(
    "call",
    [
        {"model": "gpt-5"},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    ],
    ids=["reasoning", "structured", "tools"],
)
def test_what_needs_more_output_is_refused_below_4096_tokens(
    still: Meter, provider: FakeProvider, call: dict[str, Any]
) -> None:
    client = still.wrap(openai(provider), budget="$0.02/day")
    create(client)  # an answer in plain text has its 256
    with pytest.raises(InsufficientCredits):
        create(client, **call)
    roomy = still.wrap(openai(provider), budget="$0.08/month")
    create(roomy, **call)
    body = provider.requests[-1].body
    assert body.get("max_tokens", body.get("max_completion_tokens")) >= 4_096


def test_min_output_tokens_is_the_smallest_cap(ledger_path: Path, provider: FakeProvider) -> None:
    with metered(ledger_path, min_output_tokens=50) as meter:
        client = meter.wrap(openai(provider), budget="$0.001/total")
        create(client)
        assert 50 <= provider.requests[0].body["max_tokens"] < 256
        with pytest.raises(InsufficientCredits):
            create(meter.wrap(openai(provider), budget="$0.0005/month"))


def test_output_cap_is_written_where_the_caller_sets_none(ledger_path: Path, provider: FakeProvider) -> None:
    with metered(ledger_path, output_cap=700) as meter:
        client = meter.wrap(openai(provider), budget="$5/total")
        held = meter.receipt(create(client)).held
        assert provider.requests[0].body["max_tokens"] == 700
        assert held == upper(meter, max_tokens=700)
        create(client, max_tokens=900)
        assert provider.requests[1].body["max_tokens"] == 900


def test_the_cap_is_the_responses_own_field(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget="$0.01/day")
    client.responses.create(model="gpt-4o", input="Say something.")
    assert provider.requests[0].body["max_output_tokens"] >= 256


def test_several_choices_share_the_cap(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget="$0.04/day")
    receipt = still.receipt(create(client, n=3))
    cap = provider.requests[0].body["max_tokens"]
    assert receipt.held * 10**9 >= 3 * cap * 10_000
    assert cap >= 256


def test_a_soft_budget_binds_no_cap(still: Meter, provider: FakeProvider) -> None:
    still.set_budget(Budget("told", "0.01", "day", mode="soft"))
    client = still.wrap(openai(provider))
    for _ in range(8):
        create(client)
    assert not any("max_tokens" in request.body for request in provider.requests)
    [(held, spent)] = held_and_spent(still)
    assert held == 0
    assert spent > 10**7


SCHEMA = {"type": "json_schema", "name": "s", "schema": {"type": "object"}}


def test_plain_text_asked_for_by_name_is_no_structure(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget="$0.02/day")
    create(client, response_format={"type": "text"})
    assert 256 <= provider.requests[-1].body["max_tokens"] < 4_096
    for text in ({"format": {"type": "text"}}, {"verbosity": "low"}):
        client.responses.create(model="gpt-4o", input="hi", text=text)
        assert 256 <= provider.requests[-1].body["max_output_tokens"] < 4_096
    with pytest.raises(InsufficientCredits):
        client.responses.create(model="gpt-4o", input="hi", text={"format": SCHEMA})


def test_reasoning_that_is_shown_needs_as_much_output(ledger_path: Path, provider: FakeProvider) -> None:
    dear = {"input": 1, "output": 10}
    with metered(ledger_path, prices={"deepseek-reasoner": dear, "deepseek-chat": dear}) as meter:
        client = meter.wrap(openai(provider), budget="$0.02/day")
        create(client, model="deepseek-chat")
        with pytest.raises(InsufficientCredits):
            create(client, model="deepseek-reasoner")
        create(meter.wrap(openai(provider), budget="$0.08/month"), model="deepseek-reasoner")
        assert provider.requests[-1].body["max_tokens"] >= 4_096  # DeepSeek knows no other field


def test_a_cap_of_nothing_is_the_callers_own(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget="$0.01/day")
    answer = create(client, max_tokens=0)
    assert provider.requests[-1].body["max_tokens"] == 0
    receipt = still.receipt(answer)
    assert receipt.capped_at is None
    assert receipt.held < upper(still, max_tokens=1)
    create(client, max_tokens=-1)  # no limit at servers that know it
    assert provider.requests[-1].body["max_tokens"] >= 256


@pytest.mark.parametrize(("price", "cap"), [(0, None), (1, 16_384)], ids=["free", "priced"])
def test_what_is_free_needs_no_cap_where_nobody_knows_its_maximum(
    ledger_path: Path, provider: FakeProvider, price: int, cap: int | None
) -> None:
    with metered(ledger_path, prices={"local": {"input": price, "output": price}}) as meter:
        create(meter.wrap(openai(provider), budget="$5/day"), model="local")
        assert provider.requests[-1].body.get("max_tokens") == cap


def test_a_configured_cap_is_written_for_what_is_free_too(ledger_path: Path, provider: FakeProvider) -> None:
    with metered(ledger_path, prices={"local": {"input": 0, "output": 0}}, output_cap=700) as meter:
        create(meter.wrap(openai(provider), budget="$5/day"), model="local")
        assert provider.requests[-1].body["max_tokens"] == 700
