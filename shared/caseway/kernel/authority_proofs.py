"""Proofs over the facts of a process: who may read and write them, and what authority covers.

The first of Caseway's promises, made static: no effect can be reached without the approval of
its own gate, over its own amount and payee, for this one time; and nothing classified is ever
used to decide. What a guard or gate needs is there in every case, whichever way it came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from caseway.contracts.definition import (
    BooleanFact,
    EffectTask,
    Gate,
    GatePhase,
    MoneyFact,
    PseudonymFact,
    ReferencesFact,
    SealedFact,
    TextFact,
)
from caseway.kernel.graph import Edge, Graph, refusal, tasks_of, unknown, written_in
from caseway.kernel.guards import Guard


def prove_authority(graph: Graph, guards: Mapping[str, tuple[Guard | None, ...]]) -> None:
    """Prove that facts, guards, gates and effects fit each other.

    Raises:
        ContractError: MACHINE_FACT_UNKNOWN, _FACT_UNUSED, _FACT_UNSET, _OUTPUT, _OUTPUT_TWICE,
            _SEALED, _GUARD_UNCERTAIN, _GUARD_VALUE, _GATE_AMOUNT, _GATE_FLAG, _EFFECT_GATE,
            _EFFECT_AMOUNT, _EFFECT_PAYEE, _EFFECT_UNGATED, _EFFECT_REPEATS or _EFFECT_REBOUND.
    """
    _facts_are_known(graph)
    _outputs_are_for_tasks(graph)
    _guards_are_certain(graph, guards)
    for name, gate in graph.gates():
        _gate_can_be_decided(graph, name, gate)
    for phase, name, task in graph.tasks():
        if isinstance(task, EffectTask):
            _effect_is_covered(graph, phase, name, task)
    _facts_have_a_use(graph, guards)


def _deciding(graph: Graph) -> Iterator[tuple[str, str]]:
    """Every (place, fact) that authority rests on; none of them may be classified."""
    for phase, gate in graph.gates():
        at = f"/spec/phases/{phase}/gate"
        yield f"{at}/amount", gate.amount
        for flag, facts in gate.flags.items():
            yield from ((f"{at}/flags/{flag}/{i}", fact) for i, fact in enumerate(facts))
        for key, names in (("binds", gate.binds), ("shows", gate.shows)):
            yield from ((f"{at}/{key}/{i}", fact) for i, fact in enumerate(names))
    for phase, name, task in graph.tasks():
        if isinstance(task, EffectTask):
            at = f"/spec/phases/{phase}/tasks/{name}"
            yield from ((f"{at}/amount", task.amount), (f"{at}/payee", task.payee))


def _exchanged(graph: Graph, key: str) -> Iterator[tuple[str, str]]:
    for phase, name, task in graph.tasks():
        at = f"/spec/phases/{phase}/tasks/{name}/{key}"
        yield from ((f"{at}/{i}", fact) for i, fact in enumerate(getattr(task, key)))


def _facts_are_known(graph: Graph) -> None:
    deciding = tuple(_deciding(graph))
    for where, fact in (*_exchanged(graph, "input"), *_exchanged(graph, "output"), *deciding):
        if fact not in graph.facts:
            raise refusal("FACT_UNKNOWN", where, unknown("fact", fact, graph.facts))
    for where, fact in deciding:
        if isinstance(graph.facts[fact], SealedFact):
            raise refusal(
                "SEALED",
                where,
                f"{fact!r} is sealed, and nothing is decided on what is classified; name a "
                "plain fact",
            )


def _facts_have_a_use(graph: Graph, guards: Mapping[str, tuple[Guard | None, ...]]) -> None:
    written = {fact for _, fact in _exchanged(graph, "output")}
    read = {fact for _, fact in (*_exchanged(graph, "input"), *_deciding(graph))}
    read |= {name for row in guards.values() for guard in row if guard for name in guard.names}
    for name, fact in graph.facts.items():
        where = f"/spec/facts/{name}"
        if fact.origin == "task" and name not in written:
            what = f"no task writes fact {name!r}; add it to an `output`, or remove it"
            raise refusal("FACT_UNSET", where, what)
        if fact.origin == "submission" and name not in read:
            raise refusal(
                "FACT_UNUSED",
                where,
                f"no task, guard or gate reads fact {name!r}; data nobody needs is not asked "
                "for: remove it, or show it to someone",
            )


def _outputs_are_for_tasks(graph: Graph) -> None:
    for where, name in _exchanged(graph, "output"):
        fact = graph.facts[name]
        if fact.origin != "task" and not isinstance(fact, ReferencesFact):
            raise refusal(
                "OUTPUT",
                where,
                f"{name!r} is the submitter's own statement, which no task overwrites; write a "
                "fact with `from: task` (only references may be added to)",
            )
    for phase_name, phase in graph.phases.items():
        for (one, task), (other, sibling) in combinations(tasks_of(phase).items(), 2):
            for shared in sorted(set(task.output) & set(sibling.output)):
                raise refusal(
                    "OUTPUT_TWICE",
                    f"/spec/phases/{phase_name}/tasks/{other}/output",
                    f"tasks {one!r} and {other!r} both write {shared!r}, and which of them is done "
                    "last is chance; let one write it",
                )


def _guards_are_certain(graph: Graph, guards: Mapping[str, tuple[Guard | None, ...]]) -> None:
    for phase, row in guards.items():
        certain = graph.certain[phase] | written_in(graph.phases[phase])
        for guard in filter(None, row):
            for name in sorted(guard.names - certain):
                raise refusal(
                    "GUARD_UNCERTAIN",
                    guard.where,
                    f"{name!r} may be absent when phase {phase!r} is left; make it required, "
                    "give it a default, or have a task write it on every way there",
                )
            for name, literal in guard.comparisons:
                fact = graph.facts.get(name)
                words = fact.one_of if isinstance(fact, TextFact) else None
                if words is not None and literal not in words:
                    raise refusal(
                        "GUARD_VALUE",
                        guard.where,
                        f"{name!r} is compared with a word it can never be; it is one of "
                        f"{', '.join(words)}",
                    )


def _gate_can_be_decided(graph: Graph, phase: str, gate: Gate) -> None:
    at, certain = f"/spec/phases/{phase}/gate", graph.certain[phase]
    what = f"{gate.amount!r} is what authority is measured by, so it must "
    if not isinstance(graph.facts[gate.amount], MoneyFact):
        raise refusal("GATE_AMOUNT", f"{at}/amount", what + "be a money fact")
    if gate.amount not in gate.binds:
        raise refusal("GATE_AMOUNT", f"{at}/binds", what + "be among the facts the gate binds")
    if gate.amount not in certain:
        raise refusal(
            "GATE_AMOUNT", f"{at}/amount", what + "be there in every case that comes to the gate"
        )
    for flag, facts in gate.flags.items():
        for index, name in enumerate(facts):
            if not isinstance(graph.facts[name], BooleanFact) or name not in certain:
                raise refusal(
                    "GATE_FLAG",
                    f"{at}/flags/{flag}/{index}",
                    f"{name!r} raises flag {flag!r}, so it must be a boolean fact that is there "
                    "in every case that comes to the gate: give it a default",
                )


def _effect_is_covered(graph: Graph, phase: str, name: str, task: EffectTask) -> None:
    at = f"/spec/phases/{phase}/tasks/{name}"
    gate_phase = graph.phases.get(task.gate)
    if not isinstance(gate_phase, GatePhase):
        gates = [gate for gate, _ in graph.gates()]
        raise refusal("EFFECT_GATE", f"{at}/gate", unknown("gate", task.gate, gates))
    gate = gate_phase.gate
    if task.amount != gate.amount:
        raise refusal(
            "EFFECT_AMOUNT",
            f"{at}/amount",
            f"effect {name!r} moves {task.amount!r}, but gate {task.gate!r} measures authority by "
            f"{gate.amount!r}; name the same fact in both",
        )
    is_person = isinstance(graph.facts[task.payee], PseudonymFact)
    if task.payee not in gate.binds or not is_person or task.payee not in graph.certain[phase]:
        raise refusal(
            "EFFECT_PAYEE",
            f"{at}/payee",
            f"{task.payee!r} must be a pseudonym fact that every case has and that gate "
            f"{task.gate!r} binds, so that an approval holds for one payee",
        )
    approval = next(e for e in graph.leaving(task.gate) if e.where.endswith("/approved"))
    _approval_comes_first(graph, phase, name, approval)
    _approved_facts_stay(graph, phase, name, approval)


def _approval_comes_first(graph: Graph, phase: str, name: str, approval: Edge) -> None:
    """Take the approval out of the graph: the effect must be out of reach, and stay so."""
    at = f"/spec/phases/{phase}/tasks/{name}/gate"
    if phase in graph.reached([graph.start], without=approval):
        raise refusal(
            "EFFECT_UNGATED",
            at,
            f"effect {name!r} can be reached without the approval of gate {approval.source!r}; "
            "lead every way to it through `approved` of that gate",
        )
    after = [edge.target for edge in graph.leaving(phase)]
    again = graph.reached(after, without=approval)
    for other_phase, other, task in graph.tasks():
        if not isinstance(task, EffectTask) or task.gate != approval.source:
            continue
        if other_phase in again or (other_phase == phase and other != name):
            raise refusal(
                "EFFECT_REPEATS",
                at,
                f"after effect {name!r} the same approval of gate {approval.source!r} leads to "
                f"effect {other!r}; one approval permits one effect: ask the gate again between",
            )


def _approved_facts_stay(graph: Graph, phase: str, name: str, approval: Edge) -> None:
    """No task between approval and effect writes what was approved: it would void the approval."""
    gate = dict(graph.gates())[approval.source]
    for between in sorted(graph.reached([approval.target])):
        if phase not in graph.reached([between], without=approval):
            continue
        for other, task in tasks_of(graph.phases[between]).items():
            for fact in sorted(set(task.output) & set(gate.binds)):
                raise refusal(
                    "EFFECT_REBOUND",
                    f"/spec/phases/{between}/tasks/{other}/output",
                    f"task {other!r} writes {fact!r} between the approval of gate "
                    f"{approval.source!r} and effect {name!r}, which voids it; write it before "
                    "the gate, or bind another fact",
                )
