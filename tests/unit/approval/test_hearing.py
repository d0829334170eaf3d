"""Every wish of a person counts once or is refused with a code and what to do instead."""

from __future__ import annotations

from typing import Any

import pytest

from caseway.contracts.case import GateConsumed, GateVoided
from caseway.contracts.decision import (
    Choice,
    DecisionRefused,
    GateDecided,
    GateQuestioned,
)
from caseway.contracts.envelope import Strength
from caseway.contracts.fields import Contract
from caseway.errors import IntegrityError, Unattributable
from caseway.kernel.processor import Actor
from caseway.testing import Given, registry_of
from caseway_approval.state import Gates

from .office import (
    DIGEST,
    GATE,
    OTHER_DIGEST,
    appointed,
    asked,
    breached,
    decide,
    given,
    hand_to,
    office,
    opened,
    question,
)

CID = "person:cid"
REJECT = decide(Choice.REJECT, "the invoice is forged")


def refusal(story: Given[Gates]) -> DecisionRefused:
    (event,) = story.said_events
    assert isinstance(event, DecisionRefused), event
    return event


def test_a_role_holder_decides_and_the_timer_is_cancelled() -> None:
    story = opened().when(decide(reason="fits the policy"), actor=CID)
    story.then(
        GateDecided(
            gate_id=GATE,
            revision=1,
            digest=DIGEST,
            choice=Choice.APPROVE,
            by=(CID,),
            roles=("claims-manager",),
            level=0,
            reason="fits the policy",
            row="large",
            matrix=office().matrices["claim-settlement"].pin,
            cancels=(f"sla/{GATE}/1/0",),
        )
    )
    assert story.said.matrix.startswith("claim-settlement@1#")
    assert story.state is not None
    assert story.state.is_settled


@pytest.mark.parametrize("choice", [Choice.REJECT, Choice.SEND_BACK])
def test_a_person_may_say_no_with_a_reason(choice: Choice) -> None:
    opened().when(decide(choice, "no"), actor=CID).then_like(
        GateDecided, choice=choice, reason="no"
    )


def test_a_person_whose_session_the_door_attests_decides() -> None:
    actor = Actor(CID, Strength.DOOR_ATTESTED)
    opened().when(decide(), actor=actor).then_like(GateDecided, by=(CID,))


# Each line breaks one rule and keeps all that are asked before it.
REFUSED: list[tuple[str, Contract, str | Actor, str]] = [
    ("NAMESPACE_MISMATCH", decide(namespace="prod"), CID, "'test'"),
    ("EXPIRED", decide(expires_at="2026-03-02T13:59:59Z"), CID, "sign it again"),
    ("IDENTITY", decide(), "agent:triage-1", "only a person"),
    ("IDENTITY", decide(), Actor(CID, Strength.UNVERIFIED), "sign it"),
    ("IDENTITY", decide(), Actor(CID, Strength.AGENT_SIGNED), "sign it"),
    ("IDENTITY", decide(), Actor("root:1", Strength.PERSON_SIGNED), "only a person"),
    ("IDENTITY", decide(), "submitter:portal", "sign it"),
    ("GATE_UNKNOWN", decide(gate_id="settle-2"), CID, "try again"),
    ("STALE_VIEW", decide(revision=2), CID, "revision 1 is current"),
    ("STALE_VIEW", decide(digest=OTHER_DIGEST), CID, "revision 1 is current"),
    ("AUTHORITY", decide(), "person:ann", "needs"),
    ("AUTHORITY", decide(), "person:nobody", "has none"),
    ("AUTHORITY", decide(), "person:vera", "has vp-claims"),
    ("REASON_REQUIRED", decide(Choice.REJECT), CID, "say why"),
    ("REASON_REQUIRED", decide(Choice.SEND_BACK, " \n"), CID, "say why"),
    ("AUTHORITY", question(), "person:nobody", "appoint"),
    ("STALE_VIEW", question(revision=2), "person:zoe", "revision 1 is current"),
    ("IDENTITY", question(), "agent:triage-1", "only a person"),
]


