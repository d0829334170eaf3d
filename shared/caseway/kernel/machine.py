"""A process definition, proven and made ready to run: where a case goes and who sees what.

`compile_definition` proves first and answers later, so that no method here meets a case it has
no answer for. A machine holds no state of a case; the caller keeps it by `machine.pin.digest`.
What a task or a gate is shown is a selection made here (need-to-know), and its digest is over
exactly that selection: whoever acts on it has acted on those facts and no others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from caseway.contracts.definition import (
    BooleanFact,
    Fact,
    Gate,
    GatePhase,
    IntegerFact,
    Phase,
    ProcessDefinition,
    Task,
    TasksPhase,
    TextFact,
)
from caseway.contracts.fields import Pin
from caseway.contracts.money import Money, parse_money
from caseway.errors import ContractError
from caseway.kernel.authority_proofs import prove_authority
from caseway.kernel.digests import digest_of
from caseway.kernel.graph import Graph, tasks_of
from caseway.kernel.guards import Guard, Guards, GuardType
from caseway.kernel.proofs import prove_shape


@dataclass(frozen=True)
class Machine:
    """One proven version of a process; made by `compile_definition` alone."""

    document: ProcessDefinition = field(repr=False)
    pin: Pin
    _tasks: dict[str, tuple[str, Task]] = field(repr=False, compare=False)
    _guards: dict[str, tuple[Guard | None, ...]] = field(repr=False, compare=False)

    @property
    def start(self) -> str:
        """The phase in which every case begins."""
        return self.document.spec.start

    @property
    def facts(self) -> Mapping[str, Fact]:
        """The typed facts of a case, by name."""
        return self.document.spec.facts

    def phase(self, name: str) -> Phase:
        """The phase of this name: a TasksPhase, a GatePhase or an EndPhase.

        Raises:
            ContractError: MACHINE_PHASE_UNKNOWN; the name is not from this version.
        """
        found = self.document.spec.phases.get(name)
        if found is None:
            raise self._foreign("phase", name)
        return found

    def task(self, name: str) -> Task:
        """The task of this name: an AgentTask, a HumanTask or an EffectTask.

        Raises:
            ContractError: MACHINE_TASK_UNKNOWN; the name is not from this version.
        """
        return self._task(name)[1]

    def phase_of(self, task: str) -> str:
        """The name of the phase a task belongs to."""
        return self._task(task)[0]

    def first_tasks(self, phase: str) -> tuple[str, ...]:
        """The tasks that open when a case enters a phase; none in a gate or an end."""
        return self.ready_tasks(phase, ())

    def ready_tasks(self, phase: str, done: Collection[str]) -> tuple[str, ...]:
        """The tasks not done whose predecessors all are, by name: a digest knows no key order."""
        return tuple(
            name
            for name, task in sorted(tasks_of(self.phase(phase)).items())
            if name not in done and all(before in done for before in task.after)
        )

    def is_complete(self, phase: str, done: Collection[str]) -> bool:
        """Say whether every task of a phase is done; a gate or an end is never complete."""
        tasks = tasks_of(self.phase(phase))
        return bool(tasks) and all(name in done for name in tasks)

    def next_phase(self, phase: str, facts: Mapping[str, Any]) -> str:
        """Where a case goes when the tasks of a phase are done: the first guard that holds.

        Raises:
            ContractError: MACHINE_FACT_ABSENT if these are not the facts of such a case, or
                MACHINE_PHASE_UNKNOWN if the phase has no tasks.
        """
        found = self.phase(phase)
        if isinstance(found, TasksPhase):
            for transition, guard in zip(found.next, self._guards[phase], strict=True):
                if guard is None or guard.holds(facts):
                    return transition.to
        raise self._foreign("phase with tasks", phase)

    def offered_facts(self, task: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The facts a task is shown, and no others; those the case does not have are left out."""
        return _selected(self.task(task).input, facts)

    def inputs_digest(self, task: str, facts: Mapping[str, Any]) -> str:
        """The digest of what a task is shown: a result on other facts is not a result."""
        return digest_of(self.offered_facts(task, facts))

    def gate_material(self, phase: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The facts a decision is bound to; null where the case has none, so that absence binds."""
        return {name: facts.get(name) for name in self._gate(phase).binds}

    def material_digest(self, phase: str, facts: Mapping[str, Any]) -> str:
        """The digest a decision is bound to: over facts alone, never a sequence number."""
        return digest_of(self.gate_material(phase, facts))

    def gate_shows(self, phase: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What an approver sees beside the material."""
        return _selected(self._gate(phase).shows, facts)

    def gate_flags(self, phase: str, facts: Mapping[str, Any]) -> frozenset[str]:
        """The flags that any of their facts raises; only a plain false leaves one down."""
        return frozenset(
            flag
            for flag, names in self._gate(phase).flags.items()
            if any(facts.get(name) is not False for name in names)
        )

    def gate_amount(self, phase: str, facts: Mapping[str, Any]) -> Money | None:
        """The amount that authority is measured by; None is for a person, never for auto."""
        name = self._gate(phase).amount
        value = facts.get(name)
        return None if value is None else parse_money(value, f"/{name}")

    def matrices(self) -> tuple[str, ...]:
        """The authority matrices that must be in force before a case may run."""
        phases = self.document.spec.phases.values()
        return tuple(sorted({p.gate.matrix for p in phases if isinstance(p, GatePhase)}))

    def _gate(self, phase: str) -> Gate:
        found = self.phase(phase)
        if not isinstance(found, GatePhase):
            raise self._foreign("gate", phase)
        return found.gate

    def _task(self, name: str) -> tuple[str, Task]:
        found = self._tasks.get(name)
        if found is None:
            raise self._foreign("task", name)
        return found

    def _foreign(self, what: str, name: str) -> ContractError:
        code = what.partition(" ")[0].upper()
        return ContractError(
            f"{name!r} is not a {what} of {self.pin}; read it under the version the case is "
            "pinned to",
            code=f"MACHINE_{code}_UNKNOWN",
        )


def compile_definition(document: ProcessDefinition) -> Machine:
    """Prove a definition and make it ready to run; the caller keeps it by its digest.

    Raises:
        ContractError: MACHINE_* for the first thing that does not hold, where it stands in the
            document, and what is expected. See `prove_shape`, `prove_authority` and `Guards`.
    """
    graph = Graph(document)
    prove_shape(graph)
    guards = _compile_guards(document)
    prove_authority(graph, guards)
    metadata = document.metadata
    return Machine(
        document=document,
        pin=Pin(name=metadata.name, version=metadata.version, digest=digest_of(document)),
        _tasks={name: (phase, task) for phase, name, task in graph.tasks()},
        _guards=guards,
    )


def _compile_guards(document: ProcessDefinition) -> dict[str, tuple[Guard | None, ...]]:
    types = {name: kind for name, fact in document.spec.facts.items() if (kind := _type_of(fact))}
    language = Guards(types)
    guards: dict[str, tuple[Guard | None, ...]] = {}
    for name, phase in document.spec.phases.items():
        if isinstance(phase, TasksPhase):
            guards[name] = tuple(
                language.compile(way.when, f"/spec/phases/{name}/next/{index}/when")
                if way.when is not None
                else None
                for index, way in enumerate(phase.next)
            )
    return guards


def _type_of(fact: Fact) -> GuardType | None:
    if isinstance(fact, BooleanFact):
        return "boolean"
    if isinstance(fact, IntegerFact):
        return "integer"
    return "text" if isinstance(fact, TextFact) else None


def _selected(names: Iterable[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in names if facts.get(name) is not None}
