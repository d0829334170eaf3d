"""Claims, heartbeats, results and ends of attempts; a lease ends when its expiry is folded.

Every report names the fencing token it was granted with. Stale, late, duplicate and foreign
reports are refused with a reason and change nothing.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from caseway.casefile.state import TaskState, TaskStatus
from caseway.contracts.case import (
    AttemptEnded,
    LeaseExtended,
    ReportRefused,
    TaskCompleted,
    TaskEscalated,
)
from caseway.contracts.deadline import TimerKind, TimerRequest
from caseway.contracts.definition import AgentTask, EffectTask, HumanTask
from caseway.contracts.report import (
    ClaimTask,
    CompleteTask,
    FailTask,
    HeartbeatTask,
    Purpose,
    ReleaseTask,
)
from caseway.kernel.facts import FactsInvalid, admit_outputs
from caseway_router.phases import advance
from caseway_router.reconcile import doubt
from caseway_router.routing import assign, escalate, grant, grant_person, reoffer
from caseway_router.script import Script, about, lease_timer, queue_timer, retry_timer

# Each rest is twice the one before, up to this.
REST_MAX_S = 3600


class Refused(Exception):
    """Why a report does not count; the processor turns it into an event."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def claim(script: Script, wish: ClaimTask) -> None:
    """Grant an open task to who asks for it, if they may do it."""
    known = _known(script, wish.task_id)
    actor = script.delivery.actor
    if known.status is TaskStatus.QUEUED:
        if not actor.is_person or known.queue not in script.registry.roles_of(actor.short):
            raise Refused("QUEUE_MISSING", f"the task waits for a person of {known.queue!r}")
        grant_person(script, known, actor.name)
        return
    if known.status is not TaskStatus.OPEN:
        raise Refused("TASK_TAKEN", f"the task is {known.status}; wait for another offer")
    task = script.machine.task(known.task)
    assert not isinstance(task, HumanTask)
    card = script.registry.agents.get(actor.short) if actor.is_agent else None
    if card is None:
        raise Refused("AGENT_UNKNOWN", "only a registered agent claims this; register it first")
    if card.agent_id in script.registry.quarantined:
        raise Refused("AGENT_QUARANTINED", script.registry.quarantined[card.agent_id])
    if script.registry.is_halted:
        raise Refused("HALTED", "the namespace is halted; claim again after it is resumed")
    if task.skill not in card.skills or task.pool != card.pool:
        raise Refused("SKILL_MISSING", f"the task needs {task.skill!r} in pool {task.pool!r}")
    grant(script, known.task, task, known.purpose, actor.name)


def heartbeat(script: Script, wish: HeartbeatTask) -> None:
    """Extend the lease; said only when less than half of it is left, to keep the log small.

    A permit stays as short as it was given, however alive its holder is.
    """
    known = held(script, wish.task_id, wish.token)
    if known.status is TaskStatus.PERMITTED:
        return
    since_ms = instant_ms(known.since)
    if script.delivery.at_ms - since_ms < known.lease_s * 500:
        return
    lease = TimerRequest(
        timer_id=lease_timer(known.task_id),
        kind=TimerKind.LEASE,
        about=about(known.task_id, known.token),
        after_s=known.lease_s,
    )
    script.say(LeaseExtended(task_id=known.task_id, token=known.token, timers=(lease,)))


def complete(script: Script, wish: CompleteTask) -> None:
    """Take the result if it fits, is sure enough and stands on today's facts."""
    known = held(script, wish.task_id, wish.token)
    task = script.machine.task(known.task)
    if isinstance(task, EffectTask):
        raise Refused("EVENT_FORBIDDEN", "an effect is reported with effect.report")
    if not stands_on_today(script, known, wish.inputs_digest):
        return
    try:
        output = admit_outputs(script.machine, known.task, wish.output)
    except FactsInvalid as error:
        if script.delivery.actor.is_person:
            # People mistype: they keep the task, read what is wrong, and send it again.
            raise Refused("RESULT_SCHEMA", str(error)) from None
        end_attempt(script, known, "RESULT_SCHEMA", str(error))
        return
    if isinstance(task, AgentTask) and script.delivery.actor.is_agent:
        floor = task.confidence_floor
        if is_less(wish.confidence, floor):
            end_attempt(script, known, "CONFIDENCE_LOW", f"below the floor of {floor}", last=True)
            return
    settle(script, known, output, wish)


def settle(script: Script, known: TaskState, output: dict[str, object], wish: CompleteTask) -> None:
    """The outputs become facts, and the case goes on."""
    task_id = known.task_id
    script.say(
        TaskCompleted(
            task_id=task_id,
            token=known.token,
            holder=known.holder,
            output=output,
            confidence=wish.confidence,
            rationale=wish.rationale,
            sources=wish.sources,
            systems=wish.systems,
            model=wish.model,
            prompt_version=wish.prompt_version,
            cost=wish.cost,
            cancels=(lease_timer(task_id), queue_timer(task_id)),
        )
    )
    advance(script)


def fail(script: Script, wish: FailTask) -> None:
    """The holder could not do it: rest and try again, or a person does it."""
    known = held(script, wish.task_id, wish.token)
    end_attempt(script, known, wish.code, wish.detail, last=not wish.is_retryable)


def release(script: Script, wish: ReleaseTask) -> None:
    """The holder gives it back; no attempt is counted."""
    known = held(script, wish.task_id, wish.token)
    end_attempt(script, known, "released", wish.reason, is_counted=False)


