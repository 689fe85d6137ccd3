"""What Mistral has beside OpenAI's shapes: conversations with connectors, and reading of documents."""

from __future__ import annotations

from dataclasses import replace

from farthing.usage.flavours import openai
from farthing.usage.flavours.hosted import of_mistral
from farthing.usage.flavours.row import Row

__all__ = ["CONVERSATIONS", "OCR"]

CONVERSATIONS = replace(
    openai.CHAT,
    name="mistral.conversations",
    sources=(
        "mistralai package, ConversationUsageInfo: connector_tokens, connectors",
        "docs.mistral.ai/agents/connectors: total = prompt + completion + connector tokens, which were read",
    ),
    counts={**openai.CHAT.counts, "connector_tokens": "tool_input_tokens", "connectors": ""},
    beside={},
    further=of_mistral,
    id_at=("conversation_id",),
    objects=frozenset({"conversation.response", "conversation.response.done"}),
    seen=(("message.output.delta", "content"), (None, "outputs[].content")),
    ends=frozenset({"conversation.response.done", "conversation.response.error"}),
    end_at=(),
    fails=frozenset({"conversation.response.error"}),
)

OCR = Row(
    name="mistral.ocr",
    sources=("docs.mistral.ai/api/endpoint/ocr: usage_info, billed by the page",),
    usage_at=("usage_info",),
    counts={"pages_processed": "pages", "doc_size_bytes": ""},
    marks=frozenset({"usage_info"}),
)
