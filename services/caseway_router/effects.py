"""Outward effects happen once: one permit, then the outside is asked, never told again.

The permit is the point of no return. After it a lost lease opens `reconcile`: an agent asks the
outside by the effect id; what stays unclear, and what was surely not done, goes to a person.
"""

from __future__ import annotations

from caseway.casefile.state import TaskState, TaskStatus
from caseway.contracts.case import EffectPermitted, EffectSettled, TaskCompleted
from caseway.contracts.deadline import TimerKind, TimerRequest
from caseway.contracts.definition import EffectTask
from caseway.contracts.money import parse_money
from caseway.contracts.report import BeginEffect, EffectOutcome, PermitIssued, ReportEffect
from caseway.kernel.facts import FactsInvalid, admit_outputs
from caseway_router.leases import Refused, held, stands_on_today
from caseway_router.phases import advance, enter
from caseway_router.reconcile import doubt
from caseway_router.routing import effect_of, escalate
from caseway_router.script import Script, about, lease_timer, queue_timer


def begin(script: Script, wish: BeginEffect) -> None:
    """Permit the effect once, after everything that speaks for it was checked again."""
    known = held(script, wish.task_id, wish.token)
    task = script.machine.task(known.task)
    if not isinstance(task, EffectTask):
        raise Refused("EVENT_FORBIDDEN", "only a task of kind effect has a permit")
    if known.effect_id:
        raise Refused("ALREADY_PERMITTED", "the one permit of this effect was given")
    if script.registry.is_halted:
        raise Refused("HALTED", "the namespace is halted; nothing irrevocable is permitted")
    if not stands_on_today(script, known, wish.inputs_digest):
        return
    gate = script.state.approved.get(task.gate)
    facts = script.state.facts
    if gate is None or gate.digest != script.machine.material_digest(task.gate, facts):
        raise Refused("GATE_STALE", f"no approval of gate {task.gate!r} holds for today's facts")
    permit_s = task.permit.seconds
    timer = TimerRequest(
        timer_id=lease_timer(known.task_id),
        kind=TimerKind.PERMIT,
        about=about(known.task_id, known.token),
        after_s=permit_s,
    )
    amount = parse_money(facts[task.amount], f"/{task.amount}")
    effect = effect_of(script, known.task)
    script.say(
        EffectPermitted(
            task_id=known.task_id,
            token=known.token,
            effect_id=effect,
            gate_id=gate.gate_id,
            revision=gate.revision,
            amount=amount,
            payee=facts[task.payee],
            permit_s=permit_s,
            timers=(timer,),
        )
    )
    if not script.delivery.actor.is_agent:
        return  # a person reads the permit from the case
    permit = PermitIssued(
        task_id=known.task_id,
        token=known.token,
        effect_id=effect,
        amount=amount,
        payee=facts[task.payee],
        permit_s=permit_s,
    )
    script.offer(task.pool, task.skill, known.holder.partition(":")[2], permit)


def report(script: Script, wish: ReportEffect) -> None:
    """Settle the effect by what the outside says; whatever is unsure is asked again."""
    known = held(script, wish.task_id, wish.token)
    task = script.machine.task(known.task)
    if not isinstance(task, EffectTask):
        raise Refused("EVENT_FORBIDDEN", "only a task of kind effect has an outcome")
    if not known.effect_id:
        raise Refused("NOT_PERMITTED", "ask with effect.begin first")
    if wish.effect_id != known.effect_id:
        raise Refused("EFFECT_UNKNOWN", "this effect id is not the one of the task")
    if wish.outcome is EffectOutcome.UNKNOWN:
        doubt(script, known, "the outcome is unknown")
    elif wish.outcome is EffectOutcome.NOT_DONE:
        _not_done(script, known, task, wish)
    else:
        _done(script, known, wish)


def lapse(script: Script, task_id: str, token: int) -> None:
    """A permit ran out without a report; a lease that fired beside its permit ends nothing."""
    known = script.state.task_by_id(task_id)
    if known is None or known.token != token or known.status is not TaskStatus.PERMITTED:
        return
    doubt(script, known, "no report in time")


def _done(script: Script, known: TaskState, wish: ReportEffect) -> None:
    try:
        output = admit_outputs(script.machine, known.task, wish.output)
    except FactsInvalid as error:
        raise Refused("RESULT_SCHEMA", str(error)) from None
    script.say(_settled(script, known, wish))
    timers = (lease_timer(known.task_id), queue_timer(known.task_id))
    script.say(
        TaskCompleted(
            task_id=known.task_id,
            token=known.token,
            holder=known.holder,
            output=output,
            confidence="1",
            rationale=wish.detail,
            cancels=timers,
        )
    )
    advance(script)


def _not_done(script: Script, known: TaskState, task: EffectTask, wish: ReportEffect) -> None:
    """It surely did not happen. A person looks at it; a person's word leads to a new decision."""
    script.say(_settled(script, known, wish))
    if script.delivery.actor.is_person:
        enter(script, task.gate)
    else:
        escalate(script, script.state.tasks[known.task], "EFFECT_NOT_DONE")


def _settled(script: Script, known: TaskState, wish: ReportEffect) -> EffectSettled:
    return EffectSettled(
        task_id=known.task_id,
        effect_id=wish.effect_id,
        outcome=wish.outcome,
        by=script.delivery.actor.name,
    )
