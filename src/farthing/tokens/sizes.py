"""How much there is to count, and whether there is time for it here.

A count takes about 50 ms for each million characters, ten times that for the worst. An event loop must not
stand still for so long: what is larger than `LARGE` is counted on another thread, or where nobody can wait
for one it is guessed, with its bytes as the bound.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["LARGE", "byte_length", "is_large"]

LARGE: Final = 200_000
"""Bytes of text that are counted anywhere."""


def byte_length(text: str) -> int:
    """Bytes in UTF-8; a lone surrogate counts as what replaces it."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def is_large(value: object) -> bool:
    """Whether the texts in a body, of any depth, have more than `LARGE` bytes; looks no further than that."""
    left = LARGE
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is str:
            left -= len(item) if item.isascii() or len(item) > LARGE else byte_length(item)
        elif kind is dict:
            waiting.extend(item.values())
            left -= 8 * len(item)
        elif kind is list or kind is tuple:
            left -= len(item)
            if left >= 0:  # else not even a list of numbers is gone through
                waiting.extend(item)
        if left < 0:
            return True
    return False
