"""How a call ended, and whether the provider bills such an end.

Read from the type of the exception and of its causes, and from the HTTP status; never from its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["BILLED_BY", "billed", "cancels", "of_prompt", "outcome_of", "status_of"]

_NOT_BILLED = frozenset({*range(400, 408), *range(409, 430), 500, 503, 529})

BILLED_BY: dict[str, Mapping[int, frozenset[str] | None]] = {
    "azure": {400: frozenset({"content_filter", "context_length_exceeded"})},
}
"""Statuses of which a provider says something else: it may bill them, if the error that it sends has one of
these codes (an empty set: whatever its code), or it does not bill them (None).

Azure: a prompt that its content filter or the limit of the input stops has been processed and is billed, with
status 400 (learn.microsoft.com, "Plan to manage costs for Azure OpenAI", section on HTTP error codes and
billing, and "Content filtering"; as of June 2024). It does not bill what it has not processed.
"""

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


def billed(status: int, provider: str | None, *, code: str | None = None) -> bool:
    """True if a provider may bill an answer of this HTTP status, and with this code of an error in it."""
    told = BILLED_BY.get(provider or "", {})
    if status in told:
        codes = told[status]
        return codes is not None and (not codes or code in codes)
    return status not in _NOT_BILLED


def of_prompt(error: BaseException, provider: str | None) -> bool:
    """Whether all that may be billed of an error is the prompt: a provider bills what others do not, who have
    generated nothing by then."""
    status = status_of(error)
    return status in _NOT_BILLED and outcome_of(error, provider, sent=True) == "unknown"


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an SDK's error carries."""
    status = getattr(error, "status_code", None)
    return status if type(status) is int else None


def outcome_of(error: BaseException, provider: str | None, *, sent: bool) -> str:
    """`error` if the provider does not bill such an end, `unknown` if it may have billed it."""
    status = status_of(error)
    if status is not None:
        code = getattr(error, "code", None)
        may = billed(status, provider, code=code if isinstance(code, str) else None)
        return "unknown" if may else "error"
    if not sent or any(_before_sending(step) for step in _chain(error)):
        return "error"
    return "unknown"


def _before_sending(error: BaseException) -> bool:
    return type(error).__name__ in _NOT_SENT or _not_a_request(error) or _of_closed_client(error)


def _not_a_request(error: BaseException) -> bool:
    """Whether no request could be made of what was to be sent, as with a line feed in a header.

    httpcore turns h11's errors into its own only where it makes the head of a request (1.0.9 and httpcore2
    2.16 `_sync/http11.py`). The same error may also come of a body that is not as long as was said, or of
    HTTP/2, and then something has been sent. Its pool raises them "from None": what is left is the context.
    """
    inner = error.__cause__ or error.__context__
    return _is_local(error, "httpcore", "httpcore2") and inner is not None and _is_local(inner, "h11")


def _is_local(error: BaseException, *packages: str) -> bool:
    kind = type(error)
    return kind.__name__ == "LocalProtocolError" and kind.__module__.partition(".")[0] in packages


def _of_closed_client(error: BaseException) -> bool:
    """Whether a closed client of httpx or httpx2 has refused to send anything.

    It raises a plain `RuntimeError`, and others may come at any time: it is told by where it is raised.
    """
    trace = error.__traceback__
    if type(error) is not RuntimeError or error.__cause__ is not None or trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    code, module = trace.tb_frame.f_code, trace.tb_frame.f_globals.get("__name__")
    return code.co_name == "send" and module in {"httpx._client", "httpx2._client"}


def cancels(provider: str | None, *, server_known: bool) -> bool:
    """Whether closing a stream is known to stop the bill. A proxy that nobody knows may not pass it on."""
    return server_known and provider in _CANCELS
