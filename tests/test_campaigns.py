"""The long forms of tests refuse what they would prove nothing with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(sys.platform == "win32", reason="they kill, fork and signal")
@pytest.mark.parametrize(
    "command",
    [
        "tests/crash/campaign.py --kills 0",
        "tests/crash/campaign.py --kills -1",
        "tests/simulation/campaign.py --steps 0",
        "tests/power/campaign.py --cuts 0",
        "tests/guard/bombard.py --signals 0",
        "benchmarks/ledger.py --rows 0",
        "benchmarks/ledger.py --rows -5",
        "benchmarks/peers.py nobody",
    ],
)
def test_a_campaign_that_would_prove_nothing_is_refused_in_a_sentence(command: str) -> None:
    done = subprocess.run(
        [sys.executable, *command.split()], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
