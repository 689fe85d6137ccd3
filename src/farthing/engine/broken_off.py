"""What is to be said of an answer that broke off before it stated its bill."""

from __future__ import annotations

from farthing import pricing, tokens
from farthing.quote import Quote, foreseen
from farthing.records import Rates, Usage
from farthing.usage import Reading

__all__ = ["at_most", "guessed", "hides"]

_PARTS = (
    "cached_tokens",
    "cache_write_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "audio_input_tokens",
    "image_input_tokens",
)
"""Counts of the prompt that have rates of their own."""


def hides(quote: Quote, reading: Reading | None) -> bool:
    """Whether a call may be billed for what nobody has seen: for reasoning, for what hosted tools do, for
    input that the request does not show, unless the answer has stated its prompt."""
    ask = quote.ask
    if quote.reasoning or ask.reasons or ask.tool_calls is not None:
        return True
    return not _stated(reading) and (ask.hidden_input or quote.count.upper >= tokens.UNSEEN)


def guessed(quote: Quote, reading: Reading | None, seen: str) -> Usage | None:
    """The prompt, as stated or else as counted, and what was seen of the answer; without tokens, what was
    asked for, or None."""
    ask = quote.ask
    if ask.route.measure != "tokens":
        return foreseen(ask)
    out = tokens.count_text(seen, ask.model).tokens if seen else 0
    if reading is not None and reading.usage is not None:
        out = max(out, reading.usage.output_tokens or 0)
    return Usage.trusted(**_prompt(quote, reading), output_tokens=out if ask.route.caps else None)


def at_most(quote: Quote, reading: Reading | None, rates: Rates, cost: int) -> int:
    """Nano-dollars of a stream that was left, where its provider stops, if the guess costs so many: what was
    seen, and a fifth of it for what was on its way. Of images and files the prompt is taken at its most."""
    if quote.ask.route.measure != "tokens":
        return cost
    prompt = pricing.total(Usage.trusted(**_prompt(quote, reading), output_tokens=0), rates)[0] or 0
    most = prompt
    if not quote.count.shown and not _stated(reading):
        most = max(pricing.prompt(quote.count.upper, rates) or 0, prompt)
    return most + (cost - prompt) * 6 // 5


def _prompt(quote: Quote, reading: Reading | None) -> dict[str, int]:
    return _stated(reading) or {"input_tokens": quote.count.tokens}


def _stated(reading: Reading | None) -> dict[str, int]:
    """The counts of the prompt, if an answer has stated them: some do at its beginning."""
    usage = None if reading is None else reading.usage
    if usage is None or not usage.input_tokens:
        return {}
    return {"input_tokens": usage.input_tokens, **{name: getattr(usage, name) for name in _PARTS}}
