"""What is left of a ledger when the power goes: in `safe` no money is forgotten, in `fast` some calls may be.

Runs the product on a SQLite whose disk loses what was not synced; `campaign.py` does it as often as wanted.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from power.campaign import durabilities
from power.cutting import Cuts, cut

if not os.environ.get("CI"):
    pytest.importorskip("apsw")


@pytest.fixture
def cuts(tmp_path: Path) -> Cuts:
    """Of a ledger that is `safe`."""
    return cut(tmp_path, 3, "safe", calls=60, cuts=40)


def test_safe_forgets_no_money(cuts: Cuts) -> None:
    """Each hold is there, and each bill above its hold; a settle may be lost, and then its hold expires."""
    assert cuts.cuts == 40
    assert cuts.overspent == 0
    assert cuts.lost["reserve"] == cuts.lost["overrun"] == 0
    assert cuts.lost["settle"] > 0
    assert cuts.checkpoints > 0


def test_safe_syncs_once_for_what_takes_money_and_not_for_what_gives_it_back(cuts: Cuts) -> None:
    """The log is synced, too, when it is begun anew after a checkpoint: by one write in many."""
    assert 1 <= cuts.syncs["reserve"] < 1.2
    assert 1 <= cuts.syncs["overrun"] < 1.2
    assert cuts.syncs["settle"] < 0.2


def test_fast_syncs_nothing_and_loses_the_last_calls_whole(tmp_path: Path) -> None:
    """What is left adds up: `cut` looks."""
    cuts = cut(tmp_path, 4, "fast", calls=60, cuts=40)
    assert cuts.lost["reserve"] > 0
    assert cuts.overspent > 0
    assert max(cuts.syncs.values()) < 0.2


def test_strict_loses_nothing(tmp_path: Path) -> None:
    if "strict" not in durabilities(tmp_path):
        pytest.skip("this release has no durability 'strict'")
    cuts = cut(tmp_path / "run", 5, "strict", calls=60, cuts=40)
    assert cuts.lost.total() == cuts.overspent == 0
    assert min(cuts.syncs.values()) >= 1


@pytest.mark.parametrize("control", ["--holds-unsynced", "--overruns-unsynced"])
def test_without_one_of_its_syncs_safe_forgets_money(tmp_path: Path, control: str) -> None:
    """The controls."""
    cuts = cut(tmp_path, 6, "safe", calls=120, cuts=80, control=control)
    assert cuts.overspent > 0
