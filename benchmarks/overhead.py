"""What farthing adds to a call, beside a bare client in the same process: see README.md for the rules.

python benchmarks/overhead.py [--quick] [--only TEXT] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import canned
import openai
import workload
from pairing import Block, Paired, paired, quartiles

import farthing

BLOCK = 5
TASKS = 64
CHUNKS, FEW = 200, 10
AMPLE = "$1000000/day"

clock = time.perf_counter_ns


class Bench:
    """One run: its folder, its size, its event loop and what it has found."""

    def __init__(self, folder: Path, *, quick: bool, rows: int = 0) -> None:
        self.folder = folder
        self.quick = quick
        self._big = workload.big(folder / "big.db", rows) if rows else None
        self.runner = asyncio.Runner()
        self.rows: list[dict[str, Any]] = []
        self._ledgers = 0

    def meter(self, *, durability: str = "fast", standing: int = 0) -> farthing.Meter:
        """A warm meter on a ledger of its own."""
        self._ledgers += 1
        budgets = [farthing.Budget(f"house-{n}", 1_000_000) for n in range(standing)]
        path = self.folder / f"{self._ledgers}.db"
        if self._big is not None:
            workload.copy(self._big, path)
        made = farthing.Meter(path, durability=durability, budgets=budgets)
        made.warm()
        return made

    def pairs(self, full: int) -> int:
        return full // 4 if self.quick else full

    def add(self, name: str, found: Paired, **more: Any) -> dict[str, Any]:
        row = {
            "name": name,
            "bare_us": statistics.median(found.bare),
            "added_us": found.added,
            "ratio": found.ratio,
            "added_cpu_us": found.added_cpu,
            "pairs": len(found.bare),
            **more,
        }
        self.rows.append(row)
        low, middle, high = found.added
        per = more.get("per_chunk_us")
        print(
            f"{name:46} {row['bare_us']:9.0f} {middle:9.1f}  ({low:.0f}..{high:.0f})".ljust(86)
            + f"{found.ratio[1]:6.3f} {found.added_cpu:9.1f}"
            + (f"   {per:.2f} per chunk" if per is not None else ""),
            flush=True,
        )
        return row


def calls(client: Any, **arguments: Any) -> Block:
    """Blocks of calls of a client: the median of each."""
    create = client.chat.completions.create

    def block() -> float:
        took = []
        for _ in range(BLOCK):
            ours = canned.fresh(arguments)
            start = clock()
            create(**ours)
            took.append(clock() - start)
        return statistics.median(took) / 1e3

    return block


def acalls(runner: asyncio.Runner, client: Any, **arguments: Any) -> Block:
    """The same, awaited one after the other."""

    async def some() -> float:
        create = client.chat.completions.create
        took = []
        for _ in range(BLOCK):
            ours = canned.fresh(arguments)
            start = clock()
            await create(**ours)
            took.append(clock() - start)
        return statistics.median(took) / 1e3

    return lambda: runner.run(some())


def together(runner: asyncio.Runner, client: Any, **arguments: Any) -> Block:
    """64 tasks of two calls each in one loop: wall time by the call."""

    async def task() -> None:
        for _ in range(2):
            await client.chat.completions.create(**canned.fresh(arguments))

    async def all_of_them() -> float:
        start = clock()
        await asyncio.gather(*[task() for _ in range(TASKS)])
        return (clock() - start) / 1e3 / TASKS / 2

    return lambda: runner.run(all_of_them())


def streams(client: Any, chunks: int, *, asks: bool) -> Block:
    """One stream, read to its end."""
    more: dict[str, Any] = {"stream": True, "extra_headers": {"x-chunks": str(chunks)}}
    if asks:
        more["stream_options"] = {"include_usage": True}
    arguments = {**canned.request(100), **more}

    def block() -> float:
        start = clock()
        for _ in client.chat.completions.create(**arguments):
            pass
        return (clock() - start) / 1e3

    return block


def sync_calls(bench: Bench) -> None:
    """The call that most programs make, in its variants."""
    short, long = canned.request(100), canned.request(1000)
    variants: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
        ("sync, 100 characters, one budget, fast", {}, {"budget": AMPLE}, short),
        ("sync, no budget", {}, {}, short),
        ("sync, three budgets", {"standing": 2}, {"budget": AMPLE}, short),
        ("sync, tags", {}, {"budget": AMPLE, "tags": {"user": "42", "feature": "summary"}}, short),
        ("sync, no cap of the caller's", {}, {"budget": AMPLE}, canned.request(100, capped=False)),
        ("sync, 1,000 characters", {}, {"budget": AMPLE}, long),
        ("sync, safe", {"durability": "safe"}, {"budget": AMPLE}, short),
        ("sync, 1,000 characters, three budgets, safe", {"durability": "safe", "standing": 2},
         {"budget": AMPLE}, long),
    ]  # fmt: skip
    for name, of_meter, of_client, arguments in variants:
        with bench.meter(**of_meter) as meter:
            metered = meter.wrap(canned.client(), **of_client)
            check(meter, metered, arguments)
            found = paired(
                calls(canned.client(), **arguments),
                calls(metered, **arguments),
                bench.pairs(240),
                calls=BLOCK,
            )
            bench.add(name, found)


def check(meter: farthing.Meter, client: Any, arguments: dict[str, Any]) -> None:
    """What is measured is right: the row is there, and its cost is exact."""
    receipt = meter.receipt(client.chat.completions.create(**arguments))
    assert str(receipt.cost) == canned.COST, receipt
    assert receipt.outcome == "complete", receipt
    assert not receipt.flags, receipt


def async_calls(bench: Bench) -> None:
    """Awaited calls, alone and many at once."""
    arguments = canned.request(100)
    for durability in ("fast", "safe"):
        with bench.meter(durability=durability) as meter:
            metered = meter.wrap(canned.aclient(), budget=AMPLE)
            bare = canned.aclient()
            run = bench.runner
            alone = paired(
                acalls(run, bare, **arguments),
                acalls(run, metered, **arguments),
                bench.pairs(160),
                calls=BLOCK,
            )
            bench.add(f"async, one task, {durability}", alone)
            many = paired(
                together(run, bare, **arguments),
                together(run, metered, **arguments),
                bench.pairs(28),
                calls=TASKS * 2,
            )
            row = bench.add(f"async, {TASKS} tasks, {durability}", many)
            row["throughput"] = 1 / many.ratio[1]
            print(f"{'':46} calls/s against bare: {row['throughput']:.3f}")


def streamed(bench: Bench) -> None:
    """Streams of 200 chunks; what a chunk adds is the slope between these and streams of 10."""
    for asks, name in (
        (True, "stream, usage asked by the caller"),
        (False, "stream, usage asked by farthing"),
    ):
        with bench.meter() as meter:
            bare, metered = canned.client(), meter.wrap(canned.client(), budget=AMPLE)
            few = paired(
                streams(bare, FEW, asks=asks), streams(metered, FEW, asks=asks), bench.pairs(120), calls=1
            )
            many = paired(
                streams(bare, CHUNKS, asks=asks),
                streams(metered, CHUNKS, asks=asks),
                bench.pairs(60),
                calls=1,
            )
            slope = (many.added[1] - few.added[1]) / (CHUNKS - FEW)
            cpu = (many.added_cpu - few.added_cpu) / (CHUNKS - FEW)
            bare_chunk = (statistics.median(many.bare) - statistics.median(few.bare)) / (CHUNKS - FEW)
            bench.add(f"{name}, {FEW} chunks", few)
            bench.add(
                f"{name}, {CHUNKS} chunks",
                many,
                per_chunk_us=slope,
                per_chunk_cpu_us=cpu,
                bare_per_chunk_us=bare_chunk,
            )
            print(f"{'':46} by CPU {cpu:.2f} per chunk; the SDK itself {bare_chunk:.1f}")


def floors(bench: Bench) -> None:
    """What cannot be beaten: nothing at all, and one commit of one row to a write-ahead log."""
    arguments = canned.request(100)
    bare = canned.client()
    nothing = paired(
        calls(bare, **arguments), calls(canned.client(), **arguments), bench.pairs(240), calls=BLOCK
    )
    bench.add("bare against bare (the resolution)", nothing)
    ledger = sqlite3.connect(bench.folder / "floor.db", isolation_level=None)
    ledger.execute("PRAGMA journal_mode = WAL")
    ledger.execute("PRAGMA synchronous = NORMAL")
    ledger.execute(
        "CREATE TABLE call (id INTEGER PRIMARY KEY, at INTEGER, model TEXT, tokens INTEGER, cost INTEGER)"
    )
    insert = "INSERT INTO call (at, model, tokens, cost) VALUES (?, ?, ?, ?)"
    create = bare.chat.completions.create

    def committing() -> float:
        took = []
        for _ in range(BLOCK):
            start = clock()
            create(**arguments)
            ledger.execute(insert, (start, "gpt-4o", 1350, 3_220_000))
            took.append(clock() - start)
        return statistics.median(took) / 1e3

    found = paired(calls(bare, **arguments), committing, bench.pairs(240), calls=BLOCK)
    bench.add("floor: one SQLite commit after each call", found)
    ledger.close()


def disk(folder: Path) -> tuple[float, float, float]:
    """Microseconds of one 4 KiB write and fdatasync at this moment, quartiles."""
    sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
    fd = os.open(folder / "disk", os.O_CREAT | os.O_WRONLY, 0o600)
    took = []
    try:
        for _ in range(40):
            start = clock()
            os.pwrite(fd, bytes(4096), 0)
            sync(fd)
            took.append((clock() - start) / 1e3)
    finally:
        os.close(fd)
    return quartiles(took)


def surroundings() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = names[0] if names else cpu
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
        "machine": f"{os.cpu_count()} x {cpu}, {platform.platform()}",
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "openai": openai.__version__,
        "httpx2": _version("httpx2"),
        "farthing": _version("farthing"),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed: the source tree"


PARTS: dict[str, Callable[[Bench], None]] = {
    "floors": floors,
    "sync": sync_calls,
    "async": async_calls,
    "stream": streamed,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the pairs: about 20 seconds")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="one part; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    parser.add_argument(
        "--folder", type=Path, help="where ledgers are made; on the disk that is to be measured"
    )
    parser.add_argument(
        "--rows", type=int, default=0, help="on copies of a ledger with so many; it takes a while"
    )
    given = parser.parse_args()
    facts = surroundings()
    for name, value in facts.items():
        print(f"{name:9} {value}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        bench = Bench(Path(folder), quick=given.quick, rows=given.rows)
        before = disk(bench.folder)
        print(f"fdatasync {before[1]:.0f} us ({before[0]:.0f}..{before[2]:.0f})\n")
        print(f"{'':46} {'bare us':>9} {'added us':>9}  {'(quartiles)':24}{'ratio':>6} {'CPU us':>9}")
        for name, part in PARTS.items():
            if not given.only or name in given.only:
                part(bench)
        bench.runner.close()
        after = disk(bench.folder)
        print(f"\nfdatasync {after[1]:.0f} us ({after[0]:.0f}..{after[2]:.0f})")
    if given.json:
        result = {**facts, "fdatasync_us": {"before": before, "after": after}, "rows": bench.rows}
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
