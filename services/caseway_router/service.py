"""The router's card: what it hears and says."""

from __future__ import annotations

from caseway.casefile.evolve import evolve
from caseway.casefile.state import CaseState
from caseway.contracts import topics
from caseway.contracts.deadline import SlaBreached, TimerFired
from caseway.contracts.decision import GateDecided
from caseway.contracts.submission import AmendmentAdmitted, CaseAdmitted, WithdrawalAdmitted
from caseway.invariants.case_guard import guard_case
from caseway.kernel.processor import Card, Input
from caseway_router.processor import HEARS_REPORTS, decide, touched

# Raise it when the meaning of CaseState changes; snapshots of another version are not used.
STATE_VERSION = 2

CARD: Card[CaseState] = Card(
    service="router",
    own=topics.CASES,
    inputs=(
        Input(topics.DEADLINES, frozenset({TimerFired.TYPE, SlaBreached.TYPE})),
        Input(topics.APPROVALS, frozenset({GateDecided.TYPE})),
        Input(
            topics.INTAKE,
            frozenset({CaseAdmitted.TYPE, AmendmentAdmitted.TYPE, WithdrawalAdmitted.TYPE}),
        ),
        Input(topics.AGENT_REPORTS, HEARS_REPORTS, needs_barrier=True),
    ),
    state_type=CaseState,
    state_version=STATE_VERSION,
    decide=decide,
    evolve=evolve,
    is_settled=lambda state: state.is_closed,
    is_stuck=lambda state: state.is_stuck,
    touched=touched,
    guard=guard_case,
)
