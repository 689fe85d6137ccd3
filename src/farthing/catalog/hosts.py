"""Whose API answers under a base URL."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

__all__ = ["endpoint", "provider_at"]

_HOSTS: tuple[tuple[str, str], ...] = (
    # OpenAI: data residency is by host, eu.api.openai.com and its like (platform docs, "Your data").
    (r"(?:[a-z-]+\.)?api\.openai\.com", "openai"),
    (r"[\w.-]+\.openai\.azure\.(?:com|us)", "azure"),
    (r"[\w.-]+\.(?:cognitiveservices|services\.ai)\.azure\.com", "azure"),
    (r"[\w.-]+\.azure-api\.net", "azure"),
    (r"(?:api\.)?openrouter\.ai", "openrouter"),
    (r"api\.anthropic\.com", "anthropic"),
    (r"api\.deepseek\.com", "deepseek"),
    (r"api\.groq\.com", "groq"),
    (r"(?:[\w-]+\.)?api\.x\.ai", "x-ai"),
    (r"api\.mistral\.ai", "mistral"),
    (r"(?:generativelanguage|(?:[\w-]+-)?aiplatform)\.googleapis\.com", "google"),
    (r"bedrock-(?:runtime|mantle)(?:-fips)?\.[\w-]+\.(?:amazonaws\.com|api\.aws)", "aws"),
    (r"(?:[a-z]+-)?api\.together\.(?:xyz|ai)", "together"),
    (r"api\.fireworks\.ai", "fireworks"),
    (r"api\.perplexity\.ai", "perplexity"),
    (r"api\.cerebras\.ai", "cerebras"),
    (r"api\.cohere\.(?:ai|com)", "cohere"),
    (r"api\.moonshot\.(?:ai|cn)", "moonshotai"),
    (r"api\.z\.ai", "zai"),
)
"""Whole host names. What is not here is looked for among genai-prices' `api_pattern`s."""

_COMPILED = tuple((re.compile(pattern), provider) for pattern, provider in _HOSTS)


def endpoint(url: str) -> str:
    """host[:port]/path of a URL, in lower case, without a closing slash; "" if it has no host."""
    try:
        parts = urlsplit(url.strip() if "//" in url else f"//{url.strip()}")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    return f"{parts.hostname or ''}{port}{parts.path.rstrip('/')}".lower()


@lru_cache(maxsize=1024)
def provider_at(url: str) -> str | None:
    """The provider at a URL that is well known; None for all others, so for every host of one's own."""
    host = re.split(r"[:/]", endpoint(url), maxsplit=1)[0]
    for pattern, provider in _COMPILED:
        if pattern.fullmatch(host):
            return provider
    return None
