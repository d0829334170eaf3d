"""The file of the embedded log: its tables, how it is read, and one transaction on it.

What `Session` remembers of the file is right until another connection writes; SQLite tells, and
`begin` asks it inside the transaction. A refusal is raised before anything was noted, so a group
of commits needs no savepoints: what is noted is written in a few statements, and flushed once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from caseway.contracts.record import Draft, Headers, Record
from caseway.contracts.topics import Topic
from caseway.errors import CasewayError, Fenced, IntegrityError, Unavailable
from caseway.hosting.log import Place, TopicFacts

# One read: enough to make the statement's own cost vanish, few enough not to hold up the loop.
READ_RECORDS_MAX = 1_000
_BUSY_MS = 5_000
# Instead of its length, of a header without a value.
_NO_VALUE = b"\xff\xff\xff\xff"
# Four times SQLite's own number of pages: commits touch the same pages over and over, and the
# fewer checkpoints write them home, the fewer commits wait for a second flush.
_CHECKPOINT_PAGES = 4_000

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


def connect(path: Path) -> apsw.Connection:
    """A connection that flushes every commit; the tables are there when it returns."""
    try:
        db = apsw.Connection(str(path))
        db.set_busy_timeout(_BUSY_MS)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        db.execute(_SCHEMA)
    except apsw.Error as error:
        raise trouble("open", error) from error
    return db


def forget(path: Path, topics: Sequence[str]) -> None:
    """Delete every record of these derived topics, while nobody else has the file open."""
    marks = ", ".join("?" for _ in topics)
    db = connect(path)
    try:
        db.execute(f"DELETE FROM records WHERE topic IN ({marks})", tuple(topics))
    except apsw.Error as error:
        raise trouble("forget", error) from error
    finally:
        db.close()


def trouble(what: str, error: apsw.Error) -> CasewayError:
    """An error of SQLite in our terms: a damaged file is not a matter of trying again."""
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return IntegrityError(f"{what}: the file of the log is damaged: {error}; restore a backup")
    return Unavailable(f"{what}: the file of the log did not take it: {error}")


class Reader:
    """A connection that only reads; every read sees whole commits."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path)

    def rows(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows at once: a cursor left half read would hold up checkpoints."""
        try:
            return self._db.execute(sql, arguments).fetchall()
        except apsw.Error as error:
            raise trouble("read", error) from error

    def records(self, place: Place, start: int, key: bytes | None = None) -> list[Record]:
        """The next records from `start` on, of one key if given."""
        # Named, because SQLite would rather walk the whole partition in the order of its offsets.
        by_key = ("INDEXED BY records_by_key", "AND key = ?") if key is not None else ("", "")
        sql = (
            f"SELECT * FROM records {by_key[0]} WHERE topic = ? AND partition = ? "
            f"AND offset >= ? {by_key[1]} ORDER BY offset LIMIT {READ_RECORDS_MAX}"
        )
        found = self.rows(sql, (*place, start) if key is None else (*place, start, key))
        return [
            Record(topic, number, offset, at_ms, name, value, unpack(headers))
            for topic, number, offset, at_ms, name, value, headers in found
        ]

    def first(self, place: Place) -> int | None:
        """The first offset kept."""
        sql = "SELECT min(offset) FROM records WHERE topic = ? AND partition = ?"
        (row,) = self.rows(sql, place)
        return None if row[0] is None else int(row[0])

    def end(self, place: Place) -> int:
        """The next offset to be written."""
        rows = self.rows("SELECT next FROM ends WHERE topic = ? AND partition = ?", place)
        return int(rows[0][0]) if rows else 0

    def positions(self, service: str) -> dict[Place, int]:
        """How far a service has read each of its inputs."""
        sql = "SELECT topic, partition, next FROM positions WHERE service = ?"
        return {(topic, number): offset for topic, number, offset in self.rows(sql, (service,))}

    def topics(self) -> dict[str, TopicFacts]:
        """Every topic as it was created."""
        return {
            name: TopicFacts(partitions, retention_ms, bool(is_compacted), True, 1)
            for name, partitions, retention_ms, is_compacted in self.rows("SELECT * FROM topics")
        }

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


class Session:
    """The one connection that writes; between `begin` and `commit` it notes, then writes."""

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        self._db = connect(path)
        self._now_ms = now_ms
        self._version = -1
        self._forget()

    def _forget(self) -> None:
        self._ends: dict[Place, tuple[int, int]] = {}
        self._epochs: dict[tuple[str, int], int] = {}
        self._positions: dict[tuple[str, Place], int] = {}
        self._compacted: frozenset[str] | None = None
        self._clear_notes()

    def _clear_notes(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._moved: set[Place] = set()
        self._read_on: set[tuple[str, Place]] = set()
        self._appended: list[Record] = []

    def is_changed_by_others(self) -> bool:
        """SQLite raises this number for changes that this connection did not make."""
        row = self._db.execute("PRAGMA data_version").fetchone()
        version = int(row[0]) if row else 0
        changed = version != self._version
        if changed:
            self._version = version
            self._forget()
        return changed

    def begin(self) -> bool:
        """Start a transaction; returns whether others changed the file since the last one."""
        self._db.execute("BEGIN IMMEDIATE")
        return self.is_changed_by_others()

    def demand(self, service: str, shard: int, epoch: int) -> None:
        """The guard of a commit; to be called before anything else is done for it.

        Raises:
            Fenced: the shard has another owner.
        """
        if self._epoch(service, shard) != epoch:
            raise Fenced(f"{service}/{shard} has another owner; epoch {epoch} is over")

    def raise_epoch(self, service: str, shard: int) -> int:
        """End the ownership of whoever has the shard."""
        epoch = self._epochs[service, shard] = self._epoch(service, shard) + 1
        self._db.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?, ?)", (service, shard, epoch))
        return epoch

    def append(self, drafts: Sequence[Draft]) -> list[tuple[int, int]]:
        """Give each draft its offset and append time, and note it."""
        now, given = self._now_ms(), []
        for topic, partition, key, value, headers in drafts:
            place = (topic, partition)
            offset, at_ms = self._end(place)
            at_ms = max(at_ms, now)
            self._ends[place] = (offset + 1, at_ms)
            self._moved.add(place)
            self._rows.append((topic, partition, offset, at_ms, key, value, pack(headers)))
            self._appended.append(Record(topic, partition, offset, at_ms, key, value, headers))
            given.append((offset, at_ms))
        return given

    def read_on(self, service: str, positions: Mapping[Place, int]) -> None:
        """Note how far a service has read; what did not move costs nothing."""
        for place, offset in positions.items():
            if self._positions.get((service, place)) != offset:
                self._positions[service, place] = offset
                self._read_on.add((service, place))

    def create(self, topics: Sequence[Topic], shards: int) -> list[str]:
        """Write down the settings of those that are missing."""
        there = {name for (name,) in self._db.execute("SELECT name FROM topics")}
        missing = {topic.name: topic for topic in topics if topic.name not in there}
        self._db.executemany(
            "INSERT INTO topics VALUES (?, ?, ?, ?)",
            [(t.name, t.partitions(shards), t.retention_ms, t.compacted) for t in missing.values()],
        )
        self._compacted = None
        return list(missing)

    def commit(self) -> list[Record]:
        """Write what was noted and flush; returns the records in the order of their offsets."""
        if self._rows:
            self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", self._rows)
            self._db.executemany(
                "INSERT OR REPLACE INTO ends VALUES (?, ?, ?, ?)",
                [(*place, *self._ends[place]) for place in self._moved],
            )
            self._compact()
        if self._read_on:
            self._db.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
                [(s, *place, self._positions[s, place]) for s, place in self._read_on],
            )
        self._db.execute("COMMIT")
        appended = self._appended
        self._clear_notes()
        return appended

    def roll_back(self) -> None:
        """Undo the transaction, and trust nothing remembered."""
        self._forget()
        with contextlib.suppress(apsw.Error):  # there may be none to undo
            self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _compact(self) -> None:
        """Of a compacted topic only the newest record of each key stays."""
        if self._compacted is None:
            rows = self._db.execute("SELECT name FROM topics WHERE is_compacted")
            self._compacted = frozenset(name for (name,) in rows)
        newest = {
            (row[0], row[1], row[4]): row[2] for row in self._rows if row[0] in self._compacted
        }
        if newest:
            self._db.executemany(
                "DELETE FROM records INDEXED BY records_by_key "
                "WHERE topic = ? AND partition = ? AND key = ? AND offset < ?",
                [(*name, offset) for name, offset in newest.items()],
            )

    def _epoch(self, service: str, shard: int) -> int:
        known = self._epochs.get((service, shard))
        if known is None:
            row = self._db.execute(
                "SELECT epoch FROM epochs WHERE service = ? AND shard = ?", (service, shard)
            ).fetchone()
            known = self._epochs[service, shard] = int(row[0]) if row else 0
        return known

    def _end(self, place: Place) -> tuple[int, int]:
        known = self._ends.get(place)
        if known is None:
            row = self._db.execute(
                "SELECT next, at_ms FROM ends WHERE topic = ? AND partition = ?", place
            ).fetchone()
            known = self._ends[place] = row or (0, 0)
        return known


def pack(headers: Headers) -> bytes:
    """Headers as bytes: each name and value with its length before it."""
    parts: list[bytes] = []
    for name, value in headers:
        encoded = name.encode(errors="surrogateescape")
        size = _NO_VALUE if value is None else len(value).to_bytes(4)
        parts += (len(encoded).to_bytes(2), encoded, size, value or b"")
    return b"".join(parts)


def unpack(raw: bytes) -> Headers:
    """What `pack` wrote.

    Example:
        >>> unpack(pack((("ce_id", b"1"), ("ce_id", b""))))
        (('ce_id', b'1'), ('ce_id', b''))
    """
    headers: list[tuple[str, bytes | None]] = []
    at = 0
    while at < len(raw):
        start = at + 2
        middle = start + int.from_bytes(raw[at:start])
        name = raw[start:middle].decode(errors="surrogateescape")
        at = start = middle + 4
        value = None
        if raw[middle:start] != _NO_VALUE:
            at += int.from_bytes(raw[middle:start])
            value = raw[start:at]
        headers.append((name, value))
    return tuple(headers)
