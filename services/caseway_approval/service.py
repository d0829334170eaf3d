"""Approval's card: what it hears and says."""

from __future__ import annotations

from caseway.contracts import topics
from caseway.invariants.gate_guard import guard_gates
from caseway.kernel.processor import Card, Input
from caseway_approval.processor import (
    HEARS_CASES,
    HEARS_DEADLINES,
    HEARS_DECISIONS,
    decide,
    touched,
)
from caseway_approval.state import Gates, evolve

# Raise it when the meaning of Gates changes; snapshots of another version are not used.
STATE_VERSION = 1

CARD: Card[Gates] = Card(
    service="approval",
    own=topics.APPROVALS,
    inputs=(
        Input(topics.DEADLINES, HEARS_DEADLINES),
        Input(topics.CASES, HEARS_CASES),
        Input(topics.DECISIONS, HEARS_DECISIONS, needs_barrier=True),
    ),
    state_type=Gates,
    state_version=STATE_VERSION,
    decide=decide,
    evolve=evolve,
    is_settled=lambda state: state.is_settled,
    touched=touched,
    guard=guard_gates,
)
