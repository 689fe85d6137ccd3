"""Quotes: the most that a request may cost, and what follows from that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from farthing import money, pricing, tokens, wire
from farthing.catalog import Catalog, reasons
from farthing.quote.billing import region_of
from farthing.quote.counting import counted, measured, predicted
from farthing.quote.margins import Margins
from farthing.records import Rates

__all__ = ["Quote", "manual", "quote", "uncapped", "window_of"]

DEFAULT_OUTPUT = 16_384
"""Output tokens that are held where neither the caller nor any table knows a maximum."""

DEFAULT_WINDOW = 200_000
"""Input tokens that are held for input that the request does not show, where no table knows the window."""

COMPLETION_DEFAULT = 16
"""`max_tokens` of /completions where it is not given (OpenAI API reference, Completions)."""

LEAST_OUTPUT = 256
LEAST_OUTPUT_STRUCTURED = 4_096
"""Output tokens below which an answer is of no use; reasoning and structure need more."""

HOSTED_CALLS = 8
"""`max_tool_calls` that is written where hosted tools would otherwise be unbounded under a hard budget."""

_HONOURS_TOOL_LIMIT = frozenset({"openai", "azure"})

_ALSO = {"web_search": ("web_search", "web_search_preview"), "code_interpreter": ("code_execution",)}
"""Units of the catalog that a hosted tool may be billed by, where they are not its name."""

_UNITS = {"character": "characters", "second": "seconds", "image": "images", "page": "pages"}

_BILLED_ON = {
    "speech": "character", "transcription": "second", "translation": "second", "image": "image",
    "video": "second",
}  # fmt: skip
"""What calls of an operation are billed on where their model has a price of it."""

_GENERATING = frozenset({"chat", "responses", "completion"})


@dataclass(slots=True)
class Quote:
    """What one call may cost, before it is sent.

    Attributes:
        model: canonical name of the asked model.
        count: input tokens, expected and at most.
        fixed: pico-dollars of all but the output up to the cap, at most.
        each: pico-dollars for each token of the output cap.
        cap: the output cap to hold for; `cap_assumed` if it is neither the caller's nor the model's own.
        least: the smallest cap that may be written where the caller set none (`capped_by_caller`).
        expected: nano-dollars of the prompt alone; None if unpriced.
        unbounded: True if the request has no upper bound (hosted tools without a limit).
        priced: True if every unit that it will use has a price.
        tool_calls: the limit on hosted tools to write into the request; None to leave it alone.
        unforeseen: what the answer will be billed on that has a price but no bound before it; then `priced`
            is False too.
        others: further models that the request names, whose budgets bind it too.
        shown: True if all of its input was counted, so that its bill tells how good the count was.
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
    unforeseen: str = ""
    others: tuple[str, ...] = ()
    shown: bool = False

    @property
    def hi(self) -> int:
        """Nano-dollars to hold for the whole cap."""
        return min(money.ceil_nano(self.fixed + self.each * self.cap), money.MAX_CALL)

    @property
    def lo(self) -> int:
        """Nano-dollars below which the call is of no use; equal to `hi` where no cap may be written."""
        if self.capped_by_caller or not self.each:
            return self.hi
        return min(money.ceil_nano(self.fixed + self.each * min(self.least, self.cap)), money.MAX_CALL)

    @property
    def counted_input(self) -> int | None:
        """Input tokens to compare the bill with; None where the request does not show all of its input."""
        return self.count.tokens if self.shown else None

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
    margins: Margins | None = None,
) -> Quote:
    """The most that a request may cost: see `Quote`."""
    route = ask.route
    provider = provider or catalog.provider_of(ask.model, base_url)
    rates = _held_rates(ask, catalog, provider, base_url, at_ns)
    if route.measure != "tokens":
        return _measured(ask, catalog, provider, rates)
    reasoning = ask.thinks or catalog.is_reasoning(ask.model)
    model = catalog.canonical(ask.model, provider)
    count = counted(ask)
    if margins is not None and (learned := margins.upper(model, count.tokens)) > count.upper:
        count = _widened(count, learned, catalog, ask.model, provider)
    unseen = ask.hidden_input or ask.tool_calls is not None  # what a hosted tool finds is input too
    upper = count.upper
    if unseen or upper >= tokens.UNSEEN:
        upper = _most_input(count, catalog, ask.model, provider)
    cap, assumed = _cap(ask, catalog, provider, count, output_cap)
    unlimited = ask.tool_calls == wire.UNLIMITED
    writes_limit = unlimited and route.operation == "responses" and provider in _HONOURS_TOOL_LIMIT
    hosted = HOSTED_CALLS if writes_limit else max(ask.tool_calls or 0, 0)
    fixed: int | Fraction = upper * (1 + hosted) * pricing.upper_rate(rates, "input", input_tokens=upper)
    unforeseen = ""
    if ask.tool_units:
        fee, unforeseen = _fee(ask, rates)
        fixed += hosted * fee
    if "prediction" in ask.body:
        fixed += predicted(ask) * pricing.upper_rate(rates, "output", input_tokens=upper)
    made = object.__new__(Quote)  # field by field: so many keyword arguments take four times as long
    made.ask = ask
    made.model = model
    made.provider = provider
    made.rates = rates
    made.count = count
    made.fixed = fixed + rates.prices.get("request", 0)
    made.each = 0
    if route.generates:
        made.each = pricing.upper_rate(rates, "output", input_tokens=upper) * ask.choices
    made.cap = cap
    made.cap_assumed = assumed
    made.least = max(_least(ask, reasoning or reasons(model), min_output), route.least_cap)
    made.capped_by_caller = ask.cap is not None or not route.caps or _has_default(ask, provider)
    made.expected = pricing.prompt(count.tokens, rates)
    made.reasoning = reasoning
    made.unbounded = unlimited and not writes_limit
    made.priced = rates.status == "free" or (
        rates.status == "priced"
        and not unforeseen
        and "input" in rates.prices
        and (not route.generates or "output" in rates.prices)
    )
    made.tool_calls = HOSTED_CALLS if writes_limit else None
    made.unforeseen = unforeseen if rates.status == "priced" else ""
    made.others = ()
    made.shown = count.shown and count.upper < tokens.UNSEEN and not unseen
    return made


