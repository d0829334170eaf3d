"""The projector on a real PostgreSQL: exactly once, through kills, restarts and truncation."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import caseway.hosting.projector as projecting
from caseway.contracts import case, decision
from caseway.contracts.audit import CheckpointSealed
from caseway.contracts.codec import Event, encode
from caseway.contracts.envelope import Envelope
from caseway.contracts.fields import Contract, Pin
from caseway.contracts.money import Money
from caseway.contracts.record import Draft, instant_of
from caseway.contracts.shard import ShardCommitted
from caseway.errors import ConfigError, IntegrityError, Unavailable
from caseway.hosting.batches import batch_digest
from caseway.hosting.log import Place
from caseway.hosting.memory_log import MemoryLog
from caseway.hosting.postgres_store import PostgresStore
from caseway.hosting.projector import Projector, log_places
from caseway.hosting.store import PositionsMoved
from caseway.kernel.projection import Rows
from caseway_audit.rows import EVENTS, ROWS_VERSION, TABLES, rows_of
from caseway_control.local_postgres import LocalPostgres

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

SCHEMA = resources.files("caseway_audit").joinpath("schema.sql").read_text(encoding="utf-8")
PIN = Pin(name="insurance-claim", version=1, digest="ab" * 32)
USD = Money(amount="75000.10", currency="USD")
GATE = {"gate_id": "settle-1", "revision": 1, "digest": "cd" * 32}
ORDER = {
    "events": 'topic, partition, "offset"',
    "cases": "case_id",
    "gates": "case_id, gate_id, revision",
    "checkpoints": "number",
    "positions": "topic, partition",
}

# The server ends its own session after the rows are in and before the positions are.
KILL = """
CREATE FUNCTION kill() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
CREATE TRIGGER killing BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION kill();
"""


class Writers:
    """Every log of a namespace, written batch by batch as hosts do."""

    def __init__(self) -> None:
        self.log = MemoryLog(2, lambda: 1_700_000_000_000)
        self._sequences: dict[Place, int] = {}
        self._counts: dict[tuple[str, str], int] = {}

    async def commit(self, place: Place, *events: tuple[str, Contract]) -> None:
        topic, number = place
        own = [self._draft(place, key, data) for key, data in events]
        sequence = self._sequences[place] = self._sequences.get(place, 0) + 1
        trailer = ShardCommitted(
            sequence=sequence,
            epoch=1,
            count=len(own),
            digest=batch_digest(own),
            positions={},
            registry_position=0,
            greatest_ms=0,
        )
        writer = await self.log.fence(topic, number)
        await writer.commit([*own, self._draft(place, f"{topic}/{number}", trailer)], {})

    def _draft(self, place: Place, key: str, data: Contract) -> Draft:
        count = self._counts[place[0], key] = self._counts.get((place[0], key), 0) + 1
        kind, version = data.TYPE, data.VERSION  # type: ignore[attr-defined]
        time = "2026-11-21T09:00:00.000Z"
        envelope = Envelope("e", "/demo/x", kind, version, time=time, sequence=count)
        return encode(*place, Event(key, envelope, data))

    async def a_case(self, n: int) -> None:
        """One case from its opening to its end, over two logs."""
        key, shard = f"c-{n}", n % 2
        opened = case.CaseOpened(
            definition=PIN, title=f"Case {n}\x00", source="portal", requester="ann", facts={"n": n}
        )
        asked = case.GateRequested(
            **GATE,
            phase="settlement",
            matrix="insurance",
            amount=USD,
            flags=(),
            material={},
            shows={},
            preparers=(),
            requester="ann",
        )
        opens = decision.GateOpened(
            **GATE,
            matrix=PIN,
            row="large",
            cells=(),
            roles=("claims-manager",),
            rungs=(),
            sla="48h",
            due_at=instant_of(0),
            preparers=(),
            requester="ann",
        )
        decided = decision.GateDecided(
            **GATE,
            choice=decision.Choice.APPROVE,
            by=("person:eve",),
            roles=("claims-manager",),
            level=0,
            reason="covered",
            row="large",
            matrix=PIN,
        )
        consumed = case.GateConsumed(
            **GATE, choice=decision.Choice.APPROVE, by=("person:eve",), reason="covered"
        )
        entered = case.PhaseEntered(phase="settlement", round=1)
        await self.commit(("cases", shard), (key, opened), (key, entered), (key, asked))
        await self.commit(("approvals", shard), (key, opens))
        await self.commit(("approvals", shard), (key, decided))
        closed = case.CaseClosed(outcome="paid")
        await self.commit(("cases", shard), (key, consumed), (key, closed))
        sealed = CheckpointSealed(number=n + 1, grown=(), frontier=(), note=f"note {n}\n")
        await self.commit(("audit", 0), ("audit/0", sealed))

    async def cases(self, count: int, start: int = 0) -> Writers:
        for n in range(start, start + count):
            await self.a_case(n)
        return self


class Deaf(PostgresStore):
    """A store whose answers are lost after the transaction is committed."""

    lose_answers = 0

    async def write(
        self, rows: Rows, before: Mapping[Place, int], after: Mapping[Place, int]
    ) -> None:
        await super().write(rows, before, after)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unavailable("committed, but the answer was lost")


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    with LocalPostgres() as server:
        yield server


@pytest.fixture
def schema() -> str:
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def _small_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many transactions, so that there are many places to fail between."""
    monkeypatch.setattr(projecting, "WRITE_EVENTS", 3)


