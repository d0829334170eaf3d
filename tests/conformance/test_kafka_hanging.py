"""A transaction that the broker has forgotten to end: the next owner ends it, and goes on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from caseway.contracts import topics
from caseway.hosting.kafka_log import KafkaLog, KafkaWriter
from caseway.hosting.log import Place
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


async def forget(log: KafkaLog, writer: KafkaWriter) -> None:
    """Leave what the coordinator leaves when it takes a leaderless partition for a deleted one:
    records of a transaction in the logs, and in its own books nothing to end."""
    await settled(log)
    producer = writer._producer
    await producer.begin_transaction()
    for topic, number in (CASES, OFFERS):
        place = TopicPartition(f"{log._namespace}.{topic}", number)
        producer._txn_manager._txn_partitions.add(place)
        await (await producer.send(place.topic, b"forgotten", partition=number))
    await writer.close()


async def test_the_next_owner_ends_what_the_broker_forgot(log: KafkaLog, broker: Broker) -> None:
    writer = await log.fence("router", 0)
    assert isinstance(writer, KafkaWriter)
    await writer.commit([draft("offers.claims", "a"), draft("cases", "a")], {})
    async with unverified(broker):
        await forget(log, writer)
    owner = await log.fence("router", 0)
    await owner.commit([draft("offers.claims", "b"), draft("cases", "b")], {})
    await owner.close()
    assert values(await all_of(log, CASES)) == ["a", "b"]
    assert values(await all_of(log, OFFERS)) == ["a", "b"]


async def test_an_open_transaction_of_another_owner_is_left_alone(
    log: KafkaLog, broker: Broker
) -> None:
    writer, other = await log.fence("router", 0), await log.fence("approval", 0)
    assert isinstance(writer, KafkaWriter)
    assert isinstance(other, KafkaWriter)
    await writer.commit([draft("offers.claims", "a"), draft("cases", "a")], {})
    async with unverified(broker):
        await forget(log, writer)
    theirs = other._producer
    await theirs.begin_transaction()
    await (await theirs.send(f"{log._namespace}.offers.claims", b"theirs", partition=0))
    owner = await log.fence("router", 0)
    await theirs.commit_transaction()
    for each in (other, owner):
        await each.close()
    assert values(await all_of(log, OFFERS)) == ["a", "theirs"]
