"""Costs worked out by hand from published prices.

Each cell gives the rates as the provider's page has them, in USD per million tokens, and the cost that
follows from them on paper. The catalog has to come to the same rates by itself, and pricing to the same cost.
Bills, further down, are counts beside the published price of each, added up here.

A page is cited with the day, or the month, as of which it was seen. "Quoted" is a page that somebody else
read on that day; "listed" is a table of others, where no page of the provider's was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

import farthing
from farthing.catalog import default
from farthing.money import usd_from_pico
from farthing.pricing import price, total
from farthing.records import Usage

OPENAI = "developers.openai.com/api/docs/pricing, 2026-06-27"
MODEL_PAGES = "developers.openai.com/api/docs/models, 2026-11"
LONG = "above 272,000 twice the input, 1.5 x the output: developers.openai.com/api/docs/models, 2026-11"
O3_OF_APRIL = "platform.openai.com/docs/models/o3, quoted in RooCodeInc/Roo-Code#2691 on 2025-04-17"
O3_OF_JUNE = "quoted in langfuse/langfuse#7223 on 2025-06-10"
LITELLM = "listed in litellm's model_prices_and_context_window.json, 2026"


@dataclass(frozen=True)
class Cell:
    model: str
    rates: dict[str, str]
    usage: dict[str, int]
    cost: str
    page: str = OPENAI
    at: datetime = datetime(2026, 11, 21, tzinfo=UTC)
    tier: str | None = None
    band: int | None = None

    def __str__(self) -> str:
        counts = "-".join(map(str, self.usage.values()))
        return f"{self.model}-{self.tier or 'standard'}-{self.at:%Y%m%d}-{counts}"


def used(input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> dict[str, int]:
    return {
        "input_tokens": input_tokens,
        "cached_tokens": cached_tokens,
        "output_tokens": output_tokens,
    }


GPT_4O = {"input": "2.5", "cached": "1.25", "output": "10"}
GPT_5 = {"input": "1.25", "cached": "0.125", "output": "10"}
GPT_5_4 = {"input": "2.5", "cached": "0.25", "output": "15"}
GPT_5_4_LONG = {"input": "5", "cached": "0.5", "output": "22.5"}
O3 = {"input": "2", "cached": "0.5", "output": "8"}

CELLS = [
    # 176 x 2.5 + 1024 x 1.25 + 150 x 10 = 440 + 1280 + 1500
    Cell("gpt-4o", GPT_4O, used(1200, 150, 1024), "0.00322"),
    # 1300 x 2.5 + 200 x 1.25 + 500 x 10 = 3250 + 250 + 5000
    Cell("gpt-4o", GPT_4O, used(1500, 500, 200), "0.0085"),
    Cell("gpt-4o-2024-08-06", GPT_4O, used(1500, 500, 200), "0.0085"),
    Cell("gpt-4o-2024-11-20", GPT_4O, used(1000, 0), "0.0025"),
    # no cached price: 1000 x 5 + 100 x 15
    Cell("gpt-4o-2024-05-13", {"input": "5", "output": "15"}, used(1000, 100, 400), "0.0065"),
    # 900 x 0.15 + 100 x 0.075 + 1000 x 0.6 = 135 + 7.5 + 600
    Cell(
        "gpt-4o-mini",
        {"input": "0.15", "cached": "0.075", "output": "0.6"},
        used(1000, 1000, 100),
        "0.0007425",
    ),
    # 1 x 0.15 + 1 x 0.6 = 0.75 millionths: below a micro-dollar nothing is lost
    Cell("gpt-4o-mini", {"input": "0.15", "cached": "0.075", "output": "0.6"}, used(1, 1), "0.00000075"),
    # 8 x 2 + 8 x 0.5 + 24 x 8 = 16 + 4 + 192
    Cell("gpt-4.1", {"input": "2", "cached": "0.5", "output": "8"}, used(16, 24, 8), "0.000212"),
    # 10 x 0.4 + 10 x 1.6
    Cell("gpt-4.1-mini", {"input": "0.4", "cached": "0.1", "output": "1.6"}, used(10, 10), "0.00002"),
    # 3 x 0.1 + 7 x 0.025 + 1 x 0.4 = 0.3 + 0.175 + 0.4 = 0.875 millionths
    Cell("gpt-4.1-nano", {"input": "0.1", "cached": "0.025", "output": "0.4"}, used(10, 1, 7), "0.000000875"),
    Cell("gpt-4-turbo", {"input": "10", "output": "30"}, used(100, 10), "0.0013"),
    Cell("gpt-4-0613", {"input": "30", "output": "60"}, used(100, 10), "0.0036"),
    Cell("gpt-3.5-turbo-0125", {"input": "0.5", "output": "1.5"}, used(1000, 1000), "0.002"),
    # 500 x 1.25 + 500 x 0.125 + 2000 x 10 = 625 + 62.5 + 20000
    Cell("gpt-5-2025-08-07", GPT_5, used(1000, 2000, 500), "0.0206875"),
    Cell(
        "gpt-5-mini",
        {"input": "0.25", "cached": "0.025", "output": "2"},
        used(100, 100),
        "0.000225",
    ),
    # 5 x 0.05 + 5 x 0.005 + 1 x 0.4 = 0.25 + 0.025 + 0.4 = 0.675 millionths
    Cell(
        "gpt-5-nano",
        {"input": "0.05", "cached": "0.005", "output": "0.4"},
        used(10, 1, 5),
        "0.000000675",
    ),
    Cell("gpt-5-pro", {"input": "15", "output": "120"}, used(1000, 1000), "0.135"),
    Cell(
        "gpt-5.2",
        {"input": "1.75", "cached": "0.175", "output": "14"},
        used(1000, 100),
        "0.00315",
    ),
    # tiers: 100 x 2.5 + 100 x 20, and half of gpt-5's price
    Cell(
        "gpt-5",
        {"input": "2.5", "cached": "0.25", "output": "20"},
        used(100, 100),
        "0.00225",
        tier="priority",
    ),
    Cell(
        "gpt-5",
        {"input": "0.625", "cached": "0.0625", "output": "5"},
        used(100, 100),
        "0.0005625",
        tier="flex",
    ),
    # a band is a cliff: 272,000 x 2.5 + 1,000 x 15, and one token more at 5 and 22.5
    Cell("gpt-5.4", GPT_5_4, used(272_000, 1000), "0.695"),
    Cell("gpt-5.4", GPT_5_4_LONG, used(272_001, 1000), "1.382505", page=LONG, band=272_000),
    # 272,000 x 0.5 (cached) + 1 x 5 + 0
    Cell("gpt-5.4", GPT_5_4_LONG, used(272_001, 0, 272_000), "0.136005", page=LONG, band=272_000),
    # o3 became 80 % cheaper on 10 June 2025
    Cell(
        "o3",
        {"input": "10", "output": "40"},
        used(1_000_000, 1_000_000),
        "50",
        page=O3_OF_APRIL,
        at=datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC),
    ),
    Cell("o3", O3, used(1_000_000, 1_000_000), "10", page=O3_OF_JUNE, at=datetime(2025, 6, 10, tzinfo=UTC)),
    Cell("o3-mini", {"input": "1.1", "cached": "0.55", "output": "4.4"}, used(10, 10), "0.000055"),
    Cell("o4-mini", {"input": "1.1", "cached": "0.275", "output": "4.4"}, used(10, 0, 10), "0.00000275"),
    Cell("o1", {"input": "15", "cached": "7.5", "output": "60"}, used(1000, 1000), "0.075"),
    # of 1000: 500 plain x 4 + 100 read x 0.4 + 400 written x 5, 10 x 20 of output
    Cell(
        "gpt-5.6-sol",
        {"input": "4", "cached": "0.4", "cache_write": "5", "output": "20"},
        {"input_tokens": 1000, "cached_tokens": 100, "cache_write_tokens": 400, "output_tokens": 10},
        "0.00424",
        page=MODEL_PAGES,
    ),
    Cell("text-embedding-3-small", {"input": "0.02"}, {"input_tokens": 1_000_003}, "0.02000006"),
    Cell("text-embedding-3-large", {"input": "0.13"}, {"input_tokens": 7}, "0.00000091"),
    Cell("text-embedding-ada-002", {"input": "0.1"}, {"input_tokens": 8}, "0.0000008"),
    # fine-tuned models have prices of their own
    Cell(
        "ft:gpt-4o-mini-2024-07-18:acme::a1",
        {"input": "0.3", "output": "1.2"},
        used(1000, 1000),
        "0.0015",
        page=LITELLM,
    ),
    Cell(
        "ft:gpt-4.1:acme::a1",
        {"input": "3", "cached": "0.75", "output": "12"},
        used(1000, 1000, 500),
        "0.013875",
        page=LITELLM,
    ),
    # 0.36 USD an hour, ten seconds
    Cell("whisper-1", {}, {}, "0.001", page=MODEL_PAGES),
]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_published_price_gives_the_cost_worked_out_by_hand(cell: Cell):
    at_ns = int(cell.at.timestamp()) * 10**9
    rates = default().rates(cell.model, provider="openai", at_ns=at_ns, tier=cell.tier)
    prices = rates.prices
    if cell.band is not None:
        assert [band.above for band in rates.bands] == [cell.band]
        prices = rates.bands[0].prices
    usage = Usage(**cell.usage) if cell.usage else Usage(seconds=Decimal(10))

    assert {unit: usd_from_pico(prices[unit] * 10**6) for unit in cell.rates} == {
        unit: Decimal(published) for unit, published in cell.rates.items()
    }
    cost = price(usage, rates)
    assert cost.usd == Decimal(cell.cost)
    assert cost.cost_source == "priced"
    assert sum((line.amount for line in cost.lines), Decimal(0)) == Decimal(cell.cost)
    assert total(usage, rates) == (cost.nano, "priced", ())
    assert cell.page


CLAUDE = "platform.claude.com/docs/en/about-claude/pricing, 2026-09"
CLAUDE_LONG = "platform.claude.com/docs/en/about-claude/pricing, quoted from the web archive of 2026-03-01"
OPUS_5_5 = "platform.claude.com/docs/en/about-claude/models/overview, and of reads models/haiku-5-5, 2026-11"
HAIKU_5_5 = "platform.claude.com/docs/en/models/haiku-5-5/overview, 2026-11"
SONNET_5_5 = "platform.claude.com/docs/en/models/sonnet-5-5/overview, of its release"
SONNET_5_5_CUT = "about-claude/pricing, quoted on 2026-10-24 for kurofune/claudit v1.9.2"
PRIORITY = "openai.com/api-priority-processing, 2026-10"
REGIONS = "developers.openai.com/api/docs/guides/data-residency, 2026-11"
FLEX_LONG = "developers.openai.com/api/docs/pricing, quoted on 2026-09-24 in rekursiv-ai/sagent"
SOL = "OpenAI's announcement of 2026-08-21, quoted at docs.laozhang.ai on 2026-09-24"
LUNA = "OpenAI's announcement of 2026-07-30, quoted at docs.laozhang.ai on 2026-08-01"
AZURE = "Azure Retail Prices API, quoted on 2026-08-05 in SergeevDmitry/llm-kit"
GEMINI = "ai.google.dev/gemini-api/docs/pricing, quoted on 2026-08-05 in SergeevDmitry/llm-kit"
GEMINI_3_6 = "ai.google.dev/gemini-api/docs/pricing, quoted on 2026-09-07 in usage-tab 1.2.0"
AGENT_PLATFORM = (
    "cloud.google.com/gemini-enterprise-agent-platform/generative-ai/pricing, quoted on 2026-08-18"
)
NOVA = "aws.amazon.com/bedrock/pricing, quoted at swfte.com in 2026-05"
DEEPSEEK_2025 = "api-docs.deepseek.com/quick_start/pricing, 2025-09"
DEEPSEEK_V3_2 = "api-docs.deepseek.com/quick_start/pricing, quoted in RooCodeInc/Roo-Code on 2025-12-09"
DEEPSEEK_V4 = "api-docs.deepseek.com/quick_start/pricing, quoted on 2026-05-22"
DEEPSEEK = "api-docs.deepseek.com/quick_start/pricing, 2026-08 to 2026-10"
V4_HOURS = "api-docs.deepseek.com/quick_start/pricing, quoted in pydantic/genai-prices#581 on 2026-08-22"
GROQ = "console.groq.com/docs/models, quoted on 2026-08-05; cached: listed at models.dev on 2026-05-27"
MISTRAL = "mistral.ai/pricing, 2026-11; docs.mistral.ai/inference/regional-inference, 2026-11"
LARGE_4 = (
    "docs.mistral.ai/models/mistral-large-4-0, quoted on 2026-10-06 at models.dev: preview at half price"
)
LARGE_4_LIST = "listed in Franklin v3.49.15 of 2026-10-20 and by Vercel's AI Gateway"
LARGE_4_OPEN = "listed for OpenRouter at getmaxim.ai, 2026-11; Mistral's own page was not found"
GROK_4_5 = "docs.x.ai/developers/pricing, quoted on 2026-08-10 in BerriAI/litellm#36413"
GROK_4_6 = "docs.x.ai/developers/grok-4-6 and advanced-api-usage/regions, 2026-11"
GROK_4_7 = "docs.x.ai, quoted at apidog.com on 2026-09-29: dearer from 200,000 on"
TOGETHER_2025 = "together.ai/pricing, as genai-prices had it on 2025-07-03"
GEO = "docs.together.ai/docs/serverless/geo-specific-inference, 2026-11: 1.25 x models.dev's price of 2026"
COHERE = "listed at models.dev, 2026; cohere.com/pricing does not have it any more"
SONAR = "docs.perplexity.ai/getting-started/pricing, 2026-11: the fee of the largest search context"
OPENROUTER = "listed at models.dev, 2026"
US_EAST = "https://us-east5-aiplatform.googleapis.com/v1"
BUILT_IN = {"web_searches": 3}


@dataclass(frozen=True)
class Bill:
    """What a bill has on it: (count, USD per million), and what is charged by the piece."""

    provider: str
    model: str
    items: tuple[tuple[int, str], ...]
    usage: dict[str, int]
    page: str
    at: str = "2026-11-20"
    tier: str | None = None
    url: str | None = None
    region: str | None = None
    by_the_piece: str = "0"
    flagged: bool = False

    def __str__(self) -> str:
        parts = (self.provider, self.model, self.tier, self.region or self.url, self.at)
        return "-".join(part for part in parts if part)

    @property
    def cost(self) -> Decimal:
        tokens = sum((count * Decimal(usd) for count, usd in self.items), Decimal(0))
        return tokens / 1_000_000 + Decimal(self.by_the_piece)


def tokens(plain: int, out: int, cached: int = 0, short: int = 0, hour: int = 0) -> dict[str, int]:
    """Counts of a call; what was written to a cache for five minutes and for an hour."""
    counts = used(plain + cached + short + hour, out, cached)
    if short or hour:
        counts |= {"cache_write_tokens": short + hour, "cache_write_5m_tokens": short,
                   "cache_write_1h_tokens": hour}  # fmt: skip
    return counts


def claude(model: str, *items: tuple[int, str], **more: Any) -> Bill:
    """Items in the order of Anthropic's table: input, written for 5 minutes, for an hour, read, output."""
    plain, short, hour, cached, out = ((*items, *[(0, "0")] * 5))[:5]
    usage = tokens(plain[0], out[0], cached[0], short[0], hour[0]) | more.pop("usage", {})
    return Bill(more.pop("provider", "anthropic"), model, items, usage, more.pop("page", CLAUDE), **more)


