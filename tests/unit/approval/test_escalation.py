"""A missed SLA goes up the ladder once per breach, and the end of it is never silent."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from caseway.contracts.case import GateVoided
from caseway.contracts.decision import (
    DecisionEndorsed,
    DecisionRefused,
    GateDecided,
    GateEscalated,
    GateOverdue,
)
from caseway.testing import registry_of

from .office import (
    GATE,
    OTHER_DIGEST,
    asked,
    bench_of,
    breach,
    breached,
    decide,
    document,
    gate_of,
    given,
    office,
    opened,
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_breach_raises_the_gate_to_its_next_rung_with_the_whole_promise_again() -> None:
    story = opened()
    late = breach(
        story,
        breached_at="2026-03-04T14:00:00Z",
        detected_at="2026-03-04T15:30:00Z",
    )
    story = story.when(late, at="2026-03-04T15:30:01Z")
    story.then_like(
        GateEscalated,
        level=1,
        roles=("vp-claims",),
        due_at=at("2026-03-06T15:30:01Z"),
        breached_at=at("2026-03-04T14:00:00Z"),
        detected_at=at("2026-03-04T15:30:00Z"),
    )
    (event,) = story.said_events
    (timer,) = event.timers  # type: ignore[attr-defined]
    assert timer.timer_id == f"sla/{GATE}/1/1"
    assert timer.due_at == at("2026-03-06T15:30:01Z")
    assert timer.warn_at == at("2026-03-06T03:30:01Z")
    assert story.said.matrix == gate_of(story).pin


def test_the_rung_decides_and_the_level_below_no_more() -> None:
    story = breached(opened(preparers=()))
    story.when(decide(), actor="person:cid").then_like(DecisionRefused, code="AUTHORITY")
    story.when(decide(), actor="person:vera").then_like(
        GateDecided, level=1, roles=("vp-claims",), cancels=(f"sla/{GATE}/1/1",)
    )


def test_business_days_are_counted_again_in_the_matrix_calendar() -> None:
    story = opened("600000")
    # Friday at noon in New York, and five business days: the Friday after.
    story = story.when(breach(story), at="2026-03-06T17:00:00Z")
    story.then_like(GateEscalated, roles=("ceo", "legal"), due_at=at("2026-03-13T16:00:00Z"))


def test_the_end_of_the_ladder_alarms_again_and_again() -> None:
    story = breached(opened())
    for alarm in (1, 2, 3):
        due = bench_of(story).timer_id
        story = story.when(breach(story), at=story.at_ms + 48 * 3_600_000)
        story.then_like(GateOverdue, alarm=alarm, roles=("vp-claims",))
        assert bench_of(story).timer_id == f"sla/{GATE}/1/1/{alarm}" != due
        assert bench_of(story).level == 1
    story.when(decide(), actor="person:vera").then_like(GateDecided, cancels=(f"sla/{GATE}/1/1/3",))


def test_a_row_without_rungs_alarms_at_its_first_breach() -> None:
    whole = document("matrix")
    rows = tuple(row.model_copy(update={"escalates_to": ()}) for row in whole.spec.rows)
    flat = whole.model_copy(update={"spec": whole.spec.model_copy(update={"rows": rows})})
    story = given(registry_of(flat, base=office())).when(asked())
    breached(story).then_like(GateOverdue, alarm=1)


def test_a_breach_that_was_overtaken_changes_nothing() -> None:
    story = opened()
    first = breach(story)
    raised = story.when(first)
    raised.when(first).then_nothing()
    alarmed = breached(raised)
    alarmed.when(breach(raised)).then_nothing()
    story.when(decide(), actor="person:cid").when(first).then_nothing()
    story.when(GateVoided(gate_id=GATE, revision=1, reason="x")).when(first).then_nothing()
    story.when(asked(revision=2, digest=OTHER_DIGEST)).when(first).then_nothing()
    story.when(breach(story, requester="cases")).then_nothing()
    story.when(breach(story, about="settle-2")).then_nothing()
    given().when(first).then_nothing()


def test_a_calendar_that_ran_out_silences_no_gate_that_is_late() -> None:
    story = opened("600000")
    without = replace(office(), calendars={})
    story = story.when(breach(story), at="2026-03-06T17:00:00Z", registry=without)
    # Five days of 24 hours come sooner than five business days: an alarm may be early, not late.
    story.then_like(GateEscalated, level=1, due_at=at("2026-03-11T17:00:00Z"))
    story.under(replace(without, matrices_by_digest={})).when(breach(story)).then_like(
        GateOverdue, alarm=1
    )


def test_an_alarm_keeps_what_was_endorsed_on_the_same_rung() -> None:
    story = breached(breached(opened("600000")).when(decide(), actor="person:cleo"))
    assert bench_of(story).outstanding == ("legal",)
    story.when(decide(), actor="person:lea").then_like(GateDecided, level=1)


def test_what_was_endorsed_below_does_not_count_above() -> None:
    whole = document("matrix")
    ladder = (("vp-claims", "legal"), ("ceo", "legal"))
    rows = tuple(
        row.model_copy(update={"escalates_to": ladder}) if row.name == "large" else row
        for row in whole.spec.rows
    )
    high = whole.model_copy(update={"spec": whole.spec.model_copy(update={"rows": rows})})
    story = breached(given(registry_of(high, base=office())).when(asked()))
    story = breached(story.when(decide(), actor="person:lea"))
    assert bench_of(story).outstanding == ("ceo", "legal")
    story = story.when(decide(), actor="person:cleo")
    story.then_like(DecisionEndorsed, outstanding=("legal",))
    story.when(decide(), actor="person:lea").then_like(GateDecided, level=2)
