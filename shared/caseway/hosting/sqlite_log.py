"""The embedded log: one SQLite file, one engine process, nothing to install but Python packages.

Group commit: one thread takes every batch that waits, checks each writer's epoch, and commits all
of them in one transaction with one flush (WAL, synchronous=FULL). What was committed is handed to
the readers of this process from memory; only a replay, or a change by another process, reads the
file. Other processes (a command line) may append and read; only one may own shards.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from caseway.contracts.record import Draft, Headers, Record
from caseway.contracts.topics import Topic
from caseway.errors import ContractError, Fenced, Unavailable
from caseway.hosting.log import Bounds, Chunk, Feed, Membership, Place, TopicFacts, Writer

RECORD_BYTES_MAX = 1_047_552  # as on Kafka, so that a case can move to one
_SCAN_RECORDS = 1_000
_BUSY_MS = 5_000
# How soon a change by another process is seen; asking SQLite costs microseconds.
_LOOK_S = 0.005
_CALL_S = 15.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, key BLOB, value BLOB, headers BLOB NOT NULL,
    PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_key ON records (topic, partition, key);
CREATE TABLE IF NOT EXISTS ends (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS topics (
    name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, retention_ms INTEGER NOT NULL,
    is_compacted INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS epochs (
    service TEXT NOT NULL, shard INTEGER NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (service, shard)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (
    service TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (service, topic, partition)) WITHOUT ROWID;
"""


@dataclass(slots=True)
class _Job:
    """Something for the writer thread; `work` runs inside the one transaction of its group."""

    work: Callable[[_Session], Any]
    future: asyncio.Future[Any]


@dataclass(slots=True)
class _Session:
    """The writer thread's view of the file; `ends` is right until another process writes."""

    db: apsw.Connection
    now_ms: Callable[[], int]
    ends: dict[Place, tuple[int, int]] = field(default_factory=dict)
    compacted: set[str] = field(default_factory=set)
    appended: list[Record] = field(default_factory=list)
    data_version: int = -1

    def is_changed_by_others(self) -> bool:
        """SQLite raises this number for changes that this connection did not make."""
        row = self.db.execute("PRAGMA data_version").fetchone()
        version = int(row[0]) if row else 0
        changed = version != self.data_version
        self.data_version = version
        if changed:
            self.ends.clear()
            rows = self.db.execute("SELECT name FROM topics WHERE is_compacted")
            self.compacted = {name for (name,) in rows}
        return changed

    def append(self, drafts: Sequence[Draft]) -> list[tuple[int, int]]:
        """Give each draft its offset and append time, and insert them."""
        now, rows, given = self.now_ms(), [], []
        for draft in drafts:
            place = (draft.topic, draft.partition)
            offset, at_ms = self._end(place)
            at_ms = max(at_ms, now)
            self.ends[place] = (offset + 1, at_ms)
            rows.append((*draft[:2], offset, at_ms, draft.key, draft.value, pack(draft.headers)))
            self.appended.append(
                Record(*draft[:2], offset, at_ms, draft.key, draft.value, draft.headers)
            )
            given.append((offset, at_ms))
            if draft.topic in self.compacted:
                self.db.execute(
                    "DELETE FROM records WHERE topic = ? AND partition = ? AND key = ?",
                    (draft.topic, draft.partition, draft.key),
                )
        self.db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        places = {(draft.topic, draft.partition) for draft in drafts}
        self.db.executemany(
            "INSERT OR REPLACE INTO ends VALUES (?, ?, ?, ?)",
            [(*place, *self.ends[place]) for place in places],
        )
        return given

    def _end(self, place: Place) -> tuple[int, int]:
        known = self.ends.get(place)
        if known is None:
            row = self.db.execute(
                "SELECT next, at_ms FROM ends WHERE topic = ? AND partition = ?", place
            ).fetchone()
            known = self.ends[place] = row or (0, 0)
        return known


