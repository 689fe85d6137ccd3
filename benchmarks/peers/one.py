"""One library: a burst of calls on a small budget, and what it adds to a call. `../peers.py` starts it.

python benchmarks/peers/one.py NAME BASE_URL LIMIT CALLS PAIRS
"""

from __future__ import annotations

import collections
import json
import os
import statistics
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

import canned  # noqa: E402  after the path
import openai  # noqa: E402
from pairing import Block, paired  # noqa: E402
from ways import WAYS  # noqa: E402

BLOCK = 5
AMPLE = "1000000"
QUESTION: Any = [{"role": "user", "content": "word " * 390}]
"""About 400 tokens, which is what the provider states."""


def burst(name: str, base_url: str, limit: str, count: int) -> dict[str, Any]:
    """So many threads ask at once."""
    outcomes: collections.Counter[str] = collections.Counter()
    start, lock = threading.Barrier(count), threading.Lock()
    with (
        openai.OpenAI(base_url=base_url, api_key="k", max_retries=0) as client,
        WAYS[name](client, limit) as (call, told),
    ):

        def ask() -> None:
            start.wait()
            try:
                call(model="gpt-4o", messages=QUESTION, max_tokens=100)
                outcome = "answered"
            except Exception as error:  # noqa: BLE001  whatever it refuses with
                outcome = type(error).__name__
            with lock:
                outcomes[outcome] += 1

        threads = [threading.Thread(target=ask) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(0.5)  # some book in a thread of their own
        return {"outcomes": dict(outcomes), "told": str(told())}


def added(name: str, pairs: int) -> dict[str, Any]:
    """Microseconds beside a bare client, whose method is taken before the library may replace it."""
    bare = canned.client().chat.completions.create
    with WAYS[name](canned.client(), AMPLE) as (call, _):
        found = paired(block(bare), block(call), pairs, calls=BLOCK)
    return {
        "bare_us": statistics.median(found.bare),
        "added_us": found.added,
        "ratio": found.ratio[1],
        "added_cpu_us": found.added_cpu,
    }


def block(call: Any) -> Block:
    """The median of some calls."""
    arguments = canned.request(100)

    def once() -> float:
        took = []
        for _ in range(BLOCK):
            start = time.perf_counter_ns()
            call(**arguments)
            took.append(time.perf_counter_ns() - start)
        return statistics.median(took) / 1e3

    return once


def main() -> None:
    name, base_url, limit, count, pairs = sys.argv[1:]
    result: dict[str, Any] = {"version": version(name), "openai": openai.__version__}
    for part, work in (
        ("burst", lambda: burst(name, base_url, limit, int(count))),
        ("added", lambda: added(name, int(pairs))),
    ):
        try:
            result[part] = work()
        except Exception as error:  # noqa: BLE001  one that fails is a row, too
            result[part] = {"error": f"{type(error).__name__}: {error}"[:200]}
    print("\nRESULT " + json.dumps(result), flush=True)
    os._exit(0)  # some leave threads that never end


if __name__ == "__main__":
    main()
