"""Makes topics and quotas on a Kafka cluster and says how they are; what the doctor asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.transaction import EndTxnRequest

from caseway.contracts.topics import Topic
from caseway.errors import Unavailable
from caseway.hosting import kafka_quotas
from caseway.hosting.kafka_calls import CALL_S, RECORD_BYTES_MAX, bounded
from caseway.hosting.log import TopicFacts, insync_of

_TOPIC_EXISTS = 36  # TOPIC_ALREADY_EXISTS: somebody else created it meanwhile
_END_WITH_EPOCH = 5  # the first EndTxn that raises the producer's epoch


@asynccontextmanager
async def _connected(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await bounded(admin.start(), CALL_S, "connect")
    try:
        yield admin
    finally:
        await admin.close()


def new_topic(
    topic: Topic, namespace: str, shards: int, replication: int, flush_messages: int | None
) -> NewTopic:
    """A topic as it must be made; `flush_messages` None leaves flushing to the broker."""
    settings = {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(topic.retention_ms),
        "retention.bytes": "-1",
        "max.message.bytes": str(RECORD_BYTES_MAX),
        "min.insync.replicas": str(insync_of(replication)),
        "unclean.leader.election.enable": "false",
    }
    if flush_messages is not None:
        settings["flush.messages"] = str(flush_messages)
    if topic.compacted:
        # Small segments: compaction never touches the active one, and a takeover reads all of it.
        # Tombstones are kept for longer than any reading from the beginning to the end takes; who
        # missed one all the same finds another digest than the marker's, and reads the log.
        settings |= {
            "cleanup.policy": "compact",
            "retention.ms": "-1",
            "segment.ms": "600000",
            "segment.bytes": "16777216",
            "max.compaction.lag.ms": "3600000",
            "delete.retention.ms": "3600000",
        }
    partitions = topic.partitions(shards)
    return NewTopic(f"{namespace}.{topic.name}", partitions, replication, topic_configs=settings)


async def create(bootstrap: str, topics: Sequence[NewTopic]) -> Sequence[str]:
    """Create those that are missing; returns the names that were really made.

    Raises:
        Unavailable: the cluster does not answer, or refuses one; the text says which error.
    """
    async with _connected(bootstrap) as admin:
        there = set(await bounded(admin.list_topics(), CALL_S, "list topics"))
        missing = [topic for topic in topics if topic.name not in there]
        if not missing:
            return []
        made = await bounded(admin.create_topics(missing), CALL_S, "create topics")
    # A list may lag behind, so the answer to the creation says what was really made.
    outcomes = {name: (code, message) for name, code, *message in made.topic_errors}
    for code, message in outcomes.values():
        if code not in (0, _TOPIC_EXISTS):
            raise Unavailable(f"topic not created: {for_code(code).__name__} {message}")
    return [name for name, (code, _) in outcomes.items() if code == 0]


async def describe(bootstrap: str, names: Sequence[str]) -> Mapping[str, TopicFacts]:
    """How those of these topics are that exist."""
    async with _connected(bootstrap) as admin:
        there = set(await bounded(admin.list_topics(), CALL_S, "list topics"))
        names = [name for name in names if name in there]
        if not names:
            return {}
        shapes = await bounded(admin.describe_topics(names), CALL_S, "describe topics")
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        answers = await bounded(admin.describe_configs(resources), CALL_S, "describe configs")
    settings = {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
    }
    return {shape["topic"]: _facts(shape, settings.get(shape["topic"], {})) for shape in shapes}


async def limit(bootstrap: str, rates: Mapping[Any, float | None]) -> None:
    """Set or take away the producers' byte rates of client ids (text); None is the default's name.

    Raises:
        Unavailable: the cluster refuses one, or does not know quotas.
    """
    async with _connected(bootstrap) as admin:
        await kafka_quotas.alter(admin, rates)


async def limits(bootstrap: str) -> Mapping[str | None, float]:
    """The producers' byte rates by client id; None is the name of the default."""
    async with _connected(bootstrap) as admin:
        return await kafka_quotas.describe(admin)


async def refuses_late_ends(bootstrap: str) -> bool:
    """Whether every broker refuses a late end of an earlier transaction (KIP-890, Kafka 4.0)."""
    async with _connected(bootstrap) as admin:
        cluster = await bounded(admin.describe_cluster(), CALL_S, "describe cluster")
        for broker in cluster["brokers"]:
            asked = admin._client.send(broker["node_id"], ApiVersionRequest())
            answer = await bounded(asked, CALL_S, "versions")
            newest = {api: last for api, _, last in answer.api_versions}
            if newest.get(EndTxnRequest.API_KEY, 0) < _END_WITH_EPOCH:
                return False
    return True


def _facts(shape: Mapping[str, Any], settings: Mapping[str, str]) -> TopicFacts:
    partitions = shape["partitions"]
    return TopicFacts(
        partitions=len(partitions),
        retention_ms=int(settings.get("retention.ms") or -1),
        is_compacted="compact" in (settings.get("cleanup.policy") or ""),
        has_append_time=settings.get("message.timestamp.type") == "LogAppendTime",
        replication=min((len(p["replicas"]) for p in partitions), default=0),
        retention_bytes=int(settings.get("retention.bytes") or -1),
        has_unclean_election=settings.get("unclean.leader.election.enable") == "true",
        min_insync=int(settings.get("min.insync.replicas") or 1),
    )
