"""How a job ended, and what that books: read from its last state, whoever was told it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from farthing import quote, usage
from farthing.engine import Call, Park
from farthing.engine.call import Settle
from farthing.ledger.parking import JobRef
from farthing.usage import Reading
from farthing.usage.paths import plain
from farthing.wire import Job

__all__ = ["address_of", "has_ended", "later", "started"]

_EXTENSIONS = "/videos/extensions"


def has_ended(job: Job, state: Mapping[str, Any]) -> bool:
    """Whether this state says all that will ever be said of what a job costs."""
    status = state.get(job.status)
    return isinstance(status, str) and status in job.ends and (not job.lines or job.nothing_billed(state))


def later(call: Call, job: Job, state: Mapping[str, Any], *, certain: bool = False) -> Settle | None:
    """What the last state of a job books for the call that waited for it.

    Args:
        certain: True if only a certain end is news.
    """
    outcome, reading = _judged(call, job, state)
    if certain and outcome == "unknown":
        return None
    whole = {name: plain(value) for name, value in state.items()} if outcome == "unknown" else {}
    seen = usage.visible_in(job.flavour, whole) if whole else ""
    return call.finish(outcome, reading, seen=seen)


def started(
    call: Call,
    job: Job,
    state: Mapping[str, Any] | None,
    *,
    whole: bool = True,
    seen: str = "",
    error: BaseException | None = None,
    hurry: bool = False,
) -> Settle | None:
    """What the first answer books: an end that it tells already, or that the call waits for one.

    Args:
        state: None if the answer does not say.
        whole: False if it was broken off or left: then the call is booked as unknown, until it is known.
    """
    if state is not None and has_ended(job, state):
        return later(call, job, state)
    name = None if state is None else state.get("id")
    if not isinstance(name, str) or not name:
        return call.finish("unknown", None, seen=seen, error=error, hurry=hurry)
    then = None if whole else call.finish("unknown", None, seen=seen, error=error, hurry=hurry)
    ref = JobRef(address_of(call.base_url), job.kind, name)
    return Park(call, ref, job.waits_ns, quote.notes_of(call.quote.ask), then)


def _judged(call: Call, job: Job, state: Mapping[str, Any]) -> tuple[str, Reading]:
    reading = usage.read_job(state, flavour=job.flavour, provider=call.hold.reservation.provider)
    if job.nothing_billed(state):
        return "error", reading
    if job.kind == "video":
        reading = _as_asked(call, reading)
    if job.kind == "batch" and _not_counted(state, reading):
        reading = replace(reading, usage=None, parts=())
    told = reading.says or reading.unread
    return ("complete" if told else "unknown"), reading


def _as_asked(call: Call, video: Reading) -> Reading:
    """An extension states the seconds of the whole video, and is billed on those that were asked for."""
    ask = call.quote.ask
    if ask.route.path != _EXTENSIONS or video.usage is None:
        return video
    seconds = quote.seconds_of(ask.body.get("seconds"))
    if seconds is None:
        return replace(video, usage=None, units=None)
    return replace(video, usage=replace(video.usage, seconds=seconds), units={"seconds": str(seconds)})


def _not_counted(batch: Mapping[str, Any], reading: Reading) -> bool:
    """Whether a batch states no tokens although requests of it were answered: its server does not count."""
    counts = batch.get("request_counts")
    answered = counts.get("completed") if isinstance(counts, Mapping) else getattr(counts, "completed", None)
    return reading.usage is not None and not reading.usage.total_tokens and bool(answered)


def address_of(base_url: str | None) -> str:
    """A base URL without what may be secret in it: who asks, and a query."""
    if not base_url:
        return ""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/").lower()
