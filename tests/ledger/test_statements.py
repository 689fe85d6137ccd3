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
    "ledger/questions/checking.py": {
        "keys", "column", "columns", "minus", "totals", "table", "selected", "differs",
    },
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


RUN = {"execute", "executemany", "executescript"}
PASSED = {"sure", "rows", "_inserted"}
"""Functions that run what they are given as `statement`, their second argument: whoever calls them is looked
at instead."""

RUN_AS_MADE = {
    ("ledger/questions/reading.py", "' AND '.join(terms)"),  # of columns in _NAMED
    ("ledger/questions/totals.py", "statement"),  # of DIMENSIONS, against which what was asked is checked
    ("ledger/writing/posting.py", "int(seconds * 1000)"),  # a PRAGMA takes no bound values
}

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Statements(ast.NodeVisitor):
    """What is run in a file that is neither constant nor made of constants."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.strange: list[str] = []
        self._within: list[_Function] = []
        self._called: set[int] = set()

    def visit_FunctionDef(self, node: _Function) -> None:
        self._within.append(node)
        self.generic_visit(node)
        self._within.pop()

    def visit_AsyncFunctionDef(self, node: _Function) -> None:
        self.visit_FunctionDef(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in RUN:
            self._called.add(id(node.func))
        if name in RUN or name in PASSED:
            place = int(name in PASSED)
            if len(node.args) <= place or not self._is_constant(node.args[place]):
                self._say(node)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in RUN and id(node) not in self._called:
            self._say(node)  # to be called under another name
        self.generic_visit(node)

    def _say(self, node: ast.expr) -> None:
        self.strange.append(f"{self.file}:{node.lineno}: {ast.unparse(node)}")

    def _is_constant(self, node: ast.expr) -> bool:
        if (self.file, ast.unparse(node)) in RUN_AS_MADE:
            return True
        if isinstance(node, ast.Name) and self._within:
            made = self._made(node.id)
            if made:
                return all(each is not None and self._is_constant(each) for each in made)
        if isinstance(node, ast.IfExp):
            return self._is_constant(node.body) and self._is_constant(node.orelse)
        if isinstance(node, ast.JoinedStr):
            return all(self._is_constant(p.value) for p in node.values if isinstance(p, ast.FormattedValue))
        if isinstance(node, ast.Tuple):
            return all(map(self._is_constant, node.elts))
        if isinstance(node, ast.Starred):
            return self._is_constant(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "items":
            return self._is_constant(node.func.value)
        return isinstance(node, ast.Constant | ast.Name | ast.Attribute) and is_constant(node)

    def _made(self, name: str) -> list[ast.expr | None]:
        """What a name stands for in the function around; None for what cannot be seen there."""
        found: list[ast.expr | None] = []
        function = self._within[-1]
        given = function.args
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
            if argument is not None and argument.arg == name:
                passed = function.name in PASSED and argument is given.args[1]
                found.append(ast.Constant("") if passed else None)
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                found += [each for target in node.targets for each in _bound(name, target, node.value)]
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
                found += _bound(name, node.target, node.value)
            elif isinstance(node, ast.For | ast.comprehension) and _names(node.target, name):
                found.append(node.iter)
            elif isinstance(node, ast.AugAssign) and _names(node.target, name):
                found.append(None)
        return found


def _names(target: ast.expr, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(target))


def _bound(name: str, target: ast.expr, value: ast.expr) -> list[ast.expr | None]:
    if isinstance(target, ast.Name):
        return [value] if target.id == name else []
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=True)
        return [each for one, made in pairs for each in _bound(name, one, made)]
    return [None] if _names(target, name) else []


def run_in(file: str, code: str) -> list[str]:
    found = Statements(file)
    found.visit(ast.parse(code))
    return found.strange


def test_only_constant_statements_are_run() -> None:
    """Whatever they look like, and wherever they are put together."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        found += run_in(path.relative_to(SOURCE).as_posix(), path.read_text(encoding="utf-8"))
    assert found == []


MADE_WITH_A_VALUE = [
    """conn.execute(f"SELECT id FROM call WHERE account = '{x}'")""",
    """conn.execute(_Q + "'" + x + "'")""",
    """conn.execute(_Q % x)""",
    """conn.execute(_Q.format(x))""",
    """conn.execute(f"{_Q} WHERE account = '{x}'")""",
    """conn.execute("SELECT id FROM call WHERE account = $x".replace("$x", x))""",
    """conn.execute(" ".join(["SELECT id FROM call WHERE account =", x]))""",
    """conn.execute("SELECT " + x + " FROM call")""",
    """conn.execute(_Q + f" WHERE account = '{x}'")""",
    """conn.execute(f"REPLACE INTO meta VALUES ('{x}', 1)")""",
    """conn.executescript(f"ATTACH '{x}' AS y")""",
    """conn.executemany(f"ALTER TABLE {x} ADD COLUMN y", [])""",
    """sql = _Q; sql += repr(x); conn.execute(sql)""",
    """sql, values = _Q + x, (); conn.execute(sql, values)""",
    """_Q = x; conn.execute(_Q)""",
    """[conn.execute(f"DROP VIEW {name}") for name in x]""",
    """sure(conn, _Q + x)""",
    """reading.rows(conn, f"{_Q} {x}")""",
    """run = conn.execute; run(_Q + x)""",
    """conn.execute(x)""",
    """conn.execute(*x)""",
]


@pytest.mark.parametrize("code", MADE_WITH_A_VALUE)
def test_a_statement_that_is_made_with_a_value_would_be_found(code: str) -> None:
    """The control."""
    assert run_in("x.py", f"def f(conn, x):\n    {code}\n") != []


@pytest.mark.parametrize(
    "code",
    [
        "conn.execute(_Q, (x,))",
        "conn.execute(sql.HOLD if x else sql.HOLD_GUARDED)",
        "for name, select in VIEWS: conn.execute(f'CREATE VIEW {name} AS {select}')",
    ],
)
def test_a_constant_statement_is_not_found(code: str) -> None:
    assert run_in("x.py", f"def f(conn, x):\n    {code}\n") == []


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
