"""What approval remembers of a case: its gates, each in its newest revision.

A gate that is decided or retired keeps only what a late decision needs to be refused. The
invariants that no race may break are asserted here as well, where every event passes: one
decision for a revision, and a level that never falls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from caseway.contracts import decision
from caseway.contracts.codec import Event
from caseway.contracts.deadline import Timed
from caseway.contracts.decision import Choice
from caseway.contracts.fields import Pin
from caseway.contracts.money import Money
from caseway.errors import IntegrityError


class GateStatus(StrEnum):
    """Where a gate revision is in its life; the last two absorb."""

    UNMATCHED = "unmatched"
    OPEN = "open"
    DECIDED = "decided"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the router asked for: all that is needed to find the row of a gate."""

    gate_id: str
    revision: int
    digest: str
    matrix: str
    amount: Money
    flags: tuple[str, ...]
    preparers: tuple[str, ...]
    requester: str


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Why a gate waits in the queue, and the question to ask again."""

    asked: Asked
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Bench:
    """Who may decide an open gate: the roles of the current level, and the rungs above it.

    `endorsements` are (role, person) of this level; `delegations` (role, from, to).
    """

    row: str
    sla: str
    roles: tuple[str, ...]
    rungs: tuple[tuple[str, ...], ...]
    preparers: tuple[str, ...]
    requester: str
    owners: tuple[str, ...]
    timer_id: str
    level: int = 0
    alarm: int = 0
    endorsements: tuple[tuple[str, str], ...] = ()
    delegations: tuple[tuple[str, str, str], ...] = ()

    @property
    def outstanding(self) -> tuple[str, ...]:
        """The roles of this level that have not approved yet."""
        done = {role for role, _ in self.endorsements}
        return tuple(role for role in self.roles if role not in done)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision of a revision; `at` is the time of the record that decided it."""

    choice: Choice
    by: tuple[str, ...]
    at: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The newest revision of one gate; which of the optional parts it has follows its status."""

    gate_id: str
    revision: int
    digest: str
    status: GateStatus
    matrix: Pin | None = None
    bench: Bench | None = None
    unmatched: Unmatched | None = None
    verdict: Verdict | None = None
    retired: str = ""

    @property
    def pin(self) -> str:
        """The matrix this gate is judged by, as envelopes name it; "" if none was found."""
        return str(self.matrix) if self.matrix is not None else ""

    @property
    def is_waiting(self) -> bool:
        """True while somebody still has to do something about it."""
        return self.status in (GateStatus.OPEN, GateStatus.UNMATCHED)


@dataclass(frozen=True, slots=True)
class Gates:
    """The gates of one case by their id."""

    gates: dict[str, Gate] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        """True when nothing but a refusal can come of any gate."""
        return not any(gate.is_waiting for gate in self.gates.values())


def evolve(state: Gates | None, event: Event) -> Gates | None:
    """The gates after one more event of the approvals log; refusals and questions leave no trace.

    Raises:
        IntegrityError: the event does not fit the gate as it stands.
    """
    fold = _FOLDS.get(type(event.data))
    if fold is None:
        return state
    gates = state.gates if state is not None else {}
    gate = fold(gates.get(event.data.gate_id), event.data, event.envelope.time)  # type: ignore[attr-defined]
    return Gates({**gates, gate.gate_id: gate})


def _opened(known: Gate | None, data: decision.GateOpened, _time: str) -> Gate:
    _require(known is None or _may_follow(known, data.revision), data)
    bench = Bench(
        row=data.row,
        sla=data.sla,
        roles=data.roles,
        rungs=data.rungs,
        preparers=data.preparers,
        requester=data.requester,
        owners=data.owners,
        timer_id=_timer_of(data),
    )
    return Gate(data.gate_id, data.revision, data.digest, GateStatus.OPEN, data.matrix, bench)


def _unmatched(known: Gate | None, data: decision.GateUnmatched, _time: str) -> Gate:
    _require(known is None or _may_follow(known, data.revision), data)
    asked = Asked(
        gate_id=data.gate_id,
        revision=data.revision,
        digest=data.digest,
        matrix=data.matrix,
        amount=data.amount,
        flags=data.flags,
        preparers=data.preparers,
        requester=data.requester,
    )
    why = Unmatched(asked, data.code, data.message)
    return Gate(data.gate_id, data.revision, data.digest, GateStatus.UNMATCHED, unmatched=why)


def _endorsed(known: Gate | None, data: decision.DecisionEndorsed, _time: str) -> Gate:
    gate, bench = _open(known, data)
    _require(data.role in bench.outstanding, data)
    made = (*bench.endorsements, (data.role, data.by))
    return replace(gate, bench=replace(bench, endorsements=made))


def _delegated(known: Gate | None, data: decision.GateDelegated, _time: str) -> Gate:
    gate, bench = _open(known, data)
    made = (*bench.delegations, (data.role, data.by, data.to))
    return replace(gate, bench=replace(bench, delegations=made))


def _escalated(known: Gate | None, data: decision.GateEscalated, _time: str) -> Gate:
    gate, bench = _open(known, data)
    _require(data.level > bench.level, data)
    # Who endorsed or was handed the gate below has no say on the rung above.
    raised = replace(
        bench,
        level=data.level,
        roles=data.roles,
        timer_id=_timer_of(data),
        endorsements=(),
        delegations=(),
    )
    return replace(gate, bench=raised)


def _overdue(known: Gate | None, data: decision.GateOverdue, _time: str) -> Gate:
    gate, bench = _open(known, data)
    _require(data.alarm > bench.alarm, data)
    return replace(gate, bench=replace(bench, alarm=data.alarm, timer_id=_timer_of(data)))


def _decided(known: Gate | None, data: decision.GateDecided, time: str) -> Gate:
    gate, _ = _open(known, data)
    verdict = Verdict(data.choice, data.by, time)
    return replace(gate, status=GateStatus.DECIDED, bench=None, verdict=verdict)


def _retired(known: Gate | None, data: decision.GateRetired, _time: str) -> Gate:
    if known is None or known.revision != data.revision or not known.is_waiting:
        raise _impossible(data)
    return replace(
        known, status=GateStatus.RETIRED, bench=None, unmatched=None, retired=data.reason
    )


_FOLDS: dict[type, Callable[[Gate | None, Any, str], Gate]] = {
    decision.GateOpened: _opened,
    decision.GateUnmatched: _unmatched,
    decision.DecisionEndorsed: _endorsed,
    decision.GateDelegated: _delegated,
    decision.GateEscalated: _escalated,
    decision.GateOverdue: _overdue,
    decision.GateDecided: _decided,
    decision.GateRetired: _retired,
}


def _may_follow(known: Gate, revision: int) -> bool:
    """A revision is opened once; only one that waits for its row may come again."""
    if known.status is GateStatus.UNMATCHED:
        return revision == known.revision
    return revision > known.revision and not known.is_waiting


def _open(known: Gate | None, data: Any) -> tuple[Gate, Bench]:
    if known is None or known.revision != data.revision or known.bench is None:
        raise _impossible(data)
    return known, known.bench


def _timer_of(data: Timed) -> str:
    return data.timers[0].timer_id if data.timers else ""


def _require(holds: bool, data: Any) -> None:
    if not holds:
        raise _impossible(data)


def _impossible(data: Any) -> IntegrityError:
    return IntegrityError(
        f"{data.TYPE} does not fit gate {data.gate_id!r} revision {data.revision} as it stands"
    )
