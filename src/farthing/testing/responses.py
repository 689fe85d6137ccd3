"""How answers of the Responses API are spelled (https://platform.openai.com/docs/api-reference/responses)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from farthing.testing.replies import Reply, Request
from farthing.testing.shapes import (
    CREATED,
    Stream,
    answer_text,
    pieces_of,
    served_tier,
    tool_arguments,
)

__all__ = ["response", "response_stream"]

Json = dict[str, Any]


def response(request: Request, reply: Reply, usage: Json | None) -> Json:
    """A `response` object in its final state."""
    failure = {"code": "server_error", "message": "The fake provider was told to fail."}
    return {
        **_under_way(request, reply),
        "status": reply.end,
        "error": failure if reply.end == "failed" else None,
        "incomplete_details": {"reason": "max_output_tokens"} if reply.end == "incomplete" else None,
        "output": [] if reply.end == "failed" else _items(request, reply),
        "usage": usage,
    }


def _under_way(request: Request, reply: Reply) -> Json:
    return {
        "id": f"resp_{request.order:06d}",
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": request.body.get("instructions"),
        "max_output_tokens": request.body.get("max_output_tokens"),
        "metadata": request.body.get("metadata") or {},
        "model": reply.model or request.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": request.body.get("previous_response_id"),
        "temperature": 1,
        "tool_choice": "auto",
        "tools": request.body.get("tools") or [],
        "top_p": 1,
        "usage": None,
        **served_tier(request, reply),
    }


def _items(request: Request, reply: Reply) -> list[Json]:
    state = "incomplete" if reply.end == "incomplete" else "completed"
    items: list[Json] = []
    if text := answer_text(reply):
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        items.append({
            "id": f"msg_{request.order:06d}",
            "type": "message",
            "role": "assistant",
            "status": state,
            "content": [part],
        })  # fmt: skip
    for i, call in enumerate(reply.tool_calls):
        items.append({
            "id": f"fc_{request.order:06d}_{i}",
            "type": "function_call",
            "status": state,
            "call_id": call.get("id", f"call_{request.order:06d}_{i}"),
            "name": call["name"],
            "arguments": tool_arguments(call),
        })  # fmt: skip
    return items


def response_stream(request: Request, reply: Reply, usage: Json | None) -> Stream:
    """The events from `response.created` to the one that ends the stream. Their numbers rise by one.

    What opens and closes an item is sent with its nearest piece, so that cutting after n pieces cuts there.
    """
    begun = _under_way(request, reply)
    opening: list[Json] = [
        {"type": f"response.{state}", "response": begun} for state in ("created", "in_progress")
    ]
    groups: list[list[Json]] = []
    for index, item in enumerate(_items(request, reply)):
        groups.extend(_item_events(index, item, reply.chunks))
    ending: Json = {"type": f"response.{reply.end}", "response": response(request, reply, usage)}
    for number, event in enumerate([*opening, *(event for group in groups for event in group), ending]):
        event["sequence_number"] = number
    return Stream(opening, groups, [ending], named=True)


def _item_events(index: int, item: Json, chunks: int) -> Iterator[list[Json]]:
    """Groups of events, each with one delta."""
    spoken = item["type"] == "message"
    where: Json = {"item_id": item["id"], "output_index": index}
    if spoken:
        where["content_index"] = 0
    part = item["content"][0] if spoken else None
    empty = {**item, "status": "in_progress", ("content" if spoken else "arguments"): [] if spoken else ""}
    opened: list[Json] = [{"type": "response.output_item.added", "output_index": index, "item": empty}]
    closed: list[Json] = []
    extra: Json = {}
    if part is not None:
        kind, name, whole = "response.output_text", "text", part["text"]
        extra = {"logprobs": []}
        opened.append({"type": "response.content_part.added", **where, "part": {**part, "text": ""}})
        closed.append({"type": "response.content_part.done", **where, "part": part})
    else:
        kind, name, whole = "response.function_call_arguments", "arguments", item["arguments"]
    deltas: list[Json] = [
        {"type": f"{kind}.delta", **where, "delta": piece, **extra} for piece in pieces_of(whole, chunks)
    ]
    done: Json = {"type": f"{kind}.done", **where, name: whole, **extra}
    closed = [done, *closed, {"type": "response.output_item.done", "output_index": index, "item": item}]
    for i, delta in enumerate(deltas):
        yield [*(opened if i == 0 else []), delta, *(closed if i == chunks - 1 else [])]
