"""The fold asserts what no race may break, so a log that breaks it is found and not believed."""

from __future__ import annotations

import pytest

from caseway.contracts import topics
from caseway.contracts.decision import (
    Choice,
    DecisionEndorsed,
    GateDecided,
    GateDelegated,
    GateEscalated,
    GateOverdue,
    GateRetired,
)
from caseway.contracts.fields import Contract
from caseway.contracts.record import instant_of
from caseway.errors import IntegrityError
from caseway.testing import Given, registry_of
from caseway_approval.service import CARD
from caseway_approval.state import Gates

from .office import (
    DIGEST,
    GATE,
    OTHER_DIGEST,
    asked,
    breached,
    decide,
    given,
    office,
    opened,
)

NOW = instant_of(0)


def escalated(level: int, revision: int = 1) -> GateEscalated:
    return GateEscalated(
        gate_id=GATE,
        revision=revision,
        level=level,
        roles=("ceo",),
        due_at=NOW,
        breached_at=NOW,
        detected_at=NOW,
    )


def overdue(alarm: int) -> GateOverdue:
    return GateOverdue(
        gate_id=GATE,
        revision=1,
        alarm=alarm,
        roles=("ceo",),
        due_at=NOW,
        breached_at=NOW,
        detected_at=NOW,
    )


def decided(revision: int = 1) -> GateDecided:
    return GateDecided(
        gate_id=GATE,
        revision=revision,
        digest=DIGEST,
        choice=Choice.APPROVE,
        by=("person:cid",),
        roles=("claims-manager",),
        level=0,
        reason="",
        row="large",
        matrix=office().matrices["claim-settlement"].pin,
    )


def endorsed(role: str) -> DecisionEndorsed:
    return DecisionEndorsed(
        gate_id=GATE, revision=1, by="person:x", role=role, reason="", outstanding=("legal",)
    )


def retired(revision: int = 1) -> GateRetired:
    return GateRetired(gate_id=GATE, revision=revision, reason="changed")


def handed(revision: int) -> GateDelegated:
    return GateDelegated(
        gate_id=GATE, revision=revision, by="person:x", to="person:y", role="legal", reason=""
    )


def unmatched(revision: int = 1) -> Given[Gates]:
    return given(registry_of()).when(asked(revision=revision))


def opened_event(revision: int = 1) -> Contract:
    return opened(revision=revision).said_events[0]


IMPOSSIBLE = [
    ("a decision of a gate that never opened", given(), decided()),
    ("a second decision", opened().events("c-1", decided()), decided()),
    ("a decision of another revision", opened(), decided(revision=2)),
    ("a decision of a gate without a row", unmatched(), decided()),
    ("a decision of a retired gate", opened().events("c-1", retired()), decided()),
    ("a level that falls", breached(opened()), escalated(0)),
    ("a level that is said twice", breached(opened()), escalated(1)),
    ("an escalation of another revision", opened(), escalated(1, revision=2)),
    ("an alarm that is said twice", breached(opened(), 2), overdue(1)),
    ("an endorsement of a role that has no part", opened(), endorsed("legal")),
    (
        "an endorsement that is said twice",
        breached(opened("600000")).when(decide(), actor="person:lea"),
        endorsed("legal"),
    ),
    ("a delegation of another revision", opened(), handed(2)),
    ("the end of what never began", given(), retired()),
    ("the end of another revision", opened(), retired(revision=2)),
    ("an end after the decision", opened().events("c-1", decided()), retired()),
    ("an opening that is said twice", opened(), opened_event()),
    ("an opening over one that waits", opened(), opened_event(revision=2)),
    ("an opening of a decided revision", opened().events("c-1", decided()), opened_event()),
    (
        "an opening of an older revision",
        opened(revision=2).events("c-1", retired(revision=2)),
        opened_event(),
    ),
    ("another revision over one that has no row", unmatched(), opened_event(revision=2)),
    ("no row for what is open", opened(), unmatched(revision=1).said_events[0]),
]


@pytest.mark.parametrize(("story", "event"), [case[1:] for case in IMPOSSIBLE], ids=str)
def test_what_can_not_have_happened_is_damage(story: Given[Gates], event: Contract) -> None:
    with pytest.raises(IntegrityError, match="does not fit gate"):
        story.events("c-1", event)


def test_a_settled_gate_keeps_only_what_a_late_decision_needs() -> None:
    story = opened().when(decide(), actor="person:cid")
    assert story.state is not None
    gate = story.state.gates[GATE]
    assert (gate.bench, gate.unmatched) == (None, None)
    assert CARD.is_settled(story.state)
    again = story.when(asked(revision=2, digest=OTHER_DIGEST))
    assert again.state is not None
    assert not CARD.is_settled(again.state)


def test_people_are_heard_after_clocks_and_cases_and_behind_the_barrier() -> None:
    assert [(each.topic, each.needs_barrier) for each in CARD.inputs] == [
        (topics.DEADLINES, False),
        (topics.CASES, False),
        (topics.DECISIONS, True),
    ]
    assert CARD.inputs[0].hears == {"sla.breached"}
