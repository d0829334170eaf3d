"""What a definition says of a move, an end, a gate and a grant; "" or nothing where all is well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from caseway.contracts.case import GateRequested
from caseway.contracts.control import AgentCard
from caseway.contracts.decision import Choice
from caseway.contracts.definition import (
    EffectTask,
    EndPhase,
    GatePhase,
    HumanTask,
    Phase,
    ProcessDefinition,
    ProcessSpec,
    Task,
    TasksPhase,
)
from caseway.invariants.floor import raised_flags
from caseway.kernel.digests import digest_of


class Move(NamedTuple):
    """A case goes from one phase to another because of something: `why`, and of which task."""

    why: str
    task: str = ""
    start: str = ""
    to: str = ""
    done: frozenset[str] = frozenset()
    visited: tuple[str, ...] = ()


class Rights(Protocol):
    """Who may do what, as of a registry position."""

    def agent(self, name: str, position: int) -> AgentCard | None:
        """The card of an agent."""

    def roles(self, name: str, position: int) -> frozenset[str]:
        """The roles of a person."""

    def is_quarantined(self, name: str, position: int) -> bool:
        """Whether an agent stands still."""


def check_move(move: Move, spec: ProcessSpec) -> str:
    """Whether the definition has this edge, and whether what leads over it has happened."""
    targets = _targets(move, spec)
    if move.to in targets:
        return ""
    start = move.start or "the start"
    return f"from {start!r} to {move.to!r} after {move.why!r} is no edge of the definition"


def _targets(move: Move, spec: ProcessSpec) -> frozenset[str]:
    if not move.start:
        return frozenset({spec.start})
    if move.why == "amended":
        # Facts changed: the case goes back to a phase on its way here, and makes it again.
        return frozenset(move.visited)
    phase = spec.phases.get(move.start)
    if isinstance(phase, TasksPhase):
        task = phase.tasks.get(move.task)
        if move.why == "undone" and isinstance(task, EffectTask):
            return frozenset({task.gate})
        if move.why == "completed" and move.done == frozenset(phase.tasks):
            return frozenset(way.to for way in phase.next)
    if isinstance(phase, GatePhase):
        return frozenset(to for choice, to in gate_targets(phase) if choice == move.why)
    return frozenset()


def gate_targets(phase: GatePhase) -> Iterator[tuple[Choice, str]]:
    """Where each choice leads."""
    yield Choice.APPROVE, phase.gate.approved
    yield Choice.REJECT, phase.gate.rejected
    yield Choice.SEND_BACK, phase.gate.sent_back


def check_end(phase: str, outcome: str, spec: ProcessSpec) -> str:
    """Whether a case that stands in this phase ends so."""
    found: Phase | None = spec.phases.get(phase)
    if isinstance(found, EndPhase) and found.end == outcome:
        return ""
    return f"phase {phase!r} does not end as {outcome!r}"


def check_gate(
    document: ProcessDefinition | None, data: GateRequested, facts: Mapping[str, Any]
) -> str:
    """Whether a gate is asked about the facts of its case: amount, flags and material."""
    phase = document.spec.phases.get(data.phase) if document is not None else None
    if not isinstance(phase, GatePhase) or phase.gate.matrix != data.matrix:
        return f"{data.gate_id} is no gate of the definition under matrix {data.matrix!r}"
    if data.amount.model_dump() != facts.get(phase.gate.amount):
        return f"{data.gate_id} is asked for another amount than the case has"
    if raised_flags(phase.gate, facts) != set(data.flags):
        return f"{data.gate_id} is asked under other flags than the facts raise"
    material = {name: facts.get(name) for name in phase.gate.binds}
    if data.material != material or digest_of(material) != data.digest:
        return f"{data.gate_id} binds other facts than the case has"
    return ""


def check_grant(
    document: ProcessDefinition | None,
    name: str,
    holder: str,
    queue: str,
    rights: Rights,
    position: int,
) -> Iterator[tuple[str, str]]:
    """Which rules speak against a grant, by id: I19 for quarantine, I20 for everything else."""
    task = task_of(document, name)
    if task is None:
        yield "I20", f"{name!r} is no task of the definition"
    elif holder.startswith("person:"):
        wanted = queue or (task.queue if isinstance(task, HumanTask) else task.fallback)
        if wanted not in rights.roles(holder, position):
            yield "I20", f"{holder} is granted {name}, and is not of queue {wanted!r}"
    elif isinstance(task, HumanTask):
        yield "I20", f"{holder} is granted {name}, which is for people"
    else:
        card = rights.agent(holder, position)
        if card is None or task.skill not in card.skills or task.pool != card.pool:
            found = f"needs skill {task.skill!r} in pool {task.pool!r}"
            yield "I20", f"{name} {found}, and {holder} has it not"
        if rights.is_quarantined(holder, position):
            yield "I19", f"{holder} is granted {name} in quarantine"


def task_of(document: ProcessDefinition | None, name: str) -> Task | None:
    """The task of this name, in whatever phase."""
    if document is None:
        return None
    for phase in document.spec.phases.values():
        if isinstance(phase, TasksPhase) and name in phase.tasks:
            return phase.tasks[name]
    return None
