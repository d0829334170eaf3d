"""Decides what a record means for a case; who reads `decide` knows everything a case hears."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from caseway.casefile.state import CaseState, TaskState, TaskStatus
from caseway.contracts import control, deadline, decision, report, submission
from caseway.contracts.case import CaseOpened, GateConsumed, WishRefused
from caseway.contracts.codec import Event
from caseway.contracts.decision import Choice, GateDecided
from caseway.contracts.definition import GatePhase, HumanTask
from caseway.contracts.envelope import Strength
from caseway.contracts.submission import CaseAdmitted
from caseway.errors import Unattributable
from caseway.kernel.authentication import misdirected
from caseway.kernel.processor import NOTHING, Delivery, Step
from caseway.kernel.registry import Registry
from caseway_router import effects, leases, wishes
from caseway_router.leases import Refused
from caseway_router.phases import enter
from caseway_router.routing import is_assignable, overdue, reoffer
from caseway_router.script import Script


def decide(state: CaseState | None, delivery: Delivery, registry: Registry) -> Step:
    """Answer one record.

    Raises:
        Unattributable: a report without a signature, or for a case that was never opened.
    """
    data = delivery.event.data
    if isinstance(data, CaseAdmitted):
        return NOTHING if state is not None else _open(data, delivery, registry)
    if type(data) in _REPORTS:
        return _report(state, delivery, registry)
    if state is None:
        return NOTHING
    script = Script(state, registry.machine(state.definition), delivery, registry)
    if state.is_closed:
        _after_the_end(script, data)
    else:
        _ANSWERS[type(data)](script, data)
    return script.step()


def touched(states: Iterable[tuple[str, CaseState]], event: Event) -> Iterable[str]:
    """The open cases that a registry event concerns."""
    data = event.data
    if isinstance(data, control.AgentQuarantined):
        holder = f"agent:{data.agent_id}"
        return [key for key, state in states if _held_by(state, holder)]
    if isinstance(data, control.AgentRegistered | control.NamespaceResumed | control.AgentReleased):
        return [key for key, state in states if _open_tasks(state)]
    return []


def _open(data: CaseAdmitted, delivery: Delivery, registry: Registry) -> Step:
    machine = registry.machine(data.definition)
    script = Script(None, machine, delivery, registry)
    script.say(
        CaseOpened(
            definition=data.definition,
            title=machine.document.metadata.title,
            source=data.source,
            requester=delivery.actor.name,
            facts=data.facts,
        )
    )
    enter(script, machine.start)
    return script.step()


def _report(state: CaseState | None, delivery: Delivery, registry: Registry) -> Step:
    if delivery.actor.strength is Strength.UNVERIFIED:
        raise Unattributable(
            "a report must be signed by the agent or person that makes it",
            code="IDENTITY_MISSING",
            where="ce_dssematerial",
        )
    if state is None:
        raise Unattributable("no case of this id was ever opened", code="CASE_UNKNOWN", where="key")
    data: Any = delivery.event.data
    script = Script(state, registry.machine(state.definition), delivery, registry)
    try:
        wrong = misdirected(delivery, registry)
        if wrong is not None:
            raise Refused(*wrong)
        if state.is_closed:
            raise Refused("CASE_CLOSED", f"the case ended as {state.outcome!r}")
        _REPORTS[type(data)](script, data)
    except Refused as refused:
        # Whatever was written before the refusal is thrown away with its script.
        script = Script(state, script.machine, delivery, registry)
        script.say(leases.refusal(script, data.task_id, refused))
    return script.step()


def _after_the_end(script: Script, data: Any) -> None:
    """A closed case takes nothing more; a submitter's late wish is answered."""
    if isinstance(data, submission.AmendmentAdmitted | submission.WithdrawalAdmitted):
        wish = script.delivery.event.envelope.type
        message = f"the case ended as {script.state.outcome!r}"
        script.say(WishRefused(wish=wish, code="CASE_CLOSED", message=message))


