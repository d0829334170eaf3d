"""What a Kafka broker does with partitions and transactions, modelled without waiting for anything.

`memory_log` puts the port of a log around it, and the conformance suite holds both to the real
broker; the simulator drives it directly. Offsets have gaps: every commit and every abort leaves a
marker in each partition that it touched, and aborted records keep theirs. A transaction that was
left open pins the end that readers see until it is ended, or its writer is fenced.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from caseway.contracts.record import Draft, Record
from caseway.errors import ContractError, Fenced, Unavailable
from caseway.hosting.log import Chunk, Place

RECORD_BYTES_MAX = 1_047_552
SCAN_RECORDS = 1_000

# `lost`: nothing happened. `unknown`: all of it did, and the answer was lost. `torn`: a late end
# of transaction committed its first half. `open`: all was produced, and nobody ended it.
Failure = Literal["lost", "unknown", "torn", "open"]


class _Open(NamedTuple):
    """A transaction whose records have their offsets, and whose end nobody has seen."""

    epoch: int
    records: list[Record]
    first: dict[Place, int]


class MemoryBroker:
    """Partitions, epochs and transactions; `now_ms` is its clock, `on_growth` hears of places."""

    def __init__(
        self, now_ms: Callable[[], int], on_growth: Callable[[Iterable[Place]], None]
    ) -> None:
        self._now_ms = now_ms
        self._on_growth = on_growth
        self.records: dict[Place, list[Record]] = {}
        self._ends: dict[Place, int] = {}
        self._last_ms: dict[Place, int] = {}
        self._epochs: dict[tuple[str, int], int] = {}
        self._open: dict[tuple[str, int], _Open] = {}

    # -- writing ------------------------------------------------------------------------------

    def fence(self, service: str, shard: int) -> int:
        """Raise the epoch; the writer before can commit nothing more, and what it left is aborted.

        Returns the new epoch.
        """
        self.end_open(service, shard, is_commit=False)
        epoch = self._epochs[service, shard] = self._epochs.get((service, shard), 0) + 1
        return epoch

    def append(self, drafts: Sequence[Draft]) -> list[tuple[int, int]]:
        """Append without a transaction: no marker follows."""
        check_sizes(drafts)
        records = self._stamp(drafts)
        self._show(records)
        return [(record.offset, record.at_ms) for record in records]

    def commit(
        self,
        service: str,
        shard: int,
        epoch: int,
        drafts: Sequence[Draft],
        failure: Failure | None = None,
    ) -> tuple[int, int]:
        """One transaction of a writer; returns (offset, append time) of the last draft.

        Raises:
            Fenced: the shard has another owner.
            Unavailable: the outcome is unknown to the writer, as `failure` has it.
        """
        if self._epochs.get((service, shard)) != epoch:
            raise Fenced(f"{service}/{shard} has another owner")
        check_sizes(drafts)
        if failure == "torn":
            drafts = drafts[: len(drafts) // 2]
        records = self._stamp(drafts)
        first: dict[Place, int] = {}
        for record in records:
            first.setdefault((record.topic, record.partition), record.offset)
        if failure == "open":
            self._open[service, shard] = _Open(epoch, records, first)
            raise Unavailable("commit: no answer")
        self._mark(first)
        if failure != "lost":
            self._show(records)
        if failure is not None:
            raise Unavailable("commit: no answer")
        return records[-1].offset, records[-1].at_ms

    def end_open(self, service: str, shard: int, *, is_commit: bool) -> None:
        """End the transaction that this writer left open, if there is one."""
        left = self._open.pop((service, shard), None)
        if left is None:
            return
        self._mark(left.first)
        if is_commit:
            self._show(left.records)
        self._on_growth(left.first)  # what lay behind it can be read now

    def has_open(self, service: str, shard: int, epoch: int | None = None) -> bool:
        """Whether a transaction of this shard is open, of the owner of this epoch if given."""
        left = self._open.get((service, shard))
        return left is not None and epoch in (None, left.epoch)

    def _stamp(self, drafts: Sequence[Draft]) -> list[Record]:
        """Offset and append time for each; times never fall within a partition."""
        records = []
        for topic, partition, key, value, headers in drafts:
            place = (topic, partition)
            at_ms = self._last_ms[place] = max(self._last_ms.get(place, 0), self._now_ms())
            offset = self._ends.get(place, 0)
            self._ends[place] = offset + 1
            records.append(Record(topic, partition, offset, at_ms, key, value, tuple(headers)))
        return records

    def _show(self, records: Sequence[Record]) -> None:
        grown: dict[Place, None] = {}
        for record in records:
            place = (record.topic, record.partition)
            there = self.records.setdefault(place, [])
            if there and there[-1].offset > record.offset:  # it was open while others came
                bisect.insort(there, record, key=_offset)
            else:
                there.append(record)
            grown[place] = None
        self._on_growth(grown)

    def _mark(self, places: Iterable[Place]) -> None:
        """The end of a transaction takes one offset in every partition that it touched."""
        for place in places:
            self._ends[place] += 1

    # -- reading ------------------------------------------------------------------------------

    def scan(self, place: Place, start: int, limit: int = SCAN_RECORDS) -> Chunk:
        """Committed records from `start` on."""
        records = self.read(place, start)[:limit]
        end = self.stable_end(place)
        next_offset = max(start, end) if len(records) < limit else records[-1].offset + 1
        return Chunk(records, next_offset, next_offset >= end)

    def read(self, place: Place, start: int, key: bytes | None = None) -> list[Record]:
        """All committed records of a partition from `start` on, of one key if given."""
        records = self.records.get(place)
        if not records or records[-1].offset < start:
            return []
        first = bisect.bisect_left(records, start, key=_offset)
        last = len(records)
        if self._open:
            last = bisect.bisect_left(records, self.stable_end(place), key=_offset)
        found = records[first:last]
        return found if key is None else [r for r in found if r.key == key]

    def end(self, place: Place) -> int:
        """The next offset to be written, transactions still open included."""
        return self._ends.get(place, 0)

    def stable_end(self, place: Place) -> int:
        """Where readers of committed records stop: before the first transaction still open."""
        pinned = (left.first[place] for left in self._open.values() if place in left.first)
        return min(pinned, default=self.end(place))

    def places(self) -> list[Place]:
        """Every partition that holds something, in a stable order."""
        return sorted(self.records)


def check_sizes(drafts: Sequence[Draft]) -> None:
    """Refuse what a broker would.

    Raises:
        ContractError: RECORD_TOO_LARGE.
    """
    for draft in drafts:
        if draft.is_beyond(RECORD_BYTES_MAX):
            raise ContractError(
                f"a record for {draft.topic} has {draft.size_bytes} bytes; at most "
                f"{RECORD_BYTES_MAX}: store large evidence and send a reference",
                code="RECORD_TOO_LARGE",
            )


def _offset(record: Record) -> int:
    return record.offset
