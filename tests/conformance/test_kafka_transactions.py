"""A commit on a cluster with the second version of transactions, and on one without."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping

import pytest
from aiokafka import AIOKafkaProducer

from caseway.contracts import topics
from caseway.hosting import kafka_transactions
from caseway.hosting.kafka_features import finalized_features
from caseway.hosting.kafka_log import KafkaLog
from tests.broker import Broker
from tests.chaos.proxy import Proxy
from tests.chaos.test_proxy import never
from tests.conformance.log_suite import all_of, draft, values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

CASES, OFFERS = ("cases", 0), ("offers.claims", 0)


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[Proxy]:
    async with Proxy(broker.bootstrap, never) as made:
        yield made


@pytest.fixture
async def log(proxy: Proxy) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(proxy.bootstrap, f"v{uuid.uuid4().hex[:8]}", 1)
    await log.create_topics(topics.all_topics(("claims",)))
    yield log
    await log.close()


async def commit(log: KafkaLog, count: int) -> list[str]:
    texts = [f"{n}" for n in range(count)]
    writer = await log.fence("router", 0)
    for text in texts:
        drafts = [draft("offers.claims", text), draft("cases", text)]
        offset, _ = await writer.commit(drafts, {})
        assert offset >= 0
    await writer.close()
    return texts


async def test_a_cluster_says_which_features_are_in_force(broker: Broker) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
    await producer.start()
    features = await finalized_features(producer.client)
    await producer.stop()
    assert features["transaction.version"] == 2
    assert features["metadata.version"] > 20


async def test_a_partition_joins_with_its_first_record(log: KafkaLog, proxy: Proxy) -> None:
    """One behind the other, so that each meets a transaction that is still completing."""
    texts = await commit(log, 50)
    assert proxy.tally.requests["AddPartitionsToTxn"] == 0
    assert proxy.tally.requests["EndTxn"] == 50
    assert values(await all_of(log, CASES)) == values(await all_of(log, OFFERS)) == texts


async def test_on_another_cluster_it_is_asked_for(
    log: KafkaLog, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where brokers of two versions stand side by side: the feature is not finalised yet."""

    async def earlier(_client: object) -> Mapping[str, int]:
        return {"transaction.version": 1}

    monkeypatch.setattr(kafka_transactions, "finalized_features", earlier)
    texts = await commit(log, 5)
    assert proxy.tally.requests["AddPartitionsToTxn"] >= 5
    assert values(await all_of(log, CASES)) == values(await all_of(log, OFFERS)) == texts
