"""What the body of a request says before it is sent, and what farthing may write into it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from farthing.wire.routes import Route, route_of

__all__ = ["Ask", "read_request", "with_cap", "with_usage_asked"]

_HIDDEN_INPUT = ("previous_response_id", "conversation", "prompt_id")
"""Fields that bring in input which the request does not show."""

_CLIENT_TOOLS = ("bash_", "computer_", "memory_", "text_editor_")
"""Types of Anthropic's tools that the caller runs (anthropic package 2.11 types/tool_union_param.py)."""

_WORD = re.compile(r"[\w.:-]{1,32}", re.ASCII)

_NO_LABELS: Mapping[str, str] = {}


@dataclass(slots=True)
class Ask:
    """What one request asks for.

    Attributes:
        body: as it will be sent, `extra_body` merged in; `sent` without it. Neither is to be changed.
        model: as the caller spells it.
        cap: output tokens that the caller allows; None if the caller sets no cap.
        choices: how many answers are generated (`n`, `best_of`).
        tier: the service tier asked for; None if none is named.
        structured: True if the model must emit structure, of which a piece is of no use.
        hidden_input: True if input will be read that the request does not show.
        tool_calls: how often hosted tools may run; None without hosted tools; -1 if unlimited.
        thinks: True if the request asks for reasoning that is billed and need not be shown.
        labels: what the price of an image may depend on, as asked for.
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


def read_request(method: str, url: str, body: object, extra: Mapping[str, Any] | None = None) -> Ask | None:
    """What a POST asks for; None if it is of no metered route or its body cannot be read.

    Args:
        method, url: as given to the client, the URL relative to its base or absolute.
        body: the JSON data; `extra` overrides it field by field, as the SDK merges `extra_body`.
    """
    if method not in ("post", "POST"):
        return None
    route = route_of(url)
    if route is None or not isinstance(body, Mapping):
        return None
    sent = body
    if extra:
        body = {**body, **extra}
    model = body.get("model")
    tools = body.get("tools")
    anthropic = route.flavour == "anthropic.messages"
    hosted = _servers_calls if anthropic else _hosted_calls
    calls = hosted(tools, body) if tools or anthropic else None
    return Ask(
        route,
        body,
        sent,
        model if isinstance(model, str) else route.model,
        body.get("stream") is True,
        _cap(body, route.caps),
        _choices(body) * _prompts(route, body),
        _tier(body),
        bool(tools or body.get("response_format") or body.get("text") or body.get("functions")),
        # What a server's tool finds is input that the request does not show.
        _hides_input(route, body) or (anthropic and calls is not None),
        calls,
        anthropic and _thinks(body),
        _labels(body, route.labels) if route.labels else _NO_LABELS,
    )


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


def _prompts(route: Route, body: Mapping[str, Any]) -> int:
    """A completion answers every prompt of a list: texts, or lists of tokens."""
    prompts = body.get("prompt") if route.operation == "completion" else None
    if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
        return len(prompts)
    return 1


def _tier(body: Mapping[str, Any]) -> str | None:
    """The service tier; Anthropic's fast mode is one too, by its price."""
    tier = body.get("service_tier")
    if body.get("speed") == "fast":
        return "fast"
    return tier if isinstance(tier, str) else None


def _hides_input(route: Route, body: Mapping[str, Any]) -> bool:
    if route.operation == "responses":
        return any(body.get(name) for name in _HIDDEN_INPUT) or isinstance(body.get("prompt"), Mapping)
    return route.hides


def _hosted_calls(tools: object, body: Mapping[str, Any]) -> int | None:
    if not isinstance(tools, list):
        return None
    hosted = any(isinstance(t, Mapping) and t.get("type") not in (None, "function", "custom") for t in tools)
    if not hosted:
        return None
    limit = body.get("max_tool_calls")
    return limit if type(limit) is int and limit >= 0 else -1


def _servers_calls(tools: object, body: Mapping[str, Any]) -> int | None:
    """The same for Anthropic: each of the tools that its servers run has a limit of its own, `max_uses`."""
    if body.get("mcp_servers"):
        return -1
    calls: int | None = None
    for tool in tools if isinstance(tools, (list, tuple)) else ():
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if not isinstance(kind, str) or kind == "custom" or kind.startswith(_CLIENT_TOOLS):
            continue
        limit = tool.get("max_uses")
        if type(limit) is not int or limit < 0:
            return -1
        calls = (calls or 0) + limit
    return calls


def _thinks(body: Mapping[str, Any]) -> bool:
    thinking = body.get("thinking")
    return isinstance(thinking, Mapping) and thinking.get("type") != "disabled"


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
