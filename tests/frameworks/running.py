"""The frameworks, and a run of a program that uses one, on the loopback provider."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from farthing.testing import FakeProvider
from frameworks.answering import answer
from frameworks.checking import REFUSED, Ran, complaints, of_ledger, of_refusal, read

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "tests" / "frameworks" / "programs"
PAGE = ROOT / "docs" / "frameworks.md"

Way = Literal["wrap", "instrument", "run", "page", "refused"]
WAYS: tuple[Way, ...] = ("wrap", "instrument", "run")


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework, and a program that uses it.

    Attributes:
        name: as in `docs/frameworks.md`, in small letters.
        packages: what is installed; the first is the framework whose version is told.
        modules: what the program imports.
        ways: in which it can be metered: not by `wrap` where it takes no client.
        metered: False for a program whose calls do not go through OpenAI's SDK, so that no row is expected.
        refused: the exit status of the program if its first call is refused: 1 where the framework raises an
            error of its own that is not raised `from` the refusal.
    """

    name: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    ways: tuple[Way, ...] = WAYS
    metered: bool = True
    refused: int = REFUSED

    @property
    def program(self) -> Path:
        """What is run."""
        return PROGRAMS / f"uses_{self.name.replace('-', '_')}.py"


FRAMEWORKS = (
    Framework("openai", ("openai",), ("openai",)),
    Framework("langchain", ("langchain-openai",), ("langchain_openai",)),
    Framework("openai-agents", ("openai-agents",), ("agents",)),
    Framework("pydantic-ai", ("pydantic-ai-slim[openai]",), ("pydantic_ai", "openai")),
    Framework("instructor", ("instructor",), ("instructor",)),
    Framework(
        "llama-index",
        ("llama-index-llms-openai", "llama-index-embeddings-openai"),
        ("llama_index.llms.openai", "llama_index.embeddings.openai"),
    ),
    # litellm 1.106 does not list mcp among its requirements, and imports it for a call with tools.
    Framework("litellm", ("litellm", "mcp"), ("litellm", "mcp"), refused=1),
    Framework(
        "litellm-responses", ("litellm", "mcp"), ("litellm", "mcp"), ("instrument", "run"), metered=False
    ),
    Framework("dspy", ("dspy",), ("dspy",), ("instrument", "run"), refused=1),
)

_SILENT = {
    "ANONYMIZED_TELEMETRY": "false",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OTEL_SDK_DISABLED": "true",
}
"""What keeps frameworks from sending traces or fetching lists."""

_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one program in one way of metering."""

    way: Way
    ran: Ran
    complaints: list[str]


def outcomes(framework: Framework, python: Path, folder: Path) -> Iterator[Outcome]:
    """Runs the program unmetered, then in each of its ways beside that, then under a budget that affords
    nothing, then what the documentation shows.

    Args:
        python: of an environment that has the framework and farthing.
        folder: an empty one, for ledgers.
    """
    bare = one_run(framework, python, folder, None)
    for way in framework.ways:
        ran = one_run(framework, python, folder, way)
        if framework.metered:
            yield Outcome(way, ran, complaints(bare, ran))
        else:
            wrong = [f"{len(ran.rows)} rows of calls that are said not to be metered"] if ran.rows else []
            yield Outcome(way, ran, wrong)
    if framework.metered:
        ran = one_run(framework, python, folder, "refused")
        yield Outcome("refused", ran, of_refusal(ran, framework.refused))
    if shown := shown_for(framework.name):
        program = folder / "page.py"
        program.write_text("import kit\n" + shown, encoding="utf-8")
        ran = one_run(framework, python, folder, "page", program)
        yield Outcome("page", ran, of_ledger(ran))


def shown_for(name: str) -> str:
    """The program that the documentation shows under the heading of this framework; "" if it shows none."""
    found = re.search(
        rf"^## {name.replace('-', '[ -]?')}\n(?:(?!^## ).)*?^```py\n(.*?)^```$",
        PAGE.read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE | re.IGNORECASE,
    )
    return found[1] if found else ""


def one_run(
    framework: Framework, python: Path, folder: Path, way: Way | None, program: Path | None = None
) -> Ran:
    """Runs the program once.

    Raises:
        RuntimeError: if it fails, with what it said.
    """
    program = program or framework.program
    ledger = folder / f"{framework.name}-{way}.db"
    with FakeProvider(answer) as provider:
        env = {name: os.environ[name] for name in _KEPT if name in os.environ}
        env |= _SILENT | {
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_BASE": provider.base_url,
            "OPENAI_API_KEY": "none",
            "FARTHING_LEDGER": str(ledger),
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join([str(PROGRAMS), str(ROOT / "src")]),
        }
        command = [str(python), str(program)]
        if way in {"run", "refused"}:
            budget = "$100/day" if way == "run" else "$0.000001"
            command = [str(python), "-m", "farthing", "run", "--budget", budget, "--", *command]
        elif way is not None:
            env["WAY"] = way
        done = subprocess.run(
            command, env=env, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode and way != "refused":
            raise RuntimeError(f"{program.name} ({way or 'unmetered'}) failed:\n{done.stderr[-4000:]}")
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"step"')]
        rows, held, spent = read(ledger) if ledger.exists() else ([], 0, 0)
        elsewhere = re.findall(r"^tried to reach (.+)$", done.stderr, re.MULTILINE)
        return Ran(answers, provider.requests, rows, held, spent, elsewhere, done.returncode)
