"""The embedded log at its edges: group commit, its memory, its file, other processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from caseway.contracts import topics
from caseway.contracts.record import Record
from caseway.errors import Fenced, IntegrityError, Unavailable
from caseway.hosting import sqlite_file
from caseway.hosting.log import Log, Place
from caseway.hosting.sqlite_feed import SqliteFeed
from caseway.hosting.sqlite_log import SqliteLog
from tests.conformance.log_edges import SUBMISSIONS, LogEdges, fetched
from tests.conformance.log_suite import CASES, SHARDS, all_of, draft, values

SNAPSHOTS: Place = ("snapshots.router", 0)


class TestSqliteLogEdges(LogEdges):
    @pytest.fixture
    async def log(self, tmp_path: Path) -> AsyncIterator[Log]:
        log = SqliteLog(tmp_path / "caseway.db", SHARDS)
        await log.create_topics(topics.all_topics(("claims",)))
        yield log
        await log.close()


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    made = SqliteLog(tmp_path / "caseway.db", SHARDS)
    await made.create_topics(topics.all_topics(("claims",)))
    yield made
    await made.close()


@asynccontextmanager
async def held(log: SqliteLog) -> AsyncIterator[None]:
    """Hold the writer thread inside a transaction, so that what comes meanwhile is one group."""
    is_held, go_on = threading.Event(), threading.Event()

    def work(_: object) -> None:
        is_held.set()
        go_on.wait(10)

    holding = asyncio.ensure_future(log._commits.do(work))
    while not is_held.is_set():
        await asyncio.sleep(0)
    yield
    await asyncio.sleep(0)  # what was just started puts its work in
    await asyncio.sleep(0)
    go_on.set()
    await holding


async def test_what_waits_is_one_transaction_and_a_fenced_part_is_left_out(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = await log.fence("router", 0)
    owner, other = await log.fence("router", 0), await log.fence("router", 1)
    groups: list[int] = []
    commit = sqlite_file.Session.commit

    def counted(session: sqlite_file.Session) -> list[Record]:
        appended = commit(session)
        groups.append(len(appended))
        return appended

    monkeypatch.setattr(sqlite_file.Session, "commit", counted)
    async with held(log):
        waiting = asyncio.gather(
            stale.commit(
                [draft("cases", "zombie"), draft("registry", "zombie")], {("intake", 0): 9}
            ),
            owner.commit([draft("cases", "owner")], {("intake", 0): 1}),
            other.commit([draft("cases", "other", 1)], {}),
            log.append([draft("submissions", "s")]),
            return_exceptions=True,
        )
    refused, *done = await waiting
    assert isinstance(refused, Fenced)
    assert [offset for offset, _ in done[:2]] == [0, 0]
    assert groups == [0, 3]
    assert values(await all_of(log, CASES)) == ["owner"]
    assert await all_of(log, ("registry", 0)) == []
    assert log.positions("router") == {("intake", 0): 1}


async def test_when_the_file_refuses_nobodys_part_is_in_it(log: SqliteLog, tmp_path: Path) -> None:
    first, second = await log.fence("router", 0), await log.fence("router", 1)
    await first.commit([draft("cases", "before")], {})
    visitor = sqlite_file.connect(tmp_path / "caseway.db")
    visitor.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON records WHEN new.value = CAST('bad' AS BLOB) "
        "BEGIN SELECT raise(ABORT, 'no room'); END"
    )
    async with held(log):
        waiting = asyncio.gather(
            first.commit([draft("cases", "good"), draft("cases", "bad")], {("intake", 0): 1}),
            second.commit([draft("cases", "good", 1)], {}),
            return_exceptions=True,
        )
    failures = await waiting
    assert [type(failure) for failure in failures] == [Unavailable, Unavailable]
    assert "no room" in str(failures[0])
    visitor.close()
    assert values(await all_of(log, CASES)) == ["before"]
    assert await all_of(log, ("cases", 1)) == []
    assert log.positions("router") == {}
    with pytest.raises(Unavailable):
        await first.commit([draft("cases", "again")], {})
    # Nothing of it is remembered either: not its offsets, its records nor its positions.
    owner = await log.fence("router", 0)
    offset, _ = await owner.commit([draft("cases", "after")], {("intake", 0): 1})
    assert offset == 1
    assert values(await all_of(log, CASES)) == ["before", "after"]
    assert log.positions("router") == {("intake", 0): 1}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_fault_on_the_thread_leaves_nobody_waiting(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "caseway.db", SHARDS)
    writer = await log.fence("router", 0)
    async with held(log):
        waiting = asyncio.gather(
            writer.commit([draft("cases", "a")], {}),
            log._commits.do(lambda _: 1 // 0),
            log.append([draft("submissions", "b")]),
            return_exceptions=True,
        )
    async with asyncio.timeout(10):
        assert [type(failure) for failure in await waiting] == [Unavailable] * 3
    with pytest.raises(Unavailable):
        await log.append([draft("submissions", "c")])
    assert await all_of(log, CASES) == []
    await log.close()


async def test_nothing_is_taken_once_the_log_is_closed(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "caseway.db", SHARDS)
    waiting = asyncio.ensure_future(log.append([draft("submissions", "before")]))
    await asyncio.sleep(0)
    await log.close()
    assert [offset for offset, _ in await waiting] == [0]
    with pytest.raises(Unavailable):
        await log.append([draft("submissions", "after")])


async def test_a_commit_between_the_two_reads_of_a_scan_is_no_gap(
    log: SqliteLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record committed after the records were read, and before the end was, must not be lost."""
    visitor = SqliteLog(tmp_path / "caseway.db", SHARDS)
    done: list[object] = []
    for name in ("records", "end"):
        plain = getattr(sqlite_file.Reader, name)

        def raced(self: object, *arguments: object, plain: object = plain) -> object:
            found = plain(self, *arguments)  # type: ignore[operator]
            if not done:
                done.append(None)
                _append_on_a_thread(tmp_path)
            return found

        monkeypatch.setattr(sqlite_file.Reader, name, raced)
    chunk = await log.scan(SUBMISSIONS, 0)
    rest = await log.scan(SUBMISSIONS, chunk.next_offset)
    assert values([*chunk.records, *rest.records]) == ["raced"]
    await visitor.close()


