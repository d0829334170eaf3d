"""Ends a transaction that its coordinator has forgotten, so that no log stays shut for ever.

Kafka's coordinator takes a partition without a leader for a deleted one, writes no marker there
and calls the transaction complete (4.3.1; `getPartitionLeaderEndpoint` answers "none" for both).
That happens when the last replica of a partition stops or starts. The partition's last stable
offset then never moves again: every reader waits, and no fence helps, for the coordinator knows
of nothing to abort. A record of the same producer, aborted, ends the forgotten one with it.

Rests on private names of the pinned client, which a contract test guards.

Aborting is right whatever the forgotten outcome was: no reader ever saw a record of it, and the
positions of a batch lie in the batch, so its inputs are decided again under the same ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

_ENDED = b"the end of a transaction that was never ended"


async def abort_forgotten(
    producer: AIOKafkaProducer,
    stable: AIOKafkaConsumer,
    all_: AIOKafkaConsumer,
    own: TopicPartition,
    prefix: str,
) -> Mapping[TopicPartition, int]:
    """Abort what a former life of this freshly fenced `producer` left open; where it began.

    `stable` reads committed records and `all_` every record; `prefix` begins the topics' names.
    The sole writer of `own` holds no open transaction after its fence, so an end beyond the stable
    end there is a forgotten one. Only then the other partitions are looked at: where transactions
    of other shards are open, the aborted record does no harm.
    """
    if not await _open_in([own], stable, all_):
        return {}
    topics = [topic for topic in await all_.topics() if topic.startswith(prefix)]
    partitions = await _partitions(all_, topics)
    await _partitions(stable, topics)
    forgotten = await _open_in(partitions, stable, all_)
    await producer.begin_transaction()
    for partition in forgotten:
        sent = await producer.send(partition.topic, _ENDED, partition=partition.partition)
        await sent
    await producer.abort_transaction()
    return forgotten


async def _partitions(consumer: AIOKafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    """Every partition of these topics; afterwards the consumer knows who leads them.

    Of itself it learns of topics one by one, a tenth of a second each, and has no partitions to
    name of those that it was never asked about.
    """
    while unknown := [topic for topic in topics if consumer.partitions_for_topic(topic) is None]:
        for topic in unknown:
            consumer._client.add_topic(topic)
        await consumer._client.force_metadata_update()
    return [
        TopicPartition(topic, number)
        for topic in topics
        for number in consumer.partitions_for_topic(topic)
    ]


async def _open_in(
    partitions: list[TopicPartition], stable: AIOKafkaConsumer, all_: AIOKafkaConsumer
) -> Mapping[TopicPartition, int]:
    """The partitions in which a transaction is open, with the offset of the first one."""
    # In this order: what commits in between makes the stable end larger and not smaller.
    ends = await all_.end_offsets(partitions)
    stable_ends = await stable.end_offsets(partitions)
    return {p: stable_ends[p] for p in partitions if stable_ends[p] < ends[p]}
