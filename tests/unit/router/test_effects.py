"""An effect is permitted once, and after its permit the outside is asked and never told again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from caseway.casefile.state import TaskStatus
from caseway.contracts.case import (
    CaseClosed,
    EffectDoubted,
    EffectPermitted,
    EffectSettled,
    GateConsumed,
    GateRequested,
    PhaseEntered,
    ReportRefused,
    TaskCancelled,
    TaskEscalated,
    TaskGranted,
    TaskOpened,
    WishRefused,
)
from caseway.contracts.control import AgentQuarantined
from caseway.contracts.deadline import TimerKind
from caseway.contracts.report import Purpose, TaskOffered
from caseway.testing import registry_of

from .desk import (
    PAYEE,
    PEOPLE,
    World,
    agents,
    amendment,
    authority,
    definition,
    opened,
    paying,
    permitted,
    withdrawal,
)


def permits(world: World) -> list[str]:
    return [e.effect_id for e in world.story.history if isinstance(e, EffectPermitted)]


def refused(before: World, after: World, code: str) -> None:
    after.story.then_like(ReportRefused, code=code)
    assert after.state == before.state


def reconciling(world: World, effect: str) -> None:
    """Somebody was granted the question what became of this effect, and nothing else."""
    assert (world.task.status, world.task.purpose) == (TaskStatus.GRANTED, Purpose.RECONCILE)
    (offer,) = world.story.said.offers
    assert isinstance(offer.data, TaskOffered)
    assert (offer.data.purpose, offer.data.effect_id) == (Purpose.RECONCILE, effect)
    refused(world, world.begin(), "ALREADY_PERMITTED")


def test_nothing_is_permitted_twice() -> None:
    world = permitted()
    refused(world, world.begin(), "ALREADY_PERMITTED")
    assert len(permits(world)) == 1


def test_nothing_is_permitted_while_halted() -> None:
    world = World(paying().story, paying().timers).halted()
    refused(world, world.begin(), "HALTED")
    assert "EffectPermitted" in world.resumed().begin().types


def test_nothing_is_permitted_to_an_agent_in_quarantine() -> None:
    world = paying()
    name = world.holder.partition(":")[2]
    shut = world.under(replace(world.story.registry, quarantined={name: "odd"}))
    refused(shut, shut.begin(), "AGENT_QUARANTINED")


@pytest.mark.parametrize("approved", ["gone", "other"])
def test_nothing_is_permitted_without_an_approval_of_todays_facts(approved: str) -> None:
    """The machine leads no case here; the guard holds even if it did."""
    world = paying()
    gate = world.state.approved["authority"]
    wrong = {} if approved == "gone" else {"authority": replace(gate, digest="b" * 64)}
    entity = replace(world.story.entity, state=replace(world.state, approved=wrong))
    broken = World(replace(world.story, entity=entity), world.timers)
    refused(broken, broken.begin(), "GATE_STALE")


def test_the_effect_id_is_of_the_round_and_never_of_the_attempt() -> None:
    first = permitted().task.effect_id
    other = paying().fail().fire().begin()
    assert other.task.token == 5
    assert other.task.effect_id == first


def test_a_failure_before_the_permit_is_an_attempt_like_any_other() -> None:
    world = paying().fail()
    assert world.task.status is TaskStatus.RESTING
    assert world.fire().task.purpose is Purpose.WORK


def test_an_unknown_outcome_is_asked_and_then_done_once() -> None:
    world = permitted()
    effect = world.task.effect_id
    world = world.outcome("unknown")
    assert world.types == ["EffectDoubted", "TaskGranted"]
    reconciling(world, effect)
    world = world.outcome("done")
    world.story.then_holds(EffectSettled, outcome="done", effect_id=effect)
    world.story.then_holds(CaseClosed, outcome="paid")
    assert permits(world) == [effect]


def ends(world: World, how: str) -> World:
    if how == "permit runs out":
        return world.fire()
    return world.fail() if how == "fail" else world.release()


@pytest.mark.parametrize("how", ["permit runs out", "fail", "release"])
def test_whatever_ends_a_permitted_attempt_is_asked_and_never_offered_again(how: str) -> None:
    world = permitted()
    after = ends(world, how)
    after.story.then_holds(EffectDoubted, effect_id=world.task.effect_id)
    reconciling(after, world.task.effect_id)
    assert "TaskReoffered" not in after.types


def test_a_lease_that_fires_beside_its_permit_ends_nothing() -> None:
    granted, world = paying(), permitted()
    _, lease = granted.timers["lease/pay-5"]
    _, permit = world.timers["lease/pay-5"]
    assert (lease.kind, permit.kind) == (TimerKind.LEASE, TimerKind.PERMIT)
    late = World(world.story, {lease.timer_id: (world.story.at_ms, lease)}).fire()
    late.story.then_nothing()
    assert late.task.status is TaskStatus.PERMITTED
    # Nor does a permit of an older token, or one that was answered.
    World(granted.story, {permit.timer_id: (0, permit)}).fire().story.then_nothing()
    asked = world.outcome("unknown")
    World(asked.story, {permit.timer_id: (0, permit)}).fire().story.then_nothing()


def test_the_permit_of_a_revoked_holder_runs_out_before_anybody_asks() -> None:
    world = permitted()
    name = world.holder.partition(":")[2]
    after = world.wait(10).quarantined(name)
    after.story.then_like(EffectDoubted, reason="AGENT_QUARANTINED")
    assert after.task.status is TaskStatus.RESTING
    assert after.timers["retry/pay-5"][0] >= world.timers["lease/pay-5"][0]
    asked = after.fire()
    reconciling(asked, world.task.effect_id)
    assert asked.holder not in ("", world.holder)
    fact = AgentQuarantined(agent_id="cashier-9", reason="x", signers=())
    world.told(fact, world.story.registry).story.then_nothing()


def test_who_asks_in_vain_is_followed_by_others_and_then_by_a_person() -> None:
    world = permitted().fire()
    for _ in range(3):
        reconciling(world, permitted().task.effect_id)
        world = world.fire()
    assert world.types == ["EffectDoubted", "TaskEscalated"]
    world.story.then_holds(TaskEscalated, queue="payments-desk", code="EFFECT_UNKNOWN")
    world = world.claim("person:pat")
    refused(world, world.begin(), "ALREADY_PERMITTED")
    back = world.outcome("unknown")
    back.story.then_holds(TaskEscalated, code="EFFECT_UNKNOWN")
    world.fire().story.then_holds(TaskEscalated, code="EFFECT_UNKNOWN")
    done = back.claim("person:pat").outcome("done")
    done.story.then_holds(CaseClosed, outcome="paid")
    assert len(permits(done)) == 1


def test_who_asks_and_fails_is_followed_by_others_who_ask() -> None:
    world = permitted().outcome("unknown").fail()
    assert world.task.status is TaskStatus.RESTING
    world = world.fire()
    reconciling(world, permitted().task.effect_id)
    reconciling(world.release(), permitted().task.effect_id)


def test_a_question_that_nobody_can_take_stays_open_as_a_question() -> None:
    cashier = agents("cashier-1")
    registry = registry_of(definition(), authority(), persons=PEOPLE, agents=cashier)
    world = permitted()
    world = World(world.story.under(registry), world.timers)
    alone = replace(registry, agents_by_skill={})
    after = World(world.story.under(alone), world.timers).outcome("unknown")
    after.story.then_holds(TaskOpened, task="pay")
    (offer,) = after.story.said.offers
    assert isinstance(offer.data, TaskOffered)
    assert offer.data.purpose is Purpose.RECONCILE
    reconciling(after.under(registry).claim("agent:cashier-1"), permitted().task.effect_id)


# -- surely not done ------------------------------------------------------------------------------


def not_done() -> World:
    return permitted().outcome("not_done")


def test_what_surely_was_not_done_goes_to_a_person() -> None:
    world = not_done()
    assert world.types == ["EffectSettled", "TaskEscalated"]
    world.story.then_holds(TaskEscalated, queue="payments-desk", code="EFFECT_NOT_DONE")
    assert world.task.ended[-1].code == "not_done"
    assert not world.timers


def test_a_persons_word_leads_to_a_new_decision_and_a_new_effect() -> None:
    world = not_done().claim("person:pat").outcome("not_done")
    world.story.then_holds(TaskCancelled, task_id="pay-5")
    world.story.then_holds(PhaseEntered, phase="authority", round=6)
    world.story.then_holds(GateRequested, gate_id="authority-6", revision=1)
    assert world.state.approved == {}
    assert not world.timers
    again = world.decide().begin()
    first, second = permits(again)
    assert first != second


def test_who_says_that_it_was_not_done_does_not_decide_about_it_again() -> None:
    world = not_done()
    said_so = {event.by for event in world.events if isinstance(event, EffectSettled)}
    asked = world.claim("person:pat").outcome("not_done").request
    assert {"person:pat", *said_so} <= set(asked.preparers)


def test_an_agents_word_alone_opens_no_way_to_a_second_payment() -> None:
    world = not_done()
    for wish in (amendment(payee=PAYEE), withdrawal()):
        after = world.hear(wish)
        after.story.then_like(WishRefused, code="too_late")
        assert after.state == world.state
    person = world.claim("person:pat").outcome("not_done")
    person.hear(withdrawal()).story.then_holds(CaseClosed, outcome="withdrawn")


def test_a_person_may_find_that_it_was_done_after_all() -> None:
    world = not_done().claim("person:pat").outcome("done")
    world.story.then_holds(CaseClosed, outcome="paid")


def test_a_person_who_pays_by_hand_has_a_permit_and_no_agent_reads_it() -> None:
    world = paying().fail(again=False).claim("person:pat").begin()
    world.story.then_like(EffectPermitted, permit_s=60)
    assert world.story.said.offers == ()
    world.outcome("done").story.then_holds(CaseClosed, outcome="paid")
    for let_go in (world.release(), world.fail(), world.fire()):
        let_go.story.then_holds(TaskEscalated, code="EFFECT_UNKNOWN")


# -- changes of the submitter ---------------------------------------------------------------------


@pytest.mark.parametrize("wish", [amendment(payee=PAYEE), withdrawal()])
def test_after_the_permit_it_is_too_late(wish: Any) -> None:
    for world in (permitted(), permitted().outcome("unknown"), permitted().fire()):
        after = world.hear(wish)
        after.story.then_like(WishRefused, code="too_late")
        assert after.state == world.state


def test_before_the_permit_a_withdrawal_ends_the_case_and_what_is_held() -> None:
    world = paying().hear(withdrawal())
    assert world.types == ["TaskCancelled", "CaseClosed"]
    world.story.then_holds(CaseClosed, outcome="withdrawn", reason="settled elsewhere")
    assert not world.timers
    gate = opened().complete().complete().complete().hear(withdrawal())
    assert gate.types == ["GateVoided", "CaseClosed"]


def test_a_payee_that_changes_after_the_approval_is_approved_again() -> None:
    world = paying().hear(amendment(payee=PAYEE))
    world.story.then_holds(TaskCancelled, task_id="pay-5")
    world.story.then_holds(PhaseEntered, phase="authority", round=6)
    asked = world.request
    assert (asked.gate_id, asked.revision, asked.material["payee"]) == ("authority-6", 1, PAYEE)
    assert world.state.approved == {}
    world = world.decide()
    world.story.then_holds(GateConsumed, gate_id="authority-6")
    world.story.then_holds(TaskGranted, task_id="pay-7")
    world.begin().story.then_like(EffectPermitted, payee=PAYEE)
