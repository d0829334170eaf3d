"""What operators may change: signed by enough of them, in order, and proven before it counts."""

from __future__ import annotations

from typing import Any

import pytest

from caseway.contracts import control, levels
from caseway.contracts.codec import Event
from caseway.contracts.control import ControlAccepted, ControlRefused
from caseway.contracts.envelope import Envelope
from caseway.contracts.fields import Contract
from caseway.kernel.processor import Actor
from caseway.kernel.registry import Registry, advance
from caseway.testing import Given, registry_of
from caseway_intake.state import Admission

from .clerk import (
    OLGA,
    OMAR,
    ONE,
    PORTAL,
    TWO,
    appoint,
    document,
    given,
    people,
    publish,
    published,
    register,
    signed,
    submit,
    wish,
)


def judged(
    key: str, data: Contract, actor: Actor = TWO, registry: Registry | None = None
) -> Given[Admission]:
    return given(registry or people()).about(key).when(data, actor=actor)


def refused(story: Given[Admission], code: str) -> str:
    story.then_like(ControlRefused, code=code)
    assert story.said.registry == ()
    (event,) = story.said_events
    assert isinstance(event, ControlRefused)
    return event.message


def accepted(story: Given[Admission], model: type[Contract]) -> Any:
    (event,) = story.said_events
    assert isinstance(event, ControlAccepted), event
    (fact,) = story.said.registry
    assert isinstance(fact, model)
    assert fact.signers == event.signers  # type: ignore[attr-defined]
    return fact


DESK = registry_of(document("calendar"), base=people())
CALENDAR, MATRIX = "calendar/us-business", "matrix/claim-settlement"
CLAIM = "definition/insurance-claim"


def test_documents_come_into_force_with_those_who_signed() -> None:
    accepted(judged(CALENDAR, publish("calendar"), ONE), control.CalendarPublished)
    fact = accepted(judged(MATRIX, publish("matrix"), TWO, DESK), control.MatrixPublished)
    assert fact.signers == (OLGA, OMAR)
    desk = registry_of(document("matrix"), base=DESK)
    fact = accepted(judged(CLAIM, publish("definition"), ONE, desk), control.DefinitionPublished)
    assert fact.pin == published().machines["insurance-claim"].pin


@pytest.mark.parametrize(
    "signers",
    [
        (OLGA,),
        (OLGA, OLGA),
        (OLGA, "person:ann"),
        (OLGA, "agent:triage-1"),
        (OLGA, "person:nobody"),
        ("person:ann",),
        ("agent:triage-1", "agent:triage-2"),
    ],
)
def test_a_matrix_needs_two_distinct_operators(signers: tuple[str, ...]) -> None:
    desk = registry_of(agents={"triage-1": "olga", "triage-2": "omar"}, base=DESK)
    message = refused(
        judged(MATRIX, publish("matrix"), signed(*signers), desk), "POLICY_SIGNATURES"
    )
    assert "needs 2" in message


@pytest.mark.parametrize("signers", [("root:1", "root:2"), ("root:1", OLGA)])
def test_a_root_key_signs_like_an_operator(signers: tuple[str, ...]) -> None:
    accepted(judged(MATRIX, publish("matrix"), signed(*signers), DESK), control.MatrixPublished)


def test_nobody_alone_makes_or_rekeys_the_second_signature() -> None:
    for who in (appoint("puppet", "operator"), appoint("omar", "operator"), appoint("omar")):
        key = f"person/{who.card.person_id}"
        refused(judged(key, who, ONE), "POLICY_SIGNATURES")
        accepted(judged(key, who, TWO), control.PersonAppointed)
    accepted(judged("person/bob", appoint("bob", "legal"), ONE), control.PersonAppointed)


@pytest.mark.parametrize("actor", [PORTAL, signed("agent:triage-1"), signed("person:ann")])
def test_only_operators_change_anything(actor: Actor) -> None:
    halt = wish(control.HaltNamespace, reason="stop")
    refused(judged("namespace/test", halt, actor), "POLICY_SIGNATURES")
    refused(judged(CALENDAR, publish("calendar"), actor), "POLICY_SIGNATURES")


def test_a_wish_names_the_version_it_replaces_and_goes_up() -> None:
    done = published()
    for name, key in (("calendar", CALENDAR), ("matrix", MATRIX), ("definition", CLAIM)):
        again = publish(name, replaces=1, title="changed")
        refused(judged(key, again, TWO, done), "VERSION_CONFLICT")
        early = publish(name, replaces=0, version=2)
        assert "version 1" in refused(judged(key, early, TWO, done), "VERSION_CONFLICT")
        refused(judged(key, publish(name, replaces=2, version=3), TWO, done), "VERSION_CONFLICT")
        (said,) = judged(key, publish(name, replaces=1, version=2), TWO, done).said_events
        assert isinstance(said, ControlAccepted)
    refused(judged(CALENDAR, publish("calendar", replaces=1)), "VERSION_CONFLICT")


def test_what_is_in_force_already_is_published_again_without_a_word() -> None:
    done = published()
    for name, key in (("calendar", CALENDAR), ("matrix", MATRIX), ("definition", CLAIM)):
        judged(key, publish(name), TWO, done).then_nothing()
    card = done.persons["ann"]
    judged("person/ann", wish(control.AppointPerson, card=card), ONE, done).then_nothing()
    desk = registry_of(agents={"triage-1": register("triage-1").card}, base=done)
    judged("agent/triage-1", register("triage-1"), ONE, desk).then_nothing()


