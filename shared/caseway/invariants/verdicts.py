"""What matrix and registry say of an opening, a speaker and a decision (I06 I07 I10)."""

from __future__ import annotations

from typing import Any, NamedTuple

from caseway.contracts.codec import Event
from caseway.contracts.decision import Choice, GateOpened
from caseway.contracts.matrix import SYSTEM, Row
from caseway.invariants.floor import required_row, roles_at
from caseway.invariants.invariant import At, Report
from caseway.invariants.pairs import Side
from caseway.invariants.published import Published


class Speaker(NamedTuple):
    """A person who counts for a role of an open gate; `rule` is what it breaks if they may not."""

    person: str
    role: str
    rule: str
    opened: GateOpened


def judge_opening(published: Published, report: Report, requested: Side, opened: Side) -> None:
    """A gate is opened on the row that the amount and the flags of its request need."""
    asked: Any = requested[1].data
    at, event = opened
    data: Any = event.data
    if (asked.digest, asked.requester, asked.matrix) != (
        data.digest,
        data.requester,
        data.matrix.name,
    ) or not set(asked.preparers) <= set(data.preparers):
        report("I07", event.key, f"{data.gate_id} opens on another request than was made", at)

    def judge() -> None:
        matrix = published.matrices.get(data.matrix.digest)
        row = required_row(matrix, asked.amount, asked.flags) if matrix is not None else None
        if row is None or (row.name, (row.approver,), row.escalates_to) != (
            data.row,
            data.roles,
            data.rungs,
        ):
            needed = f"row {row.name!r}" if row is not None else "a row that does not exist"
            found = f"{asked.amount} needs {needed}, and {data.gate_id} opens on {data.row!r}"
            report("I06", event.key, found, at)

    published.when(event.envelope.registry_position, judge)


def judge_taking(report: Report, decided: Side, consumed: Side) -> None:
    """What takes effect is what was decided."""
    said: Any = decided[1].data
    at, event = consumed
    data: Any = event.data
    if (said.choice, said.by, said.digest) != (data.choice, data.by, data.digest):
        found = f"{data.gate_id} takes effect as {data.choice.value!r}, and was decided otherwise"
        report("I06", event.key, found, at)


def judge_speaker(
    published: Published, report: Report, speaker: Speaker, at: At, event: Event
) -> None:
    """Who speaks holds the role now, and has nothing to do with what is decided."""
    person, role, rule, opened = speaker
    position = event.envelope.registry_position
    apart = {opened.requester, *opened.preparers, *opened.owners}
    if person in apart:
        found = f"{person} requested or prepared it, or owns an agent that did"
        report("I07", event.key, found, at)

    def judge() -> None:
        if role not in published.roles(person, position):
            report(rule, event.key, f"{person} speaks as {role!r} and is not", at)
        cards = (published.agent(name, position) for name in sorted(apart))
        if person not in apart and person in {f"person:{c.owner}" for c in cards if c}:
            report("I07", event.key, f"{person} owns an agent that prepared it", at)

    published.when(position, judge)


def judge_roles(published: Published, report: Report, level: int, at: At, event: Event) -> None:
    """All roles of the level approve, and any of them may stop it."""
    data: Any = event.data

    def judge() -> None:
        row = _row(published, data)
        needed = roles_at(row, level) if row is not None else frozenset()
        spoke = frozenset(data.roles)
        is_enough = spoke == needed if data.choice is Choice.APPROVE else bool(spoke)
        if data.level != level or not is_enough or not spoke <= needed:
            found = f"row {data.row!r} needs {sorted(needed)} at level {level}"
            report("I06", event.key, f"{found}, and {sorted(spoke)} decided", at)

    published.when(event.envelope.registry_position, judge)


def judge_auto(published: Published, report: Report, at: At, event: Event) -> None:
    """Without a person only a gate of an auto row is decided, and by no agent."""
    data: Any = event.data

    def judge() -> None:
        row = _row(published, data)
        if row is None or not row.is_auto or data.by != (SYSTEM,):
            found = f"{data.gate_id} is decided by {', '.join(data.by)} in row {data.row!r}"
            report("I10", event.key, found, at)

    published.when(event.envelope.registry_position, judge)


def _row(published: Published, data: Any) -> Row | None:
    matrix = published.matrices.get(data.matrix.digest)
    rows = matrix.spec.rows if matrix is not None else ()
    return next((row for row in rows if row.name == data.row), None)
