"""What the router may not write: a false taking, grant, move or end (I06 I10 I20 I21)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from caseway.contracts import case
from caseway.contracts.codec import Event
from caseway.contracts.control import AgentCard
from caseway.contracts.decision import Choice, GateDecided
from caseway.contracts.definition import WITHDRAWN, GatePhase
from caseway.contracts.fields import Contract, Pin
from caseway.contracts.matrix import SYSTEM
from caseway.contracts.money import parse_money
from caseway.contracts.report import ReportEffect
from caseway.contracts.shard import CaseFaulted, CaseResumed, InputParked
from caseway.contracts.submission import AmendmentAdmitted
from caseway.invariants.floor import raised_flags, required_row, roles_at
from caseway.invariants.moves import Move, check_end, check_grant, check_move
from caseway.invariants.sentry import InvariantBroken
from caseway.kernel.registry import Registry

# All that may still be said of a closed case.
_AFTER_THE_END = (
    case.ReportRefused,
    case.WishRefused,
    CaseFaulted,
    InputParked,
    CaseResumed,
)


class TaskLike(Protocol):
    """What the guard reads of a task."""

    @property
    def status(self) -> str:
        """Where it is in its life."""

    @property
    def queue(self) -> str:
        """The people that it waits for."""


class CaseLike(Protocol):
    """What the guard reads of a case."""

    @property
    def definition(self) -> Pin:
        """The definition that it keeps for life."""

    @property
    def is_closed(self) -> bool:
        """Whether it has its outcome."""

    @property
    def phase(self) -> str:
        """Where it stands."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of it."""

    @property
    def visited(self) -> tuple[str, ...]:
        """The way to its phase."""

    @property
    def tasks(self) -> Mapping[str, TaskLike]:
        """The tasks of its phase."""


class _Now:
    """The registry as the worker has it, under the questions that `check_grant` asks."""

    __slots__ = ("_registry",)

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def agent(self, name: str, _position: int) -> AgentCard | None:
        return self._registry.agents.get(name.removeprefix("agent:"))

    def roles(self, name: str, _position: int) -> frozenset[str]:
        return self._registry.roles_of(name.removeprefix("person:"))

    def is_quarantined(self, name: str, _position: int) -> bool:
        return name.removeprefix("agent:") in self._registry.quarantined


def guard_case(
    state: CaseLike | None, event: Event, heard: Contract | None, registry: Registry
) -> None:
    """Refuse an event of the router that breaks an invariant.

    Raises:
        InvariantBroken: the event must not be written.
    """
    data = event.data
    if state is None:
        return
    if state.is_closed and not isinstance(data, _AFTER_THE_END):
        raise InvariantBroken("I21", f"{event.envelope.type} after the case was closed")
    check = _CHECKS.get(type(data))
    if check is not None:
        check(state, data, heard, registry)


def _entered(
    state: CaseLike, data: case.PhaseEntered, heard: Contract | None, registry: Registry
) -> None:
    done = frozenset(name for name, task in state.tasks.items() if task.status == "done")
    why, task = _reason(state, heard)
    move = Move(why, task, state.phase, data.phase, done, state.visited)
    found = check_move(move, registry.machine(state.definition).document.spec)
    if found:
        raise InvariantBroken("I21", found)


def _reason(state: CaseLike, heard: Contract | None) -> tuple[str, str]:
    """What may lead a case into another phase, as it follows from what was heard."""
    if isinstance(heard, GateDecided):
        return heard.choice.value, ""
    if isinstance(heard, AmendmentAdmitted):
        return "amended", ""
    if isinstance(heard, ReportEffect) and heard.outcome != "done":
        return "undone", heard.task_id.rpartition("-")[0]
    return ("completed" if state.phase else "start"), ""


def _closed(
    state: CaseLike, data: case.CaseClosed, _heard: Contract | None, registry: Registry
) -> None:
    if data.outcome == WITHDRAWN:
        return
    spec = registry.machine(state.definition).document.spec
    found = check_end(state.phase, data.outcome, spec)
    if found:
        raise InvariantBroken("I21", found)


def _granted(
    state: CaseLike, data: case.TaskGranted, _heard: Contract | None, registry: Registry
) -> None:
    name = data.task_id.rpartition("-")[0]
    known = state.tasks.get(name)
    document = registry.machine(state.definition).document
    queue = known.queue if known is not None else ""
    for rule, found in check_grant(document, name, data.holder, queue, _Now(registry), 0):
        # Quarantine is kept by the ranking and the claim; here it is what a card does not allow.
        raise InvariantBroken("I20" if rule == "I19" else rule, found)


def _consumed(
    state: CaseLike, data: case.GateConsumed, heard: Contract | None, registry: Registry
) -> None:
    """The router asks the matrix itself before a decision of approval takes effect."""
    if not isinstance(heard, GateDecided):
        raise InvariantBroken("I06", f"{data.gate_id} takes effect without a decision")
    phase = registry.machine(state.definition).document.spec.phases[state.phase]
    matrix = registry.matrices_by_digest.get(heard.matrix.digest)
    if not isinstance(phase, GatePhase) or matrix is None:
        raise InvariantBroken("I06", f"{data.gate_id} is decided under an unknown matrix")
    gate = phase.gate
    amount = parse_money(state.facts.get(gate.amount), f"/{gate.amount}")
    row = required_row(matrix.document, amount, raised_flags(gate, state.facts))
    if row is None or row.name != heard.row:
        raise InvariantBroken("I06", f"{data.gate_id} is decided on row {heard.row!r}")
    needed, spoke = roles_at(row, heard.level), frozenset(heard.roles)
    if not spoke <= needed or (heard.choice is Choice.APPROVE and spoke != needed):
        raise InvariantBroken("I06", f"{data.gate_id} needs {sorted(needed)}")
    is_auto = heard.by == (SYSTEM,) and row.is_auto
    if not is_auto and not all(name.startswith("person:") for name in heard.by):
        raise InvariantBroken("I10", f"{data.gate_id} is decided by no person")


_CHECKS: dict[type, Callable[[CaseLike, Any, Contract | None, Registry], None]] = {
    case.PhaseEntered: _entered,
    case.CaseClosed: _closed,
    case.TaskGranted: _granted,
    case.GateConsumed: _consumed,
}