class SqliteLog:
    """One namespace in one directory."""

    def __init__(self, path: Path, shards: int, *, now_ms: Callable[[], int] | None = None) -> None:
        self.shards = shards
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._reader = _connect(path)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._feeds: set[SqliteFeed] = set()
        self._lock_file: int | None = None
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._write, args=(ready,), name="sqlite-writer", daemon=True
        )
        self._thread.start()
        ready.wait(_CALL_S)

    # -- writing ------------------------------------------------------------------------------

    async def fence(self, service: str, shard: int) -> Writer:
        """Raise the shard's epoch; this process must be the only engine on the file."""
        self.own()

        def work(session: _Session) -> int:
            session.db.execute(
                "INSERT INTO epochs VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1",
                (service, shard),
            )
            return _epoch(session, service, shard)

        return SqliteWriter(self, service, shard, await self._do(work))

    def own(self) -> None:
        """Take the right to own shards of this file, for as long as this process lives.

        Raises:
            Unavailable: another engine runs on this directory.
        """
        if self._lock_file is not None:
            return
        path = self._path.with_suffix(".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode() or "unknown"
            os.close(descriptor)
            raise Unavailable(
                f"an engine with process id {holder} runs on {self._path.parent}; stop it first",
                code="ENGINE_RUNNING",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._lock_file = descriptor

    async def append(self, drafts: Sequence[Draft]) -> Sequence[tuple[int, int]]:
        """Append to inbound topics; answered after the flush."""
        _check_sizes(drafts)
        given: list[tuple[int, int]] = await self._do(lambda session: session.append(drafts))
        return given

    async def _do(self, work: Callable[[_Session], Any]) -> Any:
        if not self._thread.is_alive():
            raise Unavailable("the log is closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put(_Job(work, future))
        return await future

    def _write(self, ready: threading.Event) -> None:
        session = _Session(_connect(self._path), self._now_ms)
        session.is_changed_by_others()
        ready.set()
        while True:
            try:
                job = self._jobs.get(timeout=_LOOK_S)
            except queue.Empty:
                if session.is_changed_by_others():
                    self._tell(self._changed_by_others)
                continue
            group: list[_Job | None] = [job]
            while not self._jobs.empty():
                group.append(self._jobs.get())
            jobs = [job for job in group if job is not None]
            if jobs:
                self._tell(self._settle, jobs, *self._transact(session, jobs))
            if None in group:
                session.db.close()
                return

    def _transact(
        self, session: _Session, jobs: list[_Job]
    ) -> tuple[list[Any], list[Record], bool]:
        """One transaction for all; a job that fails alone is rolled back alone."""
        session.appended = []
        results: list[Any] = []
        try:
            session.db.execute("BEGIN IMMEDIATE")
            is_foreign = session.is_changed_by_others()
            for job in jobs:
                results.append(_attempt(session, job))
            session.db.execute("COMMIT")
        except apsw.Error as error:
            with contextlib.suppress(apsw.Error):
                session.db.execute("ROLLBACK")
            session.ends.clear()
            failure = Unavailable(f"the file did not take the commit: {error}")
            return [failure] * len(jobs), [], True
        return results, session.appended, is_foreign

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it who would care
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _settle(
        self, jobs: list[_Job], results: list[Any], appended: list[Record], is_foreign: bool
    ) -> None:
        if is_foreign:
            self._changed_by_others()
        by_place: dict[Place, list[Record]] = {}
        for record in appended:
            by_place.setdefault((record.topic, record.partition), []).append(record)
        for feed in self._feeds:
            feed.offer(by_place)
        for job, result in zip(jobs, results, strict=True):
            if job.future.done():
                continue
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)

    def _changed_by_others(self) -> None:
        for feed in self._feeds:
            feed.look()

    # -- reading ------------------------------------------------------------------------------

    async def scan(self, place: Place, start: int) -> Chunk:
        """Up to a thousand records from `start` on."""
        records = self.read(place, start)
        next_offset = records[-1].offset + 1 if records else start
        end = await self.end(place)
        if len(records) < _SCAN_RECORDS:
            next_offset = max(next_offset, end)
        await asyncio.sleep(0)
        return Chunk(records, next_offset, next_offset >= end)

    def read(self, place: Place, start: int, key: bytes | None = None) -> list[Record]:
        """Records from `start` on, of one key if given, straight from the file."""
        sql = "SELECT * FROM records WHERE topic = ? AND partition = ? AND offset >= ?"
        arguments: list[Any] = [*place, start]
        if key is not None:
            sql += " AND key = ?"
            arguments.append(key)
        rows = self._reader.execute(f"{sql} ORDER BY offset LIMIT {_SCAN_RECORDS}", arguments)
        return [
            Record(topic, number, offset, at_ms, key, value, unpack(headers))
            for topic, number, offset, at_ms, key, value, headers in rows
        ]

    async def bounds(self, place: Place) -> Bounds:
        """First kept and next offset."""
        row = self._reader.execute(
            "SELECT min(offset) FROM records WHERE topic = ? AND partition = ?", place
        ).fetchone()
        end = await self.end(place)
        return Bounds(row[0] if row and row[0] is not None else end, end)

    async def end(self, place: Place) -> int:
        """The next offset."""
        row = self._reader.execute(
            "SELECT next FROM ends WHERE topic = ? AND partition = ?", place
        ).fetchone()
        return int(row[0]) if row else 0

    async def feed(self) -> Feed:
        """A reader fed from memory where it keeps up, from the file where it does not."""
        feed = SqliteFeed(self)
        self._feeds.add(feed)
        return feed

    def forget(self, feed: SqliteFeed) -> None:
        """A feed was closed."""
        self._feeds.discard(feed)

    async def join(self, service: str, member: str) -> Membership:
        """All shards belong to the one engine process."""
        return OneMember(frozenset(range(self.shards)))

    # -- provisioning -------------------------------------------------------------------------

    async def create_topics(self, topics: Sequence[Topic]) -> Sequence[str]:
        """Note the settings of those that are missing."""

        def work(session: _Session) -> list[str]:
            there = {name for (name,) in session.db.execute("SELECT name FROM topics")}
            missing = [topic for topic in topics if topic.name not in there]
            session.db.executemany(
                "INSERT INTO topics VALUES (?, ?, ?, ?)",
                [(t.name, t.partitions(self.shards), t.retention_ms, t.compacted) for t in missing],
            )
            session.compacted |= {t.name for t in missing if t.compacted}
            return [topic.name for topic in missing]

        names: list[str] = await self._do(work)
        return names

    async def describe(self, topics: Sequence[Topic]) -> Mapping[str, TopicFacts]:
        """What the file says of these topics."""
        wanted = {topic.name for topic in topics}
        rows = self._reader.execute("SELECT * FROM topics")
        return {
            name: TopicFacts(partitions, retention_ms, bool(is_compacted), True, 1)
            for name, partitions, retention_ms, is_compacted in rows
            if name in wanted
        }

    async def close(self) -> None:
        """Finish what waits, then close the file and give up the engine's lock."""
        if self._thread.is_alive():
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join, _CALL_S)
        self._reader.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


class SqliteWriter:
    """The right to write one shard, until its epoch is raised."""

    def __init__(self, log: SqliteLog, service: str, shard: int, epoch: int) -> None:
        self._log = log
        self._service, self._shard, self._epoch = service, shard, epoch

    async def commit(self, drafts: Sequence[Draft], positions: Mapping[Place, int]) -> int:
        """Append if the epoch still is ours; positions go along, they cost nothing here."""
        _check_sizes(drafts)

        def work(session: _Session) -> int:
            if _epoch(session, self._service, self._shard) != self._epoch:
                raise Fenced(f"{self._service}/{self._shard} has another owner")
            session.db.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
                [(self._service, *place, offset) for place, offset in positions.items()],
            )
            return session.append(drafts)[-1][0]

        offset: int = await self._log._do(work)
        return offset

    async def hint(self, positions: Mapping[Place, int]) -> None:
        """Nothing: they went along with the commit."""

    async def close(self) -> None:
        """Nothing is held."""


