"""What a region costs more, and how the region of a call is known; names and hosts of every kind."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction

import pytest

import farthing
from farthing.catalog import default
from farthing.catalog.corrections import CORRECTIONS, WEEKENDS
from farthing.catalog.regions import UPLIFTS, region_at, uplift
from farthing.catalog.tiers import MULTIPLIERS

NOW = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp()) * 10**9
catalog = default()


def find(model, **wanted):
    return catalog.rates(model, **{"at_ns": NOW, **wanted})


@pytest.mark.parametrize(
    ("provider", "url", "region"),
    [
        ("openai", "https://eu.api.openai.com/v1", "eu"),
        ("openai", "https://api.openai.com/v1", None),
        ("openai", "https://eu.proxy.example/v1", None),
        ("google", "https://us-east5-aiplatform.googleapis.com/v1", "us-east5"),
        ("google", "https://aiplatform.eu.rep.googleapis.com", "eu"),
        ("google", "https://aiplatform.googleapis.com/v1", None),
        ("google", "https://generativelanguage.googleapis.com/v1beta/openai/", None),
        ("mistral", "https://api.eu.mistral.ai/v1", "eu"),
        ("together", "https://ca-api.together.ai/v1", "ca"),
        ("x-ai", "https://us.api.x.ai/v1", "us"),
        ("anthropic", "https://api.anthropic.com", None),
        (None, "https://eu.api.openai.com/v1", None),
        ("openai", None, None),
    ],
)
def test_the_region_of_a_host(provider, url, region):
    assert region_at(provider, url) == region


def test_a_region_multiplies_tokens_from_its_date_on_and_says_so():
    a_day_before = int(datetime(2026, 2, 4, tzinfo=UTC).timestamp()) * 10**9
    before = find("claude-opus-4-6", region="us", at_ns=a_day_before)
    rates = find("claude-opus-4-6", region="us")
    plain = find("claude-opus-4-6")
    assert before.flags == ()
    assert rates.flags == ("multiplier",)
    assert "1.1" in rates.notes[-1] or "11/10" in rates.notes[-1]
    assert "data-residency" in rates.notes[-1]
    for unit, price in plain.prices.items():
        assert rates.prices[unit] == (price if unit == "web_search" else Fraction(price) * Fraction(11, 10))


def test_the_same_region_gets_the_same_object():
    url = "https://eu.api.openai.com/v1"
    assert find("gpt-5.4", base_url=url) is find("gpt-5.4", base_url=f"{url}/chat/completions")
    assert find("gpt-5.4", base_url=url) is not find("gpt-5.4")
    assert find("gpt-4o", base_url=url) is find("gpt-4o")


@pytest.mark.parametrize(
    ("model", "dearer"),
    [
        ("gpt-5.4", True), ("gpt-5.4-mini-2026-03-17", True), ("gpt-5-4", True), ("gpt-6-sol", True),
        ("gpt-5.10", True), ("gpt-5.3-codex", False), ("gpt-5", False), ("gpt-4o", False), ("o3", False),
    ],
)  # fmt: skip
def test_models_that_were_released_before_a_premium_do_not_have_it(model, dearer):
    assert (uplift("openai", model, "eu") is not None) is dearer


@pytest.mark.parametrize(
    ("model", "provider", "dearer"),
    [
        ("claude-sonnet-4-5", "anthropic", False), ("claude-opus-4-6-20260205", "anthropic", True),
        ("claude-opus-4-20250514", "anthropic", False), ("claude-fable-5", "anthropic", True),
        ("claude-sonnet-5-5", "anthropic", True), ("claude-3-7-sonnet-20250219", "anthropic", False),
        ("claude-sonnet-4-5@20250929", "google", True), ("claude-sonnet-4@20250514", "google", False),
        ("claude-opus-4-1@20250805", "google", False), ("gemini-3.5-flash", "google", True),
        ("gemini-2.5-pro", "google", False),
    ],
)  # fmt: skip
def test_claude_and_gemini_by_version(model, provider, dearer):
    assert (uplift(provider, model, "us") is not None) is dearer


def test_the_answer_of_claude_says_where_it_was_made():
    body = {
        "type": "message",
        "model": "claude-opus-4-6",
        "usage": {"input_tokens": 1000, "output_tokens": 100, "inference_geo": "us"},
    }
    assert str(farthing.cost_of(body).usd) == "0.00825"
    body["usage"]["inference_geo"] = "global"
    assert str(farthing.cost_of(body).usd) == "0.0075"


def test_an_answer_through_a_regional_host_costs_more():
    body = {"model": "gpt-5.4", "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}
    assert str(farthing.cost_of(body, base_url="https://eu.api.openai.com/v1").usd) == "0.0044"
    assert str(farthing.cost_of(body, base_url="https://api.openai.com/v1").usd) == "0.004"


def test_every_row_of_our_own_has_its_source_and_its_date():
    for row in (*UPLIFTS, *MULTIPLIERS):
        assert len(row.source) > 10
        assert date(2024, 1, 1) < row.since < date(2026, 11, 21)
        assert row.factor > 0
    for row in (*CORRECTIONS, *WEEKENDS):
        assert row.source


@pytest.mark.parametrize(
    ("model", "provider", "priced_as"),
    [
        ("publishers/google/models/gemini-2.5-flash", None, ("google", "gemini-2.5-flash")),
        ("projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash", None,
         ("google", "gemini-2.5-flash")),
        ("publishers/anthropic/models/claude-sonnet-4-5@20250929", None, ("google", "claude-sonnet-4-5")),
        ("openai/gpt-4o:nitro", "openrouter", ("openrouter", "openai/gpt-4o")),
        ("anthropic/claude-sonnet-4.5:online", "openrouter", ("openrouter", "anthropic/claude-sonnet-4.5")),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-5-sonnet-20241022-v2:0", None,
         ("aws", "regional.anthropic.claude-3-5-sonnet-20241022-v2:0")),
        ("gpt-35-turbo", "azure", ("azure", "gpt-3.5-turbo")),
        ("azure/gpt-4o", None, ("azure", "gpt-4o")),
        ("gpt-4o-20240806", None, ("openai", "gpt-4o")),
    ],
)  # fmt: skip
def test_names_of_every_kind(model, provider, priced_as):
    rates = find(model, provider=provider)
    assert (rates.provider, rates.model, rates.status) == (*priced_as, "priced")


def test_a_variant_that_chooses_a_host_is_priced_as_its_model_and_says_so():
    assert "openai/gpt-4o" in find("openai/gpt-4o:floor", provider="openrouter").notes[-1]
    assert find("openai/gpt-4o:extra", provider="openrouter").status == "unpriced"


@pytest.mark.parametrize(
    "model",
    ["arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", "my-deployment", "ollama/llama3.2"],
)
def test_a_name_that_tells_nothing_is_unpriced(model):
    assert find(model).status == "unpriced"


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://aiplatform.us.rep.googleapis.com/v1", "google"),
        ("https://europe-west1-aiplatform.googleapis.com/v1", "google"),
        ("https://api.us.mistral.ai/v1", "mistral"),
        ("https://aws-external-anthropic.us-west-2.api.aws/v1", "anthropic"),
        ("https://bedrock-mantle.eu-west-1.api.aws/openai/v1", "aws"),
        ("https://acme.openai.azure.us/openai/v1", "azure"),
        ("https://acme.snowflakecomputing.com/api/v2/cortex/v1", "snowflake"),
        ("https://api.portkey.ai/v1", "portkey"),
        ("https://ollama.com/v1", "ollama"),
        ("https://us-api.together.ai/v1", "together"),
        ("https://us.api.x.ai/v1", "x-ai"),
    ],
)
def test_hosts_of_every_kind(url, provider):
    assert catalog.provider_of("claude-sonnet-4-6", url) == provider


def test_whoever_sets_prices_of_its_own_is_not_priced_at_those_of_the_maker():
    for url in (
        "https://acme.snowflakecomputing.com/api/v2/cortex/v1",
        "https://api.deepinfra.com/v1/openai",
    ):
        assert find("claude-sonnet-4-6", base_url=url).status == "unpriced"
