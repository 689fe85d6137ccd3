"""What the SDK returned, and what is behind it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, get_origin

__all__ = ["body_of", "json_of", "leaves_open", "response_of"]


def body_of(result: Any) -> Any:
    """The body of an answer that is here whole; None if it is a stream, or no JSON."""
    if hasattr(type(result), "model_dump"):
        return result
    response = response_of(result)
    if response is None or not (response.is_stream_consumed or response.is_closed):
        return None
    return json_of(response)


def json_of(response: Any) -> Any:
    """The body; None if it is no JSON."""
    try:
        return response.json()
    except ValueError:
        return None


def response_of(result: Any) -> Any:
    """The HTTP response behind what the SDK returned: a stream, a raw response, or the response itself."""
    for candidate in (getattr(result, "http_response", None), getattr(result, "response", None), result):
        if candidate is not None and hasattr(candidate, "is_stream_consumed"):
            return candidate
    return None


def leaves_open(result: Any) -> bool:
    """Whether what the SDK returned is a stream, or a raw response that will be parsed to one, that stops at
    an error event and leaves the response open, as in openai 1."""
    kind: Any = type(result)
    if hasattr(kind, "iter_lines"):  # a response that may be read in other ways, and then to its end
        return False
    if not hasattr(kind, "__stream__"):
        kind = getattr(result, "_stream_cls", None)
        kind = get_origin(kind) or kind
    return kind is not None and not _closes(kind)


@lru_cache(maxsize=64)
def _closes(kind: Any) -> bool:
    """Whether the generator of a class of streams closes the response itself, wherever it ends."""
    code = getattr(getattr(kind, "__stream__", None), "__code__", None)
    return code is None or not {"close", "aclose"}.isdisjoint(code.co_names)
