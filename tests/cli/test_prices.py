"""`farthing prices`: show, set, remove, diff, update."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from decimal import Decimal

import pytest

from cli.running import at_terminal, farthing, told, within
from farthing import Meter


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


OTHER = {
    "gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 3e-06, "output_cost_per_token": 1e-05},
    "my-own": {"litellm_provider": "acme", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
}
LIST = [{
    "id": "openai", "name": "OpenAI", "api_pattern": "https://api.openai.com",
    "models": [
        {"id": "gpt-4o", "match": {"equals": "gpt-4o"}, "prices": {"input_mtok": 1, "output_mtok": 4}},
    ],
}]  # fmt: skip


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "litellm.json"
    path.write_text(json.dumps(OTHER))
    return path


class TestOther:
    def test_what_another_registry_says_stands_beside_it(self, file):
        ended = farthing("prices", "show", "gpt-4o", "--file", file)
        other = ended.json["other"]
        assert other["source"].startswith("litellm.json ")
        assert {row["unit"]: row["usd"] for row in other["prices"]} == {"input": 3, "output": 10}
        shown = at_terminal("prices", "show", "gpt-4o", "--file", file, columns=120).out
        [line] = [line for line in shown.splitlines() if line.startswith("input")]
        assert line.split() == ["input", "2.5", "3", "1,000,000"]

    def test_without_a_file_there_is_none(self):
        assert farthing("prices", "show", "gpt-4o").json["other"] is None

    def test_a_file_that_is_none_is_said(self, tmp_path):
        (tmp_path / "x.json").write_text("7")
        for name in ("x.json", "nothing.json"):
            ended = farthing("prices", "show", "gpt-4o", "--file", tmp_path / name)
            assert (ended.status, name in told(ended)) == (1, True)

    def test_what_cannot_be_read_is_told_in_words(self, tmp_path):
        for path, why in ((tmp_path / "nothing.json", "No such file"), (tmp_path, "Is a directory")):
            ended = within("prices", "show", "gpt-4o", "--file", path)
            assert (ended.status, told(ended).startswith(f"{path} cannot be read: {why}")) == (1, True)

    def test_what_only_the_other_registry_knows_is_shown_and_is_no_price_of_ours(self, file):
        ended = within("prices", "show", "my-own", "--file", file)
        assert (ended.status, ended.json["status"], ended.json["prices"]) == (1, "unpriced", [])
        assert {row["unit"]: row["usd"] for row in ended.json["other"]["prices"]} == {"input": 1, "output": 2}
        shown = at_terminal("prices", "show", "my-own", "--file", file, columns=120).out
        assert shown.startswith("my-own at acme: only in litellm.json ")
        assert "`farthing prices set` states one" in shown

    def test_a_tier_stands_in_the_title(self):
        assert at_terminal("prices", "show", "gpt-5.4", "--tier", "batch").out.startswith(
            "gpt-5.4 at openai (batch): priced\n"
        )

    @pytest.mark.parametrize("wrong", [("",), ("gpt-4o", "--base-url", "/v1")])
    def test_a_question_about_nothing_is_wrong_usage(self, wrong):
        assert within("prices", "show", *wrong).status == 2

    def test_tier_and_address_can_be_asked_for(self):
        ended = farthing(
            "prices", "show", "gpt-5.4", "--base-url", "https://eu.api.openai.com/v1", "--tier", "batch"
        )
        assert (units(ended)["input"], ended.json["flags"]) == (Decimal("1.375"), ["multiplier"])


class TestSet:
    def test_a_price_is_set_shown_replaced_and_removed(self, tmp_path):
        ledger = ("--ledger", tmp_path / "l.db")
        ended = farthing("prices", "set", "llama-*", "input=0.20", "output=$0.6", "--alias", "prod", *ledger)
        assert ended.status == 0
        assert ended.json == [
            {"model": "llama-*", "aliases": ["prod"], "prices": {"input": "0.20", "output": "0.6"},
             "free": False, "provider": None, "baseUrl": None, "tier": None, "startsAt": None, "endsAt": None,
             "statedIn": "ledger"}
        ]  # fmt: skip
        assert units(farthing("prices", "show", "prod", *ledger)) == {
            "input": Decimal("0.2"),
            "output": Decimal("0.6"),
        }
        assert at_terminal("prices", "set", "llama-*", "--free", *ledger).out.startswith("Replaced.")
        assert farthing("prices", "show", "llama-3", *ledger).json["status"] == "free"
        assert [row["free"] for row in farthing("prices", "show", *ledger).json] == [True]
        assert farthing("prices", "remove", "llama-*", *ledger).json == {"removed": "llama-*"}
        assert farthing("prices", "show", *ledger).json == []
        assert told(farthing("prices", "remove", "llama-*", *ledger)).startswith("no such price")

    def test_it_holds_between_dates_at_one_provider_and_address(self, tmp_path):
        ledger = ("--ledger", tmp_path / "l.db")
        which = ("--provider", "vllm", "--base-url", "http://10.0.0.1:8000/v1", "--from", "2026-01-01")
        assert within("prices", "set", "m", "input=2", *which, "--until", "2026-01-31", *ledger).status == 0
        show = ("prices", "show", "m", "--provider", "vllm", *ledger)
        address = ("--base-url", "http://10.0.0.1:8000/v1/chat")
        assert units(within(*show, *address, "--at", "2026-01-31T23:59:59Z")) == {"input": 2}
        for other in (
            (*address, "--at", "2026-02-01"),
            (*address, "--at", "2025-12-31"),
            ("--at", "2026-01-02"),
        ):
            assert within(*show, *other).json["status"] == "unpriced"
        assert within("prices", "remove", "m", *ledger).status == 1
        assert within("prices", "remove", "m", *which, *ledger).status == 0

    def test_it_ends_as_one_in_a_file_of_settings_does(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "farthing.toml").write_text(
            'ledger = "l.db"\n[prices]\nfiled = { input = 1, until = 2026-01-31 }\n'
        )
        assert within("prices", "set", "stored", "input=1", "--until", "2026-01-31").status == 0
        rows = within("prices", "show").json
        assert {row["model"]: row["endsAt"] for row in rows} == dict.fromkeys(
            ("filed", "stored"), "2026-02-01T00:00:00Z"
        )
        shown = [
            within("prices", "show", name, "--at", "2026-01-31", "--markdown").out
            for name in ("filed", "stored")
        ]
        assert ["before 2026-02-01" in text for text in shown] == [True, True]

    def test_a_price_is_shown_as_a_number_however_it_was_written(self, tmp_path):
        ended = within("prices", "set", "m", "input=$2.50", "output=1e-3", "--ledger", tmp_path / "l.db")
        assert ended.json[0]["prices"] == {"input": "2.50", "output": "0.001"}

    def test_what_is_free_is_told_in_a_line(self, tmp_path):
        ledger = ("--ledger", tmp_path / "l.db")
        assert within("prices", "set", "m", "--free", *ledger).status == 0
        shown = at_terminal("prices", "show", "m", *ledger).out.splitlines()
        assert shown == ["m at any provider: free", "Every unit of it is free.", "Source: user"]
        assert "input,0,1000000,0,0\n" in within("prices", "show", "m", "--csv", *ledger).out

    def test_a_call_that_is_booked_next_has_it(self, tmp_path):
        path = tmp_path / "l.db"
        assert within("prices", "set", "mystery-1", "input=3", "output=5", "--ledger", path).status == 0
        with Meter(path) as meter:
            booked = meter.record(model="mystery-1", usage={"input_tokens": 1_000_000, "output_tokens": 0})
        assert (booked.cost, booked.cost_source) == (3, "priced")

    @pytest.mark.parametrize(
        ("wrong", "word"),
        [
            (("m",), "--free"),
            (("m", "input"), "UNIT=USD"),
            (("m", "input=cheap"), "number of USD"),
            (("m", "input=-1"), "number of USD"),
            (("m", "inputs=1"), "a price is for one of"),
            (("m", "inputs=1"), "did you mean input?"),
            (("m", "input=1", "input=2"), "given twice: 1 and 2"),
            (("m", "input=1", "--free"), "either"),
            (("m", "input=999999999999"), "to a billion"),
            (("m", "input=1", "--base-url", "/v1"), "a server"),
            (("", "input=1"), "a model or a glob"),
            (("m", "input=1", "--from", "2026-02-01", "--until", "2026-01-01"), "ends before it starts"),
        ],
    )
    def test_what_makes_no_sense_makes_no_ledger(self, tmp_path, wrong, word):
        ended = within("prices", "set", *wrong, "--ledger", tmp_path / "l.db")
        assert (ended.status, word in told(ended)) == (2, True)
        assert not (tmp_path / "l.db").exists()


class TestDiff:
    def test_two_lists_are_laid_side_by_side(self, file):
        ended = farthing("prices", "diff", file)
        assert ended.json == [
            {"provider": "openai", "model": "gpt-4o", "unit": "input", "per": 1_000_000,
             "aboveInputTokens": 0, "leftUsd": 3, "rightUsd": Decimal("2.5")}
        ]  # fmt: skip
        assert farthing("prices", "diff", file, "--model", "claude*").json == []
        assert farthing("prices", "diff", file, "--provider", "acme", "--all").json[0]["rightUsd"] is None
        assert "gpt-4o" in at_terminal("prices", "diff", file, "installed").out

    def test_lists_that_agree_say_so(self):
        assert at_terminal("prices", "diff", "installed").out == "They agree.\n"

    def test_lists_that_have_nothing_in_common_do_not_agree(self, file, tmp_path):
        (tmp_path / "empty.json").write_text("{}")
        apart = "They have no price of such a model in common.\n"
        assert at_terminal("prices", "diff", tmp_path / "empty.json").out == apart
        assert at_terminal("prices", "diff", file, "--provider", "nobody").out == apart
        assert at_terminal("prices", "diff", "installed", "--model", "gpt-4o").out == "They agree.\n"

    def test_what_is_no_list_is_said(self, tmp_path):
        (tmp_path / "x.json").write_text("{")
        for name in ("x.json", "nothing.json"):
            ended = farthing("prices", "diff", tmp_path / name)
            assert (ended.status, name in told(ended)) == (1, True)


class TestUpdate:
    def test_without_anything_it_says_which_list_is_used(self):
        ended = farthing("prices", "update")
        assert (ended.json["changed"], ended.json["list"]) == (
            False,
            f"genai-prices {ended.json['installed']}",
        )

    def test_a_newer_list_prices_the_next_process_and_can_be_taken_back(self, tmp_path):
        path = tmp_path / "data.json"
        path.write_text(json.dumps(LIST))
        ended = farthing("prices", "update", path)
        assert (ended.status, ended.json["changed"]) == (0, True)
        shown = farthing("prices", "show", "gpt-4o")
        assert (units(shown)["input"], shown.json["source"]) == (1, ended.json["list"])
        assert farthing("prices", "diff", "installed", "--model", "gpt-4o").json[0]["rightUsd"] == 1
        assert farthing("prices", "update", "--installed").json["changed"] is True
        assert units(farthing("prices", "show", "gpt-4o"))["input"] == Decimal("2.5")

    def test_it_fetches_only_where_it_is_asked_to(self):
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(200 if self.path == "/data.json" else 404)
                self.end_headers()
                self.wfile.write(json.dumps(LIST).encode())

            def log_message(self, *args):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            url = f"http://127.0.0.1:{server.server_address[1]}"
            assert farthing("prices", "update", "--url", f"{url}/data.json").status == 2
            assert asked == []
            missing = farthing("prices", "update", "--download", "--url", f"{url}/nothing")
            assert (missing.status, "nothing was changed" in told(missing)) == (1, True)
            ended = farthing("prices", "update", "--download", "--url", f"{url}/data.json")
            server.shutdown()
            thread.join()
        assert (ended.status, ended.json["changed"]) == (0, True)
        assert asked == ["/nothing", "/data.json"]

    def test_a_server_that_does_not_answer_is_told_in_words(self):
        with socket.socket() as unused:  # bound, and not listened at
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/data.json"
            ended = within("prices", "update", "--download", "--url", url)
        assert ended.status == 1
        assert told(ended) == f"{url} cannot be fetched: Connection refused; nothing was changed"

    @pytest.mark.parametrize("url", ["http://prices.example/data.json", "file:///etc/passwd", "data.json"])
    def test_a_list_comes_by_https_alone(self, url):
        ended = within("prices", "update", "--download", "--url", url)
        assert (ended.status, "https" in told(ended)) == (2, True)

    def test_what_is_no_list_changes_nothing(self, file):
        ended = farthing("prices", "update", file)
        assert (ended.status, "nothing was changed" in told(ended)) == (1, True)
        assert farthing("prices", "update").json["changed"] is False
