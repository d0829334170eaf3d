"""Commits the batches of one shard to Kafka, each in a transaction of its own.

Each rule here stands for lost data (docs/decisions.md has what was measured): every send is awaited
before the commit, because aiokafka commits over a failed send; a producer that failed once is never
used again; and an acknowledged commit is not believed to be readable before it was seen to be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition

from caseway.contracts.record import Draft
from caseway.errors import ContractError, Unavailable
from caseway.hosting.kafka_calls import RECORD_BYTES_MAX, bounded, stop
from caseway.hosting.log import Place

# Below the transaction's own timeout: an answer after it is worth nothing.
COMMIT_S = 8.0
# The marker of an acknowledged commit is written within milliseconds, or after a broker's start.
_UNREADABLE_S = 5.0


class KafkaWriter:
    """The transactional producer of one shard, good until its first failure.

    `stable_end` says below which offset all that was committed to a place can be read.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        namespace: str,
        service: str,
        stable_end: Callable[[Place], Awaitable[int]],
    ) -> None:
        self._producer = producer
        self._namespace = namespace
        self._group = f"{namespace}.{service}"
        self._stable_end = stable_end
        self._hinted: dict[Place, int] = {}
        self._last: tuple[Place, int] | None = None  # the trailer that nobody was seen to read
        self._unreadable_since: float | None = None

    async def commit(
        self, drafts: Sequence[Draft], positions: Mapping[Place, int]
    ) -> tuple[int, int]:
        """One transaction; every send is awaited before the offsets and the end."""
        for draft in drafts:
            check_size(draft)
        offset, at_ms = await bounded(self._commit(drafts), COMMIT_S, "commit")
        trailer = drafts[-1]
        self._last, self._unreadable_since = ((trailer.topic, trailer.partition), offset), None
        return offset, at_ms

    async def _commit(self, drafts: Sequence[Draft]) -> tuple[int, int]:
        # No group offsets: the trailer holds the positions, and offsets would double the cost of
        # a commit (8.2 against 3.6 ms). They follow as a hint when the shard has nothing to do.
        await self._producer.begin_transaction()
        sent = await send_all(self._producer, self._namespace, drafts)
        await self._producer.commit_transaction()
        return sent[-1]

    async def settle(self, positions: Mapping[Place, int]) -> bool:
        """Tell lag tools how far the shard has read, and look whether its last commit can be read.

        A coordinator may forget to end a transaction (`kafka_hanging.py`). The next commit would
        end it by the way, but a shard at rest makes none, and what it said last would never be
        heard; so that is doubt, and the fence of the next takeover aborts what was forgotten.
        """
        moved = {p: o for p, o in positions.items() if self._hinted.get(p) != o}
        if moved:
            await bounded(self._hint(moved), COMMIT_S, "offsets")
            self._hinted.update(moved)
        if self._last is None:
            return True
        place, offset = self._last
        if await self._stable_end(place) > offset:
            self._last = None
            return True
        now = time.monotonic()
        self._unreadable_since = self._unreadable_since or now
        if now - self._unreadable_since >= _UNREADABLE_S:
            raise Unavailable(
                f"{place[0]}/{place[1]}@{offset} was committed and can't be read: its transaction "
                "is open, and the broker has forgotten it"
            )
        return False

    async def _hint(self, moved: Mapping[Place, int]) -> None:
        """Commit the group's offsets alone, through the transaction of the rightful owner."""
        offsets = {TopicPartition(f"{self._namespace}.{t}", n): o for (t, n), o in moved.items()}
        await self._producer.begin_transaction()
        await self._producer.send_offsets_to_transaction(offsets, self._group)
        await self._producer.commit_transaction()

    async def close(self) -> None:
        """Stop without ending a transaction: the next owner's fence aborts what is open."""
        await stop(self._producer)


async def send_all(
    producer: AIOKafkaProducer, namespace: str, drafts: Sequence[Draft]
) -> list[tuple[int, int]]:
    """Send in order and wait for every answer; (offset, append time in ms) of each."""
    futures: list[asyncio.Future[Any]] = []
    try:
        for draft in drafts:
            futures.append(
                await producer.send(
                    f"{namespace}.{draft.topic}",
                    value=draft.value,
                    key=draft.key,
                    partition=draft.partition,
                    headers=list(draft.headers),
                )
            )
        return [(sent.offset, sent.timestamp) for sent in await asyncio.gather(*futures)]
    except BaseException:
        for future in futures:  # nobody waits for these any more, and each will fail
            future.add_done_callback(_hear)
        raise


def _hear(future: asyncio.Future[Any]) -> None:
    """Or the loop logs an error that was never retrieved."""
    if not future.cancelled():
        future.exception()


def check_size(draft: Draft) -> None:
    """Refuse what the broker would, before it spoils a transaction.

    Raises:
        ContractError: RECORD_TOO_LARGE
    """
    if draft.is_beyond(RECORD_BYTES_MAX - 1024):
        raise ContractError(
            f"a record for {draft.topic} has {draft.size_bytes} bytes; at most "
            f"{RECORD_BYTES_MAX - 1024}: store large evidence and send a reference",
            code="RECORD_TOO_LARGE",
        )
