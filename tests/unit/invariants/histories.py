"""Whole logs of a real story, as their hosts would have written them, and ways to forge them.

A city tells the story; here its events get a genesis, a registry and a trailer for each commit.
A forged history is made of the same events, changed, and sealed again, so that nothing but the
forged part is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from caseway.contracts import control, topics
from caseway.contracts.codec import Event, decode, encode
from caseway.contracts.envelope import Envelope
from caseway.contracts.fields import Contract, format_instant
from caseway.contracts.record import Draft, Record, instant_of
from caseway.contracts.shard import ShardCommitted, ShardGenesis
from caseway.kernel.registry import Registry
from caseway_control.roster import CARDS

from ..story.city import CASE, City

GENESIS = ShardGenesis(namespace="test", generation="g1", shards=1)
LOGS = tuple(card.own.name for card in CARDS.values())
SIGNERS = ("root:1", "root:2")


@dataclass(frozen=True)
class Item:
    """One event of a log; `origin` is its offset in the city's log, where it comes from there."""

    at_ms: int
    event: Event
    origin: int = -1


@dataclass
class History:
    """Events by log, inbound records, registry facts; `seal` makes records of them.

    `late` are registry facts that nobody had read when the events were written.
    """

    logs: dict[str, list[Item]]
    registry: list[Contract]
    late: list[Contract] = field(default_factory=list)
    inbound: list[Record] = field(default_factory=list)
    start_ms: int = 0

    def find(self, model: type[Contract], number: int = 0) -> tuple[str, int]:
        """The place of the event of this type with this number; -1 is the last."""
        places = [
            (topic, index)
            for topic, items in self.logs.items()
            for index, item in enumerate(items)
            if type(item.event.data) is model
        ]
        return places[number]

    def change(self, model: type[Contract], number: int = 0, **fields: Any) -> History:
        """Write other fields into one event."""
        topic, index = self.find(model, number)
        item = self.logs[topic][index]
        data = item.event.data.model_copy(update=fields)
        self.logs[topic][index] = replace(item, event=item.event._replace(data=data))
        return self

    def drop(self, model: type[Contract], number: int = 0) -> History:
        """Take one event out."""
        topic, index = self.find(model, number)
        del self.logs[topic][index]
        return self

    def repeat(self, model: type[Contract], number: int = 0, **fields: Any) -> History:
        """Write one event a second time, right after it, perhaps with other fields."""
        topic, index = self.find(model, number)
        item = self.logs[topic][index]
        data = item.event.data.model_copy(update=fields)
        copied = replace(item, event=item.event._replace(data=data), origin=-1)
        self.logs[topic].insert(index + 1, copied)
        return self

    def add(self, topic: str, data: Contract, after: type[Contract], number: int = 0) -> History:
        """Write one event more, right after another one."""
        _, index = self.find(after, number)
        item = self.logs[topic][index]
        envelope = item.event.envelope._replace(type=data.TYPE)  # type: ignore[attr-defined]
        made = Event(item.event.key, envelope, data)
        self.logs[topic].insert(index + 1, replace(item, event=made, origin=-1))
        return self

    def seal(self) -> dict[str, list[Record]]:
        """The records of every partition."""
        batches = {topic: list(_batches(items)) for topic, items in self.logs.items()}
        offsets = {
            f"g1/{topic}/0/{item.origin}": f"g1/{topic}/0/{offset}"
            for topic, groups in batches.items()
            for item, offset in _placed(groups)
            if item.origin >= 0
        }
        position = len(self.registry) + 1
        sealed = {t: _sealed(t, groups, offsets, position) for t, groups in batches.items()}
        sealed[topics.REGISTRY.name] = _registry([*self.registry, *self.late], self.start_ms)
        for record in self.inbound:
            sealed.setdefault(record.topic, []).append(record)
        return sealed


def history_of(city: City) -> History:
    """What a city's logs hold."""
    logs = {
        topic: [
            Item(record.at_ms, decode(record, is_sole_writer=True), record.offset)
            for record in city.logs.get(topic, ())
        ]
        for topic in LOGS
    }
    kinds = {t.name: t.kind for t in topics.FIXED_TOPICS}
    others = {name: records for name, records in city.logs.items() if name not in LOGS}
    inbound = [
        record
        for name, records in sorted(others.items())
        for record in records
        if kinds.get(name) is topics.TopicKind.INBOUND or name.startswith("offers.")
    ]
    start = min(record.at_ms for records in city.logs.values() for record in records)
    return History(logs, list(facts_of(city.registry)), [], inbound, start)


