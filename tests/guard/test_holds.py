"""What a hold has to cover: everything that a provider may bill for the request as it stands."""

import sys
from decimal import Context, Decimal, localcontext

import pytest
from openai import OpenAI

from farthing import Budget, FarthingError, InsufficientCredits, InvalidBudget, InvalidUsage, Meter
from farthing.testing import Reply

HI = [{"role": "user", "content": "hi"}]
PER_MILLION = Decimal(1_000_000)


@pytest.fixture
def meter(ledger_path):
    with Meter(ledger_path, durability="fast") as made:
        yield made


@pytest.fixture
def client(meter, provider):
    with OpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as plain:
        yield meter.wrap(plain)


def test_a_hold_of_an_amount_for_a_model_without_a_price_is_counted_when_it_is_settled(meter):
    meter.set_budget(Budget("b", 1, "day"))
    for _ in range(2):
        held = meter.reserve(model="nobody-knows-it", amount="0.5")
        receipt = held.settle({"input_tokens": 5, "output_tokens": 5})
        assert (receipt.cost, receipt.counted) == (None, Decimal("0.5"))
    with pytest.raises(InsufficientCredits):
        meter.reserve(model="nobody-knows-it", amount="0.5")


def test_an_answer_at_a_tier_without_a_price_counts_its_hold(meter, client, provider):
    meter.set_budget(Budget("b", "0.01", "day"))
    provider.script(Reply(usage={"input_tokens": 8, "output_tokens": 9}, service_tier="priority"))
    answer = client.chat.completions.create(
        model="gpt-4-turbo", messages=HI, max_tokens=100, service_tier="auto"
    )
    receipt = meter.receipt(answer)
    assert receipt.cost is None
    assert receipt.counted == receipt.held > 0


def test_a_lower_bound_frees_no_money(meter):
    held = meter.reserve(model="mistral-small-latest", amount="0.5")  # nobody knows a price of its searches
    receipt = held.settle({"input_tokens": 10, "output_tokens": 10, "web_searches": 5})
    assert receipt.cost_source == "partial"
    assert receipt.counted == Decimal("0.5")


def test_every_prompt_of_a_list_may_be_answered_to_the_cap(meter, client):
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=["a"] * 10, max_tokens=100)
    assert meter.receipt(answer).held >= 10 * 100 * 2 / PER_MILLION


def test_a_list_of_tokens_is_one_prompt(meter, client):
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=[1, 2, 3], max_tokens=100)
    assert meter.receipt(answer).held < 2 * 100 * 2 / PER_MILLION


def test_a_suffix_is_read_too(meter, client):
    answer = client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt="a", suffix="word " * 1000, max_tokens=1
    )
    assert meter.receipt(answer).held >= 1000 * Decimal("1.5") / PER_MILLION


def test_completions_without_a_cap_end_where_openai_ends_them(meter, client, provider):
    meter.set_budget(Budget("b", 1, "day"))
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="a")
    assert "max_tokens" not in provider.requests[-1].body
    assert meter.receipt(answer).held < Decimal("0.0001")


def test_a_prediction_may_be_rejected_and_billed(meter, client):
    answer = client.chat.completions.create(
        model="gpt-4o",
        messages=HI,
        max_tokens=1,
        prediction={"type": "content", "content": "word " * 1000},
    )
    assert meter.receipt(answer).held >= 1000 * 10 / PER_MILLION


def test_what_a_hosted_tool_finds_is_bounded_by_the_context_window(meter, client, provider):
    answer = client.responses.create(
        model="gpt-4o",
        input="hi",
        max_output_tokens=16,
        max_tool_calls=1,
        tools=[{"type": "file_search", "vector_store_ids": ["v"]}],
    )
    assert meter.receipt(answer).held >= 2 * 128_000 * Decimal("2.5") / PER_MILLION


def test_an_explicit_none_in_extra_body_does_not_undo_the_cap(meter, client, provider):
    meter.set_budget(Budget("b", "0.01", "day"))
    answer = client.chat.completions.create(
        model="gpt-4o", messages=HI, extra_body={"max_tokens": None, "user": "u"}
    )
    sent = provider.requests[-1].body
    assert sent["max_tokens"] == meter.receipt(answer).capped_at
    assert sent["user"] == "u"


@pytest.mark.parametrize(
    "fields", [{"provider": "OpenAI"}, {"model": "GPT-4o"}, {"model": "gpt-4O*"}], ids=str
)
def test_a_budget_binds_names_in_any_case(meter, client, fields):
    meter.set_budget(Budget("b", "0.000001", "day", **fields))
    with pytest.raises(InsufficientCredits):
        client.chat.completions.create(model="gpt-4o", messages=HI, max_tokens=10)


def test_names_of_accounts_and_clients_cannot_look_like_each_other(meter, provider):
    with (
        OpenAI(base_url=provider.base_url, api_key="k") as one,
        OpenAI(base_url=provider.base_url, api_key="k") as two,
    ):
        meter.wrap(one, name="a", account="b|c", budget="$1/day")
        meter.wrap(two, name="a|b", account="c", budget="$1/day")
        for client in (one, two):
            client.chat.completions.create(model="gpt-4o", messages=HI, max_tokens=10)
    assert len({window.budget for window in meter.windows()}) == 2


def test_an_absurd_cap_is_refused_under_a_budget_and_booked_without(meter, client):
    answer = client.chat.completions.create(model="gpt-4o", messages=HI, max_tokens=sys.maxsize)
    assert meter.receipt(answer).cost is not None
    meter.set_budget(Budget("b", 1, "day"))
    with pytest.raises(InsufficientCredits):
        client.chat.completions.create(model="gpt-4o", messages=HI, max_tokens=sys.maxsize)


def test_amounts_do_not_depend_on_the_decimal_context_of_the_program():
    with localcontext(Context(prec=3)):
        assert Budget("b", 12_345_678).limit == 12_345_678
    with pytest.raises(InvalidBudget, match="below a billion"):
        Budget("b", "1e999999")


def test_wrong_arguments_are_told_in_a_sentence(meter, ledger_path):
    for wrong in ({"budgets": 5}, {"enabled": "no"}, {"inject_usage": "no"}):
        with pytest.raises(FarthingError, match="must be"):
            Meter(ledger_path, **wrong)
    with pytest.raises(InvalidUsage, match="operation must be one of"):
        meter.reserve(model="gpt-4o", amount=1, operation="bogus")
