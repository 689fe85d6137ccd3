"""Ids of calls: UUIDv7 (RFC 9562), so that they rise with the instant they were made."""

from __future__ import annotations

import random
import threading
import time

__all__ = ["uuid7"]

_lock = threading.Lock()
_last = 0


def uuid7() -> str:
    """A new id. The 12 bits after the millisecond count on within it, so that ids of a process rise."""
    global _last  # noqa: PLW0603  the order of ids is a fact of the process
    ns = time.time_ns()
    stamp = (ns // 1_000_000 << 12) | (ns % 1_000_000 * 4096 // 1_000_000)
    with _lock:
        _last = stamp = max(stamp, _last + 1)
    ms, chance = stamp >> 12, 0b10 << 62 | random.getrandbits(62)
    first = f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7{stamp & 0xFFF:03x}"
    return f"{first}-{chance >> 48:04x}-{chance & 0xFFFF_FFFF_FFFF:012x}"
