"""The long form of `test_power_cuts.py`: what each durability keeps through a power cut, and what it costs.

    python tests/power/campaign.py --cuts 1000 [--seed 1]

Prints one line for each durability and each control. The status is 0 if none lost what it promises to keep
and every control did. Needs apsw, which is in the extra `test`.
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


def cuts(folder: Path, seed: int, wanted: int, durability: str, control: str | None = None) -> Cuts:
    """So many cuts, on a fresh ledger for each forty."""
    total, runs = Cuts(), 0
    syncs: Counter[str] = Counter()
    while total.cuts < wanted:
        runs += 1
        found = cut(folder, seed + runs, durability, calls=CALLS, cuts=CUTS, control=control)
        shutil.rmtree(folder)
        total.cuts += found.cuts
        total.acknowledged += found.acknowledged
        total.lost += found.lost
        total.overspent += found.overspent
        total.checkpoints += found.checkpoints
        syncs.update(found.syncs)  # type: ignore[arg-type]
    total.syncs = {kind: round(value / runs, 2) for kind, value in syncs.items()}
    return total


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
    broken = 0
    with tempfile.TemporaryDirectory(prefix="farthing-power-") as place:
        folder = Path(place)
        kinds: list[tuple[str, str | None]] = [(each, None) for each in durabilities(folder)]
        for durability, control in [*kinds, ("safe", "--holds-unsynced"), ("safe", "--overruns-unsynced")]:
            found = cuts(folder / "run", given.seed, given.cuts, durability, control)
            sys.stdout.write(
                f"{durability} {control or ''}: {found.cuts} cuts; lost {dict(found.lost)} of "
                f"{dict(found.acknowledged)}; {found.overspent} times less money known than charged; "
                f"syncs of a write {found.syncs}; {found.checkpoints} syncs of checkpoints\n"
            )
            sys.stdout.flush()
            if durability != "fast":
                broken += (found.overspent > 0) is (control is None)
            if durability == "strict":
                broken += bool(found.lost)
    return int(broken > 0)


if __name__ == "__main__":
    raise SystemExit(main())
