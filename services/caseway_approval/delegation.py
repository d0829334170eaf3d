"""Hands one gate from a holder of a role to another: it only ever narrows who may decide.

The taker holds the role already and is kept apart by the same rules; what the giver loses, the
giver does not get back at this level. A taker cannot hand it on, so there are no circles, and
nobody hands on what would leave two roles to one person.
"""

from __future__ import annotations

from dataclasses import replace

from caseway.contracts.decision import DelegateGate, GateDelegated
from caseway.kernel.registry import Registry
from caseway_approval.authority import Refusal, free_for, kept_apart, roles_held
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
    for role in shared:
        after = replace(bench, delegations=(*bench.delegations, (role, giver, taker)))
        if _can_be_filled(after, registry):
            return GateDelegated(
                gate_id=gate.gate_id,
                revision=gate.revision,
                by=giver,
                to=taker,
                role=role,
                reason=data.reason,
            )
    need = " and ".join(bench.outstanding)
    message = f"{need} would have fewer persons left than roles; name another, or decide yourself"
    return Refusal("DELEGATION_LAST", message)


def _can_be_filled(bench: Bench, registry: Registry) -> bool:
    """Whether each role that has not approved yet could have a person of its own.

    Nothing gives a role back on the last level, so a gate without them would wait for ever.
    """
    free = [free_for(bench, role, registry) for role in bench.outstanding]
    done = frozenset(person for _, person in bench.endorsements)

    def fills(roles: list[tuple[str, ...]], taken: frozenset[str]) -> bool:
        return not roles or any(
            fills(roles[1:], taken | {person}) for person in roles[0] if person not in taken
        )

    return fills(free, done)


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
