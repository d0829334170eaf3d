"""Whatever order people, breaches and changes come in, a revision is decided once, by the right.

Hypothesis makes the stories; the checks read the events alone and know nothing of the code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from caseway.contracts.case import CaseClosed, GateVoided
from caseway.contracts.control import PersonAppointed
from caseway.contracts.deadline import Timed
from caseway.contracts.decision import (
    Choice,
    GateDecided,
    GateEscalated,
    GateOpened,
    GateUnmatched,
)
from caseway.kernel.registry import Registry
from caseway.testing import Given, registry_of
from caseway_approval.state import Gates, GateStatus

from .office import (
    DIGEST,
    GATE,
    OTHER_DIGEST,
    appointed,
    asked,
    breach,
    decide,
    document,
    gate_of,
    given,
    hand_to,
)

# Few people with overlapping roles, so that races for the same gate are the rule; ann prepared.
SMALL = registry_of(
    document("calendar"),
    document("matrix"),
    persons={
        "ann": ("chief-claims-officer", "ceo", "legal"),
        "bob": ("chief-claims-officer", "ceo"),
        "cid": ("ceo", "legal", "claims-manager"),
        "dan": ("legal", "chief-claims-officer"),
    },
    agents={"triage-1": "ann"},
)
PEOPLE = ("ann", "bob", "cid", "dan")

Move = Callable[[Given[Gates]], Given[Gates]]


def _revision(story: Given[Gates]) -> int:
    return gate_of(story).revision if story.state is not None else 1


def _decides(person: str, choice: Choice, back: int, digest: str, story: Given[Gates]) -> Any:
    revision = max(1, _revision(story) - back)
    wish = decide(choice, "because", revision=revision, digest=digest)
    return story.when(wish, actor=f"person:{person}")


def _hands(giver: str, taker: str, story: Given[Gates]) -> Any:
    return story.when(hand_to(taker, revision=_revision(story)), actor=f"person:{giver}")


def _breaks(age: int, story: Given[Gates]) -> Any:
    """A breach of the newest timer ever set, or of an older one."""
    timers = [timer for event in story.history for timer in getattr(event, "timers", ())]
    if len(timers) <= age:
        return story
    late = max(story.at_ms, round(timers[-1 - age].due_at.timestamp() * 1000))
    stale = breach_of(story, timers[-1 - age].timer_id)
    return story.when(stale, at=late)


def breach_of(story: Given[Gates], timer_id: str) -> Any:
    open_gate = story if gate_of(story).bench is not None else _fresh()
    return breach(open_gate, timer_id=timer_id)


def _fresh() -> Given[Gates]:
    return given(SMALL).when(asked("600000"))


def _asks(digest: str, ahead: int, amount: str, story: Given[Gates]) -> Any:
    revision = _revision(story) + ahead
    return story.when(asked(amount, revision=revision, digest=digest))


def _voids(back: int, story: Given[Gates]) -> Any:
    revision = max(1, _revision(story) - back)
    return story.when(GateVoided(gate_id=GATE, revision=revision, reason="changed"))


def _appoints(person: str, roles: tuple[str, ...], story: Given[Gates]) -> Any:
    registry: Registry = appointed(story.registry, **{person: roles})
    fact = PersonAppointed(card=registry.persons[person], signers=())
    return story.when(fact, topic="registry", registry=registry)


def _closes(story: Given[Gates]) -> Any:
    return story.when(CaseClosed(outcome="withdrawn"))


def moves() -> st.SearchStrategy[Move]:
    person, choice = st.sampled_from(PEOPLE), st.sampled_from(list(Choice))
    digest = st.sampled_from((DIGEST, DIGEST, OTHER_DIGEST))
    amount = st.sampled_from(("600000", "30000", "100"))
    roles = st.sampled_from(((), ("legal",), ("ceo", "legal"), ("chief-claims-officer",)))
    back, approve = st.sampled_from((0, 0, 0, 1)), st.just(Choice.APPROVE)
    return st.one_of(
        st.builds(lambda *args: partial(_decides, *args), person, approve, back, digest),
        st.builds(lambda *args: partial(_decides, *args), person, choice, back, digest),
        st.builds(lambda *args: partial(_hands, *args), person, person),
        st.builds(lambda *args: partial(_breaks, *args), st.integers(0, 2)),
        st.builds(lambda *args: partial(_asks, *args), digest, st.integers(0, 1), amount),
        st.builds(lambda *args: partial(_voids, *args), back),
        st.builds(lambda *args: partial(_appoints, *args), person, roles),
        st.just(_closes),
    )


@settings(max_examples=300, deadline=None)
@for_all(st.lists(moves(), max_size=14))
def test_no_order_of_things_decides_a_revision_twice_or_lowers_a_level(story: list[Move]) -> None:
    case = _fresh()
    for move in story:
        before = case
        case = move(case)
        check_one_decision(case)
        check_levels(case)
        check_timers(case)
        check_approvers(before, case)


def check_one_decision(case: Given[Gates]) -> None:
    decided = [event.revision for event in case.history if isinstance(event, GateDecided)]
    assert len(decided) == len(set(decided)), f"revisions decided: {decided}"


def check_levels(case: Given[Gates]) -> None:
    levels: dict[int, int] = {}
    for event in case.history:
        if isinstance(event, GateEscalated | GateDecided):
            assert event.level >= levels.get(event.revision, 0)
            levels[event.revision] = event.level


def check_timers(case: Given[Gates]) -> None:
    """An open gate has exactly one timer that nobody cancelled or saw fire; others have none."""
    last: list[str] = []
    for event in case.history:
        if isinstance(event, Timed):
            last = [name for name in last if name not in event.cancels]
            # Every timer an event sets takes the place of the one before it, which has fired.
            last = [timer.timer_id for timer in event.timers] or last
    gate = gate_of(case)
    expected = [gate.bench.timer_id] if gate.bench is not None else []
    assert last == expected
    assert (gate.status is GateStatus.OPEN) == (gate.bench is not None)


def check_approvers(before: Given[Gates], case: Given[Gates]) -> None:
    """One distinct person for each role of the level, none of them kept apart."""
    events = case.history[len(before.history) :]
    for event in events:
        if not isinstance(event, GateDecided) or event.by == ("system",):
            continue
        bench = gate_of(before).bench
        assert bench is not None
        assert "person:ann" not in event.by
        assert len(set(event.by)) == len(event.by) == len(event.roles)
        assert event.level == bench.level
        required = set(bench.roles)
        assert set(event.roles) == required or event.choice is not Choice.APPROVE
        assert set(event.roles) <= required


def test_the_stories_reach_what_they_are_about() -> None:
    """A property over stories in which nothing happens would prove nothing."""
    case = _breaks(0, _fresh())
    case = _decides("bob", Choice.APPROVE, 0, DIGEST, case)
    case = _decides("dan", Choice.APPROVE, 0, DIGEST, case)
    assert any(isinstance(event, GateDecided) and event.level == 1 for event in case.history)
    no_row = _appoints("cid", (), _asks(DIGEST, 1, "100", _fresh()))
    assert any(isinstance(event, GateDecided) for event in no_row.history)
    empty = _asks(DIGEST, 1, "30000", _appoints("cid", (), _fresh()))
    assert isinstance(empty.said_events[-1], GateUnmatched)
    again = _appoints("cid", ("claims-manager",), empty)
    assert isinstance(again.said_events[-1], GateOpened)
