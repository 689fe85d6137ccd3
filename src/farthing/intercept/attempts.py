"""The attempts of one request: the SDK makes them, here they are counted and paid for."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import Any

from farthing.engine import Call, Send, adrive, again, drive, may_be_lost
from farthing.errors import FarthingError

__all__ = ["count_attempt", "hooks", "sending"]

sending: ContextVar[Send | None] = ContextVar("farthing_sending", default=None)
"""What the SDK is sending in this context."""


def hooks(cls: Any, *, is_async: bool) -> dict[str, Any]:
    """Methods for a subclass of the client class `cls`, where that has them: one is called before each
    attempt, one before the pause that precedes a further one, while the error is being handled, and one with
    the response that is to be made an object of."""
    made: dict[str, Any] = {}

    def prepare(self: Any, request: Any) -> Any:
        count_attempt()
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

    if hasattr(cls, "_process_response"):
        made["_process_response"] = _processing(cls, is_async=is_async)
    if hasattr(cls, "_prepare_request"):
        made["_prepare_request"] = prepare
    if hasattr(cls, "_sleep_for_retry"):
        made["_sleep_for_retry"] = arest if is_async else rest
    return made


def _processing(cls: Any, *, is_async: bool) -> Any:
    def process(self: Any, *args: Any, **kwargs: Any) -> Any:
        want, response = sending.get(), kwargs.get("response")
        _heard(want, response)
        try:
            return cls._process_response(self, *args, **kwargs)
        except BaseException:
            _keep(want, response)
            raise

    async def aprocess(self: Any, *args: Any, **kwargs: Any) -> Any:
        want, response = sending.get(), kwargs.get("response")
        _heard(want, response)
        try:
            return await cls._process_response(self, *args, **kwargs)
        except BaseException:
            _keep(want, response)
            raise

    return aprocess if is_async else process


def count_attempt() -> None:
    """A request is about to be sent: it is an attempt of the call that this context is sending."""
    want = sending.get()  # as `_call`, which is one function more for each call
    if want is not None and want.call is not None:
        want.call.attempts += 1


def _call() -> Call | None:
    want = sending.get()
    return None if want is None else want.call


def _heard(want: Send | None, response: Any) -> None:
    """The provider has answered."""
    call = None if want is None else want.call
    if call is not None and response is not None and call.heeds_headers:
        call.headers = response.headers


def _keep(want: Send | None, response: Any) -> None:
    """The SDK raises although the provider has answered, as `parse` does over a text that does not fit. What
    the answer states is read where the call is booked, if the answer is here: nothing more is read for it."""
    if want is not None and getattr(response, "is_stream_consumed", False):
        want.answered = response


def _loser(response: Any) -> Call | None:
    """The call whose attempt has failed and may have been billed; None if it was not."""
    call = _call()
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
