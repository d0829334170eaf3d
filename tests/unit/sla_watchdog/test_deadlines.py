"""Timers are set once, moved, cancelled, warned of and fired; never early and never twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from caseway.contracts.case import CaseClosed, TaskCancelled, TaskOpened
from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import Event, decode, encode
from caseway.contracts.deadline import (
    SlaBreached,
    Timed,
    Timer,
    TimerFired,
    TimerKind,
    TimerRequest,
    TimersUpdated,
    TimerWarned,
)
from caseway.contracts.decision import GateRetired
from caseway.contracts.envelope import Envelope, Strength
from caseway.contracts.fields import Contract
from caseway.contracts.record import Record, instant_of
from caseway.errors import IntegrityError
from caseway.hosting.worker import Worker
from caseway.kernel.processor import Actor, Delivery
from caseway.kernel.registry import Registry
from caseway.testing import Given, registry_of
from caseway_sla_watchdog.service import CARD
from caseway_sla_watchdog.state import Deadlines

T0 = 1_772_460_000_000
SECOND = 1_000


def given() -> Given[Deadlines]:
    return replace(Given(CARD), at_ms=T0)


def wanted(name: str = "task-1", kind: str = "lease", **fields: Any) -> TimerRequest:
    made = {"timer_id": f"{kind}/{name}", "kind": kind, "about": name, **fields}
    if "due_at" not in made:
        made.setdefault("after_s", 60)
    return TimerRequest(**made)


def asking(*timers: TimerRequest, cancels: tuple[str, ...] = ()) -> TaskOpened:
    return TaskOpened(
        task_id="task-1",
        task="task",
        kind="agent",
        inputs_digest="a" * 64,
        timers=timers,
        cancels=cancels,
    )


def sla(due_s: int, warn_s: int | None, name: str = "gate-1/1/0") -> TimerRequest:
    warn = {} if warn_s is None else {"warn_at": instant_of(T0 + warn_s * SECOND)}
    due = instant_of(T0 + due_s * SECOND)
    return wanted(name, "sla", due_at=due, **warn)


def armed(story: Given[Deadlines]) -> tuple[Timer, ...]:
    (event,) = story.said_events
    assert isinstance(event, TimersUpdated)
    return event.armed


def test_every_event_that_may_carry_timers_is_heard_and_no_other() -> None:
    heard = {(each.topic.name, name) for each in CARD.inputs for name in each.hears}
    expected = {
        (topic, event_type.name)
        for event_type in CATALOG.values()
        for topic in event_type.topics
        if issubclass(event_type.model, Timed)
    }
    assert heard == expected
    assert {topic for topic, _ in heard} == {"cases", "approvals"}


def test_a_span_runs_from_the_append_time_of_the_record_that_asks() -> None:
    story = given().when(asking(wanted(after_s=60)), at=T0 + 5)
    story.then(
        TimersUpdated(
            armed=(
                Timer(
                    timer_id="lease/task-1",
                    kind=TimerKind.LEASE,
                    about="task-1",
                    due_at=instant_of(T0 + 5 + 60 * SECOND),
                    requester="cases",
                ),
            )
        )
    )


def test_what_came_from_another_topic_before_it_moves_no_span() -> None:
    """Found by the simulator: after an outage every lease ran as much longer as it had lasted."""
    worker = Worker(CARD, 0, registry_of())
    told = [("approvals", 90_000, sla(7_200, None)), ("cases", 5_000, wanted(after_s=60))]
    for topic, after_ms, timer in told:
        source = next(each for each in CARD.inputs if each.topic.name == topic)
        envelope = Envelope("e-1", "/test", TaskOpened.TYPE, TaskOpened.VERSION)
        data: Contract = asking(timer)
        if topic == "approvals":
            data = GateRetired(gate_id="gate-1", revision=1, reason="x", timers=(timer,))
            envelope = envelope._replace(type=GateRetired.TYPE, version=GateRetired.VERSION)
        draft = encode(topic, 0, Event("c-1", envelope, data))
        worker.take(source, Record(topic, 0, 0, T0 + after_ms, *draft[2:]))
    worker.decide_held()
    own, _ = worker.drafts()
    armed = decode(Record("deadlines", 0, 0, T0, *own[-1][2:]), is_sole_writer=True).data
    assert isinstance(armed, TimersUpdated)
    assert armed.armed[0].due_at == instant_of(T0 + 65 * SECOND)


def test_an_instant_is_kept_as_it_was_given_and_names_who_asked() -> None:
    event = GateRetired(gate_id="gate-1", revision=1, reason="x", timers=(sla(90, 45),))
    (timer,) = armed(given().when(event, at=T0 + 7 * SECOND))
    assert (timer.due_at, timer.warn_at) == (
        instant_of(T0 + 90 * SECOND),
        instant_of(T0 + 45 * SECOND),
    )
    assert timer.requester == "approvals"


def test_the_same_record_again_arms_nothing_twice() -> None:
    record = asking(wanted(), sla(90, 45))
    story = given().when(record)
    story.when(record).then_nothing()
    # Nor after its warning, which is said once for the timer and not once for the record.
    warned = story.woken(T0 + 45 * SECOND).then_like(TimerWarned, timer_id="sla/gate-1/1/0")
    replace(warned, at_ms=T0).when(record).then_nothing()
    warned.woken(T0 + 50 * SECOND).then_nothing()


def test_setting_an_open_id_again_moves_it() -> None:
    story = given().when(asking(wanted(after_s=60)))
    story = story.when(asking(wanted(after_s=60), cancels=("lease/task-1",)), at=T0 + SECOND)
    (timer,) = armed(story)
    assert timer.due_at == instant_of(T0 + 61 * SECOND)
    assert story.said_events[0].cancelled == ()  # type: ignore[attr-defined]
    story.woken(T0 + 60 * SECOND).then_nothing()
    story.woken(T0 + 61 * SECOND).then_like(TimerFired, timer_id="lease/task-1")


def test_a_timer_that_moved_warns_again() -> None:
    story = given().when(asking(sla(90, 45))).woken(T0 + 45 * SECOND)
    story = story.when(asking(sla(180, 100)))
    story.woken(T0 + 100 * SECOND).then_like(TimerWarned, due_at=instant_of(T0 + 180 * SECOND))


def test_only_open_timers_are_cancelled_and_nothing_is_said_for_nothing() -> None:
    ids = ("lease/task-1", "retry/task-1", "lease/task-1")
    story = given().when(asking(wanted()))
    cancelled = TaskCancelled(task_id="task-1", reason="x", cancels=ids)
    gone = story.when(cancelled).then(TimersUpdated(cancelled=("lease/task-1",)))
    assert gone.state is not None
    assert not gone.state.timers
    gone.when(cancelled).then_nothing()
    given().when(asking()).then_nothing()
    story.woken(T0 + 99 * SECOND).when(cancelled).then_nothing()


def test_a_closed_case_keeps_no_timer_whoever_asked_for_it() -> None:
    event = GateRetired(gate_id="gate-1", revision=1, reason="x", timers=(sla(90, None),))
    story = given().when(asking(wanted())).when(event)
    last = CaseClosed(outcome="paid", timers=(wanted("task-2"),))
    closed = story.when(last)
    closed.then(TimersUpdated(cancelled=("lease/task-1", "sla/gate-1/1/0")))
    assert closed.state is not None
    assert not closed.state.timers
    closed.when(last).then_nothing()


def test_nothing_is_said_early_and_everything_is_said_once() -> None:
    story = given().when(asking(wanted(after_s=60), sla(120, 90)))
    story.woken(T0 + 60 * SECOND - 1).then_nothing()
    story = story.woken(T0 + 60 * SECOND)
    story.then(
        TimerFired(
            timer_id="lease/task-1",
            kind=TimerKind.LEASE,
            about="task-1",
            due_at=instant_of(T0 + 60 * SECOND),
            detected_at=instant_of(T0 + 60 * SECOND),
            requester="cases",
        )
    )
    story.woken(T0 + 60 * SECOND).then_nothing()
    story.woken(T0 + 90 * SECOND - 1).then_nothing()
    story = story.woken(T0 + 90 * SECOND).then_like(
        TimerWarned,
        timer_id="sla/gate-1/1/0",
        about="gate-1/1/0",
        due_at=instant_of(T0 + 120 * SECOND),
        detected_at=instant_of(T0 + 90 * SECOND),
        requester="cases",
    )
    story.woken(T0 + 120 * SECOND - 1).then_nothing()
    story = story.woken(T0 + 120 * SECOND).then_like(SlaBreached)
    assert story.state is not None
    assert not story.state.timers


def test_an_outage_of_the_watchdog_stays_visible() -> None:
    story = given().when(asking(sla(120, 90), wanted(after_s=60)))
    story = story.woken(T0 + 86_400 * SECOND)
    # The oldest first; of a promise that is broken already nobody is warned.
    assert [type(event) for event in story.said_events] == [TimerFired, SlaBreached]
    story.then_holds(
        SlaBreached,
        breached_at=instant_of(T0 + 120 * SECOND),
        detected_at=instant_of(T0 + 86_400 * SECOND),
    )


def test_what_is_due_comes_in_the_order_of_its_instants_and_alone() -> None:
    two = asking(wanted("b-1", after_s=60), wanted("a-1", after_s=61), wanted("c-1", after_s=60))
    story = given().when(two).woken(T0 + 60 * SECOND)
    assert names(story) == ["lease/b-1", "lease/c-1"]
    close = asking(sla(60, None), wanted("a-1", due_at=instant_of(T0 + 60 * SECOND + 1)))
    assert names(given().when(close).woken(T0 + 60 * SECOND)) == ["sla/gate-1/1/0"]
    assert names(given().when(two).woken(T0 + 99 * SECOND)) == [
        "lease/b-1",
        "lease/c-1",
        "lease/a-1",
    ]


def names(story: Given[Deadlines]) -> list[str]:
    return [event.timer_id for event in story.said_events]  # type: ignore[attr-defined]


def test_the_next_instant_is_the_earliest_warning_or_due_time() -> None:
    story = given().when(asking(wanted(after_s=60), sla(120, 45)))
    assert due(story) == T0 + 45 * SECOND
    story = story.woken(T0 + 45 * SECOND)
    assert due(story) == T0 + 60 * SECOND
    story = story.woken(T0 + 60 * SECOND)
    assert due(story) == T0 + 120 * SECOND


def due(story: Given[Deadlines]) -> int | None:
    assert story.state is not None
    assert not CARD.is_settled(story.state)
    return CARD.due_ms(story.state)


@pytest.mark.parametrize("kind", list(TimerKind))
def test_only_a_missed_promise_is_a_breach(kind: TimerKind) -> None:
    story = given().when(asking(wanted("x", kind.value))).woken(T0 + 60 * SECOND)
    if kind is TimerKind.SLA:
        story.then_like(SlaBreached, timer_id="sla/x")
    else:
        story.then_like(TimerFired, timer_id=f"{kind.value}/x", kind=kind)


def test_a_log_in_which_a_timer_ends_twice_is_damaged() -> None:
    instant = instant_of(T0)
    fired = TimerFired(
        timer_id="lease/task-1",
        kind=TimerKind.LEASE,
        about="task-1",
        due_at=instant,
        detected_at=instant,
        requester="cases",
    )
    cancelled = TimersUpdated(cancelled=("lease/task-1",))
    warned = TimerWarned(
        timer_id="lease/task-1", about="x", due_at=instant, detected_at=instant, requester="cases"
    )
    events: tuple[Contract, ...] = (fired, cancelled, warned)
    for event in events:
        with pytest.raises(IntegrityError, match="is not open"):
            given().events("c-1", event)


NAMES = st.sampled_from(("a-1", "b-1", "c-1"))
STEPS = st.one_of(
    st.tuples(st.just("ask"), NAMES, st.integers(1, 50)),
    st.tuples(st.just("cancel"), NAMES, st.just(0)),
    st.tuples(st.just("wait"), st.just(""), st.integers(0, 40)),
    st.tuples(st.just("close"), st.just(""), st.just(0)),
)


@settings(max_examples=200, deadline=None)
@for_all(st.lists(STEPS, max_size=20))
def test_each_timer_that_is_set_ends_exactly_once_and_in_time(steps: list[Any]) -> None:
    story, expected = given(), dict[str, int]()
    for what, name, number in steps:
        if what == "ask":
            story = story.when(asking(wanted(name, after_s=number)))
            expected[f"lease/{name}"] = story.at_ms + number * SECOND
        elif what == "cancel":
            story = story.when(asking(cancels=(f"lease/{name}",)))
            expected.pop(f"lease/{name}", None)
        elif what == "close":
            story = story.when(CaseClosed(outcome="paid"))
            expected.clear()
        else:
            story = story.woken(story.at_ms + number * SECOND)
            late = {each for each, due_ms in expected.items() if due_ms <= story.at_ms}
            said = [event.timer_id for event in story.said_events]  # type: ignore[attr-defined]
            assert sorted(said) == sorted(late)
            expected = {each: at for each, at in expected.items() if each not in late}
        open_ = {} if story.state is None else story.state.timers
        assert {each: timer.due_ms for each, timer in open_.items()} == expected


def _delivery(data: Contract, at_ms: int) -> Delivery:
    name = data.TYPE  # type: ignore[attr-defined]
    event = Event("c-1", Envelope("e-1", "/test", name, 1), data)
    return Delivery(event, "cases", f"g/cases/0/{at_ms}", at_ms, _ROUTER, at_ms)


def _decided(state: Deadlines | None, deliveries: Sequence[Delivery]) -> tuple[Deadlines, int]:
    """The timers after these deliveries, and how many events it took to say so."""
    said = 0
    for delivery in deliveries:
        for data in CARD.decide(state, delivery, Registry()).events:
            state, said = CARD.evolve(state, delivery.event._replace(data=data)), said + 1
    return state or Deadlines(), said


_ROUTER = Actor("system:router", Strength.SYSTEM)
_ASKED = st.builds(
    lambda kind, arms, cancels, spans: (
        CaseClosed(outcome="paid")
        if kind == 0
        else asking(
            *(wanted(name, after_s=span) for name, span in zip(sorted(arms), spans, strict=False)),
            cancels=tuple(f"lease/{name}" for name in sorted(cancels)),
        )
    ),
    st.integers(0, 6),
    st.sets(NAMES),
    st.sets(NAMES),
    st.lists(st.integers(1, 50), min_size=3, max_size=3),
)


@settings(max_examples=300, deadline=None)
@for_all(st.lists(_ASKED, max_size=3), st.lists(_ASKED, min_size=1, max_size=6))
def test_what_came_together_ends_where_one_by_one_would_and_says_no_more(
    before: list[Contract], together: list[Contract]
) -> None:
    stories = [_delivery(data, T0 + index) for index, data in enumerate([*before, *together])]
    state, _ = _decided(None, stories[: len(before)])
    one_by_one, said = _decided(state, stories[len(before) :])
    pruned, said_pruned = _decided(state, CARD.prune(stories[len(before) :]))
    assert pruned == one_by_one
    assert said_pruned <= said


def test_a_lease_that_is_over_before_it_was_written_is_never_written() -> None:
    done = TaskCancelled(task_id="task-1", reason="x", cancels=("lease/task-1",))
    came = [_delivery(asking(wanted()), T0), _delivery(done, T0 + SECOND)]
    assert _decided(None, CARD.prune(came)) == (Deadlines(), 0)
    assert _decided(None, came)[1] == 2


def test_the_watchdog_lingers_for_less_than_its_shortest_timer() -> None:
    assert 0 < CARD.linger_ms < SECOND
