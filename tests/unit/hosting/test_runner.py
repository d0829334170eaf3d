"""Runs shards on the model of a log: taking over, sharing out, draining, and failing loudly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from caseway.contracts.control import AgentQuarantined
from caseway.contracts.record import Draft
from caseway.errors import Unavailable
from caseway.hosting import runner as runner_module
from caseway.hosting.effects import Fence
from caseway.hosting.host import Life, Limits, Phase, Shard
from caseway.hosting.log import Place
from caseway.hosting.memory_log import MemoryWriter
from caseway.hosting.runner import ServiceRunner, ShardRunner
from tests.unit.hosting.toy import (
    CARD,
    FIXED,
    FOREIGN_KEY,
    INBOUND,
    INTAKE,
    KEYS,
    OWN,
    World,
    wish,
)

DEADLINE_S = 20
KEY = KEYS[0]


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not is_so():
            await asyncio.sleep(0)


def made_runner(world: World, member: str = "a", limits: Limits = Limits()) -> ShardRunner:  # noqa: B008
    return ServiceRunner(
        CARD, world.log, world.registry, lambda: world.now_ms, member=member, limits=limits
    )


@asynccontextmanager
async def running(runner: ShardRunner) -> AsyncIterator[asyncio.Task[None]]:
    """Run it; at the end stop it, and nothing of it may be left."""
    task = asyncio.create_task(runner.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert runner.shards == []


def count(world: World, place: Place = OWN) -> int:
    """How many records a partition holds."""
    return len(world.log.read(place, 0))


def is_running(runner: ShardRunner, shards: int) -> bool:
    phases = [shard.phase for shard in runner.shards]
    return phases == [Phase.RUNNING] * shards


async def send(world: World, *words: str) -> None:
    """To a case of each shard."""
    other = (INBOUND[0], 1)
    for word in words:
        await world.log.append([wish(word), wish(word, FOREIGN_KEY, other)])


async def heard(world: World) -> list[list[str]]:
    """The words of both shards."""
    found = []
    for shard in (0, 1):
        batches = await world.batches(("cases", shard))
        records = [record for batch in batches for record in batch.records]
        found.append([str(record.value).split('"')[3] for record in records])
    return found


async def until_heard(world: World, *words: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await heard(world) != [list(words), list(words)]:
            await asyncio.sleep(0)


async def test_a_process_runs_every_shard_it_owns_and_leaves_nothing_behind() -> None:
    world = await World().begin()
    before = asyncio.all_tasks()
    runner = made_runner(world)
    async with running(runner):
        await eventually(lambda: is_running(runner, 2))
        await send(world, "a", "b")
        await until_heard(world, "a", "b")
    assert asyncio.all_tasks() == before
    assert world.log._feeds == set()
    assert world.log._members["router"] == []


async def test_the_next_process_goes_on_where_the_last_one_stopped() -> None:
    world = await World().begin()
    for number in range(3):
        await send(world, str(number))
        async with running(made_runner(world)):
            await until_heard(world, *(str(n) for n in range(number + 1)))


async def test_a_service_reads_with_the_linger_of_its_card(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await World().begin()
    lingered: list[int] = []
    feed = world.log.feed

    def spied(linger_ms: int = 0) -> Any:
        lingered.append(linger_ms)
        return feed(linger_ms)

    monkeypatch.setattr(world.log, "feed", spied)
    runner = ServiceRunner(
        replace(CARD, linger_ms=70), world.log, world.registry, lambda: world.now_ms, member="a"
    )
    async with running(runner):
        await eventually(lambda: is_running(runner, 2))
    assert lingered == [70]


class Gate:
    """Holds every commit of the model until it is opened; `is_reached` once one waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_reached, self._opened = asyncio.Event(), asyncio.Event()
        commit = MemoryWriter.commit

        async def held(
            writer: MemoryWriter, drafts: Sequence[Draft], positions: Mapping[Place, int]
        ) -> int:
            self.is_reached.set()
            await self._opened.wait()
            return await commit(writer, drafts, positions)

        monkeypatch.setattr(MemoryWriter, "commit", held)

    def open(self) -> None:
        self._opened.set()


async def test_rule_21_a_stop_finishes_the_commit_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await World().begin()
    gate = Gate(monkeypatch)
    runner = made_runner(world)
    async with running(runner) as task:
        await world.hear("a")
        await gate.is_reached.wait()
        task.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
        gate.open()
        await asyncio.gather(task, return_exceptions=True)
    assert await world.words() == ["a"]


