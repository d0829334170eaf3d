"""A log that times its commits; the rest goes straight on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from caseway.contracts.record import Draft
from caseway.contracts.topics import Topic
from caseway.hosting.log import Bounds, Chunk, Feed, Log, Membership, Place, TopicFacts, Writer

Observer = Callable[[float], None]


class MeteredLog:
    """The log of one process as its runners see it."""

    def __init__(self, log: Log, observer: Callable[[str], Observer]) -> None:
        self.shards = log.shards
        self._log = log
        self._observer = observer

    async def fence(self, service: str, shard: int) -> Writer:
        """The log's own writer, its commits timed."""
        return _TimedWriter(await self._log.fence(service, shard), self._observer(service))

    async def join(self, service: str, member: str) -> Membership:
        """As the log does."""
        return await self._log.join(service, member)

    async def scan(self, place: Place, start: int) -> Chunk:
        """As the log does."""
        return await self._log.scan(place, start)

    async def bounds(self, place: Place) -> Bounds:
        """As the log does."""
        return await self._log.bounds(place)

    async def end(self, place: Place) -> int:
        """As the log does."""
        return await self._log.end(place)

    async def append(self, drafts: Sequence[Draft]) -> Sequence[tuple[int, int]]:
        """As the log does."""
        return await self._log.append(drafts)

    async def feed(self, linger_ms: int = 0) -> Feed:
        """As the log does."""
        return await self._log.feed(linger_ms)

    async def create_topics(self, topics: Sequence[Topic]) -> Sequence[str]:
        """As the log does."""
        return await self._log.create_topics(topics)

    async def describe(self, topics: Sequence[Topic]) -> Mapping[str, TopicFacts]:
        """As the log does."""
        return await self._log.describe(topics)

    async def close(self) -> None:
        """As the log does."""
        await self._log.close()


class _TimedWriter:
    def __init__(self, writer: Writer, observe: Observer) -> None:
        self._writer = writer
        self._observe = observe
        self.settle = writer.settle
        self.close = writer.close

    async def commit(
        self, drafts: Sequence[Draft], positions: Mapping[Place, int]
    ) -> tuple[int, int]:
        began = time.perf_counter()
        given = await self._writer.commit(drafts, positions)
        self._observe(time.perf_counter() - began)
        return given