def store(server: LocalPostgres, schema: str, **options: Any) -> Deaf:
    return Deaf(server.dsn, SCHEMA, TABLES, schema=schema, **{"version": ROWS_VERSION} | options)


async def rows(server: LocalPostgres, schema: str) -> dict[str, list[tuple[Any, ...]]]:
    connection = await asyncpg.connect(server.dsn, server_settings={"search_path": schema})
    try:
        found = {}
        for table, order in ORDER.items():
            some = await connection.fetch(f"SELECT * FROM {table} ORDER BY {order}")
            found[table] = [tuple(row) for row in some]
        return found
    finally:
        await connection.close()


async def execute(server: LocalPostgres, schema: str, statement: str) -> None:
    connection = await asyncpg.connect(server.dsn, server_settings={"search_path": schema})
    await connection.execute(statement)
    await connection.close()


@contextlib.asynccontextmanager
async def running(log: MemoryLog, target: PostgresStore) -> AsyncIterator[Projector]:
    projector = Projector(log, target, rows_of)
    task = asyncio.create_task(projector.run())
    try:
        yield projector
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


async def caught_up(log: MemoryLog, projector: Projector) -> None:
    ends = {place: log.read(place, 0)[-1].offset + 1 for place in written(log)}
    await until(lambda: ends.items() <= projector.positions.items())


def written(log: MemoryLog) -> list[Place]:
    return [place for place in log_places(log.shards) if log.read(place, 0)]


async def project(log: MemoryLog, target: PostgresStore) -> Projector:
    async with running(log, target) as projector:
        await caught_up(log, projector)
    return projector


async def test_every_event_case_gate_and_checkpoint_is_there_once(
    postgres: LocalPostgres, schema: str
) -> None:
    writers = await Writers().cases(5)
    projector = await project(writers.log, store(postgres, schema))
    found = await rows(postgres, schema)
    assert projector.events_written == len(found["events"]) == 5 * 8
    assert [len(found[table]) for table in ("cases", "gates", "checkpoints")] == [5, 5, 5]
    connection = await asyncpg.connect(postgres.dsn, server_settings={"search_path": schema})
    one = await connection.fetchrow("SELECT * FROM cases WHERE case_id = 'c-3'")
    assert (one["status"], one["phase"], one["outcome"]) == ("closed", "settlement", "paid")
    assert (one["amount"], one["currency"], one["title"]) == ("75000.10", "USD", "Case 3\ufffd")
    gate = await connection.fetchrow("SELECT * FROM gates WHERE case_id = 'c-3'")
    assert gate["decided"] is True
    assert (gate["by"], gate["choice"], gate["level"]) == ('["person:eve"]', "approve", 0)
    assert None not in (gate["requested_at"], gate["opened_at"], gate["consumed_at"])
    asked = "SELECT data->'facts'->>'n' FROM events WHERE case_id = 'c-3' AND type = 'case.opened'"
    assert await connection.fetchval(asked) == "3"
    await connection.close()


