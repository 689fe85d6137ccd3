"""Tokens of a chat: the shapes of chat completions, and of Anthropic's Messages where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from farthing.tokens.parts import add_beside, add_content
from farthing.tokens.tally import Tally, as_mapping
from farthing.tokens.tools import add_schema, add_tool_choice, add_tools

__all__ = ["add_messages", "add_options", "add_prime"]

_NEVER_SHOWN: Final = ("id", "index", "object", "status", "type")
_OF_MESSAGE: Final = frozenset(
    ("role", "content", "name", "function_call", "tool_calls", "audio", "refusal", *_NEVER_SHOWN)
)
_OF_CALL: Final = frozenset(("function", "custom", "index", "type"))
_OF_FUNCTION: Final = frozenset(("name", "arguments", "input"))


def add_prime(tally: Tally) -> None:
    """What every chat has, whatever is in it."""
    family = tally.family
    tally.counted += family.prime
    if family.preamble:
        tally.guess(family.preamble, family.preamble_upper)


def add_messages(tally: Tally, messages: object, *, with_tools: bool) -> bool:
    """The messages of a chat; True if one of them is a system message."""
    if isinstance(messages, str):
        messages = ({"role": "user", "content": messages},)
    if not isinstance(messages, (list, tuple)):
        if messages is not None:
            tally.unseen()  # an iterator would be used up by looking at it
        return False
    system = False
    for message in messages:
        fields = message if type(message) is dict else as_mapping(message)
        if fields is None:
            tally.json(message)
            continue
        role = fields.get("role")
        content = fields.get("content")
        if type(role) is str:
            tally.counted += tally.tokenizer.short(role)
            if not system and role in {"system", "developer"}:
                system = True
                if with_tools and isinstance(content, str):
                    content += "\n"
        tally.counted += 3
        tally.messages += 1
        if type(content) is str:
            tally.text(content)
        else:
            add_content(tally, content)
        if len(fields) != 2 or content is None:
            _add_rest(tally, fields, role)
    return system


def _add_rest(tally: Tally, message: Mapping[str, Any], role: object) -> None:
    name = message.get("name")
    if isinstance(name, str) and name:
        tally.counted += 1 + tally.tokenizer.short(name)
        if name == role and tally.family.encoding == "o200k_base":
            tally.counted -= 1  # seen in recorded bills
    if role == "function":
        tally.guess(-2, 6)
    if message.get("function_call"):
        _add_call(tally, message["function_call"])
        tally.guess(3, 12)
    calls = message.get("tool_calls")
    if isinstance(calls, (list, tuple)) and calls:
        for call in calls:
            fields = as_mapping(call) or {}
            _add_call(tally, fields.get("function") or fields.get("custom"))
            if len(fields) > 3:  # the usual ones, whose id is of the round trip
                add_beside(tally, fields, _OF_CALL)
        each = tally.family.round_trip
        extra = each if len(calls) == 1 else len(calls) * 16
        tally.guess(extra, extra + 10 * len(calls) + 8)
    if isinstance(audio := message.get("audio"), Mapping) and audio:
        tally.shown = False
        tally.guess(500, 20_000)  # an earlier spoken answer, named by its id
    if message.get("refusal"):
        add_content(tally, message["refusal"])
    add_beside(tally, message, _OF_MESSAGE)


def _add_call(tally: Tally, call: object) -> None:
    fields = as_mapping(call) or {}
    tally.text(str(fields.get("name") or ""))
    for name in ("arguments", "input"):
        add_content(tally, fields.get(name))
    if len(fields) > 2:
        add_beside(tally, fields, _OF_FUNCTION)


def add_options(
    tally: Tally,
    *,
    tools: object,
    tool_choice: object,
    response_format: object,
    after_system: bool,
    chat: bool,
) -> None:
    """What else of a request becomes input."""
    if isinstance(tools, (list, tuple)) and tools:
        add_tools(tally, tools, after_system=after_system, chat=chat)
        add_tool_choice(tally, tool_choice)
    if response_format is not None:
        add_schema(tally, response_format)
