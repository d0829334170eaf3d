"""Every model travels: what is written of any instance is read as the same instance."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import Event, decode, encode
from caseway.contracts.envelope import Envelope, Strength
from caseway.contracts.record import Draft, Record
from tests.contracts.strategies import data_of

# What a stranger may write into an attribute: short text without controls and odd blanks.
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), max_size=30).filter(
    str.isprintable
)
ENVELOPES = st.builds(
    Envelope,
    id=PRINTABLE.filter(bool),
    source=PRINTABLE.filter(bool),
    type=st.just(""),
    version=st.just(1),
    time=PRINTABLE,
    sequence=st.integers(0, 10**18 - 1),
    cause=PRINTABLE,
    correlation=PRINTABLE,
    hops=st.integers(0, 64),
    traceparent=PRINTABLE,
    actor=PRINTABLE,
    strength=st.sampled_from(Strength),
    definition=PRINTABLE,
    matrix=PRINTABLE,
    registry_position=st.integers(0, 10**18 - 1),
    skill=PRINTABLE,
    agent=PRINTABLE,
    signature=PRINTABLE,
    signed_attributes=PRINTABLE,
)
QUICK = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


def record_of(draft: Draft) -> Record:
    """The record that a draft becomes."""
    return Record(draft.topic, draft.partition, 0, 0, draft.key, draft.value, draft.headers)


@pytest.mark.parametrize("kind", CATALOG.values(), ids=lambda kind: kind.name)
@QUICK
@given(drawn=st.data())
def test_what_is_written_is_read_the_same(kind: object, drawn: DataObject) -> None:
    name, version = kind.name, kind.version  # type: ignore[attr-defined]
    data = drawn.draw(data_of(name))
    envelope = drawn.draw(ENVELOPES)._replace(type=name, version=version)
    event = Event("c-1", envelope, data)
    record = record_of(encode("anywhere", 0, event))
    assert decode(record, is_sole_writer=True) == event
    assert encode("anywhere", 0, decode(record, is_sole_writer=True)).value == record.value
    # What a stranger may send is read no differently: strictness takes nothing away from it.
    assert decode(record) == event


@QUICK
@given(data=data_of("task.complete"))
def test_a_default_is_written_so_that_it_is_kept(data: object) -> None:
    written = data.__pydantic_serializer__.to_python(data)  # type: ignore[attr-defined]
    assert written.keys() == type(data).model_fields.keys()  # type: ignore[attr-defined]