async def test_it_goes_on_from_its_positions_and_reads_nothing_twice(
    postgres: LocalPostgres, schema: str
) -> None:
    writers = await Writers().cases(3)
    await project(writers.log, store(postgres, schema))
    await writers.cases(2, start=3)
    second = await project(writers.log, store(postgres, schema))
    assert second.events_written == 2 * 8
    assert len((await rows(postgres, schema))["events"]) == 5 * 8


async def test_a_kill_between_rows_and_positions_leaves_nothing_of_the_batch(
    postgres: LocalPostgres, schema: str
) -> None:
    writers = await Writers().cases(4)
    target = store(postgres, schema)
    await target.open()
    await execute(postgres, schema, KILL)
    async with running(writers.log, target) as projector:
        await until(lambda: projector.failures >= 2)
        found = await rows(postgres, schema)
        assert all(not found[table] for table in ORDER)
        await execute(postgres, schema, "DROP TRIGGER killing ON positions")
        await caught_up(writers.log, projector)
    await project(writers.log, store(postgres, f"{schema}b"))
    assert await rows(postgres, schema) == await rows(postgres, f"{schema}b")


async def test_a_lost_answer_doubles_nothing(postgres: LocalPostgres, schema: str) -> None:
    writers = await Writers().cases(4)
    deaf = store(postgres, schema)
    deaf.lose_answers = 3
    await project(writers.log, deaf)
    assert len((await rows(postgres, schema))["events"]) == 4 * 8


async def test_the_same_rows_twice_are_refused_and_old_patches_change_nothing(
    postgres: LocalPostgres, schema: str
) -> None:
    target = store(postgres, schema)
    await target.open()
    place = ("cases", 0)
    table = next(t for t in TABLES if t.name == "cases")
    new = {table: [table.row(case_id="c-1", phase="b", partition=0, updated_offset=7)]}
    old = {table: [table.row(case_id="c-1", phase="a", partition=0, updated_offset=5)]}
    await target.write(new, {place: 0}, {place: 8})
    with pytest.raises(PositionsMoved):
        await target.write(new, {place: 0}, {place: 8})
    await target.write(old, {place: 8}, {place: 9})
    await target.close()
    assert [row[5] for row in (await rows(postgres, schema))["cases"]] == ["b"]


async def test_two_projectors_never_double(postgres: LocalPostgres, schema: str) -> None:
    writers = await Writers().cases(10)
    one, two = store(postgres, schema), store(postgres, schema)
    async with running(writers.log, one) as a, running(writers.log, two) as b:
        await asyncio.gather(caught_up(writers.log, a), caught_up(writers.log, b))
        await writers.cases(10, start=10)
        await asyncio.gather(caught_up(writers.log, a), caught_up(writers.log, b))
    assert a.events_written + b.events_written == 20 * 8
    assert len((await rows(postgres, schema))["events"]) == 20 * 8


async def test_truncating_is_rebuilding_also_while_it_runs(
    postgres: LocalPostgres, schema: str
) -> None:
    writers = await Writers().cases(4)
    everything = "TRUNCATE positions, events, cases, gates, checkpoints"
    async with running(writers.log, store(postgres, schema)) as projector:
        await caught_up(writers.log, projector)
        before = await rows(postgres, schema)
        for statement in (everything, "TRUNCATE positions"):
            await execute(postgres, schema, statement)
            await writers.cases(1, start=int(projector.failures) + 100)
            await caught_up(writers.log, projector)
            found = await rows(postgres, schema)
            assert len(found["events"]) > len(before["events"])
    await project(writers.log, store(postgres, f"{schema}b"))
    assert await rows(postgres, schema) == await rows(postgres, f"{schema}b")


