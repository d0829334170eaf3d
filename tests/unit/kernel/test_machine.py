"""The machine of a process: what is proven before it runs, and where it then leads a case."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from caseway.contracts.definition import EndPhase, ProcessDefinition
from caseway.errors import ContractError
from caseway.kernel.digests import digest_of
from caseway.kernel.machine import Machine, compile_definition

INSURANCE = Path(__file__).parents[3] / "services/caseway_control/data/insurance/definition.yaml"
REMOVED = object()
TRIAGE = "spec.phases.intake.tasks.triage"
ASSESSMENT = "spec.phases.assessment"
REQUEST = "spec.phases.documents.tasks.request"
SETTLE = "spec.phases.settlement.tasks.settle"
GATE = "spec.phases.authority.gate"
PAYMENT = "spec.phases.payment"
PAY = f"{PAYMENT}.tasks.pay"
USD = {"amount": "12000.00", "currency": "USD"}
FACTS: dict[str, Any] = {
    "claimant": "person-9f86d081884c7d65",
    "payee": "person-60303ae22b998861",
    "amount": {"amount": "14000.00", "currency": "USD"},
    "incident_kind": "collision",
    "fraud_reported": False,
    "fraud_suspected": False,
    "line": "motor",
    "severity": "major",
    "evidence_complete": True,
    "settlement": USD,
}


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


def test_the_pin_is_the_name_the_version_and_the_digest_of_the_document() -> None:
    built = machine()
    assert built.pin.name == "insurance-claim"
    assert built.pin.version == 1
    assert built.pin.digest == digest_of(built.document)
    assert machine({"metadata.version": 2}).pin.version == 2


def test_a_case_starts_where_the_definition_says() -> None:
    assert machine().start == "intake"
    assert machine().first_tasks("intake") == ("triage",)


def test_tasks_open_when_those_before_them_are_done() -> None:
    built = machine(
        {
            f"{ASSESSMENT}.tasks.look": agent(after=["assess"]),
            f"{ASSESSMENT}.tasks.also": agent(output=["settlement"]),
        }
    )
    assert built.first_tasks("assessment") == ("also", "assess")
    assert built.ready_tasks("assessment", {"also"}) == ("assess",)
    assert built.ready_tasks("assessment", {"assess"}) == ("also", "look")
    assert not built.is_complete("assessment", {"also", "assess"})
    assert built.is_complete("assessment", {"also", "assess", "look"})


def test_tasks_open_in_one_order_however_the_document_lists_them() -> None:
    a, b = agent(output=["line"]), agent(output=["fraud_suspected"], input=["fraud_reported"])
    one = machine({"spec.phases.intake.tasks": {"a": a, "b": b}})
    other = machine({"spec.phases.intake.tasks": {"b": b, "a": a}})
    assert one.pin == other.pin
    assert one.first_tasks("intake") == other.first_tasks("intake") == ("a", "b")


def test_without_after_the_tasks_of_a_phase_open_together() -> None:
    built = machine({f"{ASSESSMENT}.tasks.look": agent()})
    assert built.first_tasks("assessment") == ("assess", "look")


def test_a_gate_and_an_end_have_no_tasks_and_are_never_complete() -> None:
    for name in ("authority", "paid"):
        assert machine().first_tasks(name) == ()
        assert not machine().is_complete(name, ())


def test_a_case_goes_where_the_first_guard_that_holds_leads() -> None:
    assert machine().next_phase("assessment", FACTS) == "settlement"
    assert machine().next_phase("assessment", {**FACTS, "evidence_complete": False}) == "documents"
    assert machine().next_phase("intake", FACTS) == "assessment"


def test_the_order_of_guards_decides_when_several_hold() -> None:
    first, second = {"to": "settlement", "when": "evidence_complete"}, {"to": "documents"}
    third = {"to": "paid", "when": "line == 'motor'"}
    one = machine({f"{ASSESSMENT}.next": [first, third, second]})
    other = machine({f"{ASSESSMENT}.next": [third, first, second]})
    assert one.next_phase("assessment", FACTS) == "settlement"
    assert other.next_phase("assessment", FACTS) == "paid"


def test_a_gate_has_no_next_phase_of_its_own() -> None:
    with pytest.raises(ContractError) as refused:
        machine().next_phase("authority", FACTS)
    assert refused.value.code == "MACHINE_PHASE_UNKNOWN"


def test_a_task_is_shown_its_inputs_and_nothing_else() -> None:
    facts = {**FACTS, "narrative": {"key_id": "k"}}
    offered = machine().offered_facts("pay", facts)
    assert offered == {"settlement": USD, "payee": FACTS["payee"]}
    assert "narrative" in machine().offered_facts("triage", facts)
    assert "narrative" not in machine().offered_facts("triage", FACTS)
    assert machine({f"{PAY}.input": ["settlement"]}).offered_facts("pay", facts) == {
        "settlement": USD
    }


def test_the_digest_of_inputs_changes_with_what_is_shown_and_with_nothing_else() -> None:
    built = machine()
    before = built.inputs_digest("settle", FACTS)
    assert built.inputs_digest("settle", {**FACTS, "severity": "minor"}) != before
    assert built.inputs_digest("settle", {**FACTS, "payee": "x"}) == before
    assert built.inputs_digest("settle", {**FACTS, "evidence": []}) != before


def test_a_decision_is_bound_to_what_the_gate_binds() -> None:
    built = machine()
    assert built.gate_material("authority", FACTS) == {
        "settlement": USD,
        "payee": FACTS["payee"],
        "evidence": None,
    }
    before = built.material_digest("authority", FACTS)
    changes: list[dict[str, Any]] = [
        {"settlement": FACTS["amount"]},
        {"payee": "x"},
        {"evidence": []},
    ]
    for change in changes:
        assert built.material_digest("authority", {**FACTS, **change}) != before
    assert built.material_digest("authority", {**FACTS, "severity": "minor"}) == before


def test_a_fact_that_is_no_longer_bound_no_longer_voids_a_decision() -> None:
    built = machine({f"{GATE}.binds": ["settlement", "payee"]})
    before = built.material_digest("authority", FACTS)
    assert built.material_digest("authority", {**FACTS, "evidence": []}) == before


def test_an_approver_is_shown_what_the_gate_shows() -> None:
    shown = machine().gate_shows("authority", FACTS)
    assert shown["claimant"] == FACTS["claimant"]
    assert "incident_on" not in shown
    assert "payee" not in shown
    assert machine({f"{GATE}.shows": ["claimant"]}).gate_shows("authority", FACTS) == {
        "claimant": FACTS["claimant"]
    }


def test_a_flag_is_raised_by_any_of_its_facts() -> None:
    built = machine()
    assert built.gate_flags("authority", FACTS) == frozenset()
    for name in ("fraud_reported", "fraud_suspected"):
        assert built.gate_flags("authority", {**FACTS, name: True}) == {"fraud"}
    assert (
        machine({f"{GATE}.flags": {}}).gate_flags("authority", {**FACTS, "fraud_suspected": True})
        == frozenset()
    )


def test_a_flag_whose_fact_is_absent_is_raised() -> None:
    facts = {name: value for name, value in FACTS.items() if name != "fraud_suspected"}
    assert machine().gate_flags("authority", facts) == {"fraud"}


def test_authority_is_measured_by_the_amount_the_gate_names() -> None:
    amount = machine().gate_amount("authority", FACTS)
    assert amount is not None
    assert str(amount.decimal) == "12000.00"
    assert machine().gate_amount("authority", {**FACTS, "settlement": None}) is None
    other = machine(
        {
            f"{GATE}.amount": "amount",
            f"{GATE}.binds": ["amount", "payee"],
            f"{PAY}.amount": "amount",
        }
    ).gate_amount("authority", FACTS)
    assert other is not None
    assert str(other.decimal) == "14000.00"


def test_an_end_closes_with_its_outcome() -> None:
    end = machine({"spec.phases.declined.end": "refused"}).phase("declined")
    assert isinstance(end, EndPhase)
    assert end.end == "refused"


def test_a_task_knows_its_phase_and_what_it_is() -> None:
    built = machine()
    assert built.phase_of("pay") == "payment"
    assert built.task("pay").kind == "effect"
    assert built.task("request").kind == "human"


def test_a_name_from_another_version_is_refused_with_the_pin() -> None:
    built = machine()
    for ask, code in (
        (built.phase, "MACHINE_PHASE_UNKNOWN"),
        (built.task, "MACHINE_TASK_UNKNOWN"),
        (built.phase_of, "MACHINE_TASK_UNKNOWN"),
    ):
        with pytest.raises(ContractError, match="insurance-claim@1") as refused:
            ask("gone")
        assert refused.value.code == code
    for method in (built.gate_material, built.gate_flags, built.gate_amount, built.gate_shows):
        with pytest.raises(ContractError) as refused:
            method("intake", FACTS)
        assert refused.value.code == "MACHINE_GATE_UNKNOWN"


def test_a_machine_names_the_matrices_it_needs() -> None:
    assert machine().matrices() == ("claim-settlement",)
    assert machine({f"{GATE}.matrix": "other"}).matrices() == ("other",)
