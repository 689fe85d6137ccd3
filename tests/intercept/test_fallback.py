"""A cheaper model that is asked instead when the asked one does not fit into a budget."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import openai
import pytest

from farthing import Budget, InsufficientCredits
from farthing.testing import Reply
from intercept.kit import ASK, rows_of

MINI = "gpt-4o-mini"
USUAL_OF_MINI = 176 * 150 + 1_024 * 75 + 150 * 600
"""Nano-dollars of the usual answer of gpt-4o-mini: $0.15, $0.075 (cached) and $0.60 per million tokens."""

ROOM = "0.01"
"""USD: less than a whole gpt-4o of `ASK` ($0.02), more than a whole gpt-4o-mini ($0.0012)."""


def budget(limit: str = ROOM, **fields: Any) -> Budget:
    return Budget("tight", limit, "day", **({"fallback": MINI, "wait": 0} | fields))


def ask(kit: Any, client: Any, **call: Any) -> Any:
    return kit.run(client.chat.completions.create(**(ASK | call)))


def test_what_does_not_fit_is_asked_of_the_fallback(kit, caplog):
    client = kit.client(budget=budget())
    with caplog.at_level(logging.INFO, "farthing"):
        answer = ask(kit, client)
    [request] = kit.provider.requests
    assert request.body == {**ASK, "model": MINI}
    receipt = kit.meter.receipt(answer)
    assert (receipt.fallback_from, receipt.requested_model, receipt.capped_at) == ("gpt-4o", MINI, None)
    assert receipt.model.startswith(MINI)
    assert receipt.cost * 10**9 == USUAL_OF_MINI
    assert receipt.held < Decimal("0.002")
    row = kit.row()
    assert (row.fallback_from, row.cost_nano) == ("gpt-4o", USUAL_OF_MINI)
    assert [window.spent for window in kit.meter.windows()] == [USUAL_OF_MINI]
    assert any(MINI in record.getMessage() for record in caplog.records)


def test_what_fits_is_asked_of_the_model_that_was_asked_for(kit):
    answer = ask(kit, kit.client(budget=budget("5")))
    assert kit.provider.requests[0].body["model"] == "gpt-4o"
    assert kit.meter.receipt(answer).fallback_from is None


def test_a_stream_too(kit):
    stream = ask(kit, kit.client(budget=budget()), stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in kit.items(stream) if c.choices)
    assert kit.provider.requests[0].body["model"] == MINI
    assert kit.meter.receipt(stream).fallback_from == "gpt-4o"
    assert kit.row().cost_nano == USUAL_OF_MINI


def test_responses_too(kit):
    client = kit.client(budget=budget())
    answer = kit.run(client.responses.create(model="gpt-4o", input="Hi.", max_output_tokens=2_000))
    assert kit.provider.requests[0].body["model"] == MINI
    assert kit.meter.receipt(answer).fallback_from == "gpt-4o"


def test_the_callers_request_is_left_as_it_is(kit):
    client = kit.client(budget=budget())
    body = {**ASK, "messages": [dict(message) for message in ASK["messages"]]}
    kit.run(client.chat.completions.create(**body))
    assert body == ASK


def test_a_model_in_extra_body_is_replaced_as_well(kit):
    client = kit.client(budget=budget())
    ask(kit, client, model="gpt-4o-mini", extra_body={"model": "gpt-4o", "user": "u"})
    [request] = kit.provider.requests
    assert (request.body["model"], request.body["user"]) == (MINI, "u")
    assert kit.row().fallback_from == "gpt-4o"


def test_budgets_are_matched_anew(kit):
    kit.meter.set_budget(Budget("dear", ROOM, "day", model="gpt-4o", fallback=MINI))
    kit.meter.set_budget(Budget("cheap", 1, "day", model="gpt-4o-mini*"))
    ask(kit, kit.client())
    spent = {window.budget: window.spent for window in kit.meter.windows()}
    assert spent.get("dear", 0) == 0
    assert spent["cheap"] == USUAL_OF_MINI


def test_a_budget_of_the_fallback_refuses_it(kit):
    kit.meter.set_budget(Budget("dear", ROOM, "day", model="gpt-4o", fallback=MINI))
    kit.meter.set_budget(Budget("cheap", "0.0001", "day", model="gpt-4o-mini*", fallback="gpt-4.1-nano"))
    client = kit.client()
    with pytest.raises(InsufficientCredits) as caught:
        ask(kit, client)
    assert (caught.value.budget, caught.value.model) == ("dear", "gpt-4o")
    assert kit.provider.requests == []


def test_the_fallback_is_preferred_to_a_cap(kit):
    client = kit.client(budget=budget("0.05"))
    answer = ask(kit, client, max_tokens=None)
    body = kit.provider.requests[0].body
    assert body["model"] == MINI
    assert "max_tokens" not in body or body["max_tokens"] is None
    assert kit.meter.receipt(answer).capped_at is None


def test_a_cap_is_written_where_the_fallback_does_not_fit_whole_either(kit):
    client = kit.client(budget=budget("0.009"))
    answer = ask(kit, client, max_tokens=None)
    body = kit.provider.requests[0].body
    receipt = kit.meter.receipt(answer)
    assert (body["model"], body["max_tokens"]) == ("gpt-4o", receipt.capped_at)
    assert receipt.fallback_from is None


def test_a_soft_budget_does_not_fall_back(kit):
    ask(kit, kit.client(budget=budget("0.0001", mode="soft")))
    assert kit.provider.requests[0].body["model"] == "gpt-4o"


@pytest.mark.parametrize(
    ("fallback", "call"),
    [
        ("nobody-knows-1", {}),
        ("gpt-4", {"max_tokens": 9_000}),
        ("gpt-4o", {}),
    ],
    ids=["no price", "less output", "itself"],
)
def test_a_fallback_that_cannot_answer_is_not_asked(kit, fallback, call):
    client = kit.client(budget=budget(fallback=fallback))
    with pytest.raises(InsufficientCredits) as caught:
        ask(kit, client, **call)
    assert caught.value.model == "gpt-4o"
    assert kit.provider.requests == []
    assert sum(row["calls"] for row in kit.meter.engine.ledger.refusals()) == 1


def test_an_address_that_names_the_model_has_no_fallback(kit):
    client = kit.client(kit.provider.base_url + "/deployments/mine", budget=budget())
    with pytest.raises(InsufficientCredits):
        ask(kit, client)


def test_a_fallback_that_fails_is_booked_as_itself(kit):
    kit.provider.script(Reply(status=502))
    client = kit.client(budget=budget())
    with pytest.raises(openai.InternalServerError):
        ask(kit, client)
    [row] = rows_of(kit.meter)
    assert (row.outcome, row.fallback_from, row.requested_model) == ("unknown", "gpt-4o", MINI)


@pytest.mark.one_colour("a hold by hand has no request that could be changed")
def test_a_hold_by_hand_does_not_fall_back(kit_sync):
    kit_sync.meter.set_budget(budget())
    with pytest.raises(InsufficientCredits):
        kit_sync.meter.reserve(model="gpt-4o", input_tokens=10, max_output_tokens=2_000)
