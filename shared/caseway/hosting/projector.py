"""Copies the logs into a store: whole batches to rows, rows and positions in one transaction.

It holds nothing that the store does not: whatever fails, it opens the store again, takes the
positions found there and reads the logs from them. It never gives up, because the logs keep
everything until it comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import structlog

from caseway.contracts.codec import Event, decode, type_of
from caseway.contracts.record import Record
from caseway.contracts.shard import ShardGenesis
from caseway.contracts.topics import FIXED_TOPICS, REGISTRY, TopicKind
from caseway.errors import CodeTooOld, ContractError, IntegrityError, Unavailable
from caseway.hosting.batches import BatchReader
from caseway.hosting.log import Feed, Log, Place
from caseway.hosting.store import Store
from caseway.kernel.projection import Row, Table, merged

_log = structlog.get_logger("caseway.projector")

# A transaction of this many events takes about a tenth of a second, and its rows a few MB.
WRITE_EVENTS = 5_000
# People read the rows and no service does, so several cases may share a transaction.
LINGER_MS = 500
_FETCH_S = 0.5
_BACKOFF_S, _BACKOFF_MAX_S = 0.1, 10.0

RowsOf = Callable[[Record, Event], Iterable[tuple[Table, Row]]]


def log_places(shards: int) -> tuple[Place, ...]:
    """Every partition of every log."""
    return tuple(
        (topic.name, number)
        for topic in FIXED_TOPICS
        if topic.kind is TopicKind.LOG
        for number in range(topic.partitions(shards))
    )


class Source:
    """One log partition, cut where its batches end.

    The registry has no trailers, since intake's vouch for it on intake's own log: each of its
    records stands for itself.
    """

    def __init__(self, place: Place, start: int) -> None:
        is_plain = place[0] == REGISTRY.name
        self._batches = None if is_plain else BatchReader(place, is_resumed=start > 0)

    def feed(self, records: Sequence[Record]) -> Iterator[tuple[Sequence[Record], int]]:
        """Records that count, each time with the offset to go on from after them."""
        if self._batches is not None:
            for batch in self._batches.feed(records):
                yield batch.records, batch.next_offset
            return
        facts = [record for record in records if type_of(record) != ShardGenesis.TYPE]
        if records:
            yield facts, records[-1].offset + 1


class Projector:
    """The one loop; `run` it once per namespace. A second one only waits for its turn."""

    def __init__(self, log: Log, store: Store, rows_of: RowsOf) -> None:
        self._log = log
        self._store = store
        self._rows_of = rows_of
        self._feed: Feed | None = None
        self._sources: dict[Place, Source] = {}
        self.positions: dict[Place, int] = {}
        self.events_written = 0
        self.failures = 0
        self.reason = ""
        # Append time of the oldest record that was fetched and that the store does not have yet.
        self.oldest_ms: int | None = None

    async def run(self) -> None:
        """Copy until cancelled.

        Raises:
            IntegrityError: a log is damaged, or the store contradicts it; someone must look.
        """
        try:
            while True:
                try:
                    await self._start()
                    while True:
                        await self._step()
                except (Unavailable, CodeTooOld, TimeoutError) as doubt:
                    await self._rest(doubt)
        finally:
            await self._stop()

    # -- steps --------------------------------------------------------------------------------

    async def _start(self) -> None:
        await self._stop()
        found = await self._store.open()
        self.positions = {place: found.get(place, 0) for place in log_places(self._log.shards)}
        self._sources = {place: Source(place, start) for place, start in self.positions.items()}
        self._feed = await self._log.feed(LINGER_MS)
        await self._feed.seek(self.positions)

    async def _step(self) -> None:
        """Write all that one fetch brought, in transactions of bounded size."""
        assert self._feed is not None
        arrived = await self._feed.fetch(_FETCH_S)
        if not arrived:
            return
        # It stays when the write fails, until what came again is written.
        self.oldest_ms = min(records[0].at_ms for records in arrived.values())
        rows: list[tuple[Table, Row]] = []
        after: dict[Place, int] = {}
        events = 0
        for place, records in arrived.items():
            for some, next_offset in self._sources[place].feed(records):
                for record in some:
                    rows.extend(self._rows_of(record, _event(record)))
                events += len(some)
                after[place] = next_offset
                if events >= WRITE_EVENTS:
                    await self._write(rows, after, events)
                    rows, after, events = [], {}, 0
        if after:
            await self._write(rows, after, events)
        self.oldest_ms = None

    async def _write(
        self, rows: list[tuple[Table, Row]], after: Mapping[Place, int], events: int
    ) -> None:
        before = {place: self.positions[place] for place in after}
        await self._store.write(merged(rows), before, after)
        self.positions.update(after)
        self.events_written += events
        self.failures, self.reason = 0, ""

    async def _rest(self, doubt: Exception) -> None:
        self.failures += 1
        self.reason = str(doubt) or type(doubt).__name__
        _log.warning("projector goes back", attempt=self.failures, reason=self.reason)
        await self._stop()
        await asyncio.sleep(min(_BACKOFF_S * 2 ** min(self.failures, 10), _BACKOFF_MAX_S))

    async def _stop(self) -> None:
        feed, self._feed = self._feed, None
        with contextlib.suppress(Unavailable, TimeoutError):  # both are thrown away in any case
            if feed is not None:
                await feed.close()
        await self._store.close()


def _event(record: Record) -> Event:
    try:
        return decode(record, is_sole_writer=True)
    except ContractError as error:
        raise IntegrityError(
            f"{record.topic}/{record.partition}@{record.offset}: {error}",
            code="integrity.unreadable",
        ) from error
