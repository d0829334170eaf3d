"""A submission is admitted once and in one form, or refused with the field named."""

from __future__ import annotations

from typing import Any

import pytest

from caseway.contracts.submission import (
    AmendmentAdmitted,
    CaseAdmitted,
    SubmissionRefused,
    WithdrawalAdmitted,
)
from caseway.kernel.identity import case_id_of
from caseway.testing import NAMESPACE, Given
from caseway_intake.state import Admission

from .clerk import FACTS, PORTAL, amend, given, published, submit, with_facts, withdraw


def admitted() -> Given[Admission]:
    return given().when(submit(), actor=PORTAL)


def refused(story: Given[Admission], code: str, where: str) -> SubmissionRefused:
    story.then_like(SubmissionRefused, code=code, where=where)
    (event,) = story.said_events
    assert isinstance(event, SubmissionRefused)
    return event


def test_a_submission_that_fits_is_admitted_with_its_defaults_and_pinned() -> None:
    story = admitted()
    story.then_like(
        CaseAdmitted,
        definition=published().machines["insurance-claim"].pin,
        source="portal",
        key="PC-1017",
        facts={**FACTS, "fraud_reported": False, "fraud_suspected": False},
    )


BAD_AMOUNTS: list[tuple[Any, str, str]] = [
    ({"amount": "-1", "currency": "USD"}, "AMOUNT_RANGE", "/amount"),
    ({"amount": "-0.01", "currency": "USD"}, "AMOUNT_RANGE", "/amount"),
    ({"amount": "NaN", "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": "Infinity", "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": "1e400", "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": "1e3", "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": "10.001", "currency": "USD"}, "AMOUNT_SCALE", "/amount"),
    ({"amount": "4999.999", "currency": "USD"}, "AMOUNT_SCALE", "/amount"),
    ({"amount": "75,000", "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": "12,50", "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": " 12.50", "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": "", "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": "9" * 16, "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": 12.5, "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": 12, "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": True, "currency": "USD"}, "AMOUNT_FORMAT", "/amount"),
    ({"amount": None, "currency": "USD"}, "FIELD_MISSING", "/amount"),
    ({"currency": "USD"}, "FIELD_MISSING", "/amount"),
    ({"amount": "10"}, "FIELD_MISSING", "/currency"),
    ({"amount": "10", "currency": None}, "FIELD_MISSING", "/currency"),
    ({"amount": "10", "currency": "euro"}, "CURRENCY", "/currency"),
    ({"amount": "10", "currency": "usd"}, "CURRENCY", "/currency"),
    ({"amount": "10", "currency": "XTS"}, "CURRENCY", "/currency"),
    ({"amount": "10.00", "currency": "EUR"}, "CURRENCY_UNMAPPED", "/currency"),
    ({"amount": "10", "currency": "USD", "rate": "2"}, "UNKNOWN_FIELD", "/rate"),
    ("75000.00", "AMOUNT_FORMAT", ""),
    (75000.0, "AMOUNT_FORMAT", ""),
    ([], "AMOUNT_FORMAT", ""),
]


@pytest.mark.parametrize(("amount", "code", "place"), BAD_AMOUNTS)
def test_an_amount_that_is_not_exact_money_is_refused_by_its_field(
    amount: Any, code: str, place: str
) -> None:
    story = given().when(with_facts(amount=amount), actor=PORTAL)
    event = refused(story, code, f"/facts/amount{place}")
    assert "75,000" not in event.message
    assert story.state is None


def test_an_amount_that_is_missing_or_null_is_refused_by_its_field() -> None:
    story = given().when(with_facts(amount=None), actor=PORTAL)
    refused(story, "FIELD_MISSING", "/facts/amount")
    null = submit(facts={**FACTS, "amount": None})
    refused(given().when(null, actor=PORTAL), "FIELD_MISSING", "/facts/amount")


@pytest.mark.parametrize(
    "amount", ["0", "0.00", "4999.99", "5000", "5000.00", "500000.01", "9" * 15 + ".99"]
)
def test_an_exact_amount_is_kept_as_it_was_written(amount: str) -> None:
    story = given().when(with_facts(amount={"amount": amount, "currency": "USD"}), actor=PORTAL)
    (event,) = story.said_events
    assert isinstance(event, CaseAdmitted)
    assert event.facts["amount"] == {"amount": amount, "currency": "USD"}


BAD_FACTS: list[tuple[dict[str, Any], str, str]] = [
    ({"ammount": "1"}, "UNKNOWN_FIELD", "/ammount"),
    ({"line": "motor"}, "FIELD_FORBIDDEN", "/line"),
    ({"settlement": {"amount": "1", "currency": "USD"}}, "FIELD_FORBIDDEN", "/settlement"),
    ({"fraud_suspected": False}, "FIELD_FORBIDDEN", "/fraud_suspected"),
    ({"fraud_reported": "no"}, "FIELD_TYPE", "/fraud_reported"),
    ({"incident_on": "2026-02-30"}, "TIME_INVALID", "/incident_on"),
    ({"payee": "Ann Smith"}, "PSEUDONYM", "/payee"),
    ({"incident_kind": "meteor"}, "VALUE_NOT_ALLOWED", "/incident_kind"),
    ({"incident_kind": "fire\u202e"}, "TEXT_CHARS", "/incident_kind"),
    ({"narrative": "plain"}, "SEALED_FORMAT", "/narrative"),
]


