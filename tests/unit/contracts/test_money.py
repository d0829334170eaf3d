"""Money: exact decimal text with the scale of its currency, and every other form is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from caseway.contracts.money import MINOR_UNITS, Money, parse_money
from caseway.errors import ContractError


def refusal(value: Any) -> ContractError:
    """What is said of money that is none."""
    with pytest.raises(ContractError) as refused:
        parse_money(value, "/amount")
    return refused.value


def usd(amount: Any) -> dict[str, Any]:
    """An amount of dollars, in whatever form."""
    return {"amount": amount, "currency": "USD"}


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("0", "USD"),
        ("0.00", "USD"),
        ("4999.99", "USD"),
        ("5000", "USD"),
        ("75000.0", "USD"),
        ("999999999999999.99", "USD"),
        ("100", "JPY"),
        ("0.001", "KWD"),
    ],
)
def test_an_exact_amount_is_kept_as_it_was_written(amount: str, currency: str) -> None:
    money = parse_money({"amount": amount, "currency": currency}, "/amount")
    assert (money.amount, money.currency) == (amount, currency)
    assert money.decimal == Decimal(amount)


@pytest.mark.parametrize(
    ("value", "code", "where"),
    [
        (usd("75,000"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("12,50"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("1e400"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("NaN"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("Infinity"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd(""), "AMOUNT_FORMAT", "/amount/amount"),
        (usd(" 5"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("5\n"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("05"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("+5"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd(".5"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("5."), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("٥"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("1" * 16), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("--1"), "AMOUNT_FORMAT", "/amount/amount"),
        (usd(75000), "AMOUNT_FORMAT", "/amount/amount"),
        (usd(75000.0), "AMOUNT_FORMAT", "/amount/amount"),
        (usd(float("inf")), "AMOUNT_FORMAT", "/amount/amount"),
        (usd(True), "AMOUNT_FORMAT", "/amount/amount"),
        (usd(["5"]), "AMOUNT_FORMAT", "/amount/amount"),
        (usd("-1"), "AMOUNT_RANGE", "/amount/amount"),
        (usd("-0.01"), "AMOUNT_RANGE", "/amount/amount"),
        (usd("10.001"), "AMOUNT_SCALE", "/amount/amount"),
        (usd("10.000"), "AMOUNT_SCALE", "/amount/amount"),
        ({"amount": "1.5", "currency": "JPY"}, "AMOUNT_SCALE", "/amount/amount"),
        ({"amount": "5", "currency": "euro"}, "CURRENCY", "/amount/currency"),
        ({"amount": "5", "currency": "usd"}, "CURRENCY", "/amount/currency"),
        ({"amount": "5", "currency": "XXX"}, "CURRENCY", "/amount/currency"),
        ({"amount": "5", "currency": 840}, "CURRENCY", "/amount/currency"),
        ({"amount": "5", "currency": ["USD"]}, "CURRENCY", "/amount/currency"),
        ({"amount": "5"}, "FIELD_MISSING", "/amount/currency"),
        ({"amount": "5", "currency": None}, "FIELD_MISSING", "/amount/currency"),
        ({"currency": "USD"}, "FIELD_MISSING", "/amount/amount"),
        (usd(None), "FIELD_MISSING", "/amount/amount"),
        ({**usd("5"), "rate": "1"}, "UNKNOWN_FIELD", "/amount/rate"),
        ("75000.00", "AMOUNT_FORMAT", "/amount"),
        (75000, "AMOUNT_FORMAT", "/amount"),
        (None, "AMOUNT_FORMAT", "/amount"),
        ([], "AMOUNT_FORMAT", "/amount"),
    ],
)
def test_every_other_form_is_refused_at_its_place(value: Any, code: str, where: str) -> None:
    refused = refusal(value)
    assert (refused.code, refused.where) == (code, where)


def test_a_refusal_says_what_the_currency_allows() -> None:
    said = str(refusal(usd("10.001")))
    assert said == "/amount/amount: has 3 decimals; USD has 2 decimals"
    assert all(code in str(refusal({"amount": "1", "currency": "x"})) for code in MINOR_UNITS)


@given(
    currency=st.sampled_from(sorted(MINOR_UNITS)),
    minor=st.integers(0, 10**15 - 1),
)
def test_every_amount_of_minor_units_is_read_exactly(currency: str, minor: int) -> None:
    units = MINOR_UNITS[currency]
    exact = Decimal(minor).scaleb(-units)
    money = parse_money({"amount": f"{exact:.{units}f}", "currency": currency}, "")
    assert money.decimal == exact
    assert money.decimal.scaleb(units) == minor


@given(value=st.text(max_size=12))
def test_any_text_is_an_amount_or_a_refusal(value: str) -> None:
    try:
        code = "" if parse_money(usd(value), "/amount").decimal >= 0 else "BELOW"
    except ContractError as refused:
        code = refused.code
    assert code in ("", "AMOUNT_FORMAT", "AMOUNT_RANGE", "AMOUNT_SCALE")


def test_money_does_not_change_and_reads_well() -> None:
    money = Money(amount="75000.00", currency="USD")
    assert str(money) == "75,000.00 USD"
    with pytest.raises(ValidationError):
        money.amount = "1"  # type: ignore[misc]


@pytest.mark.parametrize("amount", [5, 5.0, "5,0", "-5", "5 "])
def test_the_model_itself_takes_nothing_but_exact_text(amount: Any) -> None:
    with pytest.raises(ValidationError):
        Money(amount=amount, currency="USD")
