"""Work that goes on after its first answer: its money stays held until a later answer, to whichever process,
says how it ended. `farthing.wire` says which requests are of such work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from farthing import usage, wire
from farthing.engine import Call, Deferred, Engine, late
from farthing.engine.call import Settle
from farthing.errors import LedgerError
from farthing.intercept.job_ends import address_of, has_ended, later, started
from farthing.intercept.job_streams import JobTee, ResultsTee
from farthing.intercept.taps import attach
from farthing.intercept.whole import body_of, leaves_open, response_of
from farthing.ledger.parking import JobRef
from farthing.log import say_once
from farthing.wire import Asked, Job

__all__ = ["asettled", "created", "settled"]


class _Client(Protocol):
    """What is known of a client."""

    base_url: str | None
    find: Callable[[], Engine]


def created(result: Any, call: Call, job: Job) -> Settle | Deferred:
    """The first answer of a job: it is waited for, unless it has ended already."""
    response = None if hasattr(type(result), "model_dump") else response_of(result)
    if response is None:
        call.request_id = getattr(result, "_request_id", None)
    else:
        call.request_id = response.headers.get("x-request-id") or response.headers.get("request-id")
        if _is_unread(response):
            tee = JobTee(
                call, job, is_json=not _has_events(response), starts=True, leaves_open=leaves_open(result)
            )
            attach(response, tee)
            return Deferred()
    return started(call, job, _fields(result)) or Deferred()


def settled(result: Any, client: _Client | None, options: Any) -> Any:
    """The answer to a request that is not metered itself; if it says how a job ended, that is booked."""
    news = None if client is None else _news(result, client, options)
    if news is not None:
        news.book()
    return result


async def asettled(result: Any, client: _Client | None, options: Any) -> Any:
    """The same from a coroutine: the courier looks the job up."""
    news = None if client is None else _news(result, client, options)
    if news is not None:
        await news.engine.courier.bring(news.book, _ignore)
    return result


class _News:
    """What an answer says of jobs: their last states, or a stream that will say it.

    Attributes:
        states: of those that have ended.
        response: a stream that has not been read, of the one job that was asked for.
    """

    __slots__ = ("asked", "base_url", "engine", "response", "result", "states")

    def __init__(
        self,
        engine: Engine,
        base_url: str | None,
        asked: Asked,
        result: Any,
        *,
        states: Mapping[str, Mapping[str, Any]],
        response: Any = None,
    ) -> None:
        self.engine = engine
        self.base_url = base_url
        self.asked = asked
        self.result = result
        self.states = states
        self.response = response

    def book(self) -> None:
        """Look up whose jobs they are, and book what has ended. Nothing that goes wrong here reaches the
        caller."""
        try:
            self._book()
        except LedgerError as error:
            say_once(
                ("job", type(error).__name__),
                logging.ERROR,
                "a job has ended and could not be looked up; ask for it again to have it booked: %s",
                error,
            )
        except Exception:
            Engine.bug("booking a job")

    def _book(self) -> None:
        engine, job = self.engine, self.asked.job
        engine.retry()  # its start may still have to be booked
        address = address_of(self.base_url)
        refs = [JobRef(address, job.kind, name) for name in self.states]
        for parked, call in late(engine, refs, self.base_url):
            state = self.states[parked.ref.id]
            if self.response is not None:
                attach(self.response, self._tee(call, is_open=parked.open))
                return
            want = later(call, job, state, certain=not parked.open)
            if want is not None:
                engine.settle(want)
                if self.asked.id:
                    engine.receipts.keep(self.result, call)

    def _tee(self, call: Call, *, is_open: bool) -> JobTee:
        if self.asked.lines:
            return ResultsTee(call, self.asked.job, is_open=is_open)
        return JobTee(
            call,
            self.asked.job,
            is_json=not _has_events(self.response),
            is_open=is_open,
            leaves_open=leaves_open(self.result),
        )


def _news(result: Any, client: _Client, options: Any) -> _News | None:
    """What an answer says of jobs; None if nothing has ended. The ledger is not asked."""
    try:
        asked = wire.job_asked(options.method, options.url)
        if asked is None:
            return None
        engine = client.find()
        if not engine.enabled:
            return None
        response = None if hasattr(type(result), "model_dump") else response_of(result)
        if response is not None and _is_unread(response):
            if not asked.id:
                return None
            return _News(engine, client.base_url, asked, result, states={asked.id: {}}, response=response)
        states = _ended(asked, _fields(result))
        return _News(engine, client.base_url, asked, result, states=states) if states else None
    except Exception:
        Engine.bug("reading of a job")
        return None


def _ended(asked: Asked, body: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """The jobs of an answer that have ended, by id."""
    if body is None or asked.lines:
        return {}
    if asked.id:
        return {asked.id: body} if has_ended(asked.job, body) else {}
    listed = body.get("data")
    found: dict[str, Mapping[str, Any]] = {}
    for item in listed if isinstance(listed, list) else ():
        state = usage.job_fields(item)
        name = None if state is None else state.get("id")
        if state is not None and isinstance(name, str) and has_ended(asked.job, state):
            found[name] = state
    return found


def _fields(result: Any) -> Mapping[str, Any] | None:
    """What an answer that is here whole says; None if it is no object of JSON."""
    return usage.job_fields(result if isinstance(result, Mapping) else body_of(result))


def _is_unread(response: Any) -> bool:
    return not (response.is_stream_consumed or response.is_closed)


def _has_events(response: Any) -> bool:
    return "event-stream" in response.headers.get("content-type", "")


def _ignore(_: object) -> None:
    """What nobody waits for any more."""
