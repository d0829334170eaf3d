"""An amendment makes again what stood on the old facts: no more, no less, and skips nothing."""

from __future__ import annotations

from typing import Any

import pytest

from caseway.contracts.case import CaseAmended, GateRequested, GateVoided, PhaseEntered
from caseway.contracts.decision import Choice
from caseway.contracts.definition import ProcessDefinition
from caseway.testing import Given, registry_of
from caseway_router.service import CARD

from .desk import (
    PAYEE,
    PEOPLE,
    SUBMITTER,
    World,
    admitted,
    agents,
    amended,
    amendment,
    assessed,
    at_gate,
    authority,
    definition,
    opened,
    paying,
)

USD = {"amount": "90000.00", "currency": "USD"}
EVIDENCE = [
    {
        "uri": "vault://e-1",
        "sha256": "a" * 64,
        "size_bytes": 1,
        "media_type": "application/pdf",
    }
]


def entered(world: World) -> str:
    """The phase an amendment led back to; "" if it led nowhere."""
    found = [event.phase for event in world.events if isinstance(event, PhaseEntered)]
    assert len(found) <= 1
    return found[0] if found else ""


@pytest.mark.parametrize(
    ("changes", "phase"),
    [
        ({"amount": USD}, "intake"),
        ({"fraud_reported": True}, "intake"),
        ({"incident_on": "2026-03-01"}, "intake"),
        ({"evidence": EVIDENCE}, "assessment"),
        ({"evidence": EVIDENCE, "amount": USD}, "intake"),
    ],
)
@pytest.mark.parametrize("stage", [at_gate, paying])
def test_the_case_goes_back_to_the_earliest_phase_that_read_it(
    changes: dict[str, Any], phase: str, stage: Any
) -> None:
    world = stage().hear(amendment(**changes))
    assert entered(world) == phase
    assert world.state.facts["payee"] == stage().state.facts["payee"]
    assert world.state.phase == phase
    assert world.task.token == stage().state.token + 1


def test_a_gate_that_waits_is_asked_again_when_only_what_it_binds_changed() -> None:
    world = at_gate().hear(amendment(payee=PAYEE))
    assert world.types == ["CaseAmended", "GateVoided", "GateRequested"]
    world.story.then_holds(GateVoided, gate_id="authority-4", revision=1)
    world.story.then_holds(GateRequested, gate_id="authority-4", revision=2)
    assert world.request.material["payee"] == PAYEE
    world.decide(revision=1).story.then_nothing()
    world.decide(digest=at_gate().request.digest).story.then_nothing()
    assert "GateConsumed" in world.decide().types
    assert world.hear(amendment(payee="person-0000aaaa1111bbbb")).request.revision == 3


@pytest.mark.parametrize("changes", [{"claimant": PAYEE}, {"payee": "person-60303ae22b998861"}])
def test_what_nothing_stood_on_is_noted_and_nothing_is_made_again(changes: Any) -> None:
    world = at_gate().hear(amendment(**changes))
    world.story.then(CaseAmended(changes=changes, reason="corrected"))
    assert not amended(world)


def test_work_that_stands_on_the_old_facts_is_taken_away() -> None:
    world = assessed()
    after = world.hear(amendment(evidence=EVIDENCE))
    assert after.types == ["CaseAmended", "TaskCancelled", "PhaseEntered", "TaskGranted"]
    late = after.complete(
        world.holder, task_id="assess-2", token=2, inputs_digest=world.digest, output={}
    )
    late.story.then_holds(type(late.events[0]), code="TASK_CANCELLED")
    assert "lease/assess-2" not in after.timers


def test_work_that_does_not_read_it_goes_on() -> None:
    world = opened()
    after = world.hear(amendment(payee=PAYEE))
    assert after.types == ["CaseAmended"]
    assert after.task == world.task
    assert "TaskCompleted" in after.complete().types


def changed(**phases: Any) -> ProcessDefinition:
    whole = definition().model_dump(mode="json")
    for name, change in phases.items():
        change(whole["spec"]["phases"][name])
    return ProcessDefinition.model_validate(whole)


def under(document: ProcessDefinition) -> World:
    desk = registry_of(document, authority(), persons=PEOPLE, agents=agents())
    return World(Given(CARD, desk)).hear(admitted(document=document), SUBMITTER)


def test_a_case_that_was_sent_back_is_not_carried_past_the_phase_it_is_in() -> None:
    """Settlement read the claimant once; now assessment is in work, and comes before it."""

    def add(phase: Any) -> None:
        phase["tasks"]["settle"]["input"].append("claimant")

    world = under(changed(settlement=add)).complete().complete().complete()
    assert entered(world.hear(amendment(claimant=PAYEE))) == "settlement"
    back = world.decide(Choice.SEND_BACK)
    assert back.state.visited == ("intake", "assessment")
    after = back.hear(amendment(claimant=PAYEE))
    assert after.types == ["CaseAmended"]
    # Nor does a gate that was asked on the way carry it there.
    assert back.hear(amendment(payee=PAYEE)).types == ["CaseAmended"]


def test_a_flag_that_changes_asks_the_gate_again_though_the_facts_it_binds_stay() -> None:
    def blind(phase: Any) -> None:
        phase["tasks"]["triage"]["input"].remove("fraud_reported")

    world = under(changed(intake=blind)).complete().complete().complete()
    after = world.hear(amendment(fraud_reported=True))
    assert after.types == ["CaseAmended", "GateVoided", "GateRequested"]
    assert (after.request.revision, after.request.flags) == (2, ("fraud",))
    approved = world.decide().hear(amendment(fraud_reported=True))
    assert entered(approved) == "authority"


def test_a_way_that_would_now_be_another_is_gone_again() -> None:
    def guard(phase: Any) -> None:
        phase["next"] = [
            {"to": "documents", "when": "fraud_reported"},
            {"to": "assessment"},
        ]
        phase["tasks"]["triage"]["input"].remove("fraud_reported")

    world = under(changed(intake=guard)).complete()
    assert world.state.phase == "assessment"
    after = world.hear(amendment(fraud_reported=True))
    assert entered(after) == "intake"
    assert after.complete().state.phase == "documents"
