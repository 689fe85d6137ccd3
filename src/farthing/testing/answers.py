"""From a request and a reply to what goes over the wire: a whole body, or a stream and where it halts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

from farthing.testing import shapes
from farthing.testing.replies import Reply, Request
from farthing.testing.responses import response, response_stream
from farthing.testing.shapes import Stream

__all__ = ["Halt", "compose", "framed", "written"]

_Whole = Callable[[Request, Reply, dict[str, Any] | None], dict[str, Any]]
_Streamed = Callable[[Request, Reply, dict[str, Any] | None], Stream]

# The end of a path decides, the first match wins: any base URL will do, Azure's with deployments too.
_SHAPES: tuple[tuple[str, str, _Whole, _Streamed | None], ...] = (
    ("/chat/completions", "chat", shapes.chat, shapes.chat_stream),
    ("/completions", "completions", shapes.completion, shapes.completion_stream),
    ("/responses", "responses", response, response_stream),
    ("/embeddings", "embeddings", shapes.embeddings, None),
)


class Halt(Enum):
    """Where a stream does not simply go on. What was written before goes out first."""

    FLUSH = "flush"
    PAUSE = "pause"
    CUT = "cut"


def compose(request: Request, reply: Reply, usage: Mapping[str, Any] | None) -> Stream | tuple[int, bytes]:
    """What answers `request`: a stream, or a status and a body.

    Args:
        usage: what is stated where the reply leaves it to the provider.
    """
    if reply.events is not None:
        named = request.path.endswith("/responses")
        return Stream([], [[event] for event in reply.events], [] if named else ["[DONE]"], named=named)
    if reply.body is not None:
        return reply.status, reply.body if isinstance(reply.body, bytes) else shapes.to_json(reply.body)
    if reply.status >= 400:
        return _error(reply.status, reply.text)
    shape = next((shape for shape in _SHAPES if request.path.endswith(shape[0])), None)
    if shape is None or request.method != "POST":
        return _error(404, f"Invalid URL ({request.method} {request.path})")
    if not isinstance(request.body, dict):
        return _error(400, "The body of the request is not a JSON object.")
    _, flavour, whole, streamed = shape
    stated = usage if reply.usage == "default" else reply.usage
    spelled = shapes.usage_object(flavour, stated, reply.cost)
    if request.stream and streamed is not None:
        return streamed(request, reply, spelled)
    return reply.status, shapes.to_json(whole(request, reply, spelled))


def _error(status: int, message: str | None) -> tuple[int, bytes]:
    return status, shapes.to_json(shapes.error(status, message))


def written(stream: Stream, reply: Reply) -> Iterator[bytes | Halt]:
    """What is written, in turn, and the halts between. After a cut nothing more comes."""
    yield _events(stream.opening, stream)
    last = len(stream.pieces)
    pause = None if reply.pause_after is None else min(reply.pause_after, last)
    death = None if reply.die_after is None else min(reply.die_after, last)
    for sent in range(last + 1):
        if sent == pause:
            yield Halt.PAUSE
        if sent == death:
            yield Halt.CUT
            return
        if sent < last:
            yield _events(stream.pieces[sent], stream)
            if reply.piecewise:
                yield Halt.FLUSH
    yield _events(_ending(stream, reply), stream)


def _ending(stream: Stream, reply: Reply) -> list[Any]:
    if reply.error_event is False:
        return stream.ending[:-1] if reply.no_done else stream.ending
    if reply.error_event is not True:
        return [reply.error_event]
    made_up = shapes.error(500)
    return [{**made_up["error"], "type": "error"}] if stream.named else [made_up]


def _events(events: list[Any], stream: Stream) -> bytes:
    parts: list[bytes] = []
    for event in events:
        if stream.named and isinstance(event, Mapping) and "type" in event:
            parts.append(f"event: {event['type']}\n".encode())
        data = event.encode() if isinstance(event, str) else shapes.to_json(event)
        parts.append(b"data: " + data + b"\n\n")
    return b"".join(parts)


def framed(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body; nothing for nothing, as an empty chunk would end the body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n" if data else b""
