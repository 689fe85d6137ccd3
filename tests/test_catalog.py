"""The catalog: whose rates, of when, at which tier; and never a number that nobody stated."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.catalog import Catalog, UserPrice, default
from farthing.catalog.source import load


def ns(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 10**9


NOW = ns(2026, 11, 21)
catalog = default()


def find(model, *, at=NOW, where=catalog, **wanted):
    return where.rates(model, at_ns=at, **wanted)


def million(rates, unit):
    """USD per million, as price pages have it."""
    return Decimal(int(rates.prices[unit])) / 10**6


class TestNames:
    @pytest.mark.parametrize(
        "spelt",
        [
            "gpt-4o",
            " gpt-4o ",
            "openai/gpt-4o",
            "GPT-4o",
            "gpt-4o-2024-08-06",
            "gpt-4o-20240806",
            "litellm/openai/gpt-4o",
            "litellm_proxy/gpt-4o",
            "models/gpt-4o",
        ],
    )
    def test_spellings_of_a_model_have_its_rates(self, spelt):
        rates = find(spelt)
        assert (rates.provider, rates.model, rates.status) == ("openai", "gpt-4o", "priced")
        assert rates.source == catalog.version == load().name

    def test_the_same_question_gets_the_same_object(self):
        assert find("gpt-4o") is find("gpt-4o", at=NOW + 10**9)
        assert find("gpt-4o") is find("openai/gpt-4o-2024-08-06", provider="openai")
        assert find("gpt-4o") is find("gpt-4o", where=Catalog())
        assert find("gpt-4o") is find("gpt-4o", tier="default", base_url="https://api.openai.com/v1")

    def test_an_unlisted_snapshot_is_priced_as_its_base_and_says_so(self):
        rates = find("gpt-4o-2031-01-02")
        assert rates.prices == find("gpt-4o").prices
        assert "gpt-4o-2031-01-02" in rates.notes[0]
        assert rates is find("gpt-4o-2031-01-02")

    def test_a_name_that_only_begins_like_a_model_is_not_that_model(self):
        assert find("gpt-4o-mini-something").status == "unpriced"
        assert find("gpt-4").prices != find("gpt-4o").prices

    @pytest.mark.parametrize(
        ("model", "rates"),
        [
            ("ft:gpt-4o-mini-2024-07-18:org::id", {"input": "0.3", "output": "1.2"}),
            ("ft:gpt-4o-mini:org::id", {"input": "0.3", "cached": "0.15", "output": "1.2"}),
            ("ft:gpt-4.1-2025-04-14:org:tag:id", {"input": "3", "cached": "0.75", "output": "12"}),
            ("ft:gpt-4.1-nano:org::id", {"input": "0.2", "cached": "0.05", "output": "0.8"}),
            ("ft:o4-mini-2025-04-16:org::id", {"input": "4", "cached": "1", "output": "16"}),
        ],
    )
    def test_a_fine_tuned_model_has_its_own_price(self, model, rates):
        found = find(model)
        assert {unit: million(found, unit) for unit in rates} == {u: Decimal(v) for u, v in rates.items()}

    def test_a_fine_tuned_model_is_never_priced_as_its_base(self):
        assert find("ft:gpt-9-large:org::id").status == "unpriced"
        batch = find("ft:gpt-4.1:org::id", tier="batch")
        assert (million(batch, "input"), batch.flags) == (Decimal("1.5"), ("multiplier",))
        assert find("ft:gpt-4.1:org::id", tier="priority").status == "unpriced"

    @pytest.mark.parametrize(
        ("model", "provider", "name"),
        [
            ("gpt-4o", None, "gpt-4o"),
            (" openai/gpt-4o", None, "gpt-4o"),
            ("openai/gpt-4o", "openai", "gpt-4o"),
            ("openai/gpt-4o", "openrouter", "openai/gpt-4o"),
            ("openrouter/openai/gpt-4o", None, "openai/gpt-4o"),
            ("litellm_proxy/gpt-4o", "openai", "gpt-4o"),
            ("openai/gpt-oss-20b", "groq", "openai/gpt-oss-20b"),
            ("models/gemini-2.5-flash", "google", "gemini-2.5-flash"),
            ("gpt-4o-2024-08-06", "openai", "gpt-4o-2024-08-06"),
            ("meta-llama/Llama-3.2-1B-Instruct", None, "meta-llama/Llama-3.2-1B-Instruct"),
            ("", None, ""),
        ],
    )
    def test_the_canonical_name(self, model, provider, name):
        assert catalog.canonical(model, provider) == name


class TestProviders:
    @pytest.mark.parametrize(
        ("url", "provider"),
        [
            ("https://api.openai.com/v1", "openai"),
            ("https://api.openai.com/v1/chat/completions", "openai"),
            ("https://eu.api.openai.com/v1/", "openai"),
            ("https://us.api.openai.com", "openai"),
            ("https://acme.openai.azure.com/openai/deployments/x", "azure"),
            ("https://acme.services.ai.azure.com/models", "azure"),
            ("https://eastus.api.cognitive.microsoft.com/openai", "azure"),
            ("https://openrouter.ai/api/v1", "openrouter"),
            ("https://api.deepseek.com", "deepseek"),
            ("https://api.groq.com/openai/v1", "groq"),
            ("https://api.x.ai/v1", "x-ai"),
            ("https://api.mistral.ai/v1", "mistral"),
            ("https://generativelanguage.googleapis.com/v1beta/openai/", "google"),
            ("https://bedrock-runtime.us-east-1.amazonaws.com", "aws"),
            ("https://api.novita.ai/v3/openai", "novita"),
            ("HTTPS://API.OPENAI.COM:443/v1", "openai"),
        ],
    )
    def test_a_known_url_says_who_sends_the_bill(self, url, provider):
        assert catalog.provider_of("anything", url) == provider

    @pytest.mark.parametrize(
        "url",
        [
            "http://localhost:8000/v1",
            "http://127.0.0.1:11434",
            "https://llm.acme.example/v1",
            "",
            "http://[",
            "::",
        ],
    )
    def test_an_unknown_host_decides_nothing(self, url):
        assert catalog.provider_of("gpt-4o", url) == "openai"
        assert catalog.provider_of("my-own-model", url) is None
        assert find("gpt-4o", base_url=url) is find("gpt-4o")
        assert find("my-own-model", base_url=url).status == "unpriced"

    @pytest.mark.parametrize(
        ("model", "provider"),
        [
            ("text-embedding-3-small", "openai"),
            ("omni-moderation-latest", "openai"),
            ("o3-mini", "openai"),
            ("dall-e-3", "openai"),
            ("claude-sonnet-4-5", "anthropic"),
            ("gemini-2.5-flash", "google"),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
            ("groq/llama-3.1-8b-instant", "groq"),
            ("llama3.2", None),
            ("", None),
        ],
    )
    def test_the_maker_of_a_model_by_its_name(self, model, provider):
        assert catalog.provider_of(model) == provider

    def test_a_provider_that_is_named_but_has_no_prices_leaves_the_model_unpriced(self):
        for provider in ("snowflake", "portkey", "vllm-local"):
            assert find("gpt-4o", provider=provider).status == "unpriced"

    def test_a_router_is_no_provider(self):
        assert find("gpt-4o", provider="litellm") is find("gpt-4o")

    def test_a_reseller_has_its_own_price_and_the_makers_where_it_lists_none(self):
        assert find("openai/gpt-4o", provider="openrouter").provider == "openrouter"
        azure = find("gpt-4o", provider="azure")
        maker = find("gpt-4o").prices
        tools = {"web_search_preview"}  # of OpenAI's own page, which says nothing of Azure
        assert (azure.provider, azure.prices) == (
            "azure",
            {unit: maker[unit] for unit in maker.keys() - tools},
        )


class TestDates:
    def test_a_price_changes_at_midnight_utc(self):
        before, after = find("o3", at=ns(2025, 6, 10) - 1), find("o3", at=ns(2025, 6, 10))
        assert [million(r, "output") for r in (before, after)] == [40, 8]
        assert before.ends_at == after.starts_at == datetime(2025, 6, 10, tzinfo=UTC)
        assert (before.starts_at, after.ends_at) == (None, None)

    def test_the_rates_of_a_period_are_one_object(self):
        assert find("o3", at=ns(2024, 1, 1)) is find("o3", at=ns(2025, 6, 10) - 1)
        assert find("o3", at=ns(2025, 6, 10)) is find("o3", at=ns(2030, 1, 1))

    def test_off_peak_hours_are_by_the_clock_in_utc(self):
        hours = {
            hour: million(find("deepseek-v4-flash", at=ns(2026, 11, 20, hour)), "input") for hour in range(24)
        }
        dear = {hour for hour, price in hours.items() if price == max(hours.values())}
        assert dear == {1, 2, 3, 6, 7, 8, 9}
        assert find("deepseek-v4-flash", at=ns(2026, 11, 20, 2)) is find(
            "deepseek-v4-flash", at=ns(2026, 11, 23, 7)
        )

    @pytest.mark.parametrize("model", ["deepseek-v4-flash", "deepseek-v4-pro", "deepseek-flash"])
    def test_weekends_are_off_peak_where_the_provider_says_so(self, model):
        monday = ns(2026, 11, 16)
        cheap = find(model, at=ns(2026, 11, 16, 0))
        at_two = [monday + (24 * day + 2) * 3600 * 10**9 for day in range(7)]
        by_day = [find(model, at=at) is cheap for at in at_two]
        assert by_day == [False] * 5 + [True] * 2
        assert million(find(model, at=ns(2026, 11, 16, 2)), "input") == 2 * million(cheap, "input")
        last, first = ns(2026, 11, 21) - 1, ns(2026, 11, 21)  # Friday and Saturday
        assert find(model, at=last) is find(model, at=first) is find(model, at=first + 86_400 * 10**9 * 2)

    def test_the_weekends_before_the_provider_said_so_have_the_hours_of_other_days(self):
        saturday = find("deepseek-v4-flash", at=ns(2026, 8, 22, 2))
        assert million(saturday, "input") == Decimal("0.44")

    def test_instants_before_1970_and_far_ahead_have_rates(self):
        assert find("o3", at=-(10**19)).status == "priced"
        assert find("deepseek-v4-flash", at=10**22).status == "priced"


class TestTiers:
    @pytest.mark.parametrize(
        "tier", [None, "", "default", "standard", "auto", "on_demand", "scale", " Default "]
    )
    def test_what_is_billed_at_list_price_is_standard(self, tier):
        assert find("gpt-5", tier=tier) is find("gpt-5")
        assert find("gpt-5", tier=tier).tier is None

    @pytest.mark.parametrize(("tier", "price"), [("priority", "2.5"), ("flex", "0.625"), ("batch", "0.625")])
    def test_a_tier_that_the_source_prices(self, tier, price):
        rates = find("gpt-5", tier=tier)
        assert (million(rates, "input"), rates.tier, rates.flags) == (Decimal(price), tier, ())

    def test_a_tier_of_bands_has_bands(self):
        rates = find("gpt-5.6-sol", tier="priority")
        assert [million(rates, "input"), Decimal(int(rates.bands[0].prices["input"])) / 10**6] == [8, 16]

    def test_a_tier_without_a_price_takes_a_declared_multiplier_and_says_so(self):
        rates = find("gpt-4o-mini", tier="flex")
        assert (million(rates, "input"), million(rates, "output")) == (Decimal("0.075"), Decimal("0.3"))
        assert rates.flags == ("multiplier",)
        assert "1/2" in rates.notes[0]
        assert rates.prices["web_search"] == find("gpt-4o-mini").prices["web_search"]

    def test_groqs_flex_tier_costs_what_its_standard_one_does(self):
        rates = find("openai/gpt-oss-120b", provider="groq", tier="flex")
        assert (rates.status, rates.flags) == ("priced", ("multiplier",))
        assert rates.prices == find("openai/gpt-oss-120b", provider="groq").prices

    def test_batch_before_the_source_dates_it_takes_the_multiplier(self):
        rates = find("gpt-4o", at=ns(2025, 1, 1), tier="batch")
        assert (million(rates, "input"), rates.flags) == (Decimal("1.25"), ("multiplier",))

    @pytest.mark.parametrize(
        ("model", "provider", "tier"),
        [
            ("gpt-4o", "openai", "bogus"),
            ("gpt-3.5-turbo", "openai", "priority"),
            ("gpt-5", "azure", "flex"),
            ("claude-opus-4-8", "anthropic", "priority"),
        ],
    )
    def test_a_tier_that_nobody_prices_is_not_standard(self, model, provider, tier):
        rates = find(model, provider=provider, tier=tier)
        assert (rates.status, dict(rates.prices), rates.bands) == ("unpriced", {}, ())
        assert tier in rates.notes[0]

    def test_a_tier_before_its_first_price_is_standard_with_a_note(self):
        rates = find("gpt-5", at=ns(2026, 3, 31), tier="priority")
        assert rates.prices == find("gpt-5").prices
        assert "2026-10-12" in rates.notes[0]

    def test_the_fast_mode_of_claude(self):
        assert million(find("claude-opus-4-8", tier="fast"), "output") == 50


class TestStatus:
    def test_an_empty_entry_is_unpriced_and_not_free(self):
        empty = [
            (provider.id, model.id)
            for provider in load()._providers
            for model in provider.models
            if not isinstance(model.prices, list) and not any(vars(model.prices).values())
        ]
        assert len(empty) > 100
        for provider, model in empty:
            stated = (model.endswith(":free") and provider == "openrouter") or model == "moderation"
            assert find(model, provider=provider).status == ("free" if stated else "unpriced"), (
                provider,
                model,
            )

    def test_a_stated_zero_is_free(self):
        for rates in (find("omni-moderation-latest"), find("any/thing:free", provider="openrouter")):
            assert rates.status == "free"
            assert set(rates.prices.values()) == {0}
            assert rates.source

    def test_a_price_by_the_hour_is_a_price(self):
        assert find("whisper-1").prices == {"second": 100_000_000}
        assert find("gpt-live-transcribe").prices == {"second": Fraction(1_020_000_000_000, 3600)}

    @pytest.mark.parametrize(
        "model", [None, 7, [], {}, object(), "", "\x00", "x" * 10_000, "ft:", "/", "models/", "🦙"]
    )
    def test_nothing_makes_it_raise(self, model):
        rates = find(model)
        assert (rates.status, dict(rates.prices)) == ("unpriced", {})
        assert len(rates.model) <= 256

    @settings(max_examples=200)
    @given(
        st.text(max_size=60),
        st.none() | st.text(max_size=12),
        st.none() | st.text(max_size=30),
        st.integers(),
    )
    def test_no_name_makes_it_raise(self, model, provider, url, at):
        rates = catalog.rates(model, provider=provider, base_url=url, at_ns=at, tier=provider)
        assert rates.status in {"priced", "free", "unpriced"}
        catalog.canonical(model, provider)
        catalog.provider_of(model, url)
        catalog.max_output(model, provider=provider)
        catalog.is_reasoning(model)

    def test_every_entry_of_the_source_compiles_to_exact_rates(self):
        count = 0
        for provider in load()._providers:
            for model in provider.models:
                for tier in (None, "batch", "flex", "priority"):
                    schedule = load().schedule(provider.id, model, tier)
                    for _, day in schedule.pieces:
                        for _, rates in day:
                            count += 1
                            for prices in (rates.prices, *(band.prices for band in rates.bands)):
                                assert all(
                                    type(p) is int or (isinstance(p, Fraction)) for p in prices.values()
                                )
                                assert all(p >= 0 for p in prices.values())
                            assert [b.above for b in rates.bands] == sorted({b.above for b in rates.bands})
        assert count > 5000

    def test_rates_can_be_pickled(self):
        rates = find("gpt-5.4")
        assert pickle.loads(pickle.dumps(rates)) == rates


class TestUserPrices:
    def test_they_outrank_the_source(self):
        own = Catalog([UserPrice(model="gpt-4o", prices={"input": "1.5", "output": 6})])
        rates = find("openai/gpt-4o", where=own)
        assert (dict(rates.prices), rates.source, rates.status) == (
            {"input": 1_500_000, "output": 6_000_000},
            "user",
            "priced",
        )
        assert rates is find("openai/gpt-4o", where=own, at=0)
        assert find("gpt-4o-mini", where=own) is find("gpt-4o-mini")

    def test_a_float_is_read_by_its_repr(self):
        own = Catalog([UserPrice(model="m", prices={"input": 0.1, "output": 0.3, "request": 0.01})])
        assert dict(find("m", where=own).prices) == {"input": 100_000, "output": 300_000, "request": 10**10}

    def test_a_name_outranks_a_glob_and_the_later_of_two_counts(self):
        own = Catalog(
            [
                UserPrice(model="llama*", prices={"input": 1}),
                UserPrice(model="llama3.2", prices={"input": 2}),
                UserPrice(model="*", prices={"input": 3}),
                UserPrice(model="l*", prices={"input": 4}),
            ]
        )
        assert [million(find(m, where=own), "input") for m in ("llama3.2", "Llama-70b", "phi")] == [2, 4, 3]

    def test_they_may_be_for_one_provider_or_url_or_alias_only(self):
        own = Catalog(
            [
                UserPrice(model="gpt-4o", provider="azure", prices={"input": 7}),
                UserPrice(
                    model="qwen", base_url="http://localhost:8000/v1", free=True, aliases=("deploy-*",)
                ),
            ]
        )
        assert find("gpt-4o", where=own) is find("gpt-4o")
        assert million(find("gpt-4o", provider="azure_openai", where=own), "input") == 7
        here = find("deploy-7", base_url="http://LOCALHOST:8000/v1/chat", where=own)
        assert (here.status, set(here.prices.values())) == ("free", {0})
        assert find("deploy-7", base_url="http://localhost:8000/v10", where=own).status == "unpriced"
        assert find("qwen", where=own).status == "unpriced"

    def test_they_hold_between_their_instants(self):
        start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
        own = Catalog(
            [
                UserPrice(model="o3", prices={"input": 9}, starts_at=start, ends_at=end),
                UserPrice(model="*", prices={"input": 8}, ends_at=datetime(2025, 1, 1, tzinfo=UTC)),
            ]
        )
        days = {2024: 8, 2025: 10, 2026: 9, 2027: 2}
        assert {y: million(find("o3", where=own, at=ns(y, 1, 1)), "input") for y in days} == days
        assert find("o3", where=own, at=ns(2026, 2, 1)) is find("o3")

    def test_a_tier_takes_its_own_price_or_a_multiplier_or_is_unknown(self):
        own = Catalog(
            [
                UserPrice(model="gpt-4o", prices={"input": 4}),
                UserPrice(model="gpt-4o", tier="priority", prices={"input": 9}),
            ]
        )
        assert million(find("gpt-4o", where=own, tier="priority"), "input") == 9
        assert million(find("gpt-4o", where=own, tier="default"), "input") == 4
        batch = find("gpt-4o", where=own, tier="batch")
        assert (million(batch, "input"), batch.flags) == (2, ("multiplier",))

    def test_all_zero_is_free(self):
        own = Catalog([UserPrice(model="m", prices={"input": 0, "output": "0.0"})])
        assert find("m", where=own).status == "free"

    @pytest.mark.parametrize(
        "wrong",
        [
            {},
            {"free": True, "prices": {"input": 1}},
            {"prices": {"inputs": 1}},
            {"prices": {"input": -1}},
            {"prices": {"input": "NaN"}},
            {"prices": {"input": "Infinity"}},
            {"prices": {"input": True}},
            {"prices": {"input": "cheap"}},
            {"prices": {"input": None}},
            {"free": True, "starts_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - what is refused
            {
                "free": True,
                "starts_at": datetime(2026, 1, 2, tzinfo=UTC),
                "ends_at": datetime(2026, 1, 2, tzinfo=UTC),
            },
        ],
    )
    def test_a_price_that_makes_no_sense_is_refused(self, wrong):
        with pytest.raises(ValueError, match="price"):
            UserPrice(model="m", **wrong)


class TestProcess:
    def test_threads_that_ask_at_once_get_the_same_objects(self):
        shared = Catalog([UserPrice(model="mine", prices={"input": 1})])
        names = ["gpt-4o", "o3", "deepseek-v4-pro", "mine", "gpt-4.1-2031-01-01"]
        barrier = threading.Barrier(8)
        seen: list[list[int]] = []

        def ask() -> None:
            barrier.wait()
            seen.append([id(find(name, where=shared)) for name in names])

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 8
        assert len({tuple(ids) for ids in seen}) == 1

    def test_there_is_one_default(self):
        assert default() is default()

    def test_what_is_kept_is_bounded(self):
        asked = Catalog()
        first = find("gpt-4o", where=asked)
        for number in range(5000):
            asked.rates(f"no-such-model-{number}", provider="nobody", at_ns=NOW)
            asked.provider_of("gpt-4o", f"http://10.0.0.1/{number}")
        assert len(asked._kept) <= 4096
        assert len(asked._providers) <= 4096
        assert find("gpt-4o", where=asked) is first

    def test_the_source_is_loaded_at_the_first_question_only(self):
        code = (
            "import sys; from farthing.catalog import Catalog; c = Catalog(); c.version; "
            "c.canonical('openai/gpt-4o'); c.max_output('gpt-4o'); c.is_reasoning('o3'); "
            "c.provider_of('x', 'https://api.openai.com/v1'); assert 'genai_prices' not in sys.modules; "
            "c.rates('gpt-4o', at_ns=0); assert 'genai_prices' in sys.modules"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
