"""Whatever order things come in, an open case is never stuck and nothing happens twice.

Hypothesis makes the stories; timers come from what the events set and cancel, as the watchdog
would have them. The checks read events and state alone and know nothing of the code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from caseway.casefile.state import TaskState, TaskStatus
from caseway.contracts import report
from caseway.contracts.case import (
    CaseClosed,
    EffectPermitted,
    EffectSettled,
    GateRequested,
    ReportRefused,
    TaskGranted,
    WishRefused,
)
from caseway.contracts.deadline import TimerKind
from caseway.contracts.decision import Choice

from .desk import (
    AGENTS,
    PAID,
    PAYEE,
    PEOPLE,
    RESULTS,
    World,
    amendment,
    assessed,
    at_gate,
    opened,
    paying,
    permitted,
    queued,
    withdrawal,
)

ACTORS = (*(f"agent:{name}" for name in AGENTS), *(f"person:{name}" for name in PEOPLE))
GONE = {"task_id": "triage-1", "token": 1, "inputs_digest": "a" * 64, "effect_id": "a" * 64}
Move = Callable[[World], World]


def _in_work(world: World) -> TaskState | None:
    tasks = [task for task in world.state.tasks.values() if task.status is not TaskStatus.DONE]
    return tasks[0] if tasks else None


def _reports(model: Any, actor: str, age: int, world: World, **fields: Any) -> World:
    """Somebody reports on the task in work with its token or an older one, or on one that is gone.

    Without an actor it is the holder, as far as there is one.
    """
    task = _in_work(world)
    if task is None:
        return world.report(model, actor or "agent:triage-1", **{**GONE, **fields})
    stale: dict[str, Any] = {"token": max(1, task.token - age)}
    stale |= {} if task.effect_id else {"effect_id": "b" * 64}
    return world.report(model, actor or task.holder or "agent:triage-2", **{**stale, **fields})


def _completes(actor: str, age: int, good: bool, world: World) -> World:
    task = _in_work(world)
    output = RESULTS.get(task.task, {}) if task is not None and good else {"line": "boat"}
    fields = {"output": output, "confidence": "0.9" if good else "0.1"}
    return _reports(report.CompleteTask, actor, age, world, **fields)


def _settles(actor: str, outcome: str, world: World) -> World:
    output = PAID if outcome == "done" else {}
    return _reports(report.ReportEffect, actor, 0, world, outcome=outcome, output=output)


def _fails(actor: str, age: int, again: bool, world: World) -> World:
    fields = {"code": "x", "is_retryable": again}
    return _reports(report.FailTask, actor, age, world, **fields)


def _says(model: Any, actor: str, age: int, world: World) -> World:
    fields = {"reason": "busy"} if model is report.ReleaseTask else {}
    return _reports(model, actor, age, world, **fields)


def _decides(choice: Choice, back: int, world: World) -> World:
    asked = [event for event in world.story.history if isinstance(event, GateRequested)]
    if not asked:
        return world
    return world.decide(choice, revision=max(1, asked[-1].revision - back))


def _fires(number: int, world: World) -> World:
    names = sorted(world.timers, key=lambda name: (world.timers[name][0], name))
    return world.fire(names[number % len(names)]) if names else world


def _fires_late(number: int, world: World) -> World:
    """A timer that was set once and may be gone or moved by now."""
    timers = [timer for event in world.story.history for timer in getattr(event, "timers", ())]
    if not timers:
        return world
    timer = timers[-1 - number % len(timers)]
    if (
        timer.kind is not TimerKind.LEASE
        or world.timers.get(timer.timer_id, (0, timer))[1] == timer
    ):
        return world
    late = World(world.story, {timer.timer_id: (world.story.at_ms, timer)}).fire()
    assert not late.events, "a lease that was overtaken ended something"
    return world


def _amends(changes: dict[str, Any], world: World) -> World:
    return world.hear(amendment(**changes))


def _switches(name: str, world: World) -> World:
    is_shut = name in world.story.registry.quarantined
    return world.freed(name) if is_shut else world.quarantined(name)


def _halts(world: World) -> World:
    return world.resumed() if world.story.registry.is_halted else world.halted()


def moves() -> st.SearchStrategy[Move]:
    # Mostly the holder acts, so that stories get far; now and then it is anybody.
    actor = st.one_of(st.just(""), st.just(""), st.sampled_from(ACTORS))
    age, yes = st.sampled_from((0, 0, 0, 1)), st.sampled_from((True, True, False))
    outcome = st.sampled_from(("done", "unknown", "unknown", "not_done"))
    model = st.sampled_from((report.HeartbeatTask, report.ReleaseTask, report.BeginEffect))
    number = st.integers(0, 3)
    choice = st.sampled_from((Choice.APPROVE, Choice.APPROVE, *Choice))
    change = st.sampled_from(
        (
            {"payee": PAYEE},
            {"claimant": PAYEE},
            {"fraud_reported": True},
            {"amount": {"amount": "100.00", "currency": "USD"}},
        )
    )

    def move(function: Any, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Move]:
        return st.tuples(*parts).map(lambda chosen: partial(function, *chosen))

    return st.one_of(
        move(_completes, actor, age, yes),
        move(_says, st.just(report.ClaimTask), st.sampled_from(ACTORS), age),
        move(_says, model, actor, age),
        move(_says, st.just(report.BeginEffect), st.just(""), st.just(0)),
        move(_settles, actor, outcome),
        move(_fails, actor, age, yes),
        move(_decides, choice, age),
        move(_fires, number),
        move(_fires, number),
        move(_fires_late, st.integers(0, 9)),
        move(_amends, change),
        move(_switches, st.sampled_from(tuple(AGENTS))),
        st.just(_halts),
        st.sampled_from((_halts, lambda world: world.hear(withdrawal()))),
    )


STARTS = st.sampled_from((opened, assessed, queued, at_gate, paying, permitted, permitted))


@settings(max_examples=60, deadline=None)
@for_all(STARTS, st.lists(moves(), max_size=16))
def test_no_order_of_things_leaves_a_case_stuck_or_does_something_twice(
    start: Callable[[], World], story: list[Move]
) -> None:
    world = start()
    check(world)
    for move in story:
        before, world = world, move(world)
        check(world)
        check_step(before, world)


def check(world: World) -> None:
    history = world.story.history
    tokens = [event.token for event in history if isinstance(event, TaskGranted)]
    assert tokens == sorted(set(tokens)), f"tokens do not grow: {tokens}"
    permits = Counter(event.effect_id for event in history if isinstance(event, EffectPermitted))
    assert all(count == 1 for count in permits.values()), "an effect was permitted twice"
    check_second_permits(world)
    if world.state.is_closed:
        assert not world.timers
        assert isinstance(history[-1], CaseClosed | ReportRefused | WishRefused)
        assert sum(isinstance(event, CaseClosed) for event in history) == 1
        return
    waiting = [task for task in world.state.tasks.values() if task.status is not TaskStatus.DONE]
    for task in waiting:
        check_moves(world, task)
    gate = world.state.gate
    if gate is not None:
        asked = world.request
        assert (asked.gate_id, asked.revision) == (gate.gate_id, gate.revision)
        assert asked.digest == gate.digest
    assert waiting or gate is not None, "nothing moves this case any more"
    assert not world.state.is_stuck
    known = {task.task_id for task in waiting}
    assert {name.partition("/")[2] for name in world.timers} <= known, "a timer nobody waits for"


def check_moves(world: World, task: TaskState) -> None:
    """What carries a task on from each status: a timer of the right kind, or a named queue."""
    timers = {name: timer for name, (_, timer) in world.timers.items()}
    lease = timers.get(f"lease/{task.task_id}")
    retry = timers.get(f"retry/{task.task_id}")
    kind = {
        TaskStatus.OPEN: (None, TimerKind.OFFER),
        TaskStatus.GRANTED: (TimerKind.LEASE, None),
        TaskStatus.PERMITTED: (TimerKind.PERMIT, None),
        TaskStatus.RESTING: (None, TimerKind.RETRY),
        TaskStatus.QUEUED: (None, None),
    }[task.status]
    assert (lease and lease.kind, retry and retry.kind) == kind, task
    if lease is not None:
        assert lease.about == f"{task.task_id}#{task.token}"
        assert task.holder
        assert task.holder.partition(":")[2] not in world.story.registry.quarantined
    else:
        assert task.holder == ""
    assert task.status is not TaskStatus.QUEUED or task.queue
    if task.task == "request":
        assert f"sla/{task.task_id}" in timers, "a person's task without its promise"


def check_second_permits(world: World) -> None:
    """Between two permits a person has said that the first came to nothing."""
    is_open = False
    for event in world.story.history:
        if isinstance(event, EffectPermitted):
            assert not is_open, "a second effect was permitted while the first was in doubt"
            is_open = True
        elif isinstance(event, EffectSettled) and event.by.startswith("person:"):
            is_open = False


def check_step(before: World, world: World) -> None:
    """A closed case absorbs; a refusal changes nothing; halted agents are offered nothing."""
    if before.state.is_closed:
        assert world.state == before.state
    if any(isinstance(event, ReportRefused | WishRefused) for event in world.events):
        assert len(world.events) == 1
        assert world.state == before.state
    if world.story.registry.is_halted and world.story is not before.story:
        assert not [event for event in world.events if isinstance(event, EffectPermitted)]
        assert world.story.said.offers == ()


def test_the_stories_reach_what_they_are_about() -> None:
    """A property over stories in which nothing happens would prove nothing."""
    world = _decides(Choice.APPROVE, 0, at_gate())
    world = _says(report.BeginEffect, "", 0, world)
    assert world.task.status is TaskStatus.PERMITTED
    world = _fires(0, _settles("", "unknown", world))
    world = _settles("", "not_done", world)
    world = _says(report.ClaimTask, "person:pat", 0, world)
    world = _settles("", "not_done", world)
    world = _says(report.BeginEffect, "", 0, _decides(Choice.APPROVE, 0, world))
    world = _settles("", "done", world)
    assert world.state.outcome == "paid"
    check(world)
