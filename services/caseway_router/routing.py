"""Who gets a task: a deterministic, explained ranking, then a grant or an open offer.

Routing reads typed facts only: the skill, who was tried, quarantine and halt. Among equals the
case, task and attempt choose by hash, so work spreads evenly and every machine agrees.
"""

from __future__ import annotations

from caseway.casefile.state import TaskState
from caseway.contracts.case import Ranked, TaskEscalated, TaskGranted, TaskOpened, TaskReoffered
from caseway.contracts.control import AgentCard
from caseway.contracts.deadline import TimerKind, TimerRequest
from caseway.contracts.definition import AgentTask, EffectTask, HumanTask
from caseway.contracts.record import instant_of
from caseway.contracts.report import Purpose, TaskOffered
from caseway.kernel.calendars import due_at, warn_at
from caseway.kernel.identity import effect_id, spread
from caseway.kernel.registry import Registry
from caseway_router.script import Script, about, lease_timer, queue_timer, retry_timer

# An offer that nobody claimed is published again this often; a claim needs no offer.
REOFFER_S = 60
# What a person may hold a task of a queue for before it goes back.
PERSON_LEASE_S = 4 * 3600
# How many candidates an assignment explains; the rest stood behind these.
_EXPLAINED = 3

Granted = AgentTask | EffectTask


def open_task(script: Script, name: str) -> None:
    """Make a task of the current phase available for the first time."""
    task = script.machine.task(name)
    task_id = f"{name}-{script.state.round}"
    if isinstance(task, HumanTask):
        script.say(
            TaskOpened(
                task_id=task_id,
                task=name,
                kind=task.kind,
                queue=task.queue,
                inputs_digest=script.machine.inputs_digest(name, script.state.facts),
                timers=(_promise(script, task_id, task),),
            )
        )
        return
    assign(script, name, task, Purpose.WORK)


def assign(script: Script, name: str, task: Granted, purpose: Purpose) -> None:
    """Grant a task to the first of the ranking, or leave it open to claims."""
    known = script.state.tasks.get(name)
    ranking = rank(script.registry, script.case_id, name, task.skill, task.pool, known)
    if not ranking or script.registry.is_halted:
        _leave_open(script, name, task, purpose)
        return
    grant(script, name, task, purpose, f"agent:{ranking[0].agent}", ranking[:_EXPLAINED])


def rank(
    registry: Registry, case_id: str, name: str, skill: str, pool: str, known: TaskState | None
) -> tuple[Ranked, ...]:
    """Every agent that may do this now, best first, each with its reason."""
    tried = {attempt.holder for attempt in known.ended} if known else set()
    attempt = len(known.ended) if known else 0

    def place(card: AgentCard) -> tuple[bool, int]:
        was_tried = f"agent:{card.agent_id}" in tried
        return was_tried, spread(case_id, name, str(attempt), card.agent_id)

    cards = [
        card
        for card in registry.agents_by_skill.get(skill, ())
        if card.pool == pool and card.agent_id not in registry.quarantined
    ]
    return tuple(
        Ranked(
            agent=card.agent_id,
            why=f"skill {skill}, " + ("tried before" if place(card)[0] else "not tried yet"),
        )
        for card in sorted(cards, key=place)
    )


def grant(
    script: Script,
    name: str,
    task: Granted,
    purpose: Purpose,
    holder: str,
    ranking: tuple[Ranked, ...] = (),
) -> None:
    """Give one holder the lease and the next fencing token, and offer the packet."""
    state = script.state
    known = state.tasks.get(name)
    task_id = known.task_id if known else f"{name}-{state.round}"
    token = state.token + 1
    digest = script.machine.inputs_digest(name, state.facts)
    is_agent = holder.startswith("agent:")
    lease_s = task.lease.seconds if is_agent else PERSON_LEASE_S
    lease = TimerRequest(
        timer_id=lease_timer(task_id),
        kind=TimerKind.LEASE,
        about=about(task_id, token),
        after_s=lease_s,
    )
    granted = TaskGranted(
        task_id=task_id,
        holder=holder,
        token=token,
        attempt=(known.attempts if known else 0) + 1,
        purpose=purpose,
        lease_s=lease_s,
        inputs_digest=digest,
        ranking=ranking,
        timers=(lease,),
        cancels=(retry_timer(task_id),) if known else (),
    )
    script.say(granted)
    if is_agent:
        agent = holder.partition(":")[2]
        script.offer(task.pool, task.skill, agent, packet(script, name, task, token, purpose))