def _append_on_a_thread(directory: Path) -> None:
    async def append() -> None:
        log = SqliteLog(directory / "caseway.db", SHARDS)
        await log.append([draft("submissions", "raced")])
        await log.close()

    thread = threading.Thread(target=lambda: asyncio.run(append()))
    thread.start()
    thread.join(10)


async def test_a_compacted_topic_keeps_the_newest_record_of_each_key(log: SqliteLog) -> None:
    writer = await log.fence("router", 0)
    topic = SNAPSHOTS[0]
    await writer.commit([draft(topic, "a1", key=b"a"), draft(topic, "b1", key=b"b")], {})
    same = [draft(topic, "a2", key=b"a"), draft(topic, "a3", key=b"a"), draft(topic, "n", key=None)]
    await writer.commit(same, {})
    await writer.commit([draft(topic, "", key=b"b", value=None), draft("cases", "c1")], {})
    await writer.commit([draft("cases", "c2")], {})
    assert [(r.offset, r.value) for r in await all_of(log, SNAPSHOTS)] == [
        (3, b"a3"),
        (4, b"n"),
        (5, None),
    ]
    assert values(await all_of(log, CASES)) == ["c1", "c2"]
    assert (await log.bounds(SNAPSHOTS)).first == 3


async def test_positions_go_with_the_commit_and_alone_when_it_has_settled(
    log: SqliteLog, tmp_path: Path
) -> None:
    writer = await log.fence("router", 0)
    await writer.commit([draft("cases", "a")], {("intake", 0): 3, ("intake", 1): 1})
    assert log.positions("router") == {("intake", 0): 3, ("intake", 1): 1}
    assert await writer.settle({("intake", 0): 4})
    assert log.positions("router") == {("intake", 0): 4, ("intake", 1): 1}
    await log.fence("router", 0)
    with pytest.raises(Fenced):
        await writer.settle({("intake", 0): 5})
    assert log.positions("router")["intake", 0] == 4
    assert log.positions("approval") == {}