async def test_a_restored_old_copy_catches_up_without_a_gap(
    postgres: LocalPostgres, schema: str
) -> None:
    writers = await Writers().cases(3)
    await project(writers.log, store(postgres, schema))
    copy = [f"CREATE SCHEMA {schema}b"]
    copy += [f"CREATE TABLE {schema}b.{t} AS TABLE {schema}.{t}" for t in ORDER]
    await execute(postgres, schema, ";".join(copy))
    async with running(writers.log, store(postgres, schema)) as projector:
        await writers.cases(3, start=3)
        await caught_up(writers.log, projector)
        names = ", ".join(ORDER)
        back = [f"TRUNCATE {names}"]
        for table in ORDER:
            listed = "SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)"
            connection = await asyncpg.connect(postgres.dsn)
            columns = await connection.fetchval(
                f"{listed} FROM information_schema.columns WHERE table_schema = $1 "
                "AND table_name = $2 AND is_generated = 'NEVER'",
                schema,
                table,
            )
            await connection.close()
            back.append(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {schema}b.{table}")
        await execute(postgres, schema, ";".join(back))
        await writers.cases(1, start=6)
        await caught_up(writers.log, projector)
        assert len((await rows(postgres, schema))["events"]) == 7 * 8
    await project(writers.log, store(postgres, f"{schema}c"))
    assert await rows(postgres, schema) == await rows(postgres, f"{schema}c")


async def test_another_version_of_the_rows_begins_anew(
    postgres: LocalPostgres, schema: str
) -> None:
    writers = await Writers().cases(2)
    await project(writers.log, store(postgres, schema))
    await execute(postgres, schema, "UPDATE events SET actor = 'old release'")
    again = await project(writers.log, store(postgres, schema, version=ROWS_VERSION + 1))
    assert again.events_written == 2 * 8
    assert "old release" not in str((await rows(postgres, schema))["events"])


async def test_rows_that_no_position_knows_of_stop_it_for_a_person(
    postgres: LocalPostgres, schema: str
) -> None:
    writers = await Writers().cases(2)
    await project(writers.log, store(postgres, schema))
    await execute(postgres, schema, "DELETE FROM positions WHERE topic = 'cases'")
    with pytest.raises(IntegrityError, match="truncate table positions"):
        await asyncio.wait_for(Projector(writers.log, store(postgres, schema), rows_of).run(), 20)


async def test_a_torn_batch_is_not_projected(postgres: LocalPostgres, schema: str) -> None:
    writers = await Writers().cases(1)
    writers.log.fail_next_commit("torn")
    with pytest.raises(Unavailable):
        await writers.commit(("cases", 1), ("c-9", case.CaseClosed(outcome="paid")))
    await writers.commit(("cases", 0), ("c-8", case.CaseClosed(outcome="paid")))
    async with running(writers.log, store(postgres, schema)) as projector:
        place = ("cases", 0)
        end = writers.log.read(place, 0)[-1].offset + 1
        await until(lambda: projector.positions.get(place) == end)
    assert {row[0] for row in (await rows(postgres, schema))["cases"]} == {"c-0", "c-8"}


async def test_a_server_that_stops_and_starts_is_waited_for(
    postgres: LocalPostgres, schema: str
) -> None:
    writers = await Writers().cases(3)
    async with running(writers.log, store(postgres, schema)) as projector:
        await caught_up(writers.log, projector)
        await asyncio.to_thread(postgres.stop)
        await writers.cases(3, start=3)
        await until(lambda: projector.failures >= 2)
        assert "PostgreSQL" in projector.reason
        assert projector.oldest_ms == 1_700_000_000_000
        await asyncio.to_thread(postgres.start)
        await caught_up(writers.log, projector)
        assert (projector.failures, projector.reason) == (0, "")
        await until(lambda: projector.oldest_ms is None)
    assert len((await rows(postgres, schema))["events"]) == 6 * 8


def test_a_name_that_is_no_schema_is_refused_before_any_connection() -> None:
    with pytest.raises(ConfigError):
        PostgresStore("postgresql://nowhere/", SCHEMA, TABLES, schema="a; DROP TABLE events")
    assert EVENTS in TABLES


async def test_a_url_that_names_no_server_is_refused() -> None:
    with pytest.raises(ConfigError):
        await PostgresStore("nonsense://x", SCHEMA, TABLES).open()
    with pytest.raises(Unavailable):
        await PostgresStore("postgresql://127.0.0.1:1/x", SCHEMA, TABLES).open()


def test_a_killed_owner_takes_its_server_along(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from caseway_control.local_postgres import LocalPostgres\n"
        "server = LocalPostgres(Path(sys.argv[1])); server.start()\n"
        "print('up', flush=True); time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    pid_file = tmp_path / "data" / "postmaster.pid"
    assert pid_file.exists()
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 20
    while pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not pid_file.exists()


def test_a_server_of_someone_else_is_neither_started_nor_stopped(tmp_path: Path) -> None:
    with LocalPostgres(tmp_path, url="postgresql://elsewhere/db") as server:
        assert server.dsn == "postgresql://elsewhere/db"
        assert list(tmp_path.iterdir()) == []