def _measured(ask: wire.Ask, catalog: Catalog, provider: str | None, rates: Rates) -> Quote:
    """The quote of a call that is measured by anything but tokens."""
    count = counted(ask)
    found = measured(ask, rates, count)
    return Quote(
        ask=ask,
        model=catalog.canonical(ask.model, provider),
        provider=provider,
        rates=rates,
        count=count,
        fixed=found.upper + rates.prices.get("request", 0),
        each=0,
        cap=0,
        cap_assumed=False,
        least=0,
        capped_by_caller=True,
        expected=found.expected,
        reasoning=False,
        unbounded=False,
        priced=not found.unforeseen and rates.status != "unpriced",
        tool_calls=None,
        unforeseen=found.unforeseen if rates.status != "unpriced" else "",
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
    """A quote for a call that no wrapper sees: from counts, or from nano-dollars, which win over them.

    Of what is not stated the most that the model can take is held. Seconds, characters and images cannot be
    stated but by the amount: without it, a call that is billed on them is not `priced`.
    """
    provider = provider or catalog.provider_of(model)
    rates = catalog.rates(model, provider=provider, at_ns=at_ns, tier=tier)
    by_amount, counts = amount is not None, input_tokens is not None
    read = input_tokens
    if read is None:
        read = 0 if by_amount else window_of(catalog, model, provider)
    count = tokens.Count(input_tokens or 0, read, "exact" if counts else "heuristic")
    cap = max_output_tokens
    if cap is None:
        writes = not by_amount and _writes(rates, operation)
        cap = _most_output(count, catalog, model, provider)[0] if writes else 0
    stated = bool(input_tokens or max_output_tokens)
    unforeseen = "" if by_amount else _unstated(rates, operation, cap, stated=stated)
    # Without a count nothing tells what it will be billed on, as with a recording.
    route = wire.Route("", operation, "openai.chat", "", measure="tokens" if counts else "seconds")
    ask = wire.Ask(route, {}, {}, model, False, cap, 1, tier, False, False, None)  # noqa: FBT003  fields
    fixed: int | Fraction
    if amount is not None:
        fixed = amount * 1000
    else:
        fixed = read * pricing.upper_rate(rates, "input") + rates.prices.get("request", 0)
    return Quote(
        ask=ask,
        model=catalog.canonical(model, provider),
        provider=provider,
        rates=rates,
        count=count,
        fixed=fixed,
        each=0 if by_amount else pricing.upper_rate(rates, "output"),
        cap=cap,
        cap_assumed=False,
        least=cap,
        capped_by_caller=True,
        expected=pricing.prompt(count.tokens, rates) if counts or rates.status == "free" else None,
        reasoning=catalog.is_reasoning(model),
        unbounded=False,
        priced=by_amount or (rates.status != "unpriced" and not unforeseen),
        tool_calls=None,
        unforeseen=unforeseen,
    )


def _writes(rates: Rates, operation: str) -> bool:
    """Whether a call that no wrapper sees is to be held for output: embeddings have none, and no price of
    it."""
    return rates.status != "priced" or "output" in rates.prices or operation in _GENERATING


def _unstated(rates: Rates, operation: str, cap: int, *, stated: bool) -> str:
    """What a call that no wrapper sees will be billed on besides the tokens that its caller may state."""
    if rates.status != "priced":
        return ""
    unit, prices = _BILLED_ON.get(operation, ""), rates.prices
    if unit in prices:
        lacking = _UNITS[unit]
    elif "input" not in prices:
        lacking = next((many for one, many in _UNITS.items() if one in prices), "tokens")
        if lacking == "tokens" and "request" in prices and not stated:
            return ""  # the fee is all
    elif cap and "output" not in prices:
        lacking = "tokens of output"
    else:
        return ""
    return f"its {lacking}; amount= states what to hold"


def uncapped(quoted: Quote, catalog: Catalog) -> Quote:
    """The quote of a request to a server that does not keep to a cap that is written into it: all that the
    model can write is held, also where `output_cap` asks for less."""
    most = quoted.cap
    if not quoted.capped_by_caller:
        most = max(most, _most_output(quoted.count, catalog, quoted.ask.model, quoted.provider)[0])
    return replace(quoted, fixed=quoted.fixed + quoted.each * (most - quoted.cap), least=quoted.cap)


def _held_rates(
    ask: wire.Ask, catalog: Catalog, provider: str | None, base_url: str | None, at_ns: int
) -> Rates:
    """`auto` may be served at priority, the dearer, where it is offered; unset and `default` are standard."""
    region = region_of(ask.body) if "inference_geo" in ask.body else None
    rates = catalog.rates(
        ask.model, provider=provider, base_url=base_url, at_ns=at_ns, tier=ask.tier, region=region
    )
    if ask.tier == "auto":
        dearer = catalog.rates(
            ask.model, provider=provider, base_url=base_url, at_ns=at_ns, tier="priority", region=region
        )
        if dearer.status == "priced":
            return dearer
    return rates


def _widened(
    count: tokens.Count, learned: int, catalog: Catalog, model: str, provider: str | None
) -> tokens.Count:
    """The count with the upper figure that bills of the model ask for; no input is larger than its window."""
    window = catalog.context_window(model, provider=provider)
    return replace(count, upper=max(count.upper, learned if window is None else min(learned, window)))


def _fee(ask: wire.Ask, rates: Rates) -> tuple[int | Fraction, str]:
    """Pico-dollars of one run of the dearest hosted tool beside its tokens, and the tool whose fee nobody
    knows."""
    most: int | Fraction = 0
    for unit in ask.tool_units:
        fees = [rates.prices[name] for name in (unit, *_ALSO.get(unit, ())) if name in rates.prices]
        if not fees:
            return most, f"its tool {unit}"
        most = max(most, *fees)
    return most, ""


def _most_input(count: tokens.Count, catalog: Catalog, model: str, provider: str | None) -> int:
    """What the request does not show is bounded by the context window."""
    window = window_of(catalog, model, provider)
    return window if count.upper >= tokens.UNSEEN else max(count.upper, window)


def _cap(
    ask: wire.Ask, catalog: Catalog, provider: str | None, count: tokens.Count, output_cap: int | None
) -> tuple[int, bool]:
    if not ask.route.generates:
        return 0, False
    if ask.cap is not None:
        return ask.cap, False
    if _has_default(ask, provider):
        return COMPLETION_DEFAULT, False
    if output_cap is not None and ask.route.caps:
        return output_cap, True
    return _most_output(count, catalog, ask.model, provider)


def _most_output(count: tokens.Count, catalog: Catalog, model: str, provider: str | None) -> tuple[int, bool]:
    """What a model can write at most, and True if nobody knows that. Its window is shared with the input that
    was counted; what is held for input that the request does not show need not be there."""
    known = catalog.max_output(model, provider=provider)
    if known is not None:
        return known, False
    window = catalog.context_window(model, provider=provider)
    if window is None:
        return DEFAULT_OUTPUT, True
    read = count.upper if count.upper < window else count.tokens
    return max(window - read, LEAST_OUTPUT), False


def _has_default(ask: wire.Ask, provider: str | None) -> bool:
    """OpenAI's completions end after 16 tokens where no `max_tokens` is given: nothing is to be written."""
    return ask.route.operation == "completion" and ask.cap is None and provider in {"openai", "azure"}


def _least(ask: wire.Ask, reasoning: bool, configured: int | None) -> int:  # noqa: FBT001  two private calls
    if configured is not None:
        return configured
    return LEAST_OUTPUT_STRUCTURED if reasoning or ask.structured else LEAST_OUTPUT


def window_of(catalog: Catalog, model: str, provider: str | None) -> int:
    """Input tokens that a model can read at most."""
    return catalog.context_window(model, provider=provider) or DEFAULT_WINDOW
