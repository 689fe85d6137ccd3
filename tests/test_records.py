"""The nouns: frozen, checked, picklable, short to read."""

import pickle
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from farthing import Budget, Cost, Estimate, Receipt, Usage
from farthing.errors import InvalidBudget, InvalidUsage
from farthing.records.text import clean

EVERY = [
    Usage(input_tokens=1200, cached_tokens=1024, output_tokens=150, seconds=Decimal("1.5")),
    Budget("team", "5", "day", per="tag:user", tags={"a": "b"}, anchor=None, timezone="Europe/Berlin"),
    Budget("every two days", 5, timedelta(days=2), anchor=datetime(2026, 1, 1, tzinfo=UTC)),
    Cost(usd=Decimal("0.1"), nano=10**8, cost_source="priced"),
    Receipt(id="c1", account="acme", cost=None),
    Estimate(expected=None, upper=None, input_tokens=3, input_tokens_upper=4),
]


@pytest.mark.parametrize("record", EVERY, ids=lambda r: type(r).__name__)
def test_records_are_frozen_picklable_and_show_what_is_known(record):
    assert pickle.loads(pickle.dumps(record)) == record
    with pytest.raises(FrozenInstanceError):
        setattr(record, fields(record)[0].name, 1)
    assert repr(record).startswith(type(record).__name__ + "(")
    assert "=None" not in repr(record)
    assert "<table" in record._repr_html_()


def test_html_is_escaped():
    assert "<script>" not in Receipt(id="<script>", account="a")._repr_html_()


def test_counts_that_cannot_be_are_told_in_a_sentence():
    for wrong, said in [
        ({"input_tokens": -1}, "input_tokens must be an integer from 0"),
        ({"input_tokens": 1.5}, "input_tokens must be an integer"),
        ({"input_tokens": True}, "input_tokens must be an integer"),
        ({"input_tokens": 2**60}, "input_tokens must be an integer"),
        ({"input_tokens": 5, "cached_tokens": 6}, "6 of 5 cannot be"),
        ({"input_tokens": 5, "cached_tokens": 3, "cache_write_tokens": 3}, "6 of 5 cannot be"),
        ({"cache_write_tokens": 5, "input_tokens": 5, "cache_write_1h_tokens": 6}, "6 of 5 cannot be"),
        ({"output_tokens": 5, "reasoning_tokens": 6}, "reasoning_tokens is a part of output_tokens"),
        ({"seconds": float("nan")}, "seconds must be a number"),
        ({"seconds": "soon"}, "seconds must be a number"),
    ]:
        with pytest.raises(InvalidUsage, match=said):
            Usage(**wrong)


def test_unknown_counts_stay_unknown_when_added():
    both = Usage(input_tokens=1, cached_tokens=1) + Usage(input_tokens=2, output_tokens=3)
    assert both == Usage(input_tokens=3, cached_tokens=1, output_tokens=3)
    assert both.reasoning_tokens is None
    assert both.total_tokens == 6
    assert Usage().total_tokens is None


@pytest.mark.parametrize(
    ("text", "limit", "period"),
    [
        ("$5", "5", "run"),
        ("5 USD/day", "5", "day"),
        ("$0.50/total", "0.5", "total"),
        ("$2/run", "2", "run"),
        (" 7/week ", "7", "week"),
        (".5", "0.5", "run"),
        (3, "3", "run"),
        (Decimal("0.1"), "0.1", "run"),
    ],
)
def test_budgets_are_read_from_what_people_write(text, limit, period):
    budget = Budget.parse(text)
    assert (budget.limit, budget.period) == (Decimal(limit), period)


@pytest.mark.parametrize(
    "text", ["€5", "5/fortnight", "-1", "abc", "", "$5 USD", "5 USD per day", "$", "1e3"]
)
def test_a_budget_that_is_not_understood_says_what_is(text):
    with pytest.raises(InvalidBudget, match=r"is not understood: .*'\$5', '5 USD/day'"):
        Budget.parse(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"limit": -5},
        {"limit": "abc"},
        {"limit": float("inf")},
        {"name": ""},
        {"name": "x" * 201},
        {"period": "fortnight"},
        {"period": timedelta(0)},
        {"per": "user"},
        {"mode": "firm"},
        {"timezone": "Mars/Olympus"},
        {"timezone": (1, 2)},
        {"timezone": b"UTC"},
        {"anchor": 32},
        {"anchor": 5, "period": "day"},
        {"anchor": datetime(2026, 1, 1), "period": timedelta(days=1)},  # noqa: DTZ001  naive on purpose
        {"alerts": (0,)},
        {"tags": {"a": 1}},
        {"context": "nobody"},
        {"wait": -1},
        {"wait": float("inf")},
        {"wait": 10**400},
        {"uncertain": "maybe"},
        {"name": "\ud800" * 100},
    ],
    ids=str,
)
def test_a_budget_that_makes_no_sense_is_refused(fields):
    with pytest.raises(InvalidBudget):
        Budget(**{"name": "b", "limit": 1, **fields})


def test_a_budget_charges_uncertain_calls_by_its_mode_unless_told():
    assert not Budget("b", 1).charges_expected
    assert Budget("b", 1, mode="soft").charges_expected
    assert Budget("b", 1, uncertain="expected").charges_expected


@pytest.mark.parametrize("field", [f.name for f in fields(Budget)])
def test_a_number_too_long_to_be_written_out_is_refused_as_any_other(field):
    with pytest.raises(InvalidBudget, match="a value of type int that cannot be shown"):
        Budget(**{"name": "b", "limit": 1, field: 10**5000})


@pytest.mark.parametrize("field", [f.name for f in fields(Usage)])
def test_a_count_too_long_to_be_written_out_is_refused_as_any_other(field):
    with pytest.raises(InvalidUsage, match="a value of type int that cannot be shown"):
        Usage(**{field: 10**5000})


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "\udcff"], ids=ascii)
def test_the_texts_of_a_budget_are_what_a_ledger_holds(text):
    budget = Budget(
        "b", 1, per=f"tag:{text}", account=text, provider=text, model=text, tags={text: text}, fallback=text
    )
    assert budget.tags == {clean(text): clean(text)}
    assert budget.per == f"tag:{clean(text)}"
    texts = (budget.account, budget.provider, budget.model, budget.fallback)
    assert texts == (clean(text),) * 4
    assert clean(text).encode()
    assert Budget(**budget.to_dict()) == budget
    for sound in ("acme", "\u00e9\U0001f4b8\ufffd", "\u202e", "tab\t"):
        assert Budget("b", 1, account=sound).account == sound


def test_the_name_of_a_budget_is_what_a_ledger_holds():
    assert Budget("a\ud800b", 1).name == clean("a\ud800b")
    with pytest.raises(InvalidBudget, match="name must be"):
        Budget("a\0b", 1)
