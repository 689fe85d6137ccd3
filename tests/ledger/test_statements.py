"""SQL is constant: whatever a user says is bound, and never formatted into it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "farthing"
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+(TABLE|VIEW|INDEX)"
    r"|DROP\s+(TABLE|VIEW)|PRAGMA\s|VACUUM)\b",
    re.IGNORECASE | re.DOTALL,
)

FORMATTED = {
    # file: what is formatted into a statement there, and why that is no user's
    "demo.py": {"path"},  # shown, and not run
    "ledger/questions/totals.py": {
        "columns", "rollup", "groups + ', ' if by else ''", "sums", "' UNION ALL '.join(parts)", "terms",
        "name", "_KINDS[name]",
        "f' GROUP BY {groups} HAVING sum(calls) <> 0 ORDER BY {groups}' if by else ''",
    },  # checked against DIMENSIONS
    "ledger/questions/checking.py": {"keys", "columns", "minus", "totals", "table", "selected", "differs"},
    "ledger/upkeep/migrations.py": {"name", "select"},
    "ledger/upkeep/schema.py": {"kept", "dimensions", "of_row"},
    "ledger/writing/posting.py": {"int(seconds * 1000)"},  # a PRAGMA takes no bound values
    "ledger/calls/summing.py": {"account", "operation", "provider", "model"},
}  # fmt: skip
"""Beside constants of the module and of others, which are in capitals."""


def statements() -> Iterator[tuple[str, ast.JoinedStr]]:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                text = "".join(p.value if isinstance(p, ast.Constant) else " x " for p in node.values)
                if SQL.search(text):
                    yield path.relative_to(SOURCE).as_posix(), node


def is_constant(node: ast.expr) -> bool:
    """A name in capitals, an item or attribute of one, or what a private function makes of constants."""
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.Name):
        return node.id.isupper() or node.id.strip("_").isupper()
    if isinstance(node, ast.Attribute):
        return node.attr.isupper()
    if isinstance(node, ast.Subscript):
        return is_constant(node.value) and is_constant(node.slice)
    if isinstance(node, ast.JoinedStr):
        return all(is_constant(p.value) for p in node.values if isinstance(p, ast.FormattedValue))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("_"):
        return all(is_constant(argument) for argument in node.args)
    return False


def strange(found: Iterator[tuple[str, ast.JoinedStr]]) -> list[str]:
    return [
        f"{file}:{node.lineno}: {{{ast.unparse(part.value)}}}"
        for file, node in found
        for part in node.values
        if isinstance(part, ast.FormattedValue)
        and not is_constant(part.value)
        and ast.unparse(part.value) not in FORMATTED.get(file, set())
    ]


def test_only_constants_are_formatted_into_statements() -> None:
    assert strange(statements()) == []


@pytest.mark.parametrize("code", ["f'SELECT x FROM {table}'", "f'UPDATE call SET cost = {cost} WHERE 1'"])
def test_a_statement_that_is_formatted_would_be_found(code: str) -> None:
    node = ast.parse(code, mode="eval").body
    assert isinstance(node, ast.JoinedStr)
    assert strange(iter([("x.py", node)])) != []


def places_of(text: str) -> list[str]:
    return [
        path.relative_to(SOURCE).as_posix()
        for path in sorted(SOURCE.rglob("*.py"))
        for _ in range(path.read_text(encoding="utf-8").count(text))
    ]


def test_the_epoch_of_budgets_is_read_by_one_text() -> None:
    assert places_of("SELECT number FROM meta WHERE key = 'budget_epoch'") == ["ledger/calls/sql.py"]


def test_no_statement_is_put_together_by_percent_plus_or_format() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = None
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
                text = node.left
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "format"
            ):
                text = node.func.value
            if isinstance(text, ast.Constant) and isinstance(text.value, str) and SQL.search(text.value):
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert found == []
