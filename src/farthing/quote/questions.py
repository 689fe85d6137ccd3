"""Questions about calls that may be made, or were: what would they cost, what did they cost?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from farthing import money, pricing, tokens, usage, wire
from farthing.catalog import Catalog
from farthing.errors import InvalidUsage, shown
from farthing.quote.billing import as_asked, charged, region_of
from farthing.quote.margins import Margins
from farthing.quote.quoting import Quote, quote, window_of
from farthing.records import Candidate, Cost, Estimate, Rates, Usage

__all__ = ["cheapest", "cost_of", "estimate", "imagined", "instant_ns"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def imagined(
    catalog: Catalog,
    *,
    at_ns: int,
    model: str,
    messages: object = None,
    input: object = None,  # noqa: A002  the public name of the API's field
    tools: object = None,
    max_output_tokens: int | None = None,
    provider: str | None = None,
    output_cap: int | None = None,
    min_output: int | None = None,
    margins: Margins | None = None,
) -> Quote:
    """The quote of a call that might be made: a chat, a response, or the embedding of an input."""
    path, field, cap = "/chat/completions", "messages", "max_tokens"
    if messages is None:
        path, field, cap = "/responses", "input", "max_output_tokens"
        rates = catalog.rates(model, provider=provider, at_ns=at_ns)
        if pricing.has_rate(rates, "input") and not pricing.has_rate(rates, "output"):
            path = "/embeddings"
    body: dict[str, Any] = {"model": model, field: input if messages is None else messages}
    if tools is not None:
        body["tools"] = tools
    if max_output_tokens is not None:
        body[cap] = max_output_tokens
    ask = wire.read_request("post", path, body)
    assert ask is not None  # noqa: S101  all three paths are routes
    return quote(
        ask,
        catalog,
        provider=provider,
        base_url=None,
        at_ns=at_ns,
        output_cap=output_cap,
        min_output=min_output,
        margins=margins,
    )


def estimate(
    catalog: Catalog,
    *,
    at_ns: int,
    model: str,
    messages: object = None,
    input: object = None,  # noqa: A002  the public name of the API's field
    tools: object = None,
    max_output_tokens: int | None = None,
    provider: str | None = None,
    output_cap: int | None = None,
    margins: Margins | None = None,
) -> Estimate:
    """What a call would cost; `upper` is what the guard would hold for it."""
    quoted = imagined(
        catalog,
        at_ns=at_ns,
        model=model,
        messages=messages,
        input=input,
        tools=tools,
        max_output_tokens=max_output_tokens,
        provider=provider,
        output_cap=output_cap,
        margins=margins,
    )
    out = Usage.trusted(input_tokens=quoted.count.tokens, output_tokens=quoted.ask.cap)
    expected = pricing.total(out, quoted.rates)[0] if quoted.priced else None
    most = quoted.count.upper
    if most >= tokens.UNSEEN and quoted.count.method != "heuristic":  # not all of the input is shown
        most = window_of(catalog, model, quoted.provider)
    return Estimate(
        expected=None if expected is None else money.usd(min(expected, quoted.hi)),  # if it fits the window
        upper=money.usd(quoted.hi) if quoted.priced else None,
        input_tokens=quoted.count.tokens,
        input_tokens_upper=most,
        max_output_tokens=quoted.cap or None,
        method=quoted.count.method,
        model=quoted.model,
    )


def cheapest(
    models: Sequence[str],
    catalog: Catalog,
    *,
    at_ns: int,
    messages: object,
    max_output_tokens: int | None = None,
    output_cap: int | None = None,
    margins: Margins | None = None,
) -> list[Candidate]:
    """The models with their estimate, cheapest first, unpriced last."""
    found = [
        Candidate(
            model=model,
            estimate=estimate(
                catalog,
                at_ns=at_ns,
                model=model,
                messages=messages,
                max_output_tokens=max_output_tokens,
                output_cap=output_cap,
                margins=margins,
            ),
        )
        for model in ([models] if isinstance(models, str) else models)
    ]
    return sorted(found, key=_dearness)


def _dearness(candidate: Candidate) -> tuple[bool, Decimal, Decimal]:
    expected, upper = candidate.estimate.expected, candidate.estimate.upper
    if upper is None:
        return True, Decimal(0), Decimal(0)
    return False, upper if expected is None else expected, upper


def cost_of(
    body: object,
    catalog: Catalog,
    *,
    at_ns: int,
    provider: str | None = None,
    base_url: str | None = None,
    model: str | None = None,
    batch: bool = False,
) -> Cost:
    """What a finished call cost, from its response body (an SDK object or JSON) or its `Usage` alone."""
    reading = usage.read(body, provider=provider)
    name = reading.model or model or ""
    if provider is None:
        provider = catalog.provider_of(name, base_url)
        if provider in usage.DIALECTS:
            reading = usage.read(body, provider=provider)
    tier, asked = "batch" if batch else reading.service_tier, model

    def rates_of(model: str) -> Rates:
        return catalog.rates(
            model,
            provider=provider,
            base_url=base_url,
            at_ns=at_ns,
            tier=tier,
            region=region_of(reading.units),
            asked=asked if model == name else None,
        )

    rates = rates_of(name)
    if rates.status == "unpriced" and model and model != name:
        rates = as_asked(rates_of(model), name)
    if reading.usage is None and reading.reported_nano is None:
        notes = ("The body states no usage that could be read.",)
        return Cost(usd=None, nano=None, cost_source="unpriced", rates=rates, notes=notes)
    return charged(reading, rates, rates_of)


def instant_ns(at: datetime | None, now_ns: int) -> int:
    """An aware instant in nanoseconds since 1970; `now_ns` for None.

    Raises:
        InvalidUsage: for a naive datetime.
    """
    if at is None:
        return now_ns
    if not isinstance(at, datetime):
        raise InvalidUsage(f"an instant must be a datetime with a time zone; got {shown(at)}")
    if at.tzinfo is None:
        raise InvalidUsage(f"{at!r} has no time zone: give one, such as datetime(..., tzinfo=timezone.utc)")
    since = at - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
