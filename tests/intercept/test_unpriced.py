"""Models whose price nobody knows."""

from __future__ import annotations

import logging

import pytest

from farthing import Meter, UnpricedModel
from farthing.testing import Reply
from intercept.kit import ASK

NEW = {**ASK, "model": "farthing-9000"}


def test_without_a_budget_the_cost_is_unknown_and_one_line_says_what_to_do(kit, caplog):
    client = kit.client()
    for _ in range(2):
        answer = kit.run(client.chat.completions.create(**NEW))
    for row in kit.rows():
        assert (row.cost_nano, row.cost_source, row.usage_source) == (None, "unpriced", "reported")
        assert (row.input_tokens, row.counted_nano) == (1200, 0)
    assert kit.meter.receipt(answer).cost is None
    (line,) = [r for r in caplog.records if r.name == "farthing"]
    assert line.levelno == logging.WARNING
    assert "farthing-9000" in line.getMessage()
    assert "prices=" in line.getMessage()


def test_a_hard_budget_refuses_it_and_counts_the_refusal(kit):
    client = kit.client(budget="$5/day")
    with pytest.raises(UnpricedModel, match=r"Meter\(prices="):
        kit.run(client.chat.completions.create(**NEW))
    assert kit.provider.requests == []
    assert kit.rows() == []
    (refusal,) = kit.meter.engine.ledger.refusals()
    assert (refusal["model"], refusal["reason"]) == ("farthing-9000", "unpriced")


def test_it_may_be_allowed(kit, tmp_path):
    with Meter(tmp_path / "l.db", on_unpriced="allow", durability="fast") as meter:
        client = meter.wrap(kit.plain(), budget="$5/day")
        answer = kit.run(client.chat.completions.create(**NEW))
        assert meter.receipt(answer).flags == ("unpriced_allowed",)
        assert meter.receipt(answer).cost is None


def test_a_price_of_the_users_own_is_used(kit, tmp_path):
    prices = {"farthing-*": {"input": 1, "output": 2}}
    with Meter(tmp_path / "l.db", prices=prices, durability="fast") as meter:
        kit.run(meter.wrap(kit.plain(), budget="$5/day").chat.completions.create(**NEW))
        (row,) = meter.engine.ledger.calls()
        assert row["cost_source"] in {"priced", "partial"}
        assert row["cost_nano"] == 1_200_000 + 300_000


def test_where_another_name_answers_that_has_no_price_the_row_says_which_was_taken(kit):
    kit.provider.script(Reply(model="acme-7"))
    answer = kit.run(kit.client().chat.completions.create(**ASK))
    receipt = kit.meter.receipt(answer)
    assert receipt.model == "acme-7"
    assert receipt.cost is not None
    assert any("acme-7" in note for note in receipt.breakdown.notes)
