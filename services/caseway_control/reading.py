"""Reads cases straight from the logs, by key where the log can, else by scanning a partition.

A log on Kafka has no index, so one case costs a pass over its shard; an embedded one answers by
key. Both see whole batches alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Protocol, runtime_checkable

from caseway.casefile.history import LOGS, Told, told
from caseway.contracts.codec import decode, type_of
from caseway.contracts.record import Record
from caseway.contracts.topics import Topic
from caseway.errors import ConfigError
from caseway.hosting.batches import BatchReader
from caseway.hosting.log import Log, Place
from caseway.hosting.registry_reader import RegistryReader
from caseway.kernel.identity import shard_of
from caseway.kernel.registry import Registry

Progress = Callable[[int, int], None]


@runtime_checkable
class KeyedLog(Protocol):
    """A log that finds the records of one key; a commit is whole or not there at all."""

    def read(self, place: Place, start: int, key: bytes | None = None) -> list[Record]:
        """Some records of a key from an offset on, in order; none when there are no more."""


async def registry_of(log: Log) -> Registry:
    """What is in force now.

    Raises:
        Unavailable: GENESIS_MISSING, or the log does not answer.
    """
    reader = RegistryReader(log)
    await reader.reach(1)
    await reader.barrier()
    return reader.current


async def events_of_case(log: Log, generation: str, case_id: str, progress: Progress) -> list[Told]:
    """Every event of a case in every log, log by log.

    Raises:
        ConfigError: CASE_UNKNOWN, no log holds anything of it.
    """
    shard = shard_of(case_id.encode(), log.shards)
    found: list[Told] = []
    for number, topic in enumerate(LOGS):
        progress(number, len(LOGS))
        place = (topic.name, shard)
        if isinstance(log, KeyedLog):
            records: Sequence[Record] = _by_key(log, place, case_id.encode())
        else:
            wanted = case_id.encode()
            records = [r async for r in committed(log, place) if r.key == wanted]
        found += [told(generation, r, decode(r, is_sole_writer=True)) for r in records]
    if not found:
        raise ConfigError(
            f"case {case_id!r} is not in any log of this namespace; check the id and CASEWAY_LOG",
            code="CASE_UNKNOWN",
        )
    return found


async def events_of_topics(
    log: Log,
    generation: str,
    topics: Collection[Topic],
    types: Collection[str],
    progress: Progress,
) -> AsyncIterator[Told]:
    """The events of these types in whole topics, shard by shard and topic by topic."""
    total, done = log.shards * len(topics), 0
    for shard in range(log.shards):
        for topic in topics:
            progress(done, total)
            async for record in committed(log, (topic.name, shard)):
                if type_of(record) in types:
                    yield told(generation, record, decode(record, is_sole_writer=True))
            done += 1


async def committed(log: Log, place: Place) -> AsyncIterator[Record]:
    """The records of a log partition that whole batches hold, in order."""
    reader = BatchReader(place, is_resumed=False)
    start, is_end = 0, False
    while not is_end:
        chunk = await log.scan(place, start)
        for batch in reader.feed(chunk.records):
            for record in batch.records:
                yield record
        start, is_end = chunk.next_offset, chunk.is_end


def _by_key(log: KeyedLog, place: Place, key: bytes) -> list[Record]:
    found: list[Record] = []
    start = 0
    while records := log.read(place, start, key):
        found += records
        start = records[-1].offset + 1
    return found
