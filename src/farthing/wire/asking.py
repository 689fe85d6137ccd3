"""What the body of a request says before it is sent, and what farthing may write into it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from farthing.wire.hosted import hosted
from farthing.wire.route import Route
from farthing.wire.routes import route_of

__all__ = ["Ask", "read_request", "requests_of", "with_cap", "with_usage_asked"]

_HIDDEN_INPUT = ("previous_response_id", "conversation", "prompt_id")
"""Fields that bring in input which the request does not show."""

_CHOICES = ("n", "best_of")
"""Fields that say how many answers are generated."""

_PLAIN = frozenset((
    "frequency_penalty", "input", "instructions", "logit_bias", "logprobs", "max_completion_tokens",
    "max_output_tokens", "max_tokens", "messages", "metadata", "model", "presence_penalty",
    "prompt_cache_key", "reasoning_effort", "safety_identifier", "seed", "stop", "stop_sequences", "store",
    "stream", "stream_options", "system", "temperature", "top_k", "top_logprobs", "top_p", "user",
    "verbosity",
))  # fmt: skip
"""Fields of most requests: but for the model, the prompt and the caps, they say nothing that is asked here. A
request that has no others is read in half the time."""

_WORD = re.compile(r"[\w.:-]{1,32}", re.ASCII)

_NO_LABELS: Mapping[str, str] = {}


@dataclass(slots=True)
class Ask:
    """What one request asks for.

    Attributes:
        body: as it will be sent, `extra_body` merged in; `sent` without it. Neither is to be changed.
        model: as the caller spells it.
        cap: output tokens that the caller allows, 0 for the prompt alone; None if the caller sets no cap.
        choices: how many answers are generated (`n`, `best_of`).
        tier: the service tier asked for; None if none is named.
        structured: True if the model must emit structure, of which a piece is of no use.
        hidden_input: True if input will be read that the request does not show.
        tool_calls: how often hosted tools may run; None without hosted tools; -1 if unlimited.
        thinks: True if the request asks for reasoning that is billed and need not be shown.
        labels: what the price of an image may depend on, as asked for.
        tool_units: what hosted tools are billed by beside tokens.
        counted: what was counted of it beforehand (`quote.count_ahead`); None if nothing was.
        plain: True if it has none but the usual fields: no tools, formats, tiers or anything else that
            would have to be looked for one by one.
    """

    route: Route
    body: Mapping[str, Any]
    sent: Mapping[str, Any]
    model: str
    stream: bool
    cap: int | None
    choices: int
    tier: str | None
    structured: bool
    hidden_input: bool
    tool_calls: int | None
    thinks: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    tool_units: tuple[str, ...] = ()
    counted: object = None
    plain: bool = False

    @property
    def reasons(self) -> bool:
        """Whether it asks for reasoning, by any of the fields for that: of an answer that is broken off
        nobody then knows what was made of it."""
        return self.thinks or _asks_to_reason(self.body)


def read_request(method: str, url: str, body: object, extra: Mapping[str, Any] | None = None) -> Ask | None:
    """What a POST asks for; None if it is of no metered route or its body cannot be read.

    Args:
        method, url: as given to the client, the URL relative to its base or absolute.
        body: the JSON data; `extra` overrides it field by field, as the SDK merges `extra_body`.
    """
    if method not in ("post", "POST"):
        return None
    route = route_of(url)
    if route is None or not (type(body) is dict or isinstance(body, Mapping)):
        return None
    sent = body
    if extra:
        body = {**body, **extra}
    model = body.get("model")
    if model is None and route.flavour == "anthropic.batches":
        model = next((params.get("model") for params in requests_of(body)), None)
    plain = _PLAIN.issuperset(body)
    anthropic = route.flavour == "anthropic.messages"
    model = model if isinstance(model, str) else route.model
    runs = hosted(route, model, body) if not plain or route.flavour == "openai.chat" else None
    calls = None if runs is None else runs.calls
    return Ask(
        route,
        body,
        sent,
        model,
        body.get("stream") is True,
        _largest(body, route.caps),
        1 if plain else _choices(route, body),
        route.tier if plain else _tier(body) or route.tier,
        not plain and _structured(body),
        # What a server's tool finds is input that the request does not show.
        (not plain and _hides_input(body) if route.operation == "responses" else route.hides)
        or (anthropic and calls is not None),
        calls,
        anthropic and not plain and _thinks(body),
        _labels(body, route.labels) if route.labels else _NO_LABELS,
        () if runs is None else runs.units,
        None,
        plain,
    )


def requests_of(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The bodies of the requests of Anthropic's batches (anthropic package 2.11
    types/messages/batch_create_params.py)."""
    requests = body.get("requests")
    inner = [r.get("params") if isinstance(r, Mapping) else None for r in _listed(requests)]
    return [params for params in inner if isinstance(params, Mapping)]


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _largest(body: Mapping[str, Any], fields: tuple[str, ...]) -> int | None:
    """The largest of these fields; None where none is an integer, or only negative ones, which limit
    nothing."""
    most = -1
    for name in fields:
        value = body.get(name)
        if type(value) is int and value > most:
            most = value
    return None if most < 0 else most


