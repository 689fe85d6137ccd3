"""What the loopback provider answers to frameworks: what they ask for, each time with other counts.

The counts differ from request to request, so that a row with another's figures is noticed.
"""

from __future__ import annotations

import json
from typing import Any

from farthing.testing import Reply, Request

TEXT = "A farthing is a quarter of a penny."


def stated(order: int) -> dict[str, int]:
    """The counts that the answer to this request states."""
    return {
        "input_tokens": 1200 + 16 * order,
        "cached_tokens": 1024 + order,
        "output_tokens": 150 + order,
        "reasoning_tokens": order,
    }


def answer(request: Request) -> Reply:
    """A call of the first tool that is offered, until its result has been sent; JSON where a schema asks."""
    body = request.body if isinstance(request.body, dict) else {}
    usage = stated(request.order)
    tools = [tool for tool in body.get("tools") or () if tool.get("type") == "function"]
    if tools and not _has_result(body):
        function = tools[0].get("function", tools[0])
        made = example(function.get("parameters") or {})
        return Reply(usage=usage, tool_calls=[{"name": function["name"], "arguments": made}])
    schema = _asked_schema(body)
    return Reply(TEXT if schema is None else json.dumps(example(schema)), usage=usage, chunks=5)


def _has_result(body: dict[str, Any]) -> bool:
    turns = body.get("messages") or body.get("input") or ()
    return any(
        isinstance(turn, dict) and (turn.get("role") == "tool" or turn.get("type") == "function_call_output")
        for turn in turns
    )


def _asked_schema(body: dict[str, Any]) -> dict[str, Any] | None:
    chat = body.get("response_format") or {}
    responses = (body.get("text") or {}).get("format") or {}
    found = (chat.get("json_schema") or {}).get("schema") or responses.get("schema")
    return found if isinstance(found, dict) else None


def example(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """A value that fits a JSON schema of the kind that frameworks make of classes and functions."""
    root = schema if root is None else root
    if "$ref" in schema:
        found: Any = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return example(found, root)
    for several in ("anyOf", "allOf", "oneOf"):
        if several in schema:
            return example(schema[several][0], root)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "array":
        return [example(schema.get("items") or {"type": "string"}, root)]
    if kind == "object" or "properties" in schema:
        return {name: example(of, root) for name, of in schema.get("properties", {}).items()}
    plain: dict[Any, Any] = {"integer": 4, "number": 0.25, "boolean": True, "null": None}
    return plain.get(kind, "farthing")
