"""What a ledger does by itself: its two verbs of a guarded call, alone and contended. See README.md.

python benchmarks/ledger.py [--quick] [--only TEXT] [--rows 1000000] [--folder DIR] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pairing import quartiles
from workload import Calls, at, big, copy, fresh

from farthing.engine.courier import Courier, Together
from farthing.ledger import Ledger

HERE = Path(__file__).resolve().parent
BLOCK = 50

clock = time.perf_counter_ns


class Bench:
    """One run: its folder, its size, and what it has found."""

    def __init__(self, folder: Path, *, quick: bool, rows: int) -> None:
        self.folder = folder
        self.quick = quick
        self.rows = rows
        self.found: dict[str, Any] = {}
        self._big: Path | None = None

    def big(self, name: str) -> Path:
        """A copy of the large ledger."""
        if self._big is None:
            print(f"a ledger of {self.rows:,} rows is made ...", flush=True)
            self._big = big(self.folder / "big.db", self.rows)
        return copy(self._big, self.folder / f"{name}.db")


def timed(call: Callable[[], None], times: int) -> list[float]:
    """Microseconds of each."""
    took = []
    for _ in range(times):
        start = clock()
        call()
        took.append((clock() - start) / 1e3)
    return took


def synced(fd: int) -> Callable[[], None]:
    sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)

    def one() -> None:
        os.pwrite(fd, bytes(4096), 0)
        sync(fd)

    return one


def alone(bench: Bench) -> None:
    """One thread: fast, safe, asynchronous, and the disk, in turn."""
    ledgers = {name: at(bench.big(name), name) for name in ("fast", "safe")}
    ways: dict[str, Callable[[int], list[float]]] = {}
    for name, ledger in ledgers.items():
        calls = Calls(ledger, name=name)
        ways[name] = lambda times, c=calls, led=ledger: verbs(led, c, times)  # type: ignore[misc]
    runner, courier = asyncio.Runner(), Courier()
    calls = Calls(ledgers["fast"], name="async")
    ways["fast, from a coroutine"] = lambda times: runner.run(through(courier, ledgers["fast"], calls, times))
    fd = os.open(bench.folder / "disk", os.O_CREAT | os.O_WRONLY, 0o600)
    ways["fdatasync of 4 KiB"] = lambda times: timed(synced(fd), times)
    for way in ways.values():
        way(1500)
    medians: dict[str, list[float]] = {name: [] for name in ways}
    every: dict[str, list[float]] = {name: [] for name in ways}
    gc.collect()
    for turn in range(20 if bench.quick else 80):
        for name in ways if turn % 2 else reversed(ways):
            took = ways[name](BLOCK)
            medians[name].append(statistics.median(took))
            every[name] += took
    courier.stop()
    runner.close()
    os.close(fd)
    for ledger in ledgers.values():
        ledger.close()
    print(f"{'one reserve and its settle, alone':44} {'p50 us':>8} {'(quartiles of blocks)':>22} {'p99':>8}")
    for name in ways:
        low, middle, high = quartiles(medians[name])
        p50, p99 = statistics.median(every[name]), statistics.quantiles(every[name], n=100)[98]
        print(f"{name:44} {p50:8.1f} {f'({low:.1f}..{high:.1f})':>22} {p99:8.1f}")
        bench.found[f"alone: {name}"] = {"p50_us": p50, "p99_us": p99, "blocks": [low, middle, high]}
    pairs = zip(medians["safe"], medians["fast"], medians["fdatasync of 4 KiB"], strict=True)
    ratio = statistics.median(safe / (fast + sync) for safe, fast, sync in pairs)
    print(f"{'safe / (fast + fdatasync)':44} {ratio:8.2f}\n")
    bench.found["alone: safe / (fast + fdatasync)"] = ratio


def verbs(ledger: Ledger, calls: Calls, times: int) -> list[float]:
    """Microseconds of each reserve and its settle."""
    took = []
    for want, end in [calls.next() for _ in range(times)]:
        start = clock()
        ledger.settle(ledger.reserve(want), end)  # type: ignore[arg-type]
        took.append((clock() - start) / 1e3)
    return took


async def through(courier: Courier, ledger: Ledger, calls: Calls, times: int) -> list[float]:
    """The same from a task."""
    took = []
    for want, end in [calls.next() for _ in range(times)]:
        start = clock()
        grant = await courier.bring(Together(ledger.together, want, ledger.at_once), print)  # type: ignore[arg-type]
        await courier.bring(Together(ledger.together, (grant, end, False), ledger.at_once), print)  # type: ignore[arg-type]
        took.append((clock() - start) / 1e3)
    return took


def contended(bench: Bench) -> None:
    """Processes and threads on one budget, farthing and plain connections in turn."""
    fd = os.open(bench.folder / "disk", os.O_CREAT | os.O_WRONLY, 0o600)
    print(f"durability fast; fdatasync of 4 KiB {statistics.median(timed(synced(fd), 200)):.0f} us")
    os.close(fd)
    print(
        f"{'guarded calls on one budget':32} {'calls/s':>9} {'p50 us':>8} {'p99 ms':>8} {'max ms':>8}"
        f" {'least/most':>10} {'CPU us':>7}"
    )
    seconds = 1.5 if bench.quick else 4.0
    for processes, threads in ((4, 8),) if bench.quick else ((4, 8), (1, 8), (8, 1)):
        for way in ("farthing", "plain") * (1 if bench.quick else 3):
            ledger = bench.big("race")
            found = raced(way, ledger, processes, threads, seconds)
            name = f"{processes} x {threads}, {way}"
            bench.found.setdefault(f"contended: {name}", []).append(found)
            print(
                f"{name:32} {found['calls_s']:9,.0f} {found['p50_us']:8.0f} {found['p99_ms']:8.1f}"
                f" {found['max_ms']:8.1f} {found['fair']:10.2f} {found['cpu_us']:7.1f}"
            )
    print()


def raced(way: str, ledger: Path, processes: int, threads: int, seconds: float) -> dict[str, float]:
    script = str(HERE / "contending.py")
    children = [
        subprocess.Popen(
            [sys.executable, script, way, ledger, str(threads), str(seconds), str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(processes)
    ]
    for child in children:
        assert child.stdout
        child.stdout.readline()
    for child in children:
        assert child.stdin
        child.stdin.write("go\n")
        child.stdin.flush()
    results = [json.loads(child.stdout.readline()) for child in children]  # type: ignore[union-attr]
    for child in children:
        child.communicate("end\n")
    each = [thread for result in results for thread in result["threads"]]
    waits = sorted(took for thread in each for took in thread["sample"])
    counts = [thread["calls"] for thread in each]
    total = sum(counts)
    store = at(ledger)
    held = [window.held for window in store.windows()]
    faults = store.check() if way == "farthing" else []
    store.close()
    assert not any(held)
    assert not faults, faults
    return {
        "calls_s": total / seconds,
        "p50_us": waits[len(waits) // 2] / 1e3,
        "p99_ms": waits[len(waits) * 99 // 100] / 1e6,
        "max_ms": max(thread["max_us"] for thread in each) / 1e3,
        "fair": min(counts) / max(counts),
        "cpu_us": sum(result["cpu_s"] for result in results) / total * 1e6,
    }


def kept(bench: Bench) -> None:
    """What 100,000 calls leave in memory and on the disk."""
    times = 20_000 if bench.quick else 100_000
    path = fresh(bench.folder / "kept.db")
    ledger = at(path)
    calls = Calls(ledger)
    for _ in range(5_000):
        calls.pair(ledger)
    gc.collect()
    tracemalloc.start()
    for _ in range(1_000):
        calls.pair(ledger)
    gc.collect()
    before, resident = tracemalloc.get_traced_memory()[0], peak()
    for _ in range(times):
        calls.pair(ledger)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    bytes_kept = (after - before) / times
    grown = peak() - resident
    print(f"memory kept per call, over {times:,}: {bytes_kept:.3f} bytes; the process grew by {grown} KiB")
    ledger.close()
    conn = sqlite3.connect(path)
    sizes = dict(conn.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC"))
    rows = conn.execute("SELECT count(*) FROM call").fetchone()[0]
    conn.close()
    per_call = {name: size / rows for name, size in sizes.items()}
    print(f"ledger per call, over {rows:,}: {sum(per_call.values()):.1f} bytes")
    for name, size in per_call.items():
        if size >= 0.1:
            print(f"  {name:24} {size:8.1f}")
    bench.found["kept"] = {"memory": bytes_kept, "disk": per_call}


def peak() -> int:
    """KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


PARTS = {"alone": alone, "contended": contended, "kept": kept}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="one part; may be repeated")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large ledger")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    if given.rows < 1:
        parser.error("rows are 1 or more")
    facts = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
        "machine": f"{os.cpu_count()} x {platform.machine()}, {platform.platform()}",
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    for name, value in facts.items():
        print(f"{name:9} {value}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        bench = Bench(Path(folder), quick=given.quick, rows=given.rows)
        for name, part in PARTS.items():
            if not given.only or name in given.only:
                part(bench)
    print(f"load      {os.getloadavg()}")
    if given.json:
        given.json.write_text(json.dumps({**facts, **bench.found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