class SqliteFeed:
    """Committed records of many partitions."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self._next: dict[Place, int] = {}
        self._ready: dict[Place, list[Record]] = {}
        self._behind: set[Place] = set()
        self._paused: set[Place] = set()
        self._woken = asyncio.Event()

    def offer(self, by_place: Mapping[Place, list[Record]]) -> None:
        """Take what was just committed, if it follows what we have."""
        for place, records in by_place.items():
            expected = self._next.get(place)
            if expected is None:
                continue
            if records[0].offset == expected and place not in self._behind:
                self._ready.setdefault(place, []).extend(records)
                self._next[place] = records[-1].offset + 1
            else:
                self._behind.add(place)
            self._woken.set()

    def look(self) -> None:
        """Another process wrote: read from the file."""
        self._behind |= set(self._next)
        self._woken.set()

    async def seek(self, positions: Mapping[Place, int]) -> None:
        """Read these from there on."""
        for place, offset in positions.items():
            self._next[place] = offset
            self._ready.pop(place, None)
            self._paused.discard(place)
            self._behind.add(place)
        self._woken.set()

    async def drop(self, places: Iterable[Place]) -> None:
        """Forget these."""
        for place in places:
            self._next.pop(place, None)
            self._ready.pop(place, None)
            self._behind.discard(place)
            self._paused.discard(place)

    def pause(self, places: Iterable[Place]) -> None:
        """Hand nothing out for these."""
        self._paused |= set(places) & set(self._next)

    def resume(self, places: Iterable[Place]) -> None:
        """Hand out again."""
        self._paused -= set(places)
        self._woken.set()

    async def fetch(self, timeout_s: float) -> Mapping[Place, Sequence[Record]]:
        """What is there, or what comes within the timeout."""
        found = self._take()
        if not found:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while not found:
                        self._woken.clear()
                        await self._woken.wait()
                        found = self._take()
        return found

    def _take(self) -> dict[Place, Sequence[Record]]:
        for place in sorted(self._behind - self._paused):
            records = self._log.read(place, self._next[place])
            if records:
                self._ready.setdefault(place, []).extend(records)
                self._next[place] = records[-1].offset + 1
            if len(records) < _SCAN_RECORDS:
                self._behind.discard(place)
        found: dict[Place, Sequence[Record]] = {}
        for place in [p for p in self._ready if p not in self._paused]:
            found[place] = self._ready.pop(place)
        return found

    async def close(self) -> None:
        """Stop reading."""
        self._log.forget(self)


class OneMember:
    """The membership of the only process there is."""

    def __init__(self, shards: frozenset[int]) -> None:
        self._shards: frozenset[int] | None = shards

    async def changes(self) -> frozenset[int]:
        """All shards at once, and then never a change."""
        shards, self._shards = self._shards, None
        if shards is None:
            await asyncio.Event().wait()
        assert shards is not None
        return shards

    async def close(self) -> None:
        """Nothing to leave."""


def pack(headers: Headers) -> bytes:
    """Headers as bytes: each name and value with its length before it."""
    parts: list[bytes] = []
    for name, value in headers:
        encoded = name.encode()
        parts += (len(encoded).to_bytes(2, "big"), encoded, len(value).to_bytes(4, "big"), value)
    return b"".join(parts)


def unpack(raw: bytes) -> Headers:
    """What `pack` wrote.

    Example:
        >>> unpack(pack((("ce_id", b"1"), ("ce_id", b""))))
        (('ce_id', b'1'), ('ce_id', b''))
    """
    headers, at = [], 0
    while at < len(raw):
        start = at + 2
        middle = start + int.from_bytes(raw[at:start], "big")
        name = raw[start:middle].decode()
        start = middle + 4
        at = start + int.from_bytes(raw[middle:start], "big")
        headers.append((name, raw[start:at]))
    return tuple(headers)


def _attempt(session: _Session, job: _Job) -> Any:
    """One job behind its own savepoint."""
    length, ends = len(session.appended), dict(session.ends)
    session.db.execute("SAVEPOINT job")
    try:
        result = job.work(session)
    except (Fenced, ContractError) as refusal:
        session.db.execute("ROLLBACK TO job")
        session.ends = ends
        del session.appended[length:]
        result = refusal
    session.db.execute("RELEASE job")
    return result


def _epoch(session: _Session, service: str, shard: int) -> int:
    row = session.db.execute(
        "SELECT epoch FROM epochs WHERE service = ? AND shard = ?", (service, shard)
    ).fetchone()
    return int(row[0]) if row else 0


def _check_sizes(drafts: Sequence[Draft]) -> None:
    for draft in drafts:
        if draft.is_beyond(RECORD_BYTES_MAX):
            raise ContractError(
                f"a record for {draft.topic} has {draft.size_bytes} bytes; at most "
                f"{RECORD_BYTES_MAX}: store large evidence and send a reference",
                code="RECORD_TOO_LARGE",
            )


def _connect(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path))
    db.set_busy_timeout(_BUSY_MS)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(_SCHEMA)
    return db
