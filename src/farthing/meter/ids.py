"""Ids of calls: UUIDv7 (RFC 9562), so that they rise with the instant they were made."""

from __future__ import annotations

import random
import sys
import threading
import time

from farthing.forks import renewed_in_children

__all__ = ["uuid7"]

_lock = threading.Lock()
renewed_in_children(sys.modules[__name__], _lock=threading.Lock)
_last = 0


def uuid7() -> str:
    """A new id. The 12 bits after the millisecond count on within it, so that ids of a process rise."""
    global _last  # noqa: PLW0603  the order of ids is a fact of the process
    ms, rest = divmod(time.time_ns(), 1_000_000)
    stamp = ms << 12 | (rest << 12) // 1_000_000
    with _lock:
        _last = stamp = max(stamp, _last + 1)
    number = stamp >> 12 << 80 | 7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random.getrandbits(62)
    text = number.to_bytes(16, "big").hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
