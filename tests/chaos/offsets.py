"""The offsets that the broker keeps for a service's group: looked at, deleted, set to nonsense.

They are a hint for lag tools and nothing else, so whatever becomes of them must change nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka._model import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from caseway.contracts import topics

_CALL_S = 10.0
# A minute, the broker's least, after the last of a group has gone; and how often it looks.
RETENTION = {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "5000"}


class GroupOffsets:
    """Those of one namespace's services."""

    def __init__(self, bootstrap: str, namespace: str) -> None:
        self._bootstrap = bootstrap
        self._namespace = namespace
        # One for the whole run: librdkafka does not survive that a client ends before its answers.
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    async def known(self, service: str) -> Mapping[Any, Any]:
        """What the broker knows, by partition; something, if it does not say.

        Asked by another library: librdkafka 2.16.1 falls over the answer.
        """
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        try:
            async with asyncio.timeout(_CALL_S):
                await admin.start()
                group = f"{self._namespace}.{service}"
                return dict(await admin.list_consumer_group_offsets(group))
        except (KafkaError, OSError, TimeoutError):
            return {"unknown": None}
        finally:
            await admin.close()

    def spoil(self, service: str, far: Sequence[int] | None) -> str:
        """Delete them, or set those of the submissions to these, one a shard; says what came."""
        group = f"{self._namespace}.{service}"
        if far is None:
            asked = self._admin.delete_consumer_groups([group], request_timeout=_CALL_S)
        else:
            topic = f"{self._namespace}.{topics.SUBMISSIONS.name}"
            places = [TopicPartition(topic, number, at) for number, at in enumerate(far)]
            moved = ConsumerGroupTopicPartitions(group, places)
            asked = self._admin.alter_consumer_group_offsets([moved], request_timeout=_CALL_S)
        (answer,) = asked.values()
        try:
            answer.result(_CALL_S)
        except (KafkaException, TimeoutError):
            return "refused"  # a transaction on them is open just now, or somebody reads
        return "moved" if far is not None else "deleted"
