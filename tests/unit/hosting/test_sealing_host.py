"""The sealer's life: takeover in order, a checkpoint per interval, doubt thrown away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from caseway.contracts.audit import CheckpointSealed
from caseway.contracts.codec import Event, decode, encode
from caseway.contracts.envelope import Envelope
from caseway.contracts.record import Draft, Record
from caseway.contracts.shard import ShardCommitted, ShardGenesis
from caseway.contracts.signing import SigningKey
from caseway.contracts.topics import all_topics
from caseway.errors import Fenced, Unavailable
from caseway.hosting import sealing_snapshot
from caseway.hosting.batches import BatchReader
from caseway.hosting.effects import (
    Arrival,
    Backoff,
    Commit,
    Committed,
    Effect,
    Fence,
    RegistryAt,
    Scan,
    Seek,
    Wait,
)
from caseway.hosting.host import Phase
from caseway.hosting.log import Chunk, Place, Writer
from caseway.hosting.memory_log import Failure, MemoryLog
from caseway.hosting.registry_reader import RegistryReader
from caseway.hosting.runner import ShardRunner
from caseway.hosting.sealing_host import SealingShard, sealed_places, sealed_topics
from caseway.kernel.merkle import leaf_hash, root_of
from caseway.kernel.registry import Registry
from caseway_audit.sealing import Sealer, leaf_bytes
from caseway_control.genesis import found as write_genesis

KEY = SigningKey("checkpoint", bytes(range(32)))
GENESIS = ShardGenesis(namespace="demo", generation="g1", shards=2, checkpoint_key=KEY.public_text)
REGISTRY = Registry(namespace="demo", generation="g1", shards=2, position=1)
PLACES = sealed_places(("adjusters",), 2)
CASES: Place = ("cases", 0)


def record(place: Place, offset: int, at_ms: int = 0) -> Record:
    return Record(*place, offset, at_ms, b"c-1", b'{"n":%d}' % offset, ())


class AuditLog:
    """The audit partition, and the driver's part: it answers effects until the shard waits."""

    def __init__(self, genesis: ShardGenesis | None = GENESIS) -> None:
        self.records: list[Record] = []
        self.snapshots: list[Record] = []
        self.positions: Mapping[Place, int] = {}
        self.seen: list[Effect] = []
        self.registry = REGISTRY
        if genesis is not None:
            envelope = Envelope("g", "/demo/control", ShardGenesis.TYPE, 1)
            self.append([encode("audit", 0, Event("audit/0", envelope, genesis))])

    def append(self, drafts: Sequence[Draft]) -> int:
        for d in drafts:
            log = self.records if d.topic == "audit" else self.snapshots
            log.append(Record(d.topic, d.partition, len(log), 5, d.key, d.value, d.headers))
        return len(self.records) - 1

    def answer(self, effect: Effect) -> Any:
        self.seen.append(effect)
        match effect:
            case Scan(place, start):
                log = {("audit", 0): self.records, ("snapshots.audit", 0): self.snapshots}[place]
                some = log[start : start + 3]
                return Chunk(some, start + len(some), start + len(some) >= len(log))
            case RegistryAt():
                return self.registry
            case Commit(drafts, positions):
                self.positions = positions
                return Committed(self.append(drafts), 0, 0)
        return None

    def checkpoints(self) -> list[CheckpointSealed]:
        batches = BatchReader(("audit", 0), is_resumed=False).feed(self.records)
        found = [decode(r, is_sole_writer=True).data for b in batches for r in b.records]
        assert all(isinstance(data, CheckpointSealed) for data in found)
        return found  # type: ignore[return-value]

    def trailers(self) -> list[ShardCommitted]:
        batches = BatchReader(("audit", 0), is_resumed=False).feed(self.records)
        return [batch.trailer for batch in batches]


