"""Other libraries that keep budgets in the process, and farthing, at the same burst and call: see README.md.

python benchmarks/peers.py [NAME ...] [--venvs FOLDER] [--keep] [--python PYTHON] [--json FILE]

Each is installed into an environment of its own with the newest openai that it allows; that needs a package
index. The calls go to a provider on the loopback interface.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from overhead import surroundings

from farthing.testing import FakeProvider, Reply, Request

ROOT = Path(__file__).resolve().parents[1]
ONE = ROOT / "benchmarks" / "peers" / "one.py"
sys.path.append(str(ONE.parent))

from ways import WAYS  # noqa: E402  after the path

LIMIT, CALLS, LATENCY = "0.01", 50, 0.15
COST = Decimal("0.002")
"""Of each call, by the usage that the provider states: 400 input and 100 output tokens of gpt-4o."""


def answer(_: Request) -> Reply:
    time.sleep(LATENCY)  # a call takes its time: that is when budgets are overspent
    return Reply(usage={"input_tokens": 400, "cached_tokens": 0, "output_tokens": 100, "reasoning_tokens": 0})


def environment(name: str, venvs: Path, base: str, *, keep: bool) -> Path:
    python = venvs / name / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not (keep and python.exists()):
        subprocess.run([base, "-m", "venv", "--clear", venvs / name], check=True, capture_output=True)
        wanted = ["-e", str(ROOT)] if name == "farthing" else [name, "openai"]
        subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True, capture_output=True)
    return python


def measured(name: str, python: Path, pairs: int) -> dict[str, Any]:
    """What `one.py` found, and how many calls reached the provider."""
    with FakeProvider(answer) as provider, tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, ONE, name, provider.base_url, LIMIT, str(CALLS), str(pairs)],
            cwd=folder,
            env={**os.environ, "HOME": folder, "OPENAI_API_KEY": "none", "DO_NOT_TRACK": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not found:
            return {"error": done.stderr.strip().splitlines()[-1:] or ["it said nothing"]}
        return {**json.loads(found[0].removeprefix("RESULT ")), "served": provider.served}


def row(name: str, found: dict[str, Any]) -> str:
    if "error" in found:
        return f"| {name} | | failed: {found['error']} | | | | |"
    spent, burst, cost = found["served"] * COST, found["burst"], found["added"]
    over = max(spent - Decimal(LIMIT), Decimal(0)) or 0
    served = f"{found['served']} | ${spent} | ${over} | {burst.get('told', burst.get('error'))}"
    time_ = cost.get("error") or "{1:.0f} us ({0:.0f}..{2:.0f})".format(*cost["added_us"])
    ratio = f"{cost['ratio']:.2f}" if "ratio" in cost else ""
    return f"| {name} | {found['version']} | {served} | {time_} | {ratio} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(WAYS)}; all without any")
    parser.add_argument("--venvs", type=Path, help="where environments are made; else a temporary folder")
    parser.add_argument("--keep", action="store_true", help="use the environments that are there already")
    parser.add_argument("--python", default=sys.executable, help="that makes them: some need a newer one")
    parser.add_argument("--pairs", type=int, default=120)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - set(WAYS)):
        parser.error(f"there is no {', '.join(unknown)} among {', '.join(WAYS)}")
    if given.pairs < 1:
        parser.error("pairs are 1 or more")
    facts = surroundings()
    for name, value in facts.items():
        print(f"{name:9} {value}")
    print(
        f"\n{CALLS} threads at once on ${LIMIT}, ${COST} a call\n\n"
        "| library | version | served | spent | over the limit | it says | added to a mocked call | ratio |\n"
        "|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    results = {}
    with tempfile.TemporaryDirectory(prefix="farthing-peers-") as temporary:
        venvs = (given.venvs or Path(temporary)).resolve()
        for name in WAYS:
            if given.names and name not in given.names:
                continue
            try:
                found = measured(name, environment(name, venvs, given.python, keep=given.keep), given.pairs)
            except subprocess.CalledProcessError as error:
                said = error.stderr.decode().strip().splitlines() or [str(error)]
                found = {"error": said[-1][:200]}
            except subprocess.TimeoutExpired as error:
                found = {"error": str(error)[:200]}
            results[name] = found
            print(row(name, found), flush=True)
    if given.json:
        given.json.write_text(json.dumps({**facts, "results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
