"""Rows follow from records alone, and a patch that comes again changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import caseway_audit
from caseway.contracts import case, decision, shard
from caseway.contracts.audit import CheckpointSealed
from caseway.contracts.codec import Event, decode, encode
from caseway.contracts.envelope import Envelope, Strength
from caseway.contracts.fields import Contract, Pin
from caseway.contracts.money import Money
from caseway.contracts.record import Record
from caseway.kernel.projection import Table, merged
from caseway_audit.rows import (
    CASES,
    CHECKPOINTS,
    EVENTS,
    GATES_ASKED,
    GATES_DECIDED,
    TABLES,
    plain_json,
    rows_of,
)

NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)
PIN = Pin(name="insurance-claim", version=3, digest="ab" * 32)
GATE = {"gate_id": "settle-1", "revision": 1}


def placed(topic: str, data: Contract, offset: int = 7, key: str = "c-1") -> tuple[Record, Event]:
    envelope = Envelope(
        id="e-1",
        source="/demo/router",
        type=data.TYPE,  # type: ignore[attr-defined]
        version=data.VERSION,  # type: ignore[attr-defined]
        time="2026-11-21T09:00:00.000Z",
        sequence=4,
        cause="g1/intake/0/3",
        actor="system:router",
        strength=Strength.SYSTEM,
        definition=str(PIN),
    )
    draft = encode(topic, 1, Event(key, envelope, data))
    record = Record(topic, 1, offset, 1_700_000_000_000, draft.key, draft.value, draft.headers)
    return record, decode(record, is_sole_writer=True)


def rows(topic: str, data: Contract, offset: int = 7) -> dict[Table, dict[str, Any]]:
    made = list(rows_of(*placed(topic, data, offset)))
    return {table: dict(zip(table.columns, row, strict=True)) for table, row in made}


def opened(facts: dict[str, Any] | None = None) -> case.CaseOpened:
    return case.CaseOpened(
        definition=PIN, title="Water damage", source="portal", requester="ann", facts=facts or {}
    )


def requested() -> case.GateRequested:
    return case.GateRequested(
        **GATE,
        phase="settlement",
        matrix="insurance",
        amount=Money(amount="75000.10", currency="USD"),
        flags=(),
        material={},
        shows={},
        digest="cd" * 32,
        preparers=("agent:triage-1",),
        requester="ann",
    )


def gate_opened() -> decision.GateOpened:
    return decision.GateOpened(
        **GATE,
        digest="cd" * 32,
        matrix=PIN,
        row="large",
        cells=("75000.10 < 100000",),
        roles=("claims_manager",),
        rungs=(("claims_manager",), ("vp_claims", "legal")),
        sla="48h",
        due_at=NINE,
        preparers=(),
        requester="ann",
    )


def decided() -> decision.GateDecided:
    return decision.GateDecided(
        **GATE,
        digest="cd" * 32,
        choice=decision.Choice.APPROVE,
        by=("person:eve", "person:mo"),
        roles=("vp_claims", "legal"),
        level=1,
        reason="covered",
        row="large",
        matrix=PIN,
    )


def test_every_event_is_one_row_with_its_coordinates_and_its_data_as_written() -> None:
    row = rows("cases", opened({"amount": "1.00"}))[EVENTS]
    assert (row["topic"], row["partition"], row["offset"]) == ("cases", 1, 7)
    assert row["case_id"] == "c-1"
    assert (row["sequence"], row["type"], row["version"]) == (4, "case.opened", 1)
    assert row["at"] == NINE
    assert (row["cause"], row["actor"], row["strength"]) == (
        "g1/intake/0/3",
        "system:router",
        "system",
    )
    assert row["definition"] == str(PIN)
    assert json.loads(row["data"])["facts"] == {"amount": "1.00"}


def test_an_event_that_says_no_time_has_that_of_its_record() -> None:
    record, event = placed("cases", opened())
    bare = Event(event.key, Envelope("e", "/x", "case.opened", 1), event.data)
    _, row = next(rows_of(record, bare))
    assert row[EVENTS.columns.index("at")] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_a_case_opens_moves_and_closes() -> None:
    first = rows("cases", opened())[CASES]
    assert first["definition"] == str(PIN)
    assert (first["title"], first["opened_at"], first["updated_offset"]) == (
        "Water damage",
        NINE,
        7,
    )
    moved = rows("cases", case.PhaseEntered(phase="assessment", round=2))[CASES]
    assert (moved["phase"], moved["definition"]) == ("assessment", None)
    closed = rows("cases", case.CaseClosed(outcome="paid"))[CASES]
    assert (closed["outcome"], closed["closed_at"]) == ("paid", NINE)


def test_a_fault_shows_until_the_case_is_driven_again() -> None:
    parked = shard.ParkedInput(topic="intake", partition=1, offset=1, at_ms=0, value="", headers=())
    fault = shard.CaseFaulted(queue="operations", code="x", detail="", parked=parked)
    assert rows("cases", fault)[CASES]["is_faulted"] is True
    assert rows("cases", shard.CaseResumed(released=1))[CASES]["is_faulted"] is False
    assert CASES not in rows("approvals", fault)


def test_a_gate_is_told_by_two_logs_that_share_no_column() -> None:
    asked = rows("cases", requested())
    assert asked[GATES_ASKED]["amount"] == "75000.10"
    assert asked[GATES_ASKED]["requested_at"] == NINE
    assert asked[CASES]["amount"] == "75000.10"
    assert asked[CASES]["currency"] == "USD"
    opens = rows("approvals", gate_opened())[GATES_DECIDED]
    assert (opens["row"], opens["roles"], opens["due_at"], opens["level"]) == (
        "large",
        '["claims_manager"]',
        NINE,
        0,
    )
    done = rows("approvals", decided())[GATES_DECIDED]
    assert (done["choice"], done["by"], done["decided_at"], done["level"]) == (
        "approve",
        '["person:eve", "person:mo"]',
        NINE,
        1,
    )
    own = set(GATES_ASKED.columns) & set(GATES_DECIDED.columns)
    assert own == {"case_id", "gate_id", "revision"}


def test_escalation_queue_consumption_and_voiding_show() -> None:
    late = {"due_at": NINE, "breached_at": NINE, "detected_at": NINE}
    up = decision.GateEscalated(**GATE, level=1, roles=("vp_claims",), **late)
    row = rows("approvals", up)[GATES_DECIDED]
    assert (row["level"], row["roles"], row["decided_at"]) == (1, '["vp_claims"]', None)
    unmatched = decision.GateUnmatched(
        **GATE,
        digest="cd" * 32,
        matrix="insurance",
        amount=Money(amount="1.00", currency="USD"),
        flags=(),
        preparers=(),
        requester="ann",
        code="no_row",
        queue="authority",
        message="",
    )
    assert rows("approvals", unmatched)[GATES_DECIDED]["queue"] == "authority"
    consumed = case.GateConsumed(
        **GATE, choice=decision.Choice.APPROVE, by=("person:eve",), reason="", digest="cd" * 32
    )
    assert rows("cases", consumed)[GATES_ASKED]["consumed_at"] == NINE
    voided = rows("cases", case.GateVoided(**GATE, reason="facts changed"))[GATES_ASKED]
    assert (voided["voided_at"], voided["void_reason"]) == (NINE, "facts changed")


def test_a_checkpoint_is_kept_with_its_note() -> None:
    data = CheckpointSealed(number=3, grown=(), frontier=(), note="a note\n")
    row = rows("audit", data)[CHECKPOINTS]
    assert (row["number"], row["note"], row["offset"]) == (3, "a note\n", 7)


def test_events_of_other_logs_are_rows_of_events_alone() -> None:
    assert set(rows("approvals", opened())) == {EVENTS}
    assert set(rows("deadlines", case.PhaseEntered(phase="a", round=1))) == {EVENTS}


def test_what_postgresql_cannot_hold_is_shown_and_never_stops_the_copy() -> None:
    row = rows("cases", opened({"note": "a\x00b", "path": "\\u0000"}))[EVENTS]
    assert json.loads(row["data"])["facts"] == {"note": "a\ufffdb", "path": "\\u0000"}
    closed = rows("cases", case.GateVoided(**GATE, reason="\x00"))
    assert closed[GATES_ASKED]["void_reason"] == "\ufffd"
    assert plain_json(b'{"a":["\\u0000"]}') == '{"a": ["\\ufffd"]}'


TABLE = Table.of("cases", ("id",), "at", id="text", phase="text", amount="text", at="bigint")
PATCHES = st.lists(
    st.tuples(st.sampled_from("ab"), st.none() | st.sampled_from("xyz"), st.none() | st.just("1"))
)


@given(PATCHES, st.data())
def test_the_outcome_is_the_same_wherever_the_stream_is_cut(
    patches: list[tuple[str, str | None, str | None]], data: st.DataObject
) -> None:
    stream = [(TABLE, (*patch, at)) for at, patch in enumerate(patches)]
    cut = data.draw(st.integers(0, len(stream)))
    parts = [row for part in (stream[:cut], stream[cut:]) for row in merged(part).get(TABLE, [])]
    assert merged((TABLE, row) for row in parts) == merged(stream)


def test_patches_of_one_key_become_one_and_appended_rows_stay_apart() -> None:
    stream = [(EVENTS, ("cases", 0, 1)), (EVENTS, ("cases", 0, 2)), (TABLE, ("a", "x", None, 1))]
    stream.append((TABLE, ("a", None, "1", 2)))
    made = merged(stream)
    assert made[EVENTS] == [("cases", 0, 1), ("cases", 0, 2)]
    assert made[TABLE] == [("a", "x", "1", 2)]


def test_a_row_names_only_columns_that_there_are() -> None:
    with pytest.raises(AssertionError, match="nonsense"):
        TABLE.row(id="a", nonsense=1)


def test_the_schema_has_every_column_of_every_table() -> None:
    source = caseway_audit.__file__
    assert source is not None
    text = Path(source).with_name("schema.sql").read_text(encoding="utf-8")
    for table in TABLES:
        body = text.split(f"CREATE TABLE {table.name} (")[1].split(");")[0]
        for column in table.columns:
            assert f" {column} " in body or f'"{column}"' in body, (table.name, column)
