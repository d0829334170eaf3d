"""What a submitter may send and a task may write, and what each wrong value is told."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from caseway.contracts.definition import ProcessDefinition
from caseway.kernel.digests import canonical_json
from caseway.kernel.facts import (
    FactsInvalid,
    admit_changes,
    admit_facts,
    admit_outputs,
    amend_facts,
)
from caseway.kernel.machine import Machine, compile_definition

INSURANCE = Path(__file__).parents[3] / "services/caseway_control/data/insurance/definition.yaml"
REMOVED = object()
REFERENCE = {"uri": "vault://a", "sha256": "0" * 64, "size_bytes": 3, "media_type": "image/png"}
SEALED = {"key_id": "case-1", "nonce": "0" * 24, "ciphertext": "A" * 24}
CLAIM: dict[str, Any] = {
    "claimant": "person-9f86d081884c7d65",
    "payee": "person-60303ae22b998861",
    "amount": {"amount": "14000.00", "currency": "USD"},
    "incident_kind": "collision",
}


@cache
def machine(facts: str = "{}") -> Machine:
    """The insurance claim, some of its facts replaced; new ones are shown to triage."""
    raw: Any = json.loads(json.dumps(YAML(typ="safe", pure=True).load(INSURANCE)))
    changed = json.loads(facts)
    raw["spec"]["facts"].update(changed)
    task = raw["spec"]["phases"]["intake"]["tasks"]["triage"]
    task["input"] += [name for name in changed if name not in task["input"]]
    return compile_definition(ProcessDefinition.model_validate(raw))


def claim(**changes: Any) -> dict[str, Any]:
    return {name: v for name, v in {**CLAIM, **changes}.items() if v is not REMOVED}


def refusal(submitted: Any, built: Machine | None = None) -> FactsInvalid:
    with pytest.raises(FactsInvalid) as refused:
        admit_facts(built or machine(), submitted)
    return refused.value


def with_fact(**facts: dict[str, Any]) -> Machine:
    return machine(json.dumps(facts))


def test_a_claim_is_admitted_with_its_defaults() -> None:
    assert admit_facts(machine(), CLAIM) == {
        **CLAIM,
        "fraud_reported": False,
        "fraud_suspected": False,
    }


def test_without_a_default_nothing_is_filled_in() -> None:
    built = with_fact(note={"type": "text"}, level={"type": "integer", "default": 2})
    admitted = admit_facts(built, CLAIM)
    assert "note" not in admitted
    assert admitted["level"] == 2
    assert admit_facts(built, claim(level=5))["level"] == 5


def test_a_fact_that_is_not_required_may_be_absent_or_null() -> None:
    assert "incident_on" not in admit_facts(machine(), claim(incident_on=None))
    assert refusal(claim(payee=REMOVED)).code == "FIELD_MISSING"
    optional = with_fact(claimant={"type": "pseudonym"})
    assert "claimant" not in admit_facts(optional, claim(claimant=REMOVED))


@pytest.mark.parametrize(
    ("amount", "code", "where"),
    [
        ({"amount": "-1", "currency": "USD"}, "AMOUNT_RANGE", "/amount/amount"),
        ({"amount": -1, "currency": "USD"}, "AMOUNT_FORMAT", "/amount/amount"),
        ({"amount": "NaN", "currency": "USD"}, "AMOUNT_FORMAT", "/amount/amount"),
        ({"amount": "1e400", "currency": "USD"}, "AMOUNT_FORMAT", "/amount/amount"),
        ({"amount": "10.001", "currency": "USD"}, "AMOUNT_SCALE", "/amount/amount"),
        ({"amount": "75,000", "currency": "USD"}, "AMOUNT_FORMAT", "/amount/amount"),
        ({"amount": "12,50", "currency": "USD"}, "AMOUNT_FORMAT", "/amount/amount"),
        ({"amount": 12.5, "currency": "USD"}, "AMOUNT_FORMAT", "/amount/amount"),
        ({"amount": None, "currency": "USD"}, "FIELD_MISSING", "/amount/amount"),
        ({"amount": "12.50"}, "FIELD_MISSING", "/amount/currency"),
        ({"currency": "USD"}, "FIELD_MISSING", "/amount/amount"),
        ({"amount": "12.50", "currency": "ZZZ"}, "CURRENCY", "/amount/currency"),
        ({"amount": "12.50", "currency": "euro"}, "CURRENCY", "/amount/currency"),
        ({"amount": "12.50", "currency": "EUR"}, "CURRENCY_UNMAPPED", "/amount/currency"),
        ({"amount": "1", "currency": "USD", "note": 1}, "UNKNOWN_FIELD", "/amount/note"),
        ("12.50", "AMOUNT_FORMAT", "/amount"),
        (12.5, "AMOUNT_FORMAT", "/amount"),
        (None, "FIELD_MISSING", "/amount"),
        (REMOVED, "FIELD_MISSING", "/amount"),
    ],
)
def test_an_amount_at_the_boundary_has_its_code(amount: Any, code: str, where: str) -> None:
    error = refusal(claim(amount=amount))
    assert (error.code, error.where) == (code, where)
    assert len(error.errors) == 1


def test_a_currency_is_taken_when_the_fact_lists_it() -> None:
    built = with_fact(amount={"type": "money", "currencies": ["EUR", "JPY"], "required": True})
    euros = claim(amount={"amount": "10.5", "currency": "EUR"})
    assert admit_facts(built, euros)["amount"] == {"amount": "10.5", "currency": "EUR"}
    yen = claim(amount={"amount": "10.5", "currency": "JPY"})
    assert refusal(yen, built).code == "AMOUNT_SCALE"


def test_an_unknown_field_is_told_the_nearest_one_first() -> None:
    error = refusal(claim(amount=REMOVED, ammount={"amount": "1", "currency": "USD"}))
    assert [(e.code, e.where) for e in error.errors] == [
        ("UNKNOWN_FIELD", "/ammount"),
        ("FIELD_MISSING", "/amount"),
    ]
    assert "did you mean 'amount'?" in str(error)


def test_a_field_like_no_other_is_told_what_there_is() -> None:
    assert "expected claimant, payee" in str(refusal(claim(zzz=1)))


def test_a_name_that_may_hold_something_else_is_not_repeated() -> None:
    for name in ("jo@example.com", "a" * 41, "\ud800", "x\u202ey", ""):
        error = refusal(claim(**{name: 1}))
        assert error.code == "UNKNOWN_FIELD"
        assert not name or name not in str(error)
    assert refusal(claim(amount={"jo@example.com": 1})).where == "/amount"
    assert refusal({**CLAIM, 5: 1}).code == "UNKNOWN_FIELD"


def test_a_fact_of_a_task_is_not_for_a_submitter() -> None:
    error = refusal(claim(settlement={"amount": "1", "currency": "USD"}))
    assert (error.code, error.where) == ("FIELD_FORBIDDEN", "/settlement")
    built = with_fact(note={"type": "text", "from": "submission"})
    assert admit_facts(built, claim(note="wet road"))["note"] == "wet road"


def test_all_errors_are_told_at_once_the_first_as_the_message() -> None:
    error = refusal({"payee": "Jo", "incident_on": "2026-02-30", "colour": "red"})
    assert [(e.code, e.where) for e in error.errors] == [
        ("UNKNOWN_FIELD", "/colour"),
        ("PSEUDONYM", "/payee"),
        ("TIME_INVALID", "/incident_on"),
        ("FIELD_MISSING", "/claimant"),
        ("FIELD_MISSING", "/amount"),
        ("FIELD_MISSING", "/incident_kind"),
    ]
    assert str(error) == str(error.errors[0])
    assert error.code == "UNKNOWN_FIELD"


@pytest.mark.parametrize("value", ["arson", "", "Collision", "collision "])
def test_a_word_that_is_not_listed_is_not_allowed(value: str) -> None:
    error = refusal(claim(incident_kind=value))
    assert error.code in {"VALUE_NOT_ALLOWED", "TEXT_LENGTH"}
    open_text = with_fact(incident_kind={"type": "text", "required": True})
    if value.strip():
        assert admit_facts(open_text, claim(incident_kind=value))["incident_kind"] == value


def test_a_listed_word_is_told_with_its_list() -> None:
    error = refusal(claim(incident_kind="arson"))
    assert error.code == "VALUE_NOT_ALLOWED"
    assert "collision, theft" in str(error)
    assert "arson" not in str(error)


@pytest.mark.parametrize(
    "day",
    [
        *("2026-02-30", "2026-2-3", "20260203", "2026-W05-1", "2026-02-03T10:00:00Z", 20260203),
        *("0000-01-01", "\u0662\u0660\u0662\u0666-01-01", "2026-02-03\n", True),
    ],
)
def test_a_day_that_is_not_in_the_calendar_is_refused(day: Any) -> None:
    error = refusal(claim(incident_on=day))
    assert (error.code, error.where) == ("TIME_INVALID", "/incident_on")


def test_a_day_of_the_calendar_is_admitted() -> None:
    assert admit_facts(machine(), claim(incident_on="2024-02-29"))["incident_on"] == "2024-02-29"


@pytest.mark.parametrize(
    ("fact", "value", "code"),
    [
        ("fraud_reported", "no", "FIELD_TYPE"),
        ("fraud_reported", 1, "FIELD_TYPE"),
        ("level", "5", "FIELD_TYPE"),
        ("level", 5.0, "FIELD_TYPE"),
        ("level", True, "FIELD_TYPE"),
        ("level", 2**53, "VALUE_RANGE"),
        ("level", -(2**53), "VALUE_RANGE"),
        ("note", 5, "FIELD_TYPE"),
        ("note", ["a"], "FIELD_TYPE"),
        ("note", "   ", "TEXT_LENGTH"),
        ("note", "x" * 2001, "TEXT_LENGTH"),
        ("note", "a\x00b", "TEXT_CHARS"),
        ("note", "a\ud800b", "TEXT_CHARS"),
        ("note", "a\u202eb", "TEXT_CHARS"),
        ("note", "a\u2066b", "TEXT_CHARS"),
        ("note", "a\u200fb", "TEXT_CHARS"),
        ("note", "a\x1b[31mb", "TEXT_CHARS"),
        ("note", "card 4111 1111 1111 1111", "PII_MISPLACED"),
        ("note", "DE89370400440532013000", "PII_MISPLACED"),
        ("note", "mail jo.doe@example.com", "PII_MISPLACED"),
        ("claimant", "Jo Doe", "PSEUDONYM"),
        ("claimant", "person-4111111111111111", "PSEUDONYM"),
        ("claimant", "person-9F86D081884C7D65", "PSEUDONYM"),
        ("claimant", 5, "PSEUDONYM"),
        ("evidence", "vault://a", "FIELD_TYPE"),
        ("evidence", [REFERENCE] * 101, "TOO_MANY"),
        ("narrative", "I hit a tree", "SEALED_FORMAT"),
        ("narrative", {**SEALED, "nonce": "short"}, "SEALED_FORMAT"),
    ],
)
def test_a_value_that_does_not_fit_its_field_has_its_code(fact: str, value: Any, code: str) -> None:
    built = with_fact(note={"type": "text"}, level={"type": "integer"})
    error = refusal(claim(**{fact: value}), built)
    assert error.code == code
    assert error.where.startswith(f"/{fact}")
    assert str(error).startswith(f"{error.where}: ")


@pytest.mark.parametrize(
    ("field", "value", "code", "where"),
    [
        ("uri", "", "REFERENCE_FORMAT", "/evidence/1/uri"),
        ("uri", "a\u202eb", "TEXT_CHARS", "/evidence/1/uri"),
        ("uri", "  ", "TEXT_LENGTH", "/evidence/1/uri"),
        ("sha256", "0" * 63, "REFERENCE_FORMAT", "/evidence/1/sha256"),
        ("size_bytes", "3", "REFERENCE_FORMAT", "/evidence/1/size_bytes"),
        ("size_bytes", 2**53, "VALUE_RANGE", "/evidence/1/size_bytes"),
        ("media_type", "picture", "REFERENCE_FORMAT", "/evidence/1/media_type"),
        ("colour", "red", "REFERENCE_FORMAT", "/evidence/1/colour"),
    ],
)
def test_a_reference_is_checked_field_by_field(
    field: str, value: Any, code: str, where: str
) -> None:
    error = refusal(claim(evidence=[REFERENCE, {**REFERENCE, field: value}]))
    assert (error.code, error.where) == (code, where)


def test_references_and_a_sealed_text_are_admitted_as_they_are() -> None:
    admitted = admit_facts(machine(), claim(evidence=[REFERENCE] * 100, narrative=SEALED))
    assert admitted["evidence"] == [REFERENCE] * 100
    assert admitted["narrative"] == SEALED


def test_text_keeps_its_lines_and_comes_in_one_unicode_form() -> None:
    built = with_fact(note={"type": "text"})
    admitted = admit_facts(built, claim(note="cafe\u0301\n\twet"))
    assert admitted["note"] == "caf\u00e9\n\twet"
    assert admit_facts(built, claim(note="x" * 2000))["note"] == "x" * 2000


def test_a_listed_word_may_look_like_personal_data() -> None:
    fact = {"type": "text", "one_of": ["desk@example.com"]}
    admitted = admit_facts(with_fact(note=fact), claim(note="desk@example.com"))
    assert admitted["note"] == "desk@example.com"


def test_what_is_nested_too_deep_or_too_much_is_refused_before_it_is_read() -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = {"a": deep}
    assert refusal(claim(amount=deep)).code == "TOO_DEEP"
    assert refusal(claim(amount=deep)).where == "/amount"
    many = {f"k{n}": 1 for n in range(2001)}
    assert refusal(claim(amount=many)).code == "TOO_MANY"
    assert refusal(many).code == "TOO_MANY"
    endless: Any = []
    for _ in range(100_000):
        endless = [endless]
    assert refusal(claim(evidence=endless)).code == "TOO_DEEP"


@pytest.mark.parametrize("submitted", [None, [], "claim", 5, [["amount", 1]]])
def test_what_is_no_object_is_refused(submitted: Any) -> None:
    error = refusal(submitted)
    assert error.code == "FIELD_TYPE"
    assert len(error.errors) == 1


def test_no_error_ever_holds_the_value() -> None:
    secret = "canary-7f3a"
    built = with_fact(note={"type": "text", "one_of": ["a"]}, level={"type": "integer"})
    for name in CLAIM | {"incident_on": 1, "note": 1, "level": 1, "evidence": 1, "narrative": 1}:
        for value in (secret, [secret], {"amount": secret}, [{**REFERENCE, "sha256": secret}]):
            for error in refusal(claim(**{name: value}), built).errors:
                assert secret not in str(error)
                assert secret not in error.where


def test_an_amendment_changes_facts_and_keeps_the_rest() -> None:
    current = admit_facts(machine(), claim(incident_on="2026-01-02"))
    changed = amend_facts(machine(), current, {"incident_kind": "fire"})
    assert changed == {**current, "incident_kind": "fire"}
    assert current["incident_kind"] == "collision"
    assert admit_changes(machine(), {"incident_kind": "fire"}) == {"incident_kind": "fire"}


@pytest.mark.parametrize(
    ("changes", "code", "where"),
    [
        ({}, "FIELD_MISSING", ""),
        ({"incident_on": None}, "FIELD_MISSING", "/incident_on"),
        ({"amount": None}, "FIELD_MISSING", "/amount"),
        ({"severity": "minor"}, "FIELD_FORBIDDEN", "/severity"),
        ({"incident_kin": "fire"}, "UNKNOWN_FIELD", "/incident_kin"),
        ({"incident_kind": "arson"}, "VALUE_NOT_ALLOWED", "/incident_kind"),
        (None, "FIELD_TYPE", ""),
    ],
)
def test_an_amendment_that_does_not_fit_is_refused(changes: Any, code: str, where: str) -> None:
    with pytest.raises(FactsInvalid) as refused:
        amend_facts(machine(), admit_facts(machine(), CLAIM), changes)
    assert (refused.value.code, refused.value.where) == (code, where)
    assert len(refused.value.errors) == 1


def test_a_result_has_all_outputs_of_its_task_and_nothing_else() -> None:
    output = {"severity": "minor", "evidence_complete": False}
    assert admit_outputs(machine(), "assess", output) == output


@pytest.mark.parametrize(
    ("output", "code", "where"),
    [
        ({"severity": "minor"}, "FIELD_MISSING", "/evidence_complete"),
        ({"severity": None, "evidence_complete": True}, "FIELD_MISSING", "/severity"),
        ({"severity": "small", "evidence_complete": True}, "VALUE_NOT_ALLOWED", "/severity"),
        ({"severity": "minor", "evidence_complete": 1}, "FIELD_TYPE", "/evidence_complete"),
        (
            {"severity": "minor", "evidence_complete": True, "line": "home"},
            "FIELD_FORBIDDEN",
            "/line",
        ),
        ({"severity": "minor", "evidence_complete": True, "lin": 1}, "UNKNOWN_FIELD", "/lin"),
        ("minor", "FIELD_TYPE", ""),
    ],
)
def test_a_result_that_does_not_fit_is_told_its_path(output: Any, code: str, where: str) -> None:
    with pytest.raises(FactsInvalid) as refused:
        admit_outputs(machine(), "assess", output)
    assert refused.value.code == "RESULT_SCHEMA"
    assert [(e.code, e.where) for e in refused.value.errors] == [(code, where)]


def test_personal_data_in_the_text_of_a_result_is_refused() -> None:
    with pytest.raises(FactsInvalid) as refused:
        admit_outputs(machine(), "pay", {"payment_reference": "to GB82 WEST 1234 5698 7654 32"})
    assert refused.value.errors[0].code == "PII_MISPLACED"


def test_people_add_documents_to_the_evidence_of_a_submitter() -> None:
    assert admit_outputs(machine(), "request", {"evidence": [REFERENCE]}) == {
        "evidence": [REFERENCE]
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
_NAMES = st.sampled_from([*CLAIM, "incident_on", "fraud_reported", "evidence", "narrative"])


@given(st.dictionaries(_NAMES | st.text(max_size=8), _JSON, max_size=5))
def test_whatever_is_sent_is_admitted_with_a_digest_or_refused(sent: dict[str, Any]) -> None:
    try:
        admitted = admit_facts(machine(), {**CLAIM, **sent})
    except FactsInvalid:
        return
    assert canonical_json(admitted)
    assert admit_facts(machine(), {k: v for k, v in admitted.items() if k != "fraud_suspected"})


def test_a_hash_that_happens_to_hold_a_run_of_digits_is_a_pseudonym() -> None:
    """Found by 600 claims on a real broker: one in a few thousand honest hashes does."""
    claimant = "person-a4111111111111111b0c9d8e7"
    assert admit_facts(machine(), claim(claimant=claimant))["claimant"] == claimant
