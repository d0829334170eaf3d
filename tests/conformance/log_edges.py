"""What a log promises where it is easily broken: gaps, races, refusals, sizes, closing.

The second half of the suite: `LogConformance` says what every log does, this what none may get
wrong. A test class takes both and gives the fixture `log`; a real broker passes this too, so
offsets may have gaps and nothing here waits but for a condition.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from caseway.contracts.record import Record
from caseway.errors import Unavailable
from caseway.hosting.log import Feed, Log, Place
from tests.conformance.log_suite import CASES, SHARDS, all_of, draft, values

SUBMISSIONS: Place = ("submissions", 0)
OFFERS: Place = ("offers.claims", 0)
# What every log accepts; one byte more is refused.
ACCEPTED_BYTES = 1_047_552
_DEADLINE_S = 30


class LogEdges:
    """Needs the fixture `log`: a fresh log with every topic.

    `linger_ms` is 0 for a log that makes no use of the leave to come late.
    """

    linger_ms = 300

    async def test_a_scan_goes_on_from_chunk_to_chunk(self, log: Log) -> None:
        texts = [str(number) for number in range(2_500)]
        await log.append([draft("submissions", text) for text in texts])
        assert values(await all_of(log, SUBMISSIONS)) == texts

    async def test_a_scan_steps_over_nothing_that_is_committed_meanwhile(self, log: Log) -> None:
        texts = [str(number) for number in range(150)]
        writer = await log.fence("router", 0)

        async def commit_all() -> None:
            for text in texts:
                await writer.commit([draft("cases", text)], {})

        committing = asyncio.create_task(commit_all())
        found: list[str] = []
        start = 0
        async with asyncio.timeout(_DEADLINE_S):
            while len(found) < len(texts):
                chunk = await log.scan(CASES, start)
                found += values(chunk.records)
                assert found == texts[: len(found)]
                start = chunk.next_offset
        await committing
        await writer.close()

    async def test_a_feed_reads_across_gaps_and_never_what_was_refused(self, log: Log) -> None:
        feed = await log.feed()
        await feed.seek({CASES: 0, OFFERS: 0})
        for number in range(4):
            stale = await log.fence("router", 0)
            owner = await log.fence("router", 0)
            with pytest.raises(Unavailable):
                await stale.commit([draft("cases", "zombie"), draft("offers.claims", "zombie")], {})
            await owner.commit([draft("cases", str(number)), draft("offers.claims", "o")], {})
            await stale.close()
            await owner.close()
        found = await fetched(feed, 8)
        assert found == {CASES: ["0", "1", "2", "3"], OFFERS: ["o"] * 4}
        await feed.close()

    async def test_a_fenced_writer_stays_fenced(self, log: Log) -> None:
        stale = await log.fence("router", 0)
        owner = await log.fence("router", 0)
        for _ in range(2):
            with pytest.raises(Unavailable):
                await stale.commit([draft("cases", "zombie")], {})
        await owner.commit([draft("cases", "owner")], {})
        assert values(await committed(log, CASES, 1)) == ["owner"]
        await stale.close()
        await owner.close()

    async def test_appends_at_once_each_get_the_offset_they_are_read_at(self, log: Log) -> None:
        async def append(number: int) -> tuple[int, int, str]:
            ((offset, at_ms),) = await log.append([draft("submissions", str(number))])
            return offset, at_ms, str(number)

        given = await asyncio.gather(*(append(number) for number in range(50)))
        found = await all_of(log, SUBMISSIONS)
        read = [(r.offset, r.at_ms, (r.value or b"").decode()) for r in found]
        assert sorted(given) == read

    async def test_two_feeds_read_the_same_and_apart_from_each_other(self, log: Log) -> None:
        first, second = await log.feed(), await log.feed()
        await first.seek({SUBMISSIONS: 0})
        await second.seek({SUBMISSIONS: 0})
        await log.append([draft("submissions", "a")])
        assert await fetched(first, 1) == {SUBMISSIONS: ["a"]}
        await log.append([draft("submissions", "b")])
        assert await fetched(first, 1) == {SUBMISSIONS: ["b"]}
        assert await fetched(second, 2) == {SUBMISSIONS: ["a", "b"]}
        await first.close()
        await second.close()

    async def test_who_lingers_reads_all_in_order_and_in_fewer_fetches(self, log: Log) -> None:
        feed = await log.feed(self.linger_ms)
        await feed.seek({SUBMISSIONS: 0})
        found: list[str] = []
        fetches = 0

        async def read() -> None:
            nonlocal fetches
            while len(found) < 20:
                got = await feed.fetch(0.5)
                fetches += bool(got)
                found.extend(values(got.get(SUBMISSIONS, ())))

        reading = asyncio.create_task(read())
        for number in range(20):
            await log.append([draft("submissions", str(number))])
        async with asyncio.timeout(_DEADLINE_S):
            await reading
        assert found == [str(number) for number in range(20)]
        # Twenty appends take far less than ten such whiles, even on a busy machine.
        assert fetches <= (10 if self.linger_ms else 20)
        await feed.close()

    async def test_seeking_a_paused_partition_reads_it_again(self, log: Log) -> None:
        await log.append([draft("submissions", "a")])
        feed = await log.feed()
        await feed.seek({SUBMISSIONS: 0})
        feed.pause([SUBMISSIONS])
        await feed.seek({SUBMISSIONS: 0})
        assert await fetched(feed, 1) == {SUBMISSIONS: ["a"]}
        await feed.close()

    async def test_a_fetch_of_nothing_ends_at_its_timeout(self, log: Log) -> None:
        feed = await log.feed()
        async with asyncio.timeout(10):
            assert dict(await feed.fetch(0.05)) == {}
        await feed.close()

    async def test_empty_and_absent_are_told_apart(self, log: Log) -> None:
        odd = ((b"", b""), (b"", None), (None, b""))  # Kafka's client refuses to send nothing
        headers = (("größe", b"\xff\x00"), ("größe", b""), ("", b"1"))
        drafts = [draft("submissions", "", key=k, value=v, headers=headers) for k, v in odd]
        await log.append(drafts)
        found = await all_of(log, SUBMISSIONS)
        assert [(record.key, record.value) for record in found] == list(odd)
        assert {tuple(record.headers) for record in found} == {headers}

    async def test_the_largest_record_is_taken_as_it_is(self, log: Log) -> None:
        value = os.urandom(ACCEPTED_BYTES)
        writer = await log.fence("router", 0)
        await writer.commit([draft("cases", "", key=None, value=value, headers=())], {})
        (record,) = await committed(log, CASES, 1)
        assert record.value == value
        await writer.close()

    async def test_the_end_lies_beyond_every_record_and_never_falls(self, log: Log) -> None:
        writer = await log.fence("router", 0)
        last = await log.end(CASES)
        for _ in range(3):
            offset, _ = await writer.commit([draft("cases", "a"), draft("cases", "b")], {})
            end = await log.end(CASES)
            assert end > offset >= last
            last = end
        await writer.close()

    async def test_shards_that_commit_at_once_keep_their_batches_whole(self, log: Log) -> None:
        async def work(shard: int) -> None:
            writer = await log.fence("router", shard)
            for number in range(15):
                some = [draft("cases", f"{number}", shard), draft("registry", f"{shard}/{number}")]
                await writer.commit([*some, draft("cases", f"{number}", shard)], {})
            await writer.close()

        await asyncio.gather(*(work(shard) for shard in range(SHARDS)))
        registry = values(await committed(log, ("registry", 0), SHARDS * 15))
        for shard in range(SHARDS):
            wanted = [str(number) for number in range(15)]
            assert values(await committed(log, ("cases", shard), 30)) == sorted(wanted * 2, key=int)
            assert [t for t in registry if t.startswith(f"{shard}/")] == [
                f"{shard}/{number}" for number in wanted
            ]

    async def test_closing_leaves_nothing_running_and_may_be_done_twice(self, log: Log) -> None:
        feed = await log.feed()
        await feed.seek({SUBMISSIONS: 0})
        writer = await log.fence("router", 0)
        await writer.commit([draft("cases", "a")], {})
        await log.append([draft("submissions", "b")])
        await fetched(feed, 1)
        await feed.close()
        await writer.close()
        await log.close()
        async with asyncio.timeout(10):
            while asyncio.all_tasks() != {asyncio.current_task()}:
                await asyncio.sleep(0)
        await log.close()


async def committed(log: Log, place: Place, count: int) -> list[Record]:
    """All records, once so many are there: a broker may answer a commit before readers see it."""
    async with asyncio.timeout(_DEADLINE_S):
        while len(found := await all_of(log, place)) < count:
            pass
    return found


async def fetched(feed: Feed, count: int) -> dict[Place, list[str]]:
    """So many records, by partition, as text."""
    found: dict[Place, list[str]] = {}
    async with asyncio.timeout(_DEADLINE_S):
        while sum(map(len, found.values())) < count:
            for place, records in (await feed.fetch(0.5)).items():
                found.setdefault(place, []).extend(values(records))
    return found
