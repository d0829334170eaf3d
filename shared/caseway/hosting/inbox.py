"""The queues of one shard: whole batches only, in a fixed order, each topic a bounded share.

A record that needs the barrier waits until the registry has been read to the end that was seen
after the record was fetched; a record of a log waits until this shard's registry has come as far
as its writer's had.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from caseway.contracts.codec import type_of
from caseway.contracts.record import Record
from caseway.contracts.topics import TopicKind
from caseway.hosting.batches import BatchReader
from caseway.hosting.log import Place
from caseway.kernel.processor import Input

UNKNOWN = -1  # no barrier has been passed for this record yet


@dataclass(slots=True)
class Item:
    """A queued record and the registry position it waits for."""

    record: Record
    required: int


class _Lane:
    """One input topic of the shard."""

    def __init__(self, source: Input, place: Place, start: int) -> None:
        self.source = source
        self.place = place
        self.items: deque[Item] = deque()
        self.seen = start
        self.is_log = source.topic.kind is TopicKind.LOG
        self.batches = BatchReader(place, is_resumed=start > 0) if self.is_log else None

    def receive(self, records: Sequence[Record]) -> None:
        if self.batches is None:
            required = UNKNOWN if self.source.needs_barrier else 0
            self.items.extend(Item(record, required) for record in records)
            self.seen = records[-1].offset + 1
            return
        for batch in self.batches.feed(records):
            required = batch.trailer.registry_position
            hears = self.source.hears
            for record in batch.records:
                if type_of(record) in hears:
                    self.items.append(Item(record, required))
            self.seen = batch.next_offset

    @property
    def position(self) -> int:
        return self.items[0].record.offset if self.items else self.seen


class Inbox:
    """The lanes of a shard in their fixed order."""

    def __init__(
        self, inputs: Iterable[Input], places: Sequence[Place], positions: Mapping[Place, int]
    ) -> None:
        pairs = zip(inputs, places, strict=True)
        self._lanes = [_Lane(source, place, positions.get(place, 0)) for source, place in pairs]
        self._by_place = {lane.place: lane for lane in self._lanes}

    def receive(self, records: Mapping[Place, Sequence[Record]]) -> None:
        """Queue what came, in the order of its partitions."""
        for place, some in records.items():
            if some:
                self._by_place[place].receive(some)

    def positions(self) -> dict[Place, int]:
        """The next offset of every input, given all that was taken from the queues."""
        return {lane.place: lane.position for lane in self._lanes}

    @property
    def needs_barrier(self) -> bool:
        """True when a queued record has no barrier yet."""
        return any(
            lane.items and lane.items[-1].required == UNKNOWN
            for lane in self._lanes
            if lane.source.needs_barrier
        )

    def pass_barrier(self, end: int) -> None:
        """Everything queued so far was fetched before the registry's end was seen at `end`."""
        for lane in self._lanes:
            for item in reversed(lane.items):
                if item.required != UNKNOWN:
                    break
                item.required = end

    def require_again(self) -> None:
        """The registry was just written: what waits behind the barrier asks for it anew."""
        for lane in self._lanes:
            if lane.source.needs_barrier:
                for item in lane.items:
                    item.required = UNKNOWN

    def take(self, share: int, registry_position: int) -> Iterable[tuple[Input, Record]]:
        """Up to `share` records of each topic, in order; each counts as consumed once yielded."""
        for lane in self._lanes:
            for _ in range(share):
                if not lane.items:
                    break
                item = lane.items[0]
                if item.required == UNKNOWN or item.required > registry_position:
                    break
                lane.items.popleft()
                yield lane.source, item.record

    def is_ready(self, registry_position: int) -> bool:
        """True when `take` would yield something."""
        return any(
            lane.items and UNKNOWN < lane.items[0].required <= registry_position
            for lane in self._lanes
        )

    def awaited_position(self, registry_position: int) -> int:
        """The registry position that some record waits for, or the given one."""
        heads = (lane.items[0].required for lane in self._lanes if lane.items)
        return max(heads, default=registry_position)

    def full(self, limit: int) -> frozenset[Place]:
        """The places that hold `limit` records or more."""
        return frozenset(lane.place for lane in self._lanes if len(lane.items) >= limit)

    @property
    def queued(self) -> int:
        """How many records wait."""
        return sum(len(lane.items) for lane in self._lanes)

    @property
    def oldest_ms(self) -> int | None:
        """The append time of the oldest record that waits."""
        return min((lane.items[0].record.at_ms for lane in self._lanes if lane.items), default=None)

    @property
    def torn_records(self) -> int:
        """Records of other services' logs that no trailer vouched for."""
        return sum(lane.batches.torn_records for lane in self._lanes if lane.batches)
