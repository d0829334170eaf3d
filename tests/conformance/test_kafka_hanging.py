"""A transaction that the broker has forgotten to end: the next owner ends it, and goes on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from caseway.contracts import topics
from caseway.errors import Unavailable
from caseway.hosting import kafka_writer
from caseway.hosting.kafka_log import KafkaLog
from caseway.hosting.kafka_writer import KafkaWriter
from caseway.hosting.log import Place, Writer
from tests.broker import Broker
from tests.conformance.log_suite import all_of, draft, values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

CASES: Place = ("cases", 0)
OFFERS: Place = ("offers.claims", 0)


@pytest.fixture
async def log(broker: Broker) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(broker.bootstrap, f"x{uuid.uuid4().hex[:8]}", 1)
    await log.create_topics(topics.all_topics(("claims",)))
    yield log
    await log.close()


@pytest.fixture
async def heir(log: KafkaLog) -> AsyncIterator[KafkaLog]:
    """The same log in the process that takes over, which knows nothing of it yet."""
    heir = KafkaLog(log._bootstrap, log._namespace, 1)
    yield heir
    await heir.close()


@asynccontextmanager
async def unverified(broker: Broker) -> AsyncIterator[None]:
    """A broker that takes transactional records without asking the coordinator, as before 3.6."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    (node,) = (await admin.describe_cluster())["brokers"]
    name = "transaction.partition.verification.enable"
    try:
        for wanted in ("false", "true"):
            change = {name: wanted}
            resource = ConfigResource(ConfigResourceType.BROKER, str(node["node_id"]), change)
            await admin.alter_configs([resource])
            if wanted == "false":
                yield
    finally:
        await admin.close()


async def settled(log: KafkaLog) -> None:
    """The markers of the last transaction are written."""
    async with asyncio.timeout(10):
        for place in (CASES, OFFERS):
            while (await log.scan(place, 0)).next_offset < await log.end(place):
                pass


async def forget(log: KafkaLog, writer: KafkaWriter) -> int:
    """Leave what the coordinator leaves when it takes a leaderless partition for a deleted one:
    an acknowledged commit in the logs, and in its own books nothing to end.

    The client must not say which partitions it writes to, nor that it is at the end.
    """
    await settled(log)
    producer = writer._producer
    manager = producer._txn_manager
    manager.maybe_add_partition_to_txn = manager._txn_partitions.add
    producer.commit_transaction = _acknowledged
    offset, _ = await writer.commit([draft("offers.claims", "lost"), draft("cases", "lost")], {})
    return offset


async def _acknowledged() -> None:
    """Nobody was asked."""


async def until_settled(writer: Writer) -> None:
    """What a shard does that rests."""
    async with asyncio.timeout(20):
        while not await writer.settle({}):
            pass


async def test_the_next_owner_ends_what_the_broker_forgot(
    log: KafkaLog, heir: KafkaLog, broker: Broker
) -> None:
    writer = await log.fence("router", 0)
    assert isinstance(writer, KafkaWriter)
    await writer.commit([draft("offers.claims", "a"), draft("cases", "a")], {})
    async with unverified(broker):
        await forget(log, writer)
    await writer.close()
    owner = await heir.fence("router", 0)
    await owner.commit([draft("offers.claims", "b"), draft("cases", "b")], {})
    await owner.close()
    assert values(await all_of(log, CASES)) == ["a", "b"]
    assert values(await all_of(log, OFFERS)) == ["a", "b"]


async def test_a_shard_at_rest_hears_that_its_commit_was_forgotten(
    log: KafkaLog, heir: KafkaLog, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker acknowledged it and nobody can read it: without doubt that would be for ever."""
    monkeypatch.setattr(kafka_writer, "_UNREADABLE_S", 0.1)
    writer = await log.fence("router", 0)
    assert isinstance(writer, KafkaWriter)
    async with unverified(broker):
        offset = await forget(log, writer)
        with pytest.raises(Unavailable, match=f"cases/0@{offset} was committed and can't be read"):
            await until_settled(writer)
    await writer.close()
    owner = await heir.fence("router", 0)
    await owner.commit([draft("cases", "again")], {})
    await until_settled(owner)
    await owner.close()
    assert values(await all_of(log, CASES)) == ["again"]
    assert values(await all_of(log, OFFERS)) == []


async def test_an_open_transaction_of_another_owner_is_left_alone(
    log: KafkaLog, heir: KafkaLog, broker: Broker
) -> None:
    writer, other = await log.fence("router", 0), await log.fence("approval", 0)
    assert isinstance(writer, KafkaWriter)
    assert isinstance(other, KafkaWriter)
    await writer.commit([draft("offers.claims", "a"), draft("cases", "a")], {})
    async with unverified(broker):
        await forget(log, writer)
    await writer.close()
    theirs = other._producer
    await theirs.begin_transaction()
    await (await theirs.send(f"{log._namespace}.offers.claims", b"theirs", partition=0))
    owner = await heir.fence("router", 0)
    await theirs.commit_transaction()
    for each in (other, owner):
        await each.close()
    assert values(await all_of(log, OFFERS)) == ["a", "theirs"]
