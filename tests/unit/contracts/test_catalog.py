"""The catalogue: complete, named alike, and every event has its topic, its words and its rules."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

from caseway.contracts import (
    audit,
    case,
    control,
    deadline,
    decision,
    report,
    shard,
    submission,
    topics,
)
from caseway.contracts.catalog import CATALOG, EventType
from caseway.contracts.deadline import Timed
from caseway.contracts.fields import Contract
from caseway.contracts.topics import FIXED_TOPICS, OWN_LOGS, SERVICES, TopicKind, all_topics
from caseway.contracts.upcasters import UPCASTERS

MODULES: tuple[ModuleType, ...] = (
    audit,
    case,
    control,
    deadline,
    decision,
    report,
    shard,
    submission,
)
TYPES = pytest.mark.parametrize("kind", CATALOG.values(), ids=lambda kind: kind.name)
FAMILIES = {"offers.*", "dead-letters.*", "snapshots.*"}


def models() -> dict[str, type[Contract]]:
    """Every model that has an event type, by its class name."""
    return {
        name: model
        for module in MODULES
        for name, model in inspect.getmembers(module, inspect.isclass)
        if issubclass(model, Contract) and "TYPE" in vars(model)
    }


def test_no_model_with_a_type_is_missing() -> None:
    assert {kind.model for kind in CATALOG.values()} == set(models().values())


@TYPES
def test_a_name_is_two_lower_case_words(kind: EventType) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)?", kind.name)
    assert kind.name == CATALOG[kind.name].name == vars(kind.model)["TYPE"]


@TYPES
def test_an_event_travels_on_topics_that_there_are(kind: EventType) -> None:
    fixed = {topic.name for topic in FIXED_TOPICS}
    assert kind.topics
    assert set(kind.topics) <= fixed | FAMILIES


@TYPES
def test_an_event_says_what_it_is_in_a_sentence(kind: EventType) -> None:
    first = inspect.cleandoc(kind.model.__doc__ or "").partition("\n")[0]
    assert re.fullmatch(r"[A-Z0-9].{10,100}[.;:]", first), first


@TYPES
def test_a_wish_is_imperative_and_a_fact_is_past(kind: EventType) -> None:
    inbound = {t.name for t in FIXED_TOPICS if t.kind is TopicKind.INBOUND}
    verb = kind.name.rpartition(".")[2]
    noun_first = re.sub(r"(?<!^)(?=[A-Z])", " ", kind.model.__name__).split()
    if set(kind.topics) <= inbound:
        assert not verb.endswith("ed"), kind.name
        assert noun_first[0].lower().startswith(verb[:3]) or verb in kind.name
    else:
        assert set(kind.topics).isdisjoint(inbound)
        is_past = verb.endswith(("ed", "en")) or verb in ("overdue", "genesis")
        assert is_past, kind.name


@TYPES
def test_a_model_is_frozen_and_closed(kind: EventType) -> None:
    assert kind.model.model_config["frozen"] is True
    assert kind.model.model_config["extra"] == "forbid"


@TYPES
def test_every_step_from_the_first_version_has_its_upcaster(kind: EventType) -> None:
    assert kind.version >= 1
    steps = {version for name, version in UPCASTERS if name == kind.name}
    assert steps == set(range(1, kind.version))


@TYPES
def test_timers_are_asked_for_where_the_watchdog_listens(kind: EventType) -> None:
    has_timers = {"timers", "cancels"} <= kind.model.model_fields.keys()
    assert has_timers == issubclass(kind.model, Timed)
    if has_timers:
        assert set(kind.topics) <= {"cases", "approvals"}


def test_signed_wishes_can_not_be_replayed_elsewhere_or_later() -> None:
    for kind in CATALOG.values():
        if set(kind.topics) & {"agent-reports", "decisions", "control"}:
            assert {"namespace", "expires_at"} <= kind.model.model_fields.keys(), kind.name
            assert kind.model.model_fields["namespace"].is_required()
            assert kind.model.model_fields["expires_at"].is_required()


def test_every_topic_carries_something() -> None:
    carried = {topic for kind in CATALOG.values() for topic in kind.topics}
    assert carried == {topic.name for topic in FIXED_TOPICS} | FAMILIES


def test_every_log_can_begin_and_commit() -> None:
    logs = {topic.name for topic in FIXED_TOPICS if topic.kind is TopicKind.LOG}
    for name in ("shard.genesis", "shard.committed"):
        assert set(CATALOG[name].topics) == logs
    for name in ("case.faulted", "input.parked", "case.resumed"):
        sharded = {topic.name for topic in FIXED_TOPICS if topic.name in logs and topic.sharded}
        assert set(CATALOG[name].topics) == sharded


def test_topics_are_named_once_and_logs_are_kept_for_ever() -> None:
    every = all_topics(("claims", "legal"))
    assert len({topic.name for topic in every}) == len(every)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)?(\.[a-z_]+)?", topic.name) for topic in every)
    for topic in every:
        if topic.kind is TopicKind.LOG:
            assert topic.retention_ms == topics.FOREVER_MS
            assert not topic.compacted
    assert {log.writer for log in OWN_LOGS.values()} == set(SERVICES)
    assert topics.CASES.partitions(12) == 12
    assert topics.CONTROL.partitions(12) == 1
