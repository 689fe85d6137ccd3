"""`farthing prices show`."""

from __future__ import annotations

from decimal import Decimal

from cli.running import at_terminal, farthing, told


def units(ended, above=0):
    return {row["unit"]: row["usd"] for row in ended.json["prices"] if row["aboveInputTokens"] == above}


def test_the_prices_of_a_model_are_shown_exactly():
    ended = farthing("prices", "show", "gpt-4o")
    assert ended.status == 0
    assert (ended.json["provider"], ended.json["status"]) == ("openai", "priced")
    shown = units(ended)
    assert (shown["input"], shown["cached"], shown["output"]) == (Decimal("2.5"), Decimal("1.25"), 10)
    assert ended.json["prices"][0] | {"usd": None} == {
        "unit": "input", "usd": None, "per": 1_000_000, "picoPerUnit": 2_500_000, "aboveInputTokens": 0
    }  # fmt: skip


def test_prices_of_long_requests_stand_beside_the_others():
    ended = farthing("prices", "show", "gemini-2.5-pro")
    assert (units(ended)["input"], units(ended, 200_000)["input"]) == (Decimal("1.25"), Decimal("2.5"))
    assert "Above input tokens" in at_terminal("prices", "show", "gemini-2.5-pro").out


def test_prices_of_a_day_and_of_a_provider_can_be_asked_for():
    assert farthing("prices", "show", "gpt-4o", "--provider", "azure").json["provider"] == "azure"
    then = farthing("prices", "show", "o3", "--at", "2025-06-01")
    now = farthing("prices", "show", "o3", "--at", "2025-07-01")
    assert (units(then)["input"], units(now)["input"]) == (10, 2)


def test_the_prices_of_the_user_come_first(tmp_path):
    (tmp_path / "farthing.toml").write_text('[prices."my-model"]\ninput = "0.3"\noutput = 2\n')
    ended = farthing("prices", "show", "my-model", cwd=tmp_path)
    assert units(ended) == {"input": Decimal("0.3"), "output": 2}


def test_a_model_that_nobody_has_a_price_for_is_no_free_one(tmp_path):
    ended = farthing("prices", "show", "mystery-1")
    assert ended.status == 1
    assert (ended.json["status"], ended.json["prices"]) == ("unpriced", [])
    assert told(ended).startswith("no price is known of 'mystery-1'")
    shown = at_terminal("prices", "show", "mystery-1").out
    assert shown.splitlines() == [f"farthing: {told(ended)}"]
