"""What a request says of what it will be billed on: its tokens, or its characters and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from farthing import money, pricing, tokens, wire
from farthing.records import Rates, Usage

__all__ = ["Measured", "counted", "foreseen", "measured"]

_UNIT = {"characters": "character", "images": "image", "seconds": "second"}


@dataclass(slots=True)
class Measured:
    """The bounds of a call that is not billed on tokens which the request shows.

    Attributes:
        upper: pico-dollars at most; what is known of them where the rest has no bound.
        expected: nano-dollars; None if nobody knows before the answer.
        unforeseen: what the answer will be billed on that has no bound before it; "" if all of it has one.
    """

    upper: int | Fraction
    expected: int | None
    unforeseen: str


def counted(ask: wire.Ask) -> tokens.Count:
    """The input tokens that the request shows."""
    body = ask.body
    if ask.route.prompt == "messages":
        return tokens.count_messages(
            body.get("messages"),
            ask.model,
            tools=body.get("tools"),
            tool_choice=body.get("tool_choice"),
            functions=body.get("functions"),
            response_format=body.get("response_format") or body.get("output_format"),
            extra=body,
        )
    if ask.route.flavour == "openai.responses":
        return tokens.count_input(
            body.get("input"),
            ask.model,
            instructions=body.get("instructions"),
            tools=body.get("tools"),
            tool_choice=body.get("tool_choice"),
            text=body.get("text"),
        )
    count = tokens.count_texts(body.get(ask.route.prompt), ask.model)
    if body.get("suffix"):
        return _plus(count, tokens.count_texts(body["suffix"], ask.model))
    return count


def _plus(a: tokens.Count, b: tokens.Count) -> tokens.Count:
    method = a.method if a.method == b.method else "approximate"
    return tokens.Count(a.tokens + b.tokens, a.upper + b.upper, method)


def predicted(ask: wire.Ask) -> int:
    """Tokens of the output that the caller predicts, at most: what is rejected of it is billed as output."""
    prediction = ask.body.get("prediction")
    if not isinstance(prediction, Mapping):
        return 0
    content = prediction.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return tokens.count_text(content, ask.model).upper if isinstance(content, str) else tokens.UNSEEN


def foreseen(ask: wire.Ask) -> Usage | None:
    """What the request itself says that it will be billed on, other than tokens; None if it does not say."""
    if ask.route.measure == "images":
        return Usage.trusted(images=ask.choices)
    text = ask.body.get(ask.route.prompt)
    if ask.route.measure == "characters" and isinstance(text, str):
        return Usage.trusted(characters=len(text))
    return None


def measured(ask: wire.Ask, rates: Rates, count: tokens.Count) -> Measured:
    """Upper bound and expectation of a call that is measured by anything but tokens.

    Images and speech of some models are billed by tokens of output, and nobody knows how many there will be:
    such a unit is treated as if it had no price. So is the length of a recording.
    """
    usage = foreseen(ask)
    unit = _UNIT[ask.route.measure]
    upper: int | Fraction = count.upper * pricing.upper_rate(rates, "input", input_tokens=count.upper)
    each = rates.prices.get(unit)
    if rates.status == "free":
        return Measured(0, 0, "")
    if usage is None or each is None or pricing.has_rate(rates, "output"):
        return Measured(upper, None, f"its {ask.route.measure if each is not None else 'tokens of output'}")
    units = each * (usage.images or usage.characters or 0)
    prompt = pricing.prompt(count.tokens, rates) if pricing.has_rate(rates, "input") else 0
    return Measured(upper + units, None if prompt is None else prompt + money.round_nano(units), "")
