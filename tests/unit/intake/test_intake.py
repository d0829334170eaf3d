"""What intake admits, refuses and lets operators change."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from caseway.contracts import control
from caseway.contracts.envelope import Strength
from caseway.contracts.submission import (
    AmendCase,
    AmendmentAdmitted,
    CaseAdmitted,
    SubmissionRefused,
    SubmitCase,
    WithdrawalAdmitted,
    WithdrawCase,
)
from caseway.kernel.processor import Actor
from caseway.testing import NAMESPACE, Given, registry_of
from caseway_control.documents import load_document
from caseway_intake.service import CARD

DATA = Path(__file__).parents[3] / "services/caseway_control/data/insurance"
DEFINITION, MATRIX, CALENDAR = (
    load_document((DATA / f"{name}.yaml").read_text("utf-8"), name)
    for name in ("definition", "matrix", "calendar")
)
ROLES = (
    "senior-adjuster",
    "claims-manager",
    "vp-claims",
    "chief-claims-officer",
    "ceo",
    "legal",
    "special-investigations-unit",
)
PERSONS = {"olga": ("operator",), "all": ROLES}
REGISTRY = registry_of(CALENDAR, MATRIX, DEFINITION, persons=PERSONS)
PORTAL = Actor("submitter:/portal", Strength.UNVERIFIED)
ROOTS = Actor("root:1", Strength.PERSON_SIGNED, ("root:1", "root:2"))
LATER = datetime(2030, 1, 1, tzinfo=UTC)


def submission(amount: Any = "75000.00", **changes: Any) -> SubmitCase:
    """A claim; `changes` are other fields of the submission."""
    facts = {
        "claimant": "claimant-0123456789abcdef",
        "payee": "payee-0123456789abcdef",
        "amount": {"amount": amount, "currency": "USD"},
        "incident_kind": "fire",
    }
    fields: dict[str, Any] = {
        "namespace": NAMESPACE,
        "definition": "insurance-claim",
        "source": "portal",
        "key": "PC-1",
        "facts": facts,
    }
    return SubmitCase(**(fields | changes))


def empty(registry: Any = REGISTRY) -> Given[Any]:
    """Nothing was submitted yet."""
    return Given(CARD, registry).about("c-1")


def test_a_good_claim_is_admitted_once() -> None:
    story = empty().when(submission(), actor=PORTAL)
    story.then_like(CaseAdmitted, source="portal", key="PC-1")
    story.when(submission(), actor=PORTAL).then_nothing()
    other = story.when(submission("1.00"), actor=PORTAL)
    other.then_like(SubmissionRefused, code="KEY_CONFLICT", where="/key")


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("-1", "AMOUNT_RANGE"),
        ("NaN", "AMOUNT_FORMAT"),
        ("1e400", "AMOUNT_FORMAT"),
        ("10.001", "AMOUNT_SCALE"),
        ("75,000", "AMOUNT_FORMAT"),
        (None, "FIELD_MISSING"),
        (12.5, "AMOUNT_FORMAT"),
    ],
)
def test_a_bad_amount_is_refused_with_its_place_and_leaves_no_trace(amount: Any, code: str) -> None:
    story = empty().when(submission(amount), actor=PORTAL)
    story.then_like(SubmissionRefused, code=code, where="/facts/amount/amount")
    assert story.state is None
    story.when(submission(), actor=PORTAL).then_like(CaseAdmitted)


def test_what_is_meant_for_elsewhere_or_for_nothing_known_is_refused() -> None:
    wrong = empty().when(submission(namespace="prod"), actor=PORTAL)
    wrong.then_like(SubmissionRefused, code="NAMESPACE_MISMATCH")
    unknown = empty().when(submission(definition="loan"), actor=PORTAL)
    unknown.then_like(SubmissionRefused, code="DEFINITION_UNKNOWN")
    spaced = Given(CARD, REGISTRY).about("../c 1").when(submission(), actor=PORTAL)
    spaced.then_like(SubmissionRefused, code="ID_FORMAT")


def test_only_who_submitted_a_case_may_amend_or_withdraw_it() -> None:
    story = empty().when(submission(), actor=PORTAL)
    amend = AmendCase(
        namespace=NAMESPACE,
        source="portal",
        key="PC-1",
        changes={"incident_kind": "water"},
        reason="typing error",
    )
    story.when(amend, actor=PORTAL).then_like(AmendmentAdmitted)
    stranger = amend.model_copy(update={"source": "other"})
    story.when(stranger, actor=PORTAL).then_like(SubmissionRefused, code="CASE_UNKNOWN")
    empty().when(amend, actor=PORTAL).then_like(SubmissionRefused, code="CASE_UNKNOWN")
    bad = amend.model_copy(update={"changes": {"incident_kind": "comet"}})
    story.when(bad, actor=PORTAL).then_like(SubmissionRefused, code="VALUE_NOT_ALLOWED")
    withdraw = WithdrawCase(namespace=NAMESPACE, source="portal", key="PC-1", reason="paid")
    story.when(withdraw, actor=PORTAL).then_like(WithdrawalAdmitted)


def publish(document: Any = MATRIX, replaces: int = 0) -> control.PublishMatrix:
    """A wish to put a matrix in force."""
    return control.PublishMatrix(
        namespace=NAMESPACE, expires_at=LATER, replaces=replaces, document=document
    )


def test_a_matrix_needs_two_signatures_and_a_known_predecessor() -> None:
    registry = registry_of(CALENDAR, persons=PERSONS)
    story = Given(CARD, registry).about("matrix/claim-settlement")
    alone = Actor("root:1", Strength.PERSON_SIGNED, ("root:1",))
    agent = Actor("agent:a", Strength.AGENT_SIGNED, ("agent:a", "root:1"))
    for actor in (alone, agent):
        story.when(publish(), actor=actor).then_like(
            control.ControlRefused, code="POLICY_SIGNATURES"
        )
    good = story.when(publish(), actor=ROOTS).then_like(control.ControlAccepted)
    assert isinstance(good.said.registry[0], control.MatrixPublished)
    story.when(publish(replaces=3), actor=ROOTS).then_like(
        control.ControlRefused, code="VERSION_CONFLICT"
    )
    story.under(REGISTRY).when(publish(), actor=ROOTS).then_nothing()
    story.about("matrix/other").when(publish(), actor=ROOTS).then_like(
        control.ControlRefused, code="KEY_FORMAT"
    )


def test_a_document_that_names_what_is_not_in_force_is_refused() -> None:
    story = Given(CARD, registry_of(persons=PERSONS)).about("matrix/claim-settlement")
    story.when(publish(), actor=ROOTS).then_like(control.ControlRefused, code="CALENDAR_UNKNOWN")
    few = registry_of(CALENDAR, persons={"olga": ("operator",)})
    story.under(few).when(publish(), actor=ROOTS).then_like(
        control.ControlRefused, code="ROLE_EMPTY"
    )
    wish = control.PublishDefinition(
        namespace=NAMESPACE, expires_at=LATER, replaces=0, document=DEFINITION
    )
    empty_registry = registry_of(persons=PERSONS)
    Given(CARD, empty_registry).about("definition/insurance-claim").when(
        wish, actor=ROOTS
    ).then_like(control.ControlRefused, code="MATRIX_UNKNOWN")


def test_quarantine_halt_and_resume_become_facts_once() -> None:
    halt = control.HaltNamespace(namespace=NAMESPACE, expires_at=LATER, reason="drill")
    story = Given(CARD, REGISTRY).about(f"namespace/{NAMESPACE}").when(halt, actor=ROOTS)
    assert isinstance(story.said.registry[0], control.NamespaceHalted)
    late = halt.model_copy(update={"expires_at": datetime(2020, 1, 1, tzinfo=UTC)})
    story.when(late, actor=ROOTS).then_like(control.ControlRefused, code="EXPIRED")
    gone = control.QuarantineAgent(
        namespace=NAMESPACE, expires_at=LATER, agent_id="ghost", reason="lies"
    )
    Given(CARD, REGISTRY).about("agent/ghost").when(gone, actor=ROOTS).then_like(
        control.ControlRefused, code="AGENT_UNKNOWN"
    )
