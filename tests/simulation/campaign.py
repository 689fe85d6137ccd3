"""The long form of `test_simulation.py`: processes on one ledger against a model, by seeds that are printed.

    python tests/simulation/campaign.py --seeds 10 --steps 100000 [--first 1] [--jobs 2]

After each step every window is compared with the model, every 1,000 the sums of all rows, at the end each
row. It stops at the first difference, with the ledger left where the message says. The same seed takes the
same steps, up to whether a process that is killed had committed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


def one(folder: Path, seed: int, steps: int, *, forks: bool) -> Counter[str]:
    """One seed in this process; what it did."""
    began = time.monotonic()
    simulation = simulate(folder / f"{seed}.db", seed, steps, forks=forks)
    took = time.monotonic() - began
    say(f"seed {seed}: {steps} steps in {took:.0f} s, {len(simulation.model.calls)} calls")
    return simulation.done


def apart(seed: int, steps: int, *, forks: bool) -> Counter[str]:
    """One seed in a process of its own."""
    options = ["--seeds", "1", "--first", str(seed), "--steps", str(steps)]
    ended = subprocess.run(
        [sys.executable, __file__, *options, *([] if forks else ["--without-forks"])],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise SystemExit(f"{ended.stdout}{ended.stderr}")
    line, did, _ = ended.stdout.splitlines()
    say(line)
    return Counter(json.loads(did))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="A ledger against a model of it.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="seeds side by side")
    parser.add_argument("--without-forks", action="store_true")
    given = parser.parse_args()
    if min(given.seeds, given.steps, given.jobs) < 1:
        parser.error("seeds, steps and jobs are 1 or more")
    seeds, forks = range(given.first, given.first + given.seeds), not given.without_forks
    total: Counter[str] = Counter()
    if given.jobs == 1:
        folder = Path(tempfile.mkdtemp(prefix="farthing-simulation-"))
        for seed in seeds:
            total += one(folder, seed, given.steps, forks=forks)
    else:
        with ThreadPoolExecutor(given.jobs) as pool:
            for did in pool.map(lambda seed: apart(seed, given.steps, forks=forks), seeds):
                total += did
    say(json.dumps(total, sort_keys=True))
    say("no difference")
    if given.jobs == 1:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