def _decided(script: Script, data: GateDecided) -> None:
    """Let a decision take effect if it was made on the facts that still hold."""
    gate = script.state.gate
    if gate is None or (gate.gate_id, gate.revision) != (data.gate_id, data.revision):
        return
    if gate.digest != data.digest:
        return
    phase = script.machine.phase(gate.phase)
    assert isinstance(phase, GatePhase)
    script.say(
        GateConsumed(
            gate_id=data.gate_id,
            revision=data.revision,
            choice=data.choice,
            by=data.by,
            reason=data.reason,
            digest=data.digest,
        )
    )
    targets = {
        Choice.APPROVE: phase.gate.approved,
        Choice.REJECT: phase.gate.rejected,
        Choice.SEND_BACK: phase.gate.sent_back,
    }
    enter(script, targets[data.choice])


def _fired(script: Script, data: deadline.TimerFired) -> None:
    if data.requester != "cases":
        return
    task_id, _, token = data.about.partition("#")
    if data.kind is deadline.TimerKind.RETRY:
        leases.rested(script, task_id)
    elif data.kind is deadline.TimerKind.OFFER:
        leases.unclaimed(script, task_id)
    elif data.kind is deadline.TimerKind.PERMIT:
        effects.lapse(script, task_id, int(token))
    else:
        leases.expire(script, task_id, int(token))


def _breached(script: Script, data: deadline.SlaBreached) -> None:
    """A person's task is overdue: the next queue has it."""
    known = script.state.task_by_id(data.about) if data.requester == "cases" else None
    task = script.machine.task(known.task) if known is not None else None
    if known is None or not isinstance(task, HumanTask) or known.status is TaskStatus.DONE:
        return
    overdue(script, known, task)


def _quarantined(script: Script, data: control.AgentQuarantined) -> None:
    """Revoke every lease of the agent at once; a permitted effect is asked about by another."""
    for known in _held_by(script.state, f"agent:{data.agent_id}"):
        leases.end_attempt(script, known, "AGENT_QUARANTINED", data.reason, is_counted=False)


def _reassign(script: Script, _data: Any) -> None:
    """Somebody may be able to take what nobody could before; for others nothing changed."""
    for known in _open_tasks(script.state):
        if is_assignable(script, known):
            reoffer(script, known)


def _resumed(script: Script, _data: Any) -> None:
    """What was left open while agents stood still is assigned or offered."""
    for known in _open_tasks(script.state):
        reoffer(script, known)


def _held_by(state: CaseState, holder: str) -> list[TaskState]:
    held = (TaskStatus.GRANTED, TaskStatus.PERMITTED)
    return [task for task in state.tasks.values() if task.holder == holder and task.status in held]


def _open_tasks(state: CaseState) -> list[TaskState]:
    return [task for task in state.tasks.values() if task.status is TaskStatus.OPEN]


_REPORTS: dict[type, Callable[[Script, Any], None]] = {
    report.ClaimTask: leases.claim,
    report.HeartbeatTask: leases.heartbeat,
    report.CompleteTask: leases.complete,
    report.FailTask: leases.fail,
    report.ReleaseTask: leases.release,
    report.BeginEffect: effects.begin,
    report.ReportEffect: effects.report,
}
_ANSWERS: dict[type, Callable[[Script, Any], None]] = {
    submission.AmendmentAdmitted: wishes.amend,
    submission.WithdrawalAdmitted: wishes.withdraw,
    decision.GateDecided: _decided,
    deadline.TimerFired: _fired,
    deadline.SlaBreached: _breached,
    control.AgentQuarantined: _quarantined,
    control.AgentRegistered: _reassign,
    control.AgentReleased: _reassign,
    control.NamespaceResumed: _resumed,
}
HEARS_REPORTS = frozenset(model.TYPE for model in _REPORTS)  # type: ignore[attr-defined]
