"""What waits for a person is found in every log that can say so."""

from __future__ import annotations

import pytest

from caseway.casefile.history import LOGS, told
from caseway.contracts import topics
from caseway.contracts.codec import Event, decode, encode
from caseway.contracts.envelope import Envelope
from caseway.contracts.fields import Contract
from caseway.contracts.record import Record
from caseway.contracts.shard import CaseFaulted, CaseResumed
from caseway_control.docket import TOPICS, TYPES, docket_of


def said(topic: str, offset: int, data: Contract) -> Record:
    kind: str = data.TYPE  # type: ignore[attr-defined]
    envelope = Envelope(f"e-{offset}", "/test", kind, 1, sequence=offset + 1)
    draft = encode(topic, 0, Event("c-1", envelope, data))
    return Record(topic, 0, offset, 1_000, *draft[2:])


@pytest.mark.parametrize("topic", [topic.name for topic in LOGS])
def test_a_fault_in_any_log_of_a_case_waits_until_the_case_resumes(topic: str) -> None:
    assert topic in {each.name for each in TOPICS}
    assert {CaseFaulted.TYPE, CaseResumed.TYPE} <= TYPES
    fault = CaseFaulted(queue="operations", code="ValueError", detail="x", parked=None)
    records = [said(topic, 0, fault), said(topic, 1, CaseResumed(released=0))]
    history = [told("g1", each, decode(each, is_sole_writer=True)) for each in records]
    (item,) = docket_of("c-1", history[:1]).items()
    assert (item.kind, item.name, item.roles) == ("fault", topic, ("operations",))
    assert docket_of("c-1", history).items() == []


def test_the_logs_of_a_case_are_all_there_are() -> None:
    assert set(LOGS) == {topics.INTAKE, topics.CASES, topics.APPROVALS, topics.DEADLINES}
