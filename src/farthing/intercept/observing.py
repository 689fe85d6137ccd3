"""What came back: an object of the SDK, a body that is here whole, or a stream that is watched."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from farthing import usage, wire
from farthing.engine import Answer, Call, Deferred
from farthing.engine.call import Settle
from farthing.intercept import jobs
from farthing.intercept.streams import Tee
from farthing.intercept.taps import attach
from farthing.intercept.whole import json_of, leaves_open, response_of
from farthing.struck import was_struck
from farthing.usage import Reading

__all__ = ["observe"]


def observe(result: Any, call: Call, swallows: bool) -> Answer | Deferred | Settle:  # noqa: FBT001  Plan's signature
    """What the SDK returned, looked at without changing it."""
    ask = call.quote.ask
    route = ask.route
    job = wire.job_made(route, ask.body)
    if job is not None:
        return jobs.created(result, call, job)
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
        tee = Tee(
            call,
            route.flavour,
            swallows=swallows,
            is_json=is_json,
            choices=ask.choices,
            leaves_open=not is_json and leaves_open(result),
        )
        attach(response, tee)
    return Deferred()


class Passing(Tee):
    """An answer that is no JSON, such as sound: nothing of it is kept; all that it says is that it came."""

    __slots__ = ()

    def packed(self, unpack: Callable[[bytes], bytes]) -> None:
        """Nothing is kept that could be unpacked."""

    def plain(self, chunk: bytes) -> bool:  # noqa: ARG002  the base's signature
        """Always: what was kept is forgotten."""
        self.kept.clear()
        return True

    def _end_of_json(self, *, whole: bool, error: BaseException | None) -> tuple[str, str]:
        if whole:
            return "complete", ""
        return "aborted" if error is None or was_struck(error) else "unknown", ""


def _answer(body: Any, call: Call, request_id: str | None) -> Answer:
    route = call.quote.ask.route
    flavour = route.flavour
    reading = usage.read(body, flavour=flavour, provider=call.hold.reservation.provider)
    unread = body is None or (isinstance(body, (str, bytes)) and not route.texts)
    unread = unread or reading.status in wire.GOING_ON  # and nobody will learn how it ends
    outcome = "unknown" if unread else "complete"
    return Answer(reading, partial(usage.visible_in, flavour, body), request_id, outcome)


def _not_json(response: Any, kind: str, call: Call) -> Answer:
    """An answer that is here whole and is no JSON: text, sound, or the events of sound."""
    if "event-stream" not in kind:
        return Answer(Reading(usage=None), str, call.request_id)
    tee = Tee(call, call.quote.ask.route.flavour, swallows=False, is_json=False)
    outcome, _ = tee.judged(response.content)
    return Answer(tee.reading or Reading(usage=None), str, call.request_id, outcome)
