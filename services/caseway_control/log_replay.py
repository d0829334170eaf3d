"""Replays one log partition for a verifier: whole batches, every event decoded and folded.

Sans I/O: it is given records in order and stops at the first that does not follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caseway.contracts import topics
from caseway.contracts.codec import Event, data_of, decode, type_of
from caseway.contracts.record import Record
from caseway.contracts.shard import ShardGenesis, SnapshotMarked
from caseway.errors import CasewayError, IntegrityError
from caseway.hosting.batches import Batch, BatchReader
from caseway.hosting.log import Place
from caseway.kernel.fold import Fold
from caseway.kernel.processor import Card
from caseway.kernel.registry import Registry, advance
from caseway.kernel.snapshot import MARKER, SnapshotReader, digest_of_all
from caseway_audit.verify import Code, Finding, finding_of


@dataclass(frozen=True, slots=True)
class SnapshotClaim:
    """What the last whole snapshot round says the fold was at `log_offset`."""

    log_offset: int
    sequence: int
    digest: str


class SnapshotCheck:
    """Reads one snapshot partition into the one claim that its last marker makes."""

    def __init__(self, card: Card[Any], place: Place) -> None:
        self._card = card
        self._place = place
        self._reader: SnapshotReader[Any] = SnapshotReader(card)
        self._marker: SnapshotMarked | None = None
        self.offset = -1
        self._ends_whole = False

    def take(self, records: Sequence[Record]) -> None:
        """The next records of the partition."""
        self._reader.feed(records)
        for record in records:
            self._ends_whole = record.key == MARKER.encode()
            if self._ends_whole:
                self._marker = SnapshotMarked.model_validate_json(record.value or b"{}")
                self.offset = record.offset

    def claim(self) -> SnapshotClaim | None:
        """The claim; None where there is no round that today's code could use.

        Raises:
            IntegrityError: the round is not what its own marker says.
        """
        marker = self._marker
        if marker is None or not self._ends_whole:
            return None
        if marker.state_version != self._card.state_version:
            return None
        loaded = self._reader.load()
        if loaded is None:
            raise IntegrityError(
                f"{self._place[0]}/{self._place[1]}@{self.offset}: the snapshot round is not "
                "what its marker says; it is a cache: delete the topic's records",
                code="integrity.digest",
            )
        digest = digest_of_all(digest for _, digest in loaded.entities.digests())
        return SnapshotClaim(marker.log_offset, marker.sequence, digest)


@dataclass(slots=True)
class LogReplay:
    """The fold of one log partition by its card, and what was found on the way."""

    place: Place
    card: Card[Any]
    genesis: ShardGenesis
    claim: SnapshotClaim | None = None
    finding: Finding | None = None
    batches: int = 0
    events: int = 0
    snapshots_compared: int = 0
    positions: Mapping[str, int] = field(default_factory=dict)
    registry_position: int = 0
    _next_offset: int = -1
    _sequence: int = 0
    _reader: BatchReader = field(init=False)
    _fold: Fold[Any] = field(init=False)

    def __post_init__(self) -> None:
        self._reader = BatchReader(self.place, is_resumed=False)
        self._fold = Fold(self.card)

    @property
    def torn_records(self) -> int:
        """Records that no trailer vouched for and that were decided again."""
        return self._reader.torn_records

    def take(self, records: Sequence[Record]) -> None:
        """The next records; nothing is looked at after a finding."""
        for record in records:
            if self.finding is not None:
                return
            try:
                _check_genesis(record, self.genesis, is_first=self._next_offset < 0)
                for batch in self._reader.feed((record,)):
                    self._take_batch(batch)
            except CasewayError as error:
                self.finding = finding_of(error, self.place, record.offset)
            except Exception as error:  # a fold may fail in any way over what was forged
                damage = IntegrityError(f"the fold fails: {type(error).__name__}")
                self.finding = finding_of(damage, self.place, record.offset)
            self._next_offset = record.offset + 1

    def finish(self, end: int) -> None:
        """No more records come."""
        if self.finding is not None:
            return
        if self._next_offset < 0:
            self.finding = self._bad(Code.TORN, end, "a genesis", "nothing", "the log is empty")
        elif self._reader.open_records:
            self.finding = self._bad(
                Code.TORN,
                self._next_offset - self._reader.open_records,
                "a trailer at the end",
                f"{self._reader.open_records} records without one",
                "the end of the last batch is missing",
            )
        elif self.claim is not None and self.claim.sequence > self._sequence:
            self.finding = self._bad(
                Code.ROLLBACK,
                end,
                f"batch {self.claim.sequence}",
                f"batch {self._sequence}",
                "a snapshot was taken of a longer log than this",
            )
        else:
            self._compare()

    def digests(self) -> Iterator[tuple[str, str]]:
        """Every case with its state digest, by key."""
        return self._fold.committed.digests()

    def forget(self) -> None:
        """Drop the states; the counts and the finding stay."""
        self._fold = Fold(self.card)

    def _take_batch(self, batch: Batch) -> None:
        if self.claim is not None and batch.next_offset > self.claim.log_offset:
            self._compare()
        for record in batch.records:
            event = decode(record, is_sole_writer=True)
            expected = self._fold.next_sequence(event.key)
            if event.envelope.sequence != expected:
                raise IntegrityError(
                    f"event {event.envelope.sequence} of case {event.key!r} where {expected} "
                    "belongs",
                    code="integrity.torn",
                )
            self._fold.apply(event)
        self._fold.accept()
        self.batches += 1
        self.events += len(batch.records)
        self.positions = batch.trailer.positions
        self.registry_position = batch.trailer.registry_position
        self._sequence = batch.trailer.sequence

    def _compare(self) -> None:
        """The fold has come as far as the snapshot had: both must be the same."""
        claim, self.claim = self.claim, None
        if claim is None:
            return
        self.snapshots_compared += 1
        found = digest_of_all(digest for _, digest in self.digests())
        if (claim.sequence, claim.digest) != (self._sequence, found):
            self.finding = self._bad(
                Code.DIVERGED,
                claim.log_offset,
                f"batch {claim.sequence}, {claim.digest}",
                f"batch {self._sequence}, {found}",
                "the fold of the log is not what its snapshot holds",
            )

    def _bad(self, code: Code, offset: int, expected: str, found: str, detail: str) -> Finding:
        place = f"{self.place[0]}/{self.place[1]}"
        return Finding(
            code=code, place=place, offset=offset, expected=expected, found=found, detail=detail
        )


class RegistryReplay:
    """The fold of the registry, which has no trailers: intake's vouch for it on intake's log."""

    def __init__(self, genesis: ShardGenesis) -> None:
        self.place: Place = (topics.REGISTRY.name, 0)
        self.finding: Finding | None = None
        self.events = 0
        self._genesis = genesis
        self._registry = Registry()

    def take(self, records: Sequence[Record]) -> None:
        """The next records; nothing is looked at after a finding."""
        for record in records:
            if self.finding is not None:
                return
            try:
                _check_genesis(record, self._genesis, is_first=self._registry.position == 0)
                event: Event = decode(record, is_sole_writer=True)
                self._registry = advance(self._registry, event, record.offset + 1)
            except CasewayError as error:
                self.finding = finding_of(error, self.place, record.offset)
            self.events += 1

    def finish(self, end: int) -> None:
        """No more records come."""
        if self.finding is None and self._registry.position == 0:
            damage = IntegrityError("the registry is empty", code="integrity.torn")
            self.finding = finding_of(damage, self.place, end)


def _check_genesis(record: Record, genesis: ShardGenesis, *, is_first: bool) -> None:
    """A log begins with the genesis of its namespace and holds no other."""
    is_genesis = type_of(record) == ShardGenesis.TYPE
    if is_first and not is_genesis:
        raise IntegrityError(
            "the log does not begin with its genesis: its beginning is gone", code="integrity.torn"
        )
    if is_genesis and (not is_first or data_of(record) != genesis):
        raise IntegrityError("a genesis that is not this log's", code="integrity.digest")
