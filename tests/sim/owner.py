"""Drives the life of one shard in one process, and lets it go wrong.

The life itself is the product's own generator. Here is when its effects are performed, and all
that may happen between two of them: a crash, a pause, a lost answer, another owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from caseway.errors import CasewayError, CodeTooOld, IntegrityError, Unavailable
from caseway.hosting.effects import Backoff, Effect, Scan, Wait
from tests.sim.performing import COMMIT_FAILURES, NotYet, Performer

if TYPE_CHECKING:
    from tests.sim.world import Place, World

# Every way in which one effect can go wrong; the last four are of a commit alone.
_ANYWHERE = ("crash before", "crash after", "fail before", "fail after", "stall", "takeover")
WAYS = (*_ANYWHERE, *COMMIT_FAILURES)
_SESSION_MS = 6_000


class Owner(Performer):
    """One incarnation of one shard."""

    def __init__(self, world: World, service: str, number: int, name: str) -> None:
        super().__init__(world, service, number, name)
        self.life = self.shard.life()
        self.is_alive, self.is_leaving, self.is_waiting = True, False, False
        self.failures = 0
        self._turn = 0
        self._commits = 0
        self._slow: set[Place] = set()

    def begin(self) -> None:
        """Ask for the first effect."""
        self.effect = next(self.life)
        self._schedule(self.world.soon())

    # -- what it hears ----------------------------------------------------------------------------

    def hear(self, place: Place) -> None:
        """Records have come that this shard reads; one topic may be slow while others flow."""
        if place in self._slow:
            return
        faults = self.world.faults
        if faults.strikes("slow topic"):
            self._slow.add(place)
            self.world.at(faults.amount("slow topic", 100, 3_600_000), self._hear_late, place)
            return
        self.fresh[place] = None
        self._wake()

    def _hear_late(self, place: Place) -> None:
        self._slow.discard(place)
        if place in self.next:
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

    @property
    def _is_assigned(self) -> bool:
        return self.world.assigned.get((self.service, self.number)) is self

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
        if isinstance(effect, Wait) and not self.has_something(effect):
            self.is_waiting = True
            if effect.until_ms is not None:
                self._schedule(effect.until_ms - self.now_ms())
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
            answer = self.perform(effect)
            if is_after_failing:
                failure = Unavailable("the answer was lost")
        except NotYet:
            self._schedule(50)
            return
        except (Unavailable, CodeTooOld, IntegrityError) as error:
            failure = error
        if self.is_killed:
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
        self.drop_reads()
        world = self.world
        world.tell(f"{self.name} doubts: {effect.reason}")
        is_zombie = not self._is_assigned
        if is_zombie and (self.failures > 1 or world.faults.choose("zombie", 2)):
            self._end("was told that it is another's")
            return
        self._schedule(min(50 * 2 ** min(effect.attempt, 7), 5_000))

    def _end(self, why: str) -> None:
        self.is_alive = False
        self.drop_reads()
        self.world.tell(f"{self.name} {why}")
        self.world.owners.remove(self)

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
                self.perform(effect)
            except (NotYet, CasewayError):
                world.counts["crash met an error"] += 1
            self.crash(f"after {what}")
        elif faults.strikes("fail before"):
            self._resume(Unavailable("it failed"), None)
        elif faults.strikes("stall"):
            self._stall(what)
        else:
            # Whoever has lost a shard does not lose it again, or owners would breed owners.
            if self._is_assigned and faults.strikes("takeover"):
                world.tell(f"{self.name} is to lose its shard before {what}")
                world.assign(self.service, self.number)
                world.at(faults.amount("takeover", 1, 3_000), self.leave)
            return False
        return True

    def crash(self, when: str) -> None:
        """The process is gone, and another begins after a while."""
        world = self.world
        self._end(f"crashes {when}")
        if not self._is_assigned:
            return
        delay = 100.0
        if not world.faults.are_over:
            delay = world.faults.amount("restart", 100, 30_000)
            if world.faults.strikes("down"):
                delay = world.faults.amount("down", 3_600_000, 172_800_000)
                world.tell(f"{self.service}/{self.number} stays down")
        world.at(delay, self._replace)

    def _replace(self) -> None:
        if self._is_assigned:
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
        if self._is_assigned and self.is_alive:
            self.world.assign(self.service, self.number)
