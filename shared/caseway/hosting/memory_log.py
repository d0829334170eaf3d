"""A model of Kafka in one process, with the behaviours that lose data when one forgets them.

What the broker does is in `memory_broker`, which the simulator runs on too; here are the waiting
and the sharing out. The same conformance suite holds it to what the real broker does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from caseway.contracts.record import Draft, Record
from caseway.contracts.topics import Topic
from caseway.errors import Fenced, Unavailable
from caseway.hosting.log import Bounds, Chunk, Feed, Membership, Place, TopicFacts, Writer
from caseway.hosting.memory_broker import Failure, MemoryBroker, check_sizes


class MemoryLog:
    """One namespace in memory; `now_ms` is the broker's clock."""

    def __init__(self, shards: int, now_ms: Callable[[], int]) -> None:
        self.shards = shards
        self.broker = MemoryBroker(now_ms, self._wake)
        self._topics: dict[str, Topic] = {}
        self._feeds: set[MemoryFeed] = set()
        self._members: dict[str, list[MemoryMembership]] = {}
        self._failure: Failure | None = None
        self.group_offsets: dict[str, dict[Place, int]] = {}

    def fail_next_commit(self, failure: Failure) -> None:
        """Let the next commit end in doubt: `lost` (nothing happened), `unknown` (all of it did),
        or `torn` (a late end of transaction committed its first half)."""
        self._failure = failure

    # -- writing ------------------------------------------------------------------------------

    async def fence(self, service: str, shard: int) -> Writer:
        """Raise the epoch; the writer before can commit nothing more."""
        await asyncio.sleep(0)
        return MemoryWriter(self, service, shard, self.broker.fence(service, shard))

    async def append(self, drafts: Sequence[Draft]) -> Sequence[tuple[int, int]]:
        """Append without a transaction: no marker follows."""
        check_sizes(drafts)
        await asyncio.sleep(0)
        return self.broker.append(drafts)

    def commit(self, writer: MemoryWriter, drafts: Sequence[Draft]) -> tuple[int, int]:
        """What the broker does with a transaction of this writer."""
        failure, self._failure = self._failure, None
        try:
            return self.broker.commit(writer.service, writer.shard, writer.epoch, drafts, failure)
        except Fenced:
            self._failure = failure  # meant for a commit that the broker takes up
            raise

    def _wake(self, _places: Iterable[Place]) -> None:
        for feed in self._feeds:
            feed.wake()

    # -- reading ------------------------------------------------------------------------------

    async def scan(self, place: Place, start: int) -> Chunk:
        """Committed records from `start` on."""
        await asyncio.sleep(0)
        return self.broker.scan(place, start)

    def read(self, place: Place, start: int, key: bytes | None = None) -> list[Record]:
        """All committed records of a partition from `start` on, of one key if given."""
        return self.broker.read(place, start, key)

    async def bounds(self, place: Place) -> Bounds:
        """Nothing is ever deleted here."""
        await asyncio.sleep(0)
        return Bounds(0, self.broker.end(place))

    async def end(self, place: Place) -> int:
        """The next offset."""
        await asyncio.sleep(0)
        return self.broker.end(place)

    async def feed(self, linger_ms: int = 0) -> Feed:
        """A reader; nothing is saved by coming late."""
        feed = MemoryFeed(self)
        self._feeds.add(feed)
        return feed

    def forget(self, feed: MemoryFeed) -> None:
        """A feed was closed."""
        self._feeds.discard(feed)

    async def join(self, service: str, member: str) -> Membership:
        """Share out the shards evenly; who stays keeps nearly all of its own."""
        membership = MemoryMembership(self, service, member)
        self._members.setdefault(service, []).append(membership)
        self.share_out(service)
        return membership

    def leave(self, membership: MemoryMembership) -> None:
        """A member is gone; the others take over."""
        members = self._members[membership.service]
        if membership in members:
            members.remove(membership)
            self.share_out(membership.service)

    def share_out(self, service: str) -> None:
        """Give every shard to one member, keeping what each has up to its share."""
        members = self._members[service]
        if not members:
            return
        quota, extra = divmod(self.shards, len(members))
        room = [quota + (index < extra) for index in range(len(members))]
        kept = [sorted(m.owned)[:size] for m, size in zip(members, room, strict=True)]
        free = [s for s in range(self.shards) if not any(s in some for some in kept)]
        for some, size in zip(kept, room, strict=True):
            while len(some) < size:
                some.append(free.pop(0))
        for membership, some in zip(members, kept, strict=True):
            membership.give(frozenset(some))

    # -- provisioning -------------------------------------------------------------------------

    async def create_topics(self, topics: Sequence[Topic]) -> Sequence[str]:
        """Note those that are missing."""
        missing = [topic for topic in topics if topic.name not in self._topics]
        self._topics.update({topic.name: topic for topic in missing})
        return [topic.name for topic in missing]

    async def describe(self, topics: Sequence[Topic]) -> Mapping[str, TopicFacts]:
        """What was noted."""
        there = [topic for topic in topics if topic.name in self._topics]
        return {
            t.name: TopicFacts(t.partitions(self.shards), t.retention_ms, t.compacted, True, 1)
            for t in there
        }

    async def close(self) -> None:
        """Nothing is open."""


