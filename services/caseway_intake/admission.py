"""Admits a submission once, refuses it with its reason, or knows it for a repetition."""

from __future__ import annotations

import re

from caseway.contracts.fields import Contract
from caseway.contracts.record import instant_of
from caseway.contracts.submission import (
    AmendCase,
    AmendmentAdmitted,
    CaseAdmitted,
    SubmissionRefused,
    SubmitCase,
    WithdrawalAdmitted,
    WithdrawCase,
)
from caseway.errors import ContractError
from caseway.kernel.digests import digest_of
from caseway.kernel.facts import admit_changes, admit_facts
from caseway.kernel.identity import case_id_of
from caseway.kernel.machine import Machine
from caseway.kernel.processor import Delivery
from caseway.kernel.registry import Registry
from caseway_intake.state import Admission

_DERIVED = re.compile(r"c-[0-9a-f]{24}")


def admit(
    state: Admission | None, wish: SubmitCase, delivery: Delivery, registry: Registry
) -> Contract | None:
    """The event a submission becomes; None when the same one was admitted before.

    A submitter's own id is taken as it is, but the id that is derived from somebody's source and
    key is theirs: nobody occupies it before them.
    """
    key = delivery.event.key
    derived = case_id_of(registry.namespace, wish.source, wish.key)
    if _DERIVED.fullmatch(key) and key != derived:
        message = (
            f"an id of this form belongs to the source and key it is a hash of; send {derived!r}"
        )
        return refusal(delivery, "ID_FORMAT", "key", message)
    if state is not None:
        if (state.source, state.submission_key) != (wish.source, wish.key):
            return _unknown_case(delivery)
        if state.body_sha256 == _body_digest(wish):
            return None
        message = f"this case was submitted with other content; it is {key!r}"
        return refusal(delivery, "KEY_CONFLICT", "/key", message)
    machine = registry.machines.get(wish.definition)
    if machine is None:
        known = ", ".join(sorted(registry.machines)) or "none is published yet"
        return refusal(delivery, "DEFINITION_UNKNOWN", "/definition", f"known are: {known}")
    try:
        facts = admit_facts(machine, wish.facts)
    except ContractError as error:
        return refusal(delivery, error.code, f"/facts{error.where}", str(error))
    return CaseAdmitted(
        definition=machine.pin,
        source=wish.source,
        key=wish.key,
        body_sha256=_body_digest(wish),
        facts=facts,
        submitted_at=instant_of(delivery.at_ms),
    )


def amend(
    state: Admission | None, wish: AmendCase, delivery: Delivery, registry: Registry
) -> Contract:
    """The event an amendment becomes; the router says whether it comes in time."""
    checked = _own_case(state, wish.source, wish.key, delivery)
    if not isinstance(checked, Admission):
        return checked
    machine: Machine = registry.machine(checked.definition)
    try:
        changes = admit_changes(machine, wish.changes)
    except ContractError as error:
        return refusal(delivery, error.code, f"/changes{error.where}", str(error))
    return AmendmentAdmitted(changes=changes, reason=wish.reason)


def withdraw(state: Admission | None, wish: WithdrawCase, delivery: Delivery) -> Contract:
    """The event a withdrawal becomes."""
    checked = _own_case(state, wish.source, wish.key, delivery)
    if not isinstance(checked, Admission):
        return checked
    return WithdrawalAdmitted(reason=wish.reason)


def refusal(delivery: Delivery, code: str, where: str, message: str) -> SubmissionRefused:
    """Say what was wrong, where, and what is expected; never the value."""
    wish = delivery.event.envelope.type
    return SubmissionRefused(wish=wish, code=code, where=where, message=message)


def _body_digest(wish: SubmitCase) -> str:
    """The digest that makes two submissions the same; "" for a body that could not be admitted."""
    try:
        return digest_of(wish.model_dump(mode="json"))
    except ContractError:
        return ""


def _own_case(
    state: Admission | None, source: str, key: str, delivery: Delivery
) -> Admission | Contract:
    """The admission, if this source and key are those that the case was submitted with."""
    if state is None or (state.source, state.submission_key) != (source, key):
        return _unknown_case(delivery)
    return state


def _unknown_case(delivery: Delivery) -> Contract:
    """A stranger's case reads like an unknown one, so that ids can't be probed."""
    message = "this source has no case of this id and key; a new case needs an id of its own"
    return refusal(delivery, "CASE_UNKNOWN", "/key", message)
