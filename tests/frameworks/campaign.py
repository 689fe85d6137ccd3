"""Real frameworks, each in an environment of its own: what they ask of a provider is what is booked.

    python tests/frameworks/campaign.py [NAME ...] [--venvs FOLDER] [--keep]

An environment has the framework as it resolves today and farthing from this checkout. Its program is run
unmetered, with a wrapped client, with `farthing.instrument()` and by `farthing run`. Each request must have
exactly one row with the tokens and the cost of its answer, and the program must be answered as without a
meter. Programs cannot reach any other machine; installing them needs a package index.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import textwrap
import venv
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from frameworks.checking import figures_right  # noqa: E402  after the path
from frameworks.running import FRAMEWORKS, Framework, Outcome, outcomes  # noqa: E402

_VERSIONS = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"

say = sys.stdout.write


def environment(framework: Framework, venvs: Path, *, keep: bool) -> Path:
    """The interpreter of an environment with the framework and this farthing."""
    folder = venvs / framework.packages[0].partition("[")[0]
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not (keep and python.exists()):
        venv.create(folder, with_pip=True, clear=True)
        wanted = [*framework.packages, "-e", str(ROOT)]
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", *wanted], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{framework.name} cannot be installed:\n{done.stderr[-4000:]}")
    return python


def versions(framework: Framework, python: Path) -> list[str]:
    """Of the framework and of openai."""
    name = framework.packages[0].partition("[")[0]
    done = subprocess.run(
        [python, "-c", _VERSIONS, name, "openai"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def campaign(framework: Framework, venvs: Path, *, keep: bool) -> bool:
    """Prints a line for each way of metering; returns whether all was right."""
    try:
        python = environment(framework, venvs, keep=keep)
        own, openai = versions(framework, python)
        right = True
        with tempfile.TemporaryDirectory(prefix="farthing-frameworks-") as folder:
            for found in outcomes(framework, python, Path(folder)):
                ran = found.ran
                outcome = "wrong" if found.complaints else _well(framework, found)
                right = right and not found.complaints
                say(
                    f"| {framework.name} | {own} | {openai} | {found.way} | {len(ran.requests)} "
                    f"| {len(ran.rows)} | {figures_right(ran)} | {outcome} |\n"
                )
                for complaint in found.complaints:
                    say(f"    {textwrap.shorten(complaint, 400)}\n")
                sys.stdout.flush()
    except (RuntimeError, subprocess.SubprocessError) as error:
        say(f"| {framework.name} | | | | | | | failed |\n{error}\n")
        return False
    return right


def _well(framework: Framework, found: Outcome) -> str:
    if found.way == "refused":
        return "refused"
    return "right" if framework.metered else "not metered, as said"


def main() -> int:
    names = [framework.name for framework in FRAMEWORKS]
    parser = argparse.ArgumentParser(description="Run programs of real frameworks, metered.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all without any")
    parser.add_argument("--venvs", type=Path, help="where environments are made; else a temporary folder")
    parser.add_argument("--keep", action="store_true", help="use the environments that are there already")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names):
        parser.error(f"no such framework: {', '.join(sorted(unknown))}")
    say(f"{datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}\n\n")
    say("| framework | version | openai | way | calls | rows | figures right | outcome |\n")
    say("|---|---|---|---|---|---|---|---|\n")
    with tempfile.TemporaryDirectory(prefix="farthing-venvs-") as temporary:
        venvs = given.venvs or Path(temporary)
        venvs.mkdir(parents=True, exist_ok=True)
        done: set[str] = set()
        right = []
        for framework in FRAMEWORKS:
            if not given.names or framework.name in given.names:
                keep = given.keep or framework.packages[0] in done
                right.append(campaign(framework, venvs.resolve(), keep=keep))
                done.add(framework.packages[0])
    return 0 if all(right) else 1


if __name__ == "__main__":
    raise SystemExit(main())
