"""The most that work may cost which goes on after its first answer: what its request shows, or no bound."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from farthing import money, pricing, tokens, wire
from farthing.catalog import Catalog
from farthing.ledger.store import Reservation
from farthing.quote import quoting
from farthing.quote.margins import Margins
from farthing.quote.quoting import Quote
from farthing.records import Rates

__all__ = ["asked_again", "notes_of", "quote", "seconds_of"]

_SECONDS = "4"
"""Of a video where the request does not say (SDK types/video_create_params.py)."""

_ROUTE = "route"


def quote(
    ask: wire.Ask,
    catalog: Catalog,
    *,
    provider: str | None,
    base_url: str | None,
    at_ns: int,
    output_cap: int | None = None,
    min_output: int | None = None,
    margins: Margins | None = None,
) -> Quote:
    """The most that a request may cost: see `Quote`.

    Most jobs read a file, a thread or a data source, which the request does not show: they have no bound.
    """
    if ask.route.measure != "work":
        return quoting.quote(
            ask,
            catalog,
            provider=provider,
            base_url=base_url,
            at_ns=at_ns,
            output_cap=output_cap,
            min_output=min_output,
            margins=margins,
        )
    provider = provider or catalog.provider_of(ask.model, base_url)
    rates = catalog.rates(ask.model, provider=provider, base_url=base_url, at_ns=at_ns, tier=ask.tier)
    flavour = ask.route.flavour
    if flavour == "anthropic.batches":
        return _batch(ask, catalog, provider=provider, base_url=base_url, at_ns=at_ns, rates=rates)
    made = _unbounded(ask, catalog, provider, rates)
    if flavour == "openai.videos" and ask.route.path == "/videos":
        seconds = seconds_of(ask.body.get("seconds") or _SECONDS)
        each = rates.prices.get("second")
        made.unbounded = seconds is None
        made.priced = rates.status == "free" or (rates.status == "priced" and each is not None)
        if seconds is not None and each is not None:
            made.fixed = Fraction(seconds) * each
            made.expected = money.round_nano(made.fixed)
    if flavour == "openai.assistants" and ask.model:
        # The most that all its turns may read and write together (API reference, Runs).
        read, written = ask.body.get("max_prompt_tokens"), ask.body.get("max_completion_tokens")
        if type(read) is int and type(written) is int and read >= 0 and written >= 0:
            made.unbounded = False
            made.priced = rates.status == "free" or (
                pricing.has_rate(rates, "input") and pricing.has_rate(rates, "output")
            )
            made.fixed = read * pricing.upper_rate(rates, "input", input_tokens=read)
            made.fixed += written * pricing.upper_rate(rates, "output", input_tokens=read)
    return made


def _unbounded(ask: wire.Ask, catalog: Catalog, provider: str | None, rates: Rates) -> Quote:
    return Quote(
        ask=ask,
        model=catalog.canonical(ask.model, provider),
        provider=provider,
        rates=rates,
        count=tokens.Count(0, 0, "heuristic"),
        fixed=0,
        each=0,
        cap=0,
        cap_assumed=False,
        least=0,
        capped_by_caller=True,
        expected=None,
        reasoning=False,
        unbounded=True,
        priced=True,
        tool_calls=None,
    )


def _batch(
    ask: wire.Ask, catalog: Catalog, *, provider: str | None, base_url: str | None, at_ns: int, rates: Rates
) -> Quote:
    """Of a batch whose requests are in the request itself: the sum of theirs, at the rates of batches."""
    made = _unbounded(ask, catalog, provider, rates)
    read, upper, others = 0, 0, []
    expected: int | None = 0
    for params in wire.requests_of(ask.body):
        one = wire.read_request("post", "/v1/messages", params)
        if one is None:
            return made
        one.tier = ask.tier
        each = quoting.quote(one, catalog, provider=provider, base_url=base_url, at_ns=at_ns)
        if each.unbounded:
            return made
        made.priced = made.priced and each.priced
        made.fixed += each.fixed + each.each * each.cap
        read, upper = read + each.count.tokens, upper + each.count.upper
        expected = None if expected is None or each.expected is None else expected + each.expected
        if each.model != made.model and each.model not in others:
            others.append(each.model)
    made.unbounded = False
    made.count = tokens.Count(read, upper, "approximate")
    made.expected = expected
    made.others = tuple(others)
    return made


def seconds_of(value: object) -> Decimal | None:
    """Seconds that are stated as a number or as its digits; None for anything else."""
    try:
        seconds = Decimal(str(value))
    except InvalidOperation:
        return None
    return seconds if seconds.is_finite() and 0 < seconds < 10**9 else None


def notes_of(ask: wire.Ask) -> dict[str, str]:
    """What has to be kept of a request to understand a later answer; nothing of what it says to a model."""
    notes = {**ask.labels, _ROUTE: ask.route.path}
    seconds = seconds_of(ask.body.get("seconds")) if ask.route.flavour == "openai.videos" else None
    if seconds is not None:
        notes["seconds"] = str(seconds)
    return notes


def asked_again(asked: Reservation, notes: Mapping[str, str]) -> Quote | None:
    """The quote of a call of which only its row is known; None if its notes name no route."""
    route = wire.route_of(notes.get(_ROUTE, ""))
    if route is None or asked.rates is None:
        return None
    labels = {name: notes[name] for name in route.labels if name in notes}
    body = {"seconds": notes["seconds"]} if "seconds" in notes else {}
    read = asked.input_tokens or 0
    return Quote(
        ask=wire.Ask(
            route, body, {}, asked.requested_model, False, None, 1, asked.service_tier, False, False, None,  # noqa: FBT003
            labels=labels,
        ),
        model=asked.model,
        provider=asked.provider,
        rates=asked.rates,
        count=tokens.Count(read, read, "approximate"),
        fixed=asked.hi * 1000,
        each=0,
        cap=0,
        cap_assumed=False,
        least=0,
        capped_by_caller=True,
        expected=asked.expected,
        reasoning=True,
        unbounded=False,
        priced=True,
        tool_calls=None,
    )  # fmt: skip
