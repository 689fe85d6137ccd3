"""Texts that would break what does not bind its parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

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