def simple(provider: str, model: str, *items: tuple[int, str], page: str = OPENAI, **more: Any) -> Bill:
    """Items in the order input, cached, output."""
    plain, cached, out = ((*items, *[(0, "0")] * 3))[:3]
    usage = tokens(plain[0], out[0], cached[0]) | more.pop("usage", {})
    return Bill(provider, model, items, usage, page, **more)


NONE = (0, "0")
BILLS = [
    # Anthropic: reads, and writes for five minutes (1.25 x) and for an hour (2 x)
    claude("claude-sonnet-4-5", (1000, "3"), (400, "3.75"), (600, "6"), (2000, "0.3"), (500, "15")),
    claude("claude-haiku-4-5", (10, "1"), (1000, "1.25"), NONE, NONE, (1, "5")),
    claude("claude-haiku-4-5-20251001", (10, "1"), NONE, (1000, "2"), NONE, (1, "5")),
    claude("claude-opus-4-1-20250805", (7, "15"), (1, "18.75"), (1, "30"), (1, "1.5"), (3, "75")),
    claude("claude-opus-5-5", (100, "4"), (10, "5"), (10, "8"), (1000, "0.2"), (100, "20"),
           page=OPUS_5_5),
    claude("claude-sonnet-5", (100, "2"), (10, "2.5"), (10, "4"), (1000, "0.2"), (100, "10")),
    # its long context was a cliff for the whole request, cached tokens counted
    claude("claude-sonnet-4-5", (200_000, "3"), NONE, NONE, NONE, (1000, "15"),
           at="2026-02-20", page=CLAUDE_LONG),
    claude("claude-sonnet-4-5", (200_001, "6"), NONE, NONE, NONE, (1000, "22.5"),
           at="2026-02-20", page=CLAUDE_LONG),
    claude("claude-sonnet-4-5", (1, "6"), NONE, NONE, (200_000, "0.6"), (1, "22.5"),
           at="2026-02-20", page=CLAUDE_LONG),
    claude("claude-sonnet-4-5", (1, "6"), (100_000, "7.5"), (100_000, "12"), NONE, (1, "22.5"),
           at="2026-02-20", page=CLAUDE_LONG),
    claude("claude-haiku-5-5", (100_000, "0.1"), NONE, NONE, NONE, (10, "0.5"), page=HAIKU_5_5),
    claude("claude-haiku-5-5", (100_001, "0.5"), NONE, NONE, NONE, (10, "2.5"), page=HAIKU_5_5),
    claude("claude-haiku-5-5", (1, "0.5"), (90_000, "0.625"), (5_000, "1"), (5_000, "0.05"), (10, "2.5"),
           page=HAIKU_5_5),
    # reads became cheaper on 2026-10-07
    claude("claude-sonnet-5-5", (100, "2"), (10, "2.5"), (10, "4"), (1000, "0.2"), (100, "10"),
           at="2026-10-06T23:59:59", page=SONNET_5_5),
    claude("claude-sonnet-5-5", (100, "2"), (10, "2.5"), (10, "4"), (1000, "0.1"), (100, "10"),
           at="2026-10-07", page=SONNET_5_5_CUT),
    # which was given up on 2026-03-13
    claude("claude-opus-4-6", (200_001, "10"), NONE, NONE, NONE, (1000, "37.5"), at="2026-03-12T23:59:59",
           page=CLAUDE_LONG),
    claude("claude-opus-4-6", (200_001, "5"), NONE, NONE, NONE, (1000, "25"), at="2026-03-13"),
    claude("claude-sonnet-4-6", (200_001, "6"), NONE, NONE, NONE, (1000, "22.5"), at="2026-03-12T23:59:59",
           page=CLAUDE_LONG),
    claude("claude-sonnet-4-6", (200_001, "3"), NONE, NONE, NONE, (1000, "15"), at="2026-03-13"),
    # fast and batch; before the price list had batch prices they were half all the same
    claude("claude-opus-4-8", (1000, "10"), NONE, NONE, (1000, "1"), (100, "50"), tier="fast"),
    claude("claude-sonnet-4-5", (1000, "1.5"), NONE, NONE, (500, "0.15"), (500, "7.5"), tier="batch"),
    claude("claude-sonnet-4-5", (1000, "1.5"), NONE, NONE, (500, "0.15"), (500, "7.5"), tier="batch",
           at="2026-10-13T23:59:59", flagged=True),
    claude("claude-haiku-4-5", (10, "0.5"), (10, "0.625"), (10, "1"), (10, "0.05"), (1, "2.5"), tier="batch"),
    # inference in the United States alone: 1.1 x, from Opus 4.6 on
    claude("claude-opus-4-6", (1000, "5.5"), (10, "6.875"), (10, "11"), (100, "0.55"), (100, "27.5"),
           region="us", flagged=True),
    claude("claude-opus-4-6", (1000, "5"), NONE, NONE, NONE, (100, "25"), region="global"),
    claude("claude-sonnet-4-5", (1000, "3"), NONE, NONE, NONE, (100, "15"), region="us"),
    claude("claude-opus-4-6", (1000, "2.75"), NONE, NONE, NONE, (100, "13.75"), region="us", tier="batch",
           flagged=True),
    # three searches at 10 USD a thousand, which no tier or region changes
    claude("claude-opus-4-6", (1000, "2.75"), NONE, NONE, NONE, (100, "13.75"), region="us", tier="batch",
           usage=BUILT_IN, by_the_piece="0.03", flagged=True),
    # the same models elsewhere: a tenth more through regional endpoints, from Claude 4.5 on, by Anthropic's
    # page; AWS's own was not seen
    claude("us.anthropic.claude-sonnet-4-5-20250929-v1:0", (1000, "3.3"), (10, "4.125"), (10, "6.6"),
           (100, "0.33"), (100, "16.5"), provider="aws"),
    claude("global.anthropic.claude-sonnet-4-5-20250929-v1:0", (1000, "3"), NONE, NONE, (100, "0.3"),
           (100, "15"), provider="aws"),
    claude("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-haiku-4-5-20251001-v1:0",
           (1000, "1.1"), NONE, NONE, (100, "0.11"), (100, "5.5"), provider="aws"),
    claude("claude-opus-4-6", (1000, "5.5"), NONE, NONE, NONE, (100, "27.5"), provider="google", url=US_EAST,
           flagged=True),
    claude("claude-opus-4-6", (1000, "5"), NONE, NONE, NONE, (100, "25"), provider="google",
           url="https://aiplatform.googleapis.com/v1"),
    claude("claude-sonnet-4@20250514", (1000, "3"), NONE, NONE, NONE, (100, "15"), provider="google",
           url=US_EAST),
    # OpenAI: prices that changed on a day
    simple("openai", "gpt-5.6-sol", (1000, "5"), (100, "0.5"), (100, "30"), page=SOL,
           at="2026-08-20T23:59:59"),
    simple("openai", "gpt-5.6-sol", (1000, "4"), (100, "0.4"), (100, "20"), page=SOL, at="2026-08-21"),
    simple("openai", "gpt-5.6-luna", (1000, "1"), (100, "0.1"), (100, "6"), page=LUNA,
           at="2026-07-29T23:59:59"),
    simple("openai", "gpt-5.6-luna", (1000, "0.2"), (100, "0.02"), (100, "1.2"), page=LUNA,
           at="2026-07-30"),
    simple("openai", "o3", (1000, "10"), (1000, "2.5"), (100, "40"), at="2025-06-09T23:59:59",
           page=O3_OF_APRIL),
    simple("openai", "o3", (1000, "2"), (1000, "0.5"), (100, "8"), at="2025-06-10", page=O3_OF_JUNE),
    simple("openai", "gpt-5.6-sol", (272_000, "4"), NONE, (10, "20"), page=MODEL_PAGES),
    simple("openai", "gpt-5.6-sol", (1, "8"), (272_000, "0.8"), (10, "30"), page=MODEL_PAGES),
    # tiers
    simple("openai", "gpt-4.1", (1000, "3.5"), (100, "0.875"), (100, "14"), tier="priority", page=PRIORITY),
    simple("openai", "gpt-4o-2024-11-20", (1000, "4.25"), (100, "2.125"), (100, "17"), tier="priority",
           page=PRIORITY),
    simple("openai", "gpt-5-mini", (1000, "0.45"), (100, "0.045"), (100, "3.6"), tier="priority",
           page=PRIORITY),
    simple("openai", "gpt-5", (1000, "0.625"), (100, "0.0625"), (100, "5"), tier="batch"),
    simple("openai", "gpt-5", (1000, "0.625"), (100, "0.0625"), (100, "5"), tier="batch",
           at="2026-10-13T23:59:59", flagged=True),
    simple("openai", "gpt-5.4", (272_001, "2.5"), NONE, (10, "11.25"), tier="flex", page=FLEX_LONG),
    simple("openai", "o3", (1000, "1"), (100, "0.25"), (100, "4"), tier="flex", flagged=True,
           at="2026-10-01"),
    simple("openai", "o3", (1000, "1"), (100, "0.25"), (100, "4"), tier="flex"),
    simple("openai", "text-embedding-3-small", (1000, "0.01"), tier="batch", flagged=True, page=LITELLM),
    # data residency: 10 % more, for models released from 2026-03-05 on
    simple("openai", "gpt-5.4", (1000, "2.75"), (100, "0.275"), (100, "16.5"), page=REGIONS, flagged=True,
           url="https://eu.api.openai.com/v1"),
    simple("openai", "gpt-5.4", (272_001, "5.5"), NONE, (100, "24.75"), page=REGIONS, flagged=True,
           url="https://us.api.openai.com/v1"),
    simple("openai", "gpt-5.4", (1000, "2.5"), NONE, (100, "15"), page=REGIONS,
           url="https://api.openai.com/v1"),
    simple("openai", "gpt-4o", (1000, "2.5"), NONE, (100, "10"), page=REGIONS,
           url="https://eu.api.openai.com/v1"),
    # a fine-tuned model, in a batch too
    simple("openai", "ft:gpt-4o-mini-2024-07-18:acme::a1", (1000, "0.3"), (500, "0.15"), (100, "1.2"),
           page=LITELLM),
    simple("openai", "ft:gpt-4.1-mini:acme::a1", (1000, "0.4"), NONE, (100, "1.6"), tier="batch",
           page=LITELLM, flagged=True),
    # audio has a price of its own: 100 of 300 in, 50 of 80 out
    Bill("openai", "gpt-audio", ((200, "2.5"), (100, "32"), (30, "10"), (50, "64")),
         used(300, 80) | {"audio_input_tokens": 100, "audio_output_tokens": 50}, MODEL_PAGES),
    Bill("openai", "gpt-4o-audio-preview", ((200, "2.5"), (100, "40"), (30, "10"), (50, "80")),
         used(300, 80) | {"audio_input_tokens": 100, "audio_output_tokens": 50}, MODEL_PAGES),
    Bill("openai", "gpt-realtime-1.5", ((100, "4"), (100, "32"), (100, "0.4"), (50, "64")),
         used(300, 50, 100) | {"audio_input_tokens": 100, "audio_output_tokens": 50}, MODEL_PAGES),
    Bill("google", "gemini-2.5-flash", ((900, "0.3"), (100, "1"), (10, "2.5")),
         used(1000, 10) | {"audio_input_tokens": 100}, LITELLM),
    Bill("openai", "gpt-image-1", ((100, "5"), (200, "10"), (1000, "40")),
         used(300, 1000) | {"image_input_tokens": 200}, MODEL_PAGES, at="2026-10-20"),
    Bill("openai", "whisper-1", (), {"seconds": 90}, MODEL_PAGES, by_the_piece="0.009"),
    Bill("openai", "tts-1", ((2000, "15"),), {"characters": 2000}, MODEL_PAGES),
    # three searches, here too at 10 USD a thousand
    simple("openai", "gpt-4.1", (1000, "2"), NONE, (100, "8"), usage=BUILT_IN, by_the_piece="0.03"),
    # Azure sold this one at OpenAI's price, and batches at half; it has dates of its own
    simple("azure", "gpt-4o-2024-08-06", (1000, "2.5"), (100, "1.25"), (100, "10"), page=AZURE),
    simple("azure", "gpt-4o-2024-08-06", (1000, "1.25"), NONE, (100, "5"), tier="batch", flagged=True,
           page=AZURE),
    # Google: a cliff, a day, a batch whose cached tokens are not halved again, a region
    simple("google", "gemini-2.5-pro", (100_000, "1.25"), (100_000, "0.125"), (10, "10"), page=GEMINI),
    simple("google", "gemini-2.5-pro", (100_001, "2.5"), (100_000, "0.25"), (10, "15"), page=GEMINI),
    simple("google", "gemini-3.6-flash", (1000, "0.75"), (100, "0.075"), (100, "3.75"), page=GEMINI_3_6,
           at="2026-12-31T23:59:59"),
    simple("google", "gemini-3.6-flash", (1000, "1.5"), (100, "0.15"), (100, "7.5"), page=GEMINI_3_6,
           at="2027-01-01"),
    simple("google", "gemini-2.5-flash", (1000, "0.15"), (100, "0.03"), (100, "1.25"), tier="batch",
           page=LITELLM),
    simple("google", "gemini-2.5-flash", (1000, "0.15"), (100, "0.03"), (100, "1.25"), tier="batch",
           page=LITELLM, at="2026-10-13", flagged=True),
    simple("google", "gemini-2.5-flash", (1000, "0.3"), NONE, (100, "2.5"), page=GEMINI, url=US_EAST),
    simple("google", "gemini-3.5-flash", (1000, "1.65"), (100, "0.165"), (100, "9.9"), flagged=True,
           page=AGENT_PLATFORM, url="https://aiplatform.eu.rep.googleapis.com/v1"),
    # DeepSeek: a night discount until 2025-09-05 16:00 UTC, hours of the day and weekdays since 2026-08
    simple("deepseek", "deepseek-chat", (1000, "0.27"), (100, "0.07"), (100, "1.1"), page=DEEPSEEK_2025,
           at="2025-07-01T16:29:59"),
    simple("deepseek", "deepseek-chat", (1000, "0.135"), (100, "0.035"), (100, "0.55"), page=DEEPSEEK_2025,
           at="2025-07-01T16:30:00"),
    simple("deepseek", "deepseek-reasoner", (1000, "0.55"), (100, "0.14"), (100, "2.19"), page=DEEPSEEK_2025,
           at="2025-09-05T15:59:59"),
    simple("deepseek", "deepseek-reasoner", (1000, "0.56"), (100, "0.07"), (100, "1.68"), page=DEEPSEEK_2025,
           at="2025-09-05T16:00:00"),
    simple("deepseek", "deepseek-chat", (1000, "0.28"), (100, "0.028"), (100, "0.42"), at="2025-09-29",
           page=DEEPSEEK_V3_2),
    simple("deepseek", "deepseek-chat", (1000, "0.28"), (100, "0.028"), (100, "0.42"),
           page=DEEPSEEK_V3_2, at="2026-04-23T23:59:59"),
    simple("deepseek", "deepseek-reasoner", (1000, "0.14"), (100, "0.028"), (100, "0.28"), page=DEEPSEEK_V4,
           at="2026-04-24"),
    simple("deepseek", "deepseek-v4-flash", (1000, "0.14"), (100, "0.0028"), (100, "0.28"), page=DEEPSEEK_V4,
           at="2026-04-26T12:15:00"),
    simple("deepseek", "deepseek-v4-pro", (1000, "0.435"), (100, "0.003625"), (100, "0.87"), page=DEEPSEEK_V4,
           at="2026-08-16T15:59:59"),
    simple("deepseek", "deepseek-v4-pro", (1000, "0.66"), (100, "0.022"), (100, "1.98"), page=DEEPSEEK,
           at="2026-08-16T16:00:00"),
    simple("deepseek", "deepseek-v4-flash", (1000, "0.22"), (100, "0.007"), (100, "0.66"), page=V4_HOURS,
           at="2026-08-16T16:00:00"),
    simple("deepseek", "deepseek-v4-flash", (1000, "0.44"), (100, "0.014"), (100, "1.32"), page=V4_HOURS,
           at="2026-08-22T09:59:59"),
    simple("deepseek", "deepseek-v4-flash", (1000, "0.22"), (100, "0.007"), (100, "0.66"), page=V4_HOURS,
           at="2026-08-23T09:59:59"),
    simple("deepseek", "deepseek-v4-flash", (1000, "0.44"), (100, "0.014"), (100, "1.32"), page=V4_HOURS,
           at="2026-09-10T03:59:59"),
    simple("deepseek", "deepseek-v4-flash", (1000, "0.15"), (100, "0.003"), (100, "0.6"), page=DEEPSEEK,
           at="2026-09-10T04:00:00"),
    simple("deepseek", "deepseek-flash", (1000, "0.3"), (100, "0.006"), (100, "1.2"), page=DEEPSEEK,
           at="2026-11-20T06:00:00"),
    simple("deepseek", "deepseek-v4-pro", (1000, "0.66"), (100, "0.022"), (100, "1.98"), page=DEEPSEEK,
           at="2026-11-20T00:59:59"),
    simple("deepseek", "deepseek-v4-pro", (1000, "1.32"), (100, "0.044"), (100, "3.96"), page=DEEPSEEK,
           at="2026-11-20T01:00:00"),
    simple("deepseek", "deepseek-v4-pro", (1000, "1.32"), (100, "0.044"), (100, "3.96"), page=DEEPSEEK,
           at="2026-11-20T03:59:59"),
    simple("deepseek", "deepseek-v4-pro", (1000, "0.66"), (100, "0.022"), (100, "1.98"), page=DEEPSEEK,
           at="2026-11-20T04:00:00"),
    simple("deepseek", "deepseek-v4-pro", (1000, "0.66"), (100, "0.022"), (100, "1.98"), page=DEEPSEEK,
           at="2026-11-21T02:00:00"),
    # others
    simple("groq", "openai/gpt-oss-120b", (1000, "0.15"), (100, "0.075"), (100, "0.6"), page=GROQ),
    simple("mistral", "mistral-small-latest", (1000, "0.15"), (100, "0.015"), (100, "0.6"), page=MISTRAL),
    simple("mistral", "mistral-small-latest", (1000, "0.165"), (100, "0.0165"), (100, "0.66"), page=MISTRAL,
           url="https://api.eu.mistral.ai/v1", flagged=True),
    simple("mistral", "mistral-small-latest", (1000, "0.15"), (100, "0.015"), (100, "0.6"), page=MISTRAL,
           url="https://api.eu.mistral.ai/v1", at="2026-07-16T23:59:59"),
    simple("mistral", "mistral-small-latest", (1000, "0.165"), (100, "0.0165"), (100, "0.66"), page=MISTRAL,
           url="https://api.eu.mistral.ai/v1", at="2026-07-17", flagged=True),
    simple("mistral", "mistral-large-4", (1000, "0.68"), (100, "0.07"), (100, "2.09"), page=LARGE_4,
           at="2026-10-19T23:59:59"),
    simple("mistral", "mistral-large-4", (1000, "1.36"), (100, "0.14"), (100, "4.18"), page=LARGE_4_LIST,
           at="2026-10-20"),
    simple("mistral", "mistral-large-4", (1000, "0.7"), NONE, (100, "2.1"), at="2026-10-29",
           page=LARGE_4_OPEN),
    simple("x-ai", "grok-4.5", (1000, "2"), (100, "0.3"), (100, "6"), page=GROK_4_5),
    simple("x-ai", "grok-4.6", (1000, "2.2"), NONE, (100, "6.6"), page=GROK_4_6, flagged=True,
           url="https://us.api.x.ai/v1"),
    simple("x-ai", "grok-4.7", (199_899, "2"), (100, "0.5"), (100, "6"), page=GROK_4_7),
    simple("x-ai", "grok-4.7", (199_900, "4"), (100, "1"), (100, "12"), page=GROK_4_7),
    simple("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", (1000, "0.88"), NONE, (100, "0.88"),
           page=TOGETHER_2025, at="2026-07-01T23:59:59"),
    simple("together", "zai-org/GLM-5.2", (1000, "1.75"), (100, "0.325"), (100, "5.5"), page=GEO,
           flagged=True, url="https://us-api.together.ai/v1"),
    simple("cohere", "command-a-03-2025", (1000, "2.5"), NONE, (100, "10"), page=COHERE),
    simple("perplexity", "sonar", (1000, "1"), NONE, (100, "1"), by_the_piece="0.012", page=SONAR),
    simple("aws", "us.amazon.nova-pro-v1:0", (1000, "0.8"), (100, "0.2"), (100, "3.2"), page=NOVA),
    simple("openrouter", "anthropic/claude-sonnet-4.5", (1000, "3"), (100, "0.3"), (100, "15"),
           page=OPENROUTER),
]  # fmt: skip


