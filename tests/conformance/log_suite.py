"""What every log promises (`hosting/log.py`), as one suite: memory, SQLite and Kafka pass it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from caseway.contracts import topics
from caseway.contracts.record import Draft, Record
from caseway.errors import ContractError, Unavailable
from caseway.hosting.log import Log, Place

SHARDS = 2
CASES: Place = ("cases", 0)
APPROVALS: Place = ("approvals", 0)


def draft(topic: str, text: str, partition: int = 0, **changes: Any) -> Draft:
    """A small record; `changes` are other fields of it."""
    fields: dict[str, Any] = {"key": b"k", "value": text.encode(), "headers": (("h", b"1"),)}
    return Draft(topic, partition, **(fields | changes))


async def all_of(log: Log, place: Place, start: int = 0) -> list[Record]:
    """Every committed record of a partition.

    Kafka answers a commit before its markers are written, so a reader may be a moment behind:
    this reads to the end that counts transactions which are still completing.
    """
    records: list[Record] = []
    end = await log.end(place)
    is_end = False
    async with asyncio.timeout(30):
        while not (is_end and start >= end):
            chunk = await log.scan(place, start)
            records += chunk.records
            start, is_end = chunk.next_offset, chunk.is_end
    return records


def values(records: Sequence[Record]) -> list[str]:
    """Their values as text."""
    return [(record.value or b"").decode() for record in records]


class LogConformance:
    """Subclass it with `made`, a fresh log with a namespace of its own."""

    @asynccontextmanager
    async def made(self, tmp_path: Any, request: pytest.FixtureRequest) -> AsyncIterator[Log]:
        """A fresh, empty log."""
        raise NotImplementedError
        yield

    @pytest.fixture
    async def log(self, tmp_path: Any, request: pytest.FixtureRequest) -> AsyncIterator[Log]:
        """The log under test, with every topic."""
        async with self.made(tmp_path, request) as log:
            await log.create_topics(topics.all_topics(("claims",)))
            yield log

    async def test_records_are_read_in_the_order_they_were_committed(self, log: Log) -> None:
        writer = await log.fence("router", 0)
        for text in ("a", "b", "c"):
            await writer.commit([draft("cases", text)], {})
        records = await all_of(log, CASES)
        assert values(records) == ["a", "b", "c"]
        offsets = [record.offset for record in records]
        assert offsets == sorted(set(offsets))
        await writer.close()

    async def test_a_commit_is_whole_over_all_its_topics(self, log: Log) -> None:
        writer = await log.fence("router", 0)
        drafts = [
            draft("cases", "event"),
            draft("offers.claims", "offer", 1),
            draft("cases", "end"),
        ]
        offset, at_ms = await writer.commit(drafts, {("intake", 0): 7})
        assert values(await all_of(log, CASES)) == ["event", "end"]
        assert values(await all_of(log, ("offers.claims", 1))) == ["offer"]
        last = (await all_of(log, CASES))[-1]
        assert (last.offset, last.at_ms) == (offset, at_ms)
        await writer.close()

    async def test_rule_1_a_stale_writer_is_fenced_and_nothing_of_its_commit_is_seen(
        self, log: Log
    ) -> None:
        stale = await log.fence("router", 0)
        await stale.commit([draft("cases", "before")], {})
        owner = await log.fence("router", 0)
        with pytest.raises(Unavailable):
            await stale.commit([draft("cases", "zombie"), draft("offers.claims", "zombie")], {})
        await owner.commit([draft("cases", "after")], {})
        assert values(await all_of(log, CASES)) == ["before", "after"]
        assert await all_of(log, ("offers.claims", 0)) == []
        await stale.close()
        await owner.close()

    async def test_rule_2_the_next_owner_reads_everything_committed_before_its_fence(
        self, log: Log
    ) -> None:
        for number in range(5):
            writer = await log.fence("router", 0)
            assert len(await all_of(log, CASES)) == number
            await writer.commit([draft("cases", str(number))], {})
            await writer.close()

    async def test_fencing_one_shard_leaves_the_others_alone(self, log: Log) -> None:
        first, second = await log.fence("router", 0), await log.fence("router", 1)
        other = await log.fence("approval", 0)
        await second.commit([draft("cases", "1", 1)], {})
        await first.commit([draft("cases", "0")], {})
        await other.commit([draft("approvals", "a")], {})
        for writer in (first, second, other):
            await writer.close()

    async def test_many_shards_commit_at_once(self, log: Log) -> None:
        async def work(shard: int) -> None:
            writer = await log.fence("router", shard)
            for number in range(20):
                await writer.commit([draft("cases", f"{number}", shard)], {})
            await writer.close()

        await asyncio.gather(*(work(shard) for shard in range(SHARDS)))
        for shard in range(SHARDS):
            texts = values(await all_of(log, ("cases", shard)))
            assert texts == [str(number) for number in range(20)]

    async def test_bytes_are_kept_exactly(self, log: Log) -> None:
        odd = [
            draft("submissions", "", key=None, value=b"\x00\xff", headers=()),
            draft("submissions", "", key=b"\xff", value=None, headers=(("a", b""), ("a", b"\x00"))),
            draft("submissions", "", headers=(("none", None), ("empty", b""))),
        ]
        given = await log.append(odd)
        found = await all_of(log, ("submissions", 0))
        for sent, (offset, at_ms), got in zip(odd, given, found, strict=True):
            assert (got.offset, got.at_ms) == (offset, at_ms)
            assert (got.key, got.value, tuple(got.headers)) == (sent.key, sent.value, sent.headers)

    async def test_append_time_never_falls(self, log: Log) -> None:
        for number in range(5):
            await log.append([draft("submissions", str(number))])
        times = [record.at_ms for record in await all_of(log, ("submissions", 0))]
        assert times == sorted(times)

    async def test_rule_19_a_record_too_large_is_refused_and_nothing_is_written(
        self, log: Log
    ) -> None:
        large = draft("cases", "", value=b"x" * 1_100_000)
        writer = await log.fence("router", 0)
        with pytest.raises(ContractError) as refused:
            await writer.commit([draft("cases", "small"), large], {})
        assert refused.value.code == "RECORD_TOO_LARGE"
        with pytest.raises(ContractError):
            await log.append([large])
        assert await all_of(log, CASES) == []
        await writer.close()

    async def test_rule_16_a_scan_ends_although_the_last_offsets_hold_no_record(
        self, log: Log
    ) -> None:
        assert await all_of(log, CASES) == []
        writer = await log.fence("router", 0)
        await writer.commit([draft("cases", "a")], {})
        (record,) = await all_of(log, CASES)
        assert await all_of(log, CASES, record.offset + 1) == []
        bounds = await log.bounds(CASES)
        assert bounds.first == 0
        assert bounds.end == await log.end(CASES) >= record.offset + 1
        await writer.close()

    async def test_rule_3_a_feed_reads_from_where_it_was_sought_and_no_position_else(
        self, log: Log
    ) -> None:
        given = await log.append([draft("submissions", text) for text in "abcd"])
        feed = await log.feed()
        await feed.seek({("submissions", 0): given[2][0]})
        assert await _texts(feed, 2) == ["c", "d"]
        await log.append([draft("submissions", "e")])
        assert await _texts(feed, 1) == ["e"]
        await feed.seek({("submissions", 0): given[0][0]})
        assert await _texts(feed, 5) == ["a", "b", "c", "d", "e"]
        await feed.close()

    async def test_a_feed_takes_partitions_in_and_lets_them_go_while_it_fetches(
        self, log: Log
    ) -> None:
        feed = await log.feed()
        await feed.seek({("submissions", 0): 0})
        waiting = asyncio.create_task(_texts(feed, 3))
        await asyncio.sleep(0)
        await feed.seek({("submissions", 1): 0})
        await log.append([draft("submissions", "0"), draft("submissions", "1", 1)])
        await log.append([draft("submissions", "2")])
        assert sorted(await waiting) == ["0", "1", "2"]
        await feed.drop([("submissions", 1)])
        await log.append([draft("submissions", "gone", 1), draft("submissions", "kept")])
        assert await _texts(feed, 1) == ["kept"]
        await feed.close()

    async def test_a_paused_partition_waits_and_loses_nothing(self, log: Log) -> None:
        feed = await log.feed()
        await feed.seek({("submissions", 0): 0, ("submissions", 1): 0})
        feed.pause([("submissions", 0)])
        await log.append([draft("submissions", "later"), draft("submissions", "now", 1)])
        assert await _texts(feed, 1) == ["now"]
        feed.resume([("submissions", 0)])
        assert await _texts(feed, 1) == ["later"]
        await feed.close()

    async def test_a_fetch_ends_at_its_timeout(self, log: Log) -> None:
        feed = await log.feed()
        await feed.seek({("submissions", 0): 0})
        async with asyncio.timeout(10):
            assert dict(await feed.fetch(0.05)) == {}
        await feed.close()

    async def test_a_commit_settles_and_that_changes_nothing(self, log: Log) -> None:
        writer = await log.fence("router", 0)
        await writer.commit([draft("cases", "a")], {("intake", 0): 1})
        async with asyncio.timeout(10):
            while not await writer.settle({("intake", 0): 1}):
                pass
        await writer.commit([draft("cases", "b")], {("intake", 0): 2})
        assert values(await all_of(log, CASES)) == ["a", "b"]
        await writer.close()

    async def test_topics_are_made_once_and_described_as_they_are(self, log: Log) -> None:
        wanted = topics.all_topics(("claims",))
        assert list(await log.create_topics(wanted)) == []
        facts = await log.describe(wanted)
        assert set(facts) == {topic.name for topic in wanted}
        assert facts["cases"].partitions == SHARDS
        assert facts["registry"].partitions == 1
        assert facts["cases"].retention_ms == -1
        assert facts["cases"].has_append_time
        assert facts["snapshots.router"].is_compacted
        assert not facts["cases"].is_compacted

    async def test_one_member_owns_every_shard(self, log: Log) -> None:
        membership = await log.join("router", f"m-{uuid.uuid4().hex[:6]}")
        async with asyncio.timeout(30):
            owned = await membership.changes()
        assert owned == frozenset(range(SHARDS))
        await membership.close()


async def _texts(feed: Any, count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            for records in (await feed.fetch(0.5)).values():
                found += values(records)
    return found
