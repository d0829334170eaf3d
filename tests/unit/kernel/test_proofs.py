"""What is proven of a process before it runs: what does not hold is refused and named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from caseway.contracts.definition import ProcessDefinition
from caseway.errors import ContractError
from caseway.kernel.machine import Machine, compile_definition

INSURANCE = Path(__file__).parents[3] / "services/caseway_control/data/insurance/definition.yaml"
REMOVED = object()
TRIAGE = "spec.phases.intake.tasks.triage"
ASSESSMENT = "spec.phases.assessment"
REQUEST = "spec.phases.documents.tasks.request"
GATE = "spec.phases.authority.gate"
PAYMENT = "spec.phases.payment"
PAY = f"{PAYMENT}.tasks.pay"


def machine(changes: dict[str, Any] | None = None) -> Machine:
    raw: Any = json.loads(json.dumps(YAML(typ="safe", pure=True).load(INSURANCE)))
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        at = raw
        for key in parents:
            at = at[int(key)] if isinstance(at, list) else at[key]
        if value is REMOVED:
            del at[last]
        else:
            at[last] = copy.deepcopy(value)
    return compile_definition(ProcessDefinition.model_validate(raw))


def refusal(changes: dict[str, Any]) -> ContractError:
    with pytest.raises(ContractError) as refused:
        machine(changes)
    return refused.value


def agent(**changes: Any) -> dict[str, Any]:
    task = {
        "kind": "agent",
        "skill": "look",
        "pool": "claims",
        "input": ["amount"],
        "output": ["line"],
        "confidence_floor": "0.5",
        "lease": "60s",
        "attempts": 1,
        "backoff": "5s",
        "fallback": "claims-desk",
    }
    return {**task, **changes}


def effect(**changes: Any) -> dict[str, Any]:
    task = {
        "kind": "effect",
        "skill": "pay",
        "pool": "payments",
        "input": ["settlement"],
        "output": ["line"],
        "gate": "authority",
        "amount": "settlement",
        "payee": "payee",
        "permit": "60s",
        "lease": "60s",
        "attempts": 1,
        "backoff": "5s",
        "fallback": "payments-desk",
    }
    return {**task, **changes}


def phase(*targets: str, **tasks: Any) -> dict[str, Any]:
    return {"tasks": tasks, "next": [{"to": target} for target in targets]}


TEXT = {"type": "text", "from": "task"}
SECOND_GATE = {
    "gate": {
        "matrix": "second",
        "amount": "settlement",
        "binds": ["settlement", "payee"],
        "shows": ["amount"],
        "approved": "payment",
        "rejected": "declined",
        "sent_back": "assessment",
    }
}

REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("START", {"spec.start": "intak"}, "/spec/start", "did you mean 'intake'?"),
    ("TARGET_UNKNOWN", {f"{ASSESSMENT}.next": [{"to": "setlement"}]}, "/next/0/to", "'settlement'"),
    ("TARGET_UNKNOWN", {f"{GATE}.rejected": "nowhere"}, "/gate/rejected", "'nowhere'"),
    ("TARGET_UNKNOWN", {f"{GATE}.approved": "nowhere"}, "/gate/approved", "'nowhere'"),
    ("TARGET_UNKNOWN", {f"{GATE}.sent_back": "nowhere"}, "/gate/sent_back", "'nowhere'"),
    ("UNREACHABLE", {"spec.phases.limbo": {"end": "lost"}}, "/spec/phases/limbo", "'limbo'"),
    ("UNREACHABLE", {f"{ASSESSMENT}.next": [{"to": "settlement"}]}, "documents", "'documents'"),
    ("UNREACHABLE", {f"{GATE}.rejected": "paid"}, "/spec/phases/declined", "'declined'"),
    ("NO_END", {f"{PAYMENT}.next": [{"to": "payment"}], "spec.phases.paid": REMOVED},
     "/spec/phases/payment", "'payment'"),
    ("OUTCOME", {"spec.phases.paid.end": "withdrawn"}, "/spec/phases/paid/end", "another"),
    ("NEXT_OPEN", {f"{ASSESSMENT}.next": [
        {"to": "documents", "when": "evidence_complete"},
        {"to": "settlement", "when": "!evidence_complete"}]}, "/next/1", "'assessment'"),
    ("NEXT_DEAD", {f"{ASSESSMENT}.next": [{"to": "settlement"}, {"to": "documents"}]},
     "/next/0", "'settlement'"),
    ("GATE_LOOP", {f"{GATE}.sent_back": "authority"}, "/authority/gate", "'authority'"),
    ("TASK_TWICE", {"spec.phases.documents.tasks.assess": agent(output=["line"])},
     "/documents/tasks/assess", "'assessment'"),
    ("AFTER_UNKNOWN", {f"{TRIAGE}.after": ["assess"]}, "/triage/after/0", "'assess'"),
    ("AFTER_CYCLE", {f"{TRIAGE}.after": ["triage"]}, "/triage/after", "'triage'"),
    ("AFTER_CYCLE", {
        f"{ASSESSMENT}.tasks.look": agent(after=["see"]),
        f"{ASSESSMENT}.tasks.see": agent(after=["look"])}, "/after", "waits for itself"),
    ("QUEUE", {f"{REQUEST}.escalates_to": "claims-desk"}, "/escalates_to", "'claims-desk'"),
    ("FACT_UNKNOWN", {f"{TRIAGE}.input": ["ammount"]}, "/triage/input/0", "mean 'amount'?"),
    ("FACT_UNKNOWN", {f"{TRIAGE}.output": ["line", "colour"]}, "/triage/output/1", "'colour'"),
    ("FACT_UNKNOWN", {f"{GATE}.amount": "colour"}, "/gate/amount", "'colour'"),
    ("FACT_UNKNOWN", {f"{GATE}.binds": ["settlement", "colour"]}, "/gate/binds/1", "'colour'"),
    ("FACT_UNKNOWN", {f"{GATE}.shows": ["colour"]}, "/gate/shows/0", "'colour'"),
    ("FACT_UNKNOWN", {f"{GATE}.flags": {"red": ["colour"]}}, "/gate/flags/red/0", "'colour'"),
    ("FACT_UNKNOWN", {f"{PAY}.payee": "colour"}, "/pay/payee", "'colour'"),
    ("FACT_UNUSED", {"spec.facts.note": {"type": "text"}}, "/spec/facts/note", "'note'"),
    ("FACT_UNUSED", {f"{GATE}.flags": {"fraud": ["fraud_suspected"]},
                     f"{TRIAGE}.input": ["amount"]}, "/spec/facts/fraud_reported", "reads"),
    ("FACT_UNSET", {"spec.facts.note": TEXT}, "/spec/facts/note", "no task writes"),
    ("OUTPUT", {f"{TRIAGE}.output": ["line", "amount"]}, "/triage/output/1", "'amount'"),
    ("OUTPUT_TWICE", {"spec.phases.intake.tasks.look": agent()}, "/look/output", "'line'"),
    ("SEALED", {f"{GATE}.binds": ["settlement", "payee", "narrative"]}, "/binds/2", "sealed"),
    ("SEALED", {f"{GATE}.shows": ["claimant", "narrative"]}, "/shows/1", "'narrative'"),
    ("SEALED", {f"{GATE}.amount": "narrative"}, "/gate/amount", "'narrative'"),
    ("SEALED", {f"{GATE}.flags": {"x": ["narrative"]}}, "/gate/flags/x/0", "'narrative'"),
    ("SEALED", {f"{PAY}.payee": "narrative"}, "/pay/payee", "'narrative'"),
    ("SEALED", {f"{PAY}.amount": "narrative"}, "/pay/amount", "'narrative'"),
    ("GUARD_UNKNOWN", {f"{ASSESSMENT}.next.0.when": "evidence_complet"}, "/0/when", "did you mean"),
    ("GUARD_UNKNOWN", {f"{ASSESSMENT}.next.0.when": "narrative == 'a'"}, "/0/when", "'narrative'"),
    ("GUARD_UNKNOWN", {f"{ASSESSMENT}.next.0.when": "amount > 5"}, "/0/when", "'amount'"),
    ("GUARD_UNKNOWN", {f"{ASSESSMENT}.next.0.when": "payee == 'a'"}, "/0/when", "'payee'"),
    ("GUARD_TYPE", {f"{ASSESSMENT}.next.0.when": "severity"}, "/0/when", "not a condition"),
    ("GUARD_SYNTAX", {f"{ASSESSMENT}.next.0.when": "severity =="}, "/0/when", "comparisons"),
    ("GUARD_VALUE", {f"{ASSESSMENT}.next.0.when": "severity == 'totl'"}, "/0/when", "total"),
    ("GUARD_UNCERTAIN", {"spec.facts.incident_kind.required": False,
                         f"{ASSESSMENT}.next.0.when": "incident_kind == 'fire'"},
     "/assessment/next/0/when", "'incident_kind'"),
    ("GUARD_UNCERTAIN", {"spec.phases.intake.next": [
        {"to": "documents", "when": "severity == 'major'"}, {"to": "assessment"}]},
     "/intake/next/0/when", "'severity'"),
    ("GATE_AMOUNT", {f"{GATE}.amount": "payee"}, "/gate/amount", "money"),
    ("GATE_AMOUNT", {f"{GATE}.binds": ["payee", "evidence"]}, "/gate/binds", "'settlement'"),
    ("GATE_AMOUNT", {"spec.phases.intake.next": [
        {"to": "authority", "when": "fraud_reported"}, {"to": "assessment"}]},
     "/gate/amount", "every case"),
    ("GATE_FLAG", {f"{GATE}.flags": {"big": ["severity"]}}, "/flags/big/0", "boolean"),
    ("GATE_FLAG", {"spec.facts.fraud_reported": {"type": "boolean"}}, "/flags/fraud/0", "default"),
    ("EFFECT_GATE", {f"{PAY}.gate": "settlement"}, "/pay/gate", "'settlement'"),
    ("EFFECT_GATE", {f"{PAY}.gate": "authorty"}, "/pay/gate", "did you mean 'authority'?"),
    ("EFFECT_AMOUNT", {f"{PAY}.amount": "amount"}, "/pay/amount", "'settlement'"),
    ("EFFECT_PAYEE", {f"{PAY}.payee": "claimant"}, "/pay/payee", "'claimant'"),
    ("EFFECT_PAYEE", {f"{PAY}.payee": "evidence"}, "/pay/payee", "pseudonym"),
    ("EFFECT_PAYEE", {f"{PAY}.payee": "incident_kind", f"{GATE}.binds": [
        "settlement", "incident_kind"]}, "/pay/payee", "pseudonym"),
    ("EFFECT_PAYEE", {"spec.facts.payee": {"type": "pseudonym"}}, "/pay/payee", "every case"),
    ("EFFECT_UNGATED", {f"{GATE}.rejected": "payment", "spec.phases.declined": REMOVED},
     "/pay/gate", "'pay'"),
    ("EFFECT_UNGATED", {"spec.phases.settlement.next": [
        {"to": "payment", "when": "severity == 'minor'"}, {"to": "authority"}]},
     "/pay/gate", "without the approval of gate 'authority'"),
    ("EFFECT_UNGATED", {"spec.start": "payment", f"{PAYMENT}.next": [
        {"to": "intake", "when": "fraud_reported"}, {"to": "paid"}]}, "/pay/gate", "'pay'"),
    ("EFFECT_REPEATS", {f"{PAYMENT}.next": [
        {"to": "payment", "when": "severity == 'total'"}, {"to": "paid"}]}, "/pay/gate", "'pay'"),
    ("EFFECT_REPEATS", {f"{PAYMENT}.tasks.also": effect(input=["line"])}, "/gate", "'also'"),
    ("EFFECT_REPEATS", {
        f"{PAYMENT}.next": [{"to": "more"}],
        "spec.phases.more": phase("paid", also=effect())}, "/pay/gate", "'also'"),
    ("EFFECT_REBOUND", {
        f"{GATE}.approved": "check",
        "spec.phases.check": phase("payment", check=agent(output=["settlement"]))},
     "/check/tasks/check/output", "'settlement'"),
    ("EFFECT_REBOUND", {f"{PAYMENT}.tasks.look": agent(output=["settlement"])},
     "/payment/tasks/look/output", "'settlement'"),
    ("EFFECT_REBOUND", {f"{PAY}.output": ["payment_reference", "evidence"]},
     "/pay/output", "'evidence'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "changes", "where", "names"),
    REFUSED,
    ids=[f"{n}-{case[0]}" for n, case in enumerate(REFUSED)],
)
def test_what_cannot_be_proven_is_refused_and_named(
    code: str, changes: dict[str, Any], where: str, names: str
) -> None:
    error = refusal(changes)
    assert error.code == f"MACHINE_{code}"
    assert where in error.where
    assert str(error).startswith(f"{error.where}: ")
    assert names in str(error)


PROVEN: dict[str, dict[str, Any]] = {
    "the insurance claim": {},
    "tasks that wait for each other": {f"{ASSESSMENT}.tasks.look": agent(after=["assess"])},
    "a guard on a fact written on every way there": {
        "spec.phases.settlement.next": [
            {"to": "documents", "when": "severity == 'total' && line == 'motor'"},
            {"to": "authority"},
        ]
    },
    "an effect some phases after its approval": {
        f"{GATE}.approved": "check",
        "spec.phases.check": phase("payment", check=agent()),
    },
    "a second effect under a gate of its own": {
        f"{PAYMENT}.next": [{"to": "again"}],
        "spec.phases.again": {"gate": {**SECOND_GATE["gate"], "approved": "more"}},
        "spec.phases.more": phase("paid", also=effect(gate="again")),
    },
    "two effects of one gate of which a case comes to one": {
        f"{GATE}.approved": "choose",
        "spec.phases.choose": {
            "tasks": {"choose": agent()},
            "next": [{"to": "payment", "when": "line == 'motor'"}, {"to": "more"}],
        },
        "spec.phases.more": phase("paid", also=effect()),
    },
    "a guard on text that may be any text": {
        "spec.facts.incident_kind": {"type": "text", "required": True},
        f"{ASSESSMENT}.next.0.when": "incident_kind == 'whatever'",
    },
    "an effect that is repeated after a new approval": {
        f"{PAYMENT}.next": [{"to": "settlement", "when": "severity == 'total'"}, {"to": "paid"}],
    },
}


@pytest.mark.parametrize("changes", PROVEN.values(), ids=PROVEN)
def test_what_holds_is_not_refused(changes: dict[str, Any]) -> None:
    machine(changes)


def test_a_second_gate_on_the_way_does_not_stand_in_for_the_gate_of_an_effect() -> None:
    error = refusal(
        {
            "spec.phases.settlement.next": [
                {"to": "second", "when": "severity == 'minor'"},
                {"to": "authority"},
            ],
            "spec.phases.second": SECOND_GATE,
        }
    )
    assert error.code == "MACHINE_EFFECT_UNGATED"
