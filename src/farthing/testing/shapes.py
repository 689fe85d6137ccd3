"""How answers are spelled: chat completions, completions, embeddings, errors, and the usage objects of all.

The shapes are those of OpenAI's API reference (https://platform.openai.com/docs/api-reference).
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from farthing.testing.replies import Reply, Request

__all__ = [
    "CREATED",
    "Stream",
    "answer_text",
    "chat",
    "chat_stream",
    "completion",
    "completion_stream",
    "embeddings",
    "error",
    "pieces_of",
    "served_tier",
    "to_json",
    "tool_arguments",
    "usage_object",
]

Json = dict[str, Any]

CREATED = 1_767_225_600
"""When every answer says it was made: answers are the same on every run."""

_COUNTS = frozenset({
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
})  # fmt: skip

_DECIMAL = re.compile(r'"\\u0000([-+0-9.E]+)\\u0000"')


@dataclass(frozen=True, slots=True)
class Stream:
    """The events of a stream, as data: `opening` and `ending` surround the pieces that a reply counts.

    A piece is one event or several that go together.
    """

    opening: list[Any] = field(default_factory=list)
    pieces: list[list[Any]] = field(default_factory=list)
    ending: list[Any] = field(default_factory=list)
    named: bool = False
    """Whether each event has an `event:` line that repeats its `type`, as those of Responses have."""


def to_json(value: Any) -> bytes:
    """Compact JSON. A Decimal becomes a number with exactly its digits."""
    text = json.dumps(value, separators=(",", ":"), default=_marked)
    return (_DECIMAL.sub(r"\1", text) if "\\u0000" in text else text).encode()


def _marked(value: object) -> Any:
    if isinstance(value, Decimal):
        return f"\0{value}\0"
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} cannot be sent as JSON")


def usage_object(
    flavour: str, stated: Mapping[str, Any] | None, cost: Decimal | str | float | Mapping[str, Any] | None
) -> Json | None:
    """The usage object of `flavour`: `stated` spelled its way, or as it is where it is spelled already."""
    if stated is None:
        usage = None
    elif not stated or not _COUNTS.issuperset(stated):
        usage = dict(stated)
    else:
        usage = _spelled(flavour, stated)
    if cost is not None:
        usage = {**(usage or {}), "cost": Decimal(cost) if isinstance(cost, str) else cost}
    return usage


def _spelled(flavour: str, stated: Mapping[str, Any]) -> Json:
    new = flavour == "responses"
    taken = ("input_tokens", "output_tokens") if new else ("prompt_tokens", "completion_tokens")
    inside = _given(stated, cached_tokens="", cache_write_tokens="", audio_input_tokens="audio_tokens")
    outside = _given(stated, reasoning_tokens="", audio_output_tokens="audio_tokens")
    usage: Json = {}
    if "input_tokens" in stated:
        usage[taken[0]] = stated["input_tokens"]
    if inside and flavour != "embeddings":
        usage[f"{taken[0]}_details"] = inside
    total = stated.get("input_tokens") or 0
    if flavour != "embeddings":
        total += stated.get("output_tokens") or 0
        if "output_tokens" in stated:
            usage[taken[1]] = stated["output_tokens"]
        if outside:
            usage[f"{taken[1]}_details"] = outside
    usage["total_tokens"] = total
    return usage


def _given(stated: Mapping[str, Any], **spelled: str) -> Json:
    return {other or name: stated[name] for name, other in spelled.items() if name in stated}


def answer_text(reply: Reply) -> str:
    """What the answer says: short unless the reply has a text, nothing when it only calls tools."""
    if reply.text is not None:
        return reply.text
    return "" if reply.tool_calls else "A farthing is a quarter of a penny."


def pieces_of(text: str, count: int) -> list[str]:
    """`text` in `count` pieces of nearly equal length, some of them empty if it is short."""
    return [text[len(text) * i // count : len(text) * (i + 1) // count] for i in range(count)]


def tool_arguments(call: Mapping[str, Any]) -> str:
    """The arguments of a tool call as the JSON text that is sent."""
    arguments = call.get("arguments", {})
    return arguments if isinstance(arguments, str) else to_json(arguments).decode()


def served_tier(request: Request, reply: Reply) -> Json:
    """The `service_tier` field: stated when the reply names one, or the request asked for one."""
    asked = request.body.get("service_tier")
    tier = reply.service_tier or ("default" if asked == "auto" else asked)
    return {} if tier is None else {"service_tier": tier}


def _finish(reply: Reply) -> str:
    if reply.end == "incomplete":
        return "length"
    return "tool_calls" if reply.tool_calls else "stop"


def _choices(request: Request) -> range:
    n = request.body.get("n")
    return range(n if isinstance(n, int) and n > 0 else 1)


def _common(request: Request, reply: Reply, kind: str, prefix: str) -> Json:
    return {
        "id": f"{prefix}-{request.order:06d}",
        "object": kind,
        "created": CREATED,
        "model": reply.model or request.model,
        **served_tier(request, reply),
    }


def chat(request: Request, reply: Reply, usage: Json | None) -> Json:
    """A `chat.completion`."""
    text = answer_text(reply)
    message: Json = {"role": "assistant", "content": text or None, "refusal": None}
    if reply.tool_calls:
        message["tool_calls"] = [_tool_call(i, call, request) for i, call in enumerate(reply.tool_calls)]
    choices = [
        {"index": i, "message": message, "logprobs": None, "finish_reason": _finish(reply)}
        for i in _choices(request)
    ]
    body = {**_common(request, reply, "chat.completion", "chatcmpl"), "choices": choices}
    return body if usage is None else {**body, "usage": usage}


def _tool_call(index: int, call: Mapping[str, Any], request: Request) -> Json:
    return {
        "id": call.get("id", f"call_{request.order:06d}_{index}"),
        "type": "function",
        "function": {"name": call["name"], "arguments": tool_arguments(call)},
    }


def chat_stream(request: Request, reply: Reply, usage: Json | None) -> Stream:
    """The `chat.completion.chunk` events.

    As OpenAI does, usage comes in a last chunk without choices, and is null in all others, if the request has
    `stream_options.include_usage`; else no chunk has the field.
    """
    asked = _wants_usage(request)
    base = _common(request, reply, "chat.completion.chunk", "chatcmpl")
    if asked:
        base["usage"] = None

    def chunk(delta: Json, index: int, finish: str | None = None) -> Json:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**base, "choices": [choice]}

    numbers = _choices(request)
    opening = [chunk({"role": "assistant", "content": "", "refusal": None}, i) for i in numbers]
    pieces = [[chunk(delta, i) for i in numbers] for delta in _deltas(request, reply)]
    ending: list[Any] = [chunk({}, i, _finish(reply)) for i in numbers]
    if asked and usage is not None:
        ending.append({**base, "choices": [], "usage": usage})
    return Stream(opening, pieces, [*ending, "[DONE]"])


def _deltas(request: Request, reply: Reply) -> Iterator[Json]:
    if text := answer_text(reply):
        for piece in pieces_of(text, reply.chunks):
            yield {"content": piece}
    for index, call in enumerate(reply.tool_calls):
        head = _tool_call(index, call, request)
        first, *rest = pieces_of(tool_arguments(call), reply.chunks)
        function = {**head["function"], "arguments": first}
        yield {"tool_calls": [{"index": index, **head, "function": function}]}
        for piece in rest:
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _wants_usage(request: Request) -> bool:
    options = request.body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def completion(request: Request, reply: Reply, usage: Json | None) -> Json:
    """A `text_completion`."""
    choices = [
        {"index": i, "text": answer_text(reply), "logprobs": None, "finish_reason": _finish(reply)}
        for i in _choices(request)
    ]
    body = {**_common(request, reply, "text_completion", "cmpl"), "choices": choices}
    return body if usage is None else {**body, "usage": usage}


def completion_stream(request: Request, reply: Reply, usage: Json | None) -> Stream:
    """The chunks of a streamed completion; usage as in `chat_stream`."""
    asked = _wants_usage(request)
    base = _common(request, reply, "text_completion", "cmpl")
    if asked:
        base["usage"] = None

    def chunk(text: str, index: int, finish: str | None = None) -> Json:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
        return {**base, "choices": [choice]}

    numbers = _choices(request)
    pieces = [[chunk(text, i) for i in numbers] for text in pieces_of(answer_text(reply), reply.chunks)]
    ending: list[Any] = [chunk("", i, _finish(reply)) for i in numbers]
    if asked and usage is not None:
        ending.append({**base, "choices": [], "usage": usage})
    return Stream([], pieces, [*ending, "[DONE]"])


def embeddings(request: Request, reply: Reply, usage: Json | None) -> Json:
    """A list of one made-up vector for each input, as numbers or in base64 as the request wants it."""
    given = request.body.get("input")
    several = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
    length = request.body.get("dimensions")
    numbers = [1.0 / (i + 1) for i in range(length if isinstance(length, int) and length > 0 else 8)]
    vector: Any = numbers
    if request.body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    data = [
        {"object": "embedding", "index": i, "embedding": vector} for i in range(len(given) if several else 1)
    ]
    body: Json = {"object": "list", "data": data, "model": reply.model or request.model}
    return body if usage is None else {**body, "usage": usage}


_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def error(status: int, message: str | None = None) -> Json:
    """An error object for an HTTP status."""
    kind, code = _ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    said = message or f"The fake provider answers with status {status}."
    return {"error": {"message": said, "type": kind, "param": None, "code": code}}
