"""One reader of the registry: every view by position, and a barrier that waits for what is open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from caseway.contracts.control import AgentQuarantined
from caseway.errors import CodeTooOld, Unavailable
from caseway.hosting.log import Chunk, Place
from caseway.hosting.memory_log import MemoryLog
from caseway.hosting.registry_reader import RegistryReader
from tests.unit.hosting.toy import FIXED, REGISTRY, World, spoken, too_new


def quarantined(agent: str) -> AgentQuarantined:
    return AgentQuarantined(agent_id=agent, reason="r", signers=())


class Unmarked:
    """A log whose last commit was answered and has no marker yet: it lies below the end, unread."""

    def __init__(self, log: MemoryLog, hidden: int) -> None:
        self._log, self.hidden = log, hidden
        self.scans = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def scan(self, place: Place, start: int) -> Chunk:
        self.scans += 1
        chunk = await self._log.scan(place, start)
        stable = await self._log.end(place) - self.hidden
        records = [record for record in chunk.records if record.offset < stable]
        return Chunk(records, max(start, stable), is_end=True)


@pytest.mark.parametrize("hidden", [1, 2])
async def test_the_barrier_waits_for_a_commit_whose_marker_is_not_written(hidden: int) -> None:
    world = await World().begin()
    await world.publish(*(quarantined(f"a{n}") for n in range(hidden)))
    log = Unmarked(world.log, hidden)
    reader = RegistryReader(log)
    waiting = asyncio.create_task(reader.barrier())
    async with asyncio.timeout(10):
        while log.scans < 3:
            await asyncio.sleep(0)
    assert not waiting.done()
    log.hidden = 0
    async with asyncio.timeout(10):
        assert await waiting == 1 + hidden
    assert len(reader.current.quarantined) == hidden


async def test_the_barrier_gives_up_when_a_transaction_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("caseway.hosting.registry_reader._CATCH_UP_S", 0.05)
    world = await World().begin()
    reader = RegistryReader(Unmarked(world.log, 1))
    with pytest.raises(TimeoutError):
        await reader.barrier()


async def test_every_position_has_the_view_of_its_time() -> None:
    world = await World().begin()
    await world.publish(quarantined("a"), quarantined("b"))
    reader = world.registry
    assert await reader.barrier() == 3
    assert [len((await reader.at(n)).quarantined) for n in (0, 1, 2, 3)] == [0, 0, 1, 2]
    assert [view.position for _, view in reader.after(1)] == [2, 3]
    assert reader.after(3) == []


async def test_a_position_that_is_not_read_yet_is_read_first() -> None:
    world = await World().begin()
    await world.publish(quarantined("a"))
    assert (await world.registry.at(2)).quarantined == {"a": "r"}


async def test_no_genesis_is_said_and_not_made_up() -> None:
    reader = RegistryReader(World().log)
    assert await reader.barrier() == 0
    with pytest.raises(Unavailable) as refused:
        await asyncio.wait_for(reader.at(0), 5)
    assert refused.value.code == "GENESIS_MISSING"


async def test_an_event_newer_than_this_code_is_waited_for_and_what_came_before_counts_once() -> (
    None
):
    world = await World().begin()
    newer = too_new(spoken(FIXED, "fact", REGISTRY))
    await world.publish(quarantined("a"))
    await world.log.append([newer])
    for _ in range(3):
        with pytest.raises(CodeTooOld):
            await world.registry.barrier()
    assert [view.position for _, view in world.registry.after(0)] == [1, 2]


async def test_many_barriers_at_once_read_each_event_once() -> None:
    world = await World().begin()
    await world.publish(*(quarantined(f"a{n}") for n in range(5)))
    assert set(await asyncio.gather(*(world.registry.barrier() for _ in range(8)))) == {6}
    assert [view.position for _, view in world.registry.after(0)] == [1, 2, 3, 4, 5, 6]
