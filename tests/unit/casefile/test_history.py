"""History: causes before effects whatever the clocks say, in words that never fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseway.casefile.history import LOGS, Told, in_order, timeline, view
from caseway.casefile.wording import _SENTENCES, in_words
from caseway.contracts import case, topics
from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import Event
from caseway.contracts.envelope import Envelope
from caseway.contracts.fields import Contract, Pin
from caseway.errors import ConfigError

PIN = Pin(name="claim", version=1, digest="0" * 64)
OPENED = case.CaseOpened(
    definition=PIN, title="Claim", source="portal", requester="submitter:portal", facts={"a": 1}
)


def event(
    topic: str, offset: int, at_ms: int, data: Contract, *, cause: str = "", sequence: int = 1
) -> Told:
    kind: Any = type(data)
    envelope = Envelope(
        id=f"{topic}{offset}",
        source="/x",
        type=kind.TYPE,
        version=1,
        cause=cause,
        sequence=sequence,
    )
    return Told(Event("c-1", envelope, data), topic, offset, at_ms, f"g/{topic}/0/{offset}")


def entered(phase: str, round_: int) -> case.PhaseEntered:
    return case.PhaseEntered(phase=phase, round=round_)


LIFE = [
    event("cases", 0, 1_000, OPENED, sequence=1),
    event("cases", 1, 1_000, entered("intake", 1), sequence=2),
    event("cases", 5, 3_000, entered("assessment", 2), sequence=3),
    event("cases", 6, 3_000, case.CaseAmended(changes={"a": 2}, reason="r"), sequence=4),
    event("cases", 9, 9_000, case.CaseClosed(outcome="paid"), sequence=5),
]


def test_a_cause_stands_before_its_effect_whatever_the_clocks_say() -> None:
    effect = event("approvals", 0, 500, entered("x", 1), cause="g/cases/0/4")
    cause = event("cases", 4, 1_000, entered("y", 1))
    assert in_order([effect, cause]) == [cause, effect]


def test_within_a_log_its_own_order_holds() -> None:
    later = event("cases", 7, 100, entered("x", 1))
    earlier = event("cases", 6, 200, entered("y", 1))
    assert in_order([later, earlier]) == [earlier, later]


def test_else_append_time_decides_and_then_the_order_of_hearing() -> None:
    second = event("approvals", 0, 100, entered("b", 1))
    first = event("cases", 0, 100, entered("a", 1))
    third = event("intake", 0, 200, entered("c", 1))
    assert in_order([third, second, first]) == [first, second, third]


@given(
    st.lists(
        st.tuples(st.sampled_from([t.name for t in LOGS]), st.integers(0, 50), st.integers(0, 30)),
        unique_by=lambda item: item[:2],
        max_size=30,
    ),
    st.randoms(use_true_random=False),
)
def test_no_event_is_lost_and_none_precedes_its_cause(
    places: list[tuple[str, int, int]], random: Any
) -> None:
    made: list[Told] = []
    for topic, offset, at_ms in sorted(places, key=lambda item: (item[1], item[0])):
        # A cause of a smaller offset can't close a circle with the order of the logs.
        older = [item.coordinates for item in made if item.offset < offset]
        cause = random.choice(older) if older and random.random() < 0.7 else ""
        made.append(event(topic, offset, at_ms, entered("x", 1), cause=cause))
    shuffled = made[:]
    random.shuffle(shuffled)
    ordered = in_order(shuffled)
    assert sorted(ordered, key=id) == sorted(made, key=id)
    position = {item.coordinates: number for number, item in enumerate(ordered)}
    for item in made:
        cause = item.event.envelope.cause
        assert not cause or position[cause] < position[item.coordinates]


@pytest.mark.parametrize(
    ("at", "phase", "sequence"),
    [
        (1, "", 1),
        (2, "intake", 2),
        (4, "assessment", 4),
        (datetime.fromtimestamp(1, UTC), "intake", 2),
        (datetime.fromtimestamp(3, UTC) - timedelta(milliseconds=1), "intake", 2),
        (datetime.fromtimestamp(3, UTC), "assessment", 4),
    ],
)
def test_a_case_is_folded_as_it_stood(at: datetime | int, phase: str, sequence: int) -> None:
    found = view("c-1", reversed(LIFE), at)
    assert found is not None
    assert (found.state.phase, found.sequence, found.latest) == (phase, sequence, 5)


def test_now_is_the_end_of_the_log() -> None:
    found = view("c-1", LIFE)
    assert found is not None
    assert found.state.outcome == "paid"


def test_a_case_that_was_never_opened_has_no_view() -> None:
    assert view("c-1", [event("intake", 0, 0, entered("x", 1))]) is None


@pytest.mark.parametrize("at", [0, -1, 6, datetime.fromtimestamp(0.9, UTC)])
def test_before_its_beginning_there_is_no_case(at: datetime | int) -> None:
    with pytest.raises(ConfigError) as error:
        view("c-1", LIFE, at)
    assert error.value.code == "RANGE"


def test_a_line_tells_who_when_and_under_which_pins() -> None:
    line = timeline(LIFE)[1]
    assert (line.service, line.text, line.sequence) == ("router", "phase intake began (round 1)", 2)
    assert line.at == datetime.fromtimestamp(1, UTC)


def test_every_event_of_a_case_has_words() -> None:
    names = {topic.name for topic in LOGS}
    models = {
        entry.model
        for entry in CATALOG.values()
        if names & set(entry.topics)
        and not entry.name.startswith(("shard.", "control."))
        and topics.REGISTRY.name not in entry.topics
    }
    assert {model.__name__ for model in models - _SENTENCES.keys()} == set()


def test_words_never_quote_facts() -> None:
    amended = event("cases", 1, 0, case.CaseAmended(changes={"payee": "secret"}, reason="moved"))
    assert in_words(amended.event) == "payee changed: moved"
