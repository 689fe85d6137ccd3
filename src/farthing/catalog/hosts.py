"""Whose API answers under a base URL."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

__all__ = ["endpoint", "host_of", "provider_at"]

_HOSTS: tuple[tuple[str, str], ...] = (
    # OpenAI: data residency is by host, eu.api.openai.com and its like (platform docs, "Your data").
    (r"(?:[a-z-]+\.)?api\.openai\.com", "openai"),
    (r"[\w.-]+\.openai\.azure\.(?:com|us)", "azure"),
    (r"[\w.-]+\.(?:cognitiveservices|services\.ai)\.azure\.com", "azure"),
    (r"[\w-]+\.api\.cognitive\.microsoft\.com", "azure"),
    (r"[\w.-]+\.azure-api\.net", "azure"),
    (r"(?:api\.)?openrouter\.ai", "openrouter"),
    (r"api\.anthropic\.com", "anthropic"),
    (r"api\.deepseek\.com", "deepseek"),
    (r"api\.groq\.com", "groq"),
    (r"(?:[\w-]+\.)?api\.x\.ai", "x-ai"),
    (r"api\.(?:(?:eu|us)\.)?mistral\.ai", "mistral"),
    (r"(?:generativelanguage|(?:[\w-]+-)?aiplatform|aiplatform\.[\w-]+\.rep)\.googleapis\.com", "google"),
    (r"bedrock-(?:runtime|mantle)(?:-fips)?\.[\w-]+\.(?:amazonaws\.com|api\.aws)", "aws"),
    (r"(?:[a-z]+-)?api\.together\.(?:xyz|ai)", "together"),
    (r"api\.fireworks\.ai", "fireworks"),
    (r"api\.perplexity\.ai", "perplexity"),
    (r"api\.cerebras\.ai", "cerebras"),
    (r"api\.cohere\.(?:ai|com)", "cohere"),
    (r"api\.moonshot\.(?:ai|cn)", "moonshotai"),
    (r"api\.z\.ai", "zai"),
    # Claude Platform on AWS: Anthropic's own API and prices, billed by AWS.
    (r"aws-external-anthropic\.[\w-]+\.api\.aws", "anthropic"),
    # They set their own prices, which no source here has: nobody else's apply.
    (r"[\w.-]+\.snowflakecomputing\.com", "snowflake"),
    (r"api\.portkey\.ai", "portkey"),
    (r"api\.writer\.com", "writer"),
    (r"api\.inference\.crusoecloud\.com", "crusoe"),
    (r"(?:api\.)?ollama\.com", "ollama"),
    (r"api\.deepinfra\.com", "deepinfra"),
    (r"api\.sambanova\.ai", "sambanova"),
    (r"api\.(?:studio|tokenfactory)\.nebius\.(?:ai|com)", "nebius"),
    (r"api\.hyperbolic\.xyz", "hyperbolic"),
    (r"integrate\.api\.nvidia\.com", "nvidia"),
    (r"dashscope(?:-intl|-us)?\.aliyuncs\.com", "dashscope"),
    (r"api\.siliconflow\.(?:cn|com)", "siliconflow"),
    (r"models\.github\.ai|models\.inference\.ai\.azure\.com", "github-models"),
    (r"ai-gateway\.vercel\.sh", "vercel"),
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


def host_of(url: str) -> str:
    """The host of a URL in lower case; "" if it has none."""
    return re.split(r"[:/]", endpoint(url), maxsplit=1)[0]


@lru_cache(maxsize=1024)
def provider_at(url: str) -> str | None:
    """The provider at a URL that is well known; None for all others, so for every host of one's own."""
    host = host_of(url)
    for pattern, provider in _COMPILED:
        if pattern.fullmatch(host):
            return provider
    return None