class Driven:
    """One life of the sealer over a log."""

    def __init__(self, log: AuditLog, key: SigningKey = KEY) -> None:
        self.log = log
        self.shard = SealingShard(Sealer, key, PLACES, interval_ms=1_000, snapshot_checkpoints=4)
        self.life = self.shard.life()
        self.effect: Effect | None = next(self.life)

    def until_wait(self) -> Driven:
        while self.effect is not None and not isinstance(self.effect, Wait | Backoff):
            self._send(self.log.answer(self.effect))
        return self

    def arrive(self, now_ms: int, records: Mapping[Place, Sequence[Record]] | None = None) -> None:
        assert isinstance(self.effect, Wait)
        self._send(Arrival(records or {}, (), now_ms))
        self.until_wait()

    def fail(self, doubt: Unavailable) -> None:
        self.effect = self.life.throw(doubt)

    def _send(self, answer: Any) -> None:
        try:
            self.effect = self.life.send(answer)
        except StopIteration:
            self.effect = None


def test_everything_is_sealed_but_the_audit_log_dead_letters_and_snapshots() -> None:
    everything = {topic.name for topic in all_topics(("adjusters", "medics"))}
    sealed = {topic.name for topic in sealed_topics(("medics", "adjusters"))}
    left = {name for name in everything - sealed if not name.startswith(("dead-", "snapshots."))}
    assert left == {"audit"}
    assert {"registry", "control", "offers.medics"} <= sealed


def test_a_topic_that_is_not_sharded_has_only_partition_zero() -> None:
    places = sealed_places(("adjusters",), 3)
    assert [p for p in places if p[0] in ("control", "registry")] == [
        ("control", 0),
        ("registry", 0),
    ]
    assert [p for p in places if p[0] == "offers.adjusters"] == [
        ("offers.adjusters", n) for n in range(3)
    ]


def test_the_takeover_keeps_its_order() -> None:
    log = AuditLog()
    driven = Driven(log).until_wait()
    kinds = [type(effect) for effect in log.seen]
    assert kinds == [Fence, Scan, Scan, Scan, RegistryAt, Seek]
    assert log.seen[1] == Scan(("snapshots.audit", 0), 0)
    assert driven.shard.phase is Phase.RUNNING
    assert log.seen[-1] == Seek(dict.fromkeys(PLACES, 0))


def test_nothing_is_written_while_nothing_comes() -> None:
    log = AuditLog()
    driven = Driven(log).until_wait()
    for now_ms in (1_000, 5_000, 90_000):
        driven.arrive(now_ms)
    assert log.checkpoints() == []
    assert isinstance(driven.effect, Wait)
    assert driven.effect.until_ms is None


def test_the_first_record_after_a_rest_is_sealed_at_once_and_the_next_in_a_second() -> None:
    log = AuditLog()
    driven = Driven(log).until_wait()
    driven.arrive(50_000, {CASES: [record(CASES, 0)]})
    assert [c.number for c in log.checkpoints()] == [1]
    driven.arrive(50_300, {CASES: [record(CASES, 1, at_ms=50_290)]})
    assert len(log.checkpoints()) == 1
    assert isinstance(driven.effect, Wait)
    assert driven.effect.until_ms == 51_000
    assert driven.shard.oldest_ms == 50_290
    driven.arrive(51_000)
    assert [c.number for c in log.checkpoints()] == [1, 2]
    assert driven.shard.oldest_ms is None


def test_the_trailer_and_the_positions_say_what_is_under_seal() -> None:
    log = AuditLog()
    driven = Driven(log).until_wait()
    place = ("registry", 0)
    some = {CASES: [record(CASES, 0, 7), record(CASES, 4, 9)], place: [record(place, 2, 3)]}
    driven.arrive(50_000, some)
    trailer = log.trailers()[-1]
    assert trailer.positions == {"cases/0": 5, "registry/0": 3}
    assert dict(log.positions) == {CASES: 5, place: 3}
    assert (trailer.sequence, trailer.epoch, trailer.count) == (1, 1, 1)
    assert trailer.greatest_ms == 9
    assert trailer.registry_position == REGISTRY.position


