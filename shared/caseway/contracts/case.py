"""The `cases` log: the authoritative life of every case, written by the router alone."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from caseway.contracts.deadline import Timed
from caseway.contracts.decision import Choice, DecisionReason, GateId, Revision
from caseway.contracts.fields import Contract, Identifier, JsonObject, Pin, Sha256
from caseway.contracts.money import Money
from caseway.contracts.report import (
    Confidence,
    EffectOutcome,
    LongText,
    Purpose,
    ShortText,
    SystemCall,
    TaskId,
    Token,
)


class CaseOpened(Contract):
    """A case begins under one version of its definition, which it keeps for life."""

    TYPE: ClassVar[str] = "case.opened"
    VERSION: ClassVar[int] = 1
    definition: Pin
    title: str
    source: str
    requester: str
    facts: JsonObject


class PhaseEntered(Contract):
    """The case moved along an edge of its machine; `round` counts all entries into phases."""

    TYPE: ClassVar[str] = "phase.entered"
    VERSION: ClassVar[int] = 1
    phase: Identifier
    round: Annotated[int, Field(ge=1)]


class TaskOpened(Timed):
    """A task may be worked on: by agents of a pool, or by people of a queue."""

    TYPE: ClassVar[str] = "task.opened"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    task: Identifier
    kind: str
    skill: str = ""
    pool: str = ""
    queue: str = ""
    inputs_digest: Sha256


class Ranked(Contract):
    """One candidate of an assignment and why it stood where it stood."""

    agent: str
    why: str


class TaskGranted(Timed):
    """One holder, one lease, one fencing token that only ever grows within a case."""

    TYPE: ClassVar[str] = "task.granted"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    holder: str
    token: Token
    attempt: Annotated[int, Field(ge=1)]
    purpose: Purpose
    lease_s: int
    inputs_digest: Sha256
    ranking: tuple[Ranked, ...] = ()


class LeaseExtended(Timed):
    """A heartbeat that came when less than half the lease was left."""

    TYPE: ClassVar[str] = "lease.extended"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    token: Token


class TaskCompleted(Timed):
    """The outputs became facts of the case, with the evidence the holder gave."""

    TYPE: ClassVar[str] = "task.completed"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    token: Token
    holder: str
    output: JsonObject
    confidence: Confidence
    rationale: LongText = ""
    sources: dict[str, ShortText] = {}
    systems: tuple[SystemCall, ...] = ()
    model: ShortText = ""
    prompt_version: ShortText = ""
    cost: Money | None = None


class AttemptEnded(Timed):
    """An attempt that gave no result: failed, expired, released, revoked or below its floor.

    `is_counted` says whether it used up one of the task's attempts.
    """

    TYPE: ClassVar[str] = "attempt.ended"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    token: Token
    holder: str
    code: str
    detail: LongText = ""
    is_counted: bool = True


class TaskReoffered(Timed):
    """An open task that nobody claimed is published again; or its facts changed."""

    TYPE: ClassVar[str] = "task.reoffered"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    inputs_digest: Sha256
    reason: str


class TaskEscalated(Timed):
    """A task became a person's, in a named queue, with everything that was attempted."""

    TYPE: ClassVar[str] = "task.escalated"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    queue: Identifier
    code: str
    inputs_digest: Sha256


class TaskCancelled(Timed):
    """The case left the phase or closed; whoever held this task holds it no more."""

    TYPE: ClassVar[str] = "task.cancelled"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    reason: str


class ReportRefused(Contract):
    """A known actor's report did not count; the code says which rule refused it."""

    TYPE: ClassVar[str] = "report.refused"
    VERSION: ClassVar[int] = 1
    wish: str
    task_id: TaskId
    actor: str
    code: str
    message: str


class GateRequested(Contract):
    """A decision is needed; `digest` binds the material facts, never a sequence number."""

    TYPE: ClassVar[str] = "gate.requested"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    phase: Identifier
    matrix: Identifier
    amount: Money
    flags: tuple[Identifier, ...]
    material: JsonObject
    shows: JsonObject
    digest: Sha256
    preparers: tuple[str, ...]
    requester: str


class GateConsumed(Contract):
    """The decision takes effect: it was recorded on the facts that still hold."""

    TYPE: ClassVar[str] = "gate.consumed"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    choice: Choice
    by: tuple[str, ...]
    reason: DecisionReason
    digest: Sha256


class GateVoided(Contract):
    """This revision is void: the facts changed, or the case closed."""

    TYPE: ClassVar[str] = "gate.voided"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    reason: str


class EffectPermitted(Timed):
    """The point of no return: one permit, bound to amount and payee, short-lived."""

    TYPE: ClassVar[str] = "effect.permitted"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    token: Token
    effect_id: Sha256
    gate_id: GateId
    revision: Revision
    amount: Money
    payee: str
    permit_s: int


class EffectDoubted(Timed):
    """A permitted effect was not reported in time or not surely: the outside is asked by its id."""

    TYPE: ClassVar[str] = "effect.doubted"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    effect_id: Sha256
    reason: str


class EffectSettled(Contract):
    """What became of the effect, known for sure: done, or not done."""

    TYPE: ClassVar[str] = "effect.settled"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    effect_id: Sha256
    outcome: EffectOutcome
    by: str


class CaseAmended(Contract):
    """Facts changed by the submitter's wish; what stood on the old ones is made again."""

    TYPE: ClassVar[str] = "case.amended"
    VERSION: ClassVar[int] = 1
    changes: JsonObject
    reason: str


class WishRefused(Contract):
    """An amendment or withdrawal that came too late, or for a case that is closed."""

    TYPE: ClassVar[str] = "wish.refused"
    VERSION: ClassVar[int] = 1
    wish: str
    code: str
    message: str


class CaseClosed(Timed):
    """The end: nothing changes this case any more."""

    TYPE: ClassVar[str] = "case.closed"
    VERSION: ClassVar[int] = 1
    outcome: Identifier
    reason: str = ""
