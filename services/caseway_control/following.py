"""Wait for what a service makes of records that were sent to it, exactly and without polling.

Every event names its cause, and every trailer names how far its shard has consumed each input.
So an answer is known to be there, or known never to come, from the service's own log alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

from caseway.contracts.codec import Event, decode
from caseway.contracts.topics import Topic
from caseway.errors import Unavailable
from caseway.hosting.batches import BatchReader
from caseway.hosting.log import Log, Place

_FETCH_S = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one sent record; no events: nothing new came of it."""

    place: Place
    offset: int
    events: tuple[Event, ...]


async def ends(log: Log, own: Topic, shards: Iterable[int]) -> dict[Place, int]:
    """Where a log ends now: to be asked before sending, and given to `answers` after it."""
    places = [(own.name, shard) for shard in sorted(set(shards))]
    return {place: await log.end(place) for place in places}


async def answers(
    log: Log,
    generation: str,
    sent: Iterable[tuple[Place, int]],
    since: Mapping[Place, int],
    timeout_s: float,
) -> AsyncIterator[Answer]:
    """The answer to every sent record, as they come; `since` is what `ends` said before sending.

    Raises:
        Unavailable: NO_ANSWER, nothing came for `timeout_s`.
    """
    waiting: dict[Place, dict[int, list[Event]]] = {}
    for place, offset in sent:
        waiting.setdefault(place, {})[offset] = []
    readers = {place: BatchReader(place, is_resumed=True) for place in since}
    feed = await log.feed()
    loop = asyncio.get_running_loop()
    last = loop.time()
    try:
        await feed.seek(since)
        while any(waiting.values()):
            for own, records in (await feed.fetch(_FETCH_S)).items():
                for batch in readers[own].feed(records):
                    for record in batch.records:
                        _note(waiting, generation, decode(record, is_sole_writer=True))
                    for answer in _consumed(waiting, own[1], batch.trailer.positions):
                        last = loop.time()
                        yield answer
            if loop.time() - last > timeout_s:
                left = sum(map(len, waiting.values()))
                raise Unavailable(
                    f"{left} records are durable, and not answered after {timeout_s:.0f} s; start "
                    "the engine (`caseway up`, or `caseway serve`) and ask again",
                    code="NO_ANSWER",
                )
    finally:
        await feed.close()


def _note(waiting: dict[Place, dict[int, list[Event]]], generation: str, event: Event) -> None:
    head, _, rest = event.envelope.cause.partition("/")
    place, _, offset = rest.rpartition("/")
    topic, _, number = place.rpartition("/")
    if head == generation and number.isdecimal() and offset.isdecimal():
        events = waiting.get((topic, int(number)), {}).get(int(offset))
        if events is not None:
            events.append(event)


def _consumed(
    waiting: dict[Place, dict[int, list[Event]]], shard: int, positions: Mapping[str, int]
) -> list[Answer]:
    found = []
    for place, offsets in waiting.items():
        if place[1] != shard:
            continue
        next_offset = positions.get(f"{place[0]}/{place[1]}", 0)
        for offset in sorted(offset for offset in offsets if offset < next_offset):
            found.append(Answer(place, offset, tuple(offsets.pop(offset))))
    return found