async def test_a_paused_place_holds_little_and_loses_nothing(log: SqliteLog) -> None:
    feed = await log.feed()
    assert isinstance(feed, SqliteFeed)
    await feed.seek({SUBMISSIONS: 0})
    assert dict(await feed.fetch(0)) == {}
    feed.pause([SUBMISSIONS])
    texts = [str(number) for number in range(6_000)]
    for at in range(0, len(texts), 500):
        await log.append([draft("submissions", text) for text in texts[at : at + 500]])
    assert len(feed._ready[SUBMISSIONS]) < 3_000
    feed.resume([SUBMISSIONS])
    assert await fetched(feed, len(texts)) == {SUBMISSIONS: texts}
    await feed.close()


async def test_no_place_waits_for_ever_behind_a_busier_one(log: SqliteLog) -> None:
    await log.append([draft("agent-reports", str(number)) for number in range(5_000)])
    await log.append([draft("submissions", "s")])
    feed = await log.feed()
    await feed.seek({("agent-reports", 0): 0, SUBMISSIONS: 0})
    first, second = await feed.fetch(5), await feed.fetch(5)
    assert SUBMISSIONS in {*first, *second}
    await feed.close()


async def test_what_others_write_comes_in_its_place_between_our_own(
    log: SqliteLog, tmp_path: Path
) -> None:
    visitor = SqliteLog(tmp_path / "caseway.db", SHARDS)
    feed = await log.feed()
    await feed.seek({SUBMISSIONS: 0})
    texts = [str(number) for number in range(60)]
    for number, text in enumerate(texts):
        await (visitor if number % 3 else log).append([draft("submissions", text)])
    assert await fetched(feed, len(texts)) == {SUBMISSIONS: texts}
    assert [r.offset for r in await all_of(log, SUBMISSIONS)] == list(range(60))
    await visitor.close()


async def test_a_file_opened_again_goes_on_where_it_was(tmp_path: Path) -> None:
    times = iter([50, 40, 60])
    for expected in ([(0, 50)], [(1, 50)], [(2, 60)]):
        log = SqliteLog(tmp_path / "caseway.db", SHARDS, now_ms=lambda: next(times))
        assert await log.append([draft("submissions", "a")]) == expected
        await log.close()


async def test_closing_gives_the_directory_to_the_next_engine(tmp_path: Path) -> None:
    first, second = (SqliteLog(tmp_path / "caseway.db", SHARDS) for _ in range(2))
    await first.fence("router", 0)
    with pytest.raises(Unavailable, match="process id") as refused:
        second.own()
    assert refused.value.code == "ENGINE_RUNNING"
    await second.append([draft("submissions", "a visitor may append")])
    await first.close()
    await second.fence("router", 0)
    await second.close()


async def test_the_records_of_one_key_are_found_by_the_index(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = [draft("submissions", t, key=t[:1].encode()) for t in ("a1", "b1", "a2")]
    await log.append(drafts)
    assert values(log.read(SUBMISSIONS, 0, b"a")) == ["a1", "a2"]
    assert values(log.read(SUBMISSIONS, 1, b"a")) == ["a2"]
    asked: list[str] = []
    rows = sqlite_file.Reader.rows

    def explained(reader: sqlite_file.Reader, sql: str, arguments: Any = ()) -> Any:
        asked.extend(plan[-1] for plan in rows(reader, f"EXPLAIN QUERY PLAN {sql}", arguments))
        return rows(reader, sql, arguments)

    monkeypatch.setattr(sqlite_file.Reader, "rows", explained)
    log.read(SUBMISSIONS, 0, b"a")
    assert asked == [
        "SEARCH records USING INDEX records_by_key (topic=? AND partition=? AND key=? AND offset>?)"
    ]


async def test_every_commit_is_flushed(tmp_path: Path) -> None:
    """A kill cannot show it, only a power cut; so the setting itself is the test."""
    db = sqlite_file.connect(tmp_path / "caseway.db")
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


async def test_a_file_that_is_no_log_is_damage_and_no_outage(tmp_path: Path) -> None:
    (tmp_path / "caseway.db").write_bytes(b"not a database" * 1_000)
    with pytest.raises(IntegrityError, match="damaged"):
        SqliteLog(tmp_path / "caseway.db", SHARDS)


async def test_a_read_that_fails_is_ours_to_tell(log: SqliteLog) -> None:
    log._reader.close()
    with pytest.raises(Unavailable):
        await log.scan(CASES, 0)
    assert issubclass(apsw.ConnectionClosedError, apsw.Error)
