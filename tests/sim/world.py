"""The simulated world: one clock, one agenda, one bus, and everybody who lives on them.

Whatever happens is an entry of the agenda: an owner's next effect, a letter that arrives, a person
who comes back from lunch, a fault. Nothing waits and nothing runs beside it, so a seed is a story.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from caseway.contracts.codec import Event, decode
from caseway.contracts.record import Record
from caseway.hosting.host import Limits, Shard, ShardLike
from caseway.hosting.memory_broker import MemoryBroker
from caseway.hosting.sealing_host import SealingShard, sealed_places
from caseway.kernel import entities
from caseway.kernel.registry import Registry, advance
from caseway_audit.sealing import Sealer
from caseway_control.roster import CARDS
from tests.sim.chance import Chance, Faults
from tests.sim.founding import POOLS, founding, key_of
from tests.sim.owner import Owner
from tests.sim.plan import Plan
from tests.sim.reading import Line, instant, read

Place = tuple[str, int]
# Monday, 2 March 2026, 09:00 in New York.
BEGIN_MS = 1_772_460_000_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
AUDIT = "audit"
# A seed takes two thousand steps at the median, and a long one tens of thousands.
SCAN_STEPS = 5_000
# A city has few cases: each is packed away after the second that is used after it, and unpacked
# when it is heard of again.
entities.IN_USE_MAX = 0


class Violation(Exception):
    """Something happened that must not, whatever fails; `code` names the rule."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class World:
    """One run of one plan."""

    def __init__(self, plan: Plan, *, is_told: bool = False) -> None:
        self.plan = plan
        self.chance = Chance(plan.seed)
        self.counts: Counter[str] = Counter()
        # The kinds of all effects that each service's shards asked for, and one that is to fail.
        self.performed: dict[str, list[str]] = defaultdict(list)
        self.point: tuple[str, int, str] | None = None
        self.faults = Faults(self.chance, dict(plan.faults), plan.only, self._note_fault)
        self.now_ms = BEGIN_MS
        self.story: list[str] | None = [] if is_told else None
        self.is_healed = False
        self.steps = 0
        self._agenda: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._entries = 0
        self._begun = 0
        self._pace = self.chance.stream("pace")
        self.broker = MemoryBroker(lambda: self.now_ms, self._on_growth)
        self._seen: dict[Place, int] = {}
        self.readers: dict[Place, list[Owner]] = defaultdict(list)
        self.listeners: dict[str, list[Callable[[Line], None]]] = defaultdict(list)
        self.watchers: list[Callable[[Line], None]] = []
        self.scans: list[Callable[[], None]] = []
        self.inspectors: list[Callable[[Record], None]] = []
        self.registry: list[tuple[Event, Registry]] = []
        self.assigned: dict[tuple[str, int], Owner] = {}
        self.owners: list[Owner] = []
        self.limits = Limits(plan.share_records, plan.queue_records, plan.snapshot_events)
        self._sealed_places = sealed_places(POOLS, plan.shards)

    # -- time -------------------------------------------------------------------------------------

    def at(self, delay_ms: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do this after a while."""
        self._entries += 1
        when = self.now_ms + max(0, int(delay_ms))
        heapq.heappush(self._agenda, (when, self._entries, action, arguments))

    def soon(self, low_ms: int = 1, high_ms: int = 20) -> int:
        """How long something small takes."""
        return self._pace.randint(low_ms, high_ms)

    def run(self, steps_max: int) -> None:
        """Until nothing is left to happen.

        Raises:
            Violation: a rule was broken, or the world does not come to rest.
        """
        while self._agenda:
            when, _, action, arguments = heapq.heappop(self._agenda)
            self.now_ms = max(self.now_ms, when)
            self.steps += 1
            if self.steps > steps_max:
                raise Violation("no rest", f"more than {steps_max} steps")
            action(*arguments)
            if self.steps % SCAN_STEPS == 0:
                for scan in self.scans:
                    scan()

    @property
    def is_busy(self) -> bool:
        """Whether anything is still to happen."""
        return bool(self._agenda)

    # -- owners -----------------------------------------------------------------------------------

    def make_shard(self, service: str, number: int) -> ShardLike:
        """A shard as the composition root makes it."""
        if service == AUDIT:
            key = key_of("checkpoint:1")
            every = self.plan.sealing_ms
            rounds = max(2, self.plan.snapshot_events // 4)
            places = self._sealed_places
            return SealingShard(Sealer, key, places, interval_ms=every, snapshot_checkpoints=rounds)
        return Shard(CARDS[service], number, self.limits)

    def begin(self) -> None:
        """Found the namespace and start every shard's first owner."""
        begun = founding(self.plan.shards)
        for service, number, draft in begun.genesis:
            drafts = [draft, *begun.registry] if draft.topic == "registry" else [draft]
            epoch = self.broker.fence(service, number)
            self.broker.commit(service, number, epoch, drafts)
        for service in (*CARDS, AUDIT):
            for number in range(1 if service == AUDIT else self.plan.shards):
                self.assign(service, number)

    def assign(self, service: str, number: int) -> Owner:
        """Another process is told that this shard is its own."""
        self._begun += 1
        owner = Owner(self, service, number, f"{service}/{number}.{self._begun}")
        self.assigned[service, number] = owner
        self.owners.append(owner)
        owner.begin()
        return owner

    # -- the bus ----------------------------------------------------------------------------------

    def _on_growth(self, places: Iterable[Place]) -> None:
        for place in places:
            records = self.broker.read(place, self._seen.get(place, 0))
            if not records:
                continue
            self._seen[place] = records[-1].offset + 1
            if place[0] == "registry":
                self._read_registry(records)
            for owner in self.readers[place]:
                owner.hear(place)
            listeners = self.listeners.get(place[0], ())
            for record in records:
                line = read(record)
                for watch in self.watchers:
                    watch(line)
                for inspect in self.inspectors:
                    inspect(record)
                for listen in listeners:
                    listen(line)

    def _read_registry(self, records: list[Any]) -> None:
        views = founding(self.plan.shards).views
        for record in records:
            if len(self.registry) < len(views):
                self.registry.append(views[len(self.registry)])
                continue
            event = decode(record, is_sole_writer=True)
            view = advance(self.registry[-1][1], event, record.offset + 1)
            self.registry.append((event, view))
        for owner in self.owners:
            owner.hear_of_registry()

    # -- records for people -----------------------------------------------------------------------

    def tell(self, text: str) -> None:
        """A line of the story, if somebody listens."""
        if self.story is not None:
            stamp = f"{instant(self.now_ms)[:-1].replace('T', ' ')}.{self.now_ms % 1000:03}"
            self.story.append(f"{stamp}  {text}")

    def violate(self, code: str, text: str) -> NoReturn:
        """Say which rule was broken.

        Raises:
            Violation: always.
        """
        self.tell(f"VIOLATION {code}: {text}")
        raise Violation(code, text)

    def _note_fault(self, kind: str) -> None:
        self.counts[f"fault: {kind}"] += 1

    def digest(self) -> str:
        """SHA-256 over every record of every topic, with its offset and time."""
        hashed = hashlib.sha256()
        for place in self.broker.places():
            for record in self.broker.read(place, 0):
                hashed.update(repr(tuple(record)).encode())
        return hashed.hexdigest()