@pytest.mark.parametrize(("changes", "code", "where"), BAD_FACTS)
def test_a_fact_that_does_not_fit_is_refused_by_its_field(
    changes: dict[str, Any], code: str, where: str
) -> None:
    refused(given().when(with_facts(**changes), actor=PORTAL), code, f"/facts{where}")


def test_an_unknown_process_is_refused_with_those_that_are_known() -> None:
    story = given().when(submit(definition="claims"), actor=PORTAL)
    assert "insurance-claim" in refused(story, "DEFINITION_UNKNOWN", "/definition").message


def test_the_same_submission_again_says_nothing_whatever_its_key_order() -> None:
    turned = submit(facts=dict(reversed(FACTS.items())))
    admitted().when(submit(), actor=PORTAL).then_nothing().when(turned, actor=PORTAL).then_nothing()


@pytest.mark.parametrize(
    "other",
    [
        with_facts(amount={"amount": "75000.01", "currency": "USD"}),
        with_facts(amount={"amount": 75000.0, "currency": "USD"}),
        submit(definition="other"),
    ],
)
def test_other_content_under_the_same_id_is_a_conflict_and_changes_nothing(other: Any) -> None:
    before = admitted()
    story = before.when(other, actor=PORTAL)
    assert "c-1" in refused(story, "KEY_CONFLICT", "/key").message
    assert story.state == before.state
    story.when(submit(), actor=PORTAL).then_nothing()


def test_a_refused_submission_may_be_corrected_under_the_same_id() -> None:
    story = given().when(with_facts(amount=None), actor=PORTAL)
    story.when(submit(), actor=PORTAL).then_holds(CaseAdmitted, key="PC-1017")


def test_the_submitter_amends_and_withdraws() -> None:
    changes = {"payee": "person-aaaabbbbccccdddd"}
    story = admitted()
    story.when(amend(changes), actor=PORTAL).then(
        AmendmentAdmitted(changes=changes, reason="corrected")
    )
    story.when(withdraw(), actor=PORTAL).then(WithdrawalAdmitted(reason="settled"))


@pytest.mark.parametrize("fields", [{"source": "other"}, {"key": "PC-1018"}])
def test_a_strangers_case_reads_like_an_unknown_one(fields: dict[str, str]) -> None:
    wishes = (amend({"payee": "person-aaaabbbbccccdddd"}, **fields), withdraw(**fields))
    for wish in wishes:
        strange = refused(admitted().when(wish, actor=PORTAL), "CASE_UNKNOWN", "/key")
        unknown = refused(given().when(wish, actor=PORTAL), "CASE_UNKNOWN", "/key")
        assert strange == unknown


@pytest.mark.parametrize("fields", [{"source": "other"}, {"key": "PC-1018"}])
def test_a_taken_id_tells_a_stranger_nothing(fields: dict[str, str]) -> None:
    refused(admitted().when(submit(**fields), actor=PORTAL), "CASE_UNKNOWN", "/key")


def test_a_derived_id_belongs_to_its_source_and_key() -> None:
    own = case_id_of(NAMESPACE, "portal", "PC-1017")
    given().about(own).when(submit(), actor=PORTAL).then_holds(CaseAdmitted, key="PC-1017")
    squatter = given().about(own).when(submit(source="other"), actor=PORTAL)
    assert own not in refused(squatter, "ID_FORMAT", "key").message


@pytest.mark.parametrize(
    ("changes", "code", "where"),
    [
        ({}, "FIELD_MISSING", ""),
        ({"payee": None}, "FIELD_MISSING", "/payee"),
        ({"settlement": {"amount": "1", "currency": "USD"}}, "FIELD_FORBIDDEN", "/settlement"),
        ({"amount": {"amount": "-1", "currency": "USD"}}, "AMOUNT_RANGE", "/amount/amount"),
        ({"pay": "x"}, "UNKNOWN_FIELD", "/pay"),
    ],
)
def test_an_amendment_is_read_like_a_submission(
    changes: dict[str, Any], code: str, where: str
) -> None:
    refused(admitted().when(amend(changes), actor=PORTAL), code, f"/changes{where}")


def test_what_is_meant_for_another_namespace_does_not_count_here() -> None:
    for wish in (submit(namespace="prod"), withdraw(namespace="prod")):
        refused(given().when(wish, actor=PORTAL), "NAMESPACE_MISMATCH", "/")
    refused(admitted().when(withdraw(namespace="prod"), actor=PORTAL), "NAMESPACE_MISMATCH", "/")


@pytest.mark.parametrize("key", ["../x", "C-1", "a b", "-x", "x" * 65, "ä", "c_1", ""])
def test_a_case_id_has_one_form(key: str) -> None:
    refused(given().about(key).when(submit(), actor=PORTAL), "ID_FORMAT", "key")


@pytest.mark.parametrize("key", ["c-1", "0", "x" * 64])
def test_a_case_id_of_the_submitter_is_taken(key: str) -> None:
    given().about(key).when(submit(), actor=PORTAL).then_holds(CaseAdmitted, source="portal")
