"""Quotas on a real broker: who floods is held back, and a service never is."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator

import pytest

from caseway.contracts import topics
from caseway.contracts.record import Draft
from caseway.hosting import kafka_admin, kafka_quotas
from caseway.hosting.kafka_log import KafkaLog
from caseway_control.doctor import Finding, diagnose
from caseway_control.spaces import Space, load_settings
from tests.broker import Broker
from tests.conformance.log_suite import SHARDS, draft

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

QUOTA_BYTES = 20_000
# The broker averages over two seconds: 40,000 pass, and the rest costs five seconds.
BURST_BYTES = 140_000


def burst(topic: str) -> list[Draft]:
    """What no compression makes smaller."""
    return [draft(topic, "", value=os.urandom(BURST_BYTES // 10)) for _ in range(10)]


@pytest.fixture
async def log(broker: Broker) -> AsyncIterator[KafkaLog]:
    """A namespace with quotas; they hold for the whole cluster, so they are taken away again."""
    namespace = f"q{uuid.uuid4().hex[:8]}"
    log = KafkaLog(broker.bootstrap, namespace, SHARDS, quota_bytes=QUOTA_BYTES)
    await log.create_topics(topics.all_topics(("claims",)))
    await until(log, {None: float(QUOTA_BYTES), **exempt(log)})
    yield log
    await log.close()
    given = await kafka_admin.limits(broker.bootstrap)
    await kafka_admin.limit(broker.bootstrap, dict.fromkeys(given))
    await until(log, {})


def exempt(log: KafkaLog) -> dict[str | None, float]:
    """What our services may do."""
    return {f"{log._namespace}.{name}": kafka_quotas.UNBOUNDED for name in topics.OWN_LOGS}


async def until(log: KafkaLog, rates: dict[str | None, float]) -> None:
    """A broker hears of a quota a moment after it was taken."""
    async with asyncio.timeout(20):
        while await kafka_admin.limits(log._bootstrap) != rates:
            await asyncio.sleep(0.01)


async def test_a_stranger_that_floods_waits_and_a_service_does_not(log: KafkaLog) -> None:
    stranger = KafkaLog(log._bootstrap, log._namespace, SHARDS, client_id="flooder")
    writer = await log.fence("router", 0)
    await stranger.append(burst("agent-reports"))
    again = asyncio.create_task(stranger.append(burst("agent-reports")))
    for _ in range(3):
        await writer.commit(burst("cases"), {})
    assert not again.done(), "three times as much of a service went by meanwhile"
    neighbour = KafkaLog(log._bootstrap, log._namespace, SHARDS, client_id="neighbour")
    await neighbour.append([draft("agent-reports", "a")])
    assert not again.done(), "what one client id uses up is not missing for another"
    await again
    for closing in (writer, stranger, neighbour):
        await closing.close()


async def test_the_quotas_are_those_that_were_asked_for(log: KafkaLog) -> None:
    await log.create_topics(topics.all_topics(("claims",)))
    await until(log, {None: float(QUOTA_BYTES), **exempt(log)})
    facts = await log.quotas()
    assert (facts.default_bytes, facts.held_back) == (QUOTA_BYTES, frozenset())


async def test_the_doctor_tells_of_a_missing_quota_and_of_a_service_that_is_held_back(
    log: KafkaLog,
) -> None:
    async def told(stage: str) -> list[Finding]:
        space = Space(log, load_settings(stage=stage), log._namespace, None)
        return [finding for finding in await diagnose(space) if finding.code == "DOCTOR_QUOTA"]

    assert await told("production") == []
    router = f"{log._namespace}.router"
    await kafka_admin.limit(log._bootstrap, {router: None})
    rates = exempt(log)
    del rates[router]
    await until(log, {None: float(QUOTA_BYTES), **rates})
    (finding,) = await told("dev")
    assert (finding.severity, finding.command) == (
        "error",
        f"CASEWAY_QUOTA_BYTES={QUOTA_BYTES} caseway topics create",
    )
    assert "router" in finding.what
    await kafka_admin.limit(log._bootstrap, {None: None})
    await until(log, rates)
    assert await told("dev") == []
    (finding,) = await told("production")
    assert finding.severity == "warning"
