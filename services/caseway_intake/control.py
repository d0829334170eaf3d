"""Judges what operators wish: enough signatures, the right predecessor, a proven document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caseway.contracts import control
from caseway.contracts.definition import GatePhase
from caseway.contracts.fields import Contract
from caseway.contracts.levels import known_level
from caseway.errors import ContractError
from caseway.kernel.authentication import misdirected
from caseway.kernel.calendars import compile_calendar
from caseway.kernel.machine import compile_definition
from caseway.kernel.matrix import compile_matrix
from caseway.kernel.processor import NOTHING, Delivery, Step
from caseway.kernel.registry import OPERATOR_ROLE, Registry


def judge(delivery: Delivery, registry: Registry) -> Step:
    """A registry fact and its acceptance, or a refusal; nothing if it is so already.

    Raises:
        ContractError: never; what a wish gets wrong becomes its refusal.
    """
    event = delivery.event
    data: Any = event.data
    wish = event.envelope.type
    signers = _authorised(delivery, registry)
    try:
        _check_signers(delivery, registry, signers)
        name, fact = _JUDGES[type(data)](data, registry, signers)
        _check_key(event.key, name)
    except ContractError as error:
        return _refused(delivery, error.code, str(error))
    if fact is None:
        return NOTHING
    accepted = control.ControlAccepted(wish=wish, name=name, signers=signers)
    return Step((accepted,), registry=(fact,))


def _authorised(delivery: Delivery, registry: Registry) -> tuple[str, ...]:
    """The signers that may change the registry: root keys, and persons who are operators."""
    return tuple(
        signer
        for signer in dict.fromkeys(delivery.actor.signers)
        if signer.startswith("root:")
        or (
            signer.startswith("person:")
            and OPERATOR_ROLE in registry.roles_of(signer.partition(":")[2])
        )
    )


def _signatures(data: Any, registry: Registry) -> int:
    """How many operators must sign: nobody changes an authority matrix alone.

    Nor does anybody alone make, or rekey, the operator whose signature would be the second one.
    """
    if isinstance(data, control.AppointPerson):
        roles = {*data.card.roles, *registry.roles_of(data.card.person_id)}
        return 2 if OPERATOR_ROLE in roles else 1
    return 2 if isinstance(data, control.PublishMatrix) else 1


def _check_signers(delivery: Delivery, registry: Registry, signers: tuple[str, ...]) -> None:
    wrong = misdirected(delivery, registry)
    if wrong is not None:
        raise ContractError(wrong[1], code=wrong[0])
    needed = _signatures(delivery.event.data, registry)
    if len(signers) < needed:
        wish = delivery.event.envelope.type
        raise ContractError(
            f"{wish} needs {needed} operators' signatures and has {len(signers)}; "
            "sign it with the keys that `caseway init` named, or appoint operators",
            code="POLICY_SIGNATURES",
        )


def _check_key(key: str, name: str) -> None:
    if key != name:
        raise ContractError(f"the record's key must be {name!r}", code="KEY_FORMAT", where="key")


def _refused(delivery: Delivery, code: str, message: str) -> Step:
    refused = control.ControlRefused(
        wish=delivery.event.envelope.type,
        name=delivery.event.key,
        code=code,
        message=message,
        signers=delivery.actor.signers,
    )
    return Step((refused,))


Judged = tuple[str, Contract | None]


def _check_version(kind: str, document: Any, replaces: int, current: int) -> None:
    version = document.metadata.version
    if replaces != current or version <= current:
        raise ContractError(
            f"{kind} {document.metadata.name!r} is at version {current}: publish a higher version "
            f"that replaces {current}",
            code="VERSION_CONFLICT",
            where="/replaces",
        )


def _definition(
    data: control.PublishDefinition, registry: Registry, signers: tuple[str, ...]
) -> Judged:
    machine = compile_definition(data.document)
    current = registry.machines.get(machine.pin.name)
    name = f"definition/{machine.pin.name}"
    if current is not None and current.pin == machine.pin:
        return name, None
    _check_version(
        "definition", data.document, data.replaces, current.pin.version if current else 0
    )
    for phase in data.document.spec.phases.values():
        matrix = phase.gate.matrix if isinstance(phase, GatePhase) else None
        if matrix is not None and matrix not in registry.matrices:
            raise ContractError(
                f"matrix {matrix!r} is not in force; publish it first", code="MATRIX_UNKNOWN"
            )
    fact = control.DefinitionPublished(signers=signers, pin=machine.pin, document=data.document)
    return name, fact


def _matrix(data: control.PublishMatrix, registry: Registry, signers: tuple[str, ...]) -> Judged:
    held = frozenset(role for card in registry.persons.values() for role in card.roles)
    matrix = compile_matrix(data.document, held)
    name = f"matrix/{matrix.pin.name}"
    current = registry.matrices.get(matrix.pin.name)
    if current is not None and current.pin == matrix.pin:
        return name, None
    _check_version("matrix", data.document, data.replaces, current.pin.version if current else 0)
    calendar = data.document.spec.calendar
    if calendar is not None and calendar not in registry.calendars:
        raise ContractError(
            f"calendar {calendar!r} is not in force; publish it first", code="CALENDAR_UNKNOWN"
        )
    return name, control.MatrixPublished(signers=signers, pin=matrix.pin, document=data.document)


def _calendar(
    data: control.PublishCalendar, registry: Registry, signers: tuple[str, ...]
) -> Judged:
    calendar = compile_calendar(data.document)
    name = f"calendar/{calendar.pin.name}"
    current = registry.calendars.get(calendar.pin.name)
    if current is not None and current.pin == calendar.pin:
        return name, None
    _check_version("calendar", data.document, data.replaces, current.pin.version if current else 0)
    return name, control.CalendarPublished(
        signers=signers, pin=calendar.pin, document=data.document
    )


def _agent(data: control.RegisterAgent, registry: Registry, signers: tuple[str, ...]) -> Judged:
    name = f"agent/{data.card.agent_id}"
    if registry.agents.get(data.card.agent_id) == data.card:
        return name, None
    if data.card.owner not in registry.persons:
        raise ContractError(
            f"owner {data.card.owner!r} is not a known person; appoint the owner first",
            code="OWNER_UNKNOWN",
            where="/card/owner",
        )
    return name, control.AgentRegistered(signers=signers, card=data.card)


def _person(data: control.AppointPerson, registry: Registry, signers: tuple[str, ...]) -> Judged:
    name = f"person/{data.card.person_id}"
    if registry.persons.get(data.card.person_id) == data.card:
        return name, None
    return name, control.PersonAppointed(signers=signers, card=data.card)


def _known_agent(registry: Registry, agent_id: str) -> str:
    if agent_id not in registry.agents:
        raise ContractError(f"agent {agent_id!r} is not registered", code="AGENT_UNKNOWN")
    return f"agent/{agent_id}"


def _quarantine(
    data: control.QuarantineAgent, registry: Registry, signers: tuple[str, ...]
) -> Judged:
    name = _known_agent(registry, data.agent_id)
    fact = control.AgentQuarantined(signers=signers, agent_id=data.agent_id, reason=data.reason)
    return name, None if data.agent_id in registry.quarantined else fact


def _release(data: control.ReleaseAgent, registry: Registry, signers: tuple[str, ...]) -> Judged:
    name = _known_agent(registry, data.agent_id)
    fact = control.AgentReleased(signers=signers, agent_id=data.agent_id, reason=data.reason)
    return name, fact if data.agent_id in registry.quarantined else None


def _halt(data: control.HaltNamespace, registry: Registry, signers: tuple[str, ...]) -> Judged:
    fact = control.NamespaceHalted(signers=signers, reason=data.reason)
    return f"namespace/{registry.namespace}", None if registry.is_halted else fact


def _resume(data: control.ResumeNamespace, registry: Registry, signers: tuple[str, ...]) -> Judged:
    fact = control.NamespaceResumed(signers=signers, reason=data.reason)
    return f"namespace/{registry.namespace}", fact if registry.is_halted else None


def _redrive(data: control.RedriveCase, _registry: Registry, signers: tuple[str, ...]) -> Judged:
    fact = control.CaseRedriven(signers=signers, case_id=data.case_id, reason=data.reason)
    return f"case/{data.case_id}", fact


def _raise_level(
    data: control.RaiseContractLevel, registry: Registry, signers: tuple[str, ...]
) -> Judged:
    if data.level < registry.level:
        raise ContractError(
            f"the contract level is {registry.level} and never falls", code="VERSION_CONFLICT"
        )
    if data.level > known_level():
        raise ContractError(
            f"this version knows events up to contract level {known_level()}; deploy the newer "
            "version to every service first",
            code="LEVEL_UNKNOWN",
            where="/level",
        )
    fact = control.ContractRaised(signers=signers, level=data.level)
    return f"namespace/{registry.namespace}", fact if data.level > registry.level else None


_JUDGES: dict[type, Callable[[Any, Registry, tuple[str, ...]], Judged]] = {
    control.PublishDefinition: _definition,
    control.PublishMatrix: _matrix,
    control.PublishCalendar: _calendar,
    control.RegisterAgent: _agent,
    control.AppointPerson: _person,
    control.QuarantineAgent: _quarantine,
    control.ReleaseAgent: _release,
    control.HaltNamespace: _halt,
    control.ResumeNamespace: _resume,
    control.RedriveCase: _redrive,
    control.RaiseContractLevel: _raise_level,
}
HEARS_CONTROL = frozenset(model.TYPE for model in _JUDGES)  # type: ignore[attr-defined]
