"""Decides what becomes of gates: asked for, decided, late, replaced, or over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from caseway.contracts.case import CaseClosed, GateConsumed, GateRequested, GateVoided
from caseway.contracts.codec import Event
from caseway.contracts.control import CalendarPublished, MatrixPublished, PersonAppointed
from caseway.contracts.deadline import SlaBreached
from caseway.contracts.fields import Contract
from caseway.errors import IntegrityError
from caseway.kernel.processor import NOTHING, Delivery, Step
from caseway.kernel.registry import Registry
from caseway_approval import opening
from caseway_approval.escalation import escalate
from caseway_approval.hearing import HEARS_DECISIONS, hear
from caseway_approval.state import Gate, Gates, Unmatched

HEARS_CASES = frozenset({GateRequested.TYPE, GateVoided.TYPE, GateConsumed.TYPE, CaseClosed.TYPE})
HEARS_DEADLINES = frozenset({SlaBreached.TYPE})

__all__ = ["HEARS_CASES", "HEARS_DEADLINES", "HEARS_DECISIONS", "decide", "touched"]


def decide(state: Gates | None, delivery: Delivery, registry: Registry) -> Step:
    """Answer one record.

    Raises:
        Unattributable: a wish of nobody known about a case that is not known.
        IntegrityError: the router consumed a decision that was not made here.
    """
    if delivery.event.envelope.type in HEARS_DECISIONS:
        return hear(state, delivery, registry)
    return _ANSWERS[type(delivery.event.data)](state, delivery, registry)


def touched(states: Iterable[tuple[str, Gates]], event: Event) -> Iterable[str]:
    """The cases with a gate that waits for what a registry event may have brought."""
    if not isinstance(event.data, MatrixPublished | PersonAppointed | CalendarPublished):
        return []
    return [key for key, state in states if _unmatched(state)]


def _requested(state: Gates | None, delivery: Delivery, registry: Registry) -> Step:
    data: Any = delivery.event.data
    events = opening.request(state, data, delivery.at_ms, registry)
    return _step(events, {_in_force(data.matrix, registry)})


def _rejudged(state: Gates | None, delivery: Delivery, registry: Registry) -> Step:
    events: list[Contract] = []
    pins: set[str] = set()
    for waits in _unmatched(state):
        events.extend(opening.rejudge(waits, delivery.at_ms, registry))
        pins.add(_in_force(waits.asked.matrix, registry))
    return _step(tuple(events), pins)


def _breached(state: Gates | None, delivery: Delivery, registry: Registry) -> Step:
    data: Any = delivery.event.data
    gate = _gate(state, data.about)
    event = escalate(gate, data, delivery.at_ms, registry)
    if event is None or gate is None:
        return NOTHING
    return Step((event,), matrix=gate.pin)


def _voided(state: Gates | None, delivery: Delivery, _registry: Registry) -> Step:
    """A decision that was made stays on record; only a gate that waits is retired."""
    data: Any = delivery.event.data
    gate = _gate(state, data.gate_id)
    if gate is None or gate.revision != data.revision or not gate.is_waiting:
        return NOTHING
    return Step((opening.retire(gate, data.reason),), matrix=gate.pin)


def _closed(state: Gates | None, delivery: Delivery, _registry: Registry) -> Step:
    data: Any = delivery.event.data
    waiting = [gate for gate in state.gates.values() if gate.is_waiting] if state else []
    reason = f"the case closed as {data.outcome!r}"
    events = tuple(opening.retire(gate, reason) for gate in waiting)
    return _step(events, {gate.pin for gate in waiting})


def _consumed(state: Gates | None, delivery: Delivery, _registry: Registry) -> Step:
    """Nothing may take effect that was not decided here: the case is faulted if it did."""
    data: Any = delivery.event.data
    gate = _gate(state, data.gate_id)
    verdict = gate.verdict if gate is not None and gate.revision == data.revision else None
    if gate is None or verdict is None or gate.digest != data.digest:
        raise IntegrityError(
            f"gate {data.gate_id!r} revision {data.revision} took effect, but was not decided",
            code="integrity.undecided",
        )
    if (verdict.choice, verdict.by) != (data.choice, data.by):
        raise IntegrityError(
            f"gate {data.gate_id!r} revision {data.revision} took effect as {data.choice.value!r}, "
            f"but was decided as {verdict.choice.value!r}, or by others",
            code="integrity.undecided",
        )
    return NOTHING


def _in_force(name: str, registry: Registry) -> str:
    matrix = registry.matrices.get(name)
    return str(matrix.pin) if matrix is not None else ""


def _step(events: tuple[Contract, ...], pins: set[str]) -> Step:
    """The envelope names one matrix; a step about gates under several leaves it to its events."""
    if not events:
        return NOTHING
    return Step(events, matrix=pins.pop() if len(pins) == 1 else "")


def _gate(state: Gates | None, gate_id: str) -> Gate | None:
    return state.gates.get(gate_id) if state is not None else None


def _unmatched(state: Gates | None) -> list[Unmatched]:
    gates = state.gates.values() if state is not None else ()
    return [gate.unmatched for gate in gates if gate.unmatched is not None]


_ANSWERS: dict[type, Callable[[Gates | None, Delivery, Registry], Step]] = {
    SlaBreached: _breached,
    GateRequested: _requested,
    GateVoided: _voided,
    CaseClosed: _closed,
    GateConsumed: _consumed,
    MatrixPublished: _rejudged,
    PersonAppointed: _rejudged,
    CalendarPublished: _rejudged,
}
