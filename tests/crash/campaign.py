"""The long form of `test_kills.py`: as many kills as wanted, from a seed that is printed.

    python tests/crash/campaign.py --kills 300 [--seed 1000] [--durability safe]

Each kill takes about two seconds. It stops at the first that broke a promise, with the ledger left where the
message says; the same seed does the same again, up to the scheduling of threads.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from crash.killing import Tally, every_request_has_a_row, everything_is_there, kill_one  # noqa: E402  after the path
from farthing.testing import FakeClock, FakeProvider  # noqa: E402
from guard.making import USAGE  # noqa: E402

FRESH_EVERY = 25
"""Kills of one ledger; the time of a check grows with its rows."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill processes at work and look at what they leave.")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--durability", choices=["fast", "safe"], default="fast")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="farthing-kills-"))
    total, say = Tally(), sys.stdout.write
    with FakeProvider(usage=USAGE) as provider:
        for number in range(given.kills):
            seed = given.seed + number
            if number % FRESH_EVERY == 0:
                path, clock, tally = folder / f"{number}.db", FakeClock(), Tally()
            try:
                kill = kill_one(path, provider, seed, durability=given.durability, now=clock.time_ns())
                everything_is_there(path, kill, clock, tally)
                every_request_has_a_row(path, kill, seed, clock)
            except BaseException:
                say(f"seed {seed} broke a promise; the ledger is {path}\n")
                raise
            total.kills += 1
            total.with_open_holds += kill.held_open > 0
            total.acknowledged |= kill.acknowledged
            total.expired += kill.held_open
            if total.kills % 10 == 0 or total.kills == given.kills:
                say(
                    f"{total.kills} kills, {total.with_open_holds} with open holds; acknowledged and there: "
                    f"{len(total.acknowledged)}; booked as expired: {total.expired}\n"
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
