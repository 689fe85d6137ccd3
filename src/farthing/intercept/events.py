"""Server-sent events as bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["EVENT_END", "EVENT_ENDS", "data_of", "payload", "split", "whole_events"]

EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")


def split(data: bytes) -> list[bytes]:
    """Events with their ends; the last one may lack its end."""
    events: list[bytes] = []
    start = 0
    for match in EVENT_END.finditer(data):
        events.append(data[start : match.end()])
        start = match.end()
    if start < len(data):
        events.append(data[start:])
    return events


def whole_events(data: bytes) -> int:
    """How many of these bytes are whole events."""
    return max(data.rfind(end) + len(end) if end in data else 0 for end in EVENT_ENDS)


def payload(event: bytes) -> bytes:
    """The data of an event."""
    return b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))


def data_of(event: bytes) -> Mapping[str, Any] | None:
    """The JSON object that an event brings; None if it brings none."""
    try:
        data = json.loads(payload(event))
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
