"""A namespace is founded once, however slow the log answers and whoever else founds it."""

from __future__ import annotations

import pytest

from caseway.contracts import topics
from caseway.contracts.codec import type_of
from caseway.contracts.shard import ShardGenesis
from caseway.errors import ConfigError, Fenced, Unavailable
from caseway.hosting.log import Chunk, Place, Writer
from caseway.hosting.memory_log import MemoryLog
from caseway_control.genesis import LOGS, found, read_genesis

OURS = ShardGenesis(namespace="demo", generation="g1", shards=2, checkpoint_key="ed25519:A")
THEIRS = OURS.model_copy(update={"generation": "g2"})
PLACES = [(topic.name, n) for _, topic in LOGS for n in range(topic.partitions(2))]


class SlowLog(MemoryLog):
    """Every other scan of what is there is answered empty, as by a broker beyond a slow link."""

    def __init__(self) -> None:
        super().__init__(2, lambda: 1_000)
        self._asked: set[tuple[Place, int]] = set()

    async def scan(self, place: Place, start: int) -> Chunk:
        chunk = await super().scan(place, start)
        if chunk.records and (place, start) not in self._asked:
            self._asked.add((place, start))
            return Chunk([], start, False)
        self._asked.discard((place, start))
        return chunk


class RacedLog(MemoryLog):
    """Somebody else founds the namespace while we look whether anybody has."""

    def __init__(self, theirs: ShardGenesis) -> None:
        super().__init__(2, lambda: 1_000)
        self._theirs: ShardGenesis | None = theirs

    async def fence(self, service: str, shard: int) -> Writer:
        theirs, self._theirs = self._theirs, None
        if theirs is not None:
            await found(self, theirs)
        return await super().fence(service, shard)


def geneses(log: MemoryLog) -> int:
    return sum(type_of(r) == ShardGenesis.TYPE for place in PLACES for r in log.read(place, 0))


async def test_what_comes_late_is_not_taken_for_missing() -> None:
    """Whoever does that writes a second genesis into a log that lives."""
    log = SlowLog()
    assert await found(log, OURS) == len(PLACES)
    assert await found(log, OURS) == 0
    assert geneses(log) == len(PLACES)
    assert await read_genesis(log, (topics.REGISTRY.name, 0)) == OURS


async def test_two_who_found_the_same_namespace_write_it_once() -> None:
    log = RacedLog(OURS)
    assert await found(log, OURS) == 0
    assert geneses(log) == len(PLACES)


async def test_who_comes_second_with_another_one_is_refused_and_writes_nothing() -> None:
    log = RacedLog(THEIRS)
    with pytest.raises(ConfigError, match="g2"):
        await found(log, OURS)
    assert geneses(log) == len(PLACES)


async def test_what_is_half_founded_is_completed() -> None:
    log = MemoryLog(2, lambda: 1_000)
    log.fail_next_commit("lost")
    with pytest.raises(Unavailable):
        await found(log, OURS)
    assert await found(log, OURS) == len(PLACES)
    assert geneses(log) == len(PLACES)


class WaitedForLog(MemoryLog):
    """A service that runs already fences whoever founds, as it does while it waits."""

    def __init__(self, times: int) -> None:
        super().__init__(2, lambda: 1_000)
        self._left = times

    async def scan(self, place: Place, start: int) -> Chunk:
        if place == PLACES[0] and self._left > 0:
            self._left -= 1
            await super().fence("intake", 0)
        return await super().scan(place, start)


async def test_services_that_wait_for_their_genesis_do_not_keep_it_from_being_written() -> None:
    log = WaitedForLog(5)
    assert await found(log, OURS) == len(PLACES)
    assert geneses(log) == len(PLACES)


async def test_who_is_fenced_again_and_again_gives_up() -> None:
    with pytest.raises(Fenced):
        await found(WaitedForLog(1_000), OURS)
