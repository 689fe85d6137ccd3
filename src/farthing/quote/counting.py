"""What a request says of what it will be billed on: its tokens, or its characters and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from farthing import money, pricing, tokens, wire
from farthing.records import Rates, Usage

__all__ = ["Measured", "count_ahead", "counted", "foreseen", "is_heavy", "measured"]

_WORD = 64

_NO_INPUT = frozenset((
    # counted as what they are
    "messages", "input", "prompt", "system", "instructions", "tools", "functions", "tool_choice",
    "function_call", "response_format", "output_format", "output_config", "text", "prediction",
    # read by the server, not by the model
    "audio", "background", "cache_control", "context_management", "conversation", "frequency_penalty",
    "include", "logit_bias", "logprobs", "max_completion_tokens", "max_output_tokens", "max_tokens",
    "max_tool_calls", "metadata", "modalities", "model", "models", "moderation", "n", "parallel_tool_calls",
    "plugins", "presence_penalty", "previous_response_id", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "provider", "reasoning", "reasoning_effort", "safety_identifier", "seed",
    "service_tier", "stop", "stop_sequences", "store", "stream", "stream_options", "temperature", "thinking",
    "top_k", "top_logprobs", "top_p", "transforms", "truncation", "usage", "user", "verbosity",
    "web_search_options",
))  # fmt: skip

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


def is_heavy(ask: wire.Ask) -> bool:
    """Whether counting it would hold up an event loop: see `count_ahead`."""
    return not tokens.loaded(ask.model) or tokens.is_large(ask.body)


def count_ahead(ask: wire.Ask) -> None:
    """Count it now, in a thread that may wait, and remember that."""
    ask.counted = ask.model, counted(ask)


def counted(ask: wire.Ask) -> tokens.Count:
    """The input tokens that the request shows."""
    if isinstance(ask.counted, tuple) and ask.counted[0] == ask.model:
        count: tokens.Count = ask.counted[1]
        return count
    body = ask.body
    if ask.plain and ask.route.prompt == "messages":
        return tokens.count_messages(body.get("messages"), ask.model, extra=body)
    if ask.route.prompt == "messages":
        return tokens.count_messages(
            body.get("messages"),
            ask.model,
            tools=body.get("tools"),
            tool_choice=body.get("tool_choice"),
            functions=body.get("functions"),
            response_format=_format(body),
            extra=body,
            beside=_beside(body),
        )
    if ask.route.flavour == "openai.responses":
        return tokens.count_input(
            body.get("input"),
            ask.model,
            instructions=body.get("instructions"),
            tools=body.get("tools"),
            tool_choice=body.get("tool_choice"),
            text=body.get("text"),
            beside=_beside(body),
        )
    count = tokens.count_texts(body.get(ask.route.prompt), ask.model)
    if body.get("suffix"):
        return _plus(count, tokens.count_texts(body["suffix"], ask.model))
    return count


def _format(body: Mapping[str, Any]) -> object:
    """The format of the answer, which is shown to the model."""
    config = body.get("output_config")  # Anthropic's
    inner = config.get("format") if config is not None and isinstance(config, Mapping) else None
    return body.get("response_format") or body.get("output_format") or inner


def _beside(body: Mapping[str, Any]) -> list[object] | None:
    """Fields that may bring texts into the input, for all that is known; an option is no more than a word."""
    if _NO_INPUT.issuperset(body):
        return None
    names = body.keys() - _NO_INPUT
    return [v for v in map(body.get, names) if v and (len(v) > _WORD if isinstance(v, str) else _holds(v))]


def _holds(value: object) -> bool:
    return isinstance(value, (Mapping, list, tuple))


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
