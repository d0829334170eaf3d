"""The keys of a process definition: which are needed, which are refused, what they mean."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from caseway.contracts.definition import (
    AgentTask,
    EffectTask,
    EndPhase,
    GatePhase,
    HumanTask,
    ProcessDefinition,
    TasksPhase,
)
from caseway.kernel.digests import digest_of

INSURANCE = Path(__file__).parents[3] / "services/caseway_control/data/insurance/definition.yaml"
REMOVED = object()
TRIAGE = "spec.phases.intake.tasks.triage"
REQUEST = "spec.phases.documents.tasks.request"
PAY = "spec.phases.payment.tasks.pay"
GATE = "spec.phases.authority.gate"


def insurance(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(json.dumps(YAML(typ="safe", pure=True).load(INSURANCE)))
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        at: Any = raw
        for key in parents:
            at = at[key]
        if value is REMOVED:
            del at[last]
        else:
            at[last] = copy.deepcopy(value)
    return raw


def read(changes: dict[str, Any] | None = None) -> ProcessDefinition:
    return ProcessDefinition.model_validate(insurance(changes))


def error_of(changes: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ValidationError) as refused:
        read(changes)
    first = refused.value.errors()[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"]


def test_the_insurance_claim_reads_as_its_phases_and_tasks() -> None:
    phases = read().spec.phases
    intake, documents, payment = phases["intake"], phases["documents"], phases["payment"]
    assert isinstance(intake, TasksPhase)
    assert isinstance(intake.tasks["triage"], AgentTask)
    assert intake.tasks["triage"].lease.seconds == 60
    assert isinstance(documents, TasksPhase)
    assert isinstance(documents.tasks["request"], HumanTask)
    assert documents.tasks["request"].sla.seconds == 72 * 3600
    assert isinstance(payment, TasksPhase)
    assert isinstance(payment.tasks["pay"], EffectTask)
    assert isinstance(phases["authority"], GatePhase)
    assert isinstance(phases["paid"], EndPhase)


def test_a_fact_is_from_the_submission_unless_it_says_task() -> None:
    facts = read().spec.facts
    assert facts["amount"].origin == "submission"
    assert facts["settlement"].origin == "task"


def test_a_definition_that_travelled_is_the_same_and_has_the_same_digest() -> None:
    definition = read()
    again = ProcessDefinition.model_validate_json(definition.model_dump_json())
    assert again == definition
    assert digest_of(again) == digest_of(definition)


def test_a_definition_travels_under_the_names_of_its_document_without_defaults() -> None:
    dumped = read().model_dump(mode="json")
    assert dumped["apiVersion"] == "caseway.dev/v1"
    assert dumped["spec"]["facts"]["severity"] == {
        "type": "text",
        "from": "task",
        "one_of": ["minor", "major", "total"],
    }
    assert dumped["spec"]["facts"]["fraud_reported"] == {"type": "boolean", "default": False}
    assert dumped["spec"]["phases"]["intake"]["next"] == [{"to": "assessment"}]


def test_a_default_written_out_does_not_change_the_digest() -> None:
    written = read({f"{TRIAGE}.after": [], "spec.facts.evidence.required": False})
    assert digest_of(written) == digest_of(read())


def test_the_digest_changes_with_every_key_that_is_not_at_its_default() -> None:
    changed: list[dict[str, Any]] = [
        {"metadata.title": "Claim"},
        {"spec.facts.fraud_reported.default": True},
        {f"{TRIAGE}.lease": "61s"},
        {f"{GATE}.flags": {}},
        {"spec.phases.assessment.next": [{"to": "settlement"}]},
    ]
    digests = {digest_of(read(change)) for change in changed}
    assert len(digests | {digest_of(read())}) == len(changed) + 1


GRANTED = ("skill", "pool", "input", "output", "lease", "attempts", "backoff", "fallback")
NEEDED = [
    *("apiVersion", "kind", "metadata", "spec", "spec.phases.intake.next"),
    *(f"metadata.{key}" for key in ("name", "version", "title")),
    *(f"spec.{key}" for key in ("facts", "start", "phases", "facts.amount.currencies")),
    *(f"{TRIAGE}.{key}" for key in (*GRANTED, "confidence_floor")),
    *(f"{REQUEST}.{key}" for key in ("queue", "input", "output", "sla", "escalates_to")),
    *(f"{PAY}.{key}" for key in (*GRANTED, "gate", "amount", "payee", "permit")),
    *(f"{GATE}.{key}" for key in ("matrix", "amount", "binds", "shows")),
    *(f"{GATE}.{key}" for key in ("approved", "rejected", "sent_back")),
]


@pytest.mark.parametrize("key", NEEDED)
def test_a_needed_key_that_is_absent_is_named(key: str) -> None:
    where, message = error_of({key: REMOVED})
    assert where.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]
    assert message == "Field required"


@pytest.mark.parametrize(
    "parent",
    [
        *("", "metadata.", "spec.", "spec.facts.amount.", f"{TRIAGE}.", f"{REQUEST}."),
        *(f"{PAY}.", f"{GATE}.", "spec.phases.intake.", "spec.phases.paid."),
    ],
)
def test_an_unknown_key_is_refused_wherever_it_stands(parent: str) -> None:
    where, message = error_of({f"{parent}colour": "blue"})
    assert where.endswith("colour")
    assert message == "Extra inputs are not permitted"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec.phases.paid": {}}, "exactly one of"),
        ({"spec.phases.paid": {"end": "paid", "gate": {}}}, "exactly one of"),
        ({"spec.phases.paid": {"tasks": {}, "next": []}}, "at least 1 item"),
        ({"spec.phases.intake.next": []}, "at least 1 item"),
        ({"spec.phases.paid": "paid"}, "exactly one of"),
        ({f"{TRIAGE}.kind": "robot"}, "does not match any of the expected tags"),
        ({f"{TRIAGE}.sla": "5m"}, "Extra inputs"),
        ({"spec.facts.amount.type": "number"}, "does not match any of the expected tags"),
        ({"spec.facts.amount.currencies": ["ZZZ"]}, "expected currencies among"),
        ({"spec.facts.amount.currencies": ["USD", "USD"]}, "listed twice"),
        ({"spec.facts.amount.currencies": []}, "at least 1 item"),
        ({"spec.facts.amount.default": "5"}, "Extra inputs"),
        ({"spec.facts.evidence.one_of": ["a"]}, "Extra inputs"),
        ({"spec.facts.settlement.required": True}, "a task writes this one"),
        ({"spec.facts.fraud_reported.required": True}, "no use for a `default`"),
        ({"spec.facts.incident_kind": {"type": "text", "one_of": ["a"], "default": "b"}}, "among"),
        ({"spec.facts.incident_kind.one_of": []}, "at least 1 item"),
        ({"spec.facts.fraud_reported.default": "no"}, "valid boolean"),
        ({"spec.facts.amount.required": "yes"}, "valid boolean"),
        ({"spec.facts.amount.from": "agent"}, "'submission' or 'task'"),
        ({"spec.facts.in": {"type": "boolean"}}, "word of the guard language"),
        ({"spec.facts.Amount": {"type": "boolean"}}, "match pattern"),
        ({"spec.facts": {}}, "at least 1 item"),
        ({f"{TRIAGE}.input": ["amount", "amount"]}, "listed twice"),
        ({f"{TRIAGE}.output": []}, "at least 1 item"),
        ({f"{TRIAGE}.confidence_floor": 0.7}, "valid string"),
        ({f"{TRIAGE}.confidence_floor": "1.01"}, "match pattern"),
        ({f"{TRIAGE}.attempts": 0}, "greater than or equal to 1"),
        ({f"{TRIAGE}.attempts": 11}, "less than or equal to 10"),
        ({f"{TRIAGE}.attempts": "3"}, "valid integer"),
        ({f"{TRIAGE}.lease": 60}, "not text with a unit"),
        ({f"{TRIAGE}.lease": "2 bananas"}, "not a duration"),
        ({f"{REQUEST}.sla": "instant"}, "above zero"),
        ({"metadata.version": 0}, "greater than or equal to 1"),
        ({"metadata.version": "1"}, "valid integer"),
        ({"metadata.title": ""}, "at least 1 character"),
        ({"apiVersion": "caseway.dev/v2"}, "caseway.dev/v1"),
        ({"kind": "Process"}, "ProcessDefinition"),
        ({"spec.phases.assessment.next": [{"to": "settlement", "when": ""}]}, "at least 1"),
    ],
)
def test_what_does_not_fit_a_key_is_refused(changes: dict[str, Any], message: str) -> None:
    assert message in error_of(changes)[1]


def test_the_least_confidence_of_all_and_the_greatest_are_floors() -> None:
    for floor in ("0", "1", "1.0", "0.123456"):
        read({f"{TRIAGE}.confidence_floor": floor})


def test_a_word_in_another_unicode_form_is_the_same_word() -> None:
    decomposed = read({"spec.facts.incident_kind.one_of": ["caf\u0065\u0301"]})
    composed = read({"spec.facts.incident_kind.one_of": ["caf\u00e9"]})
    assert decomposed == composed
