"""Responses that go on after their first answer: their money stays held until a later answer says how they
ended. Matched by address and id, in this process; what nobody asks for again expires with the lease."""

from __future__ import annotations

import re
from typing import Any, Protocol

from farthing import usage
from farthing.engine import Call, Engine
from farthing.engine.call import Settle
from farthing.intercept.whole import body_of
from farthing.usage import Reading

__all__ = ["GOING_ON", "asettled", "goes_on", "settled"]

GOING_ON = frozenset({"queued", "in_progress"})
"""SDK types/responses/response_status.py; all the others are final."""

_MOST = 10_000

_RESPONSE = re.compile(r"(?:^|/)responses/([^/?]+)(/cancel)?/?(?:\?|$)")

_waiting: dict[tuple[str | None, str], Call] = {}


class _Addressed(Protocol):
    base_url: str | None


def goes_on(call: Call, reading: Reading) -> bool:
    """Whether this first answer says that the response will finish later; then it is remembered."""
    if reading.status not in GOING_ON or reading.response_id is None or len(_waiting) >= _MOST:
        return False
    _waiting[call.base_url, reading.response_id] = call
    return True


def settled(result: Any, state: _Addressed | None, options: Any) -> Any:
    """The answer to a request that is not metered itself; if it says how a response ended, that is booked."""
    if _waiting and state is not None:
        found = _ended(result, state, options)
        if found is not None:
            found[0].settle(found[1])
    return result


async def asettled(result: Any, state: _Addressed | None, options: Any) -> Any:
    """The same from a coroutine."""
    if _waiting and state is not None:
        found = _ended(result, state, options)
        if found is not None:
            await found[0].aperform(found[1])
    return result


def _ended(result: Any, state: _Addressed, options: Any) -> tuple[Engine, Settle] | None:
    """What is to be booked, and by whom. Nothing that goes wrong here reaches the caller."""
    try:
        call = _asked_for(state, options)
        if call is None:
            return None
        body = body_of(result)
        reading = usage.read(body, flavour="openai.responses", provider=call.hold.reservation.provider)
        if reading.status is None or reading.status in GOING_ON:
            return None
        _waiting.pop((call.base_url, _id_in(options) or ""), None)
        told = reading.usage is not None or reading.suspect
        end = call.finish(
            "complete" if told else "unknown",
            reading,
            seen="" if told else usage.visible_in("openai.responses", body),
        )
        call.engine.receipts.keep(result, call)
        return None if end is None else (call.engine, end)
    except Exception:
        Engine.bug("booking a response that went on")
        return None


def _asked_for(state: _Addressed, options: Any) -> Call | None:
    """The call of the response that this request reads or cancels; None for any other request."""
    name = _id_in(options)
    return None if name is None else _waiting.get((state.base_url, name))


def _id_in(options: Any) -> str | None:
    found = _RESPONSE.search(options.url)
    if found is None:
        return None
    wanted = "post" if found[2] else "get"
    return found[1] if options.method.lower() == wanted else None
