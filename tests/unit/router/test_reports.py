"""Reports that do not count: each has its code, and none of them changes the case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from caseway.casefile.state import TaskStatus
from caseway.contracts import report
from caseway.contracts.case import (
    AttemptEnded,
    LeaseExtended,
    ReportRefused,
    TaskEscalated,
    TaskGranted,
)
from caseway.contracts.envelope import Strength
from caseway.errors import Unattributable
from caseway.kernel.processor import Actor
from caseway.testing import NAMESPACE, Given, registry_of
from caseway_router.service import CARD

from .desk import (
    World,
    agents,
    assessed,
    card,
    definition,
    nobody,
    opened,
    paying,
    permitted,
    queued,
)

TRIAGE = ("triage-1",)


def alone() -> World:
    """A case that triage-1 holds, with nobody else to give it to."""
    return opened(registry_of(definition(), agents=agents(*TRIAGE)))


def refused(before: World, after: World, code: str) -> str:
    after.story.then_like(ReportRefused, code=code)
    assert after.state == before.state
    assert after.timers == before.timers
    assert after.story.said.offers == ()
    (event,) = after.events
    assert isinstance(event, ReportRefused)
    return event.message


STALE: list[tuple[dict[str, Any], str]] = [
    ({"token": 2}, "LEASE_STALE"),
    ({"task_id": "triage-2"}, "TASK_CANCELLED"),
    ({"task_id": "pay-1"}, "TASK_CANCELLED"),
    ({"namespace": "prod"}, "NAMESPACE_MISMATCH"),
    ({"expires_at": "2026-03-02T13:59:59Z"}, "EXPIRED"),
]


@pytest.mark.parametrize(("fields", "code"), STALE)
def test_every_report_names_its_target_or_is_refused(fields: dict[str, Any], code: str) -> None:
    world = alone()
    for told in (world.complete, world.fail, world.release, world.beat, world.begin):
        refused(world, told(**fields), code)
    refused(world, world.outcome("done", **{"effect_id": "a" * 64, **fields}), code)


def test_the_moment_of_expiry_still_counts() -> None:
    world = alone().complete(expires_at="2026-03-02T14:00:00Z")
    assert "TaskCompleted" in world.types


def test_a_report_for_a_token_that_was_overtaken_is_stale() -> None:
    world = alone().fail()
    assert world.task.status is TaskStatus.RESTING
    refused(world, world.complete("agent:triage-1"), "LEASE_STALE")
    again = world.fire()
    assert again.task.token == 2
    refused(again, again.complete(token=1), "LEASE_STALE")


def test_nobody_reports_for_another_holder() -> None:
    world = alone()
    for stranger in ("agent:assessor-1", "person:dora", "agent:nobody"):
        assert "triage-1" in refused(world, world.complete(stranger), "HOLDER")


def test_a_second_completion_is_told_who_was_first() -> None:
    first = alone()
    world = first.complete()
    for told in ("complete", "claim"):
        fields: dict[str, Any] = {"task_id": "triage-1", "token": 1, "output": {}}
        fields |= {"inputs_digest": first.digest} if told == "complete" else {}
        late = getattr(world, told)("agent:triage-1", **fields)
        assert "triage-1" in refused(world, late, "ALREADY_COMPLETED")


def test_a_result_on_other_facts_than_were_offered_is_refused() -> None:
    refused(alone(), alone().complete(inputs_digest="b" * 64), "INPUTS_STALE")
    world = paying()
    refused(world, world.begin(inputs_digest="b" * 64), "INPUTS_STALE")


def test_a_result_that_does_not_fit_is_an_attempt_of_an_agent() -> None:
    for output in ({}, {"line": "motor"}, {"line": "boat", "fraud_suspected": False}):
        world = alone().complete(output=output)
        world.story.then_like(AttemptEnded, code="RESULT_SCHEMA", is_counted=True)
        assert world.state.facts == alone().state.facts
        assert world.fire().holder == "agent:triage-1"


def test_a_person_who_mistypes_keeps_the_task() -> None:
    world = queued().claim("person:dora")
    message = refused(world, world.complete(output={"evidence": "none"}), "RESULT_SCHEMA")
    assert "evidence" in message
    assert "TaskCompleted" in world.complete().types


@pytest.mark.parametrize(
    ("confidence", "enough"), [("0.699999", False), ("0", False), ("0.70", True), ("0.7", True)]
)
def test_a_result_below_its_floor_goes_to_a_person_at_once(confidence: str, enough: bool) -> None:
    world = alone().complete(confidence=confidence)
    if enough:
        assert "TaskCompleted" in world.types
        return
    assert world.types == ["AttemptEnded", "TaskEscalated"]
    world.story.then_holds(TaskEscalated, queue="claims-desk", code="CONFIDENCE_LOW")
    assert not world.timers
    # The floor is for agents; a person is as sure as they say.
    done = world.under(opened().story.registry).claim("person:dora").complete(confidence="0.1")
    assert "TaskCompleted" in done.types


def waiting() -> World:
    """A case whose first task nobody could take."""
    return opened(nobody())


def test_only_a_registered_agent_with_the_skill_claims_an_open_task() -> None:
    world = waiting()
    refused(world, world.claim("agent:nobody"), "AGENT_UNKNOWN")
    refused(world, world.claim("person:dora"), "AGENT_UNKNOWN")
    others = {"wrong": card("wrong", "claims", "x"), "far": card("far", "payments", "claim-triage")}
    world = world.under(registry_of(agents={**others, **agents(*TRIAGE)}, base=nobody()))
    refused(world, world.claim("agent:wrong"), "SKILL_MISSING")
    refused(world, world.claim("agent:far"), "SKILL_MISSING")
    world.claim("agent:triage-1").story.then_like(TaskGranted, holder="agent:triage-1", token=1)


def test_one_claim_wins() -> None:
    world = waiting().under(opened().story.registry).claim("agent:triage-1")
    refused(world, world.claim("agent:triage-2"), "TASK_TAKEN")
    refused(world, world.claim("agent:triage-1"), "TASK_TAKEN")
    resting = world.fail()
    refused(resting, resting.claim("agent:triage-2"), "TASK_TAKEN")


def test_a_quarantined_agent_says_nothing_that_counts() -> None:
    world = waiting().under(opened().story.registry)
    shut = replace(world.story.registry, quarantined={"triage-1": "odd results"})
    assert "odd" in refused(world, world.under(shut).claim("agent:triage-1"), "AGENT_QUARANTINED")
    held = alone()
    silent = held.under(replace(held.story.registry, quarantined={"triage-1": "odd"}))
    for told in (silent.complete, silent.fail, silent.release, silent.beat):
        refused(silent, told(), "AGENT_QUARANTINED")


def test_nothing_is_claimed_by_agents_while_halted() -> None:
    world = waiting().under(opened().story.registry)
    stopped = World(world.story, world.timers).halted()
    refused(stopped, stopped.claim("agent:triage-1"), "HALTED")


def test_an_effect_has_reports_of_its_own() -> None:
    world = paying()
    refused(world, world.complete(output={"payment_reference": "x"}), "EVENT_FORBIDDEN")
    refused(world, world.outcome("done", effect_id="a" * 64), "NOT_PERMITTED")
    task = assessed()
    refused(task, task.begin(), "EVENT_FORBIDDEN")
    refused(task, task.outcome("done", effect_id="a" * 64), "EVENT_FORBIDDEN")
    done = permitted()
    refused(done, done.begin(), "ALREADY_PERMITTED")
    refused(done, done.outcome("done", effect_id="a" * 64), "EFFECT_UNKNOWN")
    refused(done, done.outcome("done", output={"paid": "x"}), "RESULT_SCHEMA")
    refused(done, done.outcome("done", output={}), "RESULT_SCHEMA")


def test_what_nobody_signed_or_no_case_has_is_attributed_to_nobody() -> None:
    unsigned = Actor("submitter:portal", Strength.UNVERIFIED)
    with pytest.raises(Unattributable) as caught:
        alone().hear(beat(), unsigned)
    assert caught.value.code == "IDENTITY_MISSING"
    with pytest.raises(Unattributable) as caught:
        Given(CARD).when(beat(), actor="agent:triage-1")
    assert caught.value.code == "CASE_UNKNOWN"


def beat() -> report.HeartbeatTask:
    return report.HeartbeatTask(
        namespace=NAMESPACE, task_id="triage-1", token=1, expires_at="2027-01-01T00:00:00Z"
    )


def test_a_heartbeat_extends_a_lease_only_when_less_than_half_is_left() -> None:
    world = alone()
    world.wait(29.999).beat().story.then_nothing()
    later = world.wait(30).beat()
    later.story.then_like(LeaseExtended, task_id="triage-1", token=1)
    assert later.timers["lease/triage-1"][0] == world.timers["lease/triage-1"][0] + 30_000
    later.wait(29).beat().story.then_nothing()
    later.wait(30).beat().story.then_like(LeaseExtended)


def test_a_heartbeat_does_not_stretch_a_permit() -> None:
    world = permitted()
    beaten = world.wait(59).beat()
    beaten.story.then_nothing()
    assert beaten.timers == world.timers
