"""The same request to another model."""

from __future__ import annotations

from dataclasses import replace

from farthing.wire.asking import Ask
from farthing.wire.hosted import hosted

__all__ = ["with_model"]


def with_model(ask: Ask, model: str, base_url: str | None) -> Ask | None:
    """What the request asks for when `model` answers it; None where its body does not say which does.

    Some models search without being asked, so the tools are those of the new one.
    A client of Azure that was given a deployment has it in its address, and the body's model is ignored
    (openai 1.109 lib/azure.py).
    """
    if not isinstance(ask.body.get("model"), str) or "/deployments/" in (base_url or ""):
        return None
    body = {**ask.body, "model": model}
    runs = hosted(ask.route, model, body)
    return replace(
        ask,
        model=model,
        body=body,
        sent={**ask.sent, "model": model},
        tool_calls=None if runs is None else runs.calls,
        tool_units=() if runs is None else runs.units,
    )
