"""What the pages say is run: their code, their SQL, their settings, their links, their commands."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import farthing
from farthing import Budget, Meter
from farthing.cli.app import app
from farthing.meter.config import _ENVIRONMENT
from farthing.records import FLAGS
from farthing.testing import FakeProvider, Reply
from run_page import blocks

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
RUNNABLE = [
    page for page in PAGES if {language for language, _, _ in blocks(page)} & {"python", "sql", "toml"}
]

INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && "
USAGE = {"input_tokens": 12, "cached_tokens": 0, "output_tokens": 150, "reasoning_tokens": 0}


def answer(request) -> Reply | None:
    """A long stream, of which the end does not come before somebody has left it."""
    if request.stream and request.body.get("max_tokens") == 900:
        return Reply("It was a dark and stormy night. " * 20, chunks=60, pause_after=20)
    return None


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page, tmp_path):
    with FakeProvider(answer, usage=USAGE) as provider:
        done = subprocess.run(
            [sys.executable, "-W", "error", ROOT / "tests" / "run_page.py", page],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / "src"),
                "OPENAI_BASE_URL": provider.base_url,
                "OPENAI_API_KEY": "none",
                "AZURE_OPENAI_API_KEY": "none",
                "FARTHING_LEDGER": str(tmp_path / "ledger.db"),
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_page_that_says_something_else_than_its_code_prints_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)  # 3\n```\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "run_page.py", page], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "page.md:2: says '3' and prints ['2']" in done.stderr


def test_the_first_screen_of_the_readme_has_the_two_commands_and_few_badges():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert f"{INSTALL}.venv/bin/farthing demo" in lines[:30]
    assert f"{INSTALL}.venv/bin/python -m pytest" in lines[:30]
    assert sum("![" in line for line in lines) <= 3


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if re.match(r"\w+:", target):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.is_file() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_of_the_documentation_is_listed_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in readme] == []


def test_commands_that_the_pages_name_exist():
    known = set(app.commands)
    named = {
        (page.name, command)
        for page in PAGES
        for command in re.findall(r"(?:`|^|bin/)farthing ([a-z]+)\b", page.read_text("utf-8"), re.MULTILINE)
    }
    assert {(page, command) for page, command in named if command not in known} == set()


def test_every_name_that_is_offered_is_written_about():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    held = ["Affordability", "Candidate", "Cost", "CostLine", "Estimate", "Hold", "Rates", "Receipt", "Scope"]
    errors = [
        "FarthingError",
        "InvalidUsage",
        "LedgerCorrupt",
        "LedgerFull",
        "LedgerLocked",
        "LedgerTooNew",
        "Unmeterable",
    ]
    told = {name for name in farthing.__all__ if re.search(rf"\b{name}\b", text)}
    assert set(farthing.__all__) - told - {*held, *errors, "Unmeterable"} == set()


def test_every_column_of_the_public_views_is_described(tmp_path):
    page = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    with Meter(tmp_path / "ledger.db") as meter:
        meter.record(model="gpt-4o", usage={"input_tokens": 1}, transaction_id="1")
        [row] = meter.engine.ledger.calls()
    assert [column for column in row if f"`{column}`" not in page] == []


def test_every_argument_of_a_meter_and_field_of_a_budget_is_described():
    configuration = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    budgets = (ROOT / "docs" / "budgets.md").read_text(encoding="utf-8")
    arguments = [*list(inspect.signature(Meter.__init__).parameters)[1:], *_ENVIRONMENT, "FARTHING_CONFIG"]
    assert [name for name in arguments if f"`{name}`" not in configuration] == []
    assert [name for name in Budget.__dataclass_fields__ if f"`{name}`" not in budgets] == []


def test_every_exception_of_the_guarantee_that_has_a_flag_names_it():
    ledger = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    assert [flag for flag in FLAGS if f"`{flag}`" not in ledger] == []