def expire(script: Script, task_id: str, token: int) -> None:
    """A lease ran out; nothing of it counts any more."""
    known = script.state.task_by_id(task_id)
    if known is None or known.token != token or known.status is not TaskStatus.GRANTED:
        return
    if known.purpose is Purpose.RECONCILE:
        doubt(script, known, "nobody heard of it in time")
        return
    end_attempt(script, known, "LEASE_EXPIRED", f"no result within {known.lease_s} s")


def end_attempt(
    script: Script,
    known: TaskState,
    code: str,
    detail: str,
    *,
    is_counted: bool = True,
    last: bool = False,
) -> None:
    """End the current grant: back to the queue, another try after a rest, or a person.

    After a permit it is never offered again as work: the outside is asked what became of it.
    """
    task = script.machine.task(known.task)
    if known.status is TaskStatus.PERMITTED:
        assert isinstance(task, EffectTask), "only an effect is permitted"
        is_revoked = script.delivery.actor.name != known.holder
        doubt(script, known, code, rest_s=task.permit.seconds if is_revoked else 0)
        return
    attempts = known.attempts + int(is_counted)
    is_person = known.holder.startswith("person:")
    is_last = last or (not isinstance(task, HumanTask) and attempts >= task.attempts)
    rest: tuple[TimerRequest, ...] = ()
    if not (is_person or is_last or isinstance(task, HumanTask)) and is_counted:
        rest = (_rest(known.task_id, min(task.backoff.seconds << (attempts - 1), REST_MAX_S)),)
    script.say(
        AttemptEnded(
            task_id=known.task_id,
            token=known.token,
            holder=known.holder,
            code=code,
            detail=detail,
            is_counted=is_counted,
            timers=rest,
            cancels=(lease_timer(known.task_id),),
        )
    )
    after = script.state.tasks[known.task]
    if is_person or isinstance(task, HumanTask):
        _back_to_queue(script, after, task)
    elif is_last:
        escalate(script, after, code)
    elif not rest:
        assign(script, known.task, task, known.purpose)


def rested(script: Script, task_id: str) -> None:
    """A rest is over: try again."""
    known = script.state.task_by_id(task_id)
    if known is None or known.status is not TaskStatus.RESTING:
        return
    task = script.machine.task(known.task)
    assert not isinstance(task, HumanTask)
    assign(script, known.task, task, known.purpose)


def unclaimed(script: Script, task_id: str) -> None:
    """Nobody claimed an open offer: try to assign it, or publish it again."""
    known = script.state.task_by_id(task_id)
    if known is not None and known.status is TaskStatus.OPEN:
        reoffer(script, known)


def stands_on_today(script: Script, known: TaskState, digest: str) -> bool:
    """Whether a wish stands on today's facts; if its offer itself is old, make a fresh one."""
    if digest != known.inputs_digest:
        raise Refused("INPUTS_STALE", "it stands on other facts than were offered")
    if digest == script.machine.inputs_digest(known.task, script.state.facts):
        return True
    detail = "facts that the task reads changed after it was offered"
    end_attempt(script, known, "INPUTS_STALE", detail, is_counted=False)
    return False


def held(script: Script, task_id: str, token: int) -> TaskState:
    """The task, if the sender of this report holds it with the current token."""
    actor = script.delivery.actor.name
    kind, _, name = actor.partition(":")
    if kind == "agent" and name in script.registry.quarantined:
        raise Refused("AGENT_QUARANTINED", script.registry.quarantined[name])
    known = _known(script, task_id)
    if token != known.token or known.status not in (TaskStatus.GRANTED, TaskStatus.PERMITTED):
        raise Refused("LEASE_STALE", f"token {token} is not current; {known.token} was the last")
    if known.holder != actor:
        raise Refused("HOLDER", f"{known.holder} holds the task")
    return known


def refusal(script: Script, task_id: str, refused: Refused) -> ReportRefused:
    """The event that says why a report did not count."""
    return ReportRefused(
        wish=script.delivery.event.envelope.type,
        task_id=task_id,
        actor=script.delivery.actor.name,
        code=refused.code,
        message=str(refused),
    )


def instant_ms(text: str) -> int:
    """Epoch milliseconds of an envelope's time."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def is_less(left: str, right: object) -> bool:
    """Compare decimal texts exactly."""
    return Decimal(left) < Decimal(str(right))


def _known(script: Script, task_id: str) -> TaskState:
    known = script.state.task_by_id(task_id)
    done_by = script.state.completed.get(task_id, "")
    if known is not None and known.status is TaskStatus.DONE:
        done_by = known.holder
    if done_by:
        raise Refused("ALREADY_COMPLETED", f"{done_by} completed the task")
    if known is None:
        raise Refused("TASK_CANCELLED", f"{task_id!r} is not a task of the case now")
    return known


def _rest(task_id: str, after_s: int) -> TimerRequest:
    return TimerRequest(
        timer_id=retry_timer(task_id), kind=TimerKind.RETRY, about=task_id, after_s=after_s
    )


def _back_to_queue(
    script: Script, known: TaskState, task: AgentTask | EffectTask | HumanTask
) -> None:
    """A person let go of it: the same queue holds it on."""
    queue = known.queue or (task.queue if isinstance(task, HumanTask) else task.fallback)
    script.say(
        TaskEscalated(
            task_id=known.task_id,
            queue=queue,
            code="returned",
            inputs_digest=script.machine.inputs_digest(known.task, script.state.facts),
        )
    )
