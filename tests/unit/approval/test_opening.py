"""A gate opens on exactly one row of the matrix in force, or waits for people; never silently."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from caseway.contracts.case import CaseClosed, GateVoided
from caseway.contracts.control import CalendarPublished, MatrixPublished, PersonAppointed
from caseway.contracts.decision import (
    Choice,
    GateDecided,
    GateOpened,
    GateRetired,
    GateUnmatched,
)
from caseway.contracts.fields import Contract
from caseway.kernel.registry import Registry
from caseway.testing import START, Given, registry_of
from caseway_approval.state import Gates, GateStatus

from .office import (
    DIGEST,
    GATE,
    OTHER_DIGEST,
    PEOPLE,
    appointed,
    asked,
    bench_of,
    decide,
    document,
    gate_of,
    given,
    office,
    opened,
    without,
)

TUESDAY, WEDNESDAY = "2026-03-03T14:00:00+00:00", "2026-03-04T14:00:00+00:00"
THURSDAY, NEXT_MONDAY = "2026-03-05T14:00:00+00:00", "2026-03-09T13:00:00+00:00"
LEGAL = ("vp-claims", "legal")

ROWS = [
    ("5000.00", (), "standard", "senior-adjuster", (("claims-manager",),), TUESDAY),
    ("24999.99", (), "standard", "senior-adjuster", (("claims-manager",),), TUESDAY),
    ("24999.999", (), "standard", "senior-adjuster", (("claims-manager",),), TUESDAY),
    ("25000.00", (), "large", "claims-manager", (("vp-claims",),), WEDNESDAY),
    ("75000", (), "large", "claims-manager", (("vp-claims",),), WEDNESDAY),
    ("99999.99", (), "large", "claims-manager", (("vp-claims",),), WEDNESDAY),
    ("100000.00", (), "major", "vp-claims", (("chief-claims-officer",),), THURSDAY),
    ("500000.00", (), "major", "vp-claims", (("chief-claims-officer",),), THURSDAY),
    # Business days keep the local clock: nine in New York is 13:00Z once summer time began.
    (
        "500000.01",
        (),
        "catastrophic",
        "chief-claims-officer",
        (("ceo", "legal"),),
        NEXT_MONDAY,
    ),
    ("0", ("fraud",), "fraud-referral", "special-investigations-unit", (LEGAL,), TUESDAY),
    ("4999.99", ("fraud",), "fraud-referral", "special-investigations-unit", (LEGAL,), TUESDAY),
    ("900000", ("fraud",), "fraud-referral", "special-investigations-unit", (LEGAL,), TUESDAY),
]


@pytest.mark.parametrize(("amount", "flags", "row", "role", "rungs", "due"), ROWS)
def test_an_amount_opens_its_row_with_roles_rungs_and_one_timer(
    amount: str,
    flags: tuple[str, ...],
    row: str,
    role: str,
    rungs: tuple[tuple[str, ...], ...],
    due: str,
) -> None:
    story = opened(amount, *flags).then_like(
        GateOpened, row=row, roles=(role,), rungs=rungs, digest=DIGEST, revision=1
    )
    (event,) = story.said_events
    assert isinstance(event, GateOpened)
    (timer,) = event.timers
    assert timer.timer_id == f"sla/{GATE}/1/0"
    assert (timer.about, timer.kind.value) == (GATE, "sla")
    instant, start = datetime.fromisoformat(due), datetime.fromisoformat(START)
    assert timer.due_at == event.due_at == instant
    assert timer.warn_at == start + (instant - start) * 3 / 4
    assert str(event.matrix) == story.said.matrix == str(office().matrices["claim-settlement"].pin)
    assert len(event.cells) == 3


@pytest.mark.parametrize("amount", ["0", "4999.99", "4999.9999999"])
def test_an_auto_row_is_decided_by_the_system_in_one_step_without_a_timer(amount: str) -> None:
    story = opened(amount)
    first, second = story.said_events
    assert isinstance(first, GateOpened)
    assert isinstance(second, GateDecided)
    assert (first.row, first.roles, first.due_at, first.timers) == ("auto", ("system",), None, ())
    assert (second.choice, second.by, second.roles) == (Choice.APPROVE, ("system",), ("system",))
    assert (second.level, second.row, second.cancels) == (0, "auto", ())
    assert story.state is not None
    assert story.state.is_settled


def test_the_sla_of_an_auto_row_or_its_absence_is_on_record() -> None:
    opened("10").then_holds(GateOpened, sla="instant")
    opened("500000.01").then_holds(GateOpened, sla="5 business days")


def unpublished() -> Registry:
    return registry_of(persons=PEOPLE)


def no_calendar() -> Registry:
    return replace(office(), calendars={})


def short_calendar() -> Registry:
    whole = document("calendar")
    spec = whole.spec.model_copy(update={"valid_to": datetime(2026, 3, 4).date(), "holidays": ()})
    old = tuple(h for h in whole.spec.holidays if h.day <= spec.valid_to)
    short = whole.model_copy(update={"spec": spec.model_copy(update={"holidays": old})})
    return registry_of(short, base=office())


UNMATCHED = [
    ("MATRIX_UNKNOWN", asked(), unpublished),
    ("MATRIX_UNKNOWN", asked(matrix="refunds"), office),
    ("CURRENCY_UNMAPPED", asked("10", currency="EUR"), office),
    ("FLAG_UNKNOWN", asked("10", "vip"), office),
    ("FLAG_UNKNOWN", asked("10", "fraud", "vip"), office),
    ("ROLE_EMPTY", asked("75000"), lambda: without(office(), "cid", "cora")),
    ("CALENDAR_MISSING", asked("500000.01"), no_calendar),
    ("CALENDAR_RANGE", asked("500000.01"), short_calendar),
]


@pytest.mark.parametrize(("code", "request_", "registry"), UNMATCHED)
def test_what_has_no_row_waits_at_the_authority_desk(
    code: str, request_: Any, registry: Any
) -> None:
    story = given(registry()).when(request_)
    story.then_like(GateUnmatched, code=code, queue="authority-desk", digest=DIGEST)
    assert gate_of(story).status is GateStatus.UNMATCHED
    assert story.state is not None
    assert not story.state.is_settled


def test_what_the_desk_reads_names_what_is_missing() -> None:
    for registry, request_, missing in (
        (no_calendar(), asked("500000.01"), "calendar 'us-business'"),
        (unpublished(), asked(), "matrix 'claim-settlement'"),
        (without(office(), "cid", "cora"), asked(), "role 'claims-manager'"),
        (office(), asked("10", "vip"), "flag vip"),
    ):
        (event,) = given(registry).when(request_).said_events
        assert missing in event.message  # type: ignore[attr-defined]


def test_a_gate_that_no_row_decides_is_decided_by_nobody() -> None:
    story = given(unpublished()).when(asked())
    for person in ("cid", "zoe"):
        story = story.when(decide(), actor=f"person:{person}")
        assert story.said_events[0].code == "NO_ROW"  # type: ignore[attr-defined]
    assert "authority-desk" in story.said_events[0].message  # type: ignore[attr-defined]


def test_the_registry_settles_what_was_missing_and_says_only_what_changed() -> None:
    story = given(unpublished()).when(asked())
    with_calendar = registry_of(document("calendar"), base=unpublished())
    story = told(story, with_calendar, CalendarPublished).then_nothing()
    nobody = without(registry_of(document("matrix"), base=with_calendar), "cid", "cora")
    story = told(story, nobody, MatrixPublished).then_like(GateUnmatched, code="ROLE_EMPTY")
    story = replace(story, at_ms=story.at_ms + 3_600_000)
    story = told(story, appointed(nobody, cid=("claims-manager",)), PersonAppointed)
    story.then_like(GateOpened, row="large", preparers=("agent:triage-1",))
    # The promise runs from when people could first keep it, not from when nobody could.
    assert bench_of(story).timer_id == f"sla/{GATE}/1/0"
    (event,) = story.said_events
    assert event.due_at == datetime.fromisoformat("2026-03-04T15:00:00Z")  # type: ignore[attr-defined]
    assert story.said.matrix == str(office().matrices["claim-settlement"].pin)


def test_an_auto_row_that_is_published_late_decides_at_once() -> None:
    story = given(unpublished()).when(asked("10"))
    story = told(story, office(), MatrixPublished)
    story.then_holds(GateOpened, row="auto").then_holds(GateDecided, by=("system",))


def test_the_registry_never_moves_a_gate_that_is_open() -> None:
    story = opened()
    told(story, office(), MatrixPublished).then_nothing()
    told(story, appointed(office(), cid=()), PersonAppointed).then_nothing()


def test_a_calendar_that_comes_opens_the_gate_that_waited_for_it() -> None:
    story = given(no_calendar()).when(asked("500000.01"))
    told(story, office(), CalendarPublished).then_like(GateOpened, row="catastrophic")


def told(story: Given[Gates], registry: Registry, model: type[Contract]) -> Given[Gates]:
    """The case hears of a registry fact; what the fact says stands in the registry."""
    name = model.__name__
    fact: dict[str, Any] = {"signers": ()}
    if name == "PersonAppointed":
        fact["card"] = registry.persons["zoe"]
    else:
        kind = "calendar" if name == "CalendarPublished" else "matrix"
        fact["document"] = document(kind)
        fact["pin"] = office().matrices["claim-settlement"].pin
    return story.when(model(**fact), topic="registry", registry=registry)


def test_the_same_revision_again_changes_nothing_whatever_became_of_it() -> None:
    opened().when(asked()).then_nothing()
    decided = opened().when(decide(), actor="person:cid")
    decided.when(asked()).then_nothing()
    retired = opened().when(GateVoided(gate_id=GATE, revision=1, reason="amended"))
    retired.when(asked()).then_nothing()
    given(unpublished()).when(asked()).when(asked()).then_nothing()


def test_a_newer_revision_retires_the_older_one_and_its_timer() -> None:
    story = opened().when(asked("600000", revision=2, digest=OTHER_DIGEST))
    first, second = story.said_events
    assert first == GateRetired(
        gate_id=GATE,
        revision=1,
        reason="revision 2 replaces it",
        cancels=(f"sla/{GATE}/1/0",),
    )
    assert isinstance(second, GateOpened)
    assert (second.revision, second.row) == (2, "catastrophic")
    assert second.timers[0].timer_id == f"sla/{GATE}/2/0"
    story.when(asked()).then_nothing()


def test_a_newer_revision_after_a_decision_opens_and_leaves_the_decision_as_it_was() -> None:
    decided = opened().when(decide(), actor="person:cid")
    decided.when(asked(revision=2)).then_like(GateOpened, revision=2)


def test_a_void_or_a_closed_case_retires_what_waits_and_nothing_else() -> None:
    void = GateVoided(gate_id=GATE, revision=1, reason="amended")
    retired = GateRetired(gate_id=GATE, revision=1, reason="amended", cancels=(f"sla/{GATE}/1/0",))
    opened().when(void).then(retired).when(void).then_nothing()
    given(unpublished()).when(asked()).when(void).then_like(GateRetired, cancels=())
    opened().when(GateVoided(gate_id=GATE, revision=2, reason="x")).then_nothing()
    opened().when(decide(), actor="person:cid").when(void).then_nothing()
    closed = opened().when(CaseClosed(outcome="withdrawn"))
    closed.then_like(GateRetired, cancels=(f"sla/{GATE}/1/0",))
    assert closed.state is not None
    assert closed.state.is_settled
    given().when(CaseClosed(outcome="paid")).then_nothing()


def test_a_gate_keeps_the_matrix_that_was_in_force_when_it_opened() -> None:
    whole = document("matrix")
    dearer = tuple(
        row.model_copy(update={"approver": "vp-claims", "escalates_to": (("ceo",),)})
        if row.name == "large"
        else row
        for row in whole.spec.rows
    )
    second = whole.model_copy(
        update={
            "metadata": whole.metadata.model_copy(update={"version": 2}),
            "spec": whole.spec.model_copy(update={"rows": dearer}),
        }
    )
    after = registry_of(second, base=office())
    opened().when(decide(), actor="person:cid", registry=after).then_like(
        GateDecided, matrix=office().matrices["claim-settlement"].pin, roles=("claims-manager",)
    )
    given(after).when(asked()).then_like(GateOpened, roles=("vp-claims",))
