"""The long form of `test_power_cuts.py`: what each durability keeps through a power cut, and what it costs.

    python tests/power/campaign.py --cuts 1000 [--seed 1]

Prints one line for each durability and each control, with their seeds. It stops at the first that lost what
it promises to keep, and at a control that did not, with status 1. Needs apsw, which is in the extra `test`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from farthing.errors import LedgerError  # noqa: E402  after the path
from ledger.making import opened  # noqa: E402
from power.cutting import Cuts, cut  # noqa: E402

CALLS = 80
CUTS = 40


def cuts(
    folder: Path, seed: int, wanted: int, durability: str, control: str | None = None
) -> tuple[Cuts, int]:
    """So many cuts, on a fresh ledger for each forty; and the seed of the last."""
    total, runs = Cuts(), 0
    syncs: Counter[str] = Counter()
    while total.cuts < wanted:
        last = seed + runs
        runs += 1
        try:
            found = cut(folder, last, durability, calls=CALLS, cuts=CUTS, control=control)
        except Exception as error:
            error.add_note(f"seed {last}, {durability} {control or ''}")
            raise
        shutil.rmtree(folder)
        total.cuts += found.cuts
        total.acknowledged += found.acknowledged
        total.lost += found.lost
        total.overspent += found.overspent
        total.checkpoints += found.checkpoints
        syncs.update(found.syncs)  # type: ignore[arg-type]
    total.syncs = {kind: round(value / runs, 2) for kind, value in syncs.items()}
    return total, last


def durabilities(folder: Path) -> list[str]:
    """Those that this release has."""
    try:
        opened(folder / "probe.db", durability="strict").close()
    except LedgerError:
        return ["fast", "safe"]
    return ["fast", "safe", "strict"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Cut the power, and look at what is left.")
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.cuts < 1:
        parser.error("cuts are 1 or more")
    with tempfile.TemporaryDirectory(prefix="farthing-power-") as place:
        folder = Path(place)
        kinds: list[tuple[str, str | None]] = [(each, None) for each in durabilities(folder)]
        for durability, control in [*kinds, ("safe", "--holds-unsynced"), ("safe", "--overruns-unsynced")]:
            found, last = cuts(folder / "run", given.seed, given.cuts, durability, control)
            sys.stdout.write(
                f"{durability} {control or ''}: seeds {given.seed} to {last}, {found.cuts} cuts; "
                f"lost {dict(found.lost)} of {dict(found.acknowledged)}; {found.overspent} times less "
                f"money known than charged; syncs of a write {found.syncs}; "
                f"{found.checkpoints} syncs of checkpoints\n"
            )
            sys.stdout.flush()
            if durability != "fast" and (found.overspent > 0) is (control is None):
                return 1
            if durability == "strict" and found.lost:
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
