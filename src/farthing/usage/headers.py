"""What the headers of an answer say of its bill, where its body says nothing of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from farthing.errors import InvalidUsage
from farthing.money import parse_usd
from farthing.records import Usage
from farthing.usage.reading import Reading

__all__ = ["with_headers"]

_COST = "x-litellm-response-cost"
_CACHED = "fireworks-cached-prompt-tokens"
_DIGITS = re.compile(r"\d{1,13}", re.ASCII)
_BEDROCK: Mapping[str, str] = {
    "input_tokens": "x-amzn-bedrock-input-token-count",
    "output_tokens": "x-amzn-bedrock-output-token-count",
    "cached_tokens": "x-amzn-bedrock-cache-read-input-token-count",
    "cache_write_tokens": "x-amzn-bedrock-cache-write-input-token-count",
}


def with_headers(reading: Reading, headers: Mapping[str, str]) -> Reading:
    """A reading of a whole answer, with what only the headers state. What the body states stands.

    LiteLLM's proxy states USD (run with litellm 1.106.2; a 0 is a model that it has no price for, and says
    nothing), Fireworks the cached tokens (docs.fireworks.ai/guides/prompt-caching), Bedrock's InvokeModel
    all tokens, the cache beside the input (docs.aws.amazon.com/bedrock, InvokeModel).
    """
    if reading.reported_nano is None and not reading.unread:
        money = _money(headers.get(_COST))
        if money:
            reading = replace(reading, reported_nano=money)
    usage = reading.usage
    if usage is None:
        stated = None if reading.unread else _invoked(headers)
        return reading if stated is None else replace(reading, usage=stated)
    cached = _count(headers.get(_CACHED)) if usage.cached_tokens is None else None
    if cached is not None and cached <= (usage.input_tokens or 0) - (usage.cache_write_tokens or 0):
        return replace(reading, usage=replace(usage, cached_tokens=cached))
    return reading


def _invoked(headers: Mapping[str, str]) -> Usage | None:
    found: dict[str, Any] = {name: _count(headers.get(header)) for name, header in _BEDROCK.items()}
    if found["input_tokens"] is None or found["output_tokens"] is None:
        return None
    found["input_tokens"] += (found["cached_tokens"] or 0) + (found["cache_write_tokens"] or 0)
    return Usage(**found)


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and _DIGITS.fullmatch(text) else None


def _money(text: str | None) -> int | None:
    if text is None or not text.isascii():
        return None
    try:
        return parse_usd(Decimal(text), error=InvalidUsage)
    except (InvalidOperation, InvalidUsage):
        return None
