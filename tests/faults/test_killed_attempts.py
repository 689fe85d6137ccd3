"""A program that is killed while its SDK tries a call once more leaves one row of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from farthing.ledger.calls.owner import LEASE
from farthing.testing import FakeProvider, Reply
from faults.world import ended, python
from ledger.making import Clock, opened

LOST = Reply(status=502, headers={"retry-after-ms": "1"})

TRYING = """
import sys
from openai import OpenAI
from faults.world import *
meter = metered(sys.argv[1])
client = OpenAI(base_url=sys.argv[2], api_key="test", max_retries=2)
ask(meter.wrap(client, budget=sys.argv[3] or None))
"""


@pytest.mark.parametrize("budget", ["$5/day", ""], ids=["budget", "no budget"])
def test_a_program_killed_in_its_third_attempt_leaves_one_row_that_counts_all_three(
    ledger_path: Path, provider: FakeProvider, budget: str
) -> None:
    provider.script(LOST, LOST)
    provider.hold()
    process = python(TRYING, ledger_path, provider.base_url, budget)
    for attempt in (1, 2, 3):
        assert len(provider.wait_for(attempt)) == attempt
        if attempt < 3:
            provider.release(1)
    ended(process)
    later = time.time_ns() + 2 * LEASE
    ledger = opened(ledger_path, Clock(later))
    ledger.expire(later)
    [row] = ledger.calls()
    assert (row["outcome"], row["attempts"]) == ("expired", 3)
    assert row["counted_nano"] == 3 * row["held_nano"] > row["cost_nano"] > 0
    assert json.loads(row["flags"]) == ["lost_attempts"]
    windows = [(window.spent, window.held) for window in ledger.windows()]
    assert windows == ([(row["counted_nano"], 0)] if budget else [])
    assert ledger.check() == []
    ledger.close()
    provider.release()
