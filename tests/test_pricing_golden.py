"""Costs worked out by hand from published prices.

Each cell gives the rates as the provider's page has them, in USD per million tokens, and the cost that
follows from them on paper. The catalog has to come to the same rates by itself, and pricing to the same cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from farthing.catalog import default
from farthing.money import usd_from_pico
from farthing.pricing import price, total
from farthing.records import Usage

OPENAI = "https://openai.com/api/pricing"
DEVELOPERS = "https://developers.openai.com/api/docs/pricing"


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
    Cell("gpt-5-2025-08-07", GPT_5, used(1000, 2000, 500), "0.0206875", page=DEVELOPERS),
    Cell(
        "gpt-5-mini",
        {"input": "0.25", "cached": "0.025", "output": "2"},
        used(100, 100),
        "0.000225",
        page=DEVELOPERS,
    ),
    # 5 x 0.05 + 5 x 0.005 + 1 x 0.4 = 0.25 + 0.025 + 0.4 = 0.675 millionths
    Cell(
        "gpt-5-nano",
        {"input": "0.05", "cached": "0.005", "output": "0.4"},
        used(10, 1, 5),
        "0.000000675",
        page=DEVELOPERS,
    ),
    Cell("gpt-5-pro", {"input": "15", "output": "120"}, used(1000, 1000), "0.135", page=DEVELOPERS),
    Cell(
        "gpt-5.2",
        {"input": "1.75", "cached": "0.175", "output": "14"},
        used(1000, 100),
        "0.00315",
        page=DEVELOPERS,
    ),
    # tiers: 100 x 2.5 + 100 x 20, and half of gpt-5's price
    Cell(
        "gpt-5",
        {"input": "2.5", "cached": "0.25", "output": "20"},
        used(100, 100),
        "0.00225",
        page=DEVELOPERS,
        tier="priority",
    ),
    Cell(
        "gpt-5",
        {"input": "0.625", "cached": "0.0625", "output": "5"},
        used(100, 100),
        "0.0005625",
        page=DEVELOPERS,
        tier="flex",
    ),
    # a band is a cliff: 272,000 x 2.5 + 1,000 x 15, and one token more at 5 and 22.5
    Cell("gpt-5.4", GPT_5_4, used(272_000, 1000), "0.695", page=DEVELOPERS),
    Cell("gpt-5.4", GPT_5_4_LONG, used(272_001, 1000), "1.382505", page=DEVELOPERS, band=272_000),
    # 272,000 x 0.5 (cached) + 1 x 5 + 0
    Cell("gpt-5.4", GPT_5_4_LONG, used(272_001, 0, 272_000), "0.136005", page=DEVELOPERS, band=272_000),
    # o3 became 80 % cheaper on 10 June 2025
    Cell(
        "o3",
        {"input": "10", "output": "40"},
        used(1_000_000, 1_000_000),
        "50",
        at=datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC),
    ),
    Cell("o3", O3, used(1_000_000, 1_000_000), "10", at=datetime(2025, 6, 10, tzinfo=UTC)),
    Cell("o3-mini", {"input": "1.1", "cached": "0.55", "output": "4.4"}, used(10, 10), "0.000055"),
    Cell("o4-mini", {"input": "1.1", "cached": "0.275", "output": "4.4"}, used(10, 0, 10), "0.00000275"),
    Cell("o1", {"input": "15", "cached": "7.5", "output": "60"}, used(1000, 1000), "0.075"),
    # of 1000: 500 plain x 4 + 100 read x 0.4 + 400 written x 5, 10 x 20 of output
    Cell(
        "gpt-5.6-sol",
        {"input": "4", "cached": "0.4", "cache_write": "5", "output": "20"},
        {"input_tokens": 1000, "cached_tokens": 100, "cache_write_tokens": 400, "output_tokens": 10},
        "0.00424",
        page=DEVELOPERS,
    ),
    Cell("text-embedding-3-small", {"input": "0.02"}, {"input_tokens": 1_000_003}, "0.02000006"),
    Cell("text-embedding-3-large", {"input": "0.13"}, {"input_tokens": 7}, "0.00000091"),
    Cell("text-embedding-ada-002", {"input": "0.1"}, {"input_tokens": 8}, "0.0000008"),
    # fine-tuned models have prices of their own
    Cell("ft:gpt-4o-mini-2024-07-18:acme::a1", {"input": "0.3", "output": "1.2"}, used(1000, 1000), "0.0015"),
    Cell(
        "ft:gpt-4.1:acme::a1",
        {"input": "3", "cached": "0.75", "output": "12"},
        used(1000, 1000, 500),
        "0.013875",
    ),
    # 0.36 USD an hour, ten seconds
    Cell("whisper-1", {}, {}, "0.001"),
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
