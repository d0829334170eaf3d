"""Hears a person: decide, ask, delegate; each counts or is refused with a code, never silently.

The order of the questions is fixed, so the same wish always reads the same answer: is it meant
for us, who is it, which gate, which revision, is it still open, may this person, is it complete.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caseway.contracts.decision import (
    AskAboutGate,
    Choice,
    DecideGate,
    DecisionRefused,
    DelegateGate,
    GateQuestioned,
)
from caseway.contracts.envelope import Strength
from caseway.contracts.fields import Contract
from caseway.errors import Unattributable
from caseway.kernel.authentication import misdirected
from caseway.kernel.processor import Actor, Delivery, Step
from caseway.kernel.registry import Registry
from caseway_approval.authority import Refusal, kept_apart, lacks_authority, roles_held
from caseway_approval.delegation import delegate
from caseway_approval.opening import QUEUE
from caseway_approval.quorum import weigh
from caseway_approval.state import Gate, Gates, GateStatus

_PROVEN = (Strength.PERSON_SIGNED, Strength.DOOR_ATTESTED)


def hear(state: Gates | None, delivery: Delivery, registry: Registry) -> Step:
    """Answer one wish of a person.

    Raises:
        Unattributable: neither the sender nor the case is known.
    """
    data: Any = delivery.event.data
    actor = delivery.actor
    if state is None and actor.strength is Strength.UNVERIFIED:
        raise Unattributable(
            "a decision must be signed by the person who makes it",
            code="IDENTITY_MISSING",
            where="ce_dssematerial",
        )
    gate = state.gates.get(data.gate_id) if state is not None else None
    answer: Contract | Refusal
    wrong = misdirected(delivery, registry)
    if wrong is not None:
        answer = Refusal(*wrong)
    else:
        answer = _identity(actor) or _answer(gate, actor.name, data, registry)
    if isinstance(answer, Refusal):
        answer = DecisionRefused(
            gate_id=data.gate_id,
            revision=data.revision,
            by=actor.name,
            code=answer.code,
            message=answer.message,
        )
    return Step((answer,), matrix=gate.pin if gate is not None else "")


def _identity(actor: Actor) -> Refusal | None:
    if actor.is_person and actor.strength in _PROVEN:
        return None
    message = "only a person decides; sign it with a person's key, or use the console"
    return Refusal("IDENTITY", message)


def _answer(gate: Gate | None, person: str, data: Any, registry: Registry) -> Contract | Refusal:
    if gate is None:
        message = f"no gate {data.gate_id!r} is known here yet; try again in a moment"
        return Refusal("GATE_UNKNOWN", message)
    stale = _stale(gate, data) or _over(gate)
    return stale or _VERBS[type(data)](gate, person, data, registry)


def _stale(gate: Gate, data: Any) -> Refusal | None:
    current = f"revision {gate.revision} is current"
    if data.revision < gate.revision:
        message = f"{current}, you were shown {data.revision}; look at the gate again"
        return Refusal("STALE_VIEW", message)
    if data.revision > gate.revision:
        message = f"{current} here and {data.revision} is not known yet; try again in a moment"
        return Refusal("STALE_VIEW", message)
    if getattr(data, "digest", gate.digest) != gate.digest:
        message = f"{current}, but on other facts than you were shown; look at the gate again"
        return Refusal("STALE_VIEW", message)
    return None


def _over(gate: Gate) -> Refusal | None:
    if gate.verdict is not None:
        verdict = gate.verdict
        by = " and ".join(verdict.by)
        message = f"{by} gave {verdict.choice.value!r} at {verdict.at}; nothing is left to decide"
        return Refusal("DECIDED", message)
    if gate.status is GateStatus.RETIRED:
        return Refusal("GATE_RETIRED", f"{gate.retired}; nothing is left to decide")
    return None


def _standing(gate: Gate, person: str, registry: Registry) -> Refusal | None:
    """Why this person has no say in this gate."""
    bench = gate.bench
    if bench is None:
        why = gate.unmatched.message if gate.unmatched is not None else ""
        return Refusal("NO_ROW", f"the gate waits in queue {QUEUE}: {why}")
    rule = kept_apart(bench, person, registry)
    if rule:
        message = f"{rule}; requester, preparer and approver differ: let another person decide"
        return Refusal("SELF_APPROVAL", message)
    if not roles_held(bench, person, registry):
        return lacks_authority(bench, person, registry)
    return None


def _decide(gate: Gate, person: str, data: DecideGate, registry: Registry) -> Contract | Refusal:
    refusal = _standing(gate, person, registry)
    if refusal is not None:
        return refusal
    if data.choice is not Choice.APPROVE and not data.reason.strip():
        return Refusal("REASON_REQUIRED", f"say why: {data.choice.value!r} needs a reason")
    return weigh(gate, person, data, registry)


def _delegate(
    gate: Gate, person: str, data: DelegateGate, registry: Registry
) -> Contract | Refusal:
    return _standing(gate, person, registry) or delegate(gate, person, data, registry)


def _ask(gate: Gate, person: str, data: AskAboutGate, registry: Registry) -> Contract | Refusal:
    """A question decides nothing, so everyone who was appointed to anything may ask."""
    if not registry.roles_of(person.removeprefix("person:")):
        return Refusal("AUTHORITY", "need any role, has none; ask an operator to appoint you")
    return GateQuestioned(
        gate_id=gate.gate_id, revision=gate.revision, by=person, question=data.question
    )


_VERBS: dict[type, Callable[[Gate, str, Any, Registry], Contract | Refusal]] = {
    DecideGate: _decide,
    DelegateGate: _delegate,
    AskAboutGate: _ask,
}
HEARS_DECISIONS = frozenset(model.TYPE for model in _VERBS)  # type: ignore[attr-defined]
