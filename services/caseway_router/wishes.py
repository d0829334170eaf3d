"""What a submitter may still change: amendments and withdrawals, until the point of no return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caseway.contracts.case import CaseAmended, GateVoided, WishRefused
from caseway.contracts.definition import GatePhase, TasksPhase
from caseway.contracts.submission import AmendmentAdmitted, WithdrawalAdmitted
from caseway_router.phases import close, enter, request_gate
from caseway_router.script import Script

TOO_LATE = "too_late"


def amend(script: Script, wish: AmendmentAdmitted) -> None:
    """Change facts, and make again what stood on the old ones.

    The case goes back to the first phase on its way here that would have gone otherwise with
    the new facts. A gate that waits is not left for that, but asked again under a new revision.
    """
    if script.state.is_past_return:
        _refuse(script, "the effect was permitted; open a recovery instead")
        return
    before = script.state
    script.say(CaseAmended(changes=wish.changes, reason=wish.reason))
    for phase in before.visited:
        if not _stood_on(script, phase, before.facts):
            continue
        gate = before.gate
        if gate is None or gate.phase != phase:
            enter(script, phase)
            return
        reason = "the material facts changed"
        script.say(GateVoided(gate_id=gate.gate_id, revision=gate.revision, reason=reason))
        request_gate(script, gate.revision + 1)
        return


def withdraw(script: Script, wish: WithdrawalAdmitted) -> None:
    """End the case by its submitter's wish."""
    if script.state.is_past_return:
        _refuse(script, "the effect was permitted; the case ends with its outcome")
        return
    close(script, "withdrawn", wish.reason)


def _refuse(script: Script, message: str) -> None:
    wish = script.delivery.event.envelope.type
    script.say(WishRefused(wish=wish, code=TOO_LATE, message=message))


def _stood_on(script: Script, name: str, before: Mapping[str, Any]) -> bool:
    """Whether a phase read a fact that is another one now: for a task, a decision or its way out.

    A gate reads what it binds, and the flags that choose who decides; what it merely shows binds
    nobody.
    """
    machine, facts = script.machine, script.state.facts
    phase = machine.phase(name)
    if isinstance(phase, GatePhase):
        return machine.material_digest(name, before) != machine.material_digest(
            name, facts
        ) or machine.gate_flags(name, before) != machine.gate_flags(name, facts)
    if not isinstance(phase, TasksPhase):
        return False
    if any(
        machine.inputs_digest(t, before) != machine.inputs_digest(t, facts) for t in phase.tasks
    ):
        return True
    was_left = name != script.state.phase
    return was_left and machine.next_phase(name, before) != machine.next_phase(name, facts)
