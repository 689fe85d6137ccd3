"""A WebSocket server on the loopback interface, as scripted, and what providers say over one."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

Script = Callable[["Line"], None]


class Line:
    """One connection, as the server sees it."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.path = socket.request.path

    def say(self, *events: Any) -> None:
        """Send events, each a message."""
        for event in events:
            self.socket.send(event if isinstance(event, str) else json.dumps(event))

    def hear(self) -> dict[str, Any]:
        """The next event of the client."""
        return json.loads(self.socket.recv())

    def drop(self) -> None:
        """End without a closing handshake, as a server that dies."""
        self.socket.socket.close()


class SocketServer:
    """Hands each connection to `script`, then waits until the client has closed it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.lines: list[Line] = []
        self._server = serve(self._serve, "127.0.0.1", 0, compression=None)
        self.place = f"127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def options(self) -> dict[str, str]:
        """What a client is made with to come here."""
        return {"base_url": f"http://{self.place}/v1", "websocket_base_url": f"ws://{self.place}/v1"}

    def _serve(self, socket: ServerConnection) -> None:
        line = Line(socket)
        self.lines.append(line)
        with contextlib.suppress(ConnectionClosed, OSError):
            self.script(line)
            for _ in socket:
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)


def told(*events: Any) -> Script:
    """A script: say all at once."""
    return lambda line: line.say(*events)


def session(kind: str = "session.created", **more: Any) -> dict[str, Any]:
    """The first event of a Realtime session."""
    made = {"type": "realtime", "id": "sess_1", "model": "gpt-realtime-2025-08-28", **more}
    return {"type": kind, "event_id": "event_1", "session": made}


def created(name: str = "resp_1", **more: Any) -> dict[str, Any]:
    return {
        "type": "response.created",
        "event_id": "event_2",
        "response": {"id": name, "object": "realtime.response", "status": "in_progress", **more},
    }


SOUND = {
    "type": "response.output_audio.delta",
    "event_id": "event_3",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
    "delta": "UklGRg==" * 64,
}

HEARD = {
    "total_tokens": 1300,
    "input_tokens": 1000,
    "output_tokens": 300,
    "input_token_details": {
        "text_tokens": 400,
        "audio_tokens": 600,
        "image_tokens": 0,
        "cached_tokens": 500,
        "cached_tokens_details": {"text_tokens": 200, "audio_tokens": 300, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 100, "audio_tokens": 200},
}

HEARD_COST = 25_000_000
"""Nano-dollars of HEARD by gpt-realtime: text 200 x 4 + 200 x 0.40, sound 300 x 32 + 300 x 0.40, out 100 x 16
+ 200 x 64 USD per million."""


def done(name: str = "resp_1", usage: Any = HEARD, status: str = "completed") -> dict[str, Any]:
    response = {"id": name, "object": "realtime.response", "status": status, "output": [], "usage": usage}
    return {"type": "response.done", "event_id": "event_4", "response": response}


def transcribed(usage: Any) -> dict[str, Any]:
    return {
        "type": "conversation.item.input_audio_transcription.completed",
        "event_id": "event_5",
        "item_id": "item_9",
        "content_index": 0,
        "transcript": "What is a farthing?",
        "usage": usage,
    }


def answered(
    kind: str = "response.completed", name: str = "resp_7", usage: Any = None, **more: Any
) -> dict[str, Any]:
    """An event of the Responses API about a whole response."""
    response = {
        "id": name,
        "object": "response",
        "created_at": 1,
        "status": kind.partition(".")[2],
        "model": "gpt-4o-2024-08-06",
        "output": [],
        "usage": usage,
        "service_tier": "default",
    }
    return {"type": kind, "sequence_number": 9, "response": {**response, **more}}


READ = {
    "input_tokens": 1200,
    "input_tokens_details": {"cached_tokens": 1024},
    "output_tokens": 150,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 1350,
}
"""Costs what `kit.USUAL` says."""


def live(kind: str, *, seconds: float | None = None, name: str = "live_1") -> dict[str, Any]:
    """An event of a Live session."""
    event: dict[str, Any] = {"type": kind, "event_id": "event_6"}
    if kind != "session.usage.updated":
        event["session"] = {"id": name, "model": "gpt-live-1", "status": "active", "expires_at": 1}
    if seconds is not None:
        event["usage"] = {"seconds": seconds}
    return event
