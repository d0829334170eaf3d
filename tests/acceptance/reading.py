"""Reading whole logs, and waiting for cases, in tests on a real broker."""

from __future__ import annotations

import asyncio

from caseway.contracts.codec import Event, decode
from caseway.hosting.batches import BatchReader
from caseway.hosting.log import Log


async def whole_log(log: Log, topic: str) -> list[Event]:
    """Every event of a log, from whole batches only, partition after partition."""
    events = []
    for number in range(log.shards):
        reader = BatchReader((topic, number), is_resumed=False)
        start, is_end = 0, False
        while not is_end:
            chunk = await log.scan((topic, number), start)
            for batch in reader.feed(chunk.records):
                events += [decode(record, is_sole_writer=True) for record in batch.records]
            start, is_end = chunk.next_offset, chunk.is_end
    return events


async def until_closed(log: Log, expected: int, timeout_s: float) -> dict[str, str]:
    """Wait until so many cases are closed; their outcomes by case id."""
    outcomes: dict[str, str] = {}
    feed = await log.feed()
    await feed.seek({("cases", number): 0 for number in range(log.shards)})
    try:
        async with asyncio.timeout(timeout_s):
            while len(outcomes) < expected:
                for records in (await feed.fetch(0.5)).values():
                    for record in records:
                        if ("ce_type", b"case.closed") in record.headers:
                            event = decode(record, is_sole_writer=True)
                            outcomes[event.key] = getattr(event.data, "outcome", "")
    except TimeoutError:
        raise AssertionError(
            f"{len(outcomes)} of {expected} cases closed in {timeout_s} s"
        ) from None
    finally:
        await feed.close()
    return outcomes
