"""The catalogue: every invariant by its id, its sentence, and where it is checked.

Marks: S after every step of the simulator, K on a real broker at quiescence, V by `caseway verify`
from the logs, R inside the running services. `running` says what keeps an R invariant in the
services; where that is their structure, no second guard stands beside it.

Not here: I11 (audit completeness) and I13 (append-only) are proven by `caseway_audit.verify`,
which rebuilds every tree. I14 (witnesses) and I25 (erasure) have no subject yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Mark(StrEnum):
    """Where an invariant is checked."""

    SIMULATOR = "S"
    CHAOS = "K"
    VERIFY = "V"
    RUNTIME = "R"


@dataclass(frozen=True, slots=True)
class Invariant:
    """One promise about every history; `running` is what keeps it in the services."""

    id: str
    name: str
    sentence: str
    marks: tuple[Mark, ...]
    running: str = ""


class At(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold: of which case (or place), what is wrong, and where."""

    invariant: str
    key: str
    what: str
    where: At | None = None

    @property
    def name(self) -> str:
        """The id with the name of the invariant."""
        return f"{self.invariant} {INVARIANTS[self.invariant].name}"

    def __str__(self) -> str:
        at = f" ({self.where})" if self.where is not None else ""
        return f"{self.name}: {self.key}: {self.what}{at}"


# What a checker calls: invariant id, key, what is wrong, where.
Report = Callable[[str, str, str, At | None], None]

_TABLE: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "I01",
        "decision once",
        "a gate revision has at most one decision, and takes effect at most once",
        "SKVR",
        "gate guard",
    ),
    (
        "I02",
        "consumed once",
        "an input lies in the interval of one commit, and an effect id has one permit",
        "SKV",
        "",
    ),
    (
        "I03",
        "idempotency",
        "a case is admitted once and opened once",
        "SKV",
        "",
    ),
    (
        "I04",
        "never stuck",
        "at rest an open case has a timer, a holder with a lease, a gate with a promise, or a "
        "queue of people",
        "SK",
        "",
    ),
    (
        "I05",
        "timers",
        "a timer that is set ends once, fired not before it is due or cancelled",
        "SKV",
        "",
    ),
    (
        "I06",
        "authority floor",
        "a gate is opened on the row that its facts require, decided by that row's roles, and "
        "takes effect as it was decided; a permit pays what was approved",
        "SKVR",
        "gate guard when it opens and is decided, case guard when it takes effect",
    ),
    (
        "I07",
        "four eyes",
        "who requested or prepared it, or owns an agent that did, does not decide; nobody counts "
        "for two roles",
        "SKVR",
        "gate guard",
    ),
    (
        "I08",
        "delegation narrows",
        "a gate is handed to another holder of the same role, who cannot hand it on",
        "SV",
        "",
    ),
    (
        "I09",
        "policy pinning",
        "a gate is judged by the matrix that was in force and recorded when it opened, which two "
        "signed; a closed gate never changes",
        "SKV",
        "",
    ),
    (
        "I10",
        "agents decide nothing",
        "only a gate of an auto row is decided without a person, and never by an agent",
        "SKVR",
        "gate guard and case guard",
    ),
    (
        "I12",
        "continuity",
        "a log begins with its genesis, its trailers count on from 1, and the events of a case "
        "count on in each log",
        "SKVR",
        "structure: `hosting/batches.py`, `integrity.sequence`",
    ),
    (
        "I15",
        "offsets follow outputs",
        "at quiescence the group's offset is the position in the last trailer",
        "SKR",
        "structure: a takeover seeks to the trailer, whatever the group says",
    ),
    (
        "I16",
        "whole transactions",
        "a trailer counts and digests the records of its batch",
        "SKVR",
        "structure: `hosting/batches.py`, `integrity.torn` and `integrity.digest`",
    ),
    (
        "I17",
        "monotone fencing",
        "the owner epoch of a log never falls",
        "SKVR",
        "structure: `hosting/batches.py`, `integrity.epoch`",
    ),
    (
        "I18",
        "one holder",
        "a task has one holder at a time, tokens only grow, and a stale token changes nothing",
        "SKV",
        "",
    ),
    (
        "I19",
        "quarantine",
        "nothing is granted to an agent in quarantine, and at rest it holds nothing",
        "SKV",
        "",
    ),
    (
        "I20",
        "capability",
        "an agent is granted what its card allows, a person what waits in a queue of theirs",
        "SKVR",
        "case guard",
    ),
    (
        "I21",
        "legal transitions",
        "a case moves along the edges of its definition, a task along its life; the end absorbs",
        "SKVR",
        "case guard for phases and the end",
    ),
    (
        "I22",
        "replay determinism",
        "two folds of one log give the same states",
        "SKV",
        "",
    ),
    (
        "I23",
        "snapshot equivalence",
        "a fold from a snapshot gives the states of a fold from the beginning",
        "SK",
        "",
    ),
    (
        "I24",
        "nothing leaks",
        "planted values occur nowhere outside the vault",
        "SKV",
        "",
    ),
    (
        "I26",
        "contracts",
        "every committed record is readable and belongs on its topic",
        "SKV",
        "",
    ),
    (
        "I27",
        "conservation",
        "what is admitted is opened, and what is consumed is answered, parked or a dead letter",
        "SK",
        "",
    ),
    (
        "I28",
        "acknowledged after commit",
        "a case id that a caller was given is in the intake log",
        "SKV",
        "",
    ),
    (
        "I29",
        "escalation",
        "a level is reached once, from the one below, and the end of the ladder raises alarms",
        "SKV",
        "",
    ),
    (
        "I30",
        "recorded time",
        "recorded time never falls within a partition",
        "SKV",
        "",
    ),
)

INVARIANTS: dict[str, Invariant] = {
    id_: Invariant(id_, name, sentence, tuple(Mark(mark) for mark in marks), running)
    for id_, name, sentence, marks, running in _TABLE
}
