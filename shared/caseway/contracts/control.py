"""What operators may change, as signed wishes, and what became the registry.

Every wish names the version it replaces (0: the first) and carries as many signatures as its
kind needs; a matrix needs two persons. The registry says who signed.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from caseway.contracts.calendar import Calendar
from caseway.contracts.definition import ProcessDefinition
from caseway.contracts.fields import Contract, Identifier, Instant, Pin
from caseway.contracts.matrix import AuthorityMatrix
from caseway.contracts.submission import Reason

PublicKeyText = Annotated[str, StringConstraints(pattern=r"^ed25519:[A-Za-z0-9+/]{43}=$")]


class AgentCard(Contract):
    """What an agent may do, the key that proves it is this agent, and the person who owns it."""

    agent_id: Identifier
    owner: Identifier
    pool: Identifier
    skills: tuple[Identifier, ...]
    public_key: PublicKeyText


class PersonCard(Contract):
    """A person with the roles that the person holds, and the key that proves it is them."""

    person_id: Identifier
    roles: tuple[Identifier, ...]
    public_key: PublicKeyText


class Wish(Contract):
    """What every control record carries; the record's key is `kind/name`."""

    namespace: str
    expires_at: Instant


class PublishDefinition(Wish):
    """A wish to put a process definition in force."""

    TYPE: ClassVar[str] = "definition.publish"
    VERSION: ClassVar[int] = 1
    replaces: Annotated[int, Field(ge=0)]
    document: ProcessDefinition


class PublishMatrix(Wish):
    """A wish to put an authority matrix in force; two persons sign it."""

    TYPE: ClassVar[str] = "matrix.publish"
    VERSION: ClassVar[int] = 1
    replaces: Annotated[int, Field(ge=0)]
    document: AuthorityMatrix


class PublishCalendar(Wish):
    """A wish to put a calendar in force; deadlines already computed never move."""

    TYPE: ClassVar[str] = "calendar.publish"
    VERSION: ClassVar[int] = 1
    replaces: Annotated[int, Field(ge=0)]
    document: Calendar


class RegisterAgent(Wish):
    """A wish to let an agent work, or to change what it may do."""

    TYPE: ClassVar[str] = "agent.register"
    VERSION: ClassVar[int] = 1
    card: AgentCard


class AppointPerson(Wish):
    """A wish to give a person roles, or to change them; an empty list takes all away."""

    TYPE: ClassVar[str] = "person.appoint"
    VERSION: ClassVar[int] = 1
    card: PersonCard


class QuarantineAgent(Wish):
    """A wish to stop an agent at once on every shard."""

    TYPE: ClassVar[str] = "agent.quarantine"
    VERSION: ClassVar[int] = 1
    agent_id: Identifier
    reason: Reason


class ReleaseAgent(Wish):
    """A wish to let a quarantined agent work again."""

    TYPE: ClassVar[str] = "agent.release"
    VERSION: ClassVar[int] = 1
    agent_id: Identifier
    reason: Reason


class HaltNamespace(Wish):
    """A wish that no agent is offered work and no effect permitted; people can still decide."""

    TYPE: ClassVar[str] = "namespace.halt"
    VERSION: ClassVar[int] = 1
    reason: Reason


class ResumeNamespace(Wish):
    """A wish to end a halt."""

    TYPE: ClassVar[str] = "namespace.resume"
    VERSION: ClassVar[int] = 1
    reason: Reason


class RedriveCase(Wish):
    """A wish to decide the parked inputs of a faulted case again, after the fix."""

    TYPE: ClassVar[str] = "case.redrive"
    VERSION: ClassVar[int] = 1
    case_id: str
    reason: Reason


class RaiseContractLevel(Wish):
    """A wish to let new event types be written, once every live service can read them."""

    TYPE: ClassVar[str] = "contract.raise"
    VERSION: ClassVar[int] = 1
    level: Annotated[int, Field(ge=1)]


class Signed(Contract):
    """What every registry fact carries: the key ids whose signatures were verified."""

    signers: tuple[str, ...]


class DefinitionPublished(Signed):
    """A process definition is in force for cases that open from now on."""

    TYPE: ClassVar[str] = "definition.published"
    VERSION: ClassVar[int] = 1
    pin: Pin
    document: ProcessDefinition


class MatrixPublished(Signed):
    """An authority matrix is in force for gates that open from now on."""

    TYPE: ClassVar[str] = "matrix.published"
    VERSION: ClassVar[int] = 1
    pin: Pin
    document: AuthorityMatrix


class CalendarPublished(Signed):
    """A calendar is in force for deadlines computed from now on."""

    TYPE: ClassVar[str] = "calendar.published"
    VERSION: ClassVar[int] = 1
    pin: Pin
    document: Calendar


class AgentRegistered(Signed):
    """An agent may work within its card."""

    TYPE: ClassVar[str] = "agent.registered"
    VERSION: ClassVar[int] = 1
    card: AgentCard


class PersonAppointed(Signed):
    """A person holds exactly these roles."""

    TYPE: ClassVar[str] = "person.appointed"
    VERSION: ClassVar[int] = 1
    card: PersonCard


class AgentQuarantined(Signed):
    """An agent's leases are revoked and nothing is offered to it."""

    TYPE: ClassVar[str] = "agent.quarantined"
    VERSION: ClassVar[int] = 1
    agent_id: Identifier
    reason: Reason


class AgentReleased(Signed):
    """An agent may work again."""

    TYPE: ClassVar[str] = "agent.released"
    VERSION: ClassVar[int] = 1
    agent_id: Identifier
    reason: Reason


class NamespaceHalted(Signed):
    """Agents stand still; people can still decide."""

    TYPE: ClassVar[str] = "namespace.halted"
    VERSION: ClassVar[int] = 1
    reason: Reason


class NamespaceResumed(Signed):
    """Agents work again."""

    TYPE: ClassVar[str] = "namespace.resumed"
    VERSION: ClassVar[int] = 1
    reason: Reason


class CaseRedriven(Signed):
    """Every shard that faulted this case decides its parked inputs again."""

    TYPE: ClassVar[str] = "case.redriven"
    VERSION: ClassVar[int] = 1
    case_id: str
    reason: Reason


class ContractRaised(Signed):
    """Event types up to this level may be written."""

    TYPE: ClassVar[str] = "contract.raised"
    VERSION: ClassVar[int] = 1
    level: Annotated[int, Field(ge=1)]


class ControlAccepted(Contract):
    """On the intake log: a wish became a registry fact."""

    TYPE: ClassVar[str] = "control.accepted"
    VERSION: ClassVar[int] = 1
    wish: str
    name: str
    signers: tuple[str, ...]


class ControlRefused(Contract):
    """On the intake log: a wish was not granted, and why."""

    TYPE: ClassVar[str] = "control.refused"
    VERSION: ClassVar[int] = 1
    wish: str
    name: str
    code: str
    message: str
    signers: tuple[str, ...]
