"""Judges a run from its public logs alone, as a stranger with a copy of the topics could.

It knows bytes, CloudEvents headers and JSON, and the rules as they are written in the documents;
it shares no code with the product that it judges. Here is what holds of every log: whole batches,
one owner after another, everything consumed once. What holds of cases, gates and timers has a
file each; `closing` asks once more when all has come to rest.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

from tests.sim.case_rules import CaseRules
from tests.sim.gate_rules import GateRules
from tests.sim.letter_rules import LetterRules
from tests.sim.reading import Line, partition_of
from tests.sim.timer_rules import TimerRules

V = TypeVar("V")
Violate = Callable[[str, str], NoReturn]
OWN_LOGS = ("intake", "cases", "approvals", "deadlines", "audit")


@dataclass
class _Log:
    """What is known of one partition of a log."""

    sequence: int = 0
    epoch: int = 0
    greatest_ms: int = 0
    registry_position: int = 0
    has_genesis: bool = False
    pending: list[Line] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)


class Public:
    """What the registry says, by position, and whatever else several rules look up."""

    def __init__(self) -> None:
        self.roles: dict[str, list[tuple[int, frozenset[str]]]] = defaultdict(list)
        self.quarantines: dict[str, list[tuple[int, bool]]] = defaultdict(list)
        self.halts: list[tuple[int, bool]] = []
        self.skills: dict[str, frozenset[str]] = {}
        self.counts: Counter[str] = Counter()

    def learn(self, line: Line) -> None:
        """One record of the registry."""
        position, data = line.offset + 1, line.data
        if line.type == "person.appointed":
            roles = frozenset(data["card"]["roles"])
            self.roles[data["card"]["person_id"]].append((position, roles))
        elif line.type in ("agent.quarantined", "agent.released"):
            self.quarantines[data["agent_id"]].append((position, line.type.endswith("quarantined")))
        elif line.type in ("namespace.halted", "namespace.resumed"):
            self.halts.append((position, line.type.endswith("halted")))
        elif line.type == "agent.registered":
            self.skills[data["card"]["agent_id"]] = frozenset(data["card"]["skills"])

    def roles_of(self, person: str, position: int) -> frozenset[str]:
        """The roles that a person held when the registry was read so far."""
        return _as_of(self.roles[person], position, frozenset())

    def is_quarantined(self, agent: str, position: int) -> bool:
        """Whether an agent was shut out then."""
        return _as_of(self.quarantines[agent], position, False)

    def is_halted(self, position: int) -> bool:
        """Whether agents stood still then."""
        return _as_of(self.halts, position, False)


class Checker:
    """Fed with every record as it becomes visible; raises through `violate` at once."""

    def __init__(self, violate: Violate) -> None:
        self._violate = violate
        self.public = Public()
        self.cases = CaseRules(self.public, violate)
        self.gates = GateRules(self.public, self.cases, violate)
        self.timers = TimerRules(violate)
        self.letters = LetterRules(self.public, violate)
        self.cases.decided = self.gates.decided
        self.logs: dict[str, _Log] = defaultdict(_Log)
        self.dead_letters: dict[tuple[str, int, int], str] = {}
        self.answered: Counter[str] = Counter()
        self.permits: list[Line] = []
        # Who else wants the events of whole batches: a torn half is nobody's business.
        self.readers: list[Callable[[Line], None]] = []
        self._sequences: dict[tuple[str, str], int] = {}
        self._ids: set[str] = set()
        self._shards = 1
        self._homes: dict[str, int] = {}

    @property
    def counts(self) -> Counter[str]:
        """How often each kind of event, refusal and dead letter was seen."""
        return self.public.counts

    def see(self, line: Line) -> None:
        """One record more."""
        self.letters.note(line)
        if line.topic in OWN_LOGS:
            self._log(line)
        elif line.topic == "registry":
            self.public.learn(line)
        elif line.topic.startswith("dead-letters."):
            data = line.data
            place = (data["topic"], data["partition"], data["offset"])
            self.dead_letters[place] = data["code"]
            self.counts[f"dead letter: {data['code']}"] += 1
        elif line.type == "permit.issued":
            self.permits.append(line)

    def _log(self, line: Line) -> None:
        log = self.logs[line.place]
        if line.type == "shard.genesis":
            if line.offset != 0:
                self._violate("genesis", f"{line.place}@{line.offset}: a second genesis")
            log.has_genesis, self._shards = True, line.data["shards"]
        elif line.type == "shard.committed":
            self._close(log, line)
        else:
            log.pending.append(line)

    def _close(self, log: _Log, line: Line) -> None:
        """A trailer: what it counts is true from now on, and what lay before that never was."""
        data, where = line.data, f"{line.place}@{line.offset}"
        if data["sequence"] != log.sequence + 1:
            self._violate("I12 continuity", f"{where}: {data['sequence']} after {log.sequence}")
        if data["epoch"] < log.epoch:
            self._violate("I17 fencing", f"{where}: epoch {data['epoch']} after {log.epoch}")
        if data["count"] > len(log.pending):
            self._violate("I16 whole batches", f"{where}: counts more than is there")
        if data["greatest_ms"] < log.greatest_ms:
            self._violate("I30 time", f"{where}: time fell")
        if data["registry_position"] < log.registry_position:
            self._violate("registry fell", where)
        batch = log.pending[len(log.pending) - data["count"] :]
        if digest_of(batch) != data["digest"]:
            self._violate("I16 whole batches", f"{where}: its records are not those it digests")
        if len(log.pending) > len(batch):
            self.counts["torn records dropped"] += len(log.pending) - len(batch)
        for place, offset in log.positions.items():
            if data["positions"].get(place, -1) < offset:
                self._violate("I02 consumed once", f"{where}: {place} went back from {offset}")
        before, log.positions = log.positions, dict(data["positions"])
        log.sequence, log.epoch, log.pending = data["sequence"], data["epoch"], []
        log.greatest_ms = data["greatest_ms"]
        log.registry_position = data["registry_position"]
        for each in batch:
            if line.topic != "audit":
                self._check_cause(each, before, log)
                self._event(each)
            for tell in self.readers:
                tell(each)
        if line.topic == "cases":
            self.cases.check_never_stuck({each.key for each in batch})
            if self.public.quarantines:
                self.cases.check_quarantine(line.partition, data["registry_position"])

    def _check_cause(self, line: Line, before: dict[str, int], log: _Log) -> None:
        """Whatever an event follows from was consumed by the very commit that holds it."""
        _, topic, partition, offset, *rest = [*line.cause.split("/"), ""]
        where = f"{line.place}@{line.offset}"
        if offset == "wake":
            if int(rest[0]) != log.sequence:
                self._violate("I02 consumed once", f"{where}: woken by another commit")
            return
        self.answered[line.cause] += 1
        if topic == "registry":
            return
        place = f"{topic}/{partition}"
        if not before.get(place, 0) <= int(offset) < log.positions.get(place, -1):
            self._violate("I02 consumed once", f"{where}: its cause {line.cause} is not of it")

    def _event(self, line: Line) -> None:
        self._check_home(line)
        key, sequence = (line.topic, line.key), int(line.headers["ce_sequence"])
        # A key that nothing was admitted under is forgotten after each commit.
        is_counted = line.topic != "intake" or line.key in self.cases.admitted
        if is_counted and sequence != self._sequences.get(key, 0) + 1:
            self._violate("sequence", f"{line.place}@{line.offset}: {sequence} of {line.key}")
        self._sequences[key] = sequence
        identity = line.headers["ce_id"]
        if identity in self._ids:
            self._violate("identity", f"{line.place}@{line.offset}: id {identity} twice")
        self._ids.add(identity)
        self.counts[f"event: {line.type}"] += 1
        if line.type.endswith(".refused"):
            self.counts[f"{line.type}: {line.data['code']}"] += 1
        self.letters.hear(line)
        if line.type in ("case.faulted", "input.parked"):
            self._violate("fault", f"{line.key} on {line.place}: {line.data}")
        if line.topic == "cases":
            self.cases.hear(line)
        elif line.topic == "approvals":
            self.gates.hear(line)
        elif line.topic == "intake":
            self.cases.admit(line)
        if line.topic == "deadlines":
            self.timers.hear(line)
        else:
            self.timers.note(line)

    def _check_home(self, line: Line) -> None:
        """A case lives where Kafka's clients put its key; what is said of a control wish does not.

        Partition 0 judges all of those.
        """
        if line.cause.split("/")[1:2] == ["control"]:
            return
        home = self._homes.get(line.key)
        if home is None:
            home = self._homes[line.key] = partition_of(line.key.encode(), self._shards)
        if line.partition != home:
            self._violate("one partition", f"{line.key} on {line.place}, and it belongs on {home}")


def digest_of(lines: list[Line]) -> str:
    """SHA-256 over keys and values, each with its length before it."""
    hashed = hashlib.sha256()
    for line in lines:
        key = line.key.encode()
        hashed.update(f"{len(key)}:{len(line.value)}:".encode() + key + line.value)
    return hashed.hexdigest()


def _as_of(history: list[tuple[int, V]], position: int, default: V) -> V:
    found = default
    for since, value in history:
        if since <= position:
            found = value
    return found
