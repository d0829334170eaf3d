"""The insurance claim on its way, one record at a time, for the tests of the router."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from caseway.casefile.state import CaseState
from caseway.contracts.case import GateRequested, TaskGranted
from caseway.contracts.control import AgentCard
from caseway.contracts.decision import Choice, GateDecided
from caseway.contracts.fields import Pin
from caseway.contracts.matrix import Row
from caseway.contracts.report import BeginEffect, CompleteTask, EffectOutcome, ReportEffect
from caseway.contracts.submission import CaseAdmitted
from caseway.testing import NAMESPACE, Given, registry_of
from caseway_control.documents import load_document
from caseway_router.service import CARD

DATA = Path(__file__).parents[3] / "services/caseway_control/data/insurance"
DEFINITION = load_document((DATA / "definition.yaml").read_text("utf-8"), "definition")
LATER = datetime(2030, 1, 1, tzinfo=UTC)
SKILLS = {"triage": "claim-triage", "assess": "claim-assessment", "settle": "claim-settlement"}
OUTPUTS: dict[str, dict[str, Any]] = {
    "triage": {"line": "home", "fraud_suspected": False},
    "assess": {"severity": "major", "evidence_complete": True},
    "settle": {"settlement": {"amount": "75000.00", "currency": "USD"}},
}
_KEY = "ed25519:" + "A" * 43 + "="


def card(name: str, skill: str, pool: str = "claims") -> AgentCard:
    """An agent of one skill."""
    return AgentCard(agent_id=name, owner="olga", pool=pool, skills=(skill,), public_key=_KEY)


AGENTS = {f"{task}-1": card(f"{task}-1", skill) for task, skill in SKILLS.items()}
AGENTS |= {"pay-1": card("pay-1", "claim-payment", "payments")}
MATRIX = load_document((DATA / "matrix.yaml").read_text("utf-8"), "matrix")
REGISTRY = registry_of(
    DEFINITION,
    MATRIX,
    persons={"olga": ("operator",), "dora": ("claims-desk", "payments-desk")},
    agents=AGENTS,
)
PIN: Pin = next(iter(REGISTRY.machines.values())).pin


def admitted(amount: str = "75000.00") -> CaseAdmitted:
    """The claim as intake admits it."""
    return CaseAdmitted(
        definition=PIN,
        source="portal",
        key="PC-1",
        body_sha256="0" * 64,
        facts={
            "claimant": "claimant-0123456789abcdef",
            "payee": "payee-0123456789abcdef",
            "amount": {"amount": amount, "currency": "USD"},
            "incident_kind": "water",
            "fraud_reported": False,
            "fraud_suspected": False,
        },
        submitted_at=datetime(2026, 3, 2, 14, tzinfo=UTC),
    )


def opened(registry: Any = REGISTRY) -> Given[CaseState]:
    """A claim that was just admitted."""
    return Given(CARD, registry).about("c-1").when(admitted(), actor="system:intake")


def granted(story: Given[CaseState]) -> TaskGranted:
    """The grant that the last record led to."""
    return next(event for event in story.said_events if isinstance(event, TaskGranted))


def result(story: Given[CaseState], **changes: Any) -> CompleteTask:
    """The result of what is granted now."""
    (task,) = [t for t in story.state.tasks.values() if t.token]  # type: ignore[union-attr]
    fields: dict[str, Any] = {
        "namespace": NAMESPACE,
        "task_id": task.task_id,
        "token": task.token,
        "inputs_digest": task.inputs_digest,
        "output": OUTPUTS.get(task.task, {}),
        "confidence": "0.95",
        "expires_at": LATER,
    }
    return CompleteTask(**(fields | changes))


def holder(story: Given[CaseState]) -> str:
    """Who holds the one granted task."""
    (task,) = [t for t in story.state.tasks.values() if t.token]  # type: ignore[union-attr]
    return task.holder


def worked(story: Given[CaseState]) -> Given[CaseState]:
    """The holder reports a good result."""
    return story.when(result(story), actor=holder(story))


def at_gate() -> Given[CaseState]:
    """Three agents have done their work, and a decision is asked for."""
    return worked(worked(worked(opened())))


def decision(
    story: Given[CaseState], choice: Choice = Choice.APPROVE, **changes: Any
) -> GateDecided:
    """Approval's decision on what is asked for now."""
    asked = [event for event in story.history if isinstance(event, GateRequested)][-1]
    matrix = REGISTRY.matrices["claim-settlement"]
    row = matrix.find(asked.amount.decimal, asked.amount.currency, frozenset(asked.flags))
    assert isinstance(row, Row)
    fields: dict[str, Any] = {
        "gate_id": asked.gate_id,
        "revision": asked.revision,
        "digest": asked.digest,
        "choice": choice,
        "by": ("person:clara",),
        "roles": (row.approver,),
        "level": 0,
        "reason": "fits",
        "row": row.name,
        "matrix": matrix.pin,
    }
    return GateDecided(**(fields | changes))


def paying() -> Given[CaseState]:
    """Approved, and the payment is granted."""
    story = at_gate()
    return story.when(decision(story), actor="system:approval")


def begin(story: Given[CaseState]) -> BeginEffect:
    """The holder's wish for the permit."""
    task = story.state.tasks["pay"]  # type: ignore[union-attr]
    return BeginEffect(
        namespace=NAMESPACE,
        task_id=task.task_id,
        token=task.token,
        inputs_digest=task.inputs_digest,
        expires_at=LATER,
    )


def outcome(story: Given[CaseState], what: EffectOutcome) -> ReportEffect:
    """What the holder says of the effect."""
    task = story.state.tasks["pay"]  # type: ignore[union-attr]
    output = {"payment_reference": "pay-1"} if what is EffectOutcome.DONE else {}
    return ReportEffect(
        namespace=NAMESPACE,
        task_id=task.task_id,
        token=task.token,
        effect_id=task.effect_id or "0" * 64,
        outcome=what,
        output=output,
        expires_at=LATER,
    )


def permitted() -> Given[CaseState]:
    """The permit was given."""
    story = paying()
    return story.when(begin(story), actor="agent:pay-1")
