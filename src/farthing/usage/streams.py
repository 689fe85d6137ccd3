"""Events of a stream: what was seen of the output, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from farthing.usage.flavours import row_of
from farthing.usage.paths import leaves

__all__ = ["choices_ended", "failed", "finished", "visible", "visible_in"]

_DEEP = 8


def visible(flavour: str, events: Iterable[Mapping[str, Any]]) -> str:
    """The output that these parsed events show: text, visible reasoning, refusals, names and arguments of
    tool calls, in the order in which they came. Hidden reasoning is not in it, but is billed."""
    row = row_of(flavour)
    if row is None:
        return ""
    pieces: list[str] = []
    for event in events:
        if isinstance(event, Mapping):
            kind = event.get("type") or event.get("object")
            for wanted, path in row.seen:
                if wanted is None or wanted == kind:
                    pieces.extend(text for leaf in leaves(event, path) for text in _texts(leaf))
    return "".join(pieces)


def visible_in(flavour: str, body: Any) -> str:
    """The same of a whole answer: parsed JSON, or an SDK's object."""
    dump = getattr(body, "model_dump", None)
    whole = dump() if callable(dump) else body
    return visible(flavour, (whole,)) if isinstance(whole, Mapping) else ""


def _texts(leaf: Any, depth: int = 0) -> Iterator[str]:
    """The text of a leaf. Mistral streams lists of {type, text} or {type, thinking: [...]}
    (github.com/braintrustdata/braintrust-sdk-javascript/issues/1857); Gemini's arguments are objects."""
    if isinstance(leaf, str):
        yield leaf
    elif depth > _DEEP:
        return
    elif isinstance(leaf, list):
        for item in leaf:
            yield from _texts(item, depth + 1)
    elif isinstance(leaf, Mapping):
        inner = leaf.get("text") or leaf.get("thinking")
        if inner is not None and isinstance(inner, (str, list)):
            yield from _texts(inner, depth + 1)
        elif depth == 0:
            yield _json(leaf)


def _json(value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(value), separators=(",", ":"), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def finished(event: Mapping[str, Any], flavour: str) -> bool:
    """Whether the output ends with this event, well or not. A chat of several choices ends each of them."""
    row = row_of(flavour)
    if row is None or not isinstance(event, Mapping):
        return False
    kind = event.get("type")
    if isinstance(kind, str) and kind in row.ends:
        return True
    return failed(event, flavour) or any(True for path in row.end_at for _ in leaves(event, path))


def choices_ended(event: Mapping[str, Any], flavour: str) -> frozenset[int]:
    """Which of the answers to a request for several end with this event: their `index`, or their place."""
    row = row_of(flavour)
    found: set[int] = set()
    for path in row.end_at if row is not None and isinstance(event, Mapping) else ():
        into, _, rest = path.partition("[].")
        for place, choice in enumerate(leaves(event, into + "[]")):
            if any(True for _ in leaves(choice, rest)):
                index = choice.get("index") if isinstance(choice, Mapping) else None
                found.add(index if type(index) is int else place)
    return frozenset(found)


def failed(event: Mapping[str, Any], flavour: str) -> bool:
    """Whether this event says that the answer failed."""
    if not isinstance(event, Mapping):
        return False
    row = row_of(flavour)
    kind = event.get("type")
    return bool(event.get("error")) or (row is not None and isinstance(kind, str) and kind in row.fails)
