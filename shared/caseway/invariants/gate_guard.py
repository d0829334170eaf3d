"""What approval may not write of a gate: I01, I06, I07 and I10 of its opening and its decision."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from caseway.contracts import decision
from caseway.contracts.case import GateRequested
from caseway.contracts.codec import Event
from caseway.contracts.decision import Choice
from caseway.contracts.fields import Contract, Pin
from caseway.contracts.matrix import SYSTEM, Row
from caseway.contracts.money import Money
from caseway.invariants.floor import required_row, roles_at
from caseway.invariants.sentry import InvariantBroken
from caseway.kernel.registry import Registry


class AskedLike(Protocol):
    """What was asked for."""

    @property
    def amount(self) -> Money:
        """What authority is measured by."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What outranks the amount."""


class UnmatchedLike(Protocol):
    """A gate that waits for its row."""

    @property
    def asked(self) -> AskedLike:
        """The question that is asked again."""


class BenchLike(Protocol):
    """Who may decide an open gate."""

    @property
    def row(self) -> str:
        """The row that it opened on."""

    @property
    def level(self) -> int:
        """How often it was escalated."""

    @property
    def requester(self) -> str:
        """Who wanted the case."""

    @property
    def preparers(self) -> tuple[str, ...]:
        """Whose word stands behind the facts."""

    @property
    def owners(self) -> tuple[str, ...]:
        """The persons behind the agents among them."""

    @property
    def endorsements(self) -> tuple[tuple[str, str], ...]:
        """Who approved already, as (role, person)."""


class GateLike(Protocol):
    """One gate in its newest revision."""

    @property
    def matrix(self) -> Pin | None:
        """What it is judged by."""

    @property
    def bench(self) -> BenchLike | None:
        """Its bench while it is open."""

    @property
    def unmatched(self) -> UnmatchedLike | None:
        """Why it waits for a row."""

    @property
    def verdict(self) -> object | None:
        """Its one decision."""


class GatesLike(Protocol):
    """The gates of one case."""

    @property
    def gates(self) -> Mapping[str, GateLike]:
        """By their id."""


def guard_gates(
    state: GatesLike | None, event: Event, heard: Contract | None, registry: Registry
) -> None:
    """Refuse an event of approval that breaks an invariant.

    Raises:
        InvariantBroken: the event must not be written.
    """
    check = _CHECKS.get(type(event.data))
    if check is not None:
        data: Any = event.data
        gate = state.gates.get(data.gate_id) if state is not None else None
        check(gate, data, heard, registry)


def _opened(
    gate: GateLike | None, data: decision.GateOpened, heard: Contract | None, registry: Registry
) -> None:
    asked: Any = heard
    if not isinstance(heard, GateRequested):
        asked = gate.unmatched.asked if gate is not None and gate.unmatched is not None else None
    matrix = registry.matrices_by_digest.get(data.matrix.digest)
    if asked is None or matrix is None:
        raise InvariantBroken("I06", f"{data.gate_id} opens on what nobody asked")
    row = required_row(matrix.document, asked.amount, asked.flags)
    if row is None or (row.name, (row.approver,), row.escalates_to) != (
        data.row,
        data.roles,
        data.rungs,
    ):
        raise InvariantBroken("I06", f"{data.gate_id} opens on row {data.row!r}")


def _endorsed(
    gate: GateLike | None,
    data: decision.DecisionEndorsed,
    _heard: Contract | None,
    registry: Registry,
) -> None:
    bench = _bench(gate, data)
    row = _row(gate, bench, registry)
    if row is None or data.role not in roles_at(row, bench.level):
        raise InvariantBroken("I06", f"{data.role!r} has no say in {data.gate_id}")
    _check_persons(bench, ((data.role, data.by),), registry)


def _decided(
    gate: GateLike | None, data: decision.GateDecided, _heard: Contract | None, registry: Registry
) -> None:
    bench = _bench(gate, data)
    row = _row(gate, bench, registry)
    if row is None or row.name != data.row:
        raise InvariantBroken("I06", f"{data.gate_id} is decided on row {data.row!r}")
    if not all(name.startswith("person:") for name in data.by):
        if not row.is_auto or data.by != (SYSTEM,):
            raise InvariantBroken("I10", f"{data.gate_id} is decided by no person")
        return
    needed, spoke = roles_at(row, bench.level), frozenset(data.roles)
    if not spoke <= needed or (data.choice is Choice.APPROVE and spoke != needed):
        raise InvariantBroken("I06", f"{data.gate_id} needs {sorted(needed)}")
    if not data.by or len(set(data.by)) != len(data.roles):
        raise InvariantBroken("I07", f"each role of {data.gate_id} needs a person of its own")
    said = zip(data.roles, data.by, strict=True)
    _check_persons(bench, [each for each in said if each not in bench.endorsements], registry)


def _bench(gate: GateLike | None, data: Any) -> BenchLike:
    if gate is not None and gate.verdict is not None:
        raise InvariantBroken("I01", f"{data.gate_id} revision {data.revision} has its decision")
    if gate is None or gate.bench is None:
        raise InvariantBroken("I01", f"{data.gate_id} revision {data.revision} is not open")
    return gate.bench


def _row(gate: GateLike | None, bench: BenchLike, registry: Registry) -> Row | None:
    pin = gate.matrix if gate is not None else None
    matrix = registry.matrices_by_digest.get(pin.digest) if pin is not None else None
    rows = matrix.document.spec.rows if matrix is not None else ()
    return next((row for row in rows if row.name == bench.row), None)


def _check_persons(bench: BenchLike, said: Collection[tuple[str, str]], registry: Registry) -> None:
    for role, person in said:
        if person in (bench.requester, *bench.preparers, *bench.owners):
            raise InvariantBroken("I07", f"{person} requested or prepared what is decided")
        if role not in registry.roles_of(person.removeprefix("person:")):
            raise InvariantBroken("I06", f"{person} speaks as {role!r} and is not")


_CHECKS: dict[type, Callable[[GateLike | None, Any, Contract | None, Registry], None]] = {
    decision.GateOpened: _opened,
    decision.DecisionEndorsed: _endorsed,
    decision.GateDecided: _decided,
}
