"""Power cuts, and what must be true of the ledger at the next boot.

The calls run in a process whose SQLite writes to the disk of `disk.py`; what a cut leaves is opened here, by
the product as it is, with the interpreter's own `sqlite3`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from farthing.records import Budget
from ledger.making import DAY, NOON, Clock, opened

WORKING = Path(__file__).with_name("working.py")
LEDGER = "ledger.db"


@dataclass
class Cuts:
    """What a number of cuts left.

    Attributes:
        lost: acknowledged writes that were not there any more, by kind.
        overspent: cuts after which the ledger knew of less money than the providers had charged, or may yet.
        syncs: of the log, by each kind of write; without those of checkpoints.
        checkpoints: of the database file.
    """

    cuts: int = 0
    acknowledged: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    overspent: int = 0
    syncs: dict[str, float] = field(default_factory=dict)
    checkpoints: int = 0


def cut(
    folder: Path, seed: int, durability: str, *, calls: int, cuts: int, control: str | None = None
) -> Cuts:
    """Make calls on a new ledger, with cuts in their midst, and look at each."""
    path, images = folder / LEDGER, folder / "images"
    images.mkdir(parents=True)
    ledger = opened(path)
    ledger.set_budget(Budget("all", "0.9", "total"), origin="code")
    ledger.close()
    done = subprocess.run(
        [sys.executable, WORKING, path, images, str(seed), durability, str(calls), str(cuts)]
        + ([control] if control else []),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    said = json.loads(done.stdout)
    found = Cuts(syncs=said["syncs"], checkpoints=said["checkpoints"])
    for image in sorted(images.iterdir()):
        _look(image, found)
        found.cuts += 1
    return found


def _look(image: Path, found: Cuts) -> None:
    known = json.loads((image / "acknowledged.json").read_text())
    told: list[tuple[str, str, int, int]] = [tuple(each) for each in known["told"]]
    asked = known["asked"] and tuple(known["asked"])
    rows = _rows(image / LEDGER)
    there = [_is_there(rows, each) for each in told]
    # Commits survive in their order: what was lost is the last of them, and all of it.
    kept = sum(there)
    assert all(there[:kept])
    assert asked is None or kept == len(told) or not _is_there(rows, asked)
    ids = {call_id for _, call_id, _, _ in [*told, *([asked] if asked else [])]}
    assert rows.keys() <= ids
    found.acknowledged.update(each[0] for each in told)
    found.lost.update(each[0] for each in told[kept:])
    found.overspent += _known_money(rows) < _charged(told, asked)


def _rows(path: Path) -> dict[str, Any]:
    """The amount counted of each call that has ended, the negative hold of each that is open; and the ledger
    adds up, now and when all has been booked."""
    ledger = opened(path)
    assert ledger.check() == []
    ledger.close()
    with closing(sqlite3.connect(path)) as conn:
        rows = dict(conn.execute("SELECT id, counted_nano FROM calls").fetchall())
        still_open = dict(conn.execute("SELECT id, -held_nano FROM open_calls").fetchall())
    ledger = opened(path, Clock(NOON + DAY))  # by when the leases of before the cut have ended
    assert ledger.check() == []
    for window in ledger.windows():  # of which there is none before the first call
        assert (window.held, window.spent) == (0, sum(rows.values()) - sum(still_open.values()))
    ledger.close()
    return rows | still_open


def _is_there(rows: dict[str, Any], write: tuple[str, str, int, int]) -> bool:
    kind, call_id, money, _ = write
    if kind == "reserve":
        return call_id in rows
    return rows.get(call_id) == money


def _known_money(rows: dict[str, Any]) -> int:
    """What budgets are charged once every open call has expired."""
    return sum(map(abs, rows.values()))


def _charged(told: list[tuple[str, str, int, int]], asked: tuple[str, str, int, int] | None) -> int:
    """What the providers have charged for what was acknowledged: a call was sent as soon as it was reserved,
    and one that was not settled yet may cost its hold. Of one that was being settled the bill was there."""
    charged: dict[str, int] = {}
    for kind, call_id, money, cost in told:
        charged[call_id] = money if kind == "reserve" else cost
    if asked is not None and asked[1] in charged:
        charged[asked[1]] = min(charged[asked[1]], asked[3])
    return sum(charged.values())
