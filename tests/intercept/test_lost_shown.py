"""What is only estimated of a cost, as attempts may have been billed that nobody heard of, is shown so."""

from __future__ import annotations

from decimal import Decimal

from farthing.engine import receipt_of_row
from farthing.testing import Reply
from intercept.kit import ASK, USUAL

LOST = Reply(status=502, headers={"retry-after-ms": "1"})


def _asked(kit, *replies, **call):
    kit.provider.script(*replies)
    client = kit.client(budget="$5/day", options={"max_retries": 3})
    return kit.meter.receipt(kit.run(client.chat.completions.create(**(ASK | call))))


def _of_row(kit, receipt):
    return receipt_of_row(kit.meter.engine.ledger.call(receipt.id))


def test_the_lines_of_a_cost_tell_what_was_stated_from_what_is_estimated(kit):
    receipt = _asked(kit, LOST, LOST, Reply())
    cost = receipt.breakdown
    assert (cost.usd, cost.cost_source, receipt.usage_source) == (receipt.cost, "priced", "reported")
    *stated, lost = cost.lines
    assert sum(line.amount for line in stated) * 10**9 == USUAL
    assert (lost.unit, lost.quantity, lost.amount) == ("lost_attempts", 2, 2 * lost.rate)
    assert sum(line.amount for line in cost.lines) == receipt.cost
    assert "2 attempts before the last may have been billed as well" in cost.notes[-1]
    assert "estimated" in cost.notes[-1]


def test_so_does_what_is_read_back_from_the_ledger(kit):
    receipt = _asked(kit, LOST, Reply())
    read = _of_row(kit, receipt)
    assert [(line.unit, line.amount) for line in read.breakdown.lines] == [
        (line.unit, line.amount) for line in receipt.breakdown.lines
    ]
    assert read.breakdown.usd == read.cost == receipt.cost
    assert "an attempt before the last" in read.breakdown.notes[-1]


def test_a_bill_that_the_provider_states_is_of_the_answer_alone(kit):
    for receipt in (_asked(kit, LOST, Reply(cost="0.5")),):
        for shown in (receipt, _of_row(kit, receipt)):
            assert shown.cost_source == "reported"
            assert shown.cost > Decimal("0.5")
            assert shown.breakdown.usd == shown.cost
            [lost] = shown.breakdown.lines
            assert shown.cost - lost.amount == Decimal("0.5")


def test_the_reports_count_the_call_as_estimated_and_its_holds_as_uncertain(kit):
    receipt = _asked(kit, LOST, Reply())
    _asked(kit, Reply())
    summary = kit.meter.reports.summary()
    assert summary.estimated_calls == 1
    assert summary.uncertain_usd == receipt.counted - receipt.cost > 0
    assert kit.rows()[0].units  # how many there were stands there
    with kit.meter.scope() as run:
        _asked(kit, LOST, Reply())
    assert run.calls == 1
    assert kit.meter.engine.ledger.run_totals(run.run).estimated == 1


def test_a_call_without_lost_attempts_has_no_such_line(kit):
    receipt = _asked(kit, Reply(status=429, headers={"retry-after-ms": "1"}), Reply())
    assert receipt.attempts == 2
    assert "lost_attempts" not in {line.unit for line in receipt.breakdown.lines}
    assert kit.meter.reports.summary().estimated_calls == 0
