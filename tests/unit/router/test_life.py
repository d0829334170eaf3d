"""The insurance case step by step, with every event it leads to and what the agents are told."""

from __future__ import annotations

import pytest

from caseway.casefile.evolve import evolve
from caseway.casefile.state import TaskStatus
from caseway.contracts.case import (
    CaseClosed,
    CaseOpened,
    EffectPermitted,
    EffectSettled,
    GateConsumed,
    GateRequested,
    PhaseEntered,
    ReportRefused,
    TaskCompleted,
    TaskGranted,
    TaskOpened,
    WishRefused,
)
from caseway.contracts.codec import Event
from caseway.contracts.decision import Choice
from caseway.contracts.envelope import Envelope
from caseway.contracts.money import Money
from caseway.contracts.report import PermitIssued, TaskOffered
from caseway.errors import IntegrityError

from .desk import (
    FACTS,
    SUBMITTER,
    admitted,
    amendment,
    assessed,
    at_gate,
    opened,
    paying,
    permitted,
    queued,
    withdrawal,
)


def test_an_admitted_case_opens_and_its_first_task_is_granted_at_once() -> None:
    world = opened()
    assert world.types == ["CaseOpened", "PhaseEntered", "TaskGranted"]
    world.story.then_holds(CaseOpened, requester="submitter:portal", facts=FACTS)
    world.story.then_holds(PhaseEntered, phase="intake", round=1)
    world.story.then_holds(TaskGranted, task_id="triage-1", token=1, attempt=1, lease_s=60)
    assert world.story.said.definition == str(world.state.definition)


def test_the_packet_holds_what_the_task_may_see_and_goes_to_the_holder_alone() -> None:
    (offer,) = opened().story.said.offers
    assert isinstance(offer.data, TaskOffered)
    assert (offer.pool, offer.skill) == ("claims", "claim-triage")
    assert f"agent:{offer.agent}" == opened().holder
    assert set(offer.data.facts) == {"amount", "incident_kind", "fraud_reported"}
    assert (offer.data.token, offer.data.inputs_digest) == (1, opened().digest)


def test_the_same_admission_again_opens_nothing() -> None:
    opened().hear(admitted(), SUBMITTER).story.then_nothing()


def test_results_become_facts_and_lead_through_the_phases() -> None:
    world = opened().complete(rationale="seen", prompt_version="3")
    assert world.types == ["TaskCompleted", "PhaseEntered", "TaskGranted"]
    world.story.then_holds(TaskCompleted, rationale="seen", prompt_version="3", confidence="0.95")
    assert world.state.facts["line"] == "motor"
    world = world.complete()
    world.story.then_holds(PhaseEntered, phase="settlement", round=3)
    world = world.complete()
    assert world.types == ["TaskCompleted", "PhaseEntered", "GateRequested"]
    world.story.then_holds(
        GateRequested,
        gate_id="authority-4",
        revision=1,
        matrix="claim-settlement",
        amount=Money(amount="75000.00", currency="USD"),
        flags=(),
        preparers=world.state.preparers,
        requester="submitter:portal",
    )
    assert len(world.state.preparers) == 3
    assert not world.timers


def test_missing_documents_are_asked_for_by_a_person_and_assessed_again() -> None:
    world = queued()
    world.story.then_holds(TaskOpened, task_id="request-3", queue="claims-desk", kind="human")
    world = world.claim("person:dora").complete("person:dora")
    world.story.then_holds(PhaseEntered, phase="assessment", round=4)
    assert world.task.task_id == "assess-4"
    assert not world.timers.keys() & {"sla/request-3", "lease/request-3"}


@pytest.mark.parametrize("name", ["fraud_reported", "fraud_suspected"])
def test_either_sign_of_fraud_raises_the_flag(name: str) -> None:
    world = opened(fraud_reported=name == "fraud_reported")
    output = {"line": "motor", "fraud_suspected": name == "fraud_suspected"}
    world = world.complete(output=output).complete().complete()
    assert world.request.flags == ("fraud",)


def test_an_approval_leads_to_one_payment_and_the_end() -> None:
    world = at_gate().decide()
    assert world.types == ["GateConsumed", "PhaseEntered", "TaskGranted"]
    world.story.then_holds(GateConsumed, by=("person:mia",), choice=Choice.APPROVE)
    world = world.begin()
    world.story.then_like(
        EffectPermitted,
        gate_id="authority-4",
        revision=1,
        amount=Money(amount="75000.00", currency="USD"),
        payee=FACTS["payee"],
        permit_s=60,
    )
    (offer,) = world.story.said.offers
    assert isinstance(offer.data, PermitIssued)
    assert f"agent:{offer.agent}" == world.holder
    assert offer.data.effect_id == world.task.effect_id
    world = world.outcome("done")
    assert world.types == ["EffectSettled", "TaskCompleted", "PhaseEntered", "CaseClosed"]
    world.story.then_holds(CaseClosed, outcome="paid")
    assert world.state.is_closed
    assert not world.timers


@pytest.mark.parametrize(
    ("choice", "phase"), [(Choice.REJECT, "declined"), (Choice.SEND_BACK, "assessment")]
)
def test_a_gate_has_other_ways_out(choice: Choice, phase: str) -> None:
    world = at_gate().decide(choice)
    world.story.then_holds(PhaseEntered, phase=phase, round=5)
    assert world.state.approved == {}
    assert world.state.is_closed == (phase == "declined")


def test_a_case_that_was_sent_back_asks_a_gate_of_its_own() -> None:
    world = at_gate().decide(Choice.SEND_BACK).complete().complete()
    assert (world.request.gate_id, world.request.revision) == ("authority-7", 1)


def test_a_decision_counts_on_the_revision_and_digest_it_was_made_on() -> None:
    world = at_gate()
    world.decide(revision=2).story.then_nothing()
    world.decide(gate_id="authority-3").story.then_nothing()
    world.decide(digest="b" * 64).story.then_nothing()
    done = world.decide()
    done.decide().story.then_nothing()


def test_the_end_absorbs_everything_and_says_why() -> None:
    world = permitted().outcome("done")
    for late in (amendment(payee="x"), withdrawal()):
        world.hear(late).story.then_like(WishRefused, code="CASE_CLOSED")
        assert world.hear(late).state == world.state
    report = world.claim("agent:triage-1", task_id="triage-1")
    report.story.then_like(ReportRefused, code="CASE_CLOSED")
    assert report.state == world.state
    world.decide().story.then_nothing()
    world.hear(admitted(), SUBMITTER).story.then_nothing()
    world.quarantined("cashier-1").story.then_nothing()


def test_an_event_without_effect_leaves_the_case_as_it_is() -> None:
    state = assessed().state
    data = WishRefused(wish="case.amend", code="too_late", message="x")
    assert evolve(state, Event("c-1", Envelope("", "", data.TYPE, 1), data)) == state
    first = PhaseEntered(phase="intake", round=1)
    with pytest.raises(IntegrityError, match="never opened"):
        evolve(None, Event("c-1", Envelope("", "", first.TYPE, 1), first))


def test_the_token_only_grows_and_a_settled_effect_is_known() -> None:
    tokens = [e.token for e in permitted().story.history if isinstance(e, TaskGranted)]
    assert tokens == [1, 2, 3, 4]
    paying_task = paying().task
    assert paying_task.status is TaskStatus.GRANTED
    settled = permitted().outcome("done")
    settled.story.then_holds(EffectSettled, outcome="done", by=permitted().holder)
