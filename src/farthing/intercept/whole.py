"""What the SDK returned, and what is behind it."""

from __future__ import annotations

from typing import Any

__all__ = ["body_of", "json_of", "response_of"]


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
