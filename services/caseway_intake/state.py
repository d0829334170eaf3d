"""What intake remembers: which case ids were admitted with which content, and operators' wishes."""

from __future__ import annotations

from dataclasses import dataclass

from caseway.contracts.codec import Event
from caseway.contracts.fields import Pin
from caseway.contracts.submission import CaseAdmitted


@dataclass(frozen=True, slots=True)
class Admission:
    """An admitted case: enough to know a repetition, a conflict, and who may amend it."""

    definition: Pin
    source: str
    submission_key: str
    body_sha256: str


def evolve(state: Admission | None, event: Event) -> Admission | None:
    """The admission after one more event of the intake log; refusals leave no trace in memory."""
    data = event.data
    if isinstance(data, CaseAdmitted):
        return Admission(data.definition, data.source, data.key, data.body_sha256)
    return state
