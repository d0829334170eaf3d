"""Judges a namespace from outside: reads every topic with librdkafka and checks what was promised.

Written against the topics and not against the services: it uses the contracts to decode and the
reader of whole batches, which a test beside it has shown to refuse half ones, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caseway.contracts import topics
from caseway.contracts.case import EffectPermitted
from caseway.contracts.codec import Event, decode
from caseway.contracts.decision import GateDecided
from caseway.contracts.record import Record
from caseway.contracts.report import PermitIssued
from caseway.contracts.shard import CaseFaulted, DeadLetter
from caseway.errors import CasewayError
from caseway.hosting.batches import BatchReader
from caseway_control.demo_agents import DemoBank
from tests.chaos.crowd import INBOUND, POISON
from tests.chaos.torn import read_all

_WITH_TRAILERS = (topics.INTAKE, topics.CASES, topics.APPROVALS, topics.DEADLINES, topics.AUDIT)


@dataclass(slots=True)
class Findings:
    """Every promise that was broken, in words, and what was looked at."""

    violations: list[str] = field(default_factory=list)
    records: int = 0
    batches: int = 0
    events: int = 0
    torn_records: int = 0
    cases: int = 0
    decisions: int = 0
    permits: int = 0
    dead_letters: int = 0
    offers: int = 0
    checkpoints: int = 0

    def broken(self, what: str, found: Sequence[Any]) -> None:
        """Note a promise, if anything was found that breaks it."""
        if found:
            self.violations.append(f"{what}: {len(found)}, first {found[0]!r}")


class Oracle:
    """Reads a namespace once; `judge` says what is wrong with it."""

    def __init__(self, bootstrap: str, namespace: str, shards: int, pools: Sequence[str]) -> None:
        self._bootstrap = bootstrap
        self._namespace = namespace
        self._shards = shards
        self._pools = pools
        self.findings = Findings()
        self.kinds: Counter[str] = Counter()

    def judge(self, submitted: set[str], bank: DemoBank) -> Findings:
        """All promises at quiescence."""
        found = self.findings
        logs = {topic.name: self._log(topic) for topic in _WITH_TRAILERS}
        found.checkpoints = len(logs["audit"])
        self._check_cases(logs, submitted)
        self._check_effects(logs["cases"], bank)
        decided = Counter(
            (event.key, event.data.gate_id, event.data.revision)
            for event in logs["approvals"]
            if isinstance(event.data, GateDecided)
        )
        found.decisions = len(decided)
        found.broken("decided twice", [k for k, times in decided.items() if times > 1])
        letters = Counter(
            (letter.topic, letter.partition, letter.offset)
            for service in topics.SERVICES
            for letter in self._plain(topics.dead_letters(service))
            if isinstance(letter, DeadLetter)
        )
        poison = self._poison()
        found.dead_letters = len(letters)
        found.broken("poison without a dead letter", sorted(poison - set(letters)))
        found.broken("two dead letters for a record", [p for p, n in letters.items() if n > 1])
        found.broken("a good record became a dead letter", sorted(set(letters) - poison))
        return found

    def _poison(self) -> set[tuple[str, int, int]]:
        """Where the records lie that were meant to be refused."""
        return {
            (topic.name, number, record.offset)
            for topic in INBOUND
            for number in range(topic.partitions(self._shards))
            for record in self._records(topic.name, number)
            if not record.key or record.key.startswith(POISON.encode())
        }

    def _check_cases(self, logs: Mapping[str, Sequence[Event]], submitted: set[str]) -> None:
        found = self.findings
        times = {
            name: Counter(event.key for event in logs[log] if event.envelope.type == name)
            for log, name in (
                ("intake", "case.admitted"),
                ("cases", "case.opened"),
                ("cases", "case.closed"),
            )
        }
        found.cases = len(times["case.closed"])
        for name, keys in times.items():
            found.broken(f"submitted and without {name}", sorted(submitted - set(keys)))
            found.broken(f"{name} and never submitted", sorted(set(keys) - submitted))
            found.broken(f"{name} more than once", [k for k, n in keys.items() if n > 1])
        found.broken(
            "a case whose decision failed",
            [e.key for log in logs.values() for e in log if isinstance(e.data, CaseFaulted)],
        )

    def _check_effects(self, cases: Sequence[Event], bank: DemoBank) -> None:
        found = self.findings
        permitted = [e.data for e in cases if isinstance(e.data, EffectPermitted)]
        permits = Counter(data.effect_id for data in permitted)
        found.permits = len(permits)
        found.broken("permitted twice", [k for k, times in permits.items() if times > 1])
        found.broken("paid without a permit", sorted(set(bank.payments) - set(permits)))
        paid = Counter(e.key for e in cases if e.envelope.type == "effect.settled")
        found.broken("a case settled twice", [k for k, times in paid.items() if times > 1])
        offered = [o for pool in self._pools for o in self._plain(topics.offers(pool))]
        found.offers = len(offered)
        shown = Counter(o.effect_id for o in offered if isinstance(o, PermitIssued))
        found.broken("a permit shown that no log holds", sorted(set(shown) - set(permits)))
        found.broken("a permit that was never shown", sorted(set(permits) - set(shown)))

    def _log(self, topic: topics.Topic) -> list[Event]:
        """Every event of a log, from whole batches, with its order checked."""
        found = self.findings
        events: list[Event] = []
        sequences: dict[str, int] = {}
        for number in range(topic.partitions(self._shards)):
            place = (topic.name, number)
            reader = BatchReader(place, is_resumed=False)
            positions: Mapping[str, int] = {}
            try:
                for batch in reader.feed(self._records(*place)):
                    behind = [p for p, at in positions.items() if batch.trailer.positions[p] < at]
                    found.broken(f"{place} read its inputs again", behind)
                    positions = batch.trailer.positions
                    found.batches += 1
                    events += [decode(record, is_sole_writer=True) for record in batch.records]
            except CasewayError as error:
                found.violations.append(f"{place}: {error.code}: {error}")
            found.torn_records += reader.torn_records
            found.broken(f"{place} ends without a trailer", [0] * reader.open_records)
        for event in events:
            self.kinds[event.envelope.type] += 1
            if event.envelope.sequence:
                before = sequences.get(event.key, 0)
                if event.envelope.sequence != before + 1:
                    found.broken(
                        f"{topic.name}: a gap in a case",
                        [(event.key, before, event.envelope.sequence)],
                    )
                sequences[event.key] = event.envelope.sequence
        found.events += len(events)
        return events

    def _plain(self, topic: topics.Topic) -> Iterator[Any]:
        for number in range(topic.partitions(self._shards)):
            for record in self._records(topic.name, number):
                yield decode(record).data

    def _records(self, topic: str, number: int) -> list[Record]:
        records = read_all(self._bootstrap, f"{self._namespace}.{topic}", number)
        self.findings.records += len(records)
        return records
