"""Moves a case along its machine: into phases, through their tasks, to its end."""

from __future__ import annotations

from caseway.casefile.state import TaskStatus
from caseway.contracts.case import (
    CaseClosed,
    GateRequested,
    GateVoided,
    PhaseEntered,
    TaskCancelled,
)
from caseway.contracts.definition import EndPhase, GatePhase
from caseway.errors import IntegrityError
from caseway_router.routing import open_task
from caseway_router.script import Script, lease_timer, queue_timer, retry_timer


def enter(script: Script, name: str) -> None:
    """Leave the current phase for another: open its first tasks, ask its gate, or end."""
    leave(script, "the case moved on")
    phase = script.machine.phase(name)
    script.say(PhaseEntered(phase=name, round=script.state.round + 1))
    if isinstance(phase, EndPhase):
        script.say(CaseClosed(outcome=phase.end))
    elif isinstance(phase, GatePhase):
        request_gate(script, revision=1)
    else:
        for task in script.machine.first_tasks(name):
            open_task(script, task)


def advance(script: Script) -> None:
    """After a task is done: open what waited for it, or go to the next phase."""
    state = script.state
    if script.machine.is_complete(state.phase, state.done):
        enter(script, script.machine.next_phase(state.phase, state.facts))
        return
    for task in script.machine.ready_tasks(state.phase, state.done):
        if task not in state.tasks:
            open_task(script, task)


def request_gate(script: Script, revision: int) -> None:
    """Ask for a decision on the material facts as they are now."""
    state, machine = script.state, script.machine
    phase = machine.phase(state.phase)
    assert isinstance(phase, GatePhase)
    amount = machine.gate_amount(state.phase, state.facts)
    if amount is None:
        raise IntegrityError(f"gate {state.phase!r} was reached without its amount")
    script.say(
        GateRequested(
            gate_id=f"{state.phase}-{state.round}",
            revision=revision,
            phase=state.phase,
            matrix=phase.gate.matrix,
            amount=amount,
            flags=tuple(sorted(machine.gate_flags(state.phase, state.facts))),
            material=machine.gate_material(state.phase, state.facts),
            shows=machine.gate_shows(state.phase, state.facts),
            digest=machine.material_digest(state.phase, state.facts),
            preparers=state.preparers,
            requester=state.requester,
        )
    )


def leave(script: Script, reason: str) -> None:
    """Nobody holds anything of the current phase any more."""
    for task in list(script.state.tasks.values()):
        if task.status is not TaskStatus.DONE:
            task_id = task.task_id
            timers = (lease_timer(task_id), retry_timer(task_id), queue_timer(task_id))
            script.say(TaskCancelled(task_id=task_id, reason=reason, cancels=timers))
    gate = script.state.gate
    if gate is not None:
        script.say(GateVoided(gate_id=gate.gate_id, revision=gate.revision, reason=reason))


def close(script: Script, outcome: str, reason: str) -> None:
    """End the case outside of its machine: a withdrawal."""
    leave(script, reason)
    script.say(CaseClosed(outcome=outcome, reason=reason))
