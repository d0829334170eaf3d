"""The one catalogue: every event type, its model, its version and the topics it travels on."""

from __future__ import annotations

from dataclasses import dataclass

from caseway.contracts import audit, case, control, deadline, decision, report, shard, submission
from caseway.contracts.fields import Contract


@dataclass(frozen=True, slots=True)
class EventType:
    """One event type; `topics` are names without namespace, a trailing `*` stands for a family."""

    name: str
    version: int
    model: type[Contract]
    topics: tuple[str, ...]


_LOGS = ("intake", "registry", "cases", "approvals", "deadlines", "audit")
_SHARDED_LOGS = ("intake", "cases", "approvals", "deadlines")

# The order is that of a case's life, as documents print it.
_MODELS: tuple[tuple[tuple[str, ...], tuple[type[Contract], ...]], ...] = (
    (
        ("submissions",),
        (submission.SubmitCase, submission.AmendCase, submission.WithdrawCase),
    ),
    (
        ("agent-reports",),
        (
            report.ClaimTask,
            report.HeartbeatTask,
            report.CompleteTask,
            report.FailTask,
            report.ReleaseTask,
            report.BeginEffect,
            report.ReportEffect,
        ),
    ),
    (("decisions",), (decision.DecideGate, decision.AskAboutGate, decision.DelegateGate)),
    (
        ("control",),
        (
            control.PublishDefinition,
            control.PublishMatrix,
            control.PublishCalendar,
            control.RegisterAgent,
            control.AppointPerson,
            control.QuarantineAgent,
            control.ReleaseAgent,
            control.HaltNamespace,
            control.ResumeNamespace,
            control.RedriveCase,
            control.RaiseContractLevel,
        ),
    ),
    (
        ("intake",),
        (
            submission.CaseAdmitted,
            submission.SubmissionRefused,
            submission.AmendmentAdmitted,
            submission.WithdrawalAdmitted,
            control.ControlAccepted,
            control.ControlRefused,
        ),
    ),
    (
        ("registry",),
        (
            control.DefinitionPublished,
            control.MatrixPublished,
            control.CalendarPublished,
            control.AgentRegistered,
            control.PersonAppointed,
            control.AgentQuarantined,
            control.AgentReleased,
            control.NamespaceHalted,
            control.NamespaceResumed,
            control.CaseRedriven,
            control.ContractRaised,
        ),
    ),
    (
        ("cases",),
        (
            case.CaseOpened,
            case.PhaseEntered,
            case.TaskOpened,
            case.TaskGranted,
            case.LeaseExtended,
            case.TaskCompleted,
            case.AttemptEnded,
            case.TaskReoffered,
            case.TaskEscalated,
            case.TaskCancelled,
            case.ReportRefused,
            case.GateRequested,
            case.GateConsumed,
            case.GateVoided,
            case.EffectPermitted,
            case.EffectDoubted,
            case.EffectSettled,
            case.CaseAmended,
            case.WishRefused,
            case.CaseClosed,
        ),
    ),
    (("offers.*",), (report.TaskOffered, report.PermitIssued)),
    (
        ("approvals",),
        (
            decision.GateOpened,
            decision.DecisionEndorsed,
            decision.GateDecided,
            decision.GateEscalated,
            decision.GateOverdue,
            decision.GateUnmatched,
            decision.GateQuestioned,
            decision.GateDelegated,
            decision.GateRetired,
            decision.DecisionRefused,
        ),
    ),
    (
        ("deadlines",),
        (
            deadline.TimersUpdated,
            deadline.TimerWarned,
            deadline.TimerFired,
            deadline.SlaBreached,
        ),
    ),
    (("audit",), (audit.CheckpointSealed,)),
    (_LOGS, (shard.ShardGenesis, shard.ShardCommitted)),
    (_SHARDED_LOGS, (shard.CaseFaulted, shard.InputParked, shard.CaseResumed)),
    (("dead-letters.*",), (shard.DeadLetter,)),
    (("snapshots.*",), (shard.SnapshotMarked,)),
)


def _build() -> dict[str, EventType]:
    catalog: dict[str, EventType] = {}
    for topics, models in _MODELS:
        for model in models:
            name, version = model.TYPE, model.VERSION  # type: ignore[attr-defined]
            assert name not in catalog, f"two models of event type {name!r}"
            catalog[name] = EventType(name, version, model, topics)
    return catalog


CATALOG: dict[str, EventType] = _build()
