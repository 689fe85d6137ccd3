"""Ways into a body: dotted paths, and objects of an SDK taken for the JSON they were made from."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

__all__ = ["WORD", "fields_of", "first", "leaves", "plain", "shown", "word"]

_DEEP = 8
_JSON = frozenset({int, str, float, bool, dict})
_RAW = 4096
WORD = 200
"""Characters of a name that are kept."""

_NO_MODEL = object()
_NAME = re.compile(r"[\w.:/+-]{0,64}", re.ASCII)


def fields_of(body: object) -> Mapping[str, Any] | None:
    """The top level of a body without looking further: its text may be large. None if it has no fields."""
    extra = getattr(body, "__pydantic_extra__", _NO_MODEL)  # what the SDK's types do not name
    if extra is _NO_MODEL and isinstance(body, Mapping):
        return body
    own = getattr(body, "__dict__", None)
    if isinstance(own, dict) and own:
        return {**own, **extra} if extra and type(extra) is dict else own
    return None


def plain(value: Any, depth: int = 0) -> Any:
    """Objects of an SDK inside a usage object as mappings, fields that are not set left out."""
    if value is None or type(value) in _JSON or depth > _DEEP:
        return value
    if isinstance(value, list):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return value
    fields = fields_of(value)
    if fields is None:
        return value
    return {
        key: inner if type(inner) is int else plain(inner, depth + 1)
        for key, inner in fields.items()
        if inner is not None
    }


@lru_cache(maxsize=256)
def _steps(path: str) -> tuple[tuple[str, ...] | None, ...]:
    """A path as steps: the keys of which the first that is there is taken, or None for every item."""
    steps: list[tuple[str, ...] | None] = []
    for step in path.split("."):
        steps.append(tuple(step.removesuffix("[]").split("|")))
        if step.endswith("[]"):
            steps.append(None)
    return tuple(steps)


def leaves(value: object, path: str) -> Iterator[Any]:
    """Everything at a path that is there and not empty."""
    return _walk(value, _steps(path))


def _walk(value: Any, steps: tuple[tuple[str, ...] | None, ...]) -> Iterator[Any]:
    if not steps:
        if value:
            yield value
        return
    keys, rest = steps[0], steps[1:]
    if keys is None:
        if isinstance(value, list):
            for item in value:
                yield from _walk(item, rest)
    elif isinstance(value, Mapping):
        for key in keys:
            if value.get(key):
                yield from _walk(value[key], rest)
                return


def first(fields: Mapping[str, Any], path: str) -> Any:
    """What is at a path without lists, through mappings and objects; None if nothing is."""
    value: Any = fields
    for key in path.split("."):
        inside = value if isinstance(value, Mapping) else fields_of(value)
        if inside is None:
            return None
        value = inside.get(key)
    return value


def word(value: object) -> str | None:
    """A name that a body gives; None if it gives none."""
    return value[:WORD] if isinstance(value, str) and value else None


def shown(usage: object) -> str:
    """A usage object as compact JSON, bounded whatever it holds: no text of an answer gets through here."""
    text = "null"
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        text = json.dumps(_bounded(usage), separators=(",", ":"))
    return text[:_RAW]


def _bounded(value: Any, depth: int = 0) -> Any:
    if value is None or type(value) in {bool, float}:
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= 1024 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, str):
        return value if _NAME.fullmatch(value) else f"a text of {len(value)} characters"
    if depth < _DEEP and isinstance(value, Mapping):
        return {_bounded(str(key)): _bounded(value[key], depth + 1) for key in list(value)[:64]}
    if depth < _DEEP and isinstance(value, (list, tuple)):
        return [_bounded(item, depth + 1) for item in value[:64]]
    return type(value).__name__
