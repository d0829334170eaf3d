"""A gate is handed from one role holder to another; nobody gains authority by it."""

from __future__ import annotations

import pytest

from caseway.contracts.decision import DecisionRefused, GateDecided, GateDelegated
from caseway.testing import Given
from caseway_approval.state import Gates

from .office import GATE, appointed, bench_of, breached, decide, hand_to, office, opened

CID, CORA = "person:cid", "person:cora"


def code_of(story: Given[Gates]) -> str:
    (event,) = story.said_events
    assert isinstance(event, DecisionRefused), event
    return event.code


def test_the_taker_decides_and_the_giver_no_longer() -> None:
    story = opened().when(hand_to("cora"), actor=CID)
    story.then(
        GateDelegated(
            gate_id=GATE,
            revision=1,
            by=CID,
            to=CORA,
            role="claims-manager",
            reason="on leave",
        )
    )
    late = story.when(decide(), actor=CID)
    assert code_of(late) == "AUTHORITY"
    assert "you handed role 'claims-manager'" in late.said_events[0].message  # type: ignore[attr-defined]
    story.when(decide(), actor=CORA).then_like(GateDecided, by=(CORA,))


def test_a_taker_who_lost_the_role_decides_nothing() -> None:
    story = opened().when(hand_to("cora"), actor=CID)
    story = story.under(appointed(office(), cora=("claims-clerk",)))
    assert code_of(story.when(decide(), actor=CORA)) == "AUTHORITY"


REFUSED = [
    ("DELEGATION_SELF", "cid"),
    ("DELEGATION_UNKNOWN", "nobody"),
    ("DELEGATION_UNKNOWN", "gone"),
    ("DELEGATION_WIDER", "zoe"),
    ("DELEGATION_WIDER", "vera"),
    ("SELF_APPROVAL", "cora"),
]


@pytest.mark.parametrize(("code", "taker"), REFUSED)
def test_delegation_only_narrows(code: str, taker: str) -> None:
    prepared = opened(preparers=(CORA,)).under(appointed(office(), gone=()))
    assert code_of(prepared.when(hand_to(taker), actor=CID)) == code


def test_what_was_handed_on_is_not_handed_on_again_nor_back() -> None:
    third = appointed(office(), dora=("claims-manager",))
    story = opened().under(third).when(hand_to("cora"), actor=CID)
    assert code_of(story.when(hand_to("dora"), actor=CORA)) == "DELEGATION_DEPTH"
    assert code_of(story.when(hand_to("cid"), actor=CORA)) == "DELEGATION_DEPTH"
    assert code_of(story.when(hand_to("cid"), actor="person:dora")) == "DELEGATION_CIRCLE"
    assert code_of(story.when(hand_to("dora"), actor=CID)) == "AUTHORITY"


def test_a_joint_rung_stays_two_persons_under_delegation() -> None:
    people = appointed(office(), dora=("ceo", "legal"))
    story = breached(opened("600000")).under(people).when(decide(), actor="person:dora")
    assert code_of(story.when(hand_to("dora"), actor="person:lea")) == "SECOND_PERSON"
    assert code_of(story.when(hand_to("cleo"), actor="person:dora")) == "SECOND_PERSON"


def test_found_by_the_simulator_a_joint_rung_keeps_a_person_for_each_role() -> None:
    """Seed 461: all handed theirs to the one who held both, and nobody was left to be second."""
    people = appointed(office(), dora=("ceo", "legal"), cleo=("ceo",), lea=("legal",), leo=())
    story = breached(opened("600000")).under(people)
    story = story.when(hand_to("dora"), actor="person:lea").then_like(GateDelegated, role="legal")
    refused = story.when(hand_to("dora"), actor="person:cleo")
    assert code_of(refused) == "DELEGATION_LAST"
    assert "ceo and legal would have fewer" in refused.said_events[0].message  # type: ignore[attr-defined]
    refused.when(decide(), actor="person:dora").when(decide(), actor="person:cleo").then_like(
        GateDecided, by=("person:cleo", "person:dora"), roles=("ceo", "legal")
    )


def test_with_a_third_person_a_role_may_be_handed_to_one_who_holds_both() -> None:
    people = appointed(office(), dora=("ceo", "legal"), carl=("ceo",), cleo=("ceo",), leo=())
    story = breached(opened("600000")).under(people)
    story = story.when(hand_to("dora"), actor="person:cleo").then_like(GateDelegated, role="ceo")
    refused = story.when(hand_to("dora"), actor="person:lea")
    refused.then_like(GateDelegated, role="legal")
    assert code_of(refused.when(hand_to("dora"), actor="person:carl")) == "DELEGATION_LAST"


def test_a_role_that_approved_already_is_not_handed_on() -> None:
    people = appointed(office(), dora=("legal",))
    story = breached(opened("600000")).under(people).when(decide(), actor="person:lea")
    story = story.when(hand_to("dora"), actor="person:leo")
    assert code_of(story) == "AUTHORITY"
    assert "need ceo" in story.said_events[0].message  # type: ignore[attr-defined]


def test_of_two_roles_the_one_that_is_left_is_handed_on() -> None:
    people = appointed(office(), dora=("ceo", "legal"), dan=("ceo", "legal"))
    story = breached(opened("600000")).under(people).when(decide(), actor="person:cleo")
    story = story.when(hand_to("dan"), actor="person:dora")
    story.then_like(GateDelegated, role="legal")


def test_a_handed_role_is_the_one_its_taker_fills() -> None:
    people = appointed(office(), dora=("ceo", "legal"))
    story = breached(opened("600000")).under(people).when(hand_to("dora"), actor="person:lea")
    story = story.when(decide(), actor="person:dora")
    assert [e.role for e in story.said_events] == ["legal"]  # type: ignore[attr-defined]


def test_an_escalation_ends_what_was_delegated_and_endorsed_below() -> None:
    story = opened().when(hand_to("cora"), actor=CID)
    story = breached(story).under(appointed(office(), cid=("claims-manager", "vp-claims")))
    assert (bench_of(story).delegations, bench_of(story).endorsements) == ((), ())
    story.when(decide(), actor=CID).then_like(GateDecided, level=1, roles=("vp-claims",))
    assert code_of(story.when(decide(), actor=CORA)) == "AUTHORITY"