def _choices(route: Route, body: Mapping[str, Any]) -> int:
    """How many answers are generated."""
    each = max(_largest(body, _CHOICES) or 1, 1)
    return each * _prompts(body) if route.operation == "completion" else each


def _structured(body: Mapping[str, Any]) -> bool:
    """Whether tools are declared or any format but plain text is asked for: `response_format`, or
    `text.format` of responses."""
    if body.get("tools") or body.get("functions"):
        return True
    text = body.get("text")
    for wanted in (body.get("response_format"), text.get("format") if isinstance(text, Mapping) else None):
        if wanted and (wanted.get("type") if isinstance(wanted, Mapping) else wanted) != "text":
            return True
    return False


def _prompts(body: Mapping[str, Any]) -> int:
    """A completion answers every prompt of a list: texts, or lists of tokens."""
    prompts = body.get("prompt")
    if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
        return len(prompts)
    return 1


def _tier(body: Mapping[str, Any]) -> str | None:
    """The service tier; Anthropic's fast mode is one too, by its price."""
    tier = body.get("service_tier")
    if body.get("speed") == "fast":
        return "fast"
    return tier if isinstance(tier, str) else None


def _hides_input(body: Mapping[str, Any]) -> bool:
    return any(body.get(name) for name in _HIDDEN_INPUT) or isinstance(body.get("prompt"), Mapping)


def _thinks(body: Mapping[str, Any]) -> bool:
    thinking = body.get("thinking")
    return isinstance(thinking, Mapping) and thinking.get("type") != "disabled"


def _asks_to_reason(body: Mapping[str, Any]) -> bool:
    """By OpenAI's fields and by OpenRouter's (openrouter.ai/docs, "Reasoning Tokens"), with which any model
    may reason; or by the maker's own, which the compatible endpoints of Anthropic and DeepSeek take."""
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping):
        return reasoning.get("enabled") is not False and reasoning.get("effort") != "none"
    effort = body.get("reasoning_effort")
    return (isinstance(effort, str) and effort != "none") or _thinks(body)


def _labels(body: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    """Words only: no text of a prompt gets into a row."""
    found = ((name, body.get(name)) for name in names)
    return {name: value for name, value in found if isinstance(value, str) and _WORD.fullmatch(value)}


def with_cap(body: Mapping[str, Any], field: str, cap: int) -> dict[str, Any]:
    """A copy of the body with an output cap."""
    return {**body, field: cap}


def with_usage_asked(body: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A copy of the body that asks for usage in a stream; None if the caller has already decided that."""
    options = (extra or {}).get("stream_options", body.get("stream_options"))
    if isinstance(options, Mapping):
        if "include_usage" in options:
            return None
    elif options is not None:
        return None
    if extra and "stream_options" in extra:
        return None  # what we would write into the body, `extra_body` would override
    return {**body, "stream_options": {**(options or {}), "include_usage": True}}
