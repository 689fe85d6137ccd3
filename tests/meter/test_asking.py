"""What can be asked before a call."""

from decimal import Decimal

import pytest
from openai import OpenAI

from farthing import Budget, FarthingError, InvalidBudget, Meter
from farthing.testing import FakeClock, FakeProvider

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def meter(ledger_path):
    with Meter(ledger_path, clock=FakeClock(), durability="fast", account="acme") as made:
        yield made


def test_an_estimate_says_its_expected_and_its_upper_cost_and_how_it_was_counted(meter):
    found = meter.estimate(model="gpt-4o", messages=HI, max_output_tokens=100)
    assert found.method == "exact"
    assert found.input_tokens == 8
    assert found.expected == Decimal(8) * Decimal("2.5e-6") + Decimal(100) * Decimal("1e-5")
    assert found.upper == Decimal(found.input_tokens_upper) * Decimal("2.5e-6") + Decimal("0.001")


def test_an_estimate_without_a_cap_is_held_at_the_largest_output_of_the_model(meter):
    assert meter.estimate(model="gpt-4o", messages=HI).max_output_tokens == 16_384


def test_input_that_is_not_shown_is_at_most_the_context_window(meter):
    file = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]
    found = meter.estimate(model="gpt-4o", messages=file, max_output_tokens=100)
    assert found.input_tokens_upper == 128_000
    assert found.upper == Decimal(128_000) * Decimal("2.5e-6") + Decimal("0.001")


def test_an_embedding_is_estimated_by_its_input_alone(meter):
    found = meter.estimate(model="text-embedding-3-small", input=["one", "two"])
    assert found.max_output_tokens is None
    assert found.expected == Decimal(found.input_tokens) * Decimal("2e-8")


def test_a_model_without_a_price_has_an_estimate_of_tokens_only(meter):
    found = meter.estimate(model="nobody-knows-it", messages=HI)
    assert (found.expected, found.upper) == (None, None)
    assert found.input_tokens > 0


@pytest.mark.parametrize(
    ("model", "method"),
    [("gpt-4o", "exact"), ("gpt-5", "exact"), ("claude-sonnet-4-5", "approximate")],
)
def test_an_estimate_is_exact_where_the_models_own_tokenizer_counts(meter, model, method):
    found = meter.estimate(model=model, messages=HI, max_output_tokens=10)
    assert found.method == method
    assert 0 < found.input_tokens <= found.input_tokens_upper
    assert 0 < found.expected <= found.upper


def test_parts_that_follow_no_rule_make_an_estimate_approximate(meter):
    plain, found = (meter.estimate(model="gpt-4o", messages=HI, tools=tools) for tools in (None, [TOOL]))
    assert found.method == "approximate"
    assert found.input_tokens > plain.input_tokens
    assert found.upper > plain.upper


@pytest.mark.parametrize("named", [False, True], ids=["without a cap", "with a cap"])
@pytest.mark.parametrize("tools", [None, [TOOL]], ids=["plain", "tools"])
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4", "gpt-5", "gpt-4o-mini"])
def test_the_upper_cost_is_what_the_guard_holds(meter, provider, model, tools, named):
    with OpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as plain:
        client = meter.wrap(plain)
        cap = {"max_completion_tokens": 50} if named else {}
        asked = {"tools": tools} if tools else {}
        answer = client.chat.completions.create(model=model, messages=HI, **cap, **asked)
    found = meter.estimate(model=model, messages=HI, max_output_tokens=50 if named else None, **asked)
    assert meter.receipt(answer).held == found.upper


def test_what_is_not_shown_is_estimated_at_the_context_window(meter):
    file = [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]
    found = meter.estimate(model="gpt-4o", input=file, max_output_tokens=10)
    assert found.upper == 128_000 * Decimal("2.5e-6") + 10 * Decimal("1e-5")


def test_a_call_is_not_expected_to_cost_more_than_it_can(meter):
    """What is longer than the model can read is not billed: the hold is for as much as it reads."""
    found = meter.estimate(model="gpt-4o", input="word " * 600_000, max_output_tokens=10)
    assert found.expected == found.upper == 128_000 * Decimal("2.5e-6") + 10 * Decimal("1e-5")


def test_the_cheapest_comes_first_and_the_unpriced_last(meter):
    found = meter.cheapest(["gpt-4o", "nobody-knows-it", "gpt-4o-mini"], messages=HI, max_output_tokens=10)
    assert [c.model for c in found] == ["gpt-4o-mini", "gpt-4o", "nobody-knows-it"]


