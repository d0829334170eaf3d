"""A process definition as a graph: its phases, the ways between them, what is certain in each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from caseway.contracts.definition import (
    Gate,
    GatePhase,
    Phase,
    ProcessDefinition,
    Task,
    TasksPhase,
)
from caseway.errors import ContractError


@dataclass(frozen=True)
class Edge:
    """One way out of a phase; `where` is the place in the document that names its target."""

    source: str
    target: str
    where: str


class Graph:
    """The phases of one definition and every way between them, each guard taken as open."""

    def __init__(self, document: ProcessDefinition) -> None:
        self.start = document.spec.start
        self.facts = document.spec.facts
        self.phases = document.spec.phases
        self.edges = tuple(e for name, phase in self.phases.items() for e in _ways(name, phase))

    def tasks(self) -> Iterator[tuple[str, str, Task]]:
        """Each task as (phase, name, task), in the order of the document."""
        for phase_name, phase in self.phases.items():
            for name, task in tasks_of(phase).items():
                yield phase_name, name, task

    def gates(self) -> Iterator[tuple[str, Gate]]:
        """Each gate as (phase, gate), in the order of the document."""
        for name, phase in self.phases.items():
            if isinstance(phase, GatePhase):
                yield name, phase.gate

    def reached(self, sources: Iterable[str], without: Edge | None = None) -> set[str]:
        """The phases a case in one of `sources` can get to, those themselves included."""
        return closure(sources, [(e.source, e.target) for e in self.edges if e != without])

    def leaving(self, phase: str) -> tuple[Edge, ...]:
        """The ways out of one phase, in the order in which they are tried."""
        return tuple(edge for edge in self.edges if edge.source == phase)

    @cached_property
    def certain(self) -> dict[str, frozenset[str]]:
        """For each phase the facts every case has on entering it, whichever way it came.

        It starts from "all facts" and takes away what some way does not bring, until nothing
        changes; facts are never removed from a case, so a phase passes on what it was given.
        """
        certain = dict.fromkeys(self.phases, frozenset(self.facts))
        certain[self.start] = frozenset(
            name
            for name, fact in self.facts.items()
            if fact.required or getattr(fact, "default", None) is not None
        )
        pending = [self.start]
        while pending:
            source = pending.pop()
            brought = certain[source] | written_in(self.phases[source])
            for edge in self.leaving(source):
                met = certain[edge.target] & brought
                if met != certain[edge.target]:
                    certain[edge.target] = met
                    pending.append(edge.target)
        return certain


def closure(sources: Iterable[str], ways: Collection[tuple[str, str]]) -> set[str]:
    """All that can be reached from `sources`, themselves included."""
    seen = set(sources)
    pending = sorted(seen)
    while pending:
        name = pending.pop()
        new = {target for source, target in ways if source == name} - seen
        seen |= new
        pending += sorted(new)
    return seen


def tasks_of(phase: Phase) -> dict[str, Task]:
    """The tasks of a phase by name; a gate and an end have none."""
    return phase.tasks if isinstance(phase, TasksPhase) else {}


def written_in(phase: Phase) -> frozenset[str]:
    """The facts that the tasks of a phase have written when all of them are done."""
    return frozenset(fact for task in tasks_of(phase).values() for fact in task.output)


def refusal(code: str, where: str, what: str) -> ContractError:
    """A refusal of a definition: the place, what is wrong there, what is expected."""
    return ContractError(f"{where}: {what}", code=f"MACHINE_{code}", where=where)


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence on a name that nothing bears, with the nearest one that something does."""
    close = get_close_matches(name, list(known), 1)
    hint = f"did you mean {close[0]!r}?" if close else "add it, or correct the name"
    return f"{name!r} is not a {what} of this definition; {hint}"


def _ways(name: str, phase: Phase) -> tuple[Edge, ...]:
    at = f"/spec/phases/{name}"
    if isinstance(phase, TasksPhase):
        return tuple(Edge(name, n.to, f"{at}/next/{i}/to") for i, n in enumerate(phase.next))
    if isinstance(phase, GatePhase):
        ways = ("approved", "rejected", "sent_back")
        return tuple(Edge(name, getattr(phase.gate, w), f"{at}/gate/{w}") for w in ways)
    return ()
