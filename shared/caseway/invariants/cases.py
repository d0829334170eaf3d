"""The `cases` log: the way of each case, its gates and its end (I03 I06 I07 I09 I21).

What is judged by a definition waits until the registry was read as far as the writer had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from caseway.contracts import case
from caseway.contracts.codec import Event
from caseway.contracts.decision import Choice
from caseway.contracts.definition import WITHDRAWN
from caseway.invariants.invariant import At, Report
from caseway.invariants.life import Life
from caseway.invariants.moves import Move, check_end, check_gate, check_move
from caseway.invariants.pairs import Pairs, gate_of
from caseway.invariants.published import Published
from caseway.invariants.tasks import OF_TASKS, Tasks


class Cases:
    """Every case of the logs that were fed."""

    def __init__(self, published: Published, report: Report, pairs: Mapping[str, Pairs]) -> None:
        self.lives: dict[str, Life] = {}
        self._published = published
        self._report = report
        self._pairs = pairs
        self._tasks = Tasks(published, report)

    def take(self, at: At, event: Event) -> None:
        """The next event of a `cases` partition."""
        data, key = event.data, event.key
        life = self.lives.get(key)
        if isinstance(data, case.CaseOpened):
            self._opened(life, data, at, event)
            return
        fold = _FOLDS.get(type(data))
        if fold is None and type(data) not in OF_TASKS:
            return
        if life is None:
            self._report("I21", key, f"{event.envelope.type} of a case that was never opened", at)
        elif life.is_closed:
            self._report("I21", key, f"{event.envelope.type} after the case was closed", at)
        elif fold is not None:
            fold(self, life, data, at, event)
        else:
            self._tasks.take(life, at, event)

    # -- the way of a case --------------------------------------------------------------------

    def _opened(self, life: Life | None, data: case.CaseOpened, at: At, event: Event) -> None:
        if life is not None:
            self._report("I03", event.key, "the case is opened a second time", at)
            return
        self.lives[event.key] = Life(data.definition.digest, data.requester, dict(data.facts))
        self._pairs["admissions"].effect(event.key, at, event)

    def _entered(self, life: Life, data: case.PhaseEntered, at: At, event: Event) -> None:
        waiting = sorted(task.task_id for task in life.tasks.values() if task.status != "done")
        if waiting or life.gate is not None:
            found = f"{', '.join(waiting) or 'a gate'} of phase {life.phase!r} was left behind"
            self._report("I21", event.key, found, at)
        if data.round != life.round + 1:
            self._report("I21", event.key, f"round {data.round} follows {life.round}", at)
        done = frozenset(life.tasks)
        move = life.move._replace(
            start=life.phase, to=data.phase, done=done, visited=tuple(life.visited)
        )
        self._judge(life, event, partial(check_move, move), at)
        if data.phase in life.visited:
            del life.visited[life.visited.index(data.phase) :]
        life.visited.append(data.phase)
        life.phase, life.round, life.tasks, life.gate = data.phase, data.round, {}, None
        life.move = Move("entered")

    def _amended(self, life: Life, data: case.CaseAmended, at: At, event: Event) -> None:
        if life.effects:
            self._report("I21", event.key, "facts change after the point of no return", at)
        life.facts.update(data.changes)
        life.move = Move("amended")

    def _closed(self, life: Life, data: case.CaseClosed, at: At, event: Event) -> None:
        if any(task.status != "done" for task in life.tasks.values()) or life.gate is not None:
            self._report("I21", event.key, "the case is closed with work or a gate left", at)
        if data.outcome != WITHDRAWN:
            self._judge(life, event, partial(check_end, life.phase, data.outcome), at)
        elif life.effects:
            self._report("I21", event.key, "withdrawn after the point of no return", at)
        self.lives[event.key] = Life(life.definition, "", {}, is_closed=True)

    def _judge(self, life: Life, event: Event, check: Callable[[Any], str], at: At) -> None:
        """Ask the definition, once it is known, and report what it says against it."""
        digest, key, published = life.definition, event.key, self._published

        def judge() -> None:
            document = published.definitions.get(digest)
            found = check(document.spec) if document is not None else "its definition is unknown"
            if found:
                self._report("I21", key, found, at)

        published.when(event.envelope.registry_position, judge)

    # -- gates --------------------------------------------------------------------------------

    def _requested(self, life: Life, data: case.GateRequested, at: At, event: Event) -> None:
        if life.gate is not None:
            self._report("I21", event.key, f"{data.gate_id} is asked beside another gate", at)
        if data.requester != life.requester or not life.preparers <= set(data.preparers):
            self._report("I07", event.key, f"{data.gate_id} leaves out who prepared it", at)
        life.gate = (data.gate_id, data.revision, data.digest)
        life.asked = {(data.gate_id, data.revision): data.material}
        life.approved = {k: v for k, v in life.approved.items() if k[0] != data.gate_id}
        digest, facts, published = life.definition, dict(life.facts), self._published

        def judge() -> None:
            found = check_gate(published.definitions.get(digest), data, facts)
            if found:
                self._report("I06", event.key, found, at)

        published.when(event.envelope.registry_position, judge)
        self._pairs["requests"].cause(gate_of(event), at, event)

    def _consumed(self, life: Life, data: case.GateConsumed, at: At, event: Event) -> None:
        name = (data.gate_id, data.revision)
        if life.gate is None or life.gate != (*name, data.digest):
            rule = "I01" if name in life.approved else "I09"
            found = f"{data.gate_id} revision {data.revision} takes effect, and is not waiting"
            self._report(rule, event.key, found, at)
        if data.choice is Choice.APPROVE:
            life.approved[name] = life.asked.get(name, {})
        life.gate = None
        life.move = Move(data.choice.value)
        self._pairs["takings"].effect(gate_of(event), at, event)

    def _voided(self, life: Life, data: case.GateVoided, at: At, event: Event) -> None:
        if life.gate is None or life.gate[:2] != (data.gate_id, data.revision):
            self._report("I21", event.key, f"{data.gate_id} is voided, and is not waiting", at)
        life.gate = None


_FOLDS: dict[type, Callable[[Cases, Life, Any, At, Event], None]] = {
    case.PhaseEntered: Cases._entered,
    case.GateRequested: Cases._requested,
    case.GateConsumed: Cases._consumed,
    case.GateVoided: Cases._voided,
    case.CaseAmended: Cases._amended,
    case.CaseClosed: Cases._closed,
}
