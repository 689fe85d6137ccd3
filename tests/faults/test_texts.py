"""Texts that would break what does not bind its parameters."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing import InsufficientCredits, settings
from farthing.ledger.calls.codes import clean
from farthing.records import Budget
from farthing.testing import FakeProvider
from faults.world import COST, ask, client_of, metered

HOSTILE = {
    "quotes": "'; DROP TABLE call; --",
    "double": '" OR ""="',
    "brackets": "[a](b){c}%s ? :name $1",
    "emoji": "\U0001f4b8\U0001f469\u200d\U0001f680",
    "right to left": "\u202eabc",
    "long": "x" * 1_000_000,
}
CHANGED = {"nul": ("a\0b", "a\ufffdb"), "lone surrogate": ("a\ud800b", clean("a\ud800b"))}
"""What no store can hold is replaced."""


@pytest.mark.parametrize(
    ("given", "kept"),
    [*((text, text) for text in HOSTILE.values()), *CHANGED.values()],
    ids=[*HOSTILE, *CHANGED],
)
def test_a_text_is_what_it_was_wherever_it_comes_in(
    ledger_path: Path, provider: FakeProvider, given: str, kept: str
) -> None:
    with metered(ledger_path, budgets=[Budget("all", 5, per="tag:who")]) as meter:
        client = client_of(meter, provider, account=given, tags={"who": given, given: "value"}, name=given)
        name = given if len(given) <= 200 and "\0" not in given else "budget"
        with meter.scope(name=given, budget=Budget(name, 3, "day")) as run:
            answer = ask(client)
        receipt = meter.receipt(answer)
        assert receipt.account in {given, kept}
        row = meter.engine.ledger.call(receipt.id)
        assert row is not None
        assert (row["account"], row["cost_nano"]) == (kept, COST)
        [read] = meter.reports.records(account=given)
        assert read.tags == {"who": kept, kept: "value"}
        assert run.calls == 1
        assert {(w.budget, w.key, w.spent) for w in meter.engine.ledger.windows()} == {
            ("all", kept, COST),
            (clean(name), "", COST),
        }
        assert meter.reports.spend(by="account", account=given)[0].calls == 1
        assert meter.engine.ledger.check() == []


@pytest.mark.parametrize("text", [given for given, _ in CHANGED.values()], ids=[*CHANGED])
@pytest.mark.parametrize(
    "of", ["account", "tag", "name of a tag", "per tag", "per account", "provider", "model"]
)
def test_a_budget_on_a_text_that_is_replaced_binds_its_calls_and_keeps_what_they_spent(
    ledger_path: Path, of: str, text: str
) -> None:
    fields: dict[str, Any]
    call: dict[str, Any]
    fields, call = {
        "account": ({"account": text}, {"account": text}),
        "tag": ({"tags": {"k": text}}, {"tags": {"k": text}}),
        "name of a tag": ({"tags": {text: "v"}}, {"tags": {text: "v"}}),
        "per tag": ({"per": f"tag:{text}"}, {"tags": {text: text}}),
        "per account": ({"per": "account"}, {"account": text}),
        "provider": ({"provider": text}, {"provider": text}),
        "model": ({"model": text}, {"model": text}),
    }[of]
    asked = {"model": "gpt-4o", "provider": "openai", "amount": "0.9"} | call
    with metered(ledger_path) as meter:
        meter.reserve(**asked, operation="other").void()
        meter.set_budget(Budget("b", 1, "month", **fields))
        held = meter.reserve(**asked)
        with pytest.raises(InsufficientCredits):
            meter.reserve(**asked)
        held.void()
        meter.record(
            cost="0.9", usage={"input_tokens": 1}, **{k: v for k, v in asked.items() if k != "amount"}
        )
        for again in ({}, {"timezone": "Europe/Berlin"}, {"uncertain": "expected"}):
            meter.set_budget(Budget("b", 1, "month", **fields, **again))
            with pytest.raises(InsufficientCredits):
                meter.reserve(**asked)
        assert meter.remove_budget("b")
        meter.reserve(**asked).void()  # nothing else binds it
        meter.set_budget(Budget("b", 1, "month", **fields))
        with pytest.raises(InsufficientCredits):
            meter.reserve(**asked)
        if of != "per account":
            other = {"account": "ab", "tags": {"k": "ab"}, "provider": "azure", "model": "gpt-4o-mini"}
            meter.reserve(**asked | other).void()
        assert meter.engine.ledger.check() == []


def test_a_hard_budget_on_a_text_that_is_replaced_binds_a_wrapped_client(
    ledger_path: Path, provider: FakeProvider
) -> None:
    text = "a\ud800b"
    budgets = [Budget("b", "0.0045", account=text), Budget("t", 9, tags={text: text})]
    with metered(ledger_path, budgets=budgets) as meter:
        client = client_of(meter, provider, account=text, tags={text: text})
        ask(client)
        with pytest.raises(InsufficientCredits):
            ask(client)
        with meter.scope(account="other"):
            ask(client)
        assert {(w.budget, w.spent) for w in meter.windows()} == {("b", COST), ("t", 2 * COST)}


def test_a_call_whose_texts_were_not_replaced_would_go_past_its_budget(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the two above."""
    monkeypatch.setattr(settings, "clean", lambda text: text)
    with metered(ledger_path, budgets=[Budget("b", 1, account="a\ud800b")]) as meter:
        for _ in range(2):
            meter.reserve(model="gpt-4o", amount="0.9", account="a\ud800b").void()
            meter.record(model="gpt-4o", usage={"input_tokens": 1}, cost="0.9", account="a\ud800b")
        assert meter.reports.summary().total_cost_usd == Decimal("1.8")


def test_a_budget_is_found_by_the_name_that_it_was_given(ledger_path: Path) -> None:
    name = "a\ud800b"
    with metered(ledger_path) as meter:
        meter.set_budget(Budget(name, 1))
        assert meter.budget(name) == meter.budget(Budget(name, 1).name) == meter.budgets()[0]
        assert meter.remove_budget(name)
        assert meter.budgets() == []


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a\0b", "\U0001f4b8", "x" * 100_000])
def test_a_model_of_any_name_is_booked(ledger_path: Path, provider: FakeProvider, name: str) -> None:
    with metered(ledger_path) as meter:
        meter.record(model=name, usage={"input_tokens": 1}, transaction_id=name, account=name)
        meter.record(model=name, usage={"input_tokens": 1}, transaction_id=name, account=name)
        assert meter.engine.ledger.totals()[0].calls == 1
        assert len(meter.reports.records(model=name)) == 1
        assert meter.engine.ledger.check() == []


def test_numbers_that_no_column_holds_are_unknown_and_the_answer_is_returned(
    ledger_path: Path,
) -> None:
    usage = {"prompt_tokens": 2**70, "completion_tokens": 5, "total_tokens": 2**70}
    with metered(ledger_path, budgets=[Budget("all", 5)]) as meter:
        hold = meter.reserve(model="gpt-4o", amount=1)
        try:
            hold.settle({"model": "gpt-4o", "usage": usage})
        except ValueError:  # a hold by hand is told what it was given
            hold.void()
        assert meter.engine.ledger.totals()[0].calls == 1
        assert [w.held for w in meter.engine.ledger.windows()] == [0]
        assert meter.engine.ledger.check() == []
