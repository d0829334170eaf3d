"""Tasks, tokens and permits of a case on its own log (I02 I06 I18 I19 I20 I21)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caseway.contracts import case
from caseway.contracts.codec import Event
from caseway.contracts.report import EffectOutcome, Purpose
from caseway.invariants.invariant import At, Report
from caseway.invariants.life import HELD, Life, Task
from caseway.invariants.moves import Move, check_grant
from caseway.invariants.published import Published


class Tasks:
    """What happens to the tasks of a case, and to the effects that they lead to."""

    def __init__(self, published: Published, report: Report) -> None:
        self._permits: set[str] = set()
        self._published = published
        self._report = report

    def take(self, life: Life, at: At, event: Event) -> None:
        """The next event of an open case, if it is about a task."""
        fold = _FOLDS.get(type(event.data))
        if fold is not None:
            fold(self, life, event.data, at, event)

    def _task(
        self, life: Life, data: Any, at: At, event: Event, *allowed: str, rule: str = "I21"
    ) -> Task | None:
        """The task, if it stands where this event may find it, under the token it names."""
        task = life.tasks.get(data.task_id.rpartition("-")[0])
        what = f"{event.envelope.type} of {data.task_id}"
        if task is None or task.task_id != data.task_id or task.status not in allowed:
            status = task.status if task is not None and task.task_id == data.task_id else "absent"
            self._report(rule, event.key, f"{what}, which is {status}", at)
            return None
        token = getattr(data, "token", task.token)
        if token != task.token:
            self._report("I18", event.key, f"{what} under token {token}, not {task.token}", at)
        if getattr(data, "holder", task.holder) != task.holder:
            self._report("I18", event.key, f"{what} by another than its holder", at)
        return task

    def _task_opened(self, life: Life, data: case.TaskOpened, at: At, event: Event) -> None:
        known = life.tasks.get(data.task)
        if known is not None and known.status != "resting":
            self._report("I21", event.key, f"{data.task_id} opens, which is {known.status}", at)
        task = life.tasks.setdefault(data.task, Task(data.task_id, ""))
        task.status, task.queue, task.holder = "queued" if data.queue else "open", data.queue, ""

    def _granted(self, life: Life, data: case.TaskGranted, at: At, event: Event) -> None:
        key, name = event.key, data.task_id.rpartition("-")[0]
        known = life.tasks.get(name)
        if known is not None and known.status in {*HELD, "done"}:
            self._report("I18", key, f"{data.task_id} is granted, which is {known.status}", at)
        if data.token <= life.token:
            self._report("I18", key, f"token {data.token} is granted after {life.token}", at)
        task = life.tasks.setdefault(name, Task(data.task_id, ""))
        position, published, queue = event.envelope.registry_position, self._published, task.queue
        life.token = max(life.token, data.token)
        task.status, task.token, task.holder = "granted", data.token, data.holder
        task.purpose, digest = data.purpose, life.definition

        def judge() -> None:
            document = published.definitions.get(digest)
            for rule, found in check_grant(document, name, data.holder, queue, published, position):
                self._report(rule, key, found, at)

        published.when(position, judge)

    def _extended(self, life: Life, data: case.LeaseExtended, at: At, event: Event) -> None:
        self._task(life, data, at, event, "granted", rule="I18")

    def _completed(self, life: Life, data: case.TaskCompleted, at: At, event: Event) -> None:
        task = self._task(life, data, at, event, *HELD, rule="I18")
        if task is not None:
            task.status = "done"
        life.facts.update(data.output)
        life.preparers.add(data.holder)
        life.move = Move("completed")

    def _attempt_ended(self, life: Life, data: case.AttemptEnded, at: At, event: Event) -> None:
        task = self._task(life, data, at, event, "granted", rule="I18")
        if task is not None:
            task.status, task.holder = "resting", ""

    def _reoffered(self, life: Life, data: case.TaskReoffered, at: At, event: Event) -> None:
        self._task(life, data, at, event, "open")

    def _escalated(self, life: Life, data: case.TaskEscalated, at: At, event: Event) -> None:
        task = self._task(life, data, at, event, "granted", "resting", "queued", "open")
        if task is not None:
            task.queue = data.queue
            task.status = task.status if task.status == "granted" else "queued"

    def _cancelled(self, life: Life, data: case.TaskCancelled, at: At, event: Event) -> None:
        statuses = (*HELD, "open", "resting", "queued")
        if self._task(life, data, at, event, *statuses) is not None:
            del life.tasks[data.task_id.rpartition("-")[0]]

    # -- effects ------------------------------------------------------------------------------

    def _permitted(self, life: Life, data: case.EffectPermitted, at: At, event: Event) -> None:
        name = data.task_id.rpartition("-")[0]
        if data.effect_id in self._permits:
            self._report("I02", event.key, "an effect id is permitted a second time", at)
            return
        if name in life.effects:
            self._report("I02", event.key, f"{name} is permitted while a permit is open", at)
        self._permits.add(data.effect_id)
        life.effects[name] = data.effect_id
        task = self._task(life, data, at, event, "granted")
        if task is not None:
            task.status = "permitted"
        material = life.approved.get((data.gate_id, data.revision))
        if material is None:
            self._report("I06", event.key, "an effect is permitted by no approval", at)
        elif data.payee not in material.values() or not any(
            isinstance(value, dict) and value == data.amount.model_dump()
            for value in material.values()
        ):
            self._report("I06", event.key, "the permit is not for what was approved", at)

    def _doubted(self, life: Life, data: case.EffectDoubted, at: At, event: Event) -> None:
        task = self._task(life, data, at, event, *HELD)
        if task is not None and task.status == "granted" and task.purpose is Purpose.WORK:
            self._report("I21", event.key, f"{data.task_id} is doubted, and never permitted", at)
        if task is not None:
            task.status, task.holder = "resting", ""

    def _settled(self, life: Life, data: case.EffectSettled, at: At, event: Event) -> None:
        name = data.task_id.rpartition("-")[0]
        task = self._task(life, data, at, event, *HELD)
        if life.effects.get(name) != data.effect_id:
            self._report("I02", event.key, "an effect is settled that is not permitted", at)
        if data.outcome is EffectOutcome.DONE:
            return
        if task is not None:
            task.status, task.holder = "resting", ""
        life.preparers.add(data.by)
        if data.by.startswith("person:"):
            life.effects.pop(name, None)
            life.move = Move("undone", task=name)


_FOLDS: dict[type, Callable[[Tasks, Life, Any, At, Event], None]] = {
    case.TaskOpened: Tasks._task_opened,
    case.TaskGranted: Tasks._granted,
    case.LeaseExtended: Tasks._extended,
    case.TaskCompleted: Tasks._completed,
    case.AttemptEnded: Tasks._attempt_ended,
    case.TaskReoffered: Tasks._reoffered,
    case.TaskEscalated: Tasks._escalated,
    case.TaskCancelled: Tasks._cancelled,
    case.EffectPermitted: Tasks._permitted,
    case.EffectDoubted: Tasks._doubted,
    case.EffectSettled: Tasks._settled,
}

OF_TASKS = frozenset(_FOLDS)
