"""What a scrape reads of a shard: open, faulted and stuck cases, each counted for what it is."""

from __future__ import annotations

from dataclasses import replace

from caseway.casefile.state import CaseState, TaskState, TaskStatus
from caseway.hosting.host import Shard
from caseway.kernel.entities import Entity
from caseway_control.roster import CARDS
from caseway_control.wiring import reading_of

DONE = TaskState("triage", "triage-1", TaskStatus.DONE, "")
OPEN = CaseState("insurance-claim@1#" + "a" * 64, tasks={"triage": DONE})
WORKED_ON = replace(OPEN, tasks={"triage": replace(DONE, status=TaskStatus.QUEUED)})
CLOSED = replace(OPEN, outcome="paid")


def test_an_open_case_in_which_nothing_is_awaited_is_stuck() -> None:
    shard = Shard(CARDS["router"], 0)
    states = {"c-1": OPEN, "c-2": WORKED_ON, "c-3": CLOSED}
    shard.worker.fold.committed.update({k: Entity(state, 1) for k, state in states.items()})
    reading = reading_of("router", shard)
    assert (reading.open_cases, reading.stuck_cases, reading.faulted_cases) == (2, 1, 0)
