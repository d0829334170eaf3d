"""The model in memory at its edges: what the broker does to those who forget it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from caseway.contracts import topics
from caseway.errors import Unavailable
from caseway.hosting.log import Log
from caseway.hosting.memory_log import MemoryLog
from tests.conformance.log_edges import LogEdges
from tests.conformance.log_suite import CASES, SHARDS, all_of, draft, values


class TestMemoryLogEdges(LogEdges):
    linger_ms = 0

    @pytest.fixture
    async def log(self) -> AsyncIterator[Log]:
        clock = itertools.count(1_000)
        log = MemoryLog(SHARDS, lambda: next(clock))
        await log.create_topics(topics.all_topics(("claims",)))
        yield log
        await log.close()


async def test_markers_and_aborted_records_leave_gaps() -> None:
    log = MemoryLog(SHARDS, lambda: 0)
    writer = await log.fence("router", 0)
    await writer.commit([draft("cases", "a"), draft("cases", "b"), draft("offers.x", "c")], {})
    assert (await log.end(CASES), await log.end(("offers.x", 0))) == (3, 2)
    log.fail_next_commit("lost")
    with pytest.raises(Unavailable):
        await writer.commit([draft("cases", "aborted")], {})
    owner = await log.fence("router", 0)
    offset, _ = await owner.commit([draft("cases", "d")], {})
    assert offset == 5
    assert [(r.offset, r.value) for r in await all_of(log, CASES)] == [
        (0, b"a"),
        (1, b"b"),
        (5, b"d"),
    ]


async def test_an_append_outside_a_transaction_leaves_no_marker() -> None:
    log = MemoryLog(SHARDS, lambda: 0)
    given = await log.append([draft("submissions", text) for text in "abc"])
    assert [offset for offset, _ in given] == [0, 1, 2]
    assert await log.end(("submissions", 0)) == 3


async def test_append_time_stands_still_while_the_clock_goes_back() -> None:
    times = iter([50, 40, 60])
    log = MemoryLog(SHARDS, lambda: next(times))
    given = await log.append([draft("submissions", text) for text in "abc"])
    assert [at_ms for _, at_ms in given] == [50, 50, 60]


async def test_the_records_of_one_key_are_found() -> None:
    log = MemoryLog(SHARDS, lambda: 0)
    await log.append([draft("submissions", t, key=t[:1].encode()) for t in ("a1", "b1", "a2")])
    assert values(log.read(("submissions", 0), 0, b"a")) == ["a1", "a2"]
    assert values(log.read(("submissions", 0), 1, b"a")) == ["a2"]


async def test_shares_are_even_and_who_stays_keeps_what_it_has() -> None:
    log = MemoryLog(8, lambda: 0)
    members = [await log.join("router", name) for name in "abc"]
    before = [await member.changes() for member in members]
    assert sorted(map(len, before)) == [2, 3, 3]
    assert frozenset().union(*before) == frozenset(range(8))
    await members[0].close()
    after = [await members[1].changes(), await members[2].changes()]
    assert after[0] >= before[1]
    assert after[1] >= before[2]
    assert sorted([*after[0], *after[1]]) == list(range(8))
    await members[0].close()


async def test_a_member_hears_only_of_another_share() -> None:
    log = MemoryLog(2, lambda: 0)
    first = await log.join("router", "a")
    await first.changes()
    waiting = asyncio.create_task(first.changes())
    other = await log.join("approval", "a")
    assert await other.changes() == {0, 1}
    assert not waiting.done()
    second = await log.join("router", "b")
    async with asyncio.timeout(5):
        assert await waiting | await second.changes() == {0, 1}
