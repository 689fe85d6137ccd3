"""The life of one call, written once: it yields what it wants done, and a driver of either colour does it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

from farthing import quote, wire
from farthing.engine.call import Call, Settle
from farthing.engine.core import Engine
from farthing.engine.ends import status_of
from farthing.errors import FarthingError, Unmeterable
from farthing.guard import Again, Look, Refusal, Reload, Wait
from farthing.ledger.store import Reservation
from farthing.settings import Who
from farthing.struck import was_struck
from farthing.usage import Reading

__all__ = ["Answer", "Deferred", "Plan", "Send", "life"]


class Send:
    """A wish to send the request with this body; None sends it as the caller made it. `answered`: the HTTP
    response, if the SDK raised an error although it was here whole."""

    __slots__ = ("answered", "body", "call")

    def __init__(self, call: Call | None, body: dict[str, Any] | None) -> None:
        self.call = call
        self.body = body
        self.answered: Any = None


class Deferred:
    """The answer is a stream: it settles the call itself when it ends."""

    __slots__ = ()


@dataclass(slots=True)
class Answer:
    """What an answer that is here whole says of itself. Its outcome is "unknown" if it cannot be read."""

    reading: Reading
    seen: Callable[[], str]
    request_id: str | None = None
    outcome: str = "complete"


@dataclass(slots=True)
class Plan:
    """One request, with what its client knows about it.

    Attributes:
        observe: looks at what the SDK returned, without changing it; attaches itself to a stream. Its second
            argument tells whether a usage chunk that nobody asked for has to be swallowed. What it wants
            booked besides an answer is that the call waits for the result of a job.
    """

    ask: wire.Ask
    extra: Any
    who: Who
    provider: str | None
    base_url: str | None
    observe: Callable[[Any, Call, bool], Answer | Deferred | Settle]


Want = Reservation | Refusal | Reload | Look | Wait | Send | Settle


def life(engine: Engine, plan: Plan) -> Generator[Want, Any, Any]:
    """Reserve, send, settle. Returns what the SDK returned, raises what it raised, or a refusal."""
    try:
        call, body, asked_usage = yield from _begin(engine, plan)
    except FarthingError:
        raise
    except Exception:
        engine.bug("preparing a call")
        if engine.guard.may_refuse or any(bound.hard for bound in plan.who.budgets):
            raise Unmeterable(
                "farthing could not prepare this call, and a hard budget may bind it; the log says where "
                "it failed"
            ) from None
        return (yield Send(None, None))
    while True:
        wish = Send(call, body)
        try:
            result = yield wish
        except GeneratorExit:
            raise  # who is closed may wish nothing more: the driver has it booked
        except BaseException as error:
            if body is not None and _refuses_ours(engine, plan, call, error, asked_usage=asked_usage):
                body, asked_usage = _body(engine, plan, call)
                continue
            yield from _failed(plan, call, error, wish.answered)
            raise
        break
    try:
        answer = plan.observe(result, call, asked_usage)
    except Exception:
        engine.bug("reading an answer")
        answer = Answer(Reading(usage=None), str, outcome="unknown")
    if isinstance(answer, Answer):
        call.request_id = answer.request_id
        settle = _guarded(engine, call, answer)
        if settle is not None:
            yield settle
    elif isinstance(answer, Settle):
        yield answer
    engine.receipts.keep(result, call)
    return result


def _begin(engine: Engine, plan: Plan) -> Generator[Want, Any, tuple[Call, dict[str, Any] | None, bool]]:
    now = engine.clock.time_ns()
    quoted = _quoted(engine, plan, plan.ask, now)
    again = Again(engine.ids, engine.clock, partial(_quoted_instead, engine, plan, {}))
    hold = yield from engine.guard.acquire(quoted, plan.who, call_id=engine.ids(), now_ns=now, again=again)
    call = Call(engine, hold, hold.quoted, plan.base_url, server_known=engine.knows(plan.base_url))
    body, asked_usage = _body(engine, plan, call)
    return call, body, asked_usage


def _quoted(engine: Engine, plan: Plan, ask: wire.Ask, at_ns: int) -> quote.Quote:
    policies = engine.policies
    quoted = quote.quote(
        ask,
        engine.catalog,
        provider=plan.provider,
        base_url=plan.base_url,
        at_ns=at_ns,
        output_cap=policies.output_cap,
        min_output=policies.min_output_tokens,
        margins=engine.margins,
    )
    if engine.quirks.cap_is_ignored(plan.base_url, quoted.model):
        return quote.uncapped(quoted, engine.catalog)
    return quoted


def _quoted_instead(
    engine: Engine, plan: Plan, known: dict[str, quote.Quote | None], model: str, at_ns: int
) -> quote.Quote | None:
    """The quote of the request to another model, looked up once; None if it cannot be asked of that."""
    if model in known:
        return known[model]
    ask = wire.with_model(plan.ask, model, plan.base_url)
    quoted = None if ask is None else _quoted(engine, plan, ask, at_ns)
    if ask is not None and quoted is not None and ask.cap is not None:
        most = engine.catalog.max_output(model, provider=quoted.provider)
        if most is not None and ask.cap > most:
            quoted = None
    known[model] = quoted
    return quoted


def _body(engine: Engine, plan: Plan, call: Call) -> tuple[dict[str, Any] | None, bool]:
    """The body to send, and whether we asked for usage; None if nothing is to be changed."""
    ask, hold = call.quote.ask, call.hold
    body: dict[str, Any] | None = None
    if hold.reservation.fallback_from is not None:
        body = dict(ask.sent)
    if hold.cap is not None:
        field = _cap_field(engine, plan, call)
        if field is not None:
            body = wire.with_cap(ask.sent, field, hold.cap)
    if hold.tool_calls is not None:
        body = {**(body or ask.sent), "max_tool_calls": hold.tool_calls}
    asks = ask.stream and ask.route.asks_usage and engine.policies.inject_usage
    if asks and not engine.quirks.refuses_usage(plan.base_url):
        asking = wire.with_usage_asked(body or ask.sent, plan.extra)
        if asking is not None:
            return asking, True
    return body, False


def _cap_field(engine: Engine, plan: Plan, call: Call) -> str | None:
    ask = call.quote.ask
    known = engine.quirks.cap_field(plan.base_url, ask.model)
    return known or wire.cap_field(ask.route, reasoning=call.quote.reasoning)


def _refuses_ours(engine: Engine, plan: Plan, call: Call, error: BaseException, *, asked_usage: bool) -> bool:
    """True if the server refused a field that we wrote: it is remembered, and asked once more without it."""
    if status_of(error) not in (400, 422):
        return False
    said = str(getattr(error, "message", "") or error)
    if asked_usage and "stream_options" in said:
        return engine.quirks.note_refuses_usage(plan.base_url)
    if call.hold.cap is not None:
        field = _cap_field(engine, plan, call)
        if field is not None and field in said:
            ask = call.quote.ask
            return engine.quirks.note_refused_cap(plan.base_url, ask.model, field, ask.route.caps)
    return False


def _failed(plan: Plan, call: Call, error: BaseException, answered: Any) -> Generator[Want, Any, None]:
    """What was `answered` has to be paid for, also if all that the caller gets is an error."""
    wants: list[Settle | None] = []
    try:
        # What is cancelled or interrupted must not be made to wait.
        hurry = was_struck(error)
        call.request_id = getattr(error, "request_id", None)
        answer = None if answered is None else plan.observe(answered, call, False)  # noqa: FBT003
        if isinstance(answer, Answer):
            reading = answer.reading
            seen = "" if reading.usage is not None or reading.suspect else answer.seen()
            wants.append(call.finish(answer.outcome, reading, seen=seen, error=error, hurry=hurry))
        elif isinstance(answer, Settle):
            answer.hurry = hurry
            wants.append(answer)
        wants.append(call.finish(call.outcome_of(error), error=error, hurry=hurry))  # None if it was given
    except Exception:
        call.engine.bug("booking a failed call")
        return
    for settle in wants:
        if settle is not None:
            yield settle


def _guarded(engine: Engine, call: Call, answer: Answer) -> Settle | None:
    """The settle of a whole answer; nothing that goes wrong here may reach the caller, who has paid."""
    try:
        reading = answer.reading
        seen = "" if reading.usage is not None or reading.suspect else answer.seen()
        return call.finish(answer.outcome, reading, seen=seen)
    except Exception:
        engine.bug("booking an answer")
        return None
