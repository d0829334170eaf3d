"""Canonical JSON: one text per value, and nothing that prints in two ways."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseway.contracts.fields import Pin
from caseway.errors import ContractError
from caseway.kernel.digests import canonical_json, digest_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)


def test_the_text_is_pinned_to_the_byte() -> None:
    value = {"b": [1, "ä/\n\x1f\x7f", {}], "a": None, "A": True}
    assert canonical_json(value) == ('{"A":true,"a":null,"b":[1,"ä/\\n\\u001f\x7f",{}]}'.encode())


def test_keys_are_sorted_by_utf_16_unit_as_rfc_8785_asks() -> None:
    value = {"\U0001f600": 1, "\ufb33": 2, "€": 3, "\r": 4, "1": 5}
    assert list(json.loads(canonical_json(value))) == ["\r", "1", "€", "\U0001f600", "\ufb33"]


@given(VALUES)
def test_the_text_reads_back_as_the_value(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(TEXTS, VALUES, min_size=2, max_size=5))
def test_the_order_of_keys_does_not_move_a_digest(value: dict[str, Any]) -> None:
    assert digest_of(dict(reversed(value.items()))) == digest_of(value)


@given(VALUES, VALUES)
def test_different_values_have_different_texts(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (canonical_json(one) == canonical_json(other)) is same


def test_a_model_has_the_digest_of_the_json_that_travels() -> None:
    pin = Pin(name="claims", version=1, digest="0" * 64)
    travelled = json.loads(json.dumps(pin.model_dump(mode="json")))
    assert digest_of(pin) == digest_of(travelled)
    assert digest_of(pin) == hashlib.sha256(canonical_json(travelled)).hexdigest()


@pytest.mark.parametrize(
    "leaf", [1.5, 1.0, float("nan"), 2**53, -(2**53), "\ud800", Decimal("1"), b"x", {1: 2}, {3}]
)
def test_what_has_no_canonical_form_is_refused_at_its_place(leaf: Any) -> None:
    with pytest.raises(ContractError) as refused:
        digest_of({"spec": [{"amount": leaf}]})
    assert (refused.value.code, refused.value.where) == ("CANONICAL", "/spec/0/amount")


def test_the_greatest_exact_integer_is_taken() -> None:
    assert canonical_json([2**53 - 1, -(2**53) + 1]) == b"[9007199254740991,-9007199254740991]"


def test_a_key_with_half_a_character_is_refused() -> None:
    with pytest.raises(ContractError, match="surrogate"):
        canonical_json({"\ud800": 1})
