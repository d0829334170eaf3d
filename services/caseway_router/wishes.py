"""What a submitter may still change: amendments and withdrawals, until the point of no return."""

from __future__ import annotations

from caseway.contracts.case import CaseAmended, GateVoided, WishRefused
from caseway.contracts.definition import TasksPhase
from caseway.contracts.submission import AmendmentAdmitted, WithdrawalAdmitted
from caseway_router.phases import close, enter, request_gate
from caseway_router.script import Script

TOO_LATE = "too_late"


def amend(script: Script, wish: AmendmentAdmitted) -> None:
    """Change facts, and make again what stood on the old ones.

    The case goes back to the first phase it visited whose tasks read a changed fact; if none
    does, a gate that binds a changed fact is asked again under a new revision.
    """
    if script.state.is_past_return:
        _refuse(script, "the effect was permitted; open a recovery instead")
        return
    before = script.state
    script.say(CaseAmended(changes=wish.changes, reason=wish.reason))
    changed = {name for name, value in wish.changes.items() if before.facts.get(name) != value}
    for phase in before.visited:
        if changed & _reads(script, phase):
            enter(script, phase)
            return
    gate = before.gate
    if gate and gate.digest != script.machine.material_digest(gate.phase, script.state.facts):
        reason = "the material facts changed"
        script.say(GateVoided(gate_id=gate.gate_id, revision=gate.revision, reason=reason))
        request_gate(script, gate.revision + 1)


def withdraw(script: Script, wish: WithdrawalAdmitted) -> None:
    """End the case by its submitter's wish."""
    if script.state.is_past_return:
        _refuse(script, "the effect was permitted; the case ends with its outcome")
        return
    close(script, "withdrawn", wish.reason)


def _refuse(script: Script, message: str) -> None:
    wish = script.delivery.event.envelope.type
    script.say(WishRefused(wish=wish, code=TOO_LATE, message=message))


def _reads(script: Script, name: str) -> set[str]:
    phase = script.machine.phase(name)
    if not isinstance(phase, TasksPhase):
        return set()
    return {fact for task in phase.tasks.values() for fact in task.input}
