"""Tokens of the items of a Responses request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from farthing.tokens.media import add_image
from farthing.tokens.parts import add_beside, add_content
from farthing.tokens.tally import Tally, as_mapping

__all__ = ["add_items", "add_message"]

_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input", "mcp_call": "arguments"}


_EVERY: Final = ("type", "id", "status", "call_id")
"""What every item may have and no model is shown as it stands."""

_OF_MESSAGE: Final = frozenset((*_EVERY, "role", "content"))
_OF_CALL: Final = frozenset((*_EVERY, "name", "arguments", "input", "output"))
_OF_OUTPUT: Final = frozenset((*_EVERY, "output"))
_OF_REASONING: Final = frozenset((*_EVERY, "summary", "encrypted_content"))
_OF_IMAGE: Final = frozenset((*_EVERY, "result"))


def add_message(tally: Tally, role: str, content: object) -> None:
    """One message."""
    tally.messages += 1
    tally.counted += 3 + tally.tokenizer.short(role)
    add_content(tally, content)
    if role == "assistant":
        tally.answered = True
        tally.guess(0, 0)  # recorded bills of earlier answers do not always add up


def add_items(tally: Tally, items: object) -> None:
    """A text (a message of the user), or a list of items."""
    if isinstance(items, str):
        add_message(tally, "user", items)
    elif isinstance(items, (list, tuple)):
        for item in items:
            _add_item(tally, item)
    elif items is not None:
        tally.unseen()


def _add_item(tally: Tally, item: object) -> None:
    fields = as_mapping(item)
    if fields is None:
        tally.json(item)
        return
    kind = fields.get("type", "message")
    if kind == "message":
        role = fields.get("role")
        add_message(tally, role if isinstance(role, str) else "user", fields.get("content"))
        add_beside(tally, fields, _OF_MESSAGE)
    elif kind in _CALLS:
        tally.text(str(fields.get("name") or ""))
        add_content(tally, fields.get(_CALLS[kind]))
        add_content(tally, fields.get("output"))
        tally.guess(tally.family.round_trip + 8, 2 * tally.family.round_trip + 24)
        add_beside(tally, fields, _OF_CALL)
    elif isinstance(kind, str) and kind.endswith("_output"):
        add_content(tally, fields.get("output"))
        tally.guess(8, 24)
        add_beside(tally, fields, _OF_OUTPUT)
    elif kind == "reasoning":
        _add_reasoning(tally, fields)
    elif kind in {"item_reference", "compaction"}:
        tally.unseen()
    elif kind == "image_generation_call":
        add_image(tally, None)
        add_beside(tally, fields, _OF_IMAGE)
    else:
        tally.json(fields)


def _add_reasoning(tally: Tally, fields: Mapping[str, Any]) -> None:
    """Reasoning that is handed back, sealed or by its id alone; whether it is billed depends on the turn."""
    add_content(tally, fields.get("summary"))
    sealed = fields.get("encrypted_content")
    tally.shown = False
    if isinstance(sealed, str):
        tally.guess(len(sealed) // 6, len(sealed) * 3 // 4)
    else:
        tally.unseen()
    add_beside(tally, fields, _OF_REASONING)