async def test_a_commit_that_does_not_end_is_given_up_after_the_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await World().begin()
    monkeypatch.setattr(runner_module, "DRAIN_S", 0.01)
    gate = Gate(monkeypatch)
    async with running(made_runner(world)) as task:
        await world.hear("a")
        await gate.is_reached.wait()
        task.cancel()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(task, return_exceptions=True)
    gate.open()
    async with running(made_runner(world)):
        await world.hear("b")
        await eventually(lambda: count(world) == 4)
    assert await world.words() == ["a", "b"]


async def test_a_stop_during_a_handover_leaves_no_shard_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await World().begin()
    gate = Gate(monkeypatch)
    runner = made_runner(world)
    before = asyncio.all_tasks()
    async with running(runner) as task:
        await world.hear("a")
        await gate.is_reached.wait()
        for membership in world.log._members["router"]:
            membership.give(frozenset({1}))
        await eventually(lambda: any(o.is_leaving for o in runner._owned.values()))
        task.cancel()
        gate.open()
        await asyncio.gather(task, return_exceptions=True)
    assert asyncio.all_tasks() == before
    assert await world.words() == ["a"]


async def test_shards_move_to_who_comes_and_back_and_nothing_is_lost() -> None:
    world = await World().begin()
    first, second = made_runner(world, "a"), made_runner(world, "b")
    async with running(first):
        await eventually(lambda: is_running(first, 2))
        await send(world, "a")
        async with running(second):
            await send(world, "b")
            await eventually(lambda: is_running(first, 1) and is_running(second, 1))
            numbers = {shard.number for some in (first, second) for shard in some.shards}
            assert numbers == {0, 1}
            await send(world, "c")
            await until_heard(world, "a", "b", "c")
        await send(world, "d")
        await until_heard(world, "a", "b", "c", "d")
        assert is_running(first, 2)


async def test_rule_4_a_shard_that_stays_goes_on_without_a_replay() -> None:
    world = await World().begin()
    first, second = made_runner(world, "a"), made_runner(world, "b")
    async with running(first):
        await eventually(lambda: is_running(first, 2))
        await send(world, "a")
        await until_heard(world, "a")
        stays = {shard.number: shard for shard in first.shards}
        async with running(second):
            await eventually(lambda: is_running(first, 1) and is_running(second, 1))
            (kept,) = first.shards
            assert kept is stays[kept.number]
            assert kept.replayed_events == 0


@pytest.mark.parametrize("failure", ["lost", "unknown", "torn"])
async def test_a_commit_in_doubt_is_taken_over_by_the_same_process(failure: Any) -> None:
    world = await World().begin()
    runner = made_runner(world)
    async with running(runner):
        await eventually(lambda: is_running(runner, 2))
        world.log.fail_next_commit(failure)
        await send(world, "a", "b")
        await until_heard(world, "a", "b")
        assert is_running(runner, 2)


async def test_an_outage_of_hours_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await World().begin()
    monkeypatch.setattr(runner_module, "_BACKOFF_MAX_S", 0)
    fence, fences = world.log.fence, 0

    async def refused(service: str, shard: int) -> Any:
        nonlocal fences
        fences += 1
        if fences < 2_400:
            raise Unavailable("no broker")
        return await fence(service, shard)

    monkeypatch.setattr(world.log, "fence", refused)
    monkeypatch.setattr(runner_module._log, "warning", lambda *_, **__: None)
    runner = made_runner(world)
    async with running(runner):
        await eventually(lambda: is_running(runner, 2))
    assert fences > 2_400


async def test_a_halted_shard_takes_nothing_more_and_its_neighbour_goes_on() -> None:
    world = await World().begin()
    await send(world, "a")
    async with running(made_runner(world)):
        await until_heard(world, "a")
    del world.log.broker.records[OWN][1]
    runner = made_runner(world)
    async with running(runner):
        await eventually(lambda: Phase.HALTED in [shard.phase for shard in runner.shards])
        await send(world, "b")
        await eventually(lambda: count(world, ("cases", 1)) == 5)
        halted = next(o for o in runner._owned.values() if o.shard.phase is Phase.HALTED)
        await eventually(lambda: halted.writer is None)
        assert halted.arrived == {}
        assert INBOUND not in runner._by_place
        assert INTAKE not in runner._by_place


