"""All planted defects by name, in the order of their subjects."""

from __future__ import annotations

from tests.bugbank import (
    authority,
    commits,
    decisions,
    effects,
    intake,
    proofs,
    snapshots,
    tasks,
    timers,
)
from tests.bugbank.planting import Defect

SUBJECTS: dict[str, tuple[Defect, ...]] = {
    "log and commits": commits.DEFECTS,
    "snapshots and replay": snapshots.DEFECTS,
    "authority": authority.DEFECTS,
    "decisions": decisions.DEFECTS,
    "tasks and leases": tasks.DEFECTS,
    "timers": timers.DEFECTS,
    "effects": effects.DEFECTS,
    "intake": intake.DEFECTS,
    "audit proofs": proofs.DEFECTS,
}
BANK: dict[str, Defect] = {
    defect.name: defect for defects in SUBJECTS.values() for defect in defects
}
assert len(BANK) == sum(map(len, SUBJECTS.values())), "two defects have one name"
