"""The life of the sealer: fence, restore, replay the audit log, seek, then seal what comes.

It keeps the order of `host.py` and yields the same effects, so the same runner and the same
simulator drive it. It is the single shard 0 of service `audit`. How a tree grows and what a
checkpoint says is the sealer's own; here is only when one is written, and that doubt throws it
away together with all that came since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from caseway.contracts.audit import CheckpointSealed, TreeHead
from caseway.contracts.codec import Event, data_of, encode
from caseway.contracts.envelope import Envelope, Strength
from caseway.contracts.fields import Contract, format_instant
from caseway.contracts.record import Draft, Record, instant_of
from caseway.contracts.shard import ShardCommitted, ShardGenesis, SnapshotMarked
from caseway.contracts.signing import SigningKey
from caseway.contracts.topics import AUDIT, FIXED_TOPICS, Topic, offers
from caseway.errors import ContractError, IntegrityError, Unavailable
from caseway.hosting.batches import Batch, BatchReader, batch_digest
from caseway.hosting.effects import Arrival, Commit, Committed, Fence, RegistryAt, Scan, Seek, Wait
from caseway.hosting.host import Life, Phase, endure
from caseway.hosting.log import Place
from caseway.hosting.sealing_snapshot import (
    SNAPSHOT_PLACE,
    STATE_VERSION,
    SealingSnapshotReader,
    snapshot_drafts,
)
from caseway.kernel.identity import event_id
from caseway.kernel.registry import Registry

SERVICE = "audit"
# Half of the two seconds within which a record is to be under seal.
INTERVAL_MS = 1_000
# The leaves of one checkpoint come in one or two fetches.
LINGER_MS = 500

# A takeover folds at most about this many checkpoints, which takes a tenth of a second.
SNAPSHOT_CHECKPOINTS = 500

_OWN: Place = (AUDIT.name, 0)
_KEY = f"{AUDIT.name}/0"


class Sealing(Protocol):
    """The sealer as its host sees it; `caseway_audit.sealing.Sealer` is the one there is."""

    @property
    def has_growth(self) -> bool:
        """True when records have come that no checkpoint covers."""

    def positions(self) -> Mapping[Place, int]:
        """The next offset of every sealed tree."""

    def extend(self, place: Place, records: Sequence[Record]) -> None:
        """Add the next committed records of a partition to its tree."""

    def seal(self, genesis: ShardGenesis, key: SigningKey) -> CheckpointSealed | None:
        """The next checkpoint, or None when nothing grew."""

    def evolve(self, checkpoint: CheckpointSealed) -> None:
        """Fold one checkpoint of the audit log."""

    def remember(self) -> Mapping[str, TreeHead]:
        """All that was sealed, as heads by name."""

    def recall(self, heads: Mapping[str, TreeHead]) -> None:
        """Become what `remember` said."""


def sealed_topics(pools: Iterable[str]) -> tuple[Topic, ...]:
    """Every inbound topic, log and offers topic but the audit log itself.

    Dead letters and snapshots hold nothing that is not in these.
    """
    fixed = (topic for topic in FIXED_TOPICS if topic is not AUDIT)
    return (*fixed, *(offers(pool) for pool in sorted(pools)))


def sealed_places(pools: Iterable[str], shards: int) -> tuple[Place, ...]:
    """Every partition under seal in a namespace of so many shards."""
    return tuple(
        (topic.name, number)
        for topic in sealed_topics(pools)
        for number in range(topic.partitions(shards))
    )


class SealingShard:
    """The one shard of the audit service; plugs into a `ShardRunner` like any other."""

    number = 0

    def __init__(
        self,
        fresh: Callable[[], Sealing],
        key: SigningKey,
        places: Sequence[Place],
        *,
        interval_ms: int = INTERVAL_MS,
        snapshot_checkpoints: int = SNAPSHOT_CHECKPOINTS,
    ) -> None:
        self.phase = Phase.TAKING_OVER
        self.halt_reason = ""
        self.commits = 0
        self.replayed_events = 0
        self.progress_ms = 0
        # The append time of the oldest record that no checkpoint covers; None when all are.
        self.oldest_ms: int | None = None
        self._fresh = fresh
        self._key = key
        self._places = tuple(places)
        self._interval_ms = interval_ms
        self._snapshot_checkpoints = snapshot_checkpoints
        self._sealed_ms = 0
        self._reset()

    def life(self) -> Life:
        """Own the audit log until the driver stops asking."""
        return endure(self, self._take_over, self._work)

    # -- takeover -----------------------------------------------------------------------------

    def _reset(self) -> None:
        self.oldest_ms = None
        self._sealer = self._fresh()
        self._genesis: ShardGenesis | None = None
        self._sequence = 0
        self._epoch = 0
        self._registry_position = 0
        self._greatest_ms = 0
        self._next_own = 0
        self._round = 0
        self._unsnapped = 0

    def _take_over(self) -> Life:
        self.phase = Phase.TAKING_OVER
        self._reset()
        yield Fence()
        yield from self._load_snapshot()
        yield from self._replay()
        registry: Registry = yield RegistryAt(self._registry_position)
        self._found(registry)
        self._epoch += 1
        done = self._sealer.positions()
        yield Seek({place: done.get(place, 0) for place in self._places})
        self.phase = Phase.RUNNING

    def _load_snapshot(self) -> Life:
        reader = SealingSnapshotReader()
        start, is_end = 0, False
        while not is_end:
            chunk = yield Scan(SNAPSHOT_PLACE, start)
            reader.feed(chunk.records)
            start, is_end = chunk.next_offset, chunk.is_end
        loaded = reader.load()
        if loaded is None:
            return
        marker, heads = loaded
        self._sealer.recall(heads)
        self._sequence, self._epoch = marker.sequence, marker.epoch
        self._registry_position, self._greatest_ms = marker.registry_position, marker.greatest_ms
        self._next_own, self._round = marker.log_offset, marker.round

    def _replay(self) -> Life:
        self.phase = Phase.REPLAYING
        chunk = yield Scan(_OWN, 0)
        while not (chunk.records or chunk.is_end):
            chunk = yield Scan(_OWN, chunk.next_offset)
        genesis = _data(chunk.records[0]) if chunk.records else None
        if not isinstance(genesis, ShardGenesis):
            raise Unavailable(f"{_KEY} has no genesis; run `caseway init`", code="GENESIS_MISSING")
        self._genesis = genesis
        batches = BatchReader(_OWN, is_resumed=self._next_own > 0)
        is_end = False
        while not is_end:
            chunk = yield Scan(_OWN, self._next_own)
            for batch in batches.feed(chunk.records):
                self._fold(batch)
            self._next_own, is_end = chunk.next_offset, chunk.is_end

    def _fold(self, batch: Batch) -> None:
        for record in batch.records:
            data = _data(record)
            if not isinstance(data, CheckpointSealed):
                raise IntegrityError(
                    f"{_KEY}@{record.offset}: no checkpoint", code="integrity.unreadable"
                )
            self._sealer.evolve(data)
            self.replayed_events += 1
            self._unsnapped += 1
        trailer = batch.trailer
        self._sequence, self._epoch = trailer.sequence, trailer.epoch
        self._registry_position = trailer.registry_position
        self._greatest_ms = trailer.greatest_ms

    def _found(self, registry: Registry) -> None:
        """Never seal under a name or a key that nobody can check the notes with."""
        genesis = self._genesis
        assert genesis is not None, "the replay found it"
        if (registry.namespace, registry.generation) != (genesis.namespace, genesis.generation):
            raise IntegrityError(
                f"{_KEY} is of {genesis.namespace!r}, generation {genesis.generation!r}, and the "
                f"registry of {registry.namespace!r}, {registry.generation!r}",
                code="integrity.genesis",
            )
        if genesis.checkpoint_key != self._key.public_text:
            raise IntegrityError(
                f"the genesis names checkpoint key {genesis.checkpoint_key!r} and ours is "
                f"{self._key.public_text!r}; start the sealer with the key of `caseway init`",
                code="KEY_MISMATCH",
            )
        self._registry_position = registry.position

    # -- work ---------------------------------------------------------------------------------

    def _work(self) -> Life:
        while True:
            due_ms = self._sealed_ms + self._interval_ms if self._sealer.has_growth else None
            position = self._registry_position
            arrival: Arrival = yield Wait(position, position, due_ms, is_idle=True)
            now_ms = self.progress_ms = arrival.now_ms
            if arrival.registry:
                self._registry_position = arrival.registry[-1][1].position
            for place, records in arrival.records.items():
                self._receive(place, records)
            if now_ms - self._sealed_ms >= self._interval_ms:
                yield from self._seal(now_ms)

    def _receive(self, place: Place, records: Sequence[Record]) -> None:
        if not records:
            return
        self._sealer.extend(place, records)
        times = [record.at_ms for record in records]
        self._greatest_ms = max(self._greatest_ms, *times)
        self.oldest_ms = min(times if self.oldest_ms is None else (self.oldest_ms, *times))

    def _seal(self, now_ms: int) -> Life:
        if not self._sealer.has_growth:
            return
        assert self._genesis is not None, "a shard that works has taken over"
        before = self._snapshot() if self._unsnapped >= self._snapshot_checkpoints else []
        checkpoint = self._sealer.seal(self._genesis, self._key)
        assert checkpoint is not None, "it has grown"
        self._sequence += 1
        own = self._draft("checkpoint", checkpoint.number, checkpoint)
        positions = self._sealer.positions()
        trailer = ShardCommitted(
            sequence=self._sequence,
            epoch=self._epoch,
            count=1,
            digest=batch_digest([own]),
            positions={f"{topic}/{number}": at for (topic, number), at in positions.items()},
            registry_position=self._registry_position,
            greatest_ms=self._greatest_ms,
        )
        drafts = [*before, own, self._draft("trailer", self._sequence, trailer)]
        done: Committed = yield Commit(drafts, positions)
        self._next_own = done.offset + 1
        self._unsnapped += 1
        self.commits += 1
        self._sealed_ms = now_ms
        if not self._sealer.has_growth:
            self.oldest_ms = None

    def _snapshot(self) -> list[Draft]:
        """A round of all that is sealed, without the checkpoint that goes with it."""
        self._round += 1
        self._unsnapped = 0

        def mark(entries: int, digest: str) -> SnapshotMarked:
            return SnapshotMarked(
                round=self._round,
                state_version=STATE_VERSION,
                log_offset=self._next_own,
                sequence=self._sequence,
                epoch=self._epoch,
                positions={},
                registry_position=self._registry_position,
                greatest_ms=self._greatest_ms,
                entries=entries,
                states_digest=digest,
                taken_at=instant_of(self._greatest_ms),
            )

        return snapshot_drafts(self._sealer.remember(), mark)

    def _draft(self, what: str, number: int, data: Contract) -> Draft:
        genesis = self._genesis
        assert genesis is not None, "a shard that works has taken over"
        cause = f"{genesis.generation}/{_KEY}/{what}/{number}"
        envelope = Envelope(
            id=event_id(cause, SERVICE, _KEY, 0),
            source=f"/{genesis.namespace}/{SERVICE}",
            type=data.TYPE,  # type: ignore[attr-defined]
            version=data.VERSION,  # type: ignore[attr-defined]
            time=format_instant(instant_of(self._greatest_ms)),
            sequence=number if isinstance(data, CheckpointSealed) else 0,
            cause=cause,
            actor=f"system:{SERVICE}",
            strength=Strength.SYSTEM,
            registry_position=self._registry_position,
        )
        return encode(AUDIT.name, 0, Event(_KEY, envelope, data))


def _data(record: Record) -> Contract:
    try:
        return data_of(record)
    except ContractError as error:
        raise IntegrityError(
            f"{_KEY}@{record.offset}: {error}", code="integrity.unreadable"
        ) from error
