"""The model of Kafka in memory keeps a log's promises, and fails as the broker does."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from caseway.errors import Unavailable
from caseway.hosting.log import Log
from caseway.hosting.memory_log import MemoryLog
from tests.conformance.log_suite import CASES, SHARDS, LogConformance, all_of, draft, values


class TestMemoryLog(LogConformance):
    @asynccontextmanager
    async def made(self, tmp_path: Any, request: pytest.FixtureRequest) -> AsyncIterator[Log]:
        clock = itertools.count(1_000)
        yield MemoryLog(SHARDS, lambda: next(clock))


async def test_a_lost_commit_wrote_nothing_and_an_unknown_one_everything() -> None:
    log = MemoryLog(SHARDS, lambda: 0)
    for failure, expected in (("lost", []), ("unknown", ["a", "b"])):
        writer = await log.fence("router", 0)
        log.fail_next_commit(failure)  # type: ignore[arg-type]
        with pytest.raises(Unavailable):
            await writer.commit([draft("cases", "a"), draft("cases", "b")], {})
        assert values(await all_of(log, CASES)) == expected


async def test_rule_6_a_writer_that_failed_once_never_writes_again() -> None:
    log = MemoryLog(SHARDS, lambda: 0)
    writer = await log.fence("router", 0)
    log.fail_next_commit("lost")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await writer.commit([draft("cases", "a")], {})
    assert await all_of(log, CASES) == []


async def test_two_members_share_and_the_one_that_stays_takes_over() -> None:
    log = MemoryLog(4, lambda: 0)
    first, second = await log.join("router", "a"), await log.join("router", "b")
    owned = await first.changes(), await second.changes()
    assert sorted([*owned[0], *owned[1]]) == [0, 1, 2, 3]
    await second.close()
    assert await first.changes() == frozenset(range(4))