def test_what_a_document_names_is_in_force_before_it() -> None:
    assert "us-business" in refused(judged(MATRIX, publish("matrix")), "CALENDAR_UNKNOWN")
    assert "claim-settlement" in refused(judged(CLAIM, publish("definition")), "MATRIX_UNKNOWN")
    alone = registry_of(
        document("calendar"), persons={"olga": ("operator",), "omar": ("operator",)}
    )
    assert "role" in refused(judged(MATRIX, publish("matrix"), TWO, alone), "ROLE_EMPTY")
    stray = register("triage-1", owner="nobody")
    refused(judged("agent/triage-1", stray, ONE), "OWNER_UNKNOWN")
    accepted(judged("agent/triage-1", register("triage-1"), ONE), control.AgentRegistered)


def test_a_document_that_is_not_proven_does_not_come_into_force() -> None:
    broken: Any = publish("definition")
    spec = broken.document.spec.model_copy(update={"start": "nowhere"})
    wrong = broken.model_copy(
        update={"document": broken.document.model_copy(update={"spec": spec})}
    )
    desk = registry_of(document("matrix"), base=DESK)
    refused(judged(CLAIM, wrong, ONE, desk), "MACHINE_START")


AGENT = register("triage-1").card
WORKING = registry_of(agents={"triage-1": AGENT}, base=people())


def after(registry: Registry, story: Given[Admission]) -> Registry:
    """The registry with what was just accepted."""
    (fact,) = story.said.registry
    envelope = Envelope("", "", fact.TYPE, fact.VERSION)  # type: ignore[attr-defined]
    return advance(registry, Event(story.key, envelope, fact), registry.position + 1)


def test_an_agent_is_quarantined_until_a_person_releases_it() -> None:
    stop = wish(control.QuarantineAgent, agent_id="triage-1", reason="odd results")
    free = wish(control.ReleaseAgent, agent_id="triage-1", reason="mended")
    key = "agent/triage-1"
    judged(key, free, ONE, WORKING).then_nothing()
    story = judged(key, stop, ONE, WORKING)
    accepted(story, control.AgentQuarantined)
    held = after(WORKING, story)
    judged(key, stop, ONE, held).then_nothing()
    # Registered anew it stays where it is.
    other = judged(key, register("triage-1", skill="t"), ONE, held)
    assert "triage-1" in after(held, other).quarantined
    story = judged(key, free, ONE, held)
    accepted(story, control.AgentReleased)
    assert after(held, story).quarantined == {}
    for unknown in (stop, free):
        refused(judged(key, unknown, ONE), "AGENT_UNKNOWN")


def test_a_namespace_is_halted_once_and_resumed_once() -> None:
    halt = wish(control.HaltNamespace, reason="stop")
    resume = wish(control.ResumeNamespace, reason="go")
    key = "namespace/test"
    judged(key, resume, ONE).then_nothing()
    story = judged(key, halt, ONE)
    accepted(story, control.NamespaceHalted)
    halted = after(people(), story)
    judged(key, halt, ONE, halted).then_nothing()
    story = judged(key, resume, ONE, halted)
    accepted(story, control.NamespaceResumed)
    assert not after(halted, story).is_halted


def test_a_faulted_case_is_redriven() -> None:
    again = wish(control.RedriveCase, case_id="c-1", reason="fixed")
    accepted(judged("case/c-1", again, ONE), control.CaseRedriven)


def test_the_contract_level_rises_as_far_as_this_code_knows_and_never_falls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(levels.SINCE, ("case.noted", 1), 2)
    refused(judged("namespace/test", wish(control.RaiseContractLevel, level=3)), "LEVEL_UNKNOWN")
    up, same = (wish(control.RaiseContractLevel, level=level) for level in (2, 1))
    story = judged("namespace/test", up, ONE)
    accepted(story, control.ContractRaised)
    judged("namespace/test", same, ONE).then_nothing()
    raised = after(people(), story)
    refused(judged("namespace/test", same, ONE, raised), "VERSION_CONFLICT")


@pytest.mark.parametrize(
    ("key", "data"),
    [
        ("calendar/other", publish("calendar")),
        ("matrix/claim-settlement", publish("calendar")),
        ("agent/other", register("triage-1")),
        ("person/other", appoint("bob", "legal")),
        ("case/c-2", wish(control.RedriveCase, case_id="c-1", reason="fixed")),
        ("namespace/other", wish(control.HaltNamespace, reason="stop")),
    ],
)
def test_the_key_of_a_record_is_kind_and_name(key: str, data: Any) -> None:
    refused(judged(key, data), "KEY_FORMAT")


def test_a_wish_counts_in_its_namespace_and_time_alone() -> None:
    far = wish(control.HaltNamespace, reason="stop", namespace="prod")
    refused(judged("namespace/test", far), "NAMESPACE_MISMATCH")
    old = wish(control.HaltNamespace, reason="stop", expires_at="2026-03-02T13:59:59Z")
    refused(judged("namespace/test", old), "EXPIRED")


def test_a_wish_leaves_no_trace_among_admissions() -> None:
    story = judged(CALENDAR, publish("calendar"))
    assert story.state is None
    story.when(submit(), actor=PORTAL)
