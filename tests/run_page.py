"""Runs the code of one page of the documentation: `python run_page.py PAGE`, in a process of its own.

Python blocks run from top to bottom in one namespace; `print(...)  # text` must print that text (to the
"..." if it ends so), one after the other. SQL blocks run on the ledger of the page, read only, and must
find something. TOML blocks must be settings.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sqlite3
import sys
import tomllib
import warnings
from pathlib import Path
from textwrap import dedent

from farthing import Meter
from farthing.meter.config import settings
from farthing.meter.declared import budgets_of

_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_PRINTS = re.compile(r"^\s*print\(.*\)  # (?P<text>.+)$", re.MULTILINE)


def blocks(page: Path):
    """(language, first line, code) of each fenced block."""
    text = page.read_text(encoding="utf-8")
    return [(m[2], text.count("\n", 0, m.start()) + 2, dedent(m[3])) for m in _FENCE.finditer(text)]


def run_python(page: Path, line: int, code: str, names: dict) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)
    printed = out.getvalue().splitlines()
    for match in _PRINTS.finditer(code):
        text = match["text"]
        rest = printed
        while rest and not is_said(text, rest[0]):  # a loop prints more lines than the page can say
            rest = rest[1:]
        if not rest:
            where = line + code.count("\n", 0, match.start("text"))
            raise SystemExit(f"{page}:{where}: says {text!r} and prints {printed[:3]}")
        printed = rest[1:]


def is_said(text: str, printed: str) -> bool:
    return printed.startswith(text[:-3]) if text.endswith("...") else printed == text


def run_sql(page: Path, line: int, code: str) -> None:
    ledger = sqlite3.connect(f"file:{os.environ['FARTHING_LEDGER']}?mode=ro", uri=True)
    with contextlib.closing(ledger):
        for statement in filter(str.strip, code.split(";")):
            if not ledger.execute(statement).fetchall():
                raise SystemExit(f"{page}:{line}: finds nothing: {statement.strip()}")


def run_toml(page: Path, line: int, code: str) -> None:
    table = tomllib.loads(code)
    file = Path("pyproject.toml" if "tool" in table else "farthing.toml").resolve()
    file.write_text(code, encoding="utf-8")
    found = {k: s.value for k, s in settings({}, {}).items() if s.source == str(file)}
    file.unlink()
    if not found:
        raise SystemExit(f"{page}:{line}: sets nothing")
    found.pop("budget", None)
    found["budgets"] = budgets_of(found.pop("budgets", {}))
    Meter(**{**found, "ledger": ":memory:"})


def main(page: Path) -> None:
    # Pages leave their clients open to the end, as short programs do.
    warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
    names: dict = {"__name__": "__main__"}
    for language, line, code in blocks(page):
        if language == "python":
            run_python(page, line, code, names)
        elif language == "sql":
            run_sql(page, line, code)
        elif language == "toml":
            run_toml(page, line, code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
