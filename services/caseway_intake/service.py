"""Intake's card: what it hears and says."""

from __future__ import annotations

from caseway.contracts import topics
from caseway.kernel.processor import Card, Input
from caseway_intake.processor import HEARS_CONTROL, HEARS_SUBMISSIONS, decide
from caseway_intake.state import Admission, evolve

# Raise it when the meaning of Admission changes; snapshots of another version are not used.
STATE_VERSION = 1

CARD: Card[Admission] = Card(
    service="intake",
    own=topics.INTAKE,
    inputs=(
        Input(topics.CONTROL, HEARS_CONTROL, needs_barrier=True),
        Input(topics.SUBMISSIONS, HEARS_SUBMISSIONS, needs_barrier=True),
    ),
    state_type=Admission,
    state_version=STATE_VERSION,
    decide=decide,
    evolve=evolve,
    is_settled=lambda _state: True,
)
