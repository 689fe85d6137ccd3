"""The rows, by name."""

from __future__ import annotations

from collections.abc import Mapping

from farthing.usage.flavours import (
    anthropic,
    bedrock,
    cohere,
    google,
    jobs,
    local,
    mistral,
    openai,
    realtime,
)
from farthing.usage.flavours.row import Row

__all__ = ["DIALECTS", "FLAVOURS", "row_of"]

_ROWS = (
    openai.CHAT,
    openai.RESPONSES,
    openai.COMPLETIONS,
    openai.EMBEDDINGS,
    openai.MODERATIONS,
    openai.IMAGES,
    openai.SPEECH,
    openai.TRANSCRIPTIONS,
    openai.ASSISTANTS,
    jobs.BATCHES,
    jobs.VIDEOS,
    jobs.FINE_TUNING,
    jobs.EVALS,
    anthropic.MESSAGES,
    google.GENERATE_CONTENT,
    google.INTERACTIONS,
    google.PREDICT,
    bedrock.CONVERSE,
    bedrock.INVOKE,
    cohere.CHAT,
    mistral.CONVERSATIONS,
    mistral.OCR,
    local.OLLAMA,
    local.LLAMA_CPP,
    realtime.REALTIME,
    realtime.LIVE,
)
_BY_NAME: Mapping[str, Row] = {row.name: row for row in _ROWS}
_DIALECTS: Mapping[tuple[str, str], Row] = {
    (provider, row.name): row
    for row, providers in (
        (openai.XAI_CHAT, ("x-ai", "xai")),
        (openai.GEMINI_CHAT, ("google", "gemini", "vertex", "vertex_ai", "google-vertex")),
    )
    for provider in providers
}

FLAVOURS: tuple[str, ...] = tuple(_BY_NAME)
"""The names of the flavours that are known."""

DIALECTS: frozenset[str] = frozenset(provider for provider, _ in _DIALECTS)
"""The providers that speak a dialect of one."""


def row_of(flavour: str | None, provider: str | None = None) -> Row | None:
    """The row of a flavour, and of its dialect if this provider has one; None if it is not known."""
    if provider is not None:
        own = _DIALECTS.get((provider, flavour or ""))
        if own is not None:
            return own
    return _BY_NAME.get(flavour or "")