def test_the_next_owner_goes_on_where_the_checkpoints_end() -> None:
    log = AuditLog()
    first = Driven(log).until_wait()
    everything = [record(CASES, n) for n in range(9)]
    for n in range(3):
        first.arrive(50_000 + 1_000 * n, {CASES: everything[2 * n : 2 * n + 2]})
    first.arrive(52_100, {CASES: everything[6:8]})  # never sealed: the owner dies before
    second = Driven(log).until_wait()
    assert second.shard.replayed_events == 3
    seek = log.seen[-1]
    assert isinstance(seek, Seek)
    assert seek.positions[CASES] == 6
    second.arrive(60_000, {CASES: everything[6:]})
    last = log.checkpoints()[-1]
    assert last.number == 4
    assert last.grown[0].root == root_of(leaf_hash(leaf_bytes(r)) for r in everything).hex()
    assert [trailer.epoch for trailer in log.trailers()] == [1, 1, 1, 2]


def test_doubt_throws_the_checkpoint_away_and_the_log_says_what_became_of_it() -> None:
    for was_committed in (False, True):
        log = AuditLog()
        driven = Driven(log).until_wait()
        assert isinstance(driven.effect, Wait)
        driven.effect = driven.life.send(Arrival({CASES: [record(CASES, 0)]}, (), 50_000))
        assert isinstance(driven.effect, Commit)
        if was_committed:
            log.append(driven.effect.drafts)
        driven.fail(Fenced("another owner"))
        assert isinstance(driven.effect, Backoff)
        assert driven.shard.phase is Phase.DOUBTING
        driven._send(None)
        driven.until_wait()
        seek = log.seen[-1]
        assert isinstance(seek, Seek)
        assert seek.positions[CASES] == int(was_committed)
        driven.arrive(60_000, {CASES: [record(CASES, int(was_committed))]})
        assert [c.number for c in log.checkpoints()] == list(range(1, 2 + int(was_committed)))


def many(checkpoints: int) -> AuditLog:
    log = AuditLog()
    driven = Driven(log).until_wait()
    place = ("agent-reports", 1)
    for n in range(checkpoints):
        grown = {CASES: [record(CASES, n, at_ms=n)], place: [record(place, 2 * n)]}
        driven.arrive(50_000 + 1_000 * n, grown)
    return log


def next_owner(log: AuditLog) -> tuple[int, CheckpointSealed, ShardCommitted, Seek]:
    """What the next owner folds, seals and seeks when one more record comes."""
    driven = Driven(log).until_wait()
    seek = log.seen[-1]
    assert isinstance(seek, Seek)
    driven.arrive(90_000, {CASES: [record(CASES, 40, at_ms=40)]})
    return driven.shard.replayed_events, log.checkpoints()[-1], log.trailers()[-1], seek


def test_a_takeover_from_a_snapshot_is_as_one_from_the_whole_log() -> None:
    for count in range(1, 14):
        snapped, whole = many(count), many(count)
        whole.snapshots = []
        folded, *one = next_owner(snapped)
        all_of_it, *other = next_owner(whole)
        assert one == other
        assert all_of_it == count
        assert folded == (count if count < 5 else (count - 5) % 4 + 1)


def test_owners_that_come_and_go_write_snapshots_too() -> None:
    log = AuditLog()
    for n in range(6):
        driven = Driven(log).until_wait()
        driven.arrive(50_000, {CASES: [record(CASES, n)]})
    assert len(log.snapshots) == 3  # the small tree, one head and the marker, once
    assert next_owner(log)[0] == 2


@pytest.mark.parametrize("at", [0, 2, 3])
def test_a_snapshot_that_its_marker_does_not_vouch_for_is_not_used(at: int) -> None:
    damaged, whole = many(7), many(7)
    whole.snapshots = []
    lost = damaged.snapshots.pop(at)
    if at == 0:
        damaged.snapshots.insert(0, lost._replace(value=(lost.value or b"").replace(b"1", b"2")))
    assert next_owner(damaged) == next_owner(whole)


def test_a_snapshot_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    log = many(7)
    monkeypatch.setattr(sealing_snapshot, "STATE_VERSION", 99)
    assert next_owner(log)[0] == 7


def test_without_a_genesis_it_waits() -> None:
    driven = Driven(AuditLog(genesis=None)).until_wait()
    assert isinstance(driven.effect, Backoff)
    assert "caseway init" in driven.effect.reason


