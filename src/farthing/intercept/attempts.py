"""The attempts of one request: the SDK makes them, here they are counted and paid for."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import Any

from farthing.engine import Call, Send, adrive, again, drive, may_be_lost
from farthing.errors import FarthingError

__all__ = ["hooks", "sending"]

sending: ContextVar[Call | None] = ContextVar("farthing_sending", default=None)
"""The call whose request the SDK is sending in this context."""


def hooks(cls: Any, *, is_async: bool) -> dict[str, Any]:
    """Methods for a subclass of the client class `cls`, where that has them: one is called before each
    attempt, one before the pause that precedes a further one, while the error is being handled, and one with
    the response that is to be made an object of."""
    made: dict[str, Any] = {}

    def prepare(self: Any, request: Any) -> Any:
        call = sending.get()
        if call is not None:
            call.attempts += 1
        return cls._prepare_request(self, request)

    def rest(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _loser(kwargs.get("response"))
        if call is not None and not drive(call.engine, again(call.engine, call), _sends_nothing):
            raise _given_up(self, sys.exc_info()[1], kwargs.get("response"))
        return cls._sleep_for_retry(self, *args, **kwargs)

    async def arest(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _loser(kwargs.get("response"))
        if call is not None and not await adrive(call.engine, again(call.engine, call), _sends_nothing):
            raise _given_up(self, sys.exc_info()[1], kwargs.get("response"))
        return await cls._sleep_for_retry(self, *args, **kwargs)

    def process(self: Any, *args: Any, **kwargs: Any) -> Any:
        call, response = sending.get(), kwargs.get("response")
        if call is not None and response is not None and call.heeds_headers:
            call.headers = response.headers
        return cls._process_response(self, *args, **kwargs)

    if hasattr(cls, "_process_response"):
        made["_process_response"] = process
    if hasattr(cls, "_prepare_request"):
        made["_prepare_request"] = prepare
    if hasattr(cls, "_sleep_for_retry"):
        made["_sleep_for_retry"] = arest if is_async else rest
    return made


def _loser(response: Any) -> Call | None:
    """The call whose attempt has failed and may have been billed; None if it was not."""
    call = sending.get()
    status = getattr(response, "status_code", None)
    return call if call is not None and may_be_lost(call, sys.exc_info()[1], status) else None


def _sends_nothing(_: Send) -> Any:
    raise FarthingError("a further attempt is sent by the SDK")


def _given_up(client: Any, error: BaseException | None, response: Any) -> BaseException:
    """What the SDK raises for an error where it does not try again, with the same cause."""
    made: BaseException | None = None
    if response is not None:
        made = client._make_status_error_from_response(response)  # noqa: SLF001  the base client's own
        made.__suppress_context__ = True
        return made
    name = "APITimeoutError" if "Timeout" in type(error).__name__ else "APIConnectionError"
    for cls in type(client).__mro__:
        kind = getattr(sys.modules.get(cls.__module__.partition(".")[0]), name, None)
        if kind is not None:
            made = kind(request=getattr(error, "request", None))
            made.__cause__ = error
            return made
    return error or FarthingError("the call failed")
