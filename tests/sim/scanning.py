"""The product's own invariants over the simulated logs: every record at once, all of it at times.

One `Watch` sees each record as it becomes visible, so that what is wrong is said at its step. A
full scan judges all records anew and folds every log twice, with its snapshot and from nothing:
what was seen bit by bit, or remembered, must be what is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from caseway.contracts.record import Record
from caseway.hosting.effects import Fence, RegistryAt, Scan, Seek
from caseway.hosting.host import Shard
from caseway.hosting.log import Chunk
from caseway.invariants.invariant import Violation as Found
from caseway.invariants.watch import Watch
from caseway.kernel.entities import StateCodec

if TYPE_CHECKING:
    from tests.sim.world import World


class Scanner:
    """Watches one world from its founding to its rest."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._watch = Watch(has_inbound=True)
        world.inspectors.append(self._see)
        world.scans.append(self.scan)

    def _see(self, record: Record) -> None:
        self._judge(self._watch.see(record))

    def scan(self, *, is_at_rest: bool = False) -> Watch:
        """Judge everything anew.

        Raises:
            Violation: what is not so.
        """
        world, watch = self._world, Watch(has_inbound=True)
        for place in world.broker.places():
            self._judge(watch.see_all(world.broker.read(place, 0)))
        for (service, number), owner in world.assigned.items():
            folded = state_of(fold(world, service, number, with_snapshot=False))
            others = {"with its snapshot": fold(world, service, number)}
            if is_at_rest:
                others["living"] = owner.shard
            for how, shard in others.items():
                if (state := state_of(shard)) != folded:
                    found = f"{state} {how} is not {folded} from nothing"
                    world.violate("I23 folds", f"{service}/{number}: {found}")
        world.counts["full scans"] += 1
        return watch

    def rest(self, acknowledged: Iterable[str]) -> None:
        """Nothing moves any more: what lives must be the fold of its log, too.

        Raises:
            Violation: what is not so, of what was seen step by step and of a last full scan.
        """
        admitted = set(acknowledged)
        for watch in (self._watch, self.scan(is_at_rest=True)):
            self._judge(watch.rest(is_all_closed=True, acknowledged=admitted))

    def _judge(self, violations: Iterable[Found]) -> None:
        for found in violations:
            self._world.violate(f"watch {found.invariant}", str(found))


def fold(world: World, service: str, number: int, *, with_snapshot: bool = True) -> Any:
    """A shard that has just read all there is, and owns nothing."""
    shard = world.make_shard(service, number)
    life = shard.life()
    effect = next(life)
    while not isinstance(effect, Seek):
        answer: Any = None
        if isinstance(effect, Scan):
            is_snapshot = effect.place[0].startswith("snapshots.")
            chunk = world.broker.scan(effect.place, effect.start)
            answer = chunk if with_snapshot or not is_snapshot else Chunk([], effect.start, True)
        elif isinstance(effect, RegistryAt):
            answer = world.registry[-1][1]
        else:
            assert isinstance(effect, Fence), effect
        effect = life.send(answer)
    life.close()
    return shard


def state_of(shard: Any) -> dict[str, str]:
    """The digest of every state that a shard holds, by key."""
    if isinstance(shard, Shard):
        codec = StateCodec(shard.card)
        return {k: codec.digest(k, e) for k, e in shard.worker.fold.committed.items()}
    return {name: head.root for name, head in shard._sealer.remember().items()}
