"""Switched off: all names work, nothing is wrapped or written, and a hard budget that is off is told."""

import logging

from openai import OpenAI

import farthing
from farthing import Budget, Meter

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 300}


def test_nothing_is_wrapped_or_written_and_receipts_have_no_cost(provider, ledger_path):
    meter = Meter(ledger_path, enabled=False)
    with OpenAI(base_url=provider.base_url, api_key="k") as plain:
        client = meter.wrap(plain, account="acme")
        assert client is plain
        assert type(client) is OpenAI

        @meter.track_usage(budget="$0.000001")
        def ask():
            return client.chat.completions.create(**CHAT)

        with meter.scope(budget="$0.000001") as run:
            answer = ask()
        assert meter.receipt(answer).cost is None
        assert run.cost == 0
    assert meter.record(model="gpt-4o", usage={"input_tokens": 1, "output_tokens": 1}).cost is None
    with meter.reserve(model="gpt-4o", amount=5) as hold:
        hold.sent()
        assert hold.settle({"input_tokens": 1, "output_tokens": 1}).cost is None
    meter.set_budget(Budget("b", 1, "day"))
    assert meter.can_afford(10**6)
    meter.warm()
    meter.close()
    assert not ledger_path.exists()
    assert not list(ledger_path.parent.iterdir())


def test_the_environment_switches_it_off(monkeypatch, ledger_path):
    monkeypatch.setenv("FARTHING_LEDGER", str(ledger_path))
    for text, enabled in [("true", False), ("1", False), ("no", True), ("", True)]:
        monkeypatch.setenv("FARTHING_DISABLED", text)
        farthing.configure(account=f"a{text}")
        assert farthing.default_meter().engine.enabled is enabled


def test_a_hard_budget_that_is_thereby_off_is_told_once(caplog, ledger_path):
    Meter(ledger_path, enabled=False, budgets=[Budget("a", 1), Budget("b", 1)])
    meter = Meter(ledger_path, enabled=False)
    with meter.scope(budget="$1"), OpenAI(base_url="http://127.0.0.1:1", api_key="k") as plain:
        meter.wrap(plain, budget="$1")
    Meter(ledger_path, enabled=False, budgets=[Budget("c", 1, mode="soft")])
    told = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(told) == 1
    assert "not enforced" in told[0].message