def facts_of(registry: Registry) -> Iterator[Contract]:
    """The registry facts that lead to a registry."""
    for machine in registry.machines_by_digest.values():
        yield control.DefinitionPublished(
            signers=SIGNERS, pin=machine.pin, document=machine.document
        )
    for matrix in registry.matrices_by_digest.values():
        yield control.MatrixPublished(signers=SIGNERS, pin=matrix.pin, document=matrix.document)
    for person in registry.persons.values():
        yield control.PersonAppointed(signers=SIGNERS, card=person)
    for agent in registry.agents.values():
        yield control.AgentRegistered(signers=SIGNERS, card=agent)


def flat(records: dict[str, list[Record]]) -> list[Record]:
    """One partition after the other."""
    return [record for partition in records.values() for record in partition]


def rewrite(record: Record, change: Callable[[Event], Event]) -> Record:
    """The same record with another event in it."""
    event = change(decode(record, is_sole_writer=True))
    draft = encode(record.topic, record.partition, event)
    return record._replace(key=draft.key, value=draft.value, headers=draft.headers)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The events of one cause are one commit."""
    group: list[Item] = []
    for item in items:
        if group and item.event.envelope.cause != group[-1].event.envelope.cause:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _placed(groups: list[list[Item]]) -> Iterator[tuple[Item, int]]:
    offset = 1
    for group in groups:
        for item in group:
            yield item, offset
            offset += 1
        offset += 1


def _sealed(
    topic: str, groups: list[list[Item]], offsets: dict[str, str], position: int
) -> list[Record]:
    start = groups[0][0].at_ms if groups else 0
    records = [_record(_genesis_draft(topic), 0, start)]
    positions: dict[str, int] = {}
    sequences: dict[str, int] = {}
    for number, group in enumerate(groups, 1):
        drafts = []
        for item in group:
            envelope = item.event.envelope
            cause = offsets.get(envelope.cause, envelope.cause)
            sequence = sequences[item.event.key] = sequences.get(item.event.key, 0) + 1
            made = envelope._replace(cause=cause, registry_position=position, sequence=sequence)
            drafts.append(encode(topic, 0, item.event._replace(envelope=made)))
            place, _, offset = cause.partition("/")[2].rpartition("/")
            if place.count("/") == 1:
                positions[place] = max(positions.get(place, 0), int(offset) + 1)
        at_ms = group[-1].at_ms
        for draft in drafts:
            records.append(_record(draft, len(records), at_ms))
        trailer = ShardCommitted(
            sequence=number,
            epoch=1,
            count=len(drafts),
            digest=digest_of_batch(drafts),
            positions=dict(positions),
            registry_position=position,
            greatest_ms=at_ms,
        )
        records.append(_record(_draft(topic, f"{topic}/0", trailer), len(records), at_ms))
    return records


def digest_of_batch(drafts: Iterable[Draft | Record]) -> str:
    hashed = hashlib.sha256()
    for draft in drafts:
        key, value = draft.key or b"", draft.value or b""
        hashed.update(f"{len(key)}:{len(value)}:".encode() + key + value)
    return hashed.hexdigest()


def _registry(facts: list[Contract], at_ms: int) -> list[Record]:
    drafts = [_genesis_draft("registry")]
    drafts += [_draft("registry", "kind/name", fact) for fact in facts]
    return [_record(draft, offset, at_ms) for offset, draft in enumerate(drafts)]


def _genesis_draft(topic: str) -> Draft:
    return _draft(topic, f"{topic}/0", GENESIS)


def _draft(topic: str, key: str, data: Contract) -> Draft:
    kind: Any = data
    time = format_instant(instant_of(0))
    return encode(
        topic, 0, Event(key, Envelope("id", "/test", kind.TYPE, kind.VERSION, time), data)
    )


def _record(draft: Draft, offset: int, at_ms: int) -> Record:
    return Record(draft.topic, 0, offset, at_ms, draft.key, draft.value, draft.headers)


__all__ = ["CASE", "History", "Item", "digest_of_batch", "flat", "history_of", "rewrite"]
