"""The port to a partitioned, append-only log; three logs stand behind it, proved by one suite.

`kafka_log` is production, `sqlite_log` the embedded one, `memory_log` the model for tests. All
move the same bytes. What every one promises:

- records of a partition are read in the order of their offsets, and only once committed;
- a commit is all or nothing over all its topics;
- fencing a shard raises its epoch: whoever held it before can commit nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from caseway.contracts.record import Draft, Record
from caseway.contracts.topics import Topic

Place = tuple[str, int]  # a topic partition by the topic's name inside the namespace


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some committed records of one partition, and where to go on.

    `is_end` says that `next_offset` has reached the end the partition had at the first read.
    """

    records: Sequence[Record]
    next_offset: int
    is_end: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first offset kept and the next offset to be written, committed or not."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the doctor compares: how a topic really is on the log."""

    partitions: int
    retention_ms: int
    is_compacted: bool
    has_append_time: bool
    replication: int
    # Beyond so many bytes a partition loses its oldest; -1: never.
    retention_bytes: int = -1
    # A replica that lacks acknowledged records may become the leader.
    has_unclean_election: bool = False
    # So many replicas have a record before it is acknowledged; None where nothing is replicated.
    min_insync: int | None = None


def insync_of(replication: int) -> int:
    """How many of so many replicas must have a record: all but the one that may be away."""
    return max(1, replication - 1)


@dataclass(frozen=True, slots=True)
class QuotaFacts:
    """What a broker lets a producer without a quota of its own write a second; None: anything.

    `held_back` are those of our services that have none.
    """

    default_bytes: int | None
    held_back: frozenset[str]


class Writer(Protocol):
    """The right to write one shard's outputs, until somebody fences it.

    Any `Unavailable` from `commit` means that the outcome is unknown: throw this writer away.
    """

    async def commit(
        self, drafts: Sequence[Draft], positions: Mapping[Place, int]
    ) -> tuple[int, int]:
        """Append the drafts, all or nothing; `positions` may go with them, or with `settle`.

        Returns (offset, append time in ms) of the last draft, which is the trailer on the own log.
        """

    async def settle(self, positions: Mapping[Place, int]) -> bool:
        """The shard has nothing to do: tell lag tools how far it has read (the trailer, not this,
        is what counts), and say whether its last commit can be read. If not, ask again.

        Raises:
            Unavailable: as for a commit; also when nobody could read that commit for too long.
        """

    async def close(self) -> None:
        """Give the connection back; never commits anything."""


class Feed(Protocol):
    """Committed records of many partitions, read on from where `seek` put each."""

    async def seek(self, positions: Mapping[Place, int]) -> None:
        """Read these partitions from these offsets on, besides those read already."""

    async def drop(self, places: Iterable[Place]) -> None:
        """Read these partitions no more."""

    def pause(self, places: Iterable[Place]) -> None:
        """Fetch nothing from these partitions until they are resumed."""

    def resume(self, places: Iterable[Place]) -> None:
        """Fetch again."""

    async def fetch(self, timeout_s: float) -> Mapping[Place, Sequence[Record]]:
        """What has come; empty when nothing did within the timeout."""

    async def close(self) -> None:
        """Stop reading."""


class Membership(Protocol):
    """Which shards of a service this process owns; it changes as processes come and go."""

    async def changes(self) -> frozenset[int]:
        """Wait until the owned shards differ from what was last returned, and return them."""

    async def close(self) -> None:
        """Leave."""


class Log(Protocol):
    """One namespace on one log."""

    shards: int

    async def fence(self, service: str, shard: int) -> Writer:
        """Become the only writer of this shard: whatever was open before is aborted or done."""

    async def scan(self, place: Place, start: int) -> Chunk:
        """Committed records from `start` on, for replays; call again from `next_offset`.

        No records say nothing as long as it is not the end: a slow broker has not answered yet.
        """

    async def bounds(self, place: Place) -> Bounds:
        """Where a partition begins and ends now, transactions still open included."""

    async def end(self, place: Place) -> int:
        """The next offset to be written to a partition, transactions still open included."""

    async def append(self, drafts: Sequence[Draft]) -> Sequence[tuple[int, int]]:
        """Append to inbound topics; returns (offset, append time in ms) once they are durable."""

    async def feed(self, linger_ms: int = 0) -> Feed:
        """A new reader of committed records; they may come `linger_ms` late, in fewer fetches."""

    async def join(self, service: str, member: str) -> Membership:
        """Take part in sharing out the shards of a service; `member` survives a restart."""

    async def create_topics(self, topics: Sequence[Topic]) -> Sequence[str]:
        """Create those that are missing; returns their names. Idempotent."""

    async def describe(self, topics: Sequence[Topic]) -> Mapping[str, TopicFacts]:
        """How these topics are; those that do not exist are left out."""

    async def close(self) -> None:
        """Close every connection of this log."""


async def first_record(log: Log, place: Place) -> Record | None:
    """The first committed record that a partition still has; None if it has none."""
    position, is_end = (await log.bounds(place)).first, False
    while not is_end:
        chunk = await log.scan(place, position)
        if chunk.records:
            return chunk.records[0]
        position, is_end = chunk.next_offset, chunk.is_end
    return None
