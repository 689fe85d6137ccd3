"""One of several processes that make guarded calls on one budget; `ledger.py` starts them.

python benchmarks/contending.py WAY LEDGER THREADS SECONDS PROCESS < one line that starts the race
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from workload import ACCOUNTS, BUDGETS, COST, DAY, HOLD, MODELS, Calls, at, bound

Call = Callable[[], None]

WINDOW = "SELECT min(id) FROM budget_window"
RESERVE = """UPDATE budget_window SET held = held + ?1 WHERE id = ?2 AND limit_nano - spent - held >= ?1"""
SETTLE = "UPDATE budget_window SET held = held - ?, spent = spent + ? WHERE id = ?"
INSERT = """INSERT INTO call (seq, id, state, owner, account, context, requested, asked, model, operation,
  attempts, input, expected, held, windows, flags, provider)
VALUES (?, ?, 0, 1, ?, 0, ?, ?, ?, 0, 1, 1200, ?, ?, ?, 0, 1)"""
END = """UPDATE call SET state = 1, outcome = 0, recorded = ?, duration = 800000, cached = 1024, output = 150,
  reasoning = 64, usage_source = 0, cost = ?2, counted = ?2, cost_source = 1, request_id = ?3,
  response_id = ?4
WHERE seq = ?5 AND state = 0"""
SUM = """INSERT INTO day_sum (day, account, context, operation, provider, model, calls, errors, input, cached,
  output, cost, counted, unpriced, estimated, partial)
VALUES (?, ?, 0, 0, ?, ?, 1, 0, 1200, 1024, 150, ?, ?, 0, 0, 0)
ON CONFLICT (day, account, context, operation, provider, model) DO UPDATE SET calls = calls + 1,
  input = input + 1200, cached = cached + 1024, output = output + 150, cost = cost + excluded.cost,
  counted = counted + excluded.counted"""


class Farthing:
    """The ledger's own verbs."""

    def __init__(self, path: Path, process: int) -> None:
        self.ledger = at(path)
        self.process = process

    def caller(self, thread: int) -> Call:
        calls = Calls(self.ledger, (bound(BUDGETS[0]),), f"{self.process}-{thread}")
        calls.number = (self.process * 100 + thread) * 10**9
        return lambda: calls.pair(self.ledger)

    def close(self) -> None:
        self.ledger.close()


class Plain:
    """What one writes first: a connection for each thread, BEGIN IMMEDIATE, SQLite's own busy handler; the
    same row, window and totals, and less besides."""

    def __init__(self, path: Path, process: int) -> None:
        self.path = path
        self.process = process

    def caller(self, thread: int) -> Call:
        conn = sqlite3.connect(self.path, isolation_level=None, timeout=20, check_same_thread=False)
        conn.execute("PRAGMA synchronous = NORMAL")
        conn.execute("PRAGMA wal_autocheckpoint = 16000")
        window = conn.execute(WINDOW).fetchone()[0]
        place, n = self.process * 100 + thread, 0

        def call() -> None:
            nonlocal n
            n += 1
            now = time.time_ns()
            seq = (now // 1000 << 10) + place
            account, model = n * 13 % ACCOUNTS, n * 7 % MODELS
            conn.execute("BEGIN IMMEDIATE")
            if conn.execute(RESERVE, (HOLD, window)).rowcount == 0:
                raise RuntimeError("refused")
            text = f"0199{place:>12}{n:020d}"
            conn.execute(INSERT, (seq, text, account, model, model, model, HOLD // 10, HOLD, window))
            conn.execute("COMMIT")
            conn.execute("BEGIN IMMEDIATE")
            ids = ("req_0123456789abcdef", "chatcmpl-0123456789abcdefghij")
            conn.execute(END, (now, COST, *ids, seq))
            conn.execute(SETTLE, (HOLD, COST, window))
            conn.execute(SUM, (now // DAY, 0, 1, model, COST, COST))
            conn.execute(SUM, (now // DAY, account, 0, 0, COST, COST))
            conn.execute("COMMIT")

        return call

    def close(self) -> None:
        """Nothing: the connections end with the process."""


def race(way: Farthing | Plain, threads: int, seconds: float) -> list[dict[str, float]]:
    """Of each thread: calls, and its longest and other waits in microseconds."""
    callers = [way.caller(n) for n in range(threads)]
    for call in callers:
        for _ in range(3):
            call()
    start = threading.Barrier(threads + 1)
    waits = [array("q") for _ in callers]

    def work(call: Call, took: array[int]) -> None:
        start.wait()
        now = time.perf_counter_ns()
        end = now + int(seconds * 1e9)
        while now < end:
            call()
            before, now = now, time.perf_counter_ns()
            took.append(now - before)

    running = [threading.Thread(target=work, args=each) for each in zip(callers, waits, strict=True)]
    for thread in running:
        thread.start()
    print("ready", flush=True)
    sys.stdin.readline()
    start.wait()
    for thread in running:
        thread.join()
    return [{"calls": len(took), "max_us": max(took) / 1e3, "sample": sorted(took)[::20]} for took in waits]  # type: ignore[dict-item]


def main() -> None:
    name, path, threads, seconds, process = sys.argv[1:]
    way = {"farthing": Farthing, "plain": Plain}[name](Path(path), int(process))
    cpu = time.process_time_ns()
    found = race(way, int(threads), float(seconds))
    print(json.dumps({"threads": found, "cpu_s": (time.process_time_ns() - cpu) / 1e9}), flush=True)
    sys.stdin.readline()
    way.close()


if __name__ == "__main__":
    main()
