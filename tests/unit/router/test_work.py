"""Who gets a task, what a lost lease leads to, and how people and registry facts come in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from caseway.casefile.state import Attempt, TaskStatus
from caseway.contracts.case import (
    AttemptEnded,
    ReportRefused,
    TaskEscalated,
    TaskGranted,
    TaskOpened,
    TaskReoffered,
)
from caseway.contracts.deadline import TimerKind
from caseway.contracts.definition import ProcessDefinition
from caseway.contracts.report import TaskOffered
from caseway.testing import Given, registry_of
from caseway_router.routing import rank
from caseway_router.service import CARD

from .desk import (
    PEOPLE,
    SUBMITTER,
    World,
    admitted,
    agents,
    card,
    definition,
    nobody,
    opened,
    queued,
)

MANY = {f"triage-{n}": card(f"triage-{n}", "claims", "claim-triage") for n in range(1, 6)}


def granted(world: World) -> TaskGranted:
    return [event for event in world.story.history if isinstance(event, TaskGranted)][-1]


def crowd(**facts: Any) -> World:
    return opened(registry_of(definition(), persons=PEOPLE, agents=MANY), **facts)


def test_an_assignment_explains_itself_and_is_the_same_on_every_machine() -> None:
    grant = granted(crowd())
    assert grant.holder == f"agent:{grant.ranking[0].agent}"
    assert len(grant.ranking) == 3
    assert {each.why for each in grant.ranking} == {"skill claim-triage, not tried yet"}
    turned = registry_of(definition(), agents=dict(reversed(MANY.items())))
    assert granted(opened(turned)).ranking == grant.ranking


def test_work_spreads_over_cases() -> None:
    registry = registry_of(definition(), agents=MANY)
    first = [
        rank(registry, f"c-{n}", "triage", "claim-triage", "claims", None)[0] for n in range(99)
    ]
    assert {each.agent for each in first} == set(MANY)


TEXTS = st.text(min_size=1, max_size=60)


@settings(max_examples=25, deadline=None)
@for_all(TEXTS, TEXTS, TEXTS)
def test_free_text_never_moves_the_route(rationale: str, detail: str, sealed: str) -> None:
    """Whatever a submitter or an agent writes in prose, the next holder is the same."""

    def route(*texts: str) -> list[Any]:
        world = crowd()
        told, why, model = texts
        world = world.fail(detail=told).fire().complete(rationale=why, model=model)
        return [(e.holder, e.token) for e in world.story.history if isinstance(e, TaskGranted)]

    assert route(detail, rationale, sealed) == route("", "", "")


@for_all(st.sampled_from(["collision", "theft", "fire", "glass"]), st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_nor_do_the_facts_it_does_not_read(kind: str, cents: int) -> None:
    amount = {"amount": f"{cents // 100}.{cents % 100:02}", "currency": "USD"}
    assert granted(crowd(incident_kind=kind, amount=amount)).ranking == granted(crowd()).ranking


def test_a_lost_lease_rests_twice_as_long_each_time_and_ends_with_a_person() -> None:
    world = crowd()
    tried = []
    for attempt, rest_s in ((1, 5), (2, 10)):
        tried.append(world.holder)
        assert world.timers["lease/triage-1"][1].about == f"triage-1#{attempt}"
        world = world.fire()
        world.story.then_like(AttemptEnded, code="LEASE_EXPIRED", is_counted=True)
        assert world.task.status is TaskStatus.RESTING
        (timer,) = [timer for _, timer in world.timers.values()]
        assert (timer.kind, timer.after_s) == (TimerKind.RETRY, rest_s)
        world = world.fire()
        assert granted(world).attempt == attempt + 1
        assert world.holder not in tried
    last = world.holder
    world = world.fire()
    assert world.types == ["AttemptEnded", "TaskEscalated"]
    world.story.then_holds(TaskEscalated, queue="claims-desk", code="LEASE_EXPIRED")
    assert world.task.ended == tuple(Attempt(name, "LEASE_EXPIRED") for name in (*tried, last))
    assert not world.timers


def test_a_failure_that_is_not_retryable_goes_to_a_person_at_once() -> None:
    world = crowd().fail(again=False)
    world.story.then_holds(TaskEscalated, queue="claims-desk", code="no-answer")


def test_an_expiry_that_was_overtaken_ends_nothing() -> None:
    first = crowd()
    _, timer = first.timers["lease/triage-1"]
    second = first.fail().fire()
    late = World(second.story, {timer.timer_id: (second.story.at_ms, timer)})
    late.fire().story.then_nothing()
    World(first.complete().story, late.timers).fire().story.then_nothing()


def test_a_rest_ends_by_its_own_timer_alone() -> None:
    open_ = opened(nobody())
    _, offer = open_.timers["retry/triage-1"]
    resting = open_.under(crowd().story.registry).claim("agent:triage-1").fail()
    World(resting.story, {offer.timer_id: (0, offer)}).fire().story.then_nothing()
    _, rest = resting.timers["retry/triage-1"]
    World(open_.story, {rest.timer_id: (0, rest)}).fire().story.then_nothing()


def test_a_task_that_is_given_back_is_no_attempt() -> None:
    world = crowd()
    first = world.holder
    world = world.release()
    world.story.then_holds(AttemptEnded, code="released", is_counted=False)
    assert world.task.status is TaskStatus.GRANTED
    assert world.holder != first
    assert world.task.attempts == 0


def test_a_task_that_nobody_can_take_is_offered_again_and_again() -> None:
    world = opened(nobody())
    world.story.then_holds(TaskOpened, skill="claim-triage", pool="claims")
    for _ in range(3):
        (offer,) = world.story.said.offers
        assert isinstance(offer.data, TaskOffered)
        assert (offer.agent, offer.data.token) == ("", 0)
        before, world = world, world.fire()
        world.story.then_like(TaskReoffered, reason="unclaimed")
        assert world.story.at_ms == before.story.at_ms + 60_000


def test_an_agent_that_comes_later_gets_what_is_open() -> None:
    world = opened(nobody())
    world.registered("cashier-1").story.then_nothing()
    world = world.registered("triage-1")
    world.story.then_like(TaskGranted, holder="agent:triage-1", token=1)
    world.registered("triage-2").story.then_nothing()


# -- people ---------------------------------------------------------------------------------------


def test_a_persons_task_is_for_who_holds_the_role_of_its_queue() -> None:
    world = queued()
    for stranger in ("person:mia", "person:nobody", "agent:triage-1"):
        world.claim(stranger).story.then_like(ReportRefused, code="QUEUE_MISSING")
    claimed = world.claim("person:dora")
    claimed.story.then_like(TaskGranted, holder="person:dora", lease_s=4 * 3600)
    assert claimed.story.said.offers == ()
    claimed.claim("person:dan").story.then_like(ReportRefused, code="TASK_TAKEN")
    assert "PhaseEntered" in claimed.complete().types


@pytest.mark.parametrize("how", ["fail", "release", "fire"])
def test_a_person_who_lets_go_gives_it_back_to_the_queue(how: str) -> None:
    world = getattr(queued().claim("person:dora"), how)()
    world.story.then_holds(TaskEscalated, queue="claims-desk", code="returned")
    assert (world.task.status, world.holder) == (TaskStatus.QUEUED, "")
    assert "lease/request-3" not in world.timers
    assert "sla/request-3" in world.timers
    again = world.claim("person:dan")
    again.story.then_like(TaskGranted, holder="person:dan")
    assert granted(again).token > 3


def test_a_missed_promise_goes_to_the_next_queue_and_runs_again() -> None:
    world = queued()
    due_ms = world.timers["sla/request-3"][0]
    assert due_ms == world.story.at_ms + 72 * 3_600_000
    world = world.fire()
    world.story.then_like(TaskEscalated, queue="claims-manager", code="SLA_BREACHED")
    world.claim("person:dora").story.then_like(ReportRefused, code="QUEUE_MISSING")
    assert "TaskGranted" in world.claim("person:mia").types
    # The end of the ladder is never silent.
    for _ in range(3):
        world = world.fire()
        world.story.then_like(TaskEscalated, queue="claims-manager")
    assert world.timers["sla/request-3"][0] == due_ms + 4 * 72 * 3_600_000


def test_a_promise_missed_in_somebodys_hands_leaves_it_there_and_moves_the_queue() -> None:
    world = queued().wait(71 * 3600).claim("person:dora")
    held = world.fire("sla/request-3")
    held.story.then_like(TaskEscalated, queue="claims-manager")
    assert (held.task.status, held.holder) == (TaskStatus.GRANTED, "person:dora")
    assert "TaskCompleted" in held.complete().types
    assert "sla/request-3" not in held.complete().timers
    back = held.release()
    assert (back.task.status, back.task.queue) == (TaskStatus.QUEUED, "claims-manager")


def test_an_escalated_task_is_done_by_a_person_with_all_attempts_before_them() -> None:
    world = crowd().fail(again=False).claim("person:dora")
    assert len(world.task.ended) == 1
    done = world.complete()
    assert "person:dora" in done.state.preparers


# -- quarantine and halt --------------------------------------------------------------------------


def test_quarantine_revokes_at_once_and_another_gets_the_task() -> None:
    world = crowd()
    name = world.holder.partition(":")[2]
    world.quarantined("triage-9").story.then_nothing()
    after = world.quarantined(name)
    assert after.types == ["AttemptEnded", "TaskGranted"]
    after.story.then_holds(AttemptEnded, code="AGENT_QUARANTINED", is_counted=False)
    assert after.holder not in ("", world.holder)
    assert name not in {each.agent for each in granted(after).ranking}
    assert after.task.token == 2


def test_the_last_agent_in_quarantine_leaves_the_task_open_until_its_release() -> None:
    world = opened(registry_of(definition(), agents=agents("triage-1"))).quarantined("triage-1")
    assert world.task.status is TaskStatus.OPEN
    world.fire().story.then_like(TaskReoffered)
    world.freed("triage-1").story.then_like(TaskGranted, holder="agent:triage-1", token=2)


def test_a_halt_leaves_tasks_open_and_offers_nothing_until_it_ends() -> None:
    world = World(crowd().story, crowd().timers).halted()
    world.story.then_nothing()
    # Work that was granted counts; nothing new is.
    world = world.complete()
    world.story.then_holds(TaskOpened, task="assess")
    assert world.story.said.offers == ()
    world = world.fire()
    world.story.then_like(TaskReoffered)
    assert world.story.said.offers == ()
    world.registered("assessor-1").story.then_nothing()
    resumed = world.registered("assessor-1").resumed()
    resumed.story.then_like(TaskGranted, holder="agent:assessor-1")
    unskilled = world.resumed()
    unskilled.story.then_like(TaskReoffered)
    assert len(unskilled.story.said.offers) == 1


def test_people_work_while_agents_are_halted() -> None:
    world = World(queued().story, queued().timers).halted().claim("person:dora")
    assert "TaskCompleted" in world.complete().types


# -- tasks beside each other ----------------------------------------------------------------------


def beside() -> ProcessDefinition:
    """Triage and a valuation in one phase; the valuation may be shown what triage finds."""
    whole = definition().model_dump(mode="json")
    tasks = whole["spec"]["phases"]["intake"]["tasks"]
    value = {**tasks["triage"], "input": ["amount", "line"], "output": ["severity"]}
    tasks["value"] = value
    return ProcessDefinition.model_validate(whole)


def test_facts_that_changed_meanwhile_make_a_fresh_offer_and_no_wrong_result() -> None:
    document = beside()
    desk = registry_of(document, agents=MANY)
    story = World(Given(CARD, desk)).hear(admitted(document=document), SUBMITTER)
    first = story.state.tasks["value"]
    triage = story.state.tasks["triage"]
    after = story.complete(
        triage.holder,
        task_id=triage.task_id,
        token=triage.token,
        inputs_digest=triage.inputs_digest,
        output={"line": "motor", "fraud_suspected": False},
    )
    stale = after.complete(output={"severity": "major"})
    assert stale.types == ["AttemptEnded", "TaskGranted"]
    stale.story.then_holds(AttemptEnded, code="INPUTS_STALE", is_counted=False)
    (offer,) = stale.story.said.offers
    assert isinstance(offer.data, TaskOffered)
    assert offer.data.facts["line"] == "motor"
    assert offer.data.inputs_digest != first.inputs_digest
    fresh = stale.complete(output={"severity": "major"})
    assert "PhaseEntered" in fresh.types
