"""Counts that fit their column, and that no call can have."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Final

from farthing.usage.paths import shown
from farthing.usage.reading import Reading

__all__ = ["MOST_TOKENS", "believed"]

MOST_TOKENS: Final = 10**12
"""Tokens of one call: ten times the input of the largest batch there is. Millions of such calls on one day
still add up below 2**63."""


def believed(reading: Reading) -> Reading:
    """The reading; without its counts, which are kept as `raw`, if they cannot be those of a call."""
    usage = reading.usage
    if usage is None or max(usage.input_tokens or 0, usage.output_tokens or 0) <= MOST_TOKENS:
        return reading
    counts = {name: count for name, count in asdict(usage).items() if type(count) is int}
    raw = reading.raw or shown(counts)
    return replace(reading, usage=None, raw=raw, units=None, parts=(), found=None, suspect=True)