def test_a_genesis_that_comes_late_is_waited_for() -> None:
    """A broker beyond a slow link answers the first scan with nothing, which is not the end."""
    log = AuditLog()
    driven = Driven(log)
    while driven.effect != Scan(("audit", 0), 0):
        driven._send(log.answer(driven.effect))
    driven._send(Chunk([], 0, False))
    driven.until_wait()
    assert isinstance(driven.effect, Wait)


def test_another_key_than_that_of_the_genesis_seals_nothing() -> None:
    driven = Driven(AuditLog(), SigningKey("other", bytes(32))).until_wait()
    assert driven.shard.phase is Phase.HALTED
    assert driven.shard.halt_reason.startswith("KEY_MISMATCH")


def test_a_registry_of_another_generation_halts_it() -> None:
    log = AuditLog()
    log.registry = Registry(namespace="demo", generation="g2", position=1)
    driven = Driven(log).until_wait()
    assert driven.shard.phase is Phase.HALTED
    assert driven.shard.halt_reason.startswith("integrity.genesis")


@pytest.mark.parametrize("at", [1, 2])
def test_a_damaged_audit_log_halts_it(at: int) -> None:
    log = AuditLog()
    driven = Driven(log).until_wait()
    driven.arrive(50_000, {CASES: [record(CASES, 0)]})
    damaged = log.records[at]
    value = (damaged.value or b"").replace(b"1", b"2")
    log.records[at] = Record("audit", 0, at, 5, damaged.key, value, damaged.headers)
    again = Driven(log).until_wait()
    assert again.shard.phase is Phase.HALTED
    assert again.shard.halt_reason.startswith("integrity.")


def test_the_registry_moves_on_with_what_the_runner_tells() -> None:
    log = AuditLog()
    driven = Driven(log).until_wait()
    fact = Event("agent/a", Envelope("x", "/demo/intake", "agent.registered", 1), GENESIS)
    moved = Registry(namespace="demo", generation="g1", position=7)
    driven._send(Arrival({}, [(fact, moved)], 50_000))
    assert isinstance(driven.effect, Wait)
    assert driven.effect.registry_position == driven.effect.awaited_position == 7


class Spied(MemoryLog):
    """The model of Kafka, with the fences that were asked of it."""

    def __init__(self) -> None:
        super().__init__(2, lambda: 1_000)
        self.fences: list[tuple[str, int]] = []

    async def fence(self, service: str, shard: int) -> Writer:
        self.fences.append((service, shard))
        return await super().fence(service, shard)


async def sealed_records(log: MemoryLog, wanted: int) -> Sealer:
    """The fold of the audit log, once so many records are under seal."""
    while True:
        batches = BatchReader(("audit", 0), is_resumed=False).feed(log.read(("audit", 0), 0))
        found = [decode(r, is_sole_writer=True).data for b in batches for r in b.records]
        sealer = Sealer.from_checkpoints(c for c in found if isinstance(c, CheckpointSealed))
        if sealer.records >= wanted:
            return sealer
        await asyncio.sleep(0.01)


async def test_a_runner_drives_it_as_shard_zero_alone_through_lost_and_unknown_commits() -> None:
    log = Spied()
    await write_genesis(log, GENESIS)
    log.fences.clear()
    founded = len([place for place in PLACES if log.read(place, 0)])
    runner = ShardRunner(
        "audit",
        lambda _number: SealingShard(Sealer, KEY, PLACES, interval_ms=10),
        log,
        RegistryReader(log),
        lambda: int(time.time() * 1000),
        member="sealer-1",
        only=frozenset({0}),
    )
    task = asyncio.create_task(runner.run())
    try:
        failures: list[Failure | None] = [None, "lost", "unknown", "torn", None]
        for n, failure in enumerate(failures):
            if failure is not None:
                log.fail_next_commit(failure)
            await log.append([Draft("agent-reports", 1, b"c-1", b'{"n":%d}' % n, ())] * 20)
            sealer = await sealed_records(log, founded + 20 * (n + 1))
        assert len(runner.shards) == 1
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    records = log.read(("agent-reports", 1), 0)
    head = sealer.heads["agent-reports", 1]
    assert head.root == root_of(leaf_hash(leaf_bytes(r)) for r in records).hex()
    assert head.size == len(records) == 100
    assert set(log.fences) == {("audit", 0)}
