"""Which requests cost money: a table of those that are metered, and of those that are known not to be.

A further route is a row. Paths and fields: the OpenAI API reference and the SDK's own resources
(`openai/resources/**` 3.52, `anthropic/resources/**` 2.11), read on 2026-11-21.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from farthing.wire.jobs import JOB_ROUTES
from farthing.wire.route import Route, fits, steps

__all__ = ["ROUTES", "Fate", "cap_field", "fate_of", "may_cost", "route_of"]

Fate = Literal["passes", "free", "billed", "unknown"]


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
    *JOB_ROUTES,
)
_BY_PATH = {route.path: route for route in ROUTES}
_STARRED = [(route.path.strip("/").split("/"), route) for route in ROUTES if "*" in route.path]

_BILLED = (
    "agents/automations/*/invocations",
    "agents/sessions",
    "agents/sessions/*/events",
    "chatkit/sessions",
    "complete",
    "containers",
    "deployments",
    "deployments/*/run",
    "deployments/*/unpause",
    "dreams",
    "fine_tuning/alpha/graders/run",
    "fine_tuning/jobs/*/resume",
    "live/sessions",
    "live/sessions/*/accept",
    "live/sessions/*/fork",
    "realtime/calls",
    "realtime/calls/*/accept",
    "realtime/client_secrets",
    "realtime/sessions",
    "realtime/transcription_sessions",
    "realtime/translations/client_secrets",
    "sessions",
    "sessions/*/events",
    "vector_stores",
    "vector_stores/*/file_batches",
    "vector_stores/*/files",
    "videos/characters",
)
"""What is posted there costs money sooner or later, and no answer to it says how much. What a vector store
holds is billed by the day (platform.openai.com/docs/pricing); Anthropic's sessions, and what starts them, by
the tokens that they use (platform.claude.com, "Managed agents")."""

_FREE = (
    "agents",
    "agents/**",
    "assistants",
    "assistants/*",
    "audio/voice_consents",
    "audio/voice_consents/**",
    "audio/voices",
    "batches/*/cancel",
    "chat/completions/*",
    "chatkit/sessions/*/cancel",
    "containers/*/files",
    "content_provenance_checks",
    "conversations",
    "conversations/**",
    "deployments/**",
    "dreams/**",
    "environments",
    "environments/**",
    "evals",
    "evals/**",
    "files",
    "fine_tuning/alpha/graders/validate",
    "fine_tuning/checkpoints/**",
    "fine_tuning/jobs/**",
    "live/sessions/**",
    "memory_stores",
    "memory_stores/**",
    "messages/batches/*/cancel",
    "messages/count_tokens",
    "models/*",
    "organization/**",
    "organizations/**",
    "projects/**",
    "realtime/calls/**",
    "responses/*/cancel",
    "responses/input_tokens",
    "sessions/**",
    "skills",
    "skills/**",
    "threads",
    "threads/**",
    "tunnels",
    "tunnels/**",
    "uploads",
    "uploads/**",
    "user_profiles",
    "user_profiles/**",
    "vaults",
    "vaults/**",
    "vector_stores/**",
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
    return _BY_PATH.get("/" + path.lstrip("/")) or _starred(path)


@lru_cache(maxsize=1024)
def _starred(path: str) -> Route | None:
    """The route of a path in which an id stands."""
    parts = steps(path)
    return next((route for pattern, route in _STARRED if fits(parts, pattern)), None)


@lru_cache(maxsize=1024)
def fate_of(method: str, url: str) -> Fate:
    """What is known of a request of no metered route: "passes" creates nothing, "free" is not billed,
    "billed" is, and "unknown" is what nobody has heard of."""
    if method.upper() != "POST":
        return "passes"
    parts = steps(url)
    if any(fits(parts, pattern.split("/")) for pattern in _BILLED):
        return "billed"
    return "free" if any(fits(parts, pattern.split("/")) for pattern in _FREE) else "unknown"


def cap_field(route: Route, *, reasoning: bool) -> str | None:
    """The field that limits the output: OpenAI's reasoning models refuse `max_tokens` on chat completions."""
    if not route.caps:
        return None
    return "max_completion_tokens" if reasoning and len(route.caps) > 1 else route.caps[0]
