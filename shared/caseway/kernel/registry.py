"""What operators have put in force, folded from the registry in order; broadcast to every shard.

A `Registry` is immutable: every position has one, and shards that stand at the same position
share it. Documents are compiled once, when they are folded, and found again by digest for life.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from caseway.contracts import control
from caseway.contracts.codec import Event
from caseway.contracts.control import AgentCard, PersonCard
from caseway.contracts.fields import Pin
from caseway.contracts.shard import ShardGenesis
from caseway.contracts.signing import VerifyKey
from caseway.errors import IntegrityError
from caseway.kernel.calendars import CompiledCalendar, compile_calendar
from caseway.kernel.machine import Machine, compile_definition
from caseway.kernel.matrix import CompiledMatrix, compile_matrix

OPERATOR_ROLE = "operator"


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything in force at `position`, the next registry offset to read."""

    namespace: str = ""
    generation: str = ""
    shards: int = 1
    position: int = 0
    level: int = 1
    is_halted: bool = False
    root_keys: dict[str, str] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    machines_by_digest: dict[str, Machine] = field(default_factory=dict)
    matrices: dict[str, CompiledMatrix] = field(default_factory=dict)
    matrices_by_digest: dict[str, CompiledMatrix] = field(default_factory=dict)
    calendars: dict[str, CompiledCalendar] = field(default_factory=dict)
    agents: dict[str, AgentCard] = field(default_factory=dict)
    agents_by_skill: dict[str, tuple[AgentCard, ...]] = field(default_factory=dict)
    persons: dict[str, PersonCard] = field(default_factory=dict)
    quarantined: dict[str, str] = field(default_factory=dict)

    def machine(self, pin: Pin) -> Machine:
        """The definition a case is pinned to.

        Raises:
            IntegrityError: the log names a version that the registry never published.
        """
        machine = self.machines_by_digest.get(pin.digest)
        if machine is None:
            raise IntegrityError(f"definition {pin} is not in the registry at {self.position}")
        return machine

    def roles_of(self, person_id: str) -> frozenset[str]:
        """The roles a person holds now; none for someone unknown."""
        card = self.persons.get(person_id)
        return frozenset(card.roles) if card else frozenset()

    def holders_of(self, role: str) -> tuple[str, ...]:
        """Every person who holds a role now, in a stable order."""
        return tuple(sorted(name for name, card in self.persons.items() if role in card.roles))

    def verify_key(self, key_id: str) -> VerifyKey | None:
        """The public key behind `agent:…`, `person:…` or `root:…`, as of this position."""
        kind, _, name = key_id.partition(":")
        if kind == "root":
            text = self.root_keys.get(name)
        elif kind == "person":
            person = self.persons.get(name)
            text = person.public_key if person and person.roles else None
        else:
            agent = self.agents.get(name) if kind == "agent" else None
            text = agent.public_key if agent else None
        return VerifyKey.from_text(text) if text else None


def advance(registry: Registry, event: Event, next_offset: int) -> Registry:
    """The registry after one more of its records; types without effect only move the position."""
    fold = _FOLDS.get(event.envelope.type)
    return replace(registry, position=next_offset, **(fold(registry, event.data) if fold else {}))


def _genesis(_registry: Registry, data: ShardGenesis) -> dict[str, Any]:
    return {
        "namespace": data.namespace,
        "generation": data.generation,
        "shards": data.shards,
        "root_keys": {f"{n}": text for n, text in enumerate(data.root_keys, 1)},
    }


def _definition(registry: Registry, data: control.DefinitionPublished) -> dict[str, Any]:
    machine = compile_definition(data.document)
    return {
        "machines": {**registry.machines, data.pin.name: machine},
        "machines_by_digest": {**registry.machines_by_digest, data.pin.digest: machine},
    }


def _matrix(registry: Registry, data: control.MatrixPublished) -> dict[str, Any]:
    matrix = compile_matrix(data.document)
    return {
        "matrices": {**registry.matrices, data.pin.name: matrix},
        "matrices_by_digest": {**registry.matrices_by_digest, data.pin.digest: matrix},
    }


def _calendar(registry: Registry, data: control.CalendarPublished) -> dict[str, Any]:
    calendar = compile_calendar(data.document)
    return {"calendars": {**registry.calendars, data.pin.name: calendar}}


def _agent(registry: Registry, data: control.AgentRegistered) -> dict[str, Any]:
    agents = {**registry.agents, data.card.agent_id: data.card}
    by_skill: dict[str, list[AgentCard]] = {}
    for name in sorted(agents):
        for skill in agents[name].skills:
            by_skill.setdefault(skill, []).append(agents[name])
    return {
        "agents": agents,
        "agents_by_skill": {skill: tuple(cards) for skill, cards in by_skill.items()},
    }


def _person(registry: Registry, data: control.PersonAppointed) -> dict[str, Any]:
    return {"persons": {**registry.persons, data.card.person_id: data.card}}


def _quarantine(registry: Registry, data: control.AgentQuarantined) -> dict[str, Any]:
    return {"quarantined": {**registry.quarantined, data.agent_id: data.reason}}


def _release(registry: Registry, data: control.AgentReleased) -> dict[str, Any]:
    left = {name: why for name, why in registry.quarantined.items() if name != data.agent_id}
    return {"quarantined": left}


_FOLDS: dict[str, Callable[[Registry, Any], dict[str, Any]]] = {
    ShardGenesis.TYPE: _genesis,
    control.DefinitionPublished.TYPE: _definition,
    control.MatrixPublished.TYPE: _matrix,
    control.CalendarPublished.TYPE: _calendar,
    control.AgentRegistered.TYPE: _agent,
    control.PersonAppointed.TYPE: _person,
    control.AgentQuarantined.TYPE: _quarantine,
    control.AgentReleased.TYPE: _release,
    control.NamespaceHalted.TYPE: lambda _registry, _data: {"is_halted": True},
    control.NamespaceResumed.TYPE: lambda _registry, _data: {"is_halted": False},
    control.ContractRaised.TYPE: lambda _registry, data: {"level": data.level},
}
