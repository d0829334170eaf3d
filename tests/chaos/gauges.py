"""Watches the ends of partitions: how long readers stood still, and how fast shards came back.

The last stable offset is what a reader of committed records may see; the high watermark counts
open transactions too. Where the second moves and the first does not, every reader stands still.
A takeover lasts from the kill of an owner, or from the first record that then came for it, to the
first commit behind both. What overlaps an outage of the broker, or a frozen owner, counts apart.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

_LOOK_S = 0.1
_CALL_S = 2.0
# A commit behind an abort marker is at least this much beyond the end at the kill.
_COMMIT_RECORDS = 2
# What a span overlapped, the worst last.
KILLS, FREEZE, OUTAGE = BESIDE = ("kills", "a frozen owner", "the broker down")


@dataclass(slots=True)
class _Span:
    """Something that lasts: since when, and the worst that went on beside it."""

    since: float
    beside: str

    def overlaps(self, what: str) -> None:
        self.beside = max(self.beside, what, key=BESIDE.index)


@dataclass(slots=True)
class _Awaited(_Span):
    service: str
    stable: int


@dataclass(frozen=True, slots=True)
class Takeover:
    """One shard that lost its owner and worked again."""

    service: str
    seconds: float
    beside: str


@dataclass(frozen=True, slots=True)
class Stall:
    """The longest time that readers of one partition stood still."""

    partition: str
    seconds: float


@dataclass(slots=True)
class Gauges:
    """Run `watch` beside the torment, then read the figures.

    `logs` has, for each partition of a log, the partitions that its owner reads.
    """

    bootstrap: str
    logs: Mapping[TopicPartition, Sequence[TopicPartition]]
    takeovers: list[Takeover] = field(default_factory=list)
    ends: dict[TopicPartition, tuple[int, int]] = field(default_factory=dict)
    _stalls: dict[tuple[str, TopicPartition], float] = field(default_factory=dict)
    _is_broker_down: bool = False
    _frozen: set[str] = field(default_factory=set)
    _awaited: dict[TopicPartition, _Awaited] = field(default_factory=dict)
    _still: dict[TopicPartition, _Span] = field(default_factory=dict)
    _work_since: dict[TopicPartition, float] = field(default_factory=dict)

    def killed(self, service: str, partitions: Sequence[TopicPartition]) -> None:
        """The owner of these was killed just now."""
        now = time.monotonic()
        for partition in partitions:
            if partition in self.ends and partition not in self._awaited:
                end = self.ends[partition][1] + _COMMIT_RECORDS
                self._awaited[partition] = _Awaited(now, self._beside(partition), service, end)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Inside, the broker is away."""
        self._is_broker_down = True
        self._mark()
        try:
            yield
        finally:
            self._is_broker_down = False

    @contextmanager
    def freeze(self, topic: str) -> Iterator[None]:
        """Inside, an owner of this log stands still."""
        self._frozen.add(topic)
        self._mark()
        try:
            yield
        finally:
            self._frozen.discard(topic)

    def _mark(self) -> None:
        for spans in (self._awaited, self._still):
            for partition, span in spans.items():
                span.overlaps(self._beside(partition))

    def _beside(self, partition: TopicPartition) -> str:
        if self._is_broker_down:
            return OUTAGE
        return FREEZE if partition.topic in self._frozen else KILLS

    async def watch(self) -> None:
        """Look ten times a second, through outages, until cancelled."""
        watched = sorted({*self.logs, *(place for read in self.logs.values() for place in read)})
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
                        stable, high = [await r.end_offsets(watched) for r in readers]
                    self._look(stable, high)
                    await asyncio.sleep(max(0.0, _LOOK_S - (time.monotonic() - began)))
            except (KafkaError, TimeoutError, OSError):
                await asyncio.sleep(_LOOK_S)
            finally:
                for reader in readers:
                    await asyncio.wait({asyncio.ensure_future(reader.stop())}, timeout=_CALL_S)

    def _look(self, stable: dict[TopicPartition, int], high: dict[TopicPartition, int]) -> None:
        now = time.monotonic()
        moved = {p for p, end in stable.items() if end != self.ends.get(p, (end, end))[0]}
        self.ends.update({p: (end, max(high[p], end)) for p, end in stable.items()})
        for partition, inputs in self.logs.items():
            end, written = self.ends[partition]
            self._end_takeover(partition, end, now)
            if partition in moved and partition not in self._awaited:
                self._work_since.pop(partition, None)  # an abort marker alone is no work done
            if not moved.isdisjoint(inputs):
                self._work_since.setdefault(partition, now)
            if partition in moved or written <= end:
                self._end_stall(partition, now)
            else:
                self._still.setdefault(partition, _Span(now, self._beside(partition)))

    def _end_takeover(self, partition: TopicPartition, end: int, now: float) -> None:
        awaited = self._awaited.get(partition)
        if awaited is not None and end >= awaited.stable:
            since = max(awaited.since, self._work_since.get(partition, 0.0))
            self.takeovers.append(Takeover(awaited.service, now - since, awaited.beside))
            del self._awaited[partition]

    def _end_stall(self, partition: TopicPartition, now: float) -> None:
        still = self._still.pop(partition, None)
        if still is not None:
            key = still.beside, partition
            self._stalls[key] = max(self._stalls.get(key, 0.0), now - still.since)

    def longest_stall(self, beside: str) -> Stall:
        """The worst partition of the stalls beside which nothing worse went on than this."""
        found = [(s, p) for (what, p), s in self._stalls.items() if what == beside]
        seconds, place = max(found, default=(0.0, TopicPartition("x.none", 0)))
        return Stall(f"{place.topic.partition('.')[2]}/{place.partition}", round(seconds, 2))

    def spans(self, beside: str) -> dict[str, float | str]:
        """Number, median, 99th percentile and worst of the takeovers, in seconds."""
        found = sorted((t.seconds, t.service) for t in self.takeovers if t.beside == beside)
        if len(found) < 2:  # of fewer there are no quantiles
            return {"count": len(found)}
        seconds = [span for span, _ in found]
        return {
            "count": len(found),
            "p50_s": round(statistics.median(seconds), 2),
            "p99_s": round(statistics.quantiles(seconds, n=100, method="inclusive")[98], 2),
            "worst": f"{found[-1][1]} {found[-1][0]:.2f} s",
        }
