"""What people decide about a gate, and what approval makes of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from caseway.contracts.deadline import Timed
from caseway.contracts.fields import Contract, Identifier, Instant, Pin, Sha256
from caseway.contracts.money import Money

GateId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}-[1-9][0-9]{0,5}$")]
Revision = Annotated[int, Field(ge=1)]
DecisionReason = Annotated[str, StringConstraints(max_length=2000)]


class Choice(StrEnum):
    """The outcomes a person may give a gate."""

    APPROVE = "approve"
    REJECT = "reject"
    SEND_BACK = "send_back"


class DecideGate(Contract):
    """A person's decision, bound to the revision and digest that the person was shown."""

    TYPE: ClassVar[str] = "gate.decide"
    VERSION: ClassVar[int] = 1
    namespace: str
    gate_id: GateId
    revision: Revision
    digest: Sha256
    choice: Choice
    reason: DecisionReason = ""
    expires_at: Instant


class AskAboutGate(Contract):
    """A question for the record; the SLA keeps running."""

    TYPE: ClassVar[str] = "gate.ask"
    VERSION: ClassVar[int] = 1
    namespace: str
    gate_id: GateId
    revision: Revision
    question: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    expires_at: Instant


class DelegateGate(Contract):
    """One gate handed to another holder of the same role; delegation only narrows."""

    TYPE: ClassVar[str] = "gate.delegate"
    VERSION: ClassVar[int] = 1
    namespace: str
    gate_id: GateId
    revision: Revision
    to: Identifier
    reason: DecisionReason = ""
    expires_at: Instant


class GateOpened(Timed):
    """The matrix row was found: who must decide by when, and which cells matched.

    `roles` decide first and jointly; `rungs` stand above them, level 1 first. `owners` are the
    persons behind the agents among requester and preparers, who may not decide either.
    """

    TYPE: ClassVar[str] = "gate.opened"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    digest: Sha256
    matrix: Pin
    row: Identifier
    cells: tuple[str, ...]
    roles: tuple[Identifier, ...]
    rungs: tuple[tuple[Identifier, ...], ...]
    sla: str
    due_at: Instant | None
    preparers: tuple[str, ...]
    requester: str
    owners: tuple[str, ...] = ()


class DecisionEndorsed(Contract):
    """One of several roles that must decide jointly has approved."""

    TYPE: ClassVar[str] = "decision.endorsed"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    by: str
    role: Identifier
    reason: DecisionReason
    outstanding: tuple[Identifier, ...]


class GateDecided(Timed):
    """The one decision of this revision: recorded here, effective when the router consumes it.

    `by` and `roles` stand in the same order: who decided, and in which role.
    """

    TYPE: ClassVar[str] = "gate.decided"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    digest: Sha256
    choice: Choice
    by: tuple[str, ...]
    roles: tuple[Identifier, ...]
    level: int
    reason: DecisionReason
    row: Identifier
    matrix: Pin


class GateEscalated(Timed):
    """The SLA was missed: the next rung decides from now on."""

    TYPE: ClassVar[str] = "gate.escalated"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    level: int
    roles: tuple[Identifier, ...]
    due_at: Instant
    breached_at: Instant
    detected_at: Instant


class GateOverdue(Timed):
    """The last rung missed its SLA too: said again every SLA until someone decides."""

    TYPE: ClassVar[str] = "gate.overdue"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    alarm: int
    roles: tuple[Identifier, ...]
    due_at: Instant
    breached_at: Instant
    detected_at: Instant


class GateUnmatched(Contract):
    """No row, role or calendar fits: the gate waits for a person in a named queue, never auto.

    It holds all that was asked, so that it is judged again when the registry changes.
    """

    TYPE: ClassVar[str] = "gate.unmatched"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    digest: Sha256
    matrix: Identifier
    amount: Money
    flags: tuple[Identifier, ...]
    preparers: tuple[str, ...]
    requester: str
    code: str
    queue: Identifier
    message: str


class GateQuestioned(Contract):
    """A question was put on record."""

    TYPE: ClassVar[str] = "gate.questioned"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    by: str
    question: str


class GateDelegated(Contract):
    """One holder of the role handed this gate to another; both are on record."""

    TYPE: ClassVar[str] = "gate.delegated"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    by: str
    to: str
    role: Identifier
    reason: DecisionReason


class GateRetired(Timed):
    """This revision was voided or replaced; nothing can decide it any more."""

    TYPE: ClassVar[str] = "gate.retired"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    reason: str


class DecisionRefused(Contract):
    """A known person's decision did not count; the code says which rule refused it."""

    TYPE: ClassVar[str] = "decision.refused"
    VERSION: ClassVar[int] = 1
    gate_id: GateId
    revision: Revision
    by: str
    code: str
    message: str
