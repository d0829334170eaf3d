"""The offsets that the broker keeps for a service's group: looked at, deleted, set to nonsense.

They are a hint for lag tools and nothing else, so whatever becomes of them must change nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka._model import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

_CALL_S = 10.0
# A minute, the broker's least, after the last of a group has gone; and how often it looks.
RETENTION = {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "5000"}


async def known(bootstrap: str, group: str) -> Mapping[Any, Any]:
    """What the broker knows of a group, by partition; something, if it does not say."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        async with asyncio.timeout(_CALL_S):
            await admin.start()
            return dict(await admin.list_consumer_group_offsets(group))
    except (KafkaError, OSError, TimeoutError):
        return {"unknown": None}
    finally:
        await admin.close()


async def spoil(bootstrap: str, group: str, topic: str, far: Sequence[int]) -> str:
    """Set a group's offsets of a topic to these, one a partition, or delete all; says what came.

    In a process of its own, for librdkafka 2.16.1 aborts where a broker ends in mid-question.
    """
    asked = (sys.executable, "-m", __name__, bootstrap, group, topic, *map(str, far))
    process = await asyncio.create_subprocess_exec(*asked, stderr=asyncio.subprocess.DEVNULL)
    if await process.wait() != 0:
        return "refused"  # a transaction on them is open just now, or somebody reads
    return "moved" if far else "deleted"


def _spoil(bootstrap: str, group: str, topic: str, *far: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    if far:
        places = [TopicPartition(topic, number, int(at)) for number, at in enumerate(far)]
        moved = ConsumerGroupTopicPartitions(group, places)
        asked = admin.alter_consumer_group_offsets([moved], request_timeout=_CALL_S)
    else:
        asked = admin.delete_consumer_groups([group], request_timeout=_CALL_S)
    (answer,) = asked.values()
    done = answer.result(_CALL_S)
    for place in done.topic_partitions if far else ():
        if place.error is not None:
            raise KafkaException(place.error)


if __name__ == "__main__":
    try:
        _spoil(*sys.argv[1:])
    except (KafkaException, TimeoutError) as refusal:
        sys.exit(str(refusal))
