"""Hands one gate from a holder of a role to another: it only ever narrows who may decide.

The taker holds the role already and is kept apart by the same rules; what the giver loses, the
giver does not get back at this level. A taker cannot hand it on, so there are no circles.
"""

from __future__ import annotations

from caseway.contracts.decision import DelegateGate, GateDelegated
from caseway.kernel.registry import Registry
from caseway_approval.authority import Refusal, kept_apart, roles_held
from caseway_approval.state import Bench, Gate


def delegate(
    gate: Gate, giver: str, data: DelegateGate, registry: Registry
) -> GateDelegated | Refusal:
    """What the wish of a person with a role of the current level makes of the gate."""
    bench = gate.bench
    assert bench is not None
    taker = f"person:{data.to}"
    held = tuple(role for role in roles_held(bench, giver, registry) if role in bench.outstanding)
    refusal = _giver_refused(bench, giver, held) or _taker_refused(bench, giver, taker, registry)
    if refusal is not None:
        return refusal
    theirs = registry.roles_of(data.to)
    shared = [role for role in held if role in theirs]
    if not shared:
        has = ", ".join(sorted(theirs))
        message = f"{taker} has {has}; hand it to one who holds {' or '.join(held)} as you do"
        return Refusal("DELEGATION_WIDER", message)
    return GateDelegated(
        gate_id=gate.gate_id,
        revision=gate.revision,
        by=giver,
        to=taker,
        role=shared[0],
        reason=data.reason,
    )


def _giver_refused(bench: Bench, giver: str, held: tuple[str, ...]) -> Refusal | None:
    for _, other, taker in bench.delegations:
        if taker == giver:
            message = f"{other} handed this gate to you; decide it, or let another role holder"
            return Refusal("DELEGATION_DEPTH", message)
    if any(person == giver for _, person in bench.endorsements):
        message = "you have approved already; there is nothing left of yours to hand on"
        return Refusal("SECOND_PERSON", message)
    if not held:
        message = f"need {' and '.join(bench.outstanding)}; your role has approved already"
        return Refusal("AUTHORITY", message)
    return None


def _taker_refused(bench: Bench, giver: str, taker: str, registry: Registry) -> Refusal | None:
    if taker == giver:
        return Refusal("DELEGATION_SELF", "name another person, or decide yourself")
    if not registry.roles_of(taker.removeprefix("person:")):
        message = f"{taker} is not known here; name a person who was appointed to your role"
        return Refusal("DELEGATION_UNKNOWN", message)
    rule = kept_apart(bench, taker, registry)
    if rule:
        return Refusal("SELF_APPROVAL", f"{taker} may not decide this gate: {rule}; name another")
    if any(other == taker for _, other, _ in bench.delegations):
        message = f"{taker} handed this gate on and cannot take it back; name another person"
        return Refusal("DELEGATION_CIRCLE", message)
    if any(person == taker for _, person in bench.endorsements):
        message = f"{taker} has approved for another role; each role needs a person of its own"
        return Refusal("SECOND_PERSON", message)
    return None
