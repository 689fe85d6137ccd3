"""The long form of `test_simulation.py`: processes on one ledger against a model, by seeds that are printed.

    python tests/simulation/campaign.py --seeds 10 --steps 100000 [--first 1]

After each step every window is compared with the model, every 1,000 the sums of all rows, at the end each
row. It stops at the first difference, with the ledger left where the message says. The same seed takes the
same steps, up to whether a process that is killed had committed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from simulation.processes import Herd  # noqa: E402  after the path
from simulation.steps import Simulation  # noqa: E402


def simulate(
    path: Path,
    seed: int,
    steps: int,
    *,
    sums_every: int = 1000,
    forks: bool = True,
    prepare: Callable[[], None] | None = None,
) -> Simulation:
    """One run; raises AssertionError at the first difference. `prepare` is called in the first process, of
    which all others are forked before it has opened anything."""
    herd = Herd(path, prepare)
    try:
        simulation = Simulation(herd, seed, forks=forks)
        for number in range(1, steps + 1):
            try:
                simulation.step()
                if number % sums_every == 0:
                    simulation.compare_sums()
            except BaseException as error:
                error.add_note(f"seed {seed}, step {number}, ledger {path}")
                raise
        simulation.compare_sums()
        simulation.compare_rows()
        return simulation
    finally:
        herd.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="A ledger against a model of it.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--without-forks", action="store_true")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="farthing-simulation-"))
    total: Counter[str] = Counter()
    for seed in range(given.first, given.first + given.seeds):
        began = time.monotonic()
        simulation = simulate(folder / f"{seed}.db", seed, given.steps, forks=not given.without_forks)
        total += simulation.done
        sys.stdout.write(
            f"seed {seed}: {given.steps} steps in {time.monotonic() - began:.0f} s, "
            f"{len(simulation.model.calls)} calls\n"
        )
        sys.stdout.flush()
    sys.stdout.write(f"{dict(sorted(total.items()))}\nno difference\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
