"""Which requests cost money: a table of those that are metered, and of those that are known not to be.

A further route is a row. Paths and fields: the OpenAI API reference and the SDK's own resources
(`openai/resources/**` 3.52, `anthropic/resources/**` 2.11), read on 2026-11-21.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

__all__ = ["ROUTES", "Fate", "Measure", "Route", "cap_field", "fate_of", "may_cost", "route_of"]

Measure = Literal["tokens", "characters", "images", "seconds"]
Fate = Literal["passes", "free", "billed", "unknown"]


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request.

    Attributes:
        path: as the SDK posts it, relative to the base URL.
        operation: of the row that it leaves.
        flavour: how its answers state usage (`farthing.usage`).
        prompt: the field that holds what is read, and is counted.
        caps: fields that limit its output, the one to write first; empty if nothing limits it.
        least_cap: the smallest cap that the server accepts.
        asks_usage: True if a stream states its usage only when `stream_options.include_usage` asks.
        generates: True if it has an output of tokens.
        measure: what its answers are billed by. Of all but tokens, and of the tokens of images and of sound,
            a request shows no more than it says itself: characters to speak, images to make.
        labels: fields of the request that its price may depend on; they are kept with the row.
        model: that serves it where the request names none.
        texts: True if it may answer with something that is no JSON.
        hides: True if what is read is never all in the field `prompt`.
    """

    path: str
    operation: str
    flavour: str
    prompt: str
    caps: tuple[str, ...] = ()
    least_cap: int = 1
    asks_usage: bool = False
    generates: bool = False
    measure: Measure = "tokens"
    labels: tuple[str, ...] = ()
    model: str = ""
    texts: bool = False
    hides: bool = False


def _chat(
    path: str,
    operation: str,
    flavour: str,
    prompt: str,
    *caps: str,
    least_cap: int = 1,
    asks_usage: bool = False,
    hides: bool = False,
) -> Route:
    return Route(path, operation, flavour, prompt, caps, least_cap, asks_usage, generates=True, hides=hides)


def _image(path: str) -> Route:
    return Route(path, "image", "openai.images", "prompt", measure="images", labels=("size", "quality"))


def _audio(path: str, operation: str) -> Route:
    return Route(path, operation, "openai.transcriptions", "prompt", measure="seconds", texts=True)


ROUTES: tuple[Route, ...] = (
    _chat(
        "/chat/completions",
        "chat",
        "openai.chat",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        asks_usage=True,
    ),
    _chat("/responses", "responses", "openai.responses", "input", "max_output_tokens", least_cap=16),
    _chat("/responses/compact", "responses", "openai.responses", "input"),
    _chat("/decisions", "other", "openai.responses", "input", hides=True),
    _chat("/completions", "completion", "openai.completions", "prompt", "max_tokens", asks_usage=True),
    _chat("/v1/messages", "chat", "anthropic.messages", "messages", "max_tokens"),
    Route("/embeddings", "embedding", "openai.embeddings", "input"),
    Route("/moderations", "moderation", "openai.moderations", "input", model="omni-moderation-latest"),
    _image("/images/generations"),
    _image("/images/edits"),
    _image("/images/variations"),
    Route("/audio/speech", "speech", "openai.speech", "input", measure="characters", texts=True),
    _audio("/audio/transcriptions", "transcription"),
    _audio("/audio/translations", "translation"),
)
_BY_PATH = {route.path: route for route in ROUTES}

_BILLED = (
    "agents/automations/*/invocations",
    "agents/sessions",
    "agents/sessions/*/events",
    "batches",
    "chatkit/sessions",
    "complete",
    "containers",
    "evals/*/runs",
    "fine_tuning/alpha/graders/run",
    "fine_tuning/jobs",
    "fine_tuning/jobs/*/resume",
    "live/sessions",
    "live/sessions/*/accept",
    "live/sessions/*/fork",
    "messages/batches",
    "realtime/calls",
    "realtime/calls/*/accept",
    "realtime/client_secrets",
    "realtime/sessions",
    "realtime/transcription_sessions",
    "realtime/translations/client_secrets",
    "threads/*/runs",
    "threads/*/runs/*/submit_tool_outputs",
    "threads/runs",
    "videos",
    "videos/*/remix",
    "videos/characters",
    "videos/edits",
    "videos/extensions",
)
"""What is posted there costs money sooner or later, and no answer to it says how much."""

_FREE = (
    "agents",
    "agents/**",
    "assistants",
    "assistants/*",
    "audio/voice_consents/**",
    "batches/*/cancel",
    "chat/completions/*",
    "chatkit/sessions/*/cancel",
    "containers/*/files",
    "content_provenance_checks",
    "conversations",
    "conversations/**",
    "evals",
    "evals/**",
    "files",
    "fine_tuning/alpha/graders/validate",
    "fine_tuning/jobs/**",
    "live/sessions/**",
    "messages/batches/*/cancel",
    "messages/count_tokens",
    "models/*",
    "organization/**",
    "projects/**",
    "realtime/calls/**",
    "responses/*/cancel",
    "responses/input_tokens",
    "skills",
    "skills/**",
    "threads",
    "threads/**",
    "uploads",
    "uploads/**",
    "vaults",
    "vaults/**",
    "webhook_endpoints",
    "webhook_endpoints/**",
)
"""Nothing is billed for what is posted there. The table above goes first."""


def may_cost(method: str, url: str) -> bool:
    """True for a request of a metered route, whatever its body."""
    return method in {"post", "POST"} and route_of(url) is not None


def route_of(url: str) -> Route | None:
    """The metered route of a URL, relative to a client's base or absolute; None for any other."""
    route = _BY_PATH.get(url)
    if route is not None:
        return route
    path = url.split("?", 1)[0].rstrip("/")
    if path in _BY_PATH:
        return _BY_PATH[path]
    if "://" in path or path.count("/") > 1:
        for route in ROUTES:
            if path.endswith(("/v1" + route.path, "/v1/" + route.path.removeprefix("/v1/"))):
                return route
            if "/deployments/" in path and path.endswith(route.path):
                return route
    return _BY_PATH.get("/" + path.lstrip("/"))


@lru_cache(maxsize=1024)
def fate_of(method: str, url: str) -> Fate:
    """What is known of a request of no metered route: "passes" creates nothing, "free" is not billed,
    "billed" is, and "unknown" is what nobody has heard of."""
    if method.upper() != "POST":
        return "passes"
    parts = _parts(url)
    if any(_fits(parts, pattern.split("/")) for pattern in _BILLED):
        return "billed"
    return "free" if any(_fits(parts, pattern.split("/")) for pattern in _FREE) else "unknown"


def _parts(url: str) -> list[str]:
    """The steps of a path, from what comes after the version."""
    path = url.split("?", 1)[0]
    if "://" in path:
        path = path.split("://", 1)[1].partition("/")[2]
    parts = [part for part in path.split("/") if part]
    return parts[parts.index("v1") + 1 :] if "v1" in parts else parts


def _fits(parts: list[str], pattern: list[str]) -> bool:
    if pattern[-1] == "**":
        return len(parts) >= len(pattern) and _fits(parts[: len(pattern) - 1], pattern[:-1])
    return len(parts) == len(pattern) and all(
        p in ("*", part) for part, p in zip(parts, pattern, strict=True)
    )


def cap_field(route: Route, *, reasoning: bool) -> str | None:
    """The field that limits the output: OpenAI's reasoning models refuse `max_tokens` on chat completions."""
    if not route.caps:
        return None
    return "max_completion_tokens" if reasoning and len(route.caps) > 1 else route.caps[0]
