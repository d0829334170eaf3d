"""Makes a long history of closed cases for a benchmark: whole, valid batches on every own log.

One real closed case a shard is the pattern; its events are written again under other case ids,
with trailers that go on where the log stands. A replay cannot tell them from lived ones.
"""

from __future__ import annotations

from caseway.contracts.codec import Event, decode, encode, type_of
from caseway.contracts.record import Draft, Record
from caseway.contracts.shard import ShardCommitted
from caseway.contracts.topics import OWN_LOGS
from caseway.errors import ConfigError
from caseway.hosting.batches import BatchReader, batch_digest
from caseway.hosting.log import Log, Place
from caseway_control.roster import CARDS

_CASES_A_BATCH = 400


async def multiply_closed(log: Log, closed_key: str, shard: int, count: int) -> int:
    """Write `count` copies of a closed case into one shard of every service; returns the events.

    The services must be stopped: this takes their shards.
    """
    written = 0
    for service in CARDS:
        written += await _multiply(log, service, shard, closed_key, count)
    return written


async def _multiply(log: Log, service: str, shard: int, closed_key: str, count: int) -> int:
    place = (OWN_LOGS[service].name, shard)
    pattern, last, trailer_record = await _pattern(log, place, closed_key.encode())
    if last is None or trailer_record is None or not pattern:
        raise ConfigError(f"{place[0]}/{shard} holds no case {closed_key!r} to copy")
    writer = await log.fence(service, shard)
    epoch, sequence = last.epoch + 1, last.sequence
    try:
        for start in range(0, count, _CASES_A_BATCH):
            drafts = [
                _copy(record, f"h-{shard}-{n}")
                for n in range(start, min(count, start + _CASES_A_BATCH))
                for record in pattern
            ]
            sequence += 1
            data = last.model_copy(
                update={
                    "sequence": sequence,
                    "epoch": epoch,
                    "count": len(drafts),
                    "digest": batch_digest(drafts),
                }
            )
            await writer.commit([*drafts, _trailer(trailer_record, data)], {})
    finally:
        await writer.close()
    return count * len(pattern)


async def _pattern(
    log: Log, place: Place, key: bytes
) -> tuple[list[Record], ShardCommitted | None, Record | None]:
    """The events of the case, the last trailer of the log, and that trailer's record."""
    reader = BatchReader(place, is_resumed=False)
    pattern: list[Record] = []
    last: ShardCommitted | None = None
    record_of_last: Record | None = None
    start, is_end = 0, False
    while not is_end:
        chunk = await log.scan(place, start)
        for batch in reader.feed(chunk.records):
            pattern += [record for record in batch.records if record.key == key]
            last = batch.trailer
        trailers = [r for r in chunk.records if type_of(r) == ShardCommitted.TYPE]
        record_of_last = trailers[-1] if trailers else record_of_last
        start, is_end = chunk.next_offset, chunk.is_end
    return pattern, last, record_of_last


def _copy(record: Record, key: str) -> Draft:
    headers = tuple(
        (name, f"{value.decode()}-{key}".encode() if name == "ce_id" else value)
        for name, value in record.headers
    )
    return Draft(record.topic, record.partition, key.encode(), record.value, headers)


def _trailer(pattern: Record, data: ShardCommitted) -> Draft:
    event = decode(pattern, is_sole_writer=True)
    envelope = event.envelope._replace(id=f"{event.envelope.id}-{data.sequence}")
    return encode(pattern.topic, pattern.partition, Event(event.key, envelope, data))
