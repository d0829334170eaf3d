"""After a permit the outside is asked by the effect id, and never told again; then a person is.

Whatever ends an attempt once its permit was given comes here: a lost lease, a failure, a release,
a quarantine, an unknown outcome.
"""

from __future__ import annotations

from caseway.casefile.state import TaskState
from caseway.contracts.case import EffectDoubted
from caseway.contracts.deadline import TimerKind, TimerRequest
from caseway.contracts.definition import EffectTask
from caseway.contracts.report import Purpose
from caseway_router.routing import assign, escalate
from caseway_router.script import Script, lease_timer, retry_timer

DOUBTED = "doubted"


def doubt(script: Script, known: TaskState, reason: str, *, rest_s: int = 0) -> None:
    """Ask the outside by the effect id, as often as the task has attempts, then a person.

    `rest_s` is how long a permit may still be used by someone who no longer reports: who asks
    before it ran out may hear "not done" of what is then done.
    """
    task = script.machine.task(known.task)
    assert isinstance(task, EffectTask), "only an effect is permitted, and so doubted"
    asked = sum(attempt.code == DOUBTED for attempt in known.ended)
    is_last = asked >= task.attempts or known.holder.startswith("person:")
    rest: tuple[TimerRequest, ...] = ()
    if rest_s and not is_last:
        rest = (
            TimerRequest(
                timer_id=retry_timer(known.task_id),
                kind=TimerKind.RETRY,
                about=known.task_id,
                after_s=rest_s,
            ),
        )
    script.say(
        EffectDoubted(
            task_id=known.task_id,
            effect_id=known.effect_id,
            reason=reason,
            timers=rest,
            cancels=(lease_timer(known.task_id), retry_timer(known.task_id)),
        )
    )
    if is_last:
        escalate(script, script.state.tasks[known.task], "EFFECT_UNKNOWN")
    elif not rest:
        assign(script, known.task, task, Purpose.RECONCILE)
