"""The production log keeps a log's promises, on a real broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.producer import sender

from caseway.hosting.kafka_log import KafkaLog
from caseway.hosting.log import Log
from tests.conformance.log_suite import CASES, SHARDS, LogConformance, all_of, draft, values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


class TestKafkaLog(LogConformance):
    @asynccontextmanager
    async def made(self, tmp_path: Any, request: pytest.FixtureRequest) -> AsyncIterator[Log]:
        bootstrap = request.getfixturevalue("broker").bootstrap
        log = KafkaLog(bootstrap, f"c{uuid.uuid4().hex[:8]}", SHARDS)
        yield log
        await log.close()

    async def test_an_open_transaction_is_not_read_and_ends_with_the_next_fence(
        self, log: Any
    ) -> None:
        orphan = await log.fence("router", 0)
        await orphan._producer.begin_transaction()
        sent = await orphan._producer.send(f"{log._namespace}.cases", b"orphan", partition=0)
        await sent
        assert await log.end(CASES) > 0
        owner = await log.fence("router", 0)
        await owner.commit([draft("cases", "owner")], {})
        assert values(await all_of(log, CASES)) == ["owner"]
        await owner.close()
        await orphan._producer.stop()

    async def test_two_members_share_and_the_one_that_stays_takes_over(self, log: Any) -> None:
        first = await log.join("router", "a")
        async with asyncio.timeout(60):
            assert await first.changes() == frozenset(range(SHARDS))
            second = await log.join("router", "b")
            shares = await first.changes(), await second.changes()
            assert sorted([*shares[0], *shares[1]]) == list(range(SHARDS))
            await second.close()
            assert await first.changes() == frozenset(range(SHARDS))
        await first.close()


def test_the_clients_pause_between_transactions_is_the_one_we_measured() -> None:
    """A release of the client that renames it must not bring back 20 ms a commit unseen."""
    assert sender.BACKOFF_OVERRIDE == 0.001
