"""Drives the life of one shard in one process: performs its effects, and lets them go wrong.

The life itself is the product's own generator. Here is what a runner does for it on a real log,
and all that may happen between two of its effects: a crash, a pause, a lost answer, another owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from caseway.errors import CasewayError, CodeTooOld, Fenced, IntegrityError, Unavailable
from caseway.hosting.effects import (
    Arrival,
    Backoff,
    Barrier,
    Commit,
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
# Every way in which one effect can go wrong; the last four are of a commit alone.
WAYS = ("crash before", "crash after", "fail before", "fail after", "stall", "takeover")
WAYS += COMMIT_FAILURES
# What a transaction may stay open for before the broker aborts it.
_TRANSACTION_MS = 10_000
_SESSION_MS = 6_000


class _NotYet(Exception):
    """The answer has to wait for another transaction to end."""


class Owner:
    """One incarnation of one shard."""

    def __init__(self, world: World, service: str, number: int, name: str) -> None:
        self.world, self.service, self.number, self.name = world, service, number, name
        self.shard = world.make_shard(service, number)
        self.life = self.shard.life()
        self.is_alive, self.is_leaving, self.is_waiting = True, False, False
        self._is_killed = False
        self.skew_ms = 0
        self.known = 0  # how many registry entries this process has read
        self.next: dict[Place, int] = {}
        self.fresh: dict[Place, None] = {}
        self.failures = 0
        self._epoch = 0
        self._turn = 0
        self._commits = 0
        self.effect: Effect

    def begin(self) -> None:
        """Ask for the first effect."""
        self.effect = next(self.life)
        self._schedule(self.world.soon())

    # -- what it hears ----------------------------------------------------------------------------

    def hear(self, place: Place) -> None:
        """Records have come that this shard reads."""
        self.fresh[place] = None
        self._wake()

    def hear_of_registry(self) -> None:
        """The registry grew; this process looks after a while."""
        world = self.world
        delay = world.soon(1, 500)
        if world.faults.strikes("registry lag"):
            delay = int(world.faults.amount("registry lag", 1_000, 3_600_000))
        if self.is_alive:
            world.at(delay, self._look)

    def _look(self) -> None:
        if self.is_alive and self.known < len(self.world.registry):
            self.known = len(self.world.registry)
            self._wake()

    def _wake(self) -> None:
        if not self.is_waiting or not self.is_alive:
            return
        self.is_waiting = False
        world = self.world
        delay = world.soon(1, 30)
        if world.faults.strikes("lag"):
            delay = int(world.faults.amount("lag", 1_000, 600_000))
        self._schedule(delay)

    def leave(self) -> None:
        """It is told to let go: it does so when it next waits."""
        self.is_leaving = True
        self._wake()

    # -- steps ------------------------------------------------------------------------------------

    def _schedule(self, delay_ms: float) -> None:
        self._turn += 1
        self.world.at(delay_ms, self._step, self._turn)

    def _step(self, turn: int) -> None:
        if not self.is_alive or turn != self._turn:
            return
        effect = self.effect
        if isinstance(effect, Wait | Backoff) and self.is_leaving:
            self._end("let go")
            return
        if isinstance(effect, Wait) and not self._has_something(effect):
            self.is_waiting = True
            if effect.until_ms is not None:
                self._schedule(effect.until_ms - self._now_ms())
            return
        self.is_waiting = False
        self._force(effect)
        if self._may_fail(effect) and self._is_struck(effect):
            return
        fails = self._may_fail(effect) and self.world.faults.strikes("fail after")
        self._go_on(effect, is_after_failing=fails)

    def _go_on(self, effect: Effect, *, is_after_failing: bool) -> None:
        failure: CasewayError | None = None
        answer: Any = None
        try:
            answer = self._perform(effect)
            if is_after_failing:
                failure = Unavailable("the answer was lost")
        except _NotYet:
            self._schedule(20)
            return
        except (Unavailable, CodeTooOld, IntegrityError) as error:
            failure = error
        if self._is_killed:
            self.crash("in mid-transaction")
        elif self.is_alive:
            self._resume(failure, answer)

    def _resume(self, failure: CasewayError | None, answer: Any) -> None:
        world = self.world
        try:
            self.effect = self.life.throw(failure) if failure else self.life.send(answer)
        except StopIteration:
            world.violate("halted", f"{self.name}: {self.shard.halt_reason}")
        if self.shard.commits > self._commits:
            world.counts["commits"] += self.shard.commits - self._commits
            self._commits = self.shard.commits
            self.failures = 0
        if isinstance(self.effect, Backoff):
            self._back_off(self.effect)
        else:
            self._schedule(world.soon(1, 8))

    def _back_off(self, effect: Backoff) -> None:
        """It takes over again, unless it learns meanwhile that the shard is another's."""
        self.failures += 1
        self._drop_reads()
        world = self.world
        world.tell(f"{self.name} doubts: {effect.reason}")
        is_zombie = world.assigned.get((self.service, self.number)) is not self
        if is_zombie and (self.failures > 1 or world.faults.choose("zombie", 2)):
            self._end("was told that it is another's")
            return
        self._schedule(min(50 * 2 ** min(effect.attempt, 7), 5_000))

    def _end(self, why: str) -> None:
        self.is_alive = False
        self._drop_reads()
        self.world.tell(f"{self.name} {why}")
        self.world.owners.remove(self)

    def _drop_reads(self) -> None:
        for place in self.next:
            self.world.readers[place].remove(self)
        self.next, self.fresh = {}, {}

    # -- faults -----------------------------------------------------------------------------------

    def _force(self, effect: Effect) -> None:
        """Write the effect down, and let it fail if it is the one that was asked for."""
        world = self.world
        point = (self.service, len(world.performed[self.service]))
        world.performed[self.service].append(type(effect).__name__)
        if world.point is not None and world.point[:2] == point:
            world.faults.forced = world.point[2]

    def _may_fail(self, effect: Effect) -> bool:
        """A replay has hundreds of scans; were each as frail as a commit, none would ever end."""
        if self.world.faults.forced:
            return True
        if isinstance(effect, Scan):
            return self.world.chance.stream("frail scans").random() < 0.05
        return not isinstance(effect, Backoff)

    def _is_struck(self, effect: Effect) -> bool:
        """Let this effect go wrong at its beginning; True if nothing more happens now."""
        faults, world = self.world.faults, self.world
        what = type(effect).__name__
        if faults.strikes("crash before"):
            self.crash(f"before {what}")
        elif faults.strikes("crash after"):
            try:
                self._perform(effect)
            except (_NotYet, CasewayError):
                world.counts["crash met an error"] += 1
            self.crash(f"after {what}")
        elif faults.strikes("fail before"):
            self._resume(Unavailable("it failed"), None)
        elif faults.strikes("stall"):
            self._stall(what)
        else:
            if faults.strikes("takeover"):
                world.tell(f"{self.name} is to lose its shard before {what}")
                world.assign(self.service, self.number)
                world.at(faults.amount("takeover", 1, 3_000), self.leave)
            return False
        return True

    def crash(self, when: str) -> None:
        """The process is gone, and another begins after a while."""
        world = self.world
        self._end(f"crashes {when}")
        if world.assigned.get((self.service, self.number)) is not self:
            return
        delay = 100.0
        if not world.faults.are_over:
            delay = world.faults.amount("restart", 100, 30_000)
            if world.faults.strikes("down"):
                delay = world.faults.amount("down", 3_600_000, 172_800_000)
                world.tell(f"{self.service}/{self.number} stays down")
        world.at(delay, self._replace)

    def _replace(self) -> None:
        if self.world.assigned.get((self.service, self.number)) is self:
            self.world.assign(self.service, self.number)

    def _stall(self, what: str) -> None:
        """It pauses longer than its session; another takes over, and then it goes on."""
        world = self.world
        pause = world.faults.amount("stall", 100, 60_000)
        world.tell(f"{self.name} stands still before {what} for {pause / 1000:.1f} s")
        self._schedule(pause)
        if pause > _SESSION_MS:
            world.at(_SESSION_MS, self._take_from)

    def _take_from(self) -> None:
        if self.world.assigned.get((self.service, self.number)) is self and self.is_alive:
            self.world.assign(self.service, self.number)

    # -- effects ----------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return self.world.now_ms + self.skew_ms

    def _has_something(self, wait: Wait) -> bool:
        return bool(
            not wait.is_idle
            or wait.awaited_position > wait.registry_position
            or (wait.until_ms is not None and wait.until_ms <= self._now_ms())
            or any(place not in wait.full for place in self.fresh)
            or self._position() > wait.registry_position
        )

    def _position(self) -> int:
        return self.world.registry[self.known - 1][1].position if self.known else 0

    def _perform(self, effect: Effect) -> Any:
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
                self._drop_reads()
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
            raise _NotYet
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
        if self._position() > wait.registry_position:
            news = world.registry[: self.known]
            later = [entry for entry in news if entry[1].position > wait.registry_position]
        if world.faults.strikes("clock"):
            self.skew_ms = int(world.faults.amount("clock", -5_000, 7_200_000))
            world.tell(f"the clock of {self.name} is {self.skew_ms / 1000:.0f} s off")
        return Arrival(found, later, self._now_ms())

    def _commit(self, effect: Commit) -> int:
        world = self.world
        failure = next((f for f in COMMIT_FAILURES if world.faults.strikes(f)), None)
        changes = any(draft.topic == "registry" for draft in effect.drafts)
        if changes and world.faults.strikes("open registry"):
            failure = "open"
        if failure is not None:
            world.tell(f"{self.name}: a commit of {len(effect.drafts)} records is {failure}")
        key = (self.service, self.number)
        try:
            return world.broker.commit(*key, self._epoch, effect.drafts, failure)  # type: ignore[arg-type]
        except Fenced:
            world.counts["fenced"] += 1
            raise
        finally:
            if failure == "open" and world.broker.has_open(*key, self._epoch):
                self._is_killed = world.faults.choose("open", 2) == 1
                pause = world.faults.amount("open", 1, 2 * _TRANSACTION_MS)
                is_commit = pause < _TRANSACTION_MS
                world.at(min(pause, _TRANSACTION_MS), self._end_open, self._epoch, is_commit)

    def _end_open(self, epoch: int, is_commit: bool) -> None:
        key = (self.service, self.number)
        if self.world.broker.has_open(*key, epoch):
            self.world.counts["late commit" if is_commit else "late abort"] += 1
            self.world.broker.end_open(*key, is_commit=is_commit)