@pytest.mark.parametrize(("code", "wish", "actor", "says"), REFUSED)
def test_what_does_not_count_is_refused_and_changes_nothing(
    code: str, wish: Any, actor: str | Actor, says: str
) -> None:
    # The owner of the preparing agent is left out here: that rule has tests of its own.
    before = opened(preparers=())
    after = before.when(wish, actor=actor)
    event = refusal(after)
    name = actor.name if isinstance(actor, Actor) else actor
    assert (event.code, event.by, event.gate_id) == (code, name, wish.gate_id)
    assert says in event.message or code == "AUTHORITY"
    assert after.state == before.state


def test_authority_names_what_is_needed_and_what_is_there() -> None:
    event = refusal(opened(preparers=()).when(decide(), actor="person:ann"))
    assert "need claims-manager (row large, level 0), has senior-adjuster" in event.message


def test_nobody_decides_what_they_requested_prepared_or_own_the_preparer_of() -> None:
    ann = "person:ann"
    requested = opened("6000", requester=ann, preparers=())
    prepared = opened("6000", preparers=("person:bob", ann))
    owned = opened("6000")
    owned_requester = opened("6000", preparers=(), requester="agent:triage-1")
    for story, rule in (
        (requested, "requester"),
        (prepared, "preparer"),
        (owned, "owner of an agent"),
        (owned_requester, "owner of an agent"),
    ):
        event = refusal(story.when(decide(), actor=ann))
        assert event.code == "SELF_APPROVAL"
        assert rule in event.message
    owned.when(decide(), actor="person:bob").then_like(GateDecided, by=("person:bob",))


def test_an_agent_that_is_handed_over_frees_neither_its_old_nor_its_new_owner() -> None:
    after = registry_of(agents={"triage-1": "bob"}, base=office())
    requested = opened("6000", preparers=(), requester="agent:triage-1")
    for story in (opened("6000"), requested):
        for person in ("ann", "bob"):
            tried = story.when(decide(), actor=f"person:{person}", registry=after)
            assert refusal(tried).code == "SELF_APPROVAL"


def test_self_approval_is_refused_before_authority_and_reason() -> None:
    story = opened(preparers=("person:zoe",)).when(decide(Choice.REJECT), actor="person:zoe")
    assert refusal(story).code == "SELF_APPROVAL"


def test_a_revoked_role_decides_nothing_more() -> None:
    story = opened().when(decide(), actor=CID, registry=appointed(office(), cid=()))
    assert refusal(story).code == "AUTHORITY"


def test_a_second_decision_reads_who_decided_and_when() -> None:
    story = opened().when(decide(), actor=CID, at="2026-03-02T15:00:00Z", event_id="d-1")
    for again, actor in ((decide(), CID), (REJECT, "person:cora"), (question(), "person:zoe")):
        event = refusal(story.when(again, actor=actor, at="2026-03-03T15:00:00Z", event_id="d-1"))
        assert event.code == "DECIDED"
        assert "person:cid gave 'approve' at 2026-03-02T15:00:00.000Z" in event.message


def test_a_decision_on_a_replaced_revision_reads_which_is_current() -> None:
    story = opened().when(asked(revision=2, digest=OTHER_DIGEST)).when(decide(), actor=CID)
    event = refusal(story)
    assert event.code == "STALE_VIEW"
    assert "revision 2 is current, you were shown 1" in event.message
    story.when(decide(revision=2, digest=OTHER_DIGEST), actor=CID).then_like(GateDecided)


def test_a_retired_gate_reads_why() -> None:
    void = GateVoided(gate_id=GATE, revision=1, reason="the case was amended")
    event = refusal(opened().when(void).when(decide(), actor=CID))
    assert event.code == "GATE_RETIRED"
    assert "the case was amended" in event.message


def test_a_decision_that_comes_before_its_gate_is_told_to_try_again() -> None:
    early = given().when(decide(), actor=CID)
    assert refusal(early).code == "GATE_UNKNOWN"
    assert early.state is None
    early.when(asked()).when(decide(), actor=CID).then_like(GateDecided)


def test_a_stranger_to_a_case_nobody_knows_is_a_dead_letter() -> None:
    with pytest.raises(Unattributable) as error:
        given().when(decide(), actor="submitter:portal")
    assert error.value.code == "IDENTITY_MISSING"