def grant_person(script: Script, known: TaskState, holder: str) -> None:
    """Give a person of the task's queue the lease; the packet is read from the case."""
    token = script.state.token + 1
    lease = TimerRequest(
        timer_id=lease_timer(known.task_id),
        kind=TimerKind.LEASE,
        about=about(known.task_id, token),
        after_s=PERSON_LEASE_S,
    )
    script.say(
        TaskGranted(
            task_id=known.task_id,
            holder=holder,
            token=token,
            attempt=known.attempts + 1,
            purpose=known.purpose,
            lease_s=PERSON_LEASE_S,
            # The person reads the case as it is now, not as it was when the task was queued.
            inputs_digest=script.machine.inputs_digest(known.task, script.state.facts),
            timers=(lease,),
        )
    )


def packet(script: Script, name: str, task: Granted, token: int, purpose: Purpose) -> TaskOffered:
    """The task packet: only the facts that this task may see."""
    state = script.state
    known = state.tasks[name]
    is_effect = isinstance(task, EffectTask)
    return TaskOffered(
        task_id=known.task_id,
        task=name,
        kind=task.kind,
        purpose=purpose,
        attempt=known.attempts + 1,
        token=token,
        lease_s=task.lease.seconds,
        inputs_digest=known.inputs_digest,
        facts=script.machine.offered_facts(name, state.facts),
        effect_id=known.effect_id or (effect_of(script, name) if is_effect else ""),
    )


def effect_of(script: Script, name: str) -> str:
    """The effect id of a task in this round of the case: never of an attempt."""
    return effect_id(script.registry.namespace, script.case_id, name, script.state.round)


def reoffer(script: Script, known: TaskState) -> None:
    """Try to assign an open task again; if still nobody can take it, publish the offer anew."""
    task = script.machine.task(known.task)
    assert not isinstance(task, HumanTask), "a person's task is never offered to a pool"
    if is_assignable(script, known):
        assign(script, known.task, task, known.purpose)
        return
    script.say(
        TaskReoffered(
            task_id=known.task_id,
            inputs_digest=script.machine.inputs_digest(known.task, script.state.facts),
            reason="unclaimed",
            timers=(_reoffer_timer(known.task_id),),
        )
    )
    if not script.registry.is_halted:
        offered = packet(script, known.task, task, 0, known.purpose)
        script.offer(task.pool, task.skill, "", offered)


def escalate(script: Script, known: TaskState, code: str) -> None:
    """Make a task a person's, in its fallback queue, with everything that was attempted."""
    task = script.machine.task(known.task)
    assert not isinstance(task, HumanTask), "a person's task goes up when its promise is missed"
    script.say(
        TaskEscalated(
            task_id=known.task_id,
            queue=task.fallback,
            code=code,
            inputs_digest=script.machine.inputs_digest(known.task, script.state.facts),
            cancels=(lease_timer(known.task_id), retry_timer(known.task_id)),
        )
    )


def overdue(script: Script, known: TaskState, task: HumanTask) -> None:
    """A promise was missed: the next queue has the task from now on, and the promise runs again.

    Whoever holds it keeps it. At the top of the ladder the same is said at every further breach,
    so that a task nobody does is never silent.
    """
    script.say(
        TaskEscalated(
            task_id=known.task_id,
            queue=task.escalates_to,
            code="SLA_BREACHED",
            inputs_digest=script.machine.inputs_digest(known.task, script.state.facts),
            timers=(_promise(script, known.task_id, task),),
        )
    )


def is_assignable(script: Script, known: TaskState) -> bool:
    """Whether somebody could be granted an open task now."""
    task = script.machine.task(known.task)
    assert not isinstance(task, HumanTask), "a person's task is never open to a pool"
    ranking = rank(script.registry, script.case_id, known.task, task.skill, task.pool, known)
    return bool(ranking) and not script.registry.is_halted


def _leave_open(script: Script, name: str, task: Granted, purpose: Purpose) -> None:
    known = script.state.tasks.get(name)
    task_id = known.task_id if known else f"{name}-{script.state.round}"
    script.say(
        TaskOpened(
            task_id=task_id,
            task=name,
            kind=task.kind,
            skill=task.skill,
            pool=task.pool,
            inputs_digest=script.machine.inputs_digest(name, script.state.facts),
            timers=(_reoffer_timer(task_id),),
        )
    )
    if not script.registry.is_halted:
        script.offer(task.pool, task.skill, "", packet(script, name, task, 0, purpose))


def _promise(script: Script, task_id: str, task: HumanTask) -> TimerRequest:
    """The SLA of a person's task from now on; it runs whether or not somebody holds the task."""
    start = instant_of(script.delivery.at_ms)
    due = due_at(start, task.sla, None)
    return TimerRequest(
        timer_id=queue_timer(task_id),
        kind=TimerKind.SLA,
        about=task_id,
        due_at=due,
        warn_at=warn_at(start, due),
    )


def _reoffer_timer(task_id: str) -> TimerRequest:
    return TimerRequest(
        timer_id=retry_timer(task_id), kind=TimerKind.OFFER, about=task_id, after_s=REOFFER_S
    )
