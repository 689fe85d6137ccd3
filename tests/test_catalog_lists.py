"""Price lists besides the installed one: a file in litellm's format, a newer list, two lists compared."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from farthing import Meter
from farthing.catalog import Catalog, PriceFile, default, refreshed
from farthing.catalog.compare import differences, price_list
from farthing.errors import FarthingError

NOW = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp()) * 10**9

LISTED = {
    "sample_spec": {"litellm_provider": "one of ...", "input_cost_per_token": 0.0},
    "acme-large": {
        "litellm_provider": "acme",
        "input_cost_per_token": 2.5e-06,
        "input_cost_per_token_above_200k_tokens": 5e-06,
        "input_cost_per_token_batches": 1.25e-06,
        "cache_read_input_token_cost": 2.5e-07,
        "cache_creation_input_token_cost": 3.125e-06,
        "cache_creation_input_token_cost_above_1hr": 5e-06,
        "output_cost_per_token": 1e-05,
        "output_cost_per_token_above_200k_tokens": 1.5e-05,
        "output_cost_per_audio_token": 8e-05,
        "search_context_cost_per_query": {"search_context_size_medium": 0.01},
        "max_input_tokens": 400_000,
        "max_output_tokens": 32_000,
    },
    "azure/my-model": {
        "litellm_provider": "azure",
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 2e-06,
    },
    "gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 3e-06, "output_cost_per_token": 1e-05},
    "vertex_ai/claude-9": {
        "litellm_provider": "vertex_ai-anthropic_models",
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 5e-06,
    },
    "zero": {"litellm_provider": "acme", "input_cost_per_token": 0, "output_cost_per_token": 0.0},
    "odd": {"litellm_provider": "acme", "input_cost_per_token": "cheap", "output_cost_per_token": -1},
    "nobody": {"input_cost_per_token": 1e-06},
    "no table": 7,
}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(LISTED))
    return file


@pytest.fixture
def listed(path):
    return Catalog(file=PriceFile(path))


class TestFile:
    def test_what_the_source_does_not_know_has_the_files_price(self, listed, path):
        rates = listed.rates("acme-large", provider="acme", at_ns=NOW)
        assert rates.prices == {
            "input": 2_500_000, "cached": 250_000, "cache_write": 3_125_000, "cache_write_1h": 5_000_000,
            "output": 10_000_000, "audio_output": 80_000_000, "web_search": 10**10,
        }  # fmt: skip
        [band] = rates.bands
        assert (band.above, band.prices["input"], band.prices["output"]) == (200_000, 5_000_000, 15_000_000)
        assert band.prices["cached"] == 250_000
        assert (rates.status, rates.source.split()[0]) == ("priced", "prices.json")
        assert rates is listed.rates("acme-large", provider="acme", at_ns=NOW + 1)

    def test_what_the_source_knows_keeps_its_price(self, listed):
        assert listed.rates("gpt-4o", at_ns=NOW) is default().rates("gpt-4o", at_ns=NOW)

    def test_providers_are_known_by_litellms_names(self, listed):
        assert listed.rates("my-model", provider="azure", at_ns=NOW).prices["output"] == 2_000_000
        assert listed.rates("claude-9", provider="google", at_ns=NOW).prices["output"] == 5_000_000
        assert listed.rates("vertex_ai/claude-9", at_ns=NOW).prices["output"] == 5_000_000

    def test_its_zeros_and_what_makes_no_sense_are_no_prices(self, listed):
        for model in ("zero", "odd", "nobody", "no table", "sample_spec"):
            assert listed.rates(model, provider="acme", at_ns=NOW).status == "unpriced"

    def test_a_tier_has_its_own_price_or_none(self, listed):
        batch = listed.rates("acme-large", provider="acme", tier="batch", at_ns=NOW)
        assert (batch.prices["input"], batch.prices["output"], batch.tier) == (1_250_000, 10_000_000, "batch")
        assert listed.rates("acme-large", provider="acme", tier="flex", at_ns=NOW).status == "unpriced"
        assert listed.rates("my-model", provider="azure", tier="batch", at_ns=NOW).flags == ("multiplier",)

    def test_it_knows_limits_too(self, listed):
        assert listed.max_output("acme-large", provider="acme") == 32_000
        assert listed.context_window("acme-large", provider="acme") == 400_000
        assert listed.max_output("zero", provider="acme") is None

    def test_digits_are_read_as_they_are_written(self, tmp_path):
        file = tmp_path / "p.json"
        costs = '"input_cost_per_token": 0.1, "input_cost_per_second": 3e-13'
        file.write_text(f'{{"m": {{"litellm_provider": "acme", {costs}}}}}')
        prices = Catalog(file=PriceFile(file)).rates("m", provider="acme", at_ns=NOW).prices
        assert prices == {"input": 10**11, "second": Fraction(3, 10)}

    @pytest.mark.parametrize(
        "content", ["", "[]", "{", "7", '{"m": {"input_cost_per_token": 1}}', "[" * 100_000]
    )
    def test_a_file_of_another_kind_is_said_once_and_prices_nothing(self, tmp_path, content, caplog):
        file = tmp_path / "p.json"
        file.write_text(content)
        catalog = Catalog(file=PriceFile(file))
        for _ in range(2):
            assert catalog.rates("m", provider="acme", at_ns=NOW).status == "unpriced"
        assert caplog.text.count("no prices from") == 1

    def test_a_program_and_its_settings_may_name_it(self, path, tmp_path, monkeypatch):
        assert Meter(":memory:", prices=str(path)).engine.catalog.file.path == path
        assert Meter(":memory:", prices=[path, {"m": "free"}]).engine.catalog.file.path == path
        with pytest.raises(FarthingError, match="no price file"):
            Meter(":memory:", prices=tmp_path / "nothing.json")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "farthing.toml").write_text('price_file = "prices.json"\n')
        code = "import farthing; print(farthing.default_meter().engine.catalog.file.path)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert Path(done.stdout.strip()) == tmp_path / "prices.json"


NEWER = [
    {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": "https://api\\.openai\\.com",
        "models": [
            {"id": "gpt-4o", "match": {"equals": "gpt-4o"}, "prices": {"input_mtok": 1, "output_mtok": 4}},
            {"id": "gpt-99", "match": {"equals": "gpt-99"}, "prices": {"input_mtok": 9, "output_mtok": 40}},
        ],
    }
]
ASK = (
    "from farthing.catalog import default; c = default()\n"
    "r = c.rates('gpt-99', provider='openai', at_ns=1_795_000_000 * 10**9)\n"
    "print(r.status, r.prices.get('input'), c.version, r.source)"
)


def asked() -> list[str]:
    command = [sys.executable, "-W", "error", "-c", ASK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split(maxsplit=2)


class TestRefreshed:
    def test_a_newer_list_holds_from_the_next_process_on_until_it_is_forgotten(self):
        assert asked()[0] == "unpriced"
        name = refreshed.put(json.dumps(NEWER).encode(), at=datetime(2026, 11, 20, tzinfo=UTC))
        assert name.startswith(f"genai-prices {refreshed.installed()}+2026-11-20.")
        status, price, source = asked()
        assert (status, price, source.strip()) == ("priced", "9000000", f"{name} {name}")
        assert refreshed.forget() is True
        assert asked()[0] == "unpriced"
        assert refreshed.forget() is False

    def test_it_gives_way_to_what_is_installed_later(self):
        refreshed.put(json.dumps(NEWER).encode(), at=datetime(2026, 11, 20, tzinfo=UTC))
        head, _, rest = refreshed.place().read_bytes().partition(b"\n")
        older = {**json.loads(head), "newer_than": "0.0.1"}
        refreshed.place().write_bytes(json.dumps(older).encode() + b"\n" + rest)
        assert refreshed.name_standing() is None
        assert asked()[0] == "unpriced"

    @pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"nonsense", b'[{"id": 7}]', b"[" * 100_000])
    def test_what_is_no_list_is_refused_and_changes_nothing(self, content):
        with pytest.raises(ValueError, match=r"JSON|list|read"):
            refreshed.put(content, at=datetime(2026, 11, 20, tzinfo=UTC))
        assert not refreshed.place().exists()

    @pytest.mark.parametrize("content", [b"", b"\n", b"{}\n[]", b"\xff\xfe\n[]"])
    def test_a_damaged_one_costs_nobody_anything(self, content):
        refreshed.place().parent.mkdir(parents=True, exist_ok=True)
        refreshed.place().write_bytes(content)
        assert asked()[0] == "unpriced"


class TestCompared:
    def test_two_lists_are_compared_by_the_names_that_requests_use(self, path):
        found = {
            (row.model, row.unit): (row.left, row.right)
            for row in differences(price_list(str(path)), price_list("installed"), NOW, one_sided=False)
        }
        assert found == {("gpt-4o", "input"): (3_000_000, 2_500_000)}

    def test_all_shows_what_only_one_of_them_has(self, path):
        rows = list(differences(price_list(str(path)), price_list("installed"), NOW, one_sided=True))
        [one] = [
            row for row in rows if row.model == "acme-large" and (row.unit, row.above) == ("output", 200_000)
        ]
        assert (one.left, one.right) == (15_000_000, None)
        assert any((row.model, row.unit, row.left) == ("gpt-4o", "cached", None) for row in rows)

    def test_a_list_agrees_with_itself(self):
        lists = price_list("installed"), price_list("current")
        assert list(differences(*lists, NOW, one_sided=True)) == []

    def test_a_file_of_genai_prices_can_be_compared_too(self, tmp_path):
        file = tmp_path / "data.json"
        file.write_text(json.dumps(NEWER))
        rows = list(differences(price_list(str(file)), price_list("installed"), NOW, one_sided=False))
        assert {(row.model, row.unit): row.left for row in rows} == {
            ("gpt-4o", "input"): 1_000_000,
            ("gpt-4o", "output"): 4_000_000,
        }
        assert all(isinstance(Decimal(row.left), Decimal) for row in rows)

    def test_what_is_no_list_is_refused(self, tmp_path):
        file = tmp_path / "x.json"
        file.write_text("7")
        with pytest.raises(ValueError, match="price file"):
            price_list(str(file))
        with pytest.raises(OSError, match="nothing"):
            price_list(str(tmp_path / "nothing"))