@pytest.mark.parametrize("bill", BILLS, ids=str)
def test_a_bill_comes_to_what_its_items_come_to(bill: Bill):
    at = datetime.fromisoformat(bill.at).replace(tzinfo=UTC)
    rates = default().rates(
        bill.model,
        provider=bill.provider,
        base_url=bill.url,
        at_ns=int(at.timestamp()) * 10**9,
        tier=bill.tier,
        region=bill.region,
    )
    counts = {name: Decimal(n) if name == "seconds" else n for name, n in bill.usage.items()}
    cost = price(Usage(**counts), rates)
    assert sum((line.amount for line in cost.lines), Decimal(0)) == bill.cost
    assert cost.cost_source == "priced"
    assert abs(cost.usd - bill.cost) <= Decimal("5e-10")  # one rounding, to the nano-dollar
    assert ("multiplier" in rates.flags) is bill.flagged
    assert bill.page


def test_the_table_is_as_large_as_it_has_to_be():
    cells = {("openai", cell.model, str(cell.at), cell.tier, cell.band) for cell in CELLS}
    cells |= {(bill.provider, bill.model, bill.at, bill.tier, bill.url, bill.items) for bill in BILLS}
    assert len(cells) >= 110
    assert len({b.provider for b in BILLS}) >= 12


