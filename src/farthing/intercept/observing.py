"""What came back: an object of the SDK, a body that is here whole, or a stream that is watched."""

from __future__ import annotations

from typing import Any

from farthing import usage
from farthing.engine import Answer, Call, Deferred
from farthing.intercept import background
from farthing.intercept.streams import Tee, attach
from farthing.intercept.whole import json_of, response_of
from farthing.usage import Reading

__all__ = ["observe"]


def observe(result: Any, call: Call, swallows: bool) -> Answer | Deferred:  # noqa: FBT001  Plan's signature
    """What the SDK returned, looked at without changing it."""
    ask = call.quote.ask
    route = ask.route
    if not ask.stream and hasattr(type(result), "model_dump"):
        return _answer(result, call, getattr(result, "_request_id", None))
    response = response_of(result)
    if response is None:
        return _answer(result, call, None)
    headers = response.headers
    call.request_id = headers.get("x-request-id") or headers.get("request-id")
    kind = headers.get("content-type", "")
    if response.is_stream_consumed or response.is_closed:
        if route.texts and "json" not in kind:
            return _not_json(response, kind, call)
        return _answer(json_of(response), call, call.request_id)
    if route.texts and "json" not in kind and "event-stream" not in kind:
        attach(response, Passing(call, route.flavour, swallows=False, is_json=True))
    else:
        is_json = "json" in kind or not (ask.stream or "event-stream" in kind)
        kind_of = Lasting if ask.body.get("background") else Tee
        attach(response, kind_of(call, route.flavour, swallows=swallows, is_json=is_json))
    return Deferred()


class Passing(Tee):
    """An answer that is no JSON, such as sound: nothing of it is kept; all that it says is that it came."""

    __slots__ = ()

    def plain(self, chunk: bytes) -> bool:  # noqa: ARG002  the base's signature
        """Always: what was kept is forgotten."""
        self.kept.clear()
        return True

    def _end_of_json(self, *, whole: bool, error: BaseException | None) -> tuple[str, str]:
        if whole:
            return "complete", ""
        return "unknown" if isinstance(error, Exception) else "aborted", ""


class Lasting(Tee):
    """The events of a response that goes on when nobody reads them, and is billed whole."""

    __slots__ = ()

    def _end_of_events(self, *, whole: bool, error: BaseException | None) -> tuple[str, str]:
        outcome, seen = super()._end_of_events(whole=whole, error=error)
        return "unknown" if outcome == "aborted" else outcome, seen


def _answer(body: Any, call: Call, request_id: str | None) -> Answer | Deferred:
    route = call.quote.ask.route
    flavour = route.flavour
    reading = usage.read(body, flavour=flavour, provider=call.hold.reservation.provider)
    if reading.status is not None and background.goes_on(call, reading):
        call.request_id = request_id
        return Deferred()
    unread = body is None or (isinstance(body, (str, bytes)) and not route.texts)
    unread = unread or reading.status in background.GOING_ON  # and nobody will learn how it ends
    return Answer(
        reading, lambda: usage.visible_in(flavour, body), request_id, "unknown" if unread else "complete"
    )


def _not_json(response: Any, kind: str, call: Call) -> Answer:
    """An answer that is here whole and is no JSON: text, sound, or the events of sound."""
    if "event-stream" not in kind:
        return Answer(Reading(usage=None), str, call.request_id)
    tee = Tee(call, call.quote.ask.route.flavour, swallows=False, is_json=False)
    outcome, _ = tee.judged(response.content)
    return Answer(tee.reading or Reading(usage=None), str, call.request_id, outcome)
