"""Says in plain words what an event of a case means; one sentence a type, total over the catalogue.

Facts are named and never quoted, save what an approver's screen shows anyway (amounts, roles).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caseway.contracts import case, deadline, decision, shard, submission
from caseway.contracts.codec import Event
from caseway.contracts.fields import format_instant
from caseway.contracts.money import Money


def in_words(event: Event) -> str:
    """What happened, as one sentence for a person."""
    say = _SENTENCES.get(type(event.data))
    return say(event.data) if say is not None else event.envelope.type


def _money(value: Money) -> str:
    return str(value)


def _names(facts: dict[str, Any]) -> str:
    return ", ".join(sorted(facts)) or "nothing"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _joint(roles: tuple[str, ...]) -> str:
    return " and ".join(roles) or "nobody"


def _task_opened(data: case.TaskOpened) -> str:
    if data.queue:
        return f"task {data.task_id} waits for a person in queue {data.queue}"
    return f"task {data.task_id} is open for skill {data.skill} in pool {data.pool}"


def _granted(data: case.TaskGranted) -> str:
    what = "to ask outside what became of it" if data.purpose == "reconcile" else "to work on it"
    why = f"; chosen because {data.ranking[0].why}" if data.ranking else ""
    return (
        f"{data.holder} holds task {data.task_id} {what}: attempt {data.attempt}, token "
        f"{data.token}, lease {data.lease_s} s{why}"
    )


def _completed(data: case.TaskCompleted) -> str:
    rationale = f": “{data.rationale}”" if data.rationale else ""
    by = f" by {data.model}" if data.model else ""
    return (
        f"{data.holder} completed {data.task_id}{by} with confidence {data.confidence}, writing "
        f"{_names(data.output)}{rationale}"
    )


def _attempt_ended(data: case.AttemptEnded) -> str:
    counted = "" if data.is_counted else " (not counted)"
    return f"{data.holder}'s attempt at {data.task_id} ended as {data.code}{counted}" + _because(
        data.detail
    )


def _gate_requested(data: case.GateRequested) -> str:
    flags = f", flagged {', '.join(data.flags)}" if data.flags else ""
    return (
        f"a decision on {_money(data.amount)}{flags} is asked under matrix {data.matrix}: gate "
        f"{data.gate_id}, revision {data.revision}"
    )


def _gate_opened(data: decision.GateOpened) -> str:
    due = f", due {format_instant(data.due_at)}" if data.due_at else ""
    return (
        f"gate {data.gate_id} lies with {_joint(data.roles)} (row {data.row}, SLA {data.sla}"
        f"{due}): {'; '.join(data.cells)}"
    )


def _gate_decided(data: decision.GateDecided) -> str:
    who = " and ".join(
        f"{by} as {role}" for by, role in zip(data.by, data.roles, strict=False)
    ) or " and ".join(data.by)
    return f"{who} decided gate {data.gate_id}: {data.choice.value}{_because(data.reason)}"


def _escalated(data: decision.GateEscalated) -> str:
    return (
        f"gate {data.gate_id} missed its SLA at {format_instant(data.breached_at)} and lies with "
        f"{_joint(data.roles)} now, due {format_instant(data.due_at)}"
    )


def _timers(data: deadline.TimersUpdated) -> str:
    armed = [f"{t.kind.value} of {t.about} due {format_instant(t.due_at)}" for t in data.armed]
    parts = [f"set {', '.join(armed)}"] if armed else []
    parts += [f"cancelled {', '.join(data.cancelled)}"] if data.cancelled else []
    return "timers: " + ("; ".join(parts) or "unchanged")


_SENTENCES: dict[type, Callable[[Any], str]] = {
    submission.CaseAdmitted: lambda d: (
        f"the submission {d.key!r} of {d.source} was admitted under {d.definition}"
    ),
    submission.SubmissionRefused: lambda d: (
        f"{d.wish} was refused: {d.code} at {d.where}: {d.message}"
    ),
    submission.AmendmentAdmitted: lambda d: (
        f"an amendment of {_names(d.changes)} was admitted{_because(d.reason)}"
    ),
    submission.WithdrawalAdmitted: lambda d: f"a withdrawal was admitted{_because(d.reason)}",
    case.CaseOpened: lambda d: (
        f"the case {d.title!r} opened for {d.requester} under {d.definition}"
    ),
    case.PhaseEntered: lambda d: f"phase {d.phase} began (round {d.round})",
    case.TaskOpened: _task_opened,
    case.TaskGranted: _granted,
    case.LeaseExtended: lambda d: f"the lease of {d.task_id} was extended (token {d.token})",
    case.TaskCompleted: _completed,
    case.AttemptEnded: _attempt_ended,
    case.TaskReoffered: lambda d: f"task {d.task_id} was offered again{_because(d.reason)}",
    case.TaskEscalated: lambda d: (
        f"task {d.task_id} became a person's, in queue {d.queue}: {d.code}"
    ),
    case.TaskCancelled: lambda d: f"task {d.task_id} was cancelled{_because(d.reason)}",
    case.ReportRefused: lambda d: (
        f"{d.wish} by {d.actor} for {d.task_id} was refused: {d.code}: {d.message}"
    ),
    case.GateRequested: _gate_requested,
    case.GateConsumed: lambda d: (
        f"the decision on gate {d.gate_id} took effect: {d.choice.value}{_because(d.reason)}"
    ),
    case.GateVoided: lambda d: (
        f"gate {d.gate_id}, revision {d.revision}, is void{_because(d.reason)}"
    ),
    case.EffectPermitted: lambda d: (
        f"the one permit to pay {_money(d.amount)} was given (effect {d.effect_id[:12]}, "
        f"{d.permit_s} s)"
    ),
    case.EffectDoubted: lambda d: (
        f"it is not known what became of effect {d.effect_id[:12]}{_because(d.reason)}"
    ),
    case.EffectSettled: lambda d: (
        f"effect {d.effect_id[:12]} is known to be {d.outcome.value.replace('_', ' ')}, says {d.by}"
    ),
    case.CaseAmended: lambda d: f"{_names(d.changes)} changed{_because(d.reason)}",
    case.WishRefused: lambda d: f"{d.wish} was refused: {d.code}: {d.message}",
    case.CaseClosed: lambda d: f"the case closed as {d.outcome}{_because(d.reason)}",
    decision.GateOpened: _gate_opened,
    decision.DecisionEndorsed: lambda d: (
        f"{d.by} endorsed gate {d.gate_id} as {d.role}; {_joint(d.outstanding)} still to come"
    ),
    decision.GateDecided: _gate_decided,
    decision.GateEscalated: _escalated,
    decision.GateOverdue: lambda d: (
        f"gate {d.gate_id} is overdue on its last rung ({_joint(d.roles)}), alarm {d.alarm}"
    ),
    decision.GateUnmatched: lambda d: (
        f"gate {d.gate_id} waits in queue {d.queue}: {d.code}: {d.message}"
    ),
    decision.GateQuestioned: lambda d: f"{d.by} asked about gate {d.gate_id}: “{d.question}”",
    decision.GateDelegated: lambda d: (
        f"{d.by} handed gate {d.gate_id} to {d.to} as {d.role}{_because(d.reason)}"
    ),
    decision.GateRetired: lambda d: f"gate {d.gate_id} was retired{_because(d.reason)}",
    decision.DecisionRefused: lambda d: (
        f"{d.by}'s decision on gate {d.gate_id} was refused: {d.code}: {d.message}"
    ),
    deadline.TimersUpdated: _timers,
    deadline.TimerWarned: lambda d: f"{d.about} is due soon, at {format_instant(d.due_at)}",
    deadline.TimerFired: lambda d: f"the {d.kind.value} timer of {d.about} came due",
    deadline.SlaBreached: lambda d: (
        f"the SLA of {d.about} was missed at {format_instant(d.breached_at)}, seen at "
        f"{format_instant(d.detected_at)}"
    ),
    shard.CaseFaulted: lambda d: (
        f"deciding failed; the case waits in {d.queue}: {d.code}: {d.detail}"
    ),
    shard.InputParked: lambda d: f"an input from {d.parked.topic} was parked behind the fault",
    shard.CaseResumed: lambda d: f"the fault was mended and {d.released} parked inputs decided",
}
