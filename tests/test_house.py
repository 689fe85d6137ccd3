"""The house keeps its own rules: sizes, names, the face, what an import costs."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import farthing

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src" / "farthing").rglob("*.py"))
HEAVY = {"click", "genai_prices", "openai", "rich", "sqlite_utils", "starlette", "tiktoken"}


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def test_no_source_file_is_longer_than_400_lines_and_no_package_face_than_60():
    too_long = {
        shown(path): lines
        for path in SOURCES
        if (lines := len(path.read_text(encoding="utf-8").splitlines()))
        > (60 if path.name == "__init__.py" else 400)
    }
    assert too_long == {}


def test_no_function_is_longer_than_70_lines_beside_its_signature_and_docstring(trees):
    too_long = {
        f"{shown(path)}:{node.lineno} {node.name}": lines
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := body_lines(node)) > 70
    }
    assert too_long == {}


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Wide keyword-only signatures and their docstrings are the public contract, not length."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_there_is_no_room_for_odds_and_ends():
    odd = {"common", "helpers", "misc", "util", "utils"}
    assert [shown(path) for path in SOURCES if path.stem in odd or path.parent.name in odd] == []


def test_imports_are_absolute(trees):
    relative = [
        f"{shown(path)}:{node.lineno}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_the_face_names_what_it_offers_and_every_name_is_there():
    names = farthing.__all__
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert [name for name in names if not hasattr(farthing, name)] == []


def test_the_face_is_the_same_for_type_checkers_as_at_run_time():
    tree = ast.parse(Path(inspect.getfile(farthing)).read_text(encoding="utf-8"))
    [checking] = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    imported = {
        (node.module, alias.name)
        for node in checking.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    offered = {(farthing._ROOM_OF.get(name, "farthing.meter.default"), name) for name in farthing.__all__}
    assert imported == offered


def test_a_name_that_is_not_offered_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = farthing.nothing


def test_no_public_name_is_hidden_by_a_room_of_that_name():
    rooms = {path.stem for path in (ROOT / "src" / "farthing").iterdir()}
    assert rooms & (set(farthing.__all__) | {"reports"}) == set()


def test_every_list_of_public_names_is_true(trees):
    wrong: dict[str, set[str]] = {}
    for path, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
            ):
                names = ast.literal_eval(node.value)
                missing = set(names) - bound_in(tree)
                if missing and path.parent != ROOT / "src" / "farthing":
                    wrong[shown(path)] = missing
    assert wrong == {}


def bound_in(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_importing_farthing_and_naming_what_it_offers_loads_nothing_heavy():
    code = (
        "import json, sys; import farthing; light = set(sys.modules);"
        "[getattr(farthing, name) for name in farthing.__all__];"
        "print(json.dumps([sorted(m for m in light if m.startswith('farthing')), sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    at_import, at_use = json.loads(done.stdout)
    assert at_import == ["farthing"]
    assert HEAVY & {name.partition(".")[0] for name in at_use} == set()


def test_modules_and_what_is_public_in_them_have_docstrings(trees):
    bare = [shown(path) for path, tree in trees.items() if ast.get_docstring(tree) is None]
    for path, tree in trees.items():
        bare += [f"{shown(path)}: {name}" for name in undocumented(tree, public_names(tree))]
    assert bare == []


def public_names(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
        ):
            return set(ast.literal_eval(node.value))
    return set()


def undocumented(tree: ast.Module, public: set[str]) -> list[str]:
    """Public functions and classes without a docstring; of an overloaded one, its last definition counts."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    last = {n.name: n for n in tree.body if isinstance(n, (*functions, ast.ClassDef)) and n.name in public}
    return [name for name, node in last.items() if ast.get_docstring(node) is None]


def test_every_public_method_of_what_users_hold_has_a_docstring():
    held = [farthing.Meter, farthing.Scope, farthing.Hold, farthing.Budget, farthing.Usage]
    bare = [
        f"{cls.__name__}.{name}"
        for cls in held
        for name, member in inspect.getmembers(cls)
        if not name.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, property))
        and not inspect.getdoc(member)
    ]
    assert bare == []