def test_each_candidate_has_its_own_estimate(meter):
    models = ["gpt-4o", "claude-sonnet-4-5", "gpt-4"]
    found = meter.cheapest(models, messages=HI, max_output_tokens=10)
    assert sorted(c.model for c in found) == sorted(models)
    for candidate in found:
        assert candidate.estimate == meter.estimate(model=candidate.model, messages=HI, max_output_tokens=10)
    expected = [c.estimate.expected for c in found]
    assert expected == sorted(expected)


def test_the_cheapest_depends_on_how_much_is_written(ledger_path):
    prices = {"reads": {"input": 1, "output": 100}, "writes": {"input": 100, "output": 1}}
    prices["nothing"] = {"input": 0, "output": 0}
    long = [{"role": "user", "content": "word " * 1000}]
    with Meter(ledger_path, prices=prices) as meter:
        for cap, first in ((1, "reads"), (100_000, "writes")):
            found = meter.cheapest([*prices, "nobody-knows-it"], messages=long, max_output_tokens=cap)
            assert found[0].model == "nothing"
            assert found[1].model == first
            assert found[-1].estimate.expected is found[-1].estimate.upper is None


def test_of_no_models_none_is_the_cheapest(meter):
    assert meter.cheapest([], messages=HI) == []


def test_without_a_budget_everything_can_be_afforded(meter):
    assert meter.can_afford(10**6)
    assert meter.can_afford(10**6).remaining is None


def test_the_tightest_hard_budget_decides(meter):
    meter.set_budget(Budget("wide", 100, "day"))
    meter.set_budget(Budget("tight", "0.01", "day"))
    meter.set_budget(Budget("soft", "0.001", "day", mode="soft"))
    meter.set_budget(Budget("other", "0.0001", "day", account="other"))
    yes, no = meter.can_afford("0.01"), meter.can_afford("0.02")
    assert (bool(yes), yes.remaining, yes.limited_by) == (True, Decimal("0.01"), "tight")
    assert not no
    assert not meter.can_afford("0.01", account="other")


def test_the_budget_of_the_scope_counts_too(meter):
    with meter.scope(budget="$0.001"):
        assert not meter.can_afford("0.01")
    assert meter.can_afford("0.01")


def test_a_model_is_affordable_if_a_useful_answer_of_it_is(meter):
    meter.set_budget(Budget("small", "0.01", "day"))
    assert meter.can_afford(model="gpt-4o", messages=HI)
    assert not meter.can_afford(model="gpt-5-pro", messages=HI)
    assert not meter.can_afford(model="nobody-knows-it", messages=HI)


def test_another_process_sees_a_new_limit_at_once(meter, ledger_path):
    assert meter.can_afford(5)
    with Meter(ledger_path, clock=FakeClock()) as other:
        other.set_budget(Budget("late", 1, "day"))
    assert not meter.can_afford(5)


def test_a_ledger_that_cannot_say_is_unknown_and_truthy(tmp_path):
    (tmp_path / "file").write_text("")
    found = Meter(tmp_path / "file" / "ledger.db").can_afford(5)
    assert found
    assert found.unknown


def test_wrong_questions_are_told_in_a_sentence(meter):
    with pytest.raises(InvalidBudget, match="must not be negative"):
        meter.can_afford(-1)
    with pytest.raises(FarthingError, match="account must be a text"):
        meter.can_afford(1, account=5)
    with pytest.raises(LookupError, match="no standing budget 'x'"):
        meter.budget("x")
    with pytest.raises(InvalidBudget, match="is of a run"):
        meter.set_budget(Budget("x", 1, "run"))
    with pytest.raises(FarthingError, match=r"give a farthing\.Budget"):
        meter.set_budget("x")


def test_a_receipt_that_this_meter_does_not_have_is_not_said_to_be_of_no_meter(meter):
    with FakeProvider() as provider, OpenAI(base_url=provider.base_url, api_key="test") as client:
        answer = meter.wrap(client).chat.completions.create(model="gpt-4o", messages=HI, max_tokens=10)
        with Meter(":memory:") as another, pytest.raises(LookupError, match="this meter has no receipt"):
            another.receipt(answer)
        with pytest.raises(LookupError, match="or a copy of one"):
            meter.receipt(answer.model_copy())
        assert meter.receipt(answer).model == "gpt-4o"
