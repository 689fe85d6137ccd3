"""Calls on a ledger whose disk loses its power again and again, each time with what was acknowledged by then.

    python working.py LEDGER IMAGES SEED DURABILITY CALLS CUTS [--overruns-unsynced | --holds-unsynced]

The ledger is there and empty. Each cut leaves a folder with the files that the next boot would find, and
`acknowledged.json`; at the end the syncs of each kind of write are printed as JSON.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from power import dbapi  # noqa: E402  after the path
from power.disk import Disk  # noqa: E402

dbapi.install()

from farthing.ledger.store import Grant, Reservation  # noqa: E402  on that sqlite3
from ledger.making import Clock, opened, reservation, settlement, standing_bound  # noqa: E402

HOLD = 1000
OVERRUN = 700
"""Nano-dollars that one call in ten costs more than it held."""


class Work:
    """The calls, and what their callers know."""

    def __init__(self, path: Path, images: Path, seed: int, durability: str) -> None:
        self.rng = random.Random(seed)
        self.images = images
        self.disk = Disk()
        self.ledger: Any = opened(path, Clock(), durability=durability)
        [self.budget] = [each.budget for each in self.ledger.standing()[1]]
        self.told: list[tuple[str, str, int, int]] = []
        self.asked: tuple[str, str, int, int] | None = None
        self.syncs: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self._cuts: set[int] = set()
        self._events = 0
        self._number = 0

    def _event(self) -> None:
        self._events += 1
        if self._events in self._cuts:
            folder = self.images / f"{self._events:06d}"
            self.disk.cut(folder, self.rng)
            known = {"told": self.told, "asked": self.asked}
            (folder / "acknowledged.json").write_text(json.dumps(known))

    def go(self, calls: int, cuts: int) -> None:
        """Call, with so many cuts at any moment."""
        events = calls * 9  # of which a call has more
        self._cuts = set(self.rng.sample(range(1, events), cuts))
        self.disk.before_event = self._event
        grants: list[Grant] = []
        for _ in range(calls):
            grants.append(self._reserve())
            while grants and (len(grants) > 5 or self.rng.random() < 0.6):
                self._settle(grants.pop(self.rng.randrange(len(grants))))
        self.disk.before_event = lambda: None

    def _write(self, kind: str, call_id: str, money: int, cost: int, verb: Any, *args: Any) -> Any:
        """`money` is what the ledger is to hold or count for the call, `cost` the provider's price."""
        self.asked = (kind, call_id, money, cost)
        before = self.disk.syncs[".db-wal"]
        checkpoints = self.disk.syncs[".db"]
        answer = verb(*args)
        self.told.append(self.asked)
        self.asked = None
        if self.disk.syncs[".db"] == checkpoints:  # those of a checkpoint are nobody's
            self.writes[kind] += 1
            self.syncs[kind] += self.disk.syncs[".db-wal"] - before
        return answer

    def _reserve(self) -> Grant:
        self._number += 1
        call_id = f"call-{self._number:06d}"
        bounds = [standing_bound(self.budget)]
        want: Reservation = reservation(self.ledger, bounds, HOLD, id=call_id)
        grant = self._write("reserve", call_id, HOLD, 0, self.ledger.reserve, want)
        assert isinstance(grant, Grant)
        return grant

    def _settle(self, grant: Grant) -> None:
        over = self.rng.random() < 0.1
        cost = HOLD + OVERRUN if over else self.rng.randint(1, HOLD)
        kind = "overrun" if over else "settle"
        end = settlement(cost, overrun=OVERRUN if over else None)
        self._write(kind, grant.reservation.id, cost, cost, self.ledger.settle, grant, end)


def unsynced(what: str) -> None:
    """The controls: leave out the syncs of `safe` for some writes."""
    from farthing.ledger import sqlite  # noqa: PLC0415  on that sqlite3

    needs_full = sqlite.needs_full

    def needs(write: Any) -> bool:
        return needs_full(write) and isinstance(write, Reservation) is (what == "--overruns-unsynced")

    sqlite.needs_full = needs


def main() -> None:
    path, images, seed, durability, calls, cuts, *control = sys.argv[1:]
    for what in control:
        unsynced(what)
    work = Work(Path(path), Path(images), int(seed), durability)
    work.go(int(calls), int(cuts))
    per_write = {kind: round(work.syncs[kind] / work.writes[kind], 2) for kind in sorted(work.writes)}
    sys.stdout.write(json.dumps({"syncs": per_write, "checkpoints": work.disk.syncs[".db"]}) + "\n")


if __name__ == "__main__":
    main()
