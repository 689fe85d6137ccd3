"""What an installed SDK can do: its resources as a client has them, and what their methods post to."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

_FIELD = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a client that sends something.

    Attributes:
        name: as a program calls it: `chat.completions.create`.
        path: that it posts to, with a star for each id; of a `connect`, "".
        streams: "maybe" if it takes `stream`, "always" if it is for streams, "" if it makes none.
        module: in which its resource is defined.
    """

    name: str
    path: str
    streams: str
    module: str


def methods_of(client: Any, *, rooms: frozenset[str] | None = None) -> list[Method]:
    """Every method of this client that posts or connects; of these rooms only, if some are named."""
    found = []
    for name, resource in _resources(client, rooms):
        for attribute in dir(type(resource)):
            fn = inspect.unwrap(getattr(type(resource), attribute, None) or _nothing)
            if attribute.startswith("_") or not inspect.isfunction(fn):
                continue
            module = type(resource).__module__
            if attribute == "connect":
                found.append(Method(f"{name}.connect", "", streams="", module=module))
            streams = "maybe" if "stream" in inspect.signature(fn).parameters else ""
            if attribute.rpartition("_")[2] == "stream":
                streams = "always"
            found.extend(
                Method(f"{name}.{attribute}", path, streams=streams, module=module) for path in posts(fn)
            )
    return found


def _nothing() -> None: ...


def _resources(client: Any, rooms: frozenset[str] | None) -> Iterator[tuple[str, Any]]:
    """The resources of a client by their names, the nearest first; one that has two names has its shorter."""
    seen: set[type] = set()
    waiting: list[tuple[str, Any]] = [("", client)]
    while waiting:
        name, owner = waiting.pop(0)
        for attribute in _properties(type(owner)):
            if not name and rooms is not None and attribute not in rooms:
                continue
            inner = getattr(owner, attribute)
            if hasattr(inner, "_post") and type(inner) not in seen:
                seen.add(type(inner))
                path = f"{name}.{attribute}".lstrip(".")
                yield path, inner
                waiting.append((path, inner))


def _properties(cls: type) -> list[str]:
    """Of a class and those that it is made of, less those that lead to the same by other ways."""
    return sorted(
        name
        for name, value in inspect.getmembers_static(cls)
        if not name.startswith(("_", "with_")) and (hasattr(value, "func") or isinstance(value, property))
    )


@cache
def posts(fn: Any) -> tuple[str, ...]:
    """The paths that a function posts to, itself or through one of the SDK's own that it calls."""
    found: list[str] = []
    waiting, seen = [fn], {fn}
    while waiting:
        fn = waiting.pop(0)
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(fn)))):
            if not isinstance(node, ast.Call):
                continue
            at = _posted(node)
            if at is not None:
                found.append(path_of(at))
            elif isinstance(node.func, ast.Name):
                helper = inspect.unwrap(fn.__globals__.get(node.func.id, _nothing))
                own = fn.__module__.partition(".")[0] + ".lib."
                if inspect.isfunction(helper) and helper not in seen and helper.__module__.startswith(own):
                    seen.add(helper)
                    waiting.append(helper)
    return tuple(dict.fromkeys(found))


def _posted(node: ast.Call) -> ast.expr | None:
    """The path of a call that posts: `self._post(path)`, `partial(self._post, path)`, or a list by POST."""
    if isinstance(node.func, ast.Attribute) and node.func.attr == "_post":
        return node.args[0]
    if isinstance(node.func, ast.Attribute) and node.func.attr == "_get_api_list":
        by = [word.value for word in node.keywords if word.arg == "method"]
        return node.args[0] if by and isinstance(by[0], ast.Constant) and by[0].value == "post" else None
    if len(node.args) > 1 and isinstance(node.args[0], ast.Attribute) and node.args[0].attr == "_post":
        return node.args[1]
    return None


def path_of(node: ast.expr) -> str:
    """The path of an expression: a text, an f-string, or a template of the SDK's."""
    if isinstance(node, ast.Call) and node.args:  # path_template("/batches/{batch_id}", batch_id=...)
        node = node.args[0]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        path = _FIELD.sub("*", node.value)
    elif isinstance(node, ast.JoinedStr):
        path = "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
    else:
        return "?"
    return path.partition("?")[0]
