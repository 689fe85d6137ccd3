"""What a process that has ended still holds, by its own fault or not, until its lease has run out."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from farthing import Budget, InsufficientCredits
from farthing.testing import FakeClock
from faults.world import PATIENCE, ended, metered, python, says

HOLDS = """
import sys
from farthing.testing import FakeClock
from faults.world import *
meter = metered(sys.argv[1], clock=FakeClock())
hold = meter.reserve(model="gpt-4o", amount="0.75")
if sys.argv[2] == "settled":
    hold.settle({"input_tokens": 5, "output_tokens": 300})
print("held", flush=True)
sys.stdin.readline()
"""
"""A program that holds most of the budget of the tests below; it ends by itself when it is told to."""

LEASE = timedelta(minutes=10, seconds=1)


@pytest.mark.parametrize("how", ["exit", "kill", "settled"])
def test_a_hold_that_nobody_settled_stays_until_the_lease_of_its_process_ends(
    ledger_path: Path, how: str
) -> None:
    clock = FakeClock()
    with metered(ledger_path, clock=clock, budgets=[Budget("all", 1, "day")]) as meter:
        meter.warm()
        process = python(HOLDS, ledger_path, how)
        assert says(process) == "held"
        if how == "kill":
            ended(process)
        else:
            process.communicate("end\n", timeout=PATIENCE)
            assert process.returncode == 0
        if how == "settled":  # the control: what was settled is free
            meter.reserve(model="gpt-4o", amount="0.75").void()
            return
        with pytest.raises(InsufficientCredits) as caught:
            meter.reserve(model="gpt-4o", amount="0.75")
        refusal = caught.value
        assert (refusal.transient, refusal.held) == (True, Decimal("0.75"))
        assert "what a killed process held is free after some ten minutes" in str(refusal)
        clock.advance(LEASE)
        meter.engine.tick()
        assert [row["outcome"] for row in meter.engine.ledger.calls()] == ["expired"]
        with pytest.raises(InsufficientCredits) as caught:
            meter.reserve(model="gpt-4o", amount="0.75")
        assert (caught.value.transient, caught.value.held) == (False, 0)
