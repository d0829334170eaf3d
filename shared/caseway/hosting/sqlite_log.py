"""The embedded log: one SQLite file, one engine process, nothing to install but Python packages.

Commits are grouped (`sqlite_commits`) and flushed (WAL, synchronous=FULL). What was committed is
handed to the readers of this process from memory; only a replay, or a change by another process,
reads the file. Other processes (a command line) may append and read; only one may own shards.
The file must lie on a disk of this machine: WAL does not work over a network.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from caseway.contracts.record import Draft, Record
from caseway.contracts.topics import Topic
from caseway.errors import ContractError, Unavailable
from caseway.hosting.log import Bounds, Chunk, Feed, Membership, Place, TopicFacts, Writer
from caseway.hosting.sqlite_commits import GroupCommit
from caseway.hosting.sqlite_feed import SqliteFeed
from caseway.hosting.sqlite_file import READ_RECORDS_MAX, Reader, Session

RECORD_BYTES_MAX = 1_047_552  # as on Kafka, so that a case can move to one


class SqliteLog:
    """One namespace in one directory; to be made on the event loop that uses it."""

    def __init__(self, path: Path, shards: int, *, now_ms: Callable[[], int] | None = None) -> None:
        self.shards = shards
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._reader = Reader(path)
        self._feeds: set[SqliteFeed] = set()
        self._lock_file: int | None = None
        session = Session(path, now_ms or (lambda: time.time_ns() // 1_000_000))
        self._commits = GroupCommit(session, self._settled)

    # -- writing ------------------------------------------------------------------------------

    async def fence(self, service: str, shard: int) -> Writer:
        """Raise the shard's epoch; this process must be the only engine on the file."""
        self.own()
        epoch = await self._commits.do(lambda session: session.raise_epoch(service, shard))
        return SqliteWriter(self._commits, service, shard, epoch)

    def own(self) -> None:
        """Take the right to own shards of this file, for as long as this process lives.

        Raises:
            Unavailable: ENGINE_RUNNING, another engine runs on this directory.
        """
        if self._lock_file is not None:
            return
        path = self._path.with_suffix(".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode() or "unknown"
            os.close(descriptor)
            raise Unavailable(
                f"an engine with process id {holder} runs on {self._path.parent}; stop it first",
                code="ENGINE_RUNNING",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._lock_file = descriptor

    async def append(self, drafts: Sequence[Draft]) -> Sequence[tuple[int, int]]:
        """Append to inbound topics; answered after the flush."""
        _check_sizes(drafts)
        return await self._commits.do(lambda session: session.append(drafts))

    def _settled(self, appended: Sequence[Record], is_foreign: bool) -> None:
        by_place: dict[Place, list[Record]] = {}
        for record in appended:
            by_place.setdefault((record.topic, record.partition), []).append(record)
        for feed in self._feeds:
            feed.offer(by_place, is_foreign)

    # -- reading ------------------------------------------------------------------------------

    async def scan(self, place: Place, start: int) -> Chunk:
        """Up to a thousand records from `start` on."""
        # The end before the records: what is committed between the two reads must not be taken
        # for a gap and stepped over.
        end = self._reader.end(place)
        records = self._reader.records(place, start)
        next_offset = records[-1].offset + 1 if records else start
        if len(records) < READ_RECORDS_MAX:
            next_offset = max(next_offset, end)
        await asyncio.sleep(0)
        return Chunk(records, next_offset, next_offset >= end)

    def read(self, place: Place, start: int, key: bytes | None = None) -> list[Record]:
        """Up to a thousand records from `start` on, of one key if given; cheap by its index."""
        return self._reader.records(place, start, key)

    async def bounds(self, place: Place) -> Bounds:
        """First kept and next offset."""
        end, first = self._reader.end(place), self._reader.first(place)
        return Bounds(end if first is None else first, end)

    async def end(self, place: Place) -> int:
        """The next offset."""
        return self._reader.end(place)

    def positions(self, service: str) -> Mapping[Place, int]:
        """How far a service has read each of its inputs, for lag tools."""
        return self._reader.positions(service)

    async def feed(self, linger_ms: int = 0) -> Feed:
        """A reader fed from memory where it keeps up, from the file where it does not."""
        return SqliteFeed(self._reader, self._feeds, linger_ms / 1000)

    async def join(self, service: str, member: str) -> Membership:
        """All shards belong to the one engine process."""
        return OneMember(frozenset(range(self.shards)))

    # -- provisioning -------------------------------------------------------------------------

    async def create_topics(self, topics: Sequence[Topic]) -> Sequence[str]:
        """Note the settings of those that are missing."""
        return await self._commits.do(lambda session: session.create(topics, self.shards))

    async def describe(self, topics: Sequence[Topic]) -> Mapping[str, TopicFacts]:
        """What the file says of these topics."""
        wanted = {topic.name for topic in topics}
        return {name: facts for name, facts in self._reader.topics().items() if name in wanted}

    async def close(self) -> None:
        """Finish what waits, then close the file and give up the engine's lock."""
        await self._commits.close()
        self._reader.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


class SqliteWriter:
    """The right to write one shard, until its epoch is raised or it fails once."""

    def __init__(self, commits: GroupCommit, service: str, shard: int, epoch: int) -> None:
        self._commits = commits
        self._service, self._shard, self._epoch = service, shard, epoch
        self._read: dict[Place, int] = {}
        self._is_dead = False

    async def commit(
        self, drafts: Sequence[Draft], positions: Mapping[Place, int]
    ) -> tuple[int, int]:
        """Append if the epoch still is ours; positions go along, they cost next to nothing."""
        assert drafts, "a commit holds at least its trailer"
        _check_sizes(drafts)
        given = await self._write(drafts, positions)
        return given[-1]

    async def settle(self, positions: Mapping[Place, int]) -> bool:
        """Write down what no commit took along: mostly there is nothing, and no flush.

        What was committed can be read at once.
        """
        if any(self._read.get(place) != offset for place, offset in positions.items()):
            await self._write((), positions)
        return True

    async def _write(
        self, drafts: Sequence[Draft], positions: Mapping[Place, int]
    ) -> list[tuple[int, int]]:
        if self._is_dead:
            raise Unavailable("this writer failed before; take over again")

        def work(session: Session) -> list[tuple[int, int]]:
            session.demand(self._service, self._shard, self._epoch)
            session.read_on(self._service, positions)
            return session.append(drafts)

        try:
            given = await self._commits.do(work)
        except Unavailable:
            self._is_dead = True
            raise
        self._read.update(positions)
        return given

    async def close(self) -> None:
        """Nothing is held."""
        self._is_dead = True


class OneMember:
    """The membership of the only process there is."""

    def __init__(self, shards: frozenset[int]) -> None:
        self._shards = shards
        self._is_told = False

    async def changes(self) -> frozenset[int]:
        """All shards at once, and then never a change."""
        if self._is_told:
            await asyncio.Event().wait()
        self._is_told = True
        return self._shards

    async def close(self) -> None:
        """Nothing to leave."""


def _check_sizes(drafts: Sequence[Draft]) -> None:
    for draft in drafts:
        if draft.is_beyond(RECORD_BYTES_MAX):
            raise ContractError(
                f"a record for {draft.topic} has {draft.size_bytes} bytes; at most "
                f"{RECORD_BYTES_MAX}: store large evidence and send a reference",
                code="RECORD_TOO_LARGE",
            )
