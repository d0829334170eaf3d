"""Proofs of the shape of a process: a case always has somewhere to go, and gets to an end.

Each proof raises a ContractError with a MACHINE_* code that names the offender. They run in the
order of `prove_shape`, because each may trust those before it.
"""

from __future__ import annotations

from caseway.contracts.definition import WITHDRAWN, EndPhase, HumanTask, TasksPhase
from caseway.kernel.graph import Graph, closure, refusal, tasks_of, unknown


def prove_shape(graph: Graph) -> None:
    """Prove that phases, transitions and the order of tasks lead every case to an end.

    Raises:
        ContractError: MACHINE_START, _TARGET_UNKNOWN, _UNREACHABLE, _NO_END, _OUTCOME,
            _NEXT_OPEN, _NEXT_DEAD, _GATE_LOOP, _TASK_TWICE, _AFTER_UNKNOWN, _AFTER_CYCLE or
            _QUEUE.
    """
    _targets_exist(graph)
    _phases_are_reachable(graph)
    _ends_are_reachable(graph)
    _transitions_always_apply(graph)
    _gates_do_not_circle(graph)
    _tasks_have_their_own_names(graph)
    _tasks_do_not_wait_in_a_circle(graph)
    _queues_escalate_elsewhere(graph)


def _targets_exist(graph: Graph) -> None:
    if graph.start not in graph.phases:
        raise refusal("START", "/spec/start", unknown("phase", graph.start, graph.phases))
    for edge in graph.edges:
        if edge.target not in graph.phases:
            what = unknown("phase", edge.target, graph.phases)
            raise refusal("TARGET_UNKNOWN", edge.where, what)


def _phases_are_reachable(graph: Graph) -> None:
    reached = graph.reached([graph.start])
    for name in graph.phases:
        if name not in reached:
            raise refusal(
                "UNREACHABLE",
                f"/spec/phases/{name}",
                f"no case can get to phase {name!r} from {graph.start!r}; lead a transition to "
                "it, or remove it",
            )


def _ends_are_reachable(graph: Graph) -> None:
    ends = [name for name, phase in graph.phases.items() if isinstance(phase, EndPhase)]
    ending = closure(ends, [(edge.target, edge.source) for edge in graph.edges])
    for name, phase in graph.phases.items():
        at = f"/spec/phases/{name}"
        if name not in ending:
            what = f"no end can be reached from phase {name!r}; add a transition towards one"
            raise refusal("NO_END", at, what)
        if isinstance(phase, EndPhase) and phase.end == WITHDRAWN:
            raise refusal(
                "OUTCOME",
                f"{at}/end",
                f"{WITHDRAWN!r} is the outcome of cases their submitter takes back; name another",
            )


def _transitions_always_apply(graph: Graph) -> None:
    for name, phase in graph.phases.items():
        if not isinstance(phase, TasksPhase):
            continue
        at = f"/spec/phases/{name}/next"
        *guarded, last = phase.next
        if last.when is not None:
            raise refusal(
                "NEXT_OPEN",
                f"{at}/{len(guarded)}",
                f"the last transition of phase {name!r} has a guard, so a case may have nowhere "
                "to go; end the list with one that has no `when`",
            )
        for index, transition in enumerate(guarded):
            if transition.when is None:
                raise refusal(
                    "NEXT_DEAD",
                    f"{at}/{index}",
                    f"the transition to {transition.to!r} always applies, so those after it never "
                    "do; give it a `when`, or put it last",
                )


def _gates_do_not_circle(graph: Graph) -> None:
    gates = {name for name, _ in graph.gates()}
    ways = [(e.source, e.target) for e in graph.edges if e.source in gates]
    for name in graph.phases:
        if name in closure([target for source, target in ways if source == name], ways):
            raise refusal(
                "GATE_LOOP",
                f"/spec/phases/{name}/gate",
                f"gate {name!r} leads back to itself with no task between, so the same would be "
                "asked for ever; lead one of its ways to a phase with tasks",
            )


def _tasks_have_their_own_names(graph: Graph) -> None:
    seen: dict[str, str] = {}
    for phase, name, _ in graph.tasks():
        if name in seen:
            raise refusal(
                "TASK_TWICE",
                f"/spec/phases/{phase}/tasks/{name}",
                f"task {name!r} is also in phase {seen[name]!r}; a report names its task alone, "
                "so give each a name of its own",
            )
        seen[name] = phase


def _tasks_do_not_wait_in_a_circle(graph: Graph) -> None:
    for phase, name, task in graph.tasks():
        siblings = tasks_of(graph.phases[phase])
        at = f"/spec/phases/{phase}/tasks/{name}/after"
        for index, before in enumerate(task.after):
            if before not in siblings:
                what = unknown("task in the same phase", before, siblings)
                raise refusal("AFTER_UNKNOWN", f"{at}/{index}", what)
        waits = [(n, before) for n, sibling in siblings.items() for before in sibling.after]
        if name in closure(task.after, waits):
            what = f"task {name!r} waits for itself; break the circle"
            raise refusal("AFTER_CYCLE", at, what)


def _queues_escalate_elsewhere(graph: Graph) -> None:
    for phase, name, task in graph.tasks():
        if isinstance(task, HumanTask) and task.queue == task.escalates_to:
            raise refusal(
                "QUEUE",
                f"/spec/phases/{phase}/tasks/{name}/escalates_to",
                f"queue {task.queue!r} escalates to itself; name who else hears of a missed SLA",
            )
