"""Makes a long history of closed cases for a benchmark: the batches and rounds services write.

One real closed case a shard is the pattern. Its events are written again under other case ids, in
whole batches with trailers and snapshot rounds that go on where the log stands, and a last trailer
says that every other log was read to its end. A takeover cannot tell them from lived ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caseway.contracts.codec import Event, decode, encode, type_of
from caseway.contracts.record import Draft, Record, instant_of
from caseway.contracts.shard import ShardCommitted, SnapshotMarked
from caseway.contracts.topics import TopicKind, snapshots
from caseway.errors import ConfigError
from caseway.hosting.batches import Batch, BatchReader, batch_digest
from caseway.hosting.log import Log, Place, Writer
from caseway.kernel.entities import Written
from caseway.kernel.fold import Fold
from caseway.kernel.processor import Card
from caseway.kernel.snapshot import SnapshotReader, SnapshotWriter
from caseway_control.roster import CARDS

# Some thousand events of the router: one transaction of about 1 MB, and one snapshot round.
_CASES_A_BATCH = 100


async def multiply_closed(log: Log, closed_key: str, shard: int, count: int) -> int:
    """Write `count` copies of a closed case into one shard of every service; returns the events.

    The services must be stopped: this takes their shards.
    """
    scribes = [_Scribe(log, card, shard, closed_key) for card in CARDS.values()]
    written = 0
    try:
        for scribe in scribes:
            await scribe.take_over()
            written += await scribe.copy(count)
        # Not before: each has now all that the others read of it.
        for scribe in scribes:
            await scribe.finish()
    finally:
        for scribe in scribes:
            await scribe.close()
    return written


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A closed case: its events, and what a snapshot holds of it."""

    key: str
    records: Sequence[Record]
    written: Written

    def drafts(self, key: str) -> Iterator[Draft]:
        for record in self.records:
            headers = tuple(
                (name, self._renamed(value or b"", key)) for name, value in record.headers
            )
            value = self._renamed(record.value or b"", key)
            yield Draft(record.topic, record.partition, key.encode(), value, headers)

    def state(self, key: str) -> Written:
        return self.written._replace(raw=self._renamed(self.written.raw, key))

    def _renamed(self, value: bytes, key: str) -> bytes:
        return value.replace(self.key.encode(), key.encode())


class _Scribe:
    """Writes one shard of one service as its host would, without deciding anything."""

    def __init__(self, log: Log, card: Card[Any], shard: int, key: str) -> None:
        self._log, self._card, self._shard, self._key = log, card, shard, key
        self._place: Place = (card.own.name, shard)
        self._fold: Fold[Any] = Fold(card)
        self._snapshots = SnapshotWriter(card, shard)
        self._changed: dict[str, Written | None] = {}
        self._writer: Writer | None = None
        self._pattern: _Pattern
        self._last: ShardCommitted
        self._trailer: Event
        self._next_own = 0

    async def take_over(self) -> None:
        """Become the owner, with the state as of the last trailer and the pattern in hand."""
        self._writer = await self._log.fence(self._card.service, self._shard)
        reader = SnapshotReader(self._card)
        async for records in _scan(self._log, (snapshots(self._card.service).name, self._shard)):
            reader.feed(records)
        loaded = reader.load()
        done = 0
        if loaded is None:
            self._snapshots.replace(reader.keys)
        else:
            self._snapshots.resume(loaded)
            self._fold.committed, done = loaded.entities, loaded.marker.log_offset
        batches = BatchReader(self._place, is_resumed=False)
        found: list[Record] = []
        trailer: Record | None = None
        async for records in _scan(self._log, self._place):
            for batch in batches.feed(records):
                found += [record for record in batch.records if record.key == self._key.encode()]
                self._fold_batch(batch, done)
            trailer = next((r for r in reversed(records) if _is_trailer(r)), trailer)
        written = self._fold.committed.written(self._key)
        if trailer is None or written is None or not found:
            raise ConfigError(f"{self._place[0]}/{self._shard} holds no case {self._key!r} to copy")
        self._pattern = _Pattern(self._key, found, written)
        self._trailer = decode(trailer, is_sole_writer=True)
        self._last = self._last.model_copy(update={"epoch": self._last.epoch + 1})

    def _fold_batch(self, batch: Batch, done: int) -> None:
        self._last, self._next_own = batch.trailer, batch.next_offset
        if batch.next_offset <= done:
            return
        for record in batch.records:
            self._fold.apply(decode(record, is_sole_writer=True))
        for key in self._fold.accept():
            self._changed[key] = self._fold.committed.written(key)

    async def copy(self, count: int) -> int:
        """Write so many copies; returns how many events they have."""
        for start in range(0, count, _CASES_A_BATCH):
            keys = [
                f"h-{self._shard}-{n}" for n in range(start, min(count, start + _CASES_A_BATCH))
            ]
            await self._commit([draft for key in keys for draft in self._pattern.drafts(key)], {})
            self._changed |= {key: self._pattern.state(key) for key in keys}
        return count * len(self._pattern.records)

    async def finish(self) -> None:
        """Say that every log this service reads was read to its end, as it now is."""
        places = [
            (source.topic.name, self._shard)
            for source in self._card.inputs
            if source.topic.kind is TopicKind.LOG
        ]
        await self._commit(
            [], {f"{name}/{n}": await self._log.end((name, n)) for name, n in places}
        )

    async def close(self) -> None:
        """Let go."""
        if self._writer is not None:
            await self._writer.close()

    async def _commit(self, own: Sequence[Draft], positions: Mapping[str, int]) -> None:
        assert self._writer is not None, "take over first"
        before, sequence = self._last, self._last.sequence + 1
        self._last = before.model_copy(
            update={
                "sequence": sequence,
                "count": len(own),
                "digest": batch_digest(own),
                "positions": {**before.positions, **positions},
            }
        )
        envelope = self._trailer.envelope._replace(id=f"{self._trailer.envelope.id}-{sequence}")
        trailer = encode(*self._place, Event(self._trailer.key, envelope, self._last))
        offset, _ = await self._writer.commit([*self._round(before), *own, trailer], {})
        self._next_own = offset + 1

    def _round(self, before: ShardCommitted) -> Sequence[Draft]:
        """What changed up to, and not with, the batch that carries it."""
        changed, self._changed = self._changed, {}

        def mark(round_: int, entries: int, digest: str) -> SnapshotMarked:
            return SnapshotMarked(
                round=round_,
                state_version=self._card.state_version,
                log_offset=self._next_own,
                sequence=before.sequence,
                epoch=before.epoch,
                positions=before.positions,
                registry_position=before.registry_position,
                greatest_ms=before.greatest_ms,
                entries=entries,
                states_digest=digest,
                taken_at=instant_of(before.greatest_ms),
            )

        return self._snapshots.write(changed, changed.get, mark)


async def _scan(log: Log, place: Place) -> Any:
    start, is_end = 0, False
    while not is_end:
        chunk = await log.scan(place, start)
        yield chunk.records
        start, is_end = chunk.next_offset, chunk.is_end


def _is_trailer(record: Record) -> bool:
    return type_of(record) == ShardCommitted.TYPE
