"""Shares out the shards of a service over its processes, by a Kafka consumer group.

The group subscribes to one topic, the service's own log, and reads nothing of it: every partition
stays paused. Data is read by a group-less consumer, so that no
rebalance takes positions away, and a shard that stays with its owner goes on without a replay.
Safety never rests on the group: the fence of the transactional id decides who may write.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

from caseway.errors import Unavailable

# A lost node is noticed after this; the broker's floor for it is 6 s by default.
_SESSION_MS = 6_000
# A rebalance is heard of with the next heartbeat: this is what a join takes.
_HEARTBEAT_MS = 500
_REBALANCE_MS = 30_000
_JOIN_S = 60.0
_LEAVE_S = 2.0


def share_out(shards: int, members: list[str]) -> dict[str, list[int]]:
    """The shards of each member: even to within one, the same on every machine, and nearly all
    of them where they were when a member comes or goes.

    Each shard goes to the member with room whose hash with it is the highest (rendezvous).

    Example:
        >>> share_out(4, ["a", "b"])
        {'a': [0, 3], 'b': [1, 2]}
    """
    names = sorted(members)
    quota, extra = divmod(shards, len(names))
    room = {name: quota + (index < extra) for index, name in enumerate(names)}
    owned: dict[str, list[int]] = {name: [] for name in names}
    for shard in range(shards):
        free = [name for name in names if len(owned[name]) < room[name]]
        best = max(free, key=lambda name: _weight(name, shard))
        owned[best].append(shard)
    return owned


def _weight(name: str, shard: int) -> bytes:
    return hashlib.sha256(f"{name}/{shard}".encode()).digest()


class ShardAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """Assigns by partition number; what a member says of itself never changes.

    The broker starts a rebalance whenever a static member rejoins with other metadata, so the
    assignment is a function of the names alone and carries no state.
    """

    name = "caseway-shards"

    @classmethod
    def metadata(cls, topics: Any) -> ConsumerProtocolMemberMetadata:
        """What this member says when it joins."""
        return ConsumerProtocolMemberMetadata(0, sorted(topics), b"")

    @classmethod
    def on_assignment(cls, assignment: Any) -> None:
        """Nothing is remembered."""

    @classmethod
    def assign(
        cls, cluster: Any, members: dict[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """The leader's part: every member's share, by its instance id."""
        topic = sorted({t for said in members.values() for t in said.subscription})[0]
        partitions = cluster.partitions_for_topic(topic) or set()
        ids = {_instance(member): member for member in members}
        owned = share_out(len(partitions), list(ids))
        return {
            ids[name]: ConsumerProtocolMemberAssignment(0, [(topic, owned[name])], b"")
            for name in ids
        }


def _instance(member_id: str) -> str:
    """The instance id, which survives a restart: the broker appends `-` and a UUID to it."""
    return member_id[: -len("-00000000-0000-0000-0000-000000000000")]


class KafkaMembership(ConsumerRebalanceListener):  # type: ignore[misc]
    """One process's part of a service's group."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._owned: frozenset[int] = frozenset()
        self._told: frozenset[int] | None = None
        self._changed = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    @classmethod
    async def join(
        cls, bootstrap: str, namespace: str, service: str, member: str, topic: str
    ) -> KafkaMembership:
        """Join the group of a service with a member name that survives a restart."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=f"{namespace}.{service}.members",
            group_instance_id=member,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_HEARTBEAT_MS,
            rebalance_timeout_ms=_REBALANCE_MS,
            partition_assignment_strategy=[ShardAssignor],
        )
        membership = cls(consumer)
        consumer.subscribe([topic], listener=membership)
        try:
            async with asyncio.timeout(_JOIN_S):
                await consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await membership.close()
            raise Unavailable(f"join {service}: {type(error).__name__}: {error}") from error
        membership._pump = asyncio.create_task(membership._poll(), name=f"{service}-members")
        return membership

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Nothing: until the new assignment is known a shard goes on; the fence keeps it safe."""

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Pause and seek before anything can be fetched, then say what is owned."""
        for partition in assigned:
            self._consumer.pause(partition)
            self._consumer.seek(TopicPartition(partition.topic, partition.partition), 0)
        self._owned = frozenset(p.partition for p in assigned)
        self._changed.set()

    async def changes(self) -> frozenset[int]:
        """Wait for a new share.

        Raises:
            Unavailable: the group can't be asked any more; restart the process.
        """
        assert self._pump is not None
        while self._owned == self._told:
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({changed, self._pump}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
            if self._pump.done():
                self._pump.result()
        self._told = self._owned
        return self._owned

    async def _poll(self) -> None:
        """Group errors wait for whoever asks for records: ask, for ever, though none come."""
        try:
            while True:
                await self._consumer.getmany(timeout_ms=1000)
        except KafkaError as error:
            raise Unavailable(f"membership: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Leave: the shards go to the others at once. Who is alone comes back to them as it was."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                if self._owned and len(self._owned) < self._shards():
                    await self._say_farewell()
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await self._consumer.stop()

    def _shards(self) -> int:
        (topic,) = self._consumer.subscription()
        return len(self._consumer.partitions_for_topic(topic) or ())

    async def _say_farewell(self) -> None:
        """The client leaves it to the session's end for a static member; the broker takes it."""
        coordinator = self._consumer._coordinator
        await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, coordinator.member_id))