class MemoryWriter:
    """The right to write one shard, until it is fenced or fails once."""

    def __init__(self, log: MemoryLog, service: str, shard: int, epoch: int) -> None:
        self._log = log
        self.service, self.shard, self.epoch = service, shard, epoch
        self._is_dead = False

    async def commit(
        self, drafts: Sequence[Draft], positions: Mapping[Place, int]
    ) -> tuple[int, int]:
        """All or nothing; a failure makes this writer useless, as on the real broker."""
        if self._is_dead:
            raise Unavailable("this writer failed before; take over again")
        assert drafts, "a commit holds at least its trailer"
        check_sizes(drafts)
        await asyncio.sleep(0)
        try:
            return self._log.commit(self, drafts)
        except Unavailable:
            self._is_dead = True
            raise

    async def settle(self, positions: Mapping[Place, int]) -> bool:
        """Note the group's offsets; what was committed can be read at once."""
        self._log.group_offsets.setdefault(self.service, {}).update(positions)
        return True

    async def close(self) -> None:
        """Nothing is held."""
        self._is_dead = True


class MemoryFeed:
    """Committed records of many partitions."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._next: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something was appended somewhere."""
        self._woken.set()

    async def seek(self, positions: Mapping[Place, int]) -> None:
        """Read these from there on."""
        self._next.update(positions)
        self._paused -= set(positions)
        self._woken.set()

    async def drop(self, places: Iterable[Place]) -> None:
        """Forget these."""
        for place in places:
            self._next.pop(place, None)
            self._paused.discard(place)

    def pause(self, places: Iterable[Place]) -> None:
        """Hand nothing out for these."""
        self._paused |= set(places) & set(self._next)

    def resume(self, places: Iterable[Place]) -> None:
        """Hand out again."""
        self._paused -= set(places)
        self._woken.set()

    async def fetch(self, timeout_s: float) -> Mapping[Place, Sequence[Record]]:
        """What is there, or what comes within the timeout."""
        found = self._take()
        if not found:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while not found:
                        self._woken.clear()
                        await self._woken.wait()
                        found = self._take()
        return found

    def _take(self) -> dict[Place, Sequence[Record]]:
        found: dict[Place, Sequence[Record]] = {}
        for place, start in self._next.items():
            records = [] if place in self._paused else self._log.read(place, start)
            if records:
                found[place] = records
                self._next[place] = records[-1].offset + 1
        return found

    async def close(self) -> None:
        """Stop reading."""
        self._log.forget(self)


class MemoryMembership:
    """One member of a service."""

    def __init__(self, log: MemoryLog, service: str, member: str) -> None:
        self._log = log
        self.service, self.member = service, member
        self.owned: frozenset[int] = frozenset()
        self._told: frozenset[int] | None = None
        self._changed = asyncio.Event()

    def give(self, shards: frozenset[int]) -> None:
        """The share of this member, as of now."""
        self.owned = shards
        self._changed.set()

    async def changes(self) -> frozenset[int]:
        """Wait for another share than was told last."""
        while self.owned == self._told:
            self._changed.clear()
            await self._changed.wait()
        self._told = self.owned
        return self.owned

    async def close(self) -> None:
        """Leave."""
        self._log.leave(self)
