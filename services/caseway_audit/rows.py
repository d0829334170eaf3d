"""Maps events of the logs to rows: the searchable copy of what happened.

The log is the truth and this a view: rows follow from records alone, so truncating the tables
and reading the logs again gives the same ones. What text PostgreSQL can't hold (the character
NUL) is shown as U+FFFD here; the record keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from caseway.contracts import case, decision, topics
from caseway.contracts.audit import CheckpointSealed
from caseway.contracts.codec import Event
from caseway.contracts.record import Record, instant_of
from caseway.contracts.shard import CaseFaulted, CaseResumed
from caseway.kernel.projection import Row, Table, Value

# Raise it with every change of these tables or of what fills them: the store then begins anew.
ROWS_VERSION = 1

EVENTS = Table.of(
    "events",
    ("topic", "partition", "offset"),
    topic="text",
    partition="int",
    offset="bigint",
    case_id="text",
    sequence="bigint",
    type="text",
    version="int",
    at="timestamptz",
    cause="text",
    actor="text",
    strength="text",
    definition="text",
    matrix="text",
    data="jsonb",
)
CASES = Table.of(
    "cases",
    ("case_id",),
    "updated_offset",
    case_id="text",
    definition="text",
    title="text",
    source="text",
    requester="text",
    phase="text",
    outcome="text",
    is_faulted="bool",
    amount="text",
    currency="text",
    opened_at="timestamptz",
    closed_at="timestamptz",
    partition="int",
    updated_offset="bigint",
)
# What the router says of a gate: it asks, and in the end it consumes the decision or voids it.
GATES_ASKED = Table.of(
    "gates",
    ("case_id", "gate_id", "revision"),
    "asked_offset",
    case_id="text",
    gate_id="text",
    revision="int",
    phase="text",
    amount="text",
    currency="text",
    requester="text",
    requested_at="timestamptz",
    consumed_at="timestamptz",
    voided_at="timestamptz",
    void_reason="text",
    asked_offset="bigint",
)
# What approval says of it: who must decide by when, and what was decided.
GATES_DECIDED = Table.of(
    "gates",
    ("case_id", "gate_id", "revision"),
    "decided_offset",
    case_id="text",
    gate_id="text",
    revision="int",
    matrix="text",
    row="text",
    roles="jsonb",
    sla="text",
    due_at="timestamptz",
    level="int",
    queue="text",
    opened_at="timestamptz",
    by="jsonb",
    choice="text",
    reason="text",
    decided_at="timestamptz",
    decided_offset="bigint",
)
CHECKPOINTS = Table.of(
    "checkpoints",
    ("number",),
    "offset",
    number="bigint",
    note="text",
    at="timestamptz",
    offset="bigint",
)
TABLES = (EVENTS, CASES, GATES_ASKED, GATES_DECIDED, CHECKPOINTS)

Patch = dict[str, Value]


def rows_of(record: Record, event: Event) -> Iterator[tuple[Table, Row]]:
    """Every row that one record of a log writes, that of `events` first."""
    envelope = event.envelope
    at = datetime.fromisoformat(envelope.time) if envelope.time else instant_of(record.at_ms)
    yield (
        EVENTS,
        (
            record.topic,
            record.partition,
            record.offset,
            plain_text(event.key),
            envelope.sequence,
            envelope.type,
            envelope.version,
            at,
            envelope.cause,
            plain_text(envelope.actor),
            envelope.strength.value,
            envelope.definition,
            envelope.matrix,
            plain_json(record.value or b"null"),
        ),
    )
    if record.topic == topics.CASES.name:
        yield from _case_rows(record, event, at)
    elif record.topic == topics.APPROVALS.name:
        patch = _OF_APPROVALS.get(type(event.data))
        if patch is not None:
            changes = patch(event.data, at)
            yield GATES_DECIDED, _gate_row(GATES_DECIDED, record, event, changes)
    elif isinstance(event.data, CheckpointSealed):
        data = event.data
        yield (
            CHECKPOINTS,
            (data.number, data.note, instant_of(record.at_ms), record.offset),
        )


def plain_text(value: str) -> str:
    """Text that a PostgreSQL column can hold."""
    return value.replace("\x00", "\ufffd") if "\x00" in value else value


def plain_json(value: bytes) -> str:
    """JSON that a `jsonb` column can hold; every other character stays as it was sent."""
    text = value.decode()
    return json.dumps(_plain(json.loads(text))) if "\\u0000" in text else text


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {plain_text(key): _plain(item) for key, item in value.items()}
    return value


# -- cases ------------------------------------------------------------------------------------


def _case_rows(record: Record, event: Event, at: datetime) -> Iterator[tuple[Table, Row]]:
    of_case = _OF_CASES.get(type(event.data))
    if of_case is not None:
        changes = {name: _clean(value) for name, value in of_case(event.data, at).items()}
        row = CASES.row(
            case_id=event.key,
            partition=record.partition,
            updated_offset=record.offset,
            **changes,
        )
        yield CASES, row
    of_gate = _OF_GATES.get(type(event.data))
    if of_gate is not None:
        yield GATES_ASKED, _gate_row(GATES_ASKED, record, event, of_gate(event.data, at))


def _opened(data: case.CaseOpened, at: datetime) -> Patch:
    return {
        "definition": str(data.definition),
        "title": data.title,
        "source": data.source,
        "requester": data.requester,
        "opened_at": at,
    }


def _amount(data: case.GateRequested, _at: datetime) -> Patch:
    return {"amount": data.amount.amount, "currency": data.amount.currency}


_OF_CASES: dict[type, Callable[[Any, datetime], Patch]] = {
    case.CaseOpened: _opened,
    case.PhaseEntered: lambda data, _at: {"phase": data.phase},
    case.GateRequested: _amount,
    case.CaseClosed: lambda data, at: {"outcome": data.outcome, "closed_at": at},
    CaseFaulted: lambda _data, _at: {"is_faulted": True},
    CaseResumed: lambda _data, _at: {"is_faulted": False},
}


# -- gates ------------------------------------------------------------------------------------


def _gate_row(table: Table, record: Record, event: Event, changes: Patch) -> Row:
    data: Any = event.data
    clean = {name: _clean(value) for name, value in changes.items()}
    return table.row(
        case_id=event.key,
        gate_id=data.gate_id,
        revision=data.revision,
        **clean,
        **{table.guard: record.offset},
    )


def _requested(data: case.GateRequested, at: datetime) -> Patch:
    return {
        "phase": data.phase,
        "amount": data.amount.amount,
        "currency": data.amount.currency,
        "requester": data.requester,
        "requested_at": at,
    }


_OF_GATES: dict[type, Callable[[Any, datetime], Patch]] = {
    case.GateRequested: _requested,
    case.GateConsumed: lambda _data, at: {"consumed_at": at},
    case.GateVoided: lambda data, at: {"voided_at": at, "void_reason": data.reason},
}


def _gate_opened(data: decision.GateOpened, at: datetime) -> Patch:
    return {
        "matrix": str(data.matrix),
        "row": data.row,
        "roles": json.dumps(data.roles),
        "sla": data.sla,
        "due_at": data.due_at,
        "level": 0,
        "opened_at": at,
    }


def _gate_decided(data: decision.GateDecided, at: datetime) -> Patch:
    return {
        "matrix": str(data.matrix),
        "row": data.row,
        "roles": json.dumps(data.roles),
        "level": data.level,
        "by": json.dumps(data.by),
        "choice": data.choice.value,
        "reason": data.reason,
        "decided_at": at,
    }


def _gate_escalated(data: decision.GateEscalated, _at: datetime) -> Patch:
    return {"level": data.level, "roles": json.dumps(data.roles), "due_at": data.due_at}


_OF_APPROVALS: dict[type, Callable[[Any, datetime], Patch]] = {
    decision.GateOpened: _gate_opened,
    decision.GateDecided: _gate_decided,
    decision.GateEscalated: _gate_escalated,
    decision.GateOverdue: lambda data, _at: {"due_at": data.due_at},
    decision.GateUnmatched: lambda data, at: {"queue": data.queue, "opened_at": at},
}


def _clean(value: Value) -> Value:
    return plain_text(value) if isinstance(value, str) else value
