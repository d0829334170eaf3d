"""The state of a case as the fold of `cases` alone.

A closed case keeps only what a late record needs to be refused, so a shard's memory follows its
open cases. Times are the RFC 3339 text of the envelope: the time of the causing record. What
changes often has no slots, so that `changed` copies it in a single step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from caseway.contracts.fields import Pin
from caseway.contracts.report import Purpose

S = TypeVar("S", "TaskState", "GateState", "CaseState")


class TaskStatus(StrEnum):
    """Where a task is in its life; an open case has one that is not DONE, or a gate."""

    OPEN = "open"
    GRANTED = "granted"
    PERMITTED = "permitted"
    RESTING = "resting"
    QUEUED = "queued"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One grant that gave no result."""

    holder: str
    code: str


@dataclass(frozen=True)
class TaskState:
    """A task of the current phase; `token` is that of the last grant, 0 before the first."""

    task: str
    task_id: str
    status: TaskStatus
    inputs_digest: str
    attempts: int = 0
    token: int = 0
    holder: str = ""
    purpose: Purpose = Purpose.WORK
    lease_s: int = 0
    since: str = ""
    queue: str = ""
    ended: tuple[Attempt, ...] = ()
    effect_id: str = ""
    is_settled: bool = False


@dataclass(frozen=True)
class GateState:
    """A gate revision as the router asked for it, and what became of it."""

    gate_id: str
    revision: int
    phase: str
    digest: str
    is_approved: bool = False


@dataclass(frozen=True)
class CaseState:
    """One case. `visited` is the way from the start to the current phase, without what was
    gone back behind; `tasks` are those of the current phase, and `completed` who did those of
    earlier ones, by task id; `approved` the consumed approvals by the phase of their gate;
    `preparers` everyone whose word stands behind the facts; `effects` the ids that were permitted
    and that no person has said to have come to nothing."""

    definition: Pin
    source: str = ""
    requester: str = ""
    phase: str = ""
    round: int = 0
    token: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    visited: tuple[str, ...] = ()
    preparers: tuple[str, ...] = ()
    tasks: dict[str, TaskState] = field(default_factory=dict)
    completed: dict[str, str] = field(default_factory=dict)
    gate: GateState | None = None
    approved: dict[str, GateState] = field(default_factory=dict)
    effects: tuple[str, ...] = ()
    outcome: str = ""

    @property
    def is_closed(self) -> bool:
        """True once the case has its outcome; terminal states absorb."""
        return self.outcome != ""

    @property
    def is_stuck(self) -> bool:
        """True when an open case awaits neither a task, an agent, a person nor a gate (I04)."""
        unfinished = any(t.status is not TaskStatus.DONE for t in self.tasks.values())
        return not (self.is_closed or unfinished or self.gate)

    @property
    def done(self) -> frozenset[str]:
        """The tasks of the current phase that are done."""
        return frozenset(t.task for t in self.tasks.values() if t.status is TaskStatus.DONE)

    @property
    def is_past_return(self) -> bool:
        """True when an effect may have happened: permitted, in doubt, or done."""
        return bool(self.effects)

    def task_by_id(self, task_id: str) -> TaskState | None:
        """The task of the current phase with this id."""
        task = self.tasks.get(task_id.rpartition("-")[0])
        return task if task is not None and task.task_id == task_id else None


def changed(state: S, **changes: Any) -> S:
    """The same state but for these fields.

    `dataclasses.replace` reads and writes them one by one and takes seven times as long; a case is
    changed some forty times in its life.
    """
    made = object.__new__(type(state))
    made.__dict__.update(state.__dict__, **changes)
    assert len(made.__dict__) == len(state.__dict__), f"no field of a {type(state).__name__}"
    return made
