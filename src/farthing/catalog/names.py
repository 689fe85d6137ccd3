"""What people call models, providers and tiers, and what the catalog calls them. No price data is needed."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = [
    "PROVIDERS",
    "STANDARD",
    "base_of_fine_tuned",
    "canonical",
    "maker",
    "provider_id",
    "split",
    "tidy",
    "undated",
    "unrouted",
    "usual_tier",
]

PROVIDERS: dict[str, str] = {
    "openai": "openai",
    "text-completion-openai": "openai",
    "azure": "azure",
    "azure_openai": "azure",
    "azure-openai": "azure",
    "azureopenai": "azure",
    "azure_ai": "azure",
    "azure-ai": "azure",
    "anthropic": "anthropic",
    "google": "google",
    "gemini": "google",
    "vertex_ai": "google",
    "vertex": "google",
    "google-vertex": "google",
    "aws": "aws",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "amazon": "aws",
    "openrouter": "openrouter",
    "deepseek": "deepseek",
    "groq": "groq",
    "x-ai": "x-ai",
    "xai": "x-ai",
    "mistral": "mistral",
    "mistralai": "mistral",
    "together": "together",
    "together_ai": "together",
    "togetherai": "together",
    "fireworks": "fireworks",
    "fireworks_ai": "fireworks",
    "fireworks-ai": "fireworks",
    "perplexity": "perplexity",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "moonshot": "moonshotai",
    "moonshotai": "moonshotai",
    "zai": "zai",
    "z-ai": "zai",
    "minimax": "minimax",
    "novita": "novita",
    "voyage": "voyageai",
    "voyageai": "voyageai",
    "databricks": "databricks",
    "cloudflare": "cloudflare",
    "github_copilot": "github-copilot",
    "github-copilot": "github-copilot",
}
"""Spellings of providers, among them the prefixes that routers put before a model, to genai-prices' ids."""

_ROUTERS = frozenset({"litellm", "litellm_proxy", "litellm-proxy", "openai-compatible", "openai_compatible"})
"""Said of a provider, these name no one who sends a bill."""

STANDARD = frozenset({"", "default", "standard", "standard_only", "auto", "on_demand", "scale"})
"""Served tiers at list price. OpenAI: "default", "scale" (prepaid units, billed apart) and, where it was
asked for and not yet answered, "auto" (API reference, `service_tier`); Anthropic: "standard"; Groq:
"on_demand"."""

_DATED = re.compile(r"^(?P<base>.+?)[-@]20\d{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])$")
_FINE_TUNED = re.compile(r"^ft:(?P<base>[^:]+)")
_BEDROCK = re.compile(
    r"^(?:arn:aws[\w-]*:bedrock|(?:(?:us|eu|apac|au|jp|ca|global|us-gov)\.)?"
    r"(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|openai|qwen|writer|stability|twelvelabs)\.)"
)
_RESOURCE = re.compile(r"^(?:projects/[^/]+/locations/[^/]+/)?publishers/[^/]+/models/(?P<model>.+)$")
"""A model of Vertex AI by its resource name."""
_ROUTED = re.compile(r"^(?P<base>.+):(?:nitro|floor|exacto|online)$")
"""OpenRouter's variants that choose among the hosts of a model (openrouter.ai/docs/guides/routing)."""
_OPENAI = re.compile(
    r"^(?:ft:|gpt-|chatgpt-|o[1-9](?:-|$)|codex-|computer-use|text-(?:embedding|moderation|davinci|curie|babbage"
    r"|ada)|omni-moderation|whisper-1|tts-1|dall-e|sora-|davinci|curie|babbage|ada(?:$|-))"
)


def tidy(model: str) -> str:
    """Without surrounding space and without Gemini's "models/"."""
    return model.strip().removeprefix("models/")


def provider_id(provider: str | None) -> str | None:
    """The usual spelling of a provider; None for none and for what only routes to one."""
    if provider is None:
        return None
    spelt = provider.strip().lower()
    if not spelt or spelt in _ROUTERS:
        return None
    return PROVIDERS.get(spelt, spelt)


def split(model: str) -> tuple[str | None, str]:
    """("openai", "gpt-4o") of "openai/gpt-4o"; (None, the name) where no provider stands before a slash, and
    without what only routes to one.

    A resource name of Vertex AI ("publishers/anthropic/models/...") is Google's.
    """
    resource = _RESOURCE.match(model)
    if resource is not None:
        return "google", resource["model"]
    prefix, slash, rest = model.partition("/")
    if not slash or not rest:
        return None, model
    if prefix.lower() in _ROUTERS:
        return split(rest)
    provider = PROVIDERS.get(prefix.lower())
    return (provider, rest) if provider is not None else (None, model)


@lru_cache(maxsize=4096)
def canonical(model: str, provider: str | None = None) -> str:
    """The name for budgets and reports; a dated snapshot keeps its date.

    The prefix of a provider goes where that provider is the one that serves; on a provider that names its
    models so (OpenRouter's "openai/gpt-4o") it is part of the name.
    """
    name = tidy(model)
    serving = provider_id(provider)
    prefix, rest = split(name)
    if prefix is not None and serving is not None and serving != prefix:
        return name
    return tidy(rest)


def maker(model: str) -> str | None:
    """Who sells a model of this name, where the name alone says so."""
    name = model.lower()
    if _BEDROCK.match(name):
        return "aws"
    return "openai" if _OPENAI.match(name) else None


def undated(model: str) -> str | None:
    """The name without the date of its snapshot; None if it has none."""
    found = _DATED.match(model)
    return found["base"] if found else None


def unrouted(model: str) -> str | None:
    """ "openai/gpt-4o" of OpenRouter's "openai/gpt-4o:nitro"; None if it has no such variant."""
    found = _ROUTED.match(model)
    return found["base"] if found else None


def base_of_fine_tuned(model: str) -> str | None:
    """ "gpt-4o-mini" of "ft:gpt-4o-mini:org:suffix:id"; None if it is not fine-tuned."""
    found = _FINE_TUNED.match(model)
    return found["base"] if found else None


def usual_tier(tier: str | None) -> str | None:
    """None for every spelling of the standard tier, else its name in lower case."""
    if tier is None:
        return None
    spelt = tier.strip().lower()
    return None if spelt in STANDARD else spelt
