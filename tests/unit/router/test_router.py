"""What the router makes of a claim's records, and of those that must not count."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from caseway.casefile.state import TaskStatus
from caseway.contracts import case
from caseway.contracts.control import AgentQuarantined
from caseway.contracts.deadline import TimerFired, TimerKind
from caseway.contracts.decision import Choice
from caseway.contracts.envelope import Strength
from caseway.contracts.report import ClaimTask, EffectOutcome, FailTask, Purpose
from caseway.contracts.submission import AmendmentAdmitted, WithdrawalAdmitted
from caseway.errors import Unattributable
from caseway.kernel.processor import Actor
from caseway.testing import NAMESPACE, Given
from tests.unit.router.claims import (
    AGENTS,
    LATER,
    REGISTRY,
    at_gate,
    begin,
    card,
    decision,
    granted,
    holder,
    opened,
    outcome,
    paying,
    permitted,
    result,
    worked,
)


def fired(story: Given[Any], kind: TimerKind, about: str) -> Given[Any]:
    """A timer of the case comes due."""
    now = datetime(2026, 3, 3, tzinfo=UTC)
    data = TimerFired(
        timer_id="lease/x",
        kind=kind,
        about=about,
        due_at=now,
        detected_at=now,
        requester="cases",
    )
    return story.when(data, actor="system:sla_watchdog")


def test_an_admitted_claim_is_granted_to_the_agent_of_the_skill() -> None:
    story = opened()
    assert granted(story).holder == "agent:triage-1"
    assert granted(story).token == 1
    assert granted(story).ranking[0].why == "skill claim-triage, not tried yet"
    (offer,) = story.said.offers
    assert (offer.pool, offer.skill, offer.agent) == ("claims", "claim-triage", "triage-1")
    assert "payee" not in offer.data.facts  # type: ignore[attr-defined]
    story.when(opened_again()).then_nothing()


def opened_again() -> Any:
    from tests.unit.router.claims import admitted  # noqa: PLC0415

    return admitted()


def test_the_claim_goes_from_result_to_gate_to_payment_to_its_end() -> None:
    story = at_gate()
    story.then_holds(case.GateRequested, matrix="claim-settlement", revision=1)
    story = paying().then_holds(case.GateConsumed, choice=Choice.APPROVE)
    story = permitted().then_holds(case.EffectPermitted, payee="payee-0123456789abcdef")
    story = story.when(outcome(story, EffectOutcome.DONE), actor="agent:pay-1")
    story.then_holds(case.CaseClosed, outcome="paid")
    assert story.state is not None
    assert story.state.is_closed
    assert story.state.facts == {}


@pytest.mark.parametrize(
    ("changes", "actor", "code"),
    [
        ({"token": 9}, "", "LEASE_STALE"),
        ({"task_id": "other-1"}, "", "TASK_CANCELLED"),
        ({"inputs_digest": "9" * 64}, "", "INPUTS_STALE"),
        ({"namespace": "elsewhere"}, "", "NAMESPACE_MISMATCH"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "", "EXPIRED"),
        ({}, "agent:assess-1", "HOLDER"),
    ],
)
def test_a_report_that_must_not_count_is_refused_and_changes_nothing(
    changes: dict[str, Any], actor: str, code: str
) -> None:
    story = opened()
    after = story.when(result(story, **changes), actor=actor or holder(story))
    after.then_like(case.ReportRefused, code=code)
    assert after.state == story.state


def test_an_unsigned_report_and_one_for_no_case_are_for_nobody() -> None:
    story = opened()
    nobody = Actor("submitter:x", Strength.UNVERIFIED)
    with pytest.raises(Unattributable):
        story.when(result(story), actor=nobody)
    with pytest.raises(Unattributable):
        Given(story.card, REGISTRY).about("c-9").when(result(story), actor="agent:triage-1")


def test_a_result_comes_once_and_never_after_the_end() -> None:
    story = opened()
    first = result(story)
    story = worked(story)
    again = story.when(first, actor="agent:triage-1")
    again.then_like(case.ReportRefused, code="ALREADY_COMPLETED")
    story = permitted()
    last = outcome(story, EffectOutcome.DONE)
    story = story.when(last, actor="agent:pay-1")
    story.when(last, actor="agent:pay-1").then_like(case.ReportRefused, code="CASE_CLOSED")


def test_a_low_confidence_and_a_bad_result_become_a_persons_task() -> None:
    story = opened()
    low = story.when(result(story, confidence="0.69"), actor=holder(story))
    low.then_holds(case.TaskEscalated, queue="claims-desk", code="CONFIDENCE_LOW")
    bad = story.when(result(story, output={"line": "spaceship"}), actor=holder(story))
    bad.then_like(case.AttemptEnded, code="RESULT_SCHEMA", is_counted=True)


def test_an_expired_lease_rests_retries_and_ends_with_a_person() -> None:
    story = opened()
    for attempt in (1, 2, 3):
        grant = granted(story)
        assert grant.attempt == attempt
        stale = fired(story, TimerKind.LEASE, f"{grant.task_id}#{grant.token - 1}")
        stale.then_nothing() if attempt > 1 else None
        story = fired(story, TimerKind.LEASE, f"{grant.task_id}#{grant.token}")
        story.then_holds(case.AttemptEnded, code="LEASE_EXPIRED")
        if attempt < 3:
            ended = story.said_events[0]
            assert ended.timers[0].after_s == 5 * 2 ** (attempt - 1)  # type: ignore[attr-defined]
            story = fired(story, TimerKind.RETRY, grant.task_id)
    story.then_holds(case.TaskEscalated, queue="claims-desk")
    assert story.state is not None
    assert len(story.state.tasks["triage"].ended) == 3


def test_a_person_of_the_queue_takes_the_escalated_task_and_finishes_it() -> None:
    story = opened()
    failed = FailTask(
        namespace=NAMESPACE,
        task_id="triage-1",
        token=1,
        code="no-model",
        is_retryable=False,
        expires_at=LATER,
    )
    story = story.when(failed, actor="agent:triage-1")
    story.then_holds(case.TaskEscalated, queue="claims-desk", code="no-model")
    claim = ClaimTask(namespace=NAMESPACE, task_id="triage-1", expires_at=LATER)
    story.when(claim, actor="person:olga").then_like(case.ReportRefused, code="QUEUE_MISSING")
    story = story.when(claim, actor="person:dora")
    story.then_like(case.TaskGranted, holder="person:dora", token=2)
    worked(story).then_holds(case.TaskCompleted, holder="person:dora")


def test_a_task_that_nobody_can_take_stays_open_and_is_claimed_later() -> None:
    without = replace(REGISTRY, agents_by_skill={}, agents={})
    story = opened(without)
    story.then_holds(case.TaskOpened, task="triage", pool="claims")
    fired(story, TimerKind.OFFER, "triage-1").then_like(case.TaskReoffered, reason="unclaimed")
    claim = ClaimTask(namespace=NAMESPACE, task_id="triage-1", expires_at=LATER)
    story = story.under(REGISTRY)
    wrong = story.when(claim, actor="agent:assess-1")
    wrong.then_like(case.ReportRefused, code="SKILL_MISSING")
    story.when(claim, actor="agent:triage-1").then_like(case.TaskGranted, token=1)


def test_ranking_spreads_cases_and_prefers_who_was_not_tried() -> None:
    twins = AGENTS | {"triage-2": card("triage-2", "claim-triage")}
    from caseway.testing import registry_of  # noqa: PLC0415
    from tests.unit.router.claims import DEFINITION, MATRIX  # noqa: PLC0415

    registry = registry_of(DEFINITION, MATRIX, persons={"olga": ("operator",)}, agents=twins)
    story = opened(registry)
    first = granted(story)
    story = fired(story, TimerKind.LEASE, f"{first.task_id}#{first.token}")
    story = fired(story, TimerKind.RETRY, first.task_id)
    assert granted(story).holder != first.holder


def test_quarantine_revokes_the_lease_at_once_and_another_gets_the_task() -> None:
    story = opened()
    fact = AgentQuarantined(signers=("root:1",), agent_id="triage-1", reason="lies")
    after = replace(REGISTRY, quarantined={"triage-1": "lies"})
    story = story.when(fact, registry=after)
    story.then_holds(case.AttemptEnded, code="AGENT_QUARANTINED", is_counted=False)
    story.then_holds(case.TaskOpened, task="triage")
    other = replace(REGISTRY, quarantined={"assess-1": "lies"})
    opened().when(fact.model_copy(update={"agent_id": "assess-1"}), registry=other).then_nothing()


def test_a_decision_on_another_revision_or_digest_has_no_effect() -> None:
    story = at_gate()
    for changes in ({"revision": 2}, {"digest": "9" * 64}, {"gate_id": "authority-1"}):
        story.when(decision(story, **changes), actor="system:approval").then_nothing()


def test_rejection_ends_and_sending_back_goes_back() -> None:
    story = at_gate()
    rejected = story.when(decision(story, Choice.REJECT), actor="system:approval")
    rejected.then_holds(case.CaseClosed, outcome="declined")
    back = story.when(decision(story, Choice.SEND_BACK), actor="system:approval")
    back.then_holds(case.PhaseEntered, phase="assessment")


def test_one_permit_an_effect_and_nothing_without_a_fresh_approval() -> None:
    story = permitted()
    story.when(begin(story), actor="agent:pay-1").then_like(
        case.ReportRefused, code="ALREADY_PERMITTED"
    )
    halted = paying().under(replace(REGISTRY, is_halted=True))
    halted.when(begin(halted), actor="agent:pay-1").then_like(case.ReportRefused, code="HALTED")
    early = paying()
    early.when(outcome(early, EffectOutcome.DONE), actor="agent:pay-1").then_like(
        case.ReportRefused, code="NOT_PERMITTED"
    )


def test_after_a_permit_a_lost_holder_means_asking_never_paying_again() -> None:
    story = permitted()
    token = story.state.tasks["pay"].token  # type: ignore[union-attr]
    story = fired(story, TimerKind.PERMIT, f"pay-5#{token}")
    story.then_holds(case.EffectDoubted, reason="no report in time")
    story.then_holds(case.TaskGranted, purpose=Purpose.RECONCILE)
    story.when(begin(story), actor="agent:pay-1").then_like(
        case.ReportRefused, code="ALREADY_PERMITTED"
    )
    story = story.when(outcome(story, EffectOutcome.DONE), actor="agent:pay-1")
    story.then_holds(case.EffectSettled, outcome=EffectOutcome.DONE)
    story.then_holds(case.CaseClosed, outcome="paid")


def test_a_payment_surely_not_made_goes_to_a_person_and_to_a_new_decision() -> None:
    story = permitted()
    story = story.when(outcome(story, EffectOutcome.NOT_DONE), actor="agent:pay-1")
    story.then_holds(case.TaskEscalated, queue="payments-desk", code="EFFECT_NOT_DONE")
    claim = ClaimTask(namespace=NAMESPACE, task_id="pay-5", expires_at=LATER)
    story = story.when(claim, actor="person:dora")
    story = story.when(outcome(story, EffectOutcome.NOT_DONE), actor="person:dora")
    story.then_holds(case.GateRequested, gate_id="authority-6")


def test_an_amendment_makes_again_what_stood_on_the_old_facts() -> None:
    story = at_gate()
    amount = {"amount": {"amount": "80000.00", "currency": "USD"}}
    amended = story.when(AmendmentAdmitted(changes=amount, reason="estimate"), actor="x:y")
    amended.then_holds(case.GateVoided, revision=1)
    amended.then_holds(case.PhaseEntered, phase="intake")
    payee = {"payee": "payee-ffffffffffffffff"}
    bound = story.when(AmendmentAdmitted(changes=payee, reason="account"), actor="x:y")
    bound.then_holds(case.GateRequested, gate_id="authority-4", revision=2)
    late = permitted().when(AmendmentAdmitted(changes=payee, reason="account"), actor="x:y")
    late.then_like(case.WishRefused, code="too_late")


def test_a_withdrawal_ends_the_case_until_the_point_of_no_return() -> None:
    wish = WithdrawalAdmitted(reason="settled elsewhere")
    story = opened().when(wish, actor="x:y")
    story.then_holds(case.TaskCancelled, task_id="triage-1")
    story.then_holds(case.CaseClosed, outcome="withdrawn")
    story.when(wish, actor="x:y").then_like(case.WishRefused, code="CASE_CLOSED")
    permitted().when(wish, actor="x:y").then_like(case.WishRefused, code="too_late")


def test_an_open_case_always_has_something_that_moves_it() -> None:
    for story in (opened(), worked(opened()), at_gate(), paying(), permitted()):
        assert story.state is not None
        waiting = [t for t in story.state.tasks.values() if t.status is not TaskStatus.DONE]
        assert waiting or story.state.gate
