"""What a refusal says, to the program and to the account."""

from __future__ import annotations

import contextlib
import gc
import json
import pickle
import sys
import weakref
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from farthing import Budget, InsufficientCredits, Meter, Unmeterable, UnpricedModel
from farthing.testing import FakeClock, FakeProvider
from guard.making import CALL, COST, Burst, ask, held_and_spent, limit_for, openai, upper

SPENT = Decimal(COST) / 10**9


def refused(client: Any, **call: Any) -> InsufficientCredits:
    answer = ask(client, **call)
    assert isinstance(answer, InsufficientCredits)
    return answer


@pytest.fixture
def spent(still: Meter, provider: FakeProvider, clock: FakeClock) -> InsufficientCredits:
    """A refusal at nine in the evening, of a budget for one call that is spent."""
    clock.advance(21 * 3600)
    still.set_budget(Budget("daily", limit_for(still, 1), "day"))
    client = still.wrap(openai(provider), account="acme")
    ask(client)
    return refused(client)


def test_every_field_of_a_refusal(still: Meter, spent: InsufficientCredits) -> None:
    limit = limit_for(still, 1)
    assert (spent.kind, spent.budget, spent.account, spent.model) == ("budget", "daily", "acme", "gpt-4o")
    assert (spent.limit, spent.spent, spent.held) == (limit, SPENT, 0)
    assert spent.remaining == limit - SPENT
    assert spent.required == upper(still)
    assert spent.resets_at == datetime(2026, 1, 2, tzinfo=UTC)
    assert spent.retry_after == 3 * 3600
    assert spent.transient is False


def test_the_message_is_one_sentence_with_what_to_do(spent: InsufficientCredits) -> None:
    said = str(spent)
    assert said.startswith("a call to gpt-4o needs $0.0030")
    assert "budget 'daily'" in said
    assert "wait until 2026-01-02 00:00 UTC, raise the limit, or ask for less output" in said
    assert "\n" not in said
    assert ". " not in said


def test_to_dict_says_everything(spent: InsufficientCredits) -> None:
    said = spent.to_dict()
    assert said["error"] == "insufficient_credits"
    assert said["resets_at"] == "2026-01-02T00:00:00+00:00"
    assert said["limit"] == spent.limit
    assert {name: said[name] for name in ("budget", "retry_after", "transient", "required")} == {
        "budget": "daily",
        "retry_after": 10_800,
        "transient": False,
        "required": spent.required,
    }


def test_a_refusal_survives_pickling(spent: InsufficientCredits) -> None:
    copy = pickle.loads(pickle.dumps(spent))
    assert type(copy) is InsufficientCredits
    assert (str(copy), copy.to_dict(), copy.public_dict()) == (
        str(spent),
        spent.to_dict(),
        spent.public_dict(),
    )


def test_a_refusal_leaves_no_row_but_is_counted(still: Meter, spent: InsufficientCredits) -> None:
    assert len(still.engine.ledger.calls()) == 1
    [row] = still.engine.ledger.refusals()
    assert (row["account"], row["model"], row["budget"], row["calls"]) == ("acme", "gpt-4o", "daily", 1)


def test_money_that_is_only_held_is_transient(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget=f"${limit_for(still, 1)}/day")
    provider.hold()
    burst = Burst([lambda: ask(client)])
    provider.wait_for(1)
    refusal = refused(client)
    assert refusal.transient
    assert (refusal.spent, refusal.held) == (0, upper(still))
    assert "try again when they have ended" in str(refusal)
    provider.release()
    burst.join()
    assert not refused(client).transient


@pytest.mark.parametrize(
    ("limit", "enough"), [(0, False), ("0.49", False), ("0.5", True)], ids=["none", "too_little", "control"]
)
def test_who_needs_more_than_the_whole_limit_is_not_told_to_wait(
    still: Meter, limit: str, enough: bool
) -> None:
    still.set_budget(Budget("daily", limit, "day"))
    still.record(model="gpt-4o", usage={"input_tokens": 1}, cost="0.49")
    with pytest.raises(InsufficientCredits) as caught:
        still.reserve(model="gpt-4o", amount="0.5")
    refusal = caught.value
    assert refusal.required is not None
    assert refusal.limit is not None
    assert (refusal.required <= refusal.limit) is enough
    assert ("wait until 2026-01-02 00:00 UTC" in str(refusal)) is enough
    assert ("not even the whole limit is enough" in str(refusal)) is not enough
    assert "raise the limit, or ask for less output" in str(refusal)
    assert refusal.resets_at == datetime(2026, 1, 2, tzinfo=UTC)


