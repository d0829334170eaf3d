"""What a service is: a card naming what it hears and says, and its pure functions.

    decide(state of this case, delivery, registry) -> Step     no I/O, no clock, no randomness
    evolve(state, event) -> state                              the only way a state changes

A replay only evolves; it never decides again. `evolve` sees neither offset nor append time of
its own event, so what was folded before the commit equals what is folded after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from caseway.contracts.codec import Event
from caseway.contracts.envelope import Strength
from caseway.contracts.fields import Contract
from caseway.contracts.topics import Topic
from caseway.kernel.registry import Registry

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who caused a record: `person:ann`, `agent:triage-1`, `submitter:portal`, `system:router`."""

    name: str
    strength: Strength
    signers: tuple[str, ...] = ()

    @property
    def is_person(self) -> bool:
        """True for a person whose signature or session was verified."""
        return self.name.startswith("person:")

    @property
    def is_agent(self) -> bool:
        """True for an agent whose signature was verified."""
        return self.name.startswith("agent:")

    @property
    def short(self) -> str:
        """The name without its kind."""
        return self.name.partition(":")[2]


class Delivery(NamedTuple):
    """One input as `decide` sees it.

    `at_ms` is the time of what is decided: the append time of the record, but never before that
    of an earlier one. `appended_ms` is the record's own, which everybody can read from the log.
    """

    event: Event
    topic: str
    cause: str
    at_ms: int
    actor: Actor
    appended_ms: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A record for one pool; `agent` "" addresses whoever has the skill."""

    pool: str
    skill: str
    agent: str
    data: Contract


@dataclass(frozen=True, slots=True)
class Step:
    """What a decision says: events for the own log in order, offers, and registry facts.

    `definition` and `matrix` are the pins under which it was decided.
    """

    events: tuple[Contract, ...] = ()
    offers: tuple[Offer, ...] = ()
    registry: tuple[Contract, ...] = ()
    definition: str = ""
    matrix: str = ""


NOTHING = Step()


@dataclass(frozen=True, slots=True)
class Input:
    """A topic a service reads; `hears` are the event types it decides on, others are passed over.

    `needs_barrier`: before deciding, the registry is read to the end seen after the fetch, so a
    revocation committed before is in force.
    """

    topic: Topic
    hears: frozenset[str]
    needs_barrier: bool = False


def never_due(_state: object) -> int | None:
    """What a card says that has nothing to be woken for."""
    return None


def _no_guard(_state: object, _event: Event, _heard: Contract | None, _registry: Registry) -> None:
    """Nothing is forbidden."""


def _no_wake(_state: object, _key: str, _now_ms: int) -> Step:
    return NOTHING


def _never_stuck(_state: object) -> bool:
    return False


def _touches_none(_states: object, _event: Event) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Card(Generic[S]):
    """A service as data: who has read one has read five.

    `inputs` stand in the fixed order of fairness. `is_settled` says of a state that nothing but a
    refusal can come of it, so that snapshots pack it away; `is_stuck` that nothing is awaited in an
    open one, which no operator should ever see. `touched` names the cases that a registry event
    concerns, of the states that are not settled; it reads them only if it has to. `due_ms` is when
    such a state wants to be woken, and `wake` what it then says; only the watchdog has them.
    `guard` sees each event before it is folded, with the state before it and what was heard; what
    it raises faults that case, and the event is not written.

    `linger_ms` is how long records may wait for others, so that one commit answers them together:
    0 for whoever is on a case's way. `prune` is given what came together for one case, and may
    take from each delivery what a later one takes back.
    """

    service: str
    own: Topic
    inputs: tuple[Input, ...]
    state_type: type[S]
    state_version: int
    decide: Callable[[S | None, Delivery, Registry], Step]
    evolve: Callable[[S | None, Event], S | None]
    is_settled: Callable[[S], bool]
    is_stuck: Callable[[S], bool] = _never_stuck
    touched: Callable[[Iterable[tuple[str, S]], Event], Iterable[str]] = _touches_none
    due_ms: Callable[[S], int | None] = never_due
    wake: Callable[[S, str, int], Step] = _no_wake
    guard: Callable[[S | None, Event, Contract | None, Registry], None] = _no_guard
    linger_ms: int = 0
    prune: Callable[[Sequence[Delivery]], Sequence[Delivery]] | None = None
