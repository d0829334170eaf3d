"""Durations: what counts as a promise, and that elapsed and business time never mix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from caseway.contracts.durations import (
    BUSINESS_DAYS_MAX,
    ELAPSED_MAX_S,
    BusinessDays,
    Duration,
    Elapsed,
    Sla,
    parse_duration,
    parse_sla,
)
from caseway.contracts.fields import Contract
from caseway.errors import ContractError


class Promise(Contract):
    """A model with both kinds of field."""

    sla: Sla
    lease: Duration


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("30s", Elapsed(30)),
        ("5m", Elapsed(300)),
        ("24h", Elapsed(86_400)),
        ("instant", Elapsed(0)),
        ("1 business day", BusinessDays(1)),
        ("5 business days", BusinessDays(5)),
    ],
)
def test_a_promise_is_read_from_its_text(text: str, parsed: Elapsed | BusinessDays) -> None:
    assert parse_sla(text) == parsed
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "2 bananas", "0", "0h", "0s", "00m", "-5m", "-1 business days", "0 business days", "", " ",
        "24", "24 h", "1.5h", "1h30m", "024h", "1d", "1w", "5 days", "5  business days", "24H",
        "٣h", "24h\n", "Instant", "99999999999h", "87841h", "2611 business days", 24, 24.0, None,
        True, ["24h"],
    ],
)  # fmt: skip
def test_what_is_no_promise_is_refused_with_its_place(text: object) -> None:
    with pytest.raises(ContractError, match=r"^/spec/sla: ") as refused:
        parse_sla(text, "/spec/sla")
    assert (refused.value.code, refused.value.where) == ("DURATION", "/spec/sla")
    assert "bananas" not in str(refused.value)


def test_zero_and_negative_are_told_apart_from_nonsense() -> None:
    for text in ("0h", "-5m", "0 business days"):
        with pytest.raises(ContractError, match="zero or negative"):
            parse_sla(text)
    with pytest.raises(ContractError, match="is not a duration"):
        parse_sla("2 bananas")


@pytest.mark.parametrize("text", ["instant", "5 business days", "0s", "later"])
def test_a_wait_is_elapsed_time_above_zero(text: str) -> None:
    with pytest.raises(ContractError) as refused:
        parse_duration(text)
    assert refused.value.code == "DURATION"
    assert parse_duration("10s") == Elapsed(10)


def test_elapsed_and_business_time_are_different_types() -> None:
    promises: list[object] = [Elapsed(1), BusinessDays(1)]
    assert promises[0] != promises[1]
    assert not hasattr(BusinessDays(1), "timedelta")


@given(st.integers(1, ELAPSED_MAX_S).map(Elapsed) | st.integers(1, BUSINESS_DAYS_MAX).map(
    BusinessDays
))  # fmt: skip
def test_every_promise_survives_its_own_text(promise: Elapsed | BusinessDays) -> None:
    assert parse_sla(str(promise)) == promise


def test_the_bounds_hold_for_values_made_in_code() -> None:
    for make in (
        lambda: Elapsed(-1),
        lambda: Elapsed(ELAPSED_MAX_S + 1),
        lambda: BusinessDays(0),
        lambda: BusinessDays(BUSINESS_DAYS_MAX + 1),
    ):
        with pytest.raises(ContractError) as refused:
            make()
        assert refused.value.code == "DURATION"


def test_a_field_is_text_in_json_and_a_value_in_python() -> None:
    promise = Promise.model_validate({"sla": "5 business days", "lease": "10m"})
    assert promise.sla == BusinessDays(5)
    assert promise.lease == Elapsed(600)
    assert promise.model_dump(mode="json") == {"sla": "5 business days", "lease": "10m"}
    assert Promise.model_validate_json(promise.model_dump_json()) == promise
    assert Promise(sla=Elapsed(0), lease=Elapsed(600)).sla == Elapsed(0)


@pytest.mark.parametrize("field", [{"sla": "2 bananas"}, {"lease": "instant"}, {"lease": 600}])
def test_a_field_refuses_with_the_code_of_the_parser(field: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        Promise.model_validate({"sla": "24h", "lease": "10m"} | field)
    assert [error["type"] for error in refused.value.errors()] == ["DURATION"]


def test_a_field_made_in_code_meets_the_same_rules() -> None:
    with pytest.raises(ValidationError):
        Promise(sla=Elapsed(60), lease=Elapsed(0))
    with pytest.raises(ValidationError):
        Promise.model_validate({"sla": "24h", "lease": BusinessDays(1)})


def test_the_published_schema_accepts_and_refuses_what_the_parser_does() -> None:
    properties = Promise.model_json_schema()["properties"]
    assert properties["sla"] == {
        "pattern": "^(instant|[1-9][0-9]{0,8}([hms]| business days?))$",
        "type": "string",
    } | ({"title": "Sla"} if "title" in properties["sla"] else {})
    assert properties["lease"]["pattern"] == "^([1-9][0-9]{0,8}[hms])$"
