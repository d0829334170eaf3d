"""What each event of the `cases` log does to a case; nothing else changes one.

Total over everything ever written: an event without effect on the state leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caseway.casefile.state import Attempt, CaseState, GateState, TaskState, TaskStatus, changed
from caseway.contracts import case
from caseway.contracts.codec import Event
from caseway.contracts.decision import Choice
from caseway.contracts.report import EffectOutcome, Purpose
from caseway.errors import IntegrityError


def evolve(state: CaseState | None, event: Event) -> CaseState | None:
    """The case after one more event of its log.

    Raises:
        IntegrityError: an event of a case that was never opened.
    """
    if isinstance(event.data, case.CaseOpened):
        return _opened(event.data)
    fold = _FOLDS.get(type(event.data))
    if fold is None:
        return state
    if state is None:
        raise IntegrityError(f"{event.envelope.type} of a case that was never opened")
    return fold(state, event.data, event.envelope.time)


def _opened(data: case.CaseOpened) -> CaseState:
    return CaseState(
        definition=data.definition, source=data.source, requester=data.requester, facts=data.facts
    )


def _entered(state: CaseState, data: case.PhaseEntered, _time: str) -> CaseState:
    # Who goes back to a phase makes again what came after it: that is no longer on the way here.
    ahead = state.visited.index(data.phase) if data.phase in state.visited else None
    done = {t.task_id: t.holder for t in state.tasks.values() if t.status is TaskStatus.DONE}
    return changed(
        state,
        phase=data.phase,
        round=data.round,
        visited=(*state.visited[:ahead], data.phase),
        tasks={},
        completed={**state.completed, **done},
        gate=None,
    )


def _task(state: CaseState, task_id: str, **changes: Any) -> CaseState:
    return changed(state, tasks=_tasks(state, task_id, **changes))


def _tasks(state: CaseState, task_id: str, **changes: Any) -> dict[str, TaskState]:
    task = state.task_by_id(task_id)
    if task is None:
        raise IntegrityError(f"task {task_id!r} is not one of phase {state.phase!r}")
    return {**state.tasks, task.task: changed(task, **changes)}


def _task_opened(state: CaseState, data: case.TaskOpened, time: str) -> CaseState:
    status = TaskStatus.QUEUED if data.queue else TaskStatus.OPEN
    task = state.tasks.get(data.task)
    made = changed(
        task or TaskState(data.task, data.task_id, status, data.inputs_digest),
        status=status,
        inputs_digest=data.inputs_digest,
        queue=data.queue,
        since=time,
        holder="",
    )
    return changed(state, tasks={**state.tasks, data.task: made})


def _granted(state: CaseState, data: case.TaskGranted, time: str) -> CaseState:
    name = data.task_id.rpartition("-")[0]
    task = state.tasks.get(name)
    known = task or TaskState(name, data.task_id, TaskStatus.GRANTED, data.inputs_digest)
    made = changed(
        known,
        status=TaskStatus.GRANTED,
        inputs_digest=data.inputs_digest,
        token=data.token,
        holder=data.holder,
        purpose=data.purpose,
        lease_s=data.lease_s,
        since=time,
    )
    return changed(state, token=data.token, tasks={**state.tasks, name: made})


def _extended(state: CaseState, data: case.LeaseExtended, time: str) -> CaseState:
    return _task(state, data.task_id, since=time)


def _completed(state: CaseState, data: case.TaskCompleted, _time: str) -> CaseState:
    return changed(
        state,
        tasks=_tasks(state, data.task_id, status=TaskStatus.DONE, holder=data.holder),
        facts={**state.facts, **data.output},
        preparers=_with(state.preparers, data.holder),
    )


def _attempt_ended(state: CaseState, data: case.AttemptEnded, _time: str) -> CaseState:
    task = state.task_by_id(data.task_id)
    if task is None:
        raise IntegrityError(f"task {data.task_id!r} is not one of phase {state.phase!r}")
    return _task(
        state,
        data.task_id,
        status=TaskStatus.RESTING,
        holder="",
        attempts=task.attempts + int(data.is_counted),
        ended=(*task.ended, Attempt(data.holder, data.code)),
    )


def _reoffered(state: CaseState, data: case.TaskReoffered, time: str) -> CaseState:
    return _task(state, data.task_id, inputs_digest=data.inputs_digest, since=time)


def _escalated(state: CaseState, data: case.TaskEscalated, time: str) -> CaseState:
    task = state.task_by_id(data.task_id)
    if task is not None and task.status is TaskStatus.GRANTED:
        # A promise was missed while a person is at it: they keep it, and the next queue has it
        # when they let go.
        return _task(state, data.task_id, queue=data.queue)
    return _task(
        state,
        data.task_id,
        status=TaskStatus.QUEUED,
        queue=data.queue,
        holder="",
        since=time,
        inputs_digest=data.inputs_digest,
    )


def _cancelled(state: CaseState, data: case.TaskCancelled, _time: str) -> CaseState:
    name = data.task_id.rpartition("-")[0]
    return changed(state, tasks={k: task for k, task in state.tasks.items() if k != name})


def _requested(state: CaseState, data: case.GateRequested, _time: str) -> CaseState:
    gate = GateState(data.gate_id, data.revision, data.phase, data.digest)
    approved = {phase: gate for phase, gate in state.approved.items() if phase != data.phase}
    return changed(state, gate=gate, approved=approved)


def _consumed(state: CaseState, data: case.GateConsumed, _time: str) -> CaseState:
    gate = state.gate
    if gate is None:
        raise IntegrityError(f"gate {data.gate_id!r} was consumed and never requested")
    approved = state.approved
    if data.choice is Choice.APPROVE:
        approved = {**approved, gate.phase: changed(gate, is_approved=True)}
    return changed(state, gate=None, approved=approved)


def _voided(state: CaseState, _data: case.GateVoided, _time: str) -> CaseState:
    return changed(state, gate=None)


def _permitted(state: CaseState, data: case.EffectPermitted, _time: str) -> CaseState:
    known = data.effect_id
    return changed(
        state,
        tasks=_tasks(state, data.task_id, status=TaskStatus.PERMITTED, effect_id=known),
        effects=(*state.effects, known),
    )


def _doubted(state: CaseState, data: case.EffectDoubted, _time: str) -> CaseState:
    task = state.task_by_id(data.task_id)
    ended = (*task.ended, Attempt(task.holder, "doubted")) if task else ()
    return _task(
        state,
        data.task_id,
        status=TaskStatus.RESTING,
        holder="",
        purpose=Purpose.RECONCILE,
        ended=ended,
    )


def _settled(state: CaseState, data: case.EffectSettled, _time: str) -> CaseState:
    if data.outcome is EffectOutcome.DONE:
        return _task(state, data.task_id, is_settled=True, effect_id=data.effect_id)
    if data.by.startswith("person:"):
        # An agent's word alone never opens the way to a second payment; a person's does.
        state = changed(state, effects=tuple(e for e in state.effects if e != data.effect_id))
    task = state.task_by_id(data.task_id)
    ended = (*task.ended, Attempt(data.by, data.outcome.value)) if task else ()
    said = _task(
        state,
        data.task_id,
        status=TaskStatus.RESTING,
        holder="",
        purpose=Purpose.RECONCILE,
        ended=ended,
    )
    # Whoever says so stands behind the gate that is asked again, and does not decide it.
    return changed(said, preparers=_with(state.preparers, data.by))


def _amended(state: CaseState, data: case.CaseAmended, _time: str) -> CaseState:
    return changed(state, facts={**state.facts, **data.changes})


def _closed(state: CaseState, data: case.CaseClosed, _time: str) -> CaseState:
    return CaseState(definition=state.definition, source=state.source, outcome=data.outcome)


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return names if name in names else (*names, name)


_FOLDS: dict[type, Callable[[CaseState, Any, str], CaseState]] = {
    case.PhaseEntered: _entered,
    case.TaskOpened: _task_opened,
    case.TaskGranted: _granted,
    case.LeaseExtended: _extended,
    case.TaskCompleted: _completed,
    case.AttemptEnded: _attempt_ended,
    case.TaskReoffered: _reoffered,
    case.TaskEscalated: _escalated,
    case.TaskCancelled: _cancelled,
    case.GateRequested: _requested,
    case.GateConsumed: _consumed,
    case.GateVoided: _voided,
    case.EffectPermitted: _permitted,
    case.EffectDoubted: _doubted,
    case.EffectSettled: _settled,
    case.CaseAmended: _amended,
    case.CaseClosed: _closed,
}
