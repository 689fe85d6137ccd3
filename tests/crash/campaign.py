"""The long form of `test_kills.py`: as many kills as wanted, from a seed that is printed.

    python tests/crash/campaign.py --kills 1000 [--seed 1000] [--durability fast|safe|both]

A kill takes about a second; every ten it prints their seeds and the figures so far. It stops at the first
that broke a promise, with the ledger left where the message says; the same seed does the same again, up to
the scheduling of threads. It fails, too, if fewer than a third of the kills left holds open.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from crash.killing import Nursery, Tally, every_request_has_a_row, everything_is_there, kill_one  # noqa: E402  after the path
from farthing.testing import FakeClock  # noqa: E402

FRESH_EVERY = 25
"""Kills of one ledger; the time of a check grows with its rows."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill processes at work and look at what they leave.")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--durability", choices=["fast", "safe", "both"], default="both")
    given = parser.parse_args()
    if given.kills < 1:
        parser.error("kills are 1 or more")
    folder = Path(tempfile.mkdtemp(prefix="farthing-kills-"))
    total, say, began = Tally(), sys.stdout.write, time.monotonic()
    with Nursery(folder) as nursery:
        for number in range(given.kills):
            seed = given.seed + number
            if number % FRESH_EVERY == 0:
                path, clock, tally = folder / f"{number}.db", FakeClock(), Tally()
                durability = ["fast", "safe"][number // FRESH_EVERY % 2]
                if given.durability != "both":
                    durability = given.durability
            try:
                kill = kill_one(path, nursery, seed, durability=durability, now=clock.time_ns())
                everything_is_there(path, kill, clock, tally)
                every_request_has_a_row(path, kill, seed, clock)
            except Exception:
                say(f"seed {seed} ({durability}) broke a promise; the ledger is {path}\n")
                raise
            total.add(kill)
            if total.kills % 10 == 0 or total.kills == given.kills:
                say(
                    f"seeds {given.seed} to {seed}: {total.kills} kills in {time.monotonic() - began:.0f} s, "
                    f"{total.with_open_holds} with open holds; acknowledged and there, once each: "
                    f"{len(total.acknowledged)}; booked as expired: {total.expired}\n"
                )
                sys.stdout.flush()
    shutil.rmtree(folder)
    enough = total.with_open_holds * 3 >= total.kills
    say(f"{'every promise was kept' if enough else 'too few kills left holds open'}\n")
    return int(not enough)


if __name__ == "__main__":
    raise SystemExit(main())
