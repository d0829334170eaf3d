"""Rows in PostgreSQL through asyncpg, which is named in this file alone.

One transaction takes the projectors' lock, checks that the positions are those the writer knows,
copies the appended rows, patches the kept ones and moves the positions. So no crash, repetition
or second projector can double a row or leave one out.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from caseway.errors import CasewayError, ConfigError, IntegrityError, Unavailable
from caseway.hosting.log import Place
from caseway.hosting.store import PositionsMoved
from caseway.kernel.projection import Row, Rows, Table

# A server that does not answer for so long is as good as gone; a batch takes milliseconds.
CALL_S = 30.0
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# SQLSTATE classes that no waiting mends: the data does not fit, or contradicts what is there.
_CONTRADICTIONS = ("22", "23")
# All that asyncpg raises; TimeoutError is an OSError.
_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class PostgresStore:
    """The tables of one namespace in a schema of their own.

    `definition` is the SQL that makes them and `version` what raises with it: when either is
    another than the one that made what is there, the tables are dropped and filled anew.
    """

    def __init__(
        self,
        dsn: str,
        definition: str,
        tables: Sequence[Table],
        *,
        version: int = 1,
        schema: str = "caseway",
    ) -> None:
        if not _NAME.fullmatch(schema):
            raise ConfigError(
                f"PostgreSQL schema {schema!r} is not of the form [a-z_][a-z0-9_]*",
                code="config.postgres_schema",
            )
        self._dsn = dsn
        self._schema = schema
        self._definition = definition
        self._names = sorted({table.name for table in tables})
        self._statements = {table: _patch(table) for table in tables if table.guard}
        self._mark = hashlib.sha256(f"{version}\n{definition}".encode()).hexdigest()
        lock = hashlib.sha256(f"caseway/projector/{schema}".encode()).digest()
        self._lock = int.from_bytes(lock[:8], signed=True)
        self._connection: Any = None

    async def open(self) -> Mapping[Place, int]:
        """Connect and return the positions; tables of another version are made anew first."""
        await self.close()
        async with self._guarded("open"):
            self._connection = await asyncpg.connect(
                self._dsn, server_settings={"search_path": self._schema}, timeout=CALL_S
            )
            async with self._locked():
                await self._prepare()
                return await self._positions()

    async def write(
        self, rows: Rows, before: Mapping[Place, int], after: Mapping[Place, int]
    ) -> None:
        """One transaction: lock, check, copy, patch, move the positions."""
        if self._connection is None:
            raise Unavailable("the store is not open")
        async with self._guarded("write"), self._locked():
            found = await self._positions()
            if any(found.get(place, 0) != position for place, position in before.items()):
                raise PositionsMoved("the store is not where this projector left it")
            for table, some in rows.items():
                await self._put(table, some)
            await self._connection.executemany(
                "INSERT INTO positions VALUES ($1, $2, $3) ON CONFLICT (topic, partition) "
                "DO UPDATE SET next_offset = EXCLUDED.next_offset",
                [(topic, number, position) for (topic, number), position in after.items()],
            )

    async def close(self) -> None:
        """Cut the connection; an open transaction is rolled back by the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    # -- in a transaction ---------------------------------------------------------------------

    async def _prepare(self) -> None:
        """Make the tables, or empty them when nobody knows how far they were filled."""
        run = self._connection.execute
        names = ", ".join(self._names)
        await run(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")
        await run("CREATE TABLE IF NOT EXISTS projection (definition text NOT NULL)")
        mark = await self._connection.fetchval("SELECT definition FROM projection")
        if mark != self._mark:
            await run(f"DROP TABLE IF EXISTS positions, {names} CASCADE")
            await run(self._definition)
            await run("DELETE FROM projection")
            await run("INSERT INTO projection VALUES ($1)", self._mark)
        elif not await self._connection.fetchval("SELECT count(*) FROM positions"):
            await run(f"TRUNCATE {names}")

    async def _positions(self) -> dict[Place, int]:
        found = await self._connection.fetch("SELECT topic, partition, next_offset FROM positions")
        return {(row[0], row[1]): row[2] for row in found}

    async def _put(self, table: Table, rows: list[Row]) -> None:
        if not table.guard:
            await self._connection.copy_records_to_table(
                table.name, records=rows, columns=table.columns
            )
            return
        await self._connection.execute(self._statements[table], *zip(*rows, strict=True))

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """A transaction that no other projector's overlaps; the lock ends with it."""
        async with self._connection.transaction():
            await self._connection.execute("SELECT pg_advisory_xact_lock($1)", self._lock)
            yield

    @asynccontextmanager
    async def _guarded(self, what: str) -> AsyncIterator[None]:
        """One deadline on every call; a connection that failed once is never used again."""
        try:
            async with asyncio.timeout(CALL_S):
                yield
        except PositionsMoved:
            raise
        except _FAILURES as error:
            await self.close()
            raise _judged(error, what) from error


def _judged(error: Exception, what: str) -> CasewayError:
    """Doubt, unless waiting mends nothing: then the rows and the database contradict each other."""
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        return ConfigError(f"PostgreSQL: {error}", code="config.postgres_url")
    state = getattr(error, "sqlstate", None) or ""
    text = f"PostgreSQL, {what}: {type(error).__name__} {state}".rstrip()
    # The client refuses a value that fits no column with a ValueError of its own.
    if state[:2] in _CONTRADICTIONS or isinstance(error, ValueError):
        return IntegrityError(
            f"{text}: rows are there that the positions do not know of, or a value does not fit; "
            "truncate table positions to fill all tables anew",
            code="integrity.rows",
        )
    return Unavailable(f"{text}: {error}")


def _patch(table: Table) -> str:
    """One statement for many patches: None leaves a column, and an old patch changes nothing."""
    columns = ", ".join(f'"{column}"' for column in table.columns)
    arrays = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(table.types, start=1))
    key = ", ".join(f'"{column}"' for column in table.key)
    changes = ", ".join(
        f'"{column}" = COALESCE(EXCLUDED."{column}", t."{column}")'
        for column in table.columns[len(table.key) :]
    )
    guard = f't."{table.guard}" IS NULL OR t."{table.guard}" < EXCLUDED."{table.guard}"'
    return (
        f"INSERT INTO {table.name} AS t ({columns}) SELECT * FROM unnest({arrays}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {changes} WHERE {guard}"
    )
