"""Reads many partitions of the production log with explicit positions and without a group."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from caseway.contracts.record import Record
from caseway.errors import Unavailable
from caseway.hosting.kafka_calls import record_of, stop
from caseway.hosting.log import Place

# What a dozen partitions hold fetched is compressed; all of it unpacked at once, on a long backlog,
# was a gigabyte. So many records take 3 MB.
_FETCH_RECORDS = 1_000


class KafkaFeed:
    """One consumer over many partitions; assigning anew seeks every one of them again."""

    def __init__(self, consumer: AIOKafkaConsumer, namespace: str) -> None:
        self._consumer = consumer
        self._prefix = f"{namespace}."
        self._next: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._assigned = asyncio.Event()

    async def seek(self, positions: Mapping[Place, int]) -> None:
        """Read these from there on, and go on with the others where they are."""
        self._next.update(positions)
        self._paused -= set(positions)
        self._assign()

    async def drop(self, places: Iterable[Place]) -> None:
        """Forget these."""
        for place in places:
            self._next.pop(place, None)
            self._paused.discard(place)
        self._assign()

    def _assign(self) -> None:
        if not self._next:
            self._assigned.clear()
            self._consumer.unsubscribe()
            return
        self._consumer.assign([self._partition(place) for place in self._next])
        for place, offset in self._next.items():
            self._consumer.seek(self._partition(place), offset)
        if self._paused:
            self._consumer.pause(*(self._partition(place) for place in self._paused))
        self._assigned.set()

    def pause(self, places: Iterable[Place]) -> None:
        """Fetch nothing from these for now."""
        some = [place for place in places if place in self._next]
        self._paused |= set(some)
        if some:
            self._consumer.pause(*(self._partition(place) for place in some))

    def resume(self, places: Iterable[Place]) -> None:
        """Fetch again."""
        some = [place for place in places if place in self._paused and place in self._next]
        self._paused -= set(some)
        if some:
            self._consumer.resume(*(self._partition(place) for place in some))

    async def fetch(self, timeout_s: float) -> Mapping[Place, Sequence[Record]]:
        """Whatever is there, without what an older assignment still delivers."""
        if not self._assigned.is_set():
            # Not `wait_for`: before Python 3.12 it may swallow a cancellation, and a drain hangs.
            try:
                async with asyncio.timeout(timeout_s):
                    await self._assigned.wait()
            except TimeoutError:
                return {}
        try:
            got = await self._consumer.getmany(
                timeout_ms=int(timeout_s * 1000), max_records=_FETCH_RECORDS
            )
        except KafkaError as error:
            raise Unavailable(f"fetch: {type(error).__name__}: {error}") from error
        found: dict[Place, Sequence[Record]] = {}
        for partition, batch in got.items():
            place = (partition.topic.removeprefix(self._prefix), partition.partition)
            start = self._next.get(place)
            if start is None or (place in self._paused and not batch):
                continue
            records = [record_of(place, r) for r in batch if r.offset >= start]
            # A first record beyond the one we wait for would be a hole only if fetched for an
            # assignment that was replaced meanwhile; the new one reads from `start` again.
            if records:
                found[place] = records
                self._next[place] = records[-1].offset + 1
        return found

    def _partition(self, place: Place) -> TopicPartition:
        return TopicPartition(self._prefix + place[0], place[1])

    async def close(self) -> None:
        """Stop reading."""
        await stop(self._consumer)
