"""What a call will cost at most, what it should cost, and what a finished one did cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from farthing import money, pricing, tokens, usage, wire
from farthing.catalog import Catalog
from farthing.errors import InvalidUsage
from farthing.records import Candidate, Cost, Estimate, Rates, Usage

__all__ = [
    "Quote",
    "cheapest",
    "cost_of",
    "estimate",
    "imagined",
    "instant_ns",
    "manual",
    "quote",
    "window_of",
]

DEFAULT_OUTPUT = 16_384
"""Output tokens that are held where neither the caller nor any table knows a maximum."""

DEFAULT_WINDOW = 200_000
"""Input tokens that are held for input that the request does not show, where no table knows the window."""

LEAST_OUTPUT = 256
LEAST_OUTPUT_STRUCTURED = 4_096
"""Output tokens below which an answer is of no use; reasoning and structure need more."""

HOSTED_CALLS = 8
"""`max_tool_calls` that is written where hosted tools would otherwise be unbounded under a hard budget."""

_HONOURS_TOOL_LIMIT = frozenset({"openai", "azure"})

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Quote:
    """What one call may cost, before it is sent.

    Attributes:
        model: canonical name of the asked model.
        count: input tokens, expected and at most.
        fixed: pico-dollars of all but the output, at most.
        each: pico-dollars for each token of the output cap.
        cap: the output cap to hold for; `cap_assumed` if it is neither the caller's nor the model's own.
        least: the smallest cap that may be written where the caller set none (`capped_by_caller`).
        expected: nano-dollars of the prompt alone; None if unpriced.
        unbounded: True if the request has no upper bound (hosted tools without a limit).
        priced: True if every unit that it will use has a price.
        tool_calls: the limit on hosted tools to write into the request; None to leave it alone.
    """

    ask: wire.Ask
    model: str
    provider: str | None
    rates: Rates
    count: tokens.Count
    fixed: int | Fraction
    each: int | Fraction
    cap: int
    cap_assumed: bool
    least: int
    capped_by_caller: bool
    expected: int | None
    reasoning: bool
    unbounded: bool
    priced: bool
    tool_calls: int | None

    @property
    def hi(self) -> int:
        """Nano-dollars to hold for the whole cap."""
        return money.ceil_nano(self.fixed + self.each * self.cap)

    @property
    def lo(self) -> int:
        """Nano-dollars below which the call is of no use; equal to `hi` where no cap may be written."""
        if self.capped_by_caller or not self.each:
            return self.hi
        return money.ceil_nano(self.fixed + self.each * min(self.least, self.cap))

    def cap_for(self, held: int) -> int:
        """The output cap that a hold of so many nano-dollars affords."""
        return min(self.cap, int((held * 1000 - self.fixed) // self.each)) if self.each else self.cap


def quote(
    ask: wire.Ask,
    catalog: Catalog,
    *,
    provider: str | None,
    base_url: str | None,
    at_ns: int,
    output_cap: int | None = None,
    min_output: int | None = None,
) -> Quote:
    """The most that a request may cost: see `Quote`."""
    provider = provider or catalog.provider_of(ask.model, base_url)
    rates = _held_rates(ask, catalog, provider, base_url, at_ns)
    reasoning = catalog.is_reasoning(ask.model)
    count = _counted(ask)
    upper = _most_input(ask, count, catalog, provider)
    cap, assumed = _cap(ask, catalog, provider, upper, output_cap)
    writes_limit = (
        ask.tool_calls == -1 and ask.route.operation == "responses" and provider in _HONOURS_TOOL_LIMIT
    )
    hosted = HOSTED_CALLS if writes_limit else max(ask.tool_calls or 0, 0)
    fixed: int | Fraction = upper * (1 + hosted) * pricing.upper_rate(rates, "input", input_tokens=upper)
    fixed += hosted * rates.prices.get("web_search", 0)
    return Quote(
        ask=ask,
        model=catalog.canonical(ask.model, provider),
        provider=provider,
        rates=rates,
        count=count,
        fixed=fixed + rates.prices.get("request", 0),
        each=(pricing.upper_rate(rates, "output", input_tokens=upper) * ask.choices) if ask.route.caps else 0,
        cap=cap,
        cap_assumed=assumed,
        least=max(_least(ask, reasoning, min_output), ask.route.least_cap),
        capped_by_caller=ask.cap is not None or not ask.route.caps,
        expected=pricing.prompt(count.tokens, rates),
        reasoning=reasoning,
        unbounded=ask.tool_calls == -1 and not writes_limit,
        priced=rates.status == "free"
        or (
            rates.status == "priced"
            and pricing.has_rate(rates, "input")
            and (not ask.route.caps or pricing.has_rate(rates, "output"))
        ),
        tool_calls=HOSTED_CALLS if writes_limit else None,
    )


def manual(
    catalog: Catalog,
    *,
    model: str,
    provider: str | None,
    at_ns: int,
    input_tokens: int | None = None,
    max_output_tokens: int | None = None,
    amount: int | None = None,
    operation: str = "other",
    tier: str | None = None,
) -> Quote:
    """A quote for a call that no wrapper sees: from counts, or from nano-dollars, which win over them."""
    provider = provider or catalog.provider_of(model)
    rates = catalog.rates(model, provider=provider, at_ns=at_ns, tier=tier)
    cap = max_output_tokens
    if cap is None:
        cap = 0 if amount is not None else catalog.max_output(model, provider=provider) or DEFAULT_OUTPUT
    read = input_tokens
    if read is None:
        read = 0 if amount is not None else window_of(catalog, model, provider)
    route = wire.Route("", operation, "openai.chat", "")
    ask = wire.Ask(route, {}, {}, model, False, cap, 1, tier, False, False, None)  # noqa: FBT003  fields
    fixed = amount * 1000 if amount is not None else read * pricing.upper_rate(rates, "input")
    return Quote(
        ask=ask,
        model=catalog.canonical(model, provider),
        provider=provider,
        rates=rates,
        count=tokens.Count(input_tokens or 0, read, "exact" if input_tokens is not None else "heuristic"),
        fixed=fixed,
        each=0 if amount is not None else pricing.upper_rate(rates, "output"),
        cap=cap,
        cap_assumed=False,
        least=cap,
        capped_by_caller=True,
        expected=amount if amount is not None else pricing.prompt(input_tokens or 0, rates),
        reasoning=catalog.is_reasoning(model),
        unbounded=False,
        priced=amount is not None or rates.status != "unpriced",
        tool_calls=None,
    )


def _held_rates(
    ask: wire.Ask, catalog: Catalog, provider: str | None, base_url: str | None, at_ns: int
) -> Rates:
    """`auto` may be served at priority, the dearer, where it is offered; unset and `default` are standard."""
    rates = catalog.rates(ask.model, provider=provider, base_url=base_url, at_ns=at_ns, tier=ask.tier)
    if ask.tier == "auto":
        dearer = catalog.rates(ask.model, provider=provider, base_url=base_url, at_ns=at_ns, tier="priority")
        if dearer.status == "priced":
            return dearer
    return rates


def _most_input(ask: wire.Ask, count: tokens.Count, catalog: Catalog, provider: str | None) -> int:
    """What the request does not show is bounded by the context window."""
    if count.upper >= tokens.UNSEEN:
        return window_of(catalog, ask.model, provider)
    return max(count.upper, window_of(catalog, ask.model, provider)) if ask.hidden_input else count.upper


def _counted(ask: wire.Ask) -> tokens.Count:
    body = ask.body
    if ask.route.prompt == "messages":
        return tokens.count_messages(
            body.get("messages"),
            ask.model,
            tools=body.get("tools"),
            tool_choice=body.get("tool_choice"),
            functions=body.get("functions"),
            response_format=body.get("response_format"),
            extra=body,
        )
    if ask.route.operation == "responses":
        return tokens.count_input(
            body.get("input"),
            ask.model,
            instructions=body.get("instructions"),
            tools=body.get("tools"),
            tool_choice=body.get("tool_choice"),
            text=body.get("text"),
        )
    return tokens.count_texts(body.get(ask.route.prompt), ask.model)


def _cap(
    ask: wire.Ask, catalog: Catalog, provider: str | None, upper_input: int, output_cap: int | None
) -> tuple[int, bool]:
    if not ask.route.caps:
        return 0, False
    if ask.cap is not None:
        return ask.cap, False
    if output_cap is not None:
        return output_cap, True
    known = catalog.max_output(ask.model, provider=provider)
    if known is not None:
        return known, False
    window = catalog.context_window(ask.model, provider=provider)
    if window is not None:
        return max(window - upper_input, LEAST_OUTPUT), False
    return DEFAULT_OUTPUT, True


def _least(ask: wire.Ask, reasoning: bool, configured: int | None) -> int:  # noqa: FBT001  two private calls
    if configured is not None:
        return configured
    return LEAST_OUTPUT_STRUCTURED if reasoning or ask.structured else LEAST_OUTPUT


def window_of(catalog: Catalog, model: str, provider: str | None) -> int:
    """Input tokens that a model can read at most."""
    return catalog.context_window(model, provider=provider) or DEFAULT_WINDOW


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
    return quote(ask, catalog, provider=provider, base_url=None, at_ns=at_ns, output_cap=output_cap)


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
    )
    out = Usage.trusted(input_tokens=quoted.count.tokens, output_tokens=quoted.ask.cap)
    expected = pricing.total(out, quoted.rates)[0] if quoted.priced else None
    return Estimate(
        expected=None if expected is None else money.usd(expected),
        upper=money.usd(quoted.hi) if quoted.priced else None,
        input_tokens=quoted.count.tokens,
        input_tokens_upper=quoted.count.upper,
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
) -> list[Candidate]:
    """The models with their estimate, cheapest first, unpriced last."""
    found = [
        Candidate(
            model=model,
            estimate=estimate(
                catalog, at_ns=at_ns, model=model, messages=messages, max_output_tokens=max_output_tokens
            ),
        )
        for model in models
    ]
    return sorted(
        found,
        key=lambda c: (
            (1, 0, 0) if c.estimate.upper is None else (0, c.estimate.expected or 0, c.estimate.upper)
        ),
    )


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
    """What a finished call cost, from its response body (an SDK object or JSON) alone."""
    reading = usage.read(body, provider=provider)
    name = reading.model or model or ""
    provider = provider or catalog.provider_of(name, base_url)
    tier = "batch" if batch else reading.service_tier
    rates = catalog.rates(name, provider=provider, base_url=base_url, at_ns=at_ns, tier=tier)
    if rates.status == "unpriced" and model and model != name:
        rates = catalog.rates(model, provider=provider, base_url=base_url, at_ns=at_ns, tier=tier)
    if reading.usage is None:
        notes = ("The body states no usage that could be read.",)
        if reading.reported_nano is None:
            return Cost(usd=None, nano=None, cost_source="unpriced", rates=rates, notes=notes)
    return pricing.price(reading.usage or Usage(), rates, reported_nano=reading.reported_nano)


def instant_ns(at: datetime | None, now_ns: int) -> int:
    """An aware instant in nanoseconds since 1970; `now_ns` for None.

    Raises:
        InvalidUsage: for a naive datetime.
    """
    if at is None:
        return now_ns
    if not isinstance(at, datetime):
        raise InvalidUsage(f"an instant must be a datetime with a time zone; got {at!r}")
    if at.tzinfo is None:
        raise InvalidUsage(f"{at!r} has no time zone: give one, such as datetime(..., tzinfo=timezone.utc)")
    since = at - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