@pytest.mark.parametrize(
    ("model", "provider"),
    [("omni-moderation-latest", "openai"), ("deepseek/deepseek-r1:free", "openrouter")],
)
def test_what_is_free_by_its_providers_word_costs_nothing(model, provider):
    rates = default().rates(model, provider=provider, at_ns=1_795_000_000 * 10**9)
    cost = price(Usage(input_tokens=1_000_000, output_tokens=10), rates)
    assert (cost.usd, cost.cost_source) == (0, "free")


def test_a_key_of_ones_own_costs_the_routers_fee_and_the_upstreams_bill():
    body = {
        "model": "anthropic/claude-sonnet-4.5",
        "usage": {
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "cost": 0.000225,
            "is_byok": True,
            "cost_details": {"upstream_inference_cost": 0.0045},
        },
    }
    cost = farthing.cost_of(body, base_url="https://openrouter.ai/api/v1")
    assert (cost.usd, cost.cost_source) == (Decimal("0.004725"), "reported")
    body["usage"]["is_byok"] = False
    assert farthing.cost_of(body, base_url="https://openrouter.ai/api/v1").usd == Decimal("0.000225")


def test_a_model_with_a_zero_that_nobody_stated_is_not_free():
    """Entries of price lists without any price come to 0.00 in their own calculation."""
    rates = default().rates("gemma-3-27b-it", provider="google", at_ns=1_795_000_000 * 10**9)
    cost = price(Usage(input_tokens=1000, output_tokens=1000), rates)
    assert (cost.usd, cost.cost_source) == (None, "unpriced")
