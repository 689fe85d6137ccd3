"""How a call ended, and whether the provider bills such an end.

Read from the type of the exception and of its causes, and from the HTTP status; never from its text.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["billed", "cancels", "outcome_of", "status_of"]

_NOT_BILLED = frozenset({*range(400, 408), *range(409, 430), 500, 503, 529})

_NOT_SENT = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "UnsupportedProtocol",
        "InvalidURL",
        "ProxyError",
        "gaierror",
    }
)
"""Class names of httpx, httpx2, httpcore and aiohttp errors that are raised before a request is sent."""

_CANCELS = frozenset(
    {
        "anthropic",
        "anyscale",
        "avian",
        "azure",
        "cloudflare",
        "cohere",
        "deepinfra",
        "deepseek",
        "fireworks",
        "openai",
        "openrouter",
        "together",
        "x-ai",
    }
)
"""Providers that stop generating, and billing, when a stream is closed: OpenRouter's list of providers that
support stream cancellation (openrouter.ai/docs, "Streaming", read on 2026-11-21)."""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes. Contexts are not followed: they may be of what the caller was handling."""
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        yield step
        step = step.__cause__


def billed(status: int) -> bool:
    """True if a provider may bill an answer of this HTTP status."""
    return status not in _NOT_BILLED


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an SDK's error carries."""
    status = getattr(error, "status_code", None)
    return status if type(status) is int else None


def outcome_of(error: BaseException, *, sent: bool) -> str:
    """`error` if the provider does not bill such an end, `unknown` if it may have billed it."""
    status = status_of(error)
    if status is not None:
        return "unknown" if billed(status) else "error"
    if not sent or any(type(step).__name__ in _NOT_SENT for step in _chain(error)):
        return "error"
    return "unknown"


def cancels(provider: str | None, *, server_known: bool) -> bool:
    """Whether closing a stream is known to stop the bill. A proxy that nobody knows may not pass it on."""
    return server_known and provider in _CANCELS
