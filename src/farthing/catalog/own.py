"""Small dated tables of our own, for what the price source lacks. Each row says where it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction

from farthing.money import rate_pico

__all__ = [
    "FINE_TUNED",
    "FREE",
    "TOOL_FEES",
    "FineTuned",
    "Free",
    "ToolFee",
    "stated_free",
    "tool_fees",
]


@dataclass(frozen=True, slots=True)
class Free:
    """Somebody who sends the bills says that these models cost nothing."""

    provider: str
    model: str
    source: str


@dataclass(frozen=True, slots=True)
class FineTuned:
    """What the fine-tuned children of a base model cost; USD per million tokens."""

    base: str
    prices: Mapping[str, Decimal]
    source: str


FREE: tuple[Free, ...] = (
    Free("openai", "*moderation*", "platform.openai.com/docs/guides/moderation: free to use"),
    Free("openrouter", "*:free", "openrouter.ai/docs/guides/routing/model-variants/free"),
)


def _ft(base: str, price: str, cached: str | None, output: str) -> FineTuned:
    prices = {"input": Decimal(price), "output": Decimal(output)}
    if cached is not None:
        prices["cached"] = Decimal(cached)
    return FineTuned(base, prices, "OpenAI pricing page, fine-tuning, as in litellm's price file of 2026")


FINE_TUNED: tuple[FineTuned, ...] = (
    _ft("gpt-4.1", "3", "0.75", "12"),
    _ft("gpt-4.1-mini", "0.8", "0.2", "3.2"),
    _ft("gpt-4.1-nano", "0.2", "0.05", "0.8"),
    _ft("gpt-4o", "3.75", "1.875", "15"),
    _ft("gpt-4o-mini", "0.3", "0.15", "1.2"),
    _ft("o4-mini", "4", "1", "16"),
)
"""Asked only where the source does not know the name, as with "ft:gpt-4.1-..." and "ft:gpt-4o:..."."""


@dataclass(frozen=True, slots=True)
class ToolFee:
    """What a provider charges for a hosted tool beside the tokens; USD for a thousand calls."""

    provider: str
    model: str
    unit: str
    per_thousand: Decimal
    source: str


_OPENAI_TOOLS = "developers.openai.com/api/docs/pricing, tools, as of 2026-06-27"
_XAI_TOOLS = "docs.x.ai/developers/pricing, tool invocation costs, read on 2026-11-21"

TOOL_FEES: tuple[ToolFee, ...] = (
    ToolFee("openai", "gpt-4o*", "web_search_preview", Decimal(25), _OPENAI_TOOLS),
    ToolFee("openai", "gpt-4.1*", "web_search_preview", Decimal(25), _OPENAI_TOOLS),
    ToolFee("openai", "*", "web_search_preview", Decimal(10), _OPENAI_TOOLS),
    ToolFee("openai", "*", "web_search", Decimal(10), _OPENAI_TOOLS),
    ToolFee("x-ai", "*", "web_search", Decimal(5), _XAI_TOOLS),
    ToolFee("x-ai", "*", "x_search", Decimal(5), _XAI_TOOLS),
    ToolFee("x-ai", "*", "code_execution", Decimal(5), _XAI_TOOLS),
    ToolFee("x-ai", "*", "document_search", Decimal(10), _XAI_TOOLS),
    ToolFee("x-ai", "*", "file_search", Decimal("2.5"), _XAI_TOOLS),
)
"""Asked only where the price source has no price of the unit; of two rows for one unit the first counts.

Left out, so that such calls are `partial`: containers (billed by size and time, and shared by calls), and
Google's grounding (free up to a number of prompts a day, which no answer shows). The 8,000 tokens of input
that OpenAI bills for each web search of gpt-4o-mini and gpt-4.1-mini count as far as the answer counts them.
"""


def tool_fees(provider: str, model: str) -> dict[str, int | Fraction]:
    """Unit -> pico-dollars for one use of a hosted tool."""
    fees: dict[str, int | Fraction] = {}
    for row in TOOL_FEES:
        if row.provider == provider and row.unit not in fees and fnmatchcase(model.lower(), row.model):
            fees[row.unit] = rate_pico(row.per_thousand, 1000)
    return fees


def stated_free(provider: str | None, model: str) -> Free | None:
    """The row that says that a model costs nothing, if there is one."""
    name = model.lower()
    return next((row for row in FREE if row.provider == provider and fnmatchcase(name, row.model)), None)