def test_nor_is_a_function_whose_budget_has_no_money_at_all(still: Meter) -> None:
    work = still.track_usage(lambda: None, model="gpt-4o", budget=Budget("none", 0, "day"))
    with pytest.raises(InsufficientCredits, match="not even the whole limit is enough"):
        work()


def test_both_forms_of_a_refusal_can_be_written_as_json_with_the_exact_amounts(
    still: Meter, provider: FakeProvider
) -> None:
    refusal = refused(still.wrap(openai(provider), account="acme", budget="$0.0001/day"))
    for form in (refusal.to_dict(), refusal.public_dict()):
        said = json.loads(json.dumps(form, default=str))
        assert (Decimal(said["limit"]), Decimal(said["required"])) == (refusal.limit, refusal.required)
        assert said["message"] == str(refusal)


def test_what_never_resets_says_so(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget="$0.0001/total")
    refusal = refused(client)
    assert refusal.resets_at is None
    assert refusal.retry_after is None
    assert "wait" not in str(refusal)


@pytest.mark.parametrize(
    ("budget", "shown"),
    [
        (Budget("all", "0.0001", "day"), False),
        (Budget("theirs", "0.0001", "day", account="acme"), True),
        (Budget("each", "0.0001", "day", per="account"), True),
        (Budget("feature", "0.0001", "day", per="tag:feature"), False),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_an_account_sees_the_amounts_of_its_own_standing_budgets_only(
    still: Meter, provider: FakeProvider, budget: Budget, shown: bool
) -> None:
    still.set_budget(budget)
    refusal = refused(still.wrap(openai(provider), account="acme", tags={"feature": "f"}))
    assert shows_amounts(refusal) is shown


def test_an_account_sees_the_amounts_of_its_own_attached_budgets_only(
    still: Meter, provider: FakeProvider
) -> None:
    own = still.wrap(openai(provider), account="acme", budget="$0.0001/day")
    assert shows_amounts(refused(own))
    with still.scope(account="other"):
        assert not shows_amounts(refused(own))
    shared = still.wrap(openai(provider), account="acme", budget=Budget("house", "0.0001", "day"))
    assert not shows_amounts(refused(shared))


def shows_amounts(refusal: InsufficientCredits) -> bool:
    public = refusal.public_dict()
    amounts = [public[name] for name in ("limit", "spent", "held", "remaining")]
    assert amounts.count(None) in {0, 4}
    hidden = amounts.count(None) == 4
    if hidden:
        assert "$" not in public["message"]
        assert public["budget"] is None
    assert (public["account"], public["model"]) == (refusal.account, "gpt-4o")
    return not hidden


def test_an_unpriced_model_is_refused_under_a_hard_budget_only(still: Meter, provider: FakeProvider) -> None:
    ask(still.wrap(openai(provider)), model="nobody-knows-1")
    client = still.wrap(openai(provider), budget="$5/day")
    with pytest.raises(UnpricedModel):
        ask(client, model="nobody-knows-1")
    assert len(provider.requests) == 1
    assert still.engine.ledger.calls()[0]["cost_nano"] is None


def test_a_fault_of_our_own_lets_no_call_past_a_hard_budget(
    still: Meter, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = still.wrap(openai(provider))
    monkeypatch.setattr(sys.modules["farthing.quote"], "quote", lambda *_, **__: 1 / 0)
    ask(client)
    assert len(provider.requests) == 1
    still.set_budget(Budget("all", 5, "day"))
    with pytest.raises(Unmeterable):
        client.chat.completions.create(**CALL)
    assert len(provider.requests) == 1


def test_a_fault_of_our_own_after_the_reserve_leaves_no_hold(
    still: Meter, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = still.wrap(openai(provider), budget="$5/day")
    monkeypatch.setattr(sys.modules["farthing.engine.life"], "_body", lambda *_: 1 / 0)
    with pytest.raises(Unmeterable):
        client.chat.completions.create(**CALL)
    still.close()
    assert held_and_spent(still) == [(0, 0)]
    assert [row["outcome"] for row in still.engine.ledger.calls()] == ["error"]


@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "by a client"])
def test_a_refusal_keeps_nothing_of_its_caller_alive(
    still: Meter, provider: FakeProvider, by_hand: bool
) -> None:
    """Its frames, and the connections in them, are not garbage that waits to be collected."""
    still.set_budget(Budget("all", 0, "day"))
    client = still.wrap(openai(provider))

    class Held:
        pass

    def refused_call() -> weakref.ref[Held]:
        held = Held()
        with contextlib.suppress(InsufficientCredits):
            if by_hand:
                still.reserve(model="gpt-4o", amount=1)
            else:
                client.chat.completions.create(**CALL)
        return weakref.ref(held)

    gc.disable()
    try:
        assert refused_call()() is None
    finally:
        gc.enable()
