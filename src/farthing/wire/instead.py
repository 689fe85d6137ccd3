"""The same request to another model."""

from __future__ import annotations

from dataclasses import replace

from farthing.wire.asking import Ask

__all__ = ["with_model"]


def with_model(ask: Ask, model: str, base_url: str | None) -> Ask | None:
    """What the request asks for when `model` answers it; None where its body does not say which does.

    A client of Azure that was given a deployment has it in its address, and the body's model is ignored
    (openai 1.109 lib/azure.py).
    """
    if not isinstance(ask.body.get("model"), str) or "/deployments/" in (base_url or ""):
        return None
    return replace(ask, model=model, body={**ask.body, "model": model}, sent={**ask.sent, "model": model})
