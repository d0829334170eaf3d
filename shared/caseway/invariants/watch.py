"""Feed it every committed record, partition by partition in order; it says what does not hold.

`see` judges what must hold at every step, `rest` what must hold once nothing moves any more. It
judges by the events alone, and in whatever order the partitions are interleaved: what stands on
another log waits for it. So a full scan is a fresh `Watch` over the same records, and finds the
same. A log that is broken is judged no further: what follows the break proves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, partial

from caseway.contracts import topics
from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import Event, decode, type_of
from caseway.contracts.record import Record
from caseway.contracts.shard import CaseFaulted, CaseResumed, DeadLetter, InputParked
from caseway.contracts.topics import TopicKind
from caseway.errors import CasewayError
from caseway.invariants.accounts import Accounts, judge_admission
from caseway.invariants.cases import Cases
from caseway.invariants.gates import Gates
from caseway.invariants.invariant import At, Violation
from caseway.invariants.pairs import Pairs
from caseway.invariants.partitions import Damaged, LogPartition
from caseway.invariants.published import Published
from caseway.invariants.quiescence import Offsets, at_rest
from caseway.invariants.timers import Timers
from caseway.invariants.verdicts import judge_opening, judge_taking

_INBOUND = frozenset(t.name for t in topics.FIXED_TOPICS if t.kind is TopicKind.INBOUND)
_LOGS = frozenset(t.name for t in topics.OWN_LOGS.values())
_FAULTS = (CaseFaulted, CaseResumed, InputParked)


class Watch:
    """Every incremental checker over one namespace, or over one shard of it and the registry.

    With `has_inbound` the inbound topics and the dead letters are fed too, and what is consumed
    has to be answered; without it no answer is remembered. `published` is the registry of another
    watch: so one shard after the other can be watched, and forgotten.
    """

    def __init__(self, *, has_inbound: bool = False, published: Published | None = None) -> None:
        self.violations: list[Violation] = []
        self._has_inbound = has_inbound
        self._partitions: dict[tuple[str, int], LogPartition] = {}
        self._damaged: set[tuple[str, int]] = set()
        self._registry_ms = 0
        self.published = published or Published(self._report)
        self.pairs = {
            "admissions": Pairs(partial(judge_admission, self._report)),
            "requests": Pairs(partial(judge_opening, self.published, self._report)),
            "takings": Pairs(partial(judge_taking, self._report)),
        }
        self.accounts = Accounts(self._report, self.pairs["admissions"])
        self.cases = Cases(self.published, self._report, self.pairs)
        self.gates = Gates(self.published, self._report, self.pairs)
        self.timers = Timers(self._report)
        self._takers = {
            topics.INTAKE.name: self.accounts.take_intake,
            topics.CASES.name: self.cases.take,
            topics.APPROVALS.name: self.gates.take,
            topics.DEADLINES.name: self.timers.take,
        }

    def see(self, record: Record) -> Sequence[Violation]:
        """The next record of its partition; what is wrong since the record before."""
        before = len(self.violations)
        place = record[:2]
        if place not in self._damaged:
            try:
                self._see(record)
            except Damaged:
                self._damaged.add(place)
        return self.violations[before:] if len(self.violations) > before else ()

    def see_all(self, records: Iterable[Record]) -> Sequence[Violation]:
        """Many records; what is wrong since the first of them."""
        before = len(self.violations)
        for record in records:
            self.see(record)
        return self.violations[before:]

    def rest(
        self,
        *,
        is_all_closed: bool = False,
        acknowledged: Collection[str] = (),
        offsets: Offsets | None = None,
    ) -> list[Violation]:
        """What is wrong if nothing moves any more; asks, changes nothing, and may be repeated.

        `is_all_closed`: no case may be open. `acknowledged` are case ids that callers were given.
        `offsets` is the committed group offset by service and `topic/partition`.
        """
        return at_rest(self, is_all_closed, acknowledged, offsets or {})

    def positions(self) -> Mapping[str, Mapping[str, int]]:
        """How far each log's writer has read every input, by the log's `topic/partition`."""
        return {part.place: part.positions for part in self._partitions.values()}

    def _see(self, record: Record) -> None:
        topic = record.topic
        if topic in _LOGS:
            self._see_log(record)
        elif topic == topics.REGISTRY.name:
            self._see_registry(record)
        elif topic in _INBOUND:
            if self._has_inbound:
                self.accounts.asked(type_of(record), At(*record[:3]))
        elif topic.startswith(("offers.", "dead-letters.")):
            event = self._read(record)
            if self._has_inbound and isinstance(event.data, DeadLetter):
                self.accounts.dead_letter(event.data)

    def _see_log(self, record: Record) -> None:
        place = (record.topic, record.partition)
        partition = self._partitions.get(place)
        if partition is None:
            partition = self._partitions[place] = LogPartition(*place, self._report)
        batch = partition.take(record)
        if not batch:
            return
        take = self._takers.get(record.topic)
        for at, event in batch:
            self._check_topic(at, event)
            if isinstance(event.data, _FAULTS):
                self.accounts.take_fault(at, event)
            elif take is not None:
                take(at, event)
        if self._has_inbound:
            self.accounts.answered(partition.answered)

    def _see_registry(self, record: Record) -> None:
        at = At(*record[:3])
        if record.at_ms < self._registry_ms:
            found = f"appended at {record.at_ms} after {self._registry_ms}"
            self._report("I30", "registry/0", found, at)
        self._registry_ms = max(record.at_ms, self._registry_ms)
        if record.offset < self.published.position:
            self._report("I12", "registry/0", "an offset comes a second time", at)
            raise Damaged
        self.published.take(self._read(record), at)

    def _read(self, record: Record) -> Event:
        at = At(*record[:3])
        try:
            event = decode(record, is_sole_writer=True)
        except CasewayError as error:
            self._report("I26", f"{at.topic}/{at.partition}", f"unreadable: {error.code}", at)
            raise Damaged from error
        self._check_topic(at, event)
        return event

    def _check_topic(self, at: At, event: Event) -> None:
        kind = event.envelope.type
        if not _belongs(kind, at.topic):
            self._report("I26", event.key, f"{kind} does not belong on {at.topic}", at)

    def _report(self, invariant: str, key: str, what: str, at: At | None) -> None:
        self.violations.append(Violation(invariant, key, what, at))


@cache
def _belongs(kind: str, topic: str) -> bool:
    return any(
        topic == own or (own.endswith("*") and topic.startswith(own[:-1]))
        for own in CATALOG[kind].topics
    )
