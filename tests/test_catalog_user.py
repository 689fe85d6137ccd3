"""The user's prices, from the program, from a file of settings and from the ledger, and which counts."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, date, datetime
from decimal import Decimal

import openai
import pytest

import farthing
from farthing import Meter, UserPrice
from farthing.catalog import Catalog
from farthing.errors import FarthingError
from farthing.meter.prices import stated_prices, user_prices

NOW = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp()) * 10**9
BODY = {"model": "gpt-4o-2024-08-06", "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0}}


def cost(meter, **asked):
    return meter.cost_of(BODY, **asked).usd


class TestWritten:
    def test_one_price_says_all_that_a_user_price_says(self):
        [price] = user_prices(
            {
                "llama-*": {
                    "input": "$0.20",
                    "output": 0.6,
                    "provider": "vllm",
                    "base_url": "http://10.0.0.1:8000",
                    "tier": "batch",
                    "from": "2026-01-01",
                    "until": datetime(2026, 7, 1, tzinfo=UTC),
                    "aliases": ["deploy-7", "deploy-8"],
                }
            }
        )
        assert price == UserPrice(
            model="llama-*",
            prices={"input": "$0.20", "output": 0.6},
            provider="vllm",
            base_url="http://10.0.0.1:8000",
            tier="batch",
            starts_at=datetime(2026, 1, 1, tzinfo=UTC),
            ends_at=datetime(2026, 7, 1, tzinfo=UTC),
            aliases=("deploy-7", "deploy-8"),
        )
        assert UserPrice.from_dict(price.to_dict()).to_dict() == price.to_dict()

    def test_a_model_may_have_several_and_a_list_may_hold_tables(self):
        many = user_prices(
            [
                {"m": [{"input": 1, "until": "2026-01-01"}, {"input": 2, "from": "2026-01-01"}]},
                {"model": "n", "free": True, "aliases": "prod"},
                UserPrice(model="o", prices={"input": 1}),
            ]
        )
        assert [price.model for price in many] == ["m", "m", "n", "o"]
        assert (many[2].free, many[2].aliases) == (True, ("prod",))

    @pytest.mark.parametrize(
        ("until", "ends"),
        [
            ("2026-05-31", datetime(2026, 6, 1, tzinfo=UTC)),
            (date(2026, 5, 31), datetime(2026, 6, 1, tzinfo=UTC)),
            ("2026-05-31T00:00:00Z", datetime(2026, 5, 31, tzinfo=UTC)),
            (datetime(2026, 5, 31, tzinfo=UTC), datetime(2026, 5, 31, tzinfo=UTC)),
            ("9999-12-31", None),
        ],
    )
    def test_a_price_holds_to_the_end_of_a_date_and_to_before_an_instant(self, until, ends):
        [price] = user_prices({"m": {"input": 1, "from": "2026-05-30", "until": until}})
        assert (price.starts_at, price.ends_at) == (datetime(2026, 5, 30, tzinfo=UTC), ends)

    def test_a_price_may_hold_for_a_day(self):
        own = Catalog(user_prices({"m": {"input": 1, "from": "2026-05-31", "until": "2026-05-31"}}))
        days = [
            datetime(2026, *day, tzinfo=UTC) for day in ((5, 30, 23, 59), (5, 31), (5, 31, 23, 59), (6, 1))
        ]
        found = [own.rates("m", at_ns=int(at.timestamp()) * 10**9).status for at in days]
        assert found == ["unpriced", "priced", "priced", "unpriced"]

    def test_on_the_day_on_which_one_ends_and_the_next_begins_the_next_holds(self):
        both = [{"input": 1, "until": "2026-06-01"}, {"input": 2, "from": "2026-06-01"}]
        own = Catalog(user_prices({"m": both}))
        at = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp()) * 10**9
        assert [own.rates("m", at_ns=at + shift).prices["input"] for shift in (-1, 0)] == [10**6, 2 * 10**6]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"m": 3},
            {"m": {}},
            {"m": {"input": 1, "from": "soon"}},
            {"m": {"input": 1, "from": datetime(2026, 1, 1)}},  # noqa: DTZ001 - what is refused
            {"m": {"input": 1, "free": True}},
            {"m": {"free": "yes"}},
            {"m": {"input": 1, "provider": 7}},
            {"": "free"},
            [3],
            7,
            ["a.json", "b.json"],
            "no-such-file.json",
        ],
    )
    def test_what_is_not_understood_is_refused_with_a_reason(self, wrong):
        with pytest.raises(FarthingError, match=r"pric"):
            stated_prices(wrong)

    def test_a_zero_counts_as_free_only_where_it_is_written(self):
        free = Catalog(user_prices({"m": "free", "z": {"input": 0, "output": "0"}}))
        found = [free.rates(model, at_ns=NOW).status for model in ("m", "z", "other")]
        assert found == ["free", "free", "unpriced"]


class TestNames:
    def test_a_price_of_the_name_that_was_asked_for_counts_though_another_name_answers(self):
        own = Catalog(user_prices({"gpt-4o": {"input": 1, "output": 2}}))
        asked = own.rates("gpt-4o-2024-08-06", asked="gpt-4o", at_ns=NOW)
        assert (asked.source, asked.prices["input"]) == ("user", 1_000_000)
        assert own.rates("gpt-4o-2024-08-06", at_ns=NOW).source != "user"

    def test_a_deployment_has_its_price_under_its_own_name(self):
        meter = Meter(":memory:", prices={"gpt-4o*": {"input": 3, "provider": "azure", "aliases": ["prod"]}})
        assert cost(meter, provider="azure", model="prod") == 3
        other = {**BODY, "model": "prod"}
        assert meter.cost_of(other, provider="azure").usd == 3

    def test_a_row_is_priced_by_the_name_that_was_asked_for(self):
        with Meter(":memory:", prices={"mine": {"input": 3, "output": 5}}) as meter:
            receipt = meter.record(model="mine", usage=BODY)
        assert (receipt.model, receipt.cost) == ("gpt-4o-2024-08-06", 3)


class TestLayers:
    def test_code_outranks_settings_and_those_outrank_the_ledger(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "farthing.toml").write_text(
            'ledger = "ledger.db"\n'
            '[prices]\n"gpt-4o*" = { input = 2 }\nboth = { input = 2 }\n'
            "[[prices.dated]]\ninput = 7\nuntil = 2026-06-01\n"
            "[[prices.dated]]\ninput = 8\nfrom = 2026-06-01\n"
        )
        with Meter("ledger.db") as meter:
            for model in ("gpt-4o-2024-08-06", "both", "stored"):
                meter.engine.ledger.set_price(UserPrice(model=model, prices={"input": 1}))
        farthing.configure(prices={"both": {"input": 3}})
        rate = farthing.default_meter().engine.catalog.rates
        found = {
            model: rate(model, at_ns=NOW).prices["input"] / 10**6
            for model in ("gpt-4o-2024-08-06", "both", "stored", "dated", "gpt-4.1")
        }
        assert found == {"gpt-4o-2024-08-06": 2, "both": 3, "stored": 1, "dated": 8, "gpt-4.1": 2}
        told = [(price.model, where) for price, where in farthing.default_meter().engine.catalog.stated()]
        assert told[0] == ("both", "code")
        assert ("stored", "ledger") in told

    def test_of_one_layer_the_more_specific_counts_but_never_above_a_higher_layer(self):
        free = UserPrice(model="m", free=True)
        catalog = Catalog([UserPrice(model="*", prices={"input": 1})], below=[free])
        assert catalog.rates("m", at_ns=NOW).prices == {"input": 1_000_000}

    def test_a_lower_layer_counts_where_a_higher_one_has_no_price_of_the_day(self):
        catalog = Catalog(
            [UserPrice(model="m", prices={"input": 1}, ends_at=datetime(2026, 1, 1, tzinfo=UTC))],
            below=[UserPrice(model="m", prices={"input": 2})],
        )
        rates = [catalog.rates("m", at_ns=at).prices["input"] for at in (0, NOW)]
        assert rates == [1_000_000, 2_000_000]

    def test_a_price_of_ones_own_is_not_multiplied_by_a_region(self):
        own = Catalog([UserPrice(model="gpt-5.4", prices={"input": 1})])
        rates = own.rates("gpt-5.4", base_url="https://eu.api.openai.com/v1", at_ns=NOW)
        assert (rates.prices, rates.flags) == ({"input": 10**6}, ())


class TestStored:
    def test_a_price_in_the_ledger_holds_for_every_meter_on_it(self, ledger_path):
        with Meter(ledger_path) as one:
            assert one.engine.ledger.set_price(UserPrice(model="gpt-4o-*", prices={"input": "1.25"})) is False
            assert cost(one) == Decimal("1.25")
        with Meter(ledger_path) as other:
            assert cost(other) == Decimal("1.25")
            assert other.engine.ledger.set_price(UserPrice(model="gpt-4o-*", prices={"input": 1})) is True
            assert cost(other) == 1
            assert other.engine.ledger.remove_price(UserPrice(model="gpt-4o-*", free=True).key) is True
            assert other.engine.ledger.remove_price("nothing") is False
            assert cost(other) == Decimal("2.5")

    def test_asking_what_something_costs_makes_no_ledger(self, ledger_path):
        with Meter(ledger_path) as meter:
            assert cost(meter) == Decimal("2.5")
        assert not ledger_path.exists()

    def test_a_model_that_only_the_ledger_has_a_price_of_is_not_refused(self, ledger_path, provider):
        with Meter(ledger_path) as meter:
            meter.engine.ledger.set_price(UserPrice(model="my-own-model", prices={"input": 1, "output": 2}))
        with Meter(ledger_path) as meter:
            client = meter.wrap(openai.OpenAI(base_url=provider.base_url, api_key="k"), budget="$1")
            answer = client.chat.completions.create(
                model="my-own-model", messages=[{"role": "user", "content": "hi"}], max_tokens=9
            )
            assert meter.receipt(answer).cost is not None

    def test_another_meter_of_the_process_sees_a_change_at_once(self, ledger_path):
        with Meter(ledger_path) as one, Meter(ledger_path) as two:
            one.record(model="gpt-4o", usage=BODY)
            assert cost(two) == Decimal("2.5")
            one.engine.ledger.set_price(UserPrice(model="gpt-4o-2024-08-06", prices={"input": 1}))
            assert cost(two) == 1

    def test_another_process_sees_a_change_at_its_next_call(self, ledger_path):
        with Meter(ledger_path) as meter:
            meter.record(model="gpt-4o", usage=BODY)
            code = (
                "import sys; from farthing import Meter, UserPrice\n"
                "with Meter(sys.argv[1]) as m:\n"
                "    m.engine.ledger.set_price(UserPrice(model='gpt-4o-2024-08-06', prices={'input': 1}))\n"
            )
            subprocess.run([sys.executable, "-c", code, str(ledger_path)], check=True)
            meter.record(model="gpt-4o", usage=BODY, transaction_id="now it reads what stands")
            assert cost(meter) == 1

    def test_threads_may_set_prices_while_others_ask(self, ledger_path):
        with Meter(ledger_path) as meter:
            ledger = meter.engine.ledger
            barrier, wrong = threading.Barrier(4), []

            def ask() -> None:
                barrier.wait()
                for _ in range(200):
                    usd = cost(meter)
                    if usd not in {Decimal("2.5"), *map(Decimal, range(1, 11))}:
                        wrong.append(usd)

            threads = [threading.Thread(target=ask) for _ in range(3)]
            for thread in threads:
                thread.start()
            barrier.wait()
            for number in range(1, 11):
                ledger.set_price(UserPrice(model="gpt-4o-2024-08-06", prices={"input": number}))
            for thread in threads:
                thread.join()
            assert (wrong, cost(meter)) == ([], 10)

    def test_a_stored_price_that_is_not_understood_is_left_out_and_said(self, ledger_path, caplog):
        with Meter(ledger_path) as meter:
            meter.engine.ledger.set_price(UserPrice(model="good", prices={"input": 1}))
        conn = sqlite3.connect(ledger_path)
        with conn:
            conn.execute('INSERT INTO user_price VALUES (\'odd\', \'{"model": "m", "later": 1}\', 1)')
        conn.close()
        with Meter(ledger_path) as meter:
            assert [price.model for price in meter.engine.ledger.prices()] == ["good"]
        assert "not understood" in caplog.text
