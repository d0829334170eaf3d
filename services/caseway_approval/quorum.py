"""Makes one decision of what one or several roles say: all must approve, one can stop it.

Each role of a joint rung needs a person of its own. Whoever approved may still reject until the
last role has spoken, because stopping is always the safe direction.
"""

from __future__ import annotations

from caseway.contracts.decision import Choice, DecideGate, DecisionEndorsed, GateDecided
from caseway.kernel.registry import Registry
from caseway_approval.authority import Refusal, free_for, roles_held
from caseway_approval.state import Bench, Gate


def weigh(
    gate: Gate, person: str, data: DecideGate, registry: Registry
) -> DecisionEndorsed | GateDecided | Refusal:
    """What the choice of a person with a role of the current level makes of the gate."""
    bench = gate.bench
    assert bench is not None
    held = roles_held(bench, person, registry)
    if data.choice is not Choice.APPROVE:
        return _decided(gate, bench, data, ((held[0], person),))
    for role, other in bench.endorsements:
        if other == person:
            message = f"you approved as {role}; {_rest(bench)} has to be a second person"
            return Refusal("SECOND_PERSON", message)
    open_to = [role for role in held if role in bench.outstanding]
    if not open_to:
        message = f"need {_rest(bench)}, has {', '.join(held)}, which has approved already"
        return Refusal("AUTHORITY", message)
    role = min(open_to, key=lambda role: _preference(bench, role, person, registry))
    approved = (*bench.endorsements, (role, person))
    outstanding = tuple(other for other in bench.outstanding if other != role)
    if not outstanding:
        return _decided(gate, bench, data, approved)
    return DecisionEndorsed(
        gate_id=gate.gate_id,
        revision=gate.revision,
        by=person,
        role=role,
        reason=data.reason,
        outstanding=outstanding,
    )


def _preference(bench: Bench, role: str, person: str, registry: Registry) -> tuple[bool, int, int]:
    """Smallest first: a role handed to this person, then the one that fewest others could fill.

    A person with two roles of the rung must not take the one that somebody else needs.
    """
    is_handed = any(role == given and person == to for given, _, to in bench.delegations)
    others = [name for name in free_for(bench, role, registry) if name != person]
    return not is_handed, len(others), bench.roles.index(role)


def _decided(
    gate: Gate, bench: Bench, data: DecideGate, approved: tuple[tuple[str, str], ...]
) -> GateDecided:
    assert gate.matrix is not None
    in_order = sorted(approved, key=lambda each: bench.roles.index(each[0]))
    return GateDecided(
        gate_id=gate.gate_id,
        revision=gate.revision,
        digest=gate.digest,
        choice=data.choice,
        by=tuple(person for _, person in in_order),
        roles=tuple(role for role, _ in in_order),
        level=bench.level,
        reason=data.reason,
        row=bench.row,
        matrix=gate.matrix,
        cancels=(bench.timer_id,),
    )


def _rest(bench: Bench) -> str:
    return " and ".join(bench.outstanding)
