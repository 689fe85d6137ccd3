"""Tokens of the tools that a request declares.

OpenAI's models see functions as a TypeScript namespace, as hmarr/openai-chat-tokens found
(https://github.com/hmarr/openai-chat-tokens). That fits recorded chats closely and recorded Responses
badly, so that the upper figure leans on the JSON of the declarations as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final

from farthing.tokens.families import Family
from farthing.tokens.tally import Tally, as_json, as_mapping

__all__ = ["add_schema", "add_tool_choice", "add_tools"]

_DEPTH: Final = 32
_SCALARS: Final = {"string", "boolean", "null"}
Schema = Mapping[str, Any]

_known: dict[tuple[Family, bytes], tuple[int, int]] = {}


def add_tools(tally: Tally, tools: Iterable[object], *, after_system: bool, chat: bool) -> None:
    """Declarations in any shape: `{"type": "function", "function": {...}}`, the flat one of Responses and of
    old functions, Anthropic's. Of tools that the provider runs itself only a declaration is counted here,
    not what they find and feed back."""
    functions: list[Schema] = []
    for tool in tools:
        fields = as_mapping(tool)
        if fields is None:
            tally.json(tool)
            continue
        inner = fields.get("function") or fields.get("custom")
        function = inner if isinstance(inner, Mapping) else fields
        if isinstance(function.get("name"), str) and fields.get("type", "function") in {"function", "custom"}:
            functions.append(function)
        else:
            tokens, more = tally.measure(as_json(fields))
            tally.guess(300, max(4000, tally.at_most(tokens) + more))
    if functions:
        _add_functions(tally, functions, after_system=after_system, chat=chat)


def _add_functions(tally: Tally, functions: list[Schema], *, after_system: bool, chat: bool) -> None:
    family = tally.family
    tokens, in_json = _measured(tally, functions)
    upper = max(tokens * 13 // 10, in_json) + 16 * len(functions) + 32
    if after_system:
        tokens -= 4
    if chat:
        tokens += family.tools + (family.prime == 2 and any(map(_is_bare, functions)))
    upper += family.tools_upper if chat else 128
    tally.guess(tokens * family.percent // 100, upper * family.percent_upper // 100)


def _measured(tally: Tally, functions: list[Schema]) -> tuple[int, int]:
    """Tokens of the declarations as TypeScript, and at most as JSON; remembered, as they rarely change."""
    text = as_json(functions)
    key = tally.family, blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    known = _known.get(key)
    if known is None:
        tokens = tally.measure(_namespace(functions))[0] + 9
        if tally.family.encoding == "o200k_base":
            tokens -= sum(map(_is_bare, functions))
        known = tokens, sum(tally.measure(text))
        if not tally.guesses:
            if len(_known) >= 256:
                _known.clear()
            _known[key] = known
    return known


def add_tool_choice(tally: Tally, choice: object) -> None:
    """What a choice other than "auto" and "required" adds."""
    if choice == "none":
        tally.guess(1, 4)
    fields = as_mapping(choice)
    if fields is None:
        return
    inner = fields.get("function")
    name = (inner if isinstance(inner, Mapping) else fields).get("name")
    if isinstance(name, str):
        tokens, more = tally.measure(name)
        tally.guess(0 if tally.family.prime == 2 else tokens + 4, 2 * tally.at_most(tokens) + more + 12)
    else:
        tally.beside(fields)


def add_schema(tally: Tally, response_format: object) -> None:
    """The format of the answer: chat's `response_format` or the `format` of Responses' `text`."""
    fields = as_mapping(response_format)
    if fields is None:
        if isinstance(response_format, type):  # a model class of the SDK's `parse`
            tally.guess(100, 4000)
        return
    inner = fields.get("json_schema")
    schema = inner if isinstance(inner, Mapping) else fields
    if "schema" not in schema:
        if len(fields) > 1:  # a grammar, or what else there may be
            tally.beside(fields)
        return
    shown = {name: schema[name] for name in ("description", "schema") if name in schema}
    tokens, more = tally.measure(as_json(shown))
    tally.guess(tokens * 85 // 100 + 8, tally.at_most(tokens) * 4 // 3 + more + 40)


def _is_bare(function: Schema) -> bool:
    """Whether no property is described: seen to save a token in bills of o200k_base models."""
    properties = _properties(function)
    return bool(properties) and not any(
        isinstance(p, Mapping) and p.get("description") for p in properties.values()
    )


def _properties(function: Schema) -> Schema:
    schema = function.get("parameters") or function.get("input_schema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}


def _namespace(functions: list[Schema]) -> str:
    lines = ["namespace functions {", ""]
    for function in functions:
        if function.get("description"):
            lines.append(f"// {function['description']}")
        if _properties(function):
            schema = function.get("parameters") or function.get("input_schema")
            lines += [f"type {function['name']} = (_: {{", _object(schema, 0), "}) => any;", ""]
        else:
            lines += [f"type {function['name']} = () => any;", ""]
    lines.append("} // namespace functions")
    return "\n".join(lines)


def _object(schema: Any, depth: int) -> str:
    required = schema.get("required")
    names = required if isinstance(required, (list, tuple)) else ()
    indent = " " * (2 * depth)
    lines = []
    for name, value in schema["properties"].items():
        if isinstance(value, Mapping) and value.get("description") and depth < 1:
            lines.append(f"{indent}// {value['description']}")
        optional = "" if name in names else "?"
        lines.append(f"{indent}{name}{optional}: {_type(value, depth)},")
    return "\n".join(lines)


def _type(schema: Any, depth: int) -> str:
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return "any"
    for union in ("anyOf", "oneOf", "allOf"):
        if isinstance(options := schema.get(union), (list, tuple)):
            return " | ".join(_type(option, depth + 1) for option in options)
    if isinstance(choices := schema.get("enum"), (list, tuple)):
        return " | ".join(as_json(choice) for choice in choices)
    if "const" in schema:
        return as_json(schema["const"])
    kind = schema.get("type")
    if isinstance(kind, (list, tuple)):
        return " | ".join(_type({**schema, "type": one}, depth + 1) for one in kind if isinstance(one, str))
    if kind == "array":
        return _type(schema.get("items"), depth) + "[]"
    if kind == "object" and isinstance(schema.get("properties"), Mapping):
        return f"{{\n{_object(schema, depth + 1)}\n}}"
    if kind in {"number", "integer"}:
        return "number"
    return kind if isinstance(kind, str) and kind in _SCALARS else kind if kind == "object" else "any"
