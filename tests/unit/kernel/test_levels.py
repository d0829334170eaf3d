"""Below a contract level nothing is written that the code before it could not read."""

from __future__ import annotations

from typing import Any

import pytest

from caseway.contracts import topics
from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import decode
from caseway.contracts.envelope import Strength
from caseway.contracts.levels import DOWNCASTERS, SINCE, known_level, version_at
from caseway.contracts.record import Record
from caseway.contracts.report import CompleteTask
from caseway.contracts.submission import WithdrawalAdmitted
from caseway.contracts.upcasters import UPCASTERS
from caseway.errors import ContractError
from caseway.kernel.emission import Cause, Emitter
from tests.contracts.examples import example
from tests.unit.hosting.toy import CARD

CAUSE = Cause("g1/submissions/0/7", 1_000, "system:router", Strength.SYSTEM)
RESULT = example(CompleteTask.TYPE).data
# What nobody writes under the registry, so that no level can govern it.
UNGOVERNED = {"shard.genesis", "checkpoint.sealed", "snapshot.marked"}


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A code whose level 2 brought version 2 of one event, and one more event type."""
    monkeypatch.setitem(SINCE, (CompleteTask.TYPE, 2), 2)
    monkeypatch.setitem(DOWNCASTERS, (CompleteTask.TYPE, 2), as_number)
    monkeypatch.setitem(SINCE, (WithdrawalAdmitted.TYPE, 1), 2)


def as_number(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "confidence": float(data["confidence"])}


def written(level: int) -> tuple[Any, Any]:
    """The event that a writer folds, and the one that a reader of its bytes sees."""
    emitter = Emitter(CARD, "demo", 0, level)
    event = emitter.event("c-1", RESULT, CAUSE, 0, sequence=1)
    (draft,) = emitter.own([event])
    record = Record(draft.topic, 0, 0, 1_000, draft.key, draft.value, draft.headers)
    schema = dict(draft.headers)["ce_dataschema"]
    assert schema == f"urn:caseway:schema:task.complete:{event.envelope.version}".encode()
    return event, decode(record, is_sole_writer=True)


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize(("level", "version"), [(1, 1), (2, 2), (3, 2)])
def test_the_level_says_in_which_version_an_event_is_written(level: int, version: int) -> None:
    made, read = written(level)
    assert made.envelope.version == version
    assert read == made, "a replay must fold what the writer folded"


@pytest.mark.usefixtures("second")
def test_a_type_of_a_later_level_is_not_written_at_all() -> None:
    data = WithdrawalAdmitted(reason="changed my mind")
    assert Emitter(CARD, "demo", 0, 2).event("c-1", data, CAUSE, 0).envelope.version == 1
    with pytest.raises(ContractError) as refused:
        Emitter(CARD, "demo", 0, 1).event("c-1", data, CAUSE, 0)
    assert refused.value.code == "CONTRACT_LEVEL"


@pytest.mark.usefixtures("second")
def test_the_known_level_is_that_of_the_newest_version() -> None:
    assert known_level() == 2
    assert version_at("case.opened", 1, 1) == 1


def test_every_version_of_a_later_level_can_be_lowered_and_lifted_again() -> None:
    inbound = {t.name for t in topics.FIXED_TOPICS if t.kind is topics.TopicKind.INBOUND}
    for (name, version), level in SINCE.items():
        assert level > 1, "what may always be written is not named"
        assert name not in UNGOVERNED
        assert not inbound & set(CATALOG[name].topics), f"strangers write {name}, not we"
        if version > 1:
            today = example(name).data.model_dump(mode="json")
            lowered = DOWNCASTERS[name, version](today)
            lifted = UPCASTERS[name, version - 1](lowered)
            assert DOWNCASTERS[name, version](lifted) == lowered
