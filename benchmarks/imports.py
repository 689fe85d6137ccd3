"""What `import farthing` adds over `import openai`: milliseconds, memory, modules. See README.md.

python benchmarks/imports.py [--runs 9] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROBE = """
import json, sys, time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * {page}
import openai
before, memory = set(sys.modules), resident()
start = time.perf_counter_ns()
{second}
took = time.perf_counter_ns() - start
print(json.dumps({{"ms": took / 1e6, "mb": (resident() - memory) / 1e6,
    "modules": sorted(set(sys.modules) - before)}}))
"""
WAYS = {
    "nothing": "pass",
    "import farthing": "import farthing",
    "farthing.wrap, not called": "import farthing; farthing.wrap",
}


def once(second: str, compiled: str) -> dict[str, Any]:
    """In a fresh process that finds compiled modules in a folder, as an installed package does."""
    script = PROBE.format(page=os.sysconf("SC_PAGE_SIZE"), second=second)
    env = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=env)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as compiled:
        for second in WAYS.values():
            once(second, compiled)
        for _ in range(given.runs):  # in turn, so that a drifting machine drifts for all
            for name, second in WAYS.items():
                found[name].append(once(second, compiled))
    print(f"{'':28} {'ms min':>8} {'median':>8} {'max':>8} {'MB':>7}  modules")
    for name, runs in found.items():
        took = [run["ms"] for run in runs]
        size = statistics.median(run["mb"] for run in runs)
        middle = statistics.median(took)
        count = len(runs[0]["modules"])
        print(f"{name:28} {min(took):8.2f} {middle:8.2f} {max(took):8.2f} {size:7.2f}  {count}")
    for name, runs in found.items():
        if runs[0]["modules"]:
            print(f"\n{name} brings in:\n  {', '.join(runs[0]['modules'])}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