def test_anyone_with_a_role_may_ask_and_the_promise_runs_on() -> None:
    story = opened()
    asked_ = story.when(question(), actor="person:zoe")
    asked_.then(GateQuestioned(gate_id=GATE, revision=1, by="person:zoe", question="Which policy?"))
    assert asked_.state == story.state
    unmatched = given(registry_of(persons={"zoe": ("clerk",)})).when(asked())
    unmatched.when(question(), actor="person:zoe").then_like(GateQuestioned)


def test_a_joint_rung_needs_a_person_for_each_role() -> None:
    story = breached(opened("600000"))
    one = story.when(decide(), actor="person:cleo")
    assert [e.outstanding for e in one.said_events] == [("legal",)]  # type: ignore[attr-defined]
    assert refusal(one.when(decide(), actor="person:cleo")).code == "SECOND_PERSON"
    one.when(decide(), actor="person:lea").then_like(
        GateDecided,
        by=("person:cleo", "person:lea"),
        roles=("ceo", "legal"),
        level=1,
        cancels=(f"sla/{GATE}/1/1",),
    )


def test_by_and_roles_keep_the_order_of_the_rung_whoever_came_first() -> None:
    story = breached(opened("600000")).when(decide(), actor="person:lea")
    story.when(decide(), actor="person:cleo").then_like(
        GateDecided, by=("person:cleo", "person:lea"), roles=("ceo", "legal")
    )


def test_a_role_that_approved_already_needs_no_second_holder() -> None:
    story = breached(opened("600000")).when(decide(), actor="person:lea")
    event = refusal(story.when(decide(), actor="person:leo"))
    assert event.code == "AUTHORITY"
    assert "need ceo, has legal" in event.message


def test_one_person_with_both_roles_is_still_one_person() -> None:
    both = appointed(office(), cleo=("ceo", "legal"))
    story = breached(opened("600000")).when(decide(), actor="person:cleo", registry=both)
    # There is one ceo and there are three for legal: cleo takes the seat nobody else can fill.
    assert [e.role for e in story.said_events] == ["ceo"]  # type: ignore[attr-defined]
    assert refusal(story.when(decide(), actor="person:cleo")).code == "SECOND_PERSON"
    rare = appointed(office(), lea=("legal",), leo=(), cleo=("ceo",), otto=("ceo", "legal"))
    rare = appointed(rare, lea=())
    story = breached(opened("600000")).when(decide(), actor="person:otto", registry=rare)
    assert [e.role for e in story.said_events] == ["legal"]  # type: ignore[attr-defined]


def test_one_no_decides_at_once_even_after_the_own_yes() -> None:
    story = breached(opened("600000")).when(decide(), actor="person:cleo")
    for person in ("cleo", "lea"):
        story.when(REJECT, actor=f"person:{person}").then_like(
            GateDecided, choice=Choice.REJECT, by=(f"person:{person}",)
        )


def test_nothing_takes_effect_that_was_not_decided_here() -> None:
    effect = GateConsumed(
        gate_id=GATE, revision=1, choice=Choice.APPROVE, by=(CID,), reason="", digest=DIGEST
    )
    opened().when(decide(), actor=CID).when(effect).then_nothing()
    lies = [
        (given(), effect),
        (opened(), effect),
        (opened().when(REJECT, actor=CID), effect),
        (opened().when(decide(), actor="person:cora"), effect),
        (opened().when(decide(), actor=CID), effect.model_copy(update={"digest": OTHER_DIGEST})),
        (opened().when(decide(), actor=CID), effect.model_copy(update={"revision": 2})),
    ]
    for story, lie in lies:
        with pytest.raises(IntegrityError) as error:
            story.when(lie)
        assert error.value.code == "integrity.undecided"


def test_a_wish_to_delegate_stands_behind_the_same_questions() -> None:
    assert refusal(opened().when(hand_to("cora"), actor="person:ann")).code == "SELF_APPROVAL"
    assert refusal(opened().when(hand_to("cora"), actor="person:bob")).code == "AUTHORITY"
    assert refusal(opened().when(hand_to("cora", revision=2), actor=CID)).code == "STALE_VIEW"
