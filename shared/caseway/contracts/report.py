"""What agents, and people who work on tasks, report; and what is offered to them.

Signed content always holds namespace, target with fencing token, and expiry, so nothing signed
can be replayed elsewhere or later. The case is the record's key.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from caseway.contracts.fields import Contract, Identifier, Instant, JsonObject, Sha256
from caseway.contracts.money import Money

TaskId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}-[1-9][0-9]{0,5}$")]
Token = Annotated[int, Field(ge=1)]
Confidence = Annotated[str, StringConstraints(pattern=r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$")]
ShortText = Annotated[str, StringConstraints(max_length=200)]
LongText = Annotated[str, StringConstraints(max_length=4000)]


class Purpose(StrEnum):
    """Why a task is granted: to do the work, or to ask outside what became of an effect."""

    WORK = "work"
    RECONCILE = "reconcile"


class SystemCall(Contract):
    """A system the agent called, and how that went."""

    name: ShortText
    outcome: ShortText


class ClaimTask(Contract):
    """A wish to work on an open task; it needs no offer."""

    TYPE: ClassVar[str] = "task.claim"
    VERSION: ClassVar[int] = 1
    namespace: str
    task_id: TaskId
    expires_at: Instant


class HeartbeatTask(Contract):
    """The holder is alive; it becomes an event only when less than half the lease is left."""

    TYPE: ClassVar[str] = "task.heartbeat"
    VERSION: ClassVar[int] = 1
    namespace: str
    task_id: TaskId
    token: Token
    expires_at: Instant


class CompleteTask(Contract):
    """The result of a task, with the evidence for it.

    `inputs_digest` echoes the offer: if the facts changed meanwhile, the result is refused and a
    fresh offer made. Version 1 carried `confidence` as a JSON number; version 2 as decimal text.
    """

    TYPE: ClassVar[str] = "task.complete"
    VERSION: ClassVar[int] = 2
    namespace: str
    task_id: TaskId
    token: Token
    inputs_digest: Sha256
    output: JsonObject
    confidence: Confidence
    expires_at: Instant
    rationale: LongText = ""
    sources: dict[str, ShortText] = {}
    systems: tuple[SystemCall, ...] = ()
    model: ShortText = ""
    prompt_version: ShortText = ""
    cost: Money | None = None


class FailTask(Contract):
    """The holder could not do it; a failure that is not retryable goes to a person at once."""

    TYPE: ClassVar[str] = "task.fail"
    VERSION: ClassVar[int] = 1
    namespace: str
    task_id: TaskId
    token: Token
    code: Identifier
    is_retryable: bool
    detail: LongText = ""
    expires_at: Instant


class ReleaseTask(Contract):
    """The holder gives the task back; no attempt is counted."""

    TYPE: ClassVar[str] = "task.release"
    VERSION: ClassVar[int] = 1
    namespace: str
    task_id: TaskId
    token: Token
    reason: ShortText
    expires_at: Instant


class BeginEffect(Contract):
    """A wish for the one permit of an effect; nothing irrevocable is done before it."""

    TYPE: ClassVar[str] = "effect.begin"
    VERSION: ClassVar[int] = 1
    namespace: str
    task_id: TaskId
    token: Token
    inputs_digest: Sha256
    expires_at: Instant


class EffectOutcome(StrEnum):
    """What the outside says of an effect."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


class ReportEffect(Contract):
    """What became of a permitted effect, after doing it or after asking for it by its id."""

    TYPE: ClassVar[str] = "effect.report"
    VERSION: ClassVar[int] = 1
    namespace: str
    task_id: TaskId
    token: Token
    effect_id: Sha256
    outcome: EffectOutcome
    output: JsonObject = {}
    detail: LongText = ""
    expires_at: Instant


class TaskOffered(Contract):
    """A task packet: only the facts this pool may see.

    With a `token` it is granted to the addressed agent, and the lease runs for `lease_s` from
    the append time of this record; with token 0 it is open to claims.
    """

    TYPE: ClassVar[str] = "task.offered"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    task: Identifier
    kind: str
    purpose: Purpose
    attempt: int
    token: Annotated[int, Field(ge=0)]
    lease_s: int
    inputs_digest: Sha256
    facts: JsonObject
    effect_id: str = ""


class PermitIssued(Contract):
    """The permit of an effect, on its way to its holder: do exactly this, once, until then."""

    TYPE: ClassVar[str] = "permit.issued"
    VERSION: ClassVar[int] = 1
    task_id: TaskId
    token: Token
    effect_id: Sha256
    amount: Money
    payee: str
    permit_s: int
