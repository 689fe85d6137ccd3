"""Lines of the files that batches end in: an answer inside an envelope.

Read on 2026-11-21:

- OpenAI, Azure, Groq, Together, Mistral: `{"custom_id", "response": {"status_code", "body"}, "error"}`
  (OpenAI's API reference, the request output object)
- Anthropic: `{"custom_id", "result": {"type", "message"}}` (its package 2.10,
  types/messages/message_batch_individual_response.py)
- Gemini: `{"key", "response"}` (ai.google.dev/gemini-api/docs/batch-api); Vertex: `{"request", "response",
  "status"}`
- Bedrock: `{"recordId", "modelInput", "modelOutput"}` (docs.aws.amazon.com/bedrock, batch inference results)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from farthing.usage.paths import fields_of

__all__ = ["BatchLine", "batch_line"]

_OK = 200


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One request of a batch.

    Attributes:
        id: that its caller gave it; None if the line has none.
        body: the answer; None if the request failed, was cancelled or expired, which is not billed.
    """

    id: str | None
    body: Mapping[str, Any] | None


def batch_line(fields: Mapping[str, Any]) -> BatchLine | None:
    """What a line of a batch's results holds; None of anything else."""
    if "custom_id" in fields:
        if "result" in fields:
            result = fields_of(fields["result"]) or {}
            good = result.get("type") == "succeeded"
            return BatchLine(_text(fields["custom_id"]), _inner(result.get("message")) if good else None)
        if "response" in fields:
            response = fields_of(fields["response"]) or {}
            good = response.get("status_code", _OK) == _OK
            return BatchLine(_text(fields["custom_id"]), _inner(response.get("body")) if good else None)
    elif "modelInput" in fields and ("modelOutput" in fields or "error" in fields):
        return BatchLine(_text(fields.get("recordId")), _inner(fields.get("modelOutput")))
    elif "key" in fields and ("response" in fields or "error" in fields):
        return BatchLine(_text(fields["key"]), _inner(fields.get("response")))
    elif "request" in fields and "response" in fields and "status" in fields:
        return BatchLine(None, _inner(fields["response"]) or None)
    return None


def _inner(value: object) -> Mapping[str, Any] | None:
    return None if value is None else fields_of(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
