"""The production log: Apache Kafka through aiokafka, which only `hosting/kafka_*.py` name.

Each rule here stands for lost data (docs/decisions.md has what was measured): one static
transactional id a shard; one deadline on every call; no position but the one we seek to. Those of
a commit are in `kafka_writer.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.producer import sender as aiokafka_sender

from caseway.contracts.record import Draft, Record
from caseway.contracts.topics import OWN_LOGS, Topic
from caseway.errors import Unavailable
from caseway.hosting import kafka_admin, kafka_quotas, kafka_records, kafka_transactions
from caseway.hosting.kafka_calls import CALL_S, RECORD_BYTES_MAX, bounded, record_of, stop
from caseway.hosting.kafka_feed import KafkaFeed
from caseway.hosting.kafka_hanging import abort_forgotten
from caseway.hosting.kafka_membership import KafkaMembership
from caseway.hosting.kafka_writer import KafkaWriter, check_size, send_all
from caseway.hosting.log import (
    Bounds,
    Chunk,
    Feed,
    Membership,
    Place,
    QuotaFacts,
    TopicFacts,
    Writer,
)

Isolation = Literal["read_committed", "read_uncommitted"]
_log = structlog.get_logger("caseway.kafka_log")

# A transaction that its owner left open blocks every reader for at most this long.
TRANSACTION_TIMEOUT_MS = 10_000
_SCAN_RECORDS = 2_000
# Short, because a fetch that holds only markers moves the position and returns nothing.
_SCAN_WAIT_MS = 20
_IDLE_WAIT_MS = 500
_BATCH_BYTES = 1_048_576
# aiokafka waits 20 ms (and 100 ms by default) when the transaction before is still completing;
# on a quiet machine that takes 1-3 ms, and ten such waits are the latency of a case.
_RETRY_MS = 5
aiokafka_sender.BACKOFF_OVERRIDE = 0.001
kafka_records.teach()
kafka_transactions.teach()


class KafkaLog:
    """One namespace on a Kafka cluster; topic names carry it as their prefix."""

    def __init__(
        self,
        bootstrap: str,
        namespace: str,
        shards: int,
        *,
        replication: int = 1,
        flush_messages: int | None = None,
        client_id: str | None = None,
        quota_bytes: int = 0,
    ) -> None:
        """`client_id` names what this process appends, and so whose quota it uses up.

        `quota_bytes` is what `create_topics` lets others than our services write a second.
        """
        self.shards = shards
        self._bootstrap = bootstrap
        self._namespace = namespace
        self._replication = replication
        self._flush_messages = flush_messages
        self._client_id = client_id
        self._quota_bytes = quota_bytes
        self._plain: AIOKafkaProducer | None = None
        self._probers: dict[Isolation, AIOKafkaConsumer] = {}
        self._scanners: dict[Place, tuple[AIOKafkaConsumer, int]] = {}
        self._lock = asyncio.Lock()

    # -- writing ------------------------------------------------------------------------------

    async def fence(self, service: str, shard: int) -> Writer:
        """Start the shard's transactional producer: the broker aborts what was open before.

        What the broker has forgotten to end, this aborts itself (`kafka_hanging.py`).
        """
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id_of(service),
            transactional_id=f"{self._namespace}.{service}.{shard}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            acks="all",
            max_batch_size=_BATCH_BYTES,
            max_request_size=RECORD_BYTES_MAX,
            retry_backoff_ms=_RETRY_MS,
            compression_type="lz4",
        )
        try:
            await bounded(producer.start(), CALL_S, "fence")
            await bounded(kafka_transactions.use_newest(producer), CALL_S, "fence")
            await bounded(self._abort_forgotten(producer, service, shard), CALL_S, "fence")
        except BaseException:
            await stop(producer)
            raise
        return KafkaWriter(producer, self._namespace, service, self._stable_end)

    async def _abort_forgotten(self, producer: AIOKafkaProducer, service: str, shard: int) -> None:
        stable, all_ = await self._probe("read_committed"), await self._probe("read_uncommitted")
        own = self._partition((OWN_LOGS[service].name, shard))
        found = await abort_forgotten(producer, stable, all_, own, f"{self._namespace}.")
        for partition, offset in found.items():
            _log.warning(
                "transaction_forgotten",
                topic=partition.topic,
                partition=partition.partition,
                offset=offset,
                done="aborted; the shard decides its inputs again",
            )

    async def append(self, drafts: Sequence[Draft]) -> Sequence[tuple[int, int]]:
        """Append to inbound topics with an idempotent producer; acknowledged means replicated."""
        for draft in drafts:
            check_size(draft)
        producer = await self._appender()
        try:
            return await bounded(send_all(producer, self._namespace, drafts), CALL_S, "append")
        except Unavailable:
            self._plain = None
            await stop(producer)
            raise

    async def _appender(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._plain is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    client_id=self._client_id,
                    enable_idempotence=True,
                    acks="all",
                    linger_ms=0,
                    max_batch_size=_BATCH_BYTES,
                    max_request_size=RECORD_BYTES_MAX,
                    compression_type="lz4",
                )
                try:
                    await bounded(producer.start(), CALL_S, "connect")
                except BaseException:
                    await stop(producer)
                    raise
                self._plain = producer
            return self._plain

    # -- reading ------------------------------------------------------------------------------

    async def scan(self, place: Place, start: int) -> Chunk:
        """Read committed records; one consumer a partition lives until its end was reached."""
        partition = self._partition(place)
        consumer, end = self._scanners.pop(place, (None, -1))
        if consumer is None:
            consumer = await self._consumer("read_committed")
        try:
            if end < 0:
                consumer.assign([partition])
                consumer.seek(partition, start)
                end = (await bounded(consumer.end_offsets([partition]), CALL_S, "end"))[partition]
            records: list[Record] = []
            position = await bounded(consumer.position(partition), CALL_S, "position")
            if position != start:
                consumer.seek(partition, start)
                position = start
            if position < end:
                got = await bounded(
                    consumer.getmany(timeout_ms=_SCAN_WAIT_MS, max_records=_SCAN_RECORDS),
                    CALL_S,
                    "scan",
                )
                records = [record_of(place, r) for r in got.get(partition, ())]
                position = await bounded(consumer.position(partition), CALL_S, "position")
        except BaseException:
            await stop(consumer)
            raise
        is_end = position >= end
        if is_end:
            await stop(consumer)
        else:
            self._scanners[place] = (consumer, end)
        return Chunk(records, position, is_end)

    async def bounds(self, place: Place) -> Bounds:
        """First kept and next offset, open transactions included."""
        partition = self._partition(place)
        prober = await self._probe("read_uncommitted")
        first = await bounded(prober.beginning_offsets([partition]), CALL_S, "begin")
        return Bounds(first[partition], await self.end(place))

    async def end(self, place: Place) -> int:
        """The high watermark, which counts transactions that are still open."""
        partition = self._partition(place)
        prober = await self._probe("read_uncommitted")
        ends = await bounded(prober.end_offsets([partition]), CALL_S, "end")
        return int(ends[partition])

    async def _stable_end(self, place: Place) -> int:
        """Below this everything that was committed can be read."""
        partition = self._partition(place)
        prober = await self._probe("read_committed")
        ends = await bounded(prober.end_offsets([partition]), CALL_S, "stable end")
        return int(ends[partition])

    async def feed(self, linger_ms: int = 0) -> Feed:
        """A group-less consumer: no rebalance ever takes its positions away."""
        return KafkaFeed(await self._consumer("read_committed", linger_ms), self._namespace)

    async def join(self, service: str, member: str) -> Membership:
        """Share out the shards by a consumer group that only counts members and reads nothing."""
        topic = f"{self._namespace}.{OWN_LOGS[service].name}"
        return await KafkaMembership.join(self._bootstrap, self._namespace, service, member, topic)

    async def _probe(self, isolation: Isolation) -> AIOKafkaConsumer:
        """A consumer that only asks for offsets: one that also fetches answers 500 ms later."""
        async with self._lock:
            if isolation not in self._probers:
                self._probers[isolation] = await self._consumer(isolation)
            return self._probers[isolation]

    async def _consumer(self, isolation: Isolation, linger_ms: int = 0) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=isolation,
            # The broker answers when there is so much, or when the time is over.
            fetch_min_bytes=_BATCH_BYTES if linger_ms else 1,
            fetch_max_wait_ms=linger_ms or _IDLE_WAIT_MS,
            max_partition_fetch_bytes=_BATCH_BYTES,
        )
        try:
            await bounded(consumer.start(), CALL_S, "connect")
        except BaseException:
            await stop(consumer)
            raise
        return consumer

    def _client_id_of(self, service: str) -> str:
        """Under which name a service writes: the one that no quota holds back."""
        return f"{self._namespace}.{service}"

    def _partition(self, place: Place) -> TopicPartition:
        return TopicPartition(f"{self._namespace}.{place[0]}", place[1])

    # -- provisioning -------------------------------------------------------------------------

    async def create_topics(self, topics: Sequence[Topic]) -> Sequence[str]:
        """Create what is missing with the settings each topic needs, and set the quotas."""
        made = [
            kafka_admin.new_topic(
                topic, self._namespace, self.shards, self._replication, self._flush_messages
            )
            for topic in topics
        ]
        created = set(await kafka_admin.create(self._bootstrap, made))
        if self._quota_bytes:
            ours = {self._client_id_of(name): kafka_quotas.UNBOUNDED for name in OWN_LOGS}
            # Ours first: a service must not be throttled between two answers.
            await kafka_admin.limit(self._bootstrap, ours)
            await kafka_admin.limit(self._bootstrap, {None: float(self._quota_bytes)})
        return [topic.name for topic in topics if f"{self._namespace}.{topic.name}" in created]

    async def describe(self, topics: Sequence[Topic]) -> Mapping[str, TopicFacts]:
        """Ask the cluster how these topics are."""
        known = {f"{self._namespace}.{topic.name}": topic.name for topic in topics}
        found = await kafka_admin.describe(self._bootstrap, list(known))
        return {known[name]: facts for name, facts in found.items()}

    async def quotas(self) -> QuotaFacts:
        """How the broker holds producers back."""
        rates = await kafka_admin.limits(self._bootstrap)
        if None not in rates:
            return QuotaFacts(None, frozenset())
        held_back = (s for s in OWN_LOGS if self._client_id_of(s) not in rates)
        return QuotaFacts(int(rates[None]), frozenset(held_back))

    async def refuses_late_ends(self) -> bool:
        """Whether every broker refuses a late end of an earlier transaction (KIP-890)."""
        return await kafka_admin.refuses_late_ends(self._bootstrap)

    async def close(self) -> None:
        """Close every connection of this log."""
        scanners = [consumer for consumer, _ in self._scanners.values()]
        clients = [self._plain, *self._probers.values(), *scanners]
        self._plain, self._probers, self._scanners = None, {}, {}
        for client in clients:
            if client is not None:
                await stop(client)