class _Broken(Shard[Any]):
    """A host with a bug."""

    def life(self) -> Life:
        yield Fence()
        raise ZeroDivisionError("a bug in the host")


async def test_a_bug_in_the_host_ends_the_process_and_is_not_swallowed() -> None:
    world = await World().begin()
    runner = ShardRunner(
        "router",
        lambda number: _Broken(CARD, number),
        world.log,
        world.registry,
        lambda: 0,
        member="a",
    )
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(DEADLINE_S):
            await runner.run()


async def test_a_feed_that_fails_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await World().begin()
    runner = made_runner(world)
    async with running(runner) as task:
        await eventually(lambda: is_running(runner, 2))

        async def failing(_timeout_s: float) -> Any:
            raise Unavailable("fetch: no broker")

        monkeypatch.setattr(runner._feed, "fetch", failing)
        await world.hear("a")
        with pytest.raises(Unavailable):
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.shield(task)


async def test_only_the_shards_that_were_asked_for_are_run() -> None:
    world = await World().begin()
    runner = ShardRunner(
        "router",
        lambda number: Shard(CARD, number),
        world.log,
        world.registry,
        lambda: 0,
        member="a",
        only=frozenset({1}),
    )
    async with running(runner):
        await eventually(lambda: is_running(runner, 1))
        assert [shard.number for shard in runner.shards] == [1]


async def test_rule_15_an_idle_shard_tells_how_far_it_has_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only after a while: it costs as much as a commit, and nothing depends on it."""
    monkeypatch.setattr(runner_module, "IDLE_S", 0.01)
    monkeypatch.setattr(runner_module, "_SETTLE_S", 0.3)
    world = await World().begin()
    runner = made_runner(world)
    async with running(runner):
        await send(world, "a")
        began_s = time.monotonic()
        await until_heard(world, "a")
        trailer = (await world.batches())[-1].trailer
        await eventually(lambda: told(world) == trailer.positions)
        assert time.monotonic() - began_s >= 0.3
    world.log.group_offsets.clear()
    async with running(made_runner(world)):  # nor does whoever takes over leave a lag behind
        await eventually(lambda: told(world) == trailer.positions)


def told(world: World) -> Mapping[str, int]:
    """What lag tools know of shard 0."""
    offsets = world.log.group_offsets.get("router", {})
    return {f"{topic}/{n}": offset for (topic, n), offset in offsets.items() if n == 0}


async def test_a_commit_that_nobody_can_read_is_asked_after_and_ends_in_a_takeover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await World().begin()
    monkeypatch.setattr(runner_module, "IDLE_S", 0.0)
    monkeypatch.setattr(runner_module, "_SETTLE_S", 0.0)
    asked: list[int] = []  # of shard 0: the epoch of its owner

    async def settle(writer: MemoryWriter, _positions: Mapping[Place, int]) -> bool:
        if writer.shard == 0:
            asked.append(writer.epoch)
            if len(asked) == 3:
                raise Unavailable("it was committed and can't be read")
        return len(asked) == 5

    monkeypatch.setattr(MemoryWriter, "settle", settle)
    runner = made_runner(world)
    async with running(runner):
        await eventually(lambda: len(asked) == 5)
        assert asked == [1, 1, 1, 2, 2]
        await send(world, "a")
        await until_heard(world, "a")


@pytest.mark.parametrize("piled", [1, 2, 1_000])
async def test_a_queue_that_is_full_is_not_fetched_and_nothing_is_lost(
    piled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "_PILED_RECORDS", piled)
    world = await World().begin()
    runner = made_runner(world, limits=Limits(share_records=3, queue_records=5))
    words = [str(number) for number in range(60)]
    async with running(runner):
        for at in range(0, 60, 4):
            await send(world, *words[at : at + 4])
        await until_heard(world, *words)


async def test_what_the_registry_says_reaches_the_cases_of_every_shard() -> None:
    world = await World().begin()
    watching = asyncio.create_task(world.registry.watch())
    runner = made_runner(world)
    async with running(runner):
        await send(world, "a")
        await until_heard(world, "a")
        await world.publish(AgentQuarantined(agent_id="x", reason="r", signers=()), FIXED)
        await until_heard(world, "a", "told-x")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
