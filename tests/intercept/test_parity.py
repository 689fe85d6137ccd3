"""No behaviour is proved for one colour of clients only, unless it says why."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

BOTH = frozenset({"kit", "kind"})
"""Fixtures that run a test once with synchronous and once with asynchronous clients."""

CALLS = frozenset({"create", "parse", "stream", "post"})


def one_coloured(source: str) -> list[str]:
    """Tests that call a client, do it in one colour, and give no reason."""
    tree = ast.parse(source)
    excused = any(_gives_reason(node.value) for node in tree.body if isinstance(node, ast.Assign))
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        names = {argument.arg for argument in node.args.args}
        calls = any(isinstance(part, ast.Attribute) and part.attr in CALLS for part in ast.walk(node))
        if calls and not names & BOTH and not excused and not any(map(_gives_reason, node.decorator_list)):
            found.append(node.name)
    return found


def _gives_reason(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    reason = node.args[0] if node.args else None
    return node.func.attr == "one_colour" and isinstance(reason, ast.Constant) and bool(reason.value)


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("test_*.py")), ids=lambda path: path.stem)
def test_every_behaviour_is_proved_for_both_colours(path):
    assert one_coloured(path.read_text(encoding="utf-8")) == []


def test_a_scenario_of_one_colour_is_found():
    lonely = "def test_x(client):\n    client.chat.completions.create()\n"
    assert one_coloured(lonely) == ["test_x"]
    assert one_coloured("async " + lonely) == ["test_x"]
    assert one_coloured(f"@mark.one_colour('why')\n{lonely}") == []
    assert one_coloured(f"@mark.one_colour('')\n{lonely}") == ["test_x"]
    assert one_coloured(lonely.replace("client)", "kit)")) == []


def test_both_colours_are_run(request, kit):
    assert kit.is_async is request.node.callspec.id.endswith("async")
