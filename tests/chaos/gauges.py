"""Watches the ends of partitions: how long readers stood still, and how fast shards came back.

The last stable offset is what a reader of committed records may see; the high watermark counts
open transactions too. Where the second moves and the first does not, every reader stands still.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

_LOOK_S = 0.1
_CALL_S = 2.0
# A commit behind an abort marker is at least this much beyond the end at the kill.
_COMMIT_RECORDS = 2


@dataclass(slots=True)
class _Awaited:
    service: str
    since: float
    stable: int


@dataclass(slots=True)
class Stall:
    """The longest time that readers of one partition stood still."""

    partition: str
    seconds: float


@dataclass(slots=True)
class Gauges:
    """Run `watch` beside the torment, then read the figures."""

    bootstrap: str
    partitions: list[TopicPartition]
    takeovers: list[tuple[str, float]] = field(default_factory=list)
    stalls: dict[TopicPartition, float] = field(default_factory=dict)
    stalls_with_outage: dict[TopicPartition, float] = field(default_factory=dict)
    ends: dict[TopicPartition, tuple[int, int]] = field(default_factory=dict)
    is_broker_down: bool = False
    _awaited: dict[TopicPartition, _Awaited] = field(default_factory=dict)
    _still_since: dict[TopicPartition, tuple[float, bool]] = field(default_factory=dict)

    def killed(self, service: str, partitions: list[TopicPartition]) -> None:
        """The owner of these was killed just now."""
        now = time.monotonic()
        for partition in partitions:
            if partition in self.ends:
                end = self.ends[partition][1]
                self._awaited.setdefault(partition, _Awaited(service, now, end + _COMMIT_RECORDS))

    def outage(self) -> None:
        """The broker goes away: takeovers across it, and stalls in it, are counted apart."""
        self.is_broker_down = True
        self._awaited.clear()
        for partition, (since, _) in list(self._still_since.items()):
            self._still_since[partition] = (since, True)

    async def watch(self) -> None:
        """Look ten times a second, through outages, until cancelled."""
        while True:
            readers = [
                AIOKafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level=level)
                for level in ("read_committed", "read_uncommitted")
            ]
            try:
                for reader in readers:
                    async with asyncio.timeout(_CALL_S * 5):
                        await reader.start()
                while True:
                    began = time.monotonic()
                    async with asyncio.timeout(_CALL_S):
                        stable, high = [await r.end_offsets(self.partitions) for r in readers]
                    self._look(stable, high)
                    await asyncio.sleep(max(0.0, _LOOK_S - (time.monotonic() - began)))
            except (KafkaError, TimeoutError, OSError):
                await asyncio.sleep(_LOOK_S)
            finally:
                for reader in readers:
                    await asyncio.wait({asyncio.ensure_future(reader.stop())}, timeout=_CALL_S)

    def _look(self, stable: dict[TopicPartition, int], high: dict[TopicPartition, int]) -> None:
        now = time.monotonic()
        for partition, end in stable.items():
            before = self.ends.get(partition, (end, end))
            self.ends[partition] = (end, max(high[partition], end))
            awaited = self._awaited.get(partition)
            if awaited is not None and end >= awaited.stable:
                self.takeovers.append((awaited.service, now - awaited.since))
                del self._awaited[partition]
            if end != before[0] or high[partition] <= end:
                self._moved(partition, now)
            elif partition not in self._still_since:
                self._still_since[partition] = (now, self.is_broker_down)

    def _moved(self, partition: TopicPartition, now: float) -> None:
        since, was_outage = self._still_since.pop(partition, (now, False))
        kept = self.stalls_with_outage if was_outage or self.is_broker_down else self.stalls
        kept[partition] = max(kept.get(partition, 0.0), now - since)

    def longest(self, stalls: dict[TopicPartition, float]) -> Stall:
        """The worst partition."""
        if not stalls:
            return Stall("", 0.0)
        worst = max(stalls, key=lambda p: stalls[p])
        return Stall(f"{worst.topic.partition('.')[2]}/{worst.partition}", stalls[worst])
