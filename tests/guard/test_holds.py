"""What a hold has to cover: everything that a provider may bill for the request as it stands."""

import asyncio
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


@pytest.mark.parametrize(("tier", "rate"), [("auto", 17), ("priority", 17), ("default", 10), (None, 10)])
def test_a_tier_that_the_provider_chooses_is_held_at_the_dearest(meter, client, tier, rate):
    """gpt-4o is $10 per million tokens of output, and $17 at priority, where `auto` may be served."""
    more = {} if tier is None else {"service_tier": tier}
    answer = client.chat.completions.create(model="gpt-4o", messages=HI, max_tokens=1_000_000, **more)
    assert rate < meter.receipt(answer).held < rate + Decimal("0.001")


def test_the_fee_of_a_request_is_held(ledger_path, provider):
    prices = {"mine-1": {"input": 1, "output": 2, "request": "0.05"}}
    with Meter(ledger_path, durability="fast", prices=prices) as meter:
        with OpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as plain:
            client = meter.wrap(plain, budget="$0.05/day")
            with pytest.raises(InsufficientCredits) as caught:
                client.chat.completions.create(model="mine-1", messages=HI, max_tokens=10)
        assert Decimal("0.05") < caught.value.required < Decimal("0.0501")
        assert (
            caught.value.required == meter.estimate(model="mine-1", messages=HI, max_output_tokens=10).upper
        )


@pytest.mark.parametrize(
    ("more", "answers"), [({"best_of": 5}, 5), ({"best_of": 5, "n": 2}, 5), ({"n": 2}, 2)]
)
def test_every_answer_that_is_made_is_held_also_if_only_the_best_is_sent(meter, client, more, answers):
    answer = client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt="a", max_tokens=1_000, stream=False, **more
    )
    least = answers * 1_000 * 2 / PER_MILLION
    assert least < meter.receipt(answer).held < least + Decimal("0.0001")


@pytest.mark.parametrize(("reasoning", "held"), [(10, 10), (1, 2)], ids=["dearer", "cheaper"])
def test_all_of_the_output_may_be_reasoning_at_a_price_of_its_own(ledger_path, provider, reasoning, held):
    prices = {"mine-1": {"input": 1, "output": 2, "reasoning": reasoning}}
    provider.usage = {"input_tokens": 5, "output_tokens": 1_000, "reasoning_tokens": 900}
    with Meter(ledger_path, durability="fast", prices=prices) as meter:
        with OpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as plain:
            answer = meter.wrap(plain).chat.completions.create(model="mine-1", messages=HI, max_tokens=1_000)
        receipt = meter.receipt(answer)
    assert 1_000 * held / PER_MILLION < receipt.held < 1_100 * held / PER_MILLION
    assert receipt.overrun is None
    assert receipt.cost == (5 + 100 * 2 + 900 * reasoning) / PER_MILLION


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


WINDOWED = {"model": "minimax/minimax-m2.5", "provider": "avian"}
"""A model whose window is known, and no maximum of output: that is what the window leaves."""

SHOWN = [{"type": "text", "text": "Translate this."}]
HIDDEN = [{"type": "file", "file": {"file_id": "file-1"}}, *SHOWN]


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("limit", ["5", "0.08"], ids=["wide", "tight"])
def test_input_that_is_not_shown_takes_nothing_off_the_output(meter, provider, hidden, limit):
    model, served_by = WINDOWED["model"], WINDOWED["provider"]
    catalog = meter.engine.catalog
    window = catalog.context_window(model, provider=served_by)
    assert window > 100_000
    assert catalog.max_output(model, provider=served_by) is None
    at = meter.engine.clock.time_ns()
    prices = catalog.rates(model, provider=served_by, at_ns=at).prices
    read, made = (Decimal(prices[unit]) / 10**12 for unit in ("input", "output"))
    with OpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as plain:
        client = meter.wrap(plain, provider=served_by, budget=f"${limit}/day")
        asked = [{"role": "user", "content": HIDDEN if hidden else SHOWN}]
        receipt = meter.receipt(client.chat.completions.create(model=model, messages=asked))
    whole = (window - 2_000) * made + (window * read if hidden else 0)
    if limit == "5":
        assert receipt.held > whole
        assert receipt.capped_at is None
    else:
        assert receipt.held < Decimal(limit) < whole
        assert provider.requests[0].body["max_tokens"] == receipt.capped_at >= 256
        assert receipt.held >= receipt.capped_at * made + (window * read if hidden else 0)


def test_a_prompt_whose_upper_bound_fills_the_window_leaves_what_it_is_expected_to(meter):
    """In an event loop a long text is bounded by its bytes."""
    catalog = meter.engine.catalog
    model, served_by = WINDOWED["model"], WINDOWED["provider"]
    window = catalog.context_window(model, provider=served_by)
    text = "word " * (window // 4)

    async def asked():
        return meter.estimate(model=model, provider=served_by, messages=[{"role": "user", "content": text}])

    estimate = asyncio.run(asked())
    assert estimate.input_tokens_upper > window > estimate.input_tokens
    assert estimate.max_output_tokens == window - estimate.input_tokens


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
