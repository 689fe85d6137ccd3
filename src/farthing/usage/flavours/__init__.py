"""The table: one row for each wire flavour, saying where its bodies and events state what.

All that a row needs beyond paths is a few rules of arithmetic: which counts the provider leaves out of
which others. Read on 2026-11-21 unless a row says otherwise; "SDK" is the openai package 3.52.0.
"""

from __future__ import annotations

from collections.abc import Mapping

from farthing.usage.flavours import anthropic, google, openai
from farthing.usage.flavours.row import Row

__all__ = ["FLAVOURS", "row_of"]

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
    anthropic.MESSAGES,
    google.GENERATE_CONTENT,
)
_BY_NAME: Mapping[str, Row] = {row.name: row for row in _ROWS}
_DIALECTS: Mapping[tuple[str, str], Row] = {
    (provider, openai.XAI_CHAT.name): openai.XAI_CHAT for provider in ("x-ai", "xai")
}

FLAVOURS: tuple[str, ...] = tuple(_BY_NAME)
"""The names of the flavours that are known."""


def row_of(flavour: str | None, provider: str | None = None) -> Row | None:
    """The row of a flavour, and of its dialect if this provider has one; None if it is not known."""
    if provider is not None:
        own = _DIALECTS.get((provider, flavour or ""))
        if own is not None:
            return own
    return _BY_NAME.get(flavour or "")
