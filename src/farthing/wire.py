"""What a request asks for: routes that may cost money, and what their bodies say before they are sent.

A table, so that a further route is a row. Paths and fields: the OpenAI API reference and the SDK's own
resources (`openai/resources/**`), read on 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ROUTES", "Ask", "Route", "cap_field", "may_cost", "read_request", "with_cap", "with_usage_asked"]


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request.

    Attributes:
        path: as the SDK posts it, relative to the base URL.
        operation: of the row that it leaves.
        flavour: how its answers state usage (`farthing.usage`).
        prompt: the field that holds what is read, and is counted.
        caps: fields that limit its output, the one to write first; empty if it has no output.
        least_cap: the smallest cap that the server accepts.
        asks_usage: True if a stream states its usage only when `stream_options.include_usage` asks.
    """

    path: str
    operation: str
    flavour: str
    prompt: str
    caps: tuple[str, ...] = ()
    least_cap: int = 1
    asks_usage: bool = False


ROUTES: tuple[Route, ...] = (
    Route(
        "/chat/completions",
        "chat",
        "openai.chat",
        "messages",
        ("max_tokens", "max_completion_tokens"),
        asks_usage=True,
    ),
    Route("/responses", "responses", "openai.responses", "input", ("max_output_tokens",), least_cap=16),
    Route("/completions", "completion", "openai.completions", "prompt", ("max_tokens",), asks_usage=True),
    Route("/embeddings", "embedding", "openai.embeddings", "input"),
)
_BY_PATH = {route.path: route for route in ROUTES}

_HIDDEN_INPUT = ("previous_response_id", "conversation", "prompt_id")
"""Fields that bring in input which the request does not show."""


@dataclass(slots=True)
class Ask:
    """What one request asks for.

    Attributes:
        body: as it will be sent, `extra_body` merged in; `sent` without it. Neither is to be changed.
        model: as the caller spells it.
        cap: output tokens that the caller allows; None if the caller sets no cap.
        choices: how many answers are generated (`n`, `best_of`).
        tier: the service tier asked for; None if none is named.
        least_useful: output tokens below which an answer is of no use; larger where the model must
            emit structure.
        hidden_input: True if input will be read that the request does not show.
        tool_calls: how often hosted tools may run; None without hosted tools; -1 if unlimited.
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


def read_request(method: str, url: str, body: object, extra: Mapping[str, Any] | None = None) -> Ask | None:
    """What a POST asks for; None if it is no request that farthing knows to cost money.

    Args:
        method, url: as given to the client, the URL relative to its base or absolute.
        body: the JSON data; `extra` overrides it field by field, as the SDK merges `extra_body`.
    """
    route = _BY_PATH.get(url) or _route_of(url)
    if route is None or method not in ("post", "POST") or not isinstance(body, Mapping):
        return None
    sent = body
    if extra:
        body = {**body, **extra}
    model = body.get("model")
    tools = body.get("tools")
    tier = body.get("service_tier")
    return Ask(
        route=route,
        body=body,
        sent=sent,
        model=model if isinstance(model, str) else "",
        stream=body.get("stream") is True,
        cap=_cap(body, route.caps),
        choices=_choices(body),
        tier=tier if isinstance(tier, str) else None,
        structured=bool(tools or body.get("response_format") or body.get("text") or body.get("functions")),
        hidden_input=_hides_input(route, body),
        tool_calls=_hosted_calls(tools, body) if tools else None,
    )


def may_cost(method: str, url: str) -> bool:
    """True for a request of a known route, whatever its body."""
    return method in {"post", "POST"} and (url in _BY_PATH or _route_of(url) is not None)


def _route_of(url: str) -> Route | None:
    path = url.split("?", 1)[0].rstrip("/")
    if path in _BY_PATH:
        return _BY_PATH[path]
    if "://" in path or path.count("/") > 1:
        for route in ROUTES:
            if path.endswith("/v1" + route.path) or ("/deployments/" in path and path.endswith(route.path)):
                return route
    return _BY_PATH.get("/" + path.lstrip("/"))


def _cap(body: Mapping[str, Any], fields: tuple[str, ...]) -> int | None:
    given = [body[name] for name in fields if type(body.get(name)) is int and body[name] > 0]
    return max(given) if given else None


def _choices(body: Mapping[str, Any]) -> int:
    most = 1
    for name in ("n", "best_of"):
        value = body.get(name)
        if type(value) is int and value > most:
            most = value
    return most


def _hides_input(route: Route, body: Mapping[str, Any]) -> bool:
    if route.operation == "responses":
        return any(body.get(name) for name in _HIDDEN_INPUT) or isinstance(body.get("prompt"), Mapping)
    return False


def _hosted_calls(tools: object, body: Mapping[str, Any]) -> int | None:
    if not isinstance(tools, list):
        return None
    hosted = any(isinstance(t, Mapping) and t.get("type") not in (None, "function", "custom") for t in tools)
    if not hosted:
        return None
    limit = body.get("max_tool_calls")
    return limit if type(limit) is int and limit >= 0 else -1


def cap_field(route: Route, *, reasoning: bool) -> str | None:
    """The field that limits the output: OpenAI's reasoning models refuse `max_tokens` on chat completions."""
    if not route.caps:
        return None
    return "max_completion_tokens" if reasoning and route.operation == "chat" else route.caps[0]


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
