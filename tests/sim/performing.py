"""Performs the effects of one shard on the simulated bus, as a runner does on a real log.

What an effect answers, and how a commit may end, is here; when it is performed, and what goes
wrong between two of them, is the owner's (`owner.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from caseway.errors import Fenced
from caseway.hosting.effects import (
    Arrival,
    Barrier,
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
from caseway.hosting.log import Chunk

if TYPE_CHECKING:
    from tests.sim.world import Place, World

COMMIT_FAILURES = ("lost", "unknown", "torn", "open")
# What a transaction may stay open for before the broker aborts it.
_TRANSACTION_MS = 10_000


class NotYet(Exception):
    """The answer has to wait for another transaction to end."""


class Performer:
    """The hands of one incarnation of one shard: its reads, its writer and its clock."""

    effect: Effect

    def __init__(self, world: World, service: str, number: int, name: str) -> None:
        self.world, self.service, self.number, self.name = world, service, number, name
        self.shard = world.make_shard(service, number)
        # A steady clock counts from anywhere.
        self._origin_ms = world.chance.stream("steady clock").randrange(10**12)
        self.known = 0  # how many registry entries this process has read
        self.next: dict[Place, int] = {}
        self.fresh: dict[Place, None] = {}
        self.is_killed = False  # it died with its transaction open
        self._epoch = 0

    def now_ms(self) -> int:
        """What the steady clock of this process says."""
        return self.world.now_ms - self._origin_ms

    def has_something(self, wait: Wait) -> bool:
        """Whether a wait has an answer now."""
        return bool(
            not wait.is_idle
            or wait.awaited_position > wait.registry_position
            or (wait.until_ms is not None and wait.until_ms <= self.now_ms())
            or any(place not in wait.full for place in self.fresh)
            or self.position() > wait.registry_position
        )

    def position(self) -> int:
        """How far this process has read the registry."""
        return self.world.registry[self.known - 1][1].position if self.known else 0

    def perform(self, effect: Effect) -> Any:
        """The answer of an effect.

        Raises:
            NotYet: ask again when another transaction has ended.
            Unavailable: the outcome is unknown, or another owns the shard.
        """
        world = self.world
        match effect:
            case Wait():
                return self._wait(effect)
            case Commit():
                return self._commit(effect)
            case Barrier():
                return self._read_registry(world.broker.end(("registry", 0)))
            case Scan(place, start):
                return self._scan(place, start)
            case RegistryAt(position):
                self._read_registry(position)
                return next(
                    (v for _, v in reversed(world.registry) if v.position <= max(position, 1)),
                    world.registry[0][1],
                )
            case Fence():
                self._fence()
            case Seek(positions):
                self.drop_reads()
                self._count_snapshot()
                self.next = dict(positions)
                for place, start in self.next.items():
                    world.readers[place].append(self)
                    if world.broker.stable_end(place) > start:
                        self.fresh[place] = None
        return None

    def _read_registry(self, end: int) -> int:
        """Read on to the end; a transaction that is open there is waited for."""
        if self.world.broker.stable_end(("registry", 0)) < end:
            self.world.counts["barrier waited for a transaction"] += 1
            raise NotYet
        self.known = len(self.world.registry)
        return self.world.registry[-1][1].position

    def _fence(self) -> None:
        world, key = self.world, (self.service, self.number)
        others = [o for o in world.owners if (o.service, o.number) == key and o is not self]
        if any(isinstance(other.effect, Commit) for other in others):
            world.counts["takeover in mid-transaction"] += 1
        if others and any(o.shard.phase is Phase.RUNNING for o in others):
            world.counts["takeover from a live owner"] += 1
        if world.broker.has_open(*key):
            # The end of it was under way when the new owner came, or it was not.
            is_commit = world.chance.stream("late end").random() < 0.5
            world.counts["late commit" if is_commit else "late abort"] += 1
            world.broker.end_open(*key, is_commit=is_commit)
        world.counts["takeovers"] += 1
        self._epoch = world.broker.fence(*key)

    def _scan(self, place: Place, start: int) -> Chunk:
        world = self.world
        chunk = world.broker.scan(place, start, world.plan.scan_records)
        if chunk.records and world.faults.strikes("slow scan"):
            return Chunk([], start, False)
        if not place[0].startswith("snapshots."):
            return chunk
        records = list(chunk.records)
        if records and start == 0 and world.faults.strikes("snapshot lost"):
            del records[world.faults.choose("snapshot lost", len(records))]
            return Chunk(records, chunk.next_offset, chunk.is_end)
        return chunk

    def _count_snapshot(self) -> None:
        shard: Any = self.shard
        writer = getattr(shard, "_snapshots", None)
        if (writer.round if writer is not None else shard._round) > 0:
            self.world.counts["snapshot used"] += 1

    def _wait(self, wait: Wait) -> Arrival:
        world = self.world
        if wait.awaited_position > wait.registry_position:
            self._read_registry(wait.awaited_position)
        found = {}
        for place in [place for place in self.fresh if place not in wait.full]:
            records = world.broker.read(place, self.next[place])
            if len(records) > 1 and world.faults.strikes("trickle"):
                records = records[: 1 + world.faults.choose("trickle", len(records) - 1)]
            else:
                del self.fresh[place]
            if records:
                found[place] = records
                self.next[place] = records[-1].offset + 1
        later: list[Any] = []
        if self.position() > wait.registry_position:
            news = world.registry[: self.known]
            later = [entry for entry in news if entry[1].position > wait.registry_position]
        if world.faults.strikes("clock"):
            still_ms = int(world.faults.amount("clock", 0, 60_000))
            self._origin_ms += still_ms
            world.tell(f"the clock of {self.name} stood still for {still_ms / 1000:.0f} s")
        return Arrival(found, later, self.now_ms())

    def _commit(self, effect: Commit) -> Committed:
        world = self.world
        failure = next((f for f in COMMIT_FAILURES if world.faults.strikes(f)), None)
        changes = any(draft.topic == "registry" for draft in effect.drafts)
        if changes and world.faults.strikes("open registry"):
            failure = "open"
        if failure is not None:
            world.tell(f"{self.name}: a commit of {len(effect.drafts)} records is {failure}")
        key = (self.service, self.number)
        try:
            given = world.broker.commit(*key, self._epoch, effect.drafts, failure)  # type: ignore[arg-type]
            return Committed(*given, self.now_ms())
        except Fenced:
            world.counts["fenced"] += 1
            raise
        finally:
            if failure == "open" and world.broker.has_open(*key, self._epoch):
                self.is_killed = world.faults.choose("open", 2) == 1
                pause = world.faults.amount("open", 1, 2 * _TRANSACTION_MS)
                is_commit = pause < _TRANSACTION_MS
                world.at(min(pause, _TRANSACTION_MS), self._end_open, self._epoch, is_commit)

    def _end_open(self, epoch: int, is_commit: bool) -> None:
        key = (self.service, self.number)
        if self.world.broker.has_open(*key, epoch):
            self.world.counts["late commit" if is_commit else "late abort"] += 1
            self.world.broker.end_open(*key, is_commit=is_commit)

    def drop_reads(self) -> None:
        """Read nothing more."""
        for place in self.next:
            self.world.readers[place].remove(self)
        self.next, self.fresh = {}, {}
