"""Whole claims through all four services: who decides, what is paid, and what the logs prove."""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Any

import pytest

from caseway.contracts.case import (
    CaseClosed,
    EffectDoubted,
    EffectPermitted,
    GateConsumed,
    GateVoided,
    ReportRefused,
    TaskCompleted,
    TaskEscalated,
    TaskGranted,
)
from caseway.contracts.control import AgentCard
from caseway.contracts.deadline import SlaBreached, TimerFired, TimersUpdated, TimerWarned
from caseway.contracts.decision import (
    Choice,
    DecisionEndorsed,
    DecisionRefused,
    GateDecided,
    GateEscalated,
    GateOpened,
)
from caseway.contracts.submission import CaseAdmitted, SubmissionRefused
from caseway.kernel.registry import Registry
from caseway.testing import registry_of
from caseway_control.documents import load_document

from .city import Bank, City, absent, gives, pays, silent

PEOPLE = {
    "sam": ("senior-adjuster",),
    "cid": ("claims-manager",),
    "vera": ("vp-claims",),
    "otto": ("chief-claims-officer",),
    "cleo": ("ceo",),
    "lea": ("legal",),
    "sue": ("special-investigations-unit",),
    "dora": ("claims-desk",),
    "pat": ("payments-desk",),
    "olga": ("operator",),
}
KEY = "ed25519:" + "A" * 43 + "="
AGENTS = {
    "triage-1": ("claims", "claim-triage"),
    "assessor-1": ("claims", "claim-assessment"),
    "settler-1": ("claims", "claim-settlement"),
    "cashier-1": ("payments", "claim-payment"),
}
HOUR, DAY = 3600, 86_400
PAYEE = "person-aaaabbbbccccdddd"


@cache
def registry() -> Registry:
    folder = files("caseway_control") / "data" / "insurance"
    documents: list[Any] = [
        load_document((folder / f"{name}.yaml").read_text(encoding="utf-8"), name)
        for name in ("calendar", "matrix", "definition")
    ]
    cards = {
        name: AgentCard(agent_id=name, owner="olga", pool=pool, skills=(skill,), public_key=KEY)
        for name, (pool, skill) in AGENTS.items()
    }
    return registry_of(*documents, persons=PEOPLE, agents=cards)


def city(**changes: Any) -> City:
    made = City(registry(), changes.pop("bank", None))
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def check(told: City) -> City:
    """What holds of every story once it has come to rest."""
    assert told.digests() == told.refolded()
    assert told.case.is_closed
    permitted = Counter(event.effect_id for event in told.all(EffectPermitted))
    assert all(count == 1 for count in permitted.values())
    assert set(told.bank.paid) <= set(permitted)
    decided = Counter((event.gate_id, event.revision) for event in told.all(GateDecided))
    assert all(count == 1 for count in decided.values())
    tokens = [event.token for event in told.all(TaskGranted)]
    assert tokens == sorted(set(tokens))
    check_timers(told)
    return told


def check_timers(told: City) -> None:
    """Every timer that was set has ended, exactly once, and none before its time."""
    open_: dict[str, Any] = {}
    for event in told.events("deadlines"):
        if isinstance(event, TimersUpdated):
            for name in event.cancelled:
                del open_[name]
            open_ |= {timer.timer_id: timer.due_at for timer in event.armed}
        elif isinstance(event, TimerFired | SlaBreached):
            assert event.detected_at >= open_.pop(event.timer_id)
        else:
            assert isinstance(event, TimerWarned)
    assert not open_


def paid(told: City, amount: str) -> None:
    assert told.case.outcome == "paid"
    assert [each[0] for each in check(told).bank.paid.values()] == [amount]


def test_a_claim_of_75000_is_decided_by_a_claims_manager_and_paid_once() -> None:
    told = city().submit("75000.00")
    paid(told, "75000.00")
    (gate,) = told.all(GateDecided)
    assert (gate.by, gate.roles, gate.row) == (("person:cid",), ("claims-manager",), "large")
    assert [event.holder for event in told.all(TaskCompleted)] == [
        f"agent:{name}" for name in AGENTS
    ]
    told.submit("75000.00")
    assert len(told.all(CaseAdmitted)) == 1
    assert told.bank.requests == 1


BOUNDARIES = {
    "0.00": ("auto", "system"),
    "4999.99": ("auto", "system"),
    "5000.00": ("standard", "senior-adjuster"),
    "24999.99": ("standard", "senior-adjuster"),
    "25000.00": ("large", "claims-manager"),
    "99999.99": ("large", "claims-manager"),
    "100000.00": ("major", "vp-claims"),
    "500000.00": ("major", "vp-claims"),
    "500000.01": ("catastrophic", "chief-claims-officer"),
}


@pytest.mark.parametrize(("amount", "row"), BOUNDARIES.items())
def test_every_amount_reaches_the_role_of_its_row(amount: str, row: tuple[str, str]) -> None:
    told = city().submit(amount)
    paid(told, amount)
    (gate,) = told.all(GateDecided)
    assert (gate.row, *gate.roles) == row


@pytest.mark.parametrize(("amount", "row"), list(BOUNDARIES.items())[2:])
def test_nobody_of_another_role_decides_it(amount: str, row: tuple[str, str]) -> None:
    told = city(approver=absent).submit(amount)
    codes = {"olga": "SELF_APPROVAL"}  # the agents are hers
    for person, (role,) in PEOPLE.items():
        if role != row[1]:
            told.decide(person)
            assert told.last(DecisionRefused).code == codes.get(person, "AUTHORITY")
    assert not told.all(GateDecided)
    assert not told.case.is_closed
    assert told.digests() == told.refolded()


@pytest.mark.parametrize("amount", ["100.00", "75000.00", "600000.00"])
@pytest.mark.parametrize("by", ["submitter", "agent"])
def test_a_sign_of_fraud_outranks_every_amount(amount: str, by: str) -> None:
    told = city()
    told.agents["claim-triage"] = gives({"line": "motor", "fraud_suspected": by == "agent"})
    paid(told.submit(amount, fraud_reported=by == "submitter"), amount)
    (gate,) = told.all(GateDecided)
    assert (gate.row, gate.by) == ("fraud-referral", ("person:sue",))


def test_a_refused_submission_opens_nothing() -> None:
    told = city().submit("75,000")
    assert told.last(SubmissionRefused).code == "AMOUNT_FORMAT"
    assert not told.all(CaseAdmitted)


def test_a_rejected_claim_is_declined_and_nothing_is_paid() -> None:
    told = city(approver=absent).submit("75000.00").decide("cid", Choice.REJECT, "not covered")
    assert check(told).case.outcome == "declined"
    assert not told.bank.requests


def test_a_claim_that_is_sent_back_is_assessed_and_decided_again() -> None:
    told = city(approver=absent).submit("75000.00")
    told.decide("cid", Choice.SEND_BACK, "which garage?").decide("cid")
    assert [gate.gate_id for gate in told.all(GateOpened)] == ["authority-4", "authority-7"]
    paid(told, "75000.00")


def test_a_withdrawal_before_the_decision_ends_it_and_a_late_decision_is_refused() -> None:
    told = city(approver=absent).submit("75000.00").withdraw()
    assert check(told).last(CaseClosed).outcome == "withdrawn"
    told.decide("cid")
    assert told.last(DecisionRefused).code == "GATE_RETIRED"
    assert not told.bank.requests


def test_an_amended_payee_is_decided_again_and_paid_alone() -> None:
    told = city(approver=absent).submit("75000.00").amend(payee=PAYEE)
    assert [event.revision for event in told.all(GateVoided)] == [1]
    paid(told.decide("cid"), "75000.00")
    assert [event.revision for event in told.all(GateConsumed)] == [2]
    assert [payee for _, payee in told.bank.paid.values()] == [PAYEE]


def test_an_amended_amount_is_worked_on_and_decided_by_its_new_row() -> None:
    told = city(approver=absent).submit("75000.00")
    told.amend(amount={"amount": "120000.00", "currency": "USD"}).decide("vera")
    paid(told, "120000.00")
    assert [gate.row for gate in told.all(GateOpened)] == ["large", "major"]


def test_a_payee_amended_between_approval_and_payment_is_approved_again() -> None:
    told = city()
    told.agents["claim-payment"] = silent
    told.submit("75000.00")
    told.agents["claim-payment"] = pays
    paid(told.amend(payee=PAYEE), "75000.00")
    assert len(told.all(GateDecided)) == 2
    assert [payee for _, payee in told.bank.paid.values()] == [PAYEE]


def test_an_agent_that_never_answers_leaves_its_work_to_a_person() -> None:
    told = city()
    told.agents["claim-settlement"] = silent
    told.submit("75000.00").wait(10 * 60)
    assert told.last(TaskEscalated).queue == "claims-desk"
    assert len(told.case.tasks["settle"].ended) == 3
    told.works("dora", {"settlement": {"amount": "70000.00", "currency": "USD"}})
    paid(told, "70000.00")
    assert "person:dora" in told.last(GateOpened).preparers


def test_a_bank_that_does_not_answer_is_asked_and_pays_once() -> None:
    told = city(bank=Bank(timeouts=1)).submit("75000.00")
    paid(told, "75000.00")
    assert len(told.all(EffectDoubted)) == 1
    assert told.bank.requests == 1


def test_a_cashier_that_dies_after_the_permit_is_asked_about_and_pays_once() -> None:
    told = city(bank=Bank(deaths=1)).submit("75000.00")
    assert not told.case.is_closed
    paid(told.wait(61), "75000.00")
    assert told.last(EffectDoubted).reason == "no report in time"


def test_a_missed_promise_raises_the_gate_to_the_vice_president() -> None:
    told = city(approver=absent).submit("75000.00").wait(48 * HOUR - 1)
    assert told.all(TimerWarned)
    assert not told.all(GateEscalated)
    told.wait(1)
    assert told.last(GateEscalated).roles == ("vp-claims",)
    told.decide("cid")
    assert told.last(DecisionRefused).code == "AUTHORITY"
    paid(told.decide("vera"), "75000.00")
    assert told.last(GateDecided).level == 1


def test_beyond_the_top_the_chief_executive_and_legal_decide_together() -> None:
    told = city(approver=absent).submit("600000.00").wait(7 * DAY)
    assert told.last(GateEscalated).roles == ("ceo", "legal")
    told.decide("cleo")
    assert told.last(DecisionEndorsed).outstanding == ("legal",)
    assert not told.all(GateDecided)
    told.decide("cleo")
    paid(told.decide("lea"), "600000.00")
    assert set(told.last(GateDecided).by) == {"person:cleo", "person:lea"}


def test_a_queue_that_waits_for_documents_goes_up_when_its_promise_is_missed() -> None:
    told = city()
    honest = told.agents["claim-assessment"]
    told.agents["claim-assessment"] = gives({"severity": "minor", "evidence_complete": False})
    told.submit("75000.00").wait(72 * HOUR)
    assert told.last(TaskEscalated).queue == "claims-manager"
    told.agents["claim-assessment"] = honest
    told.works("cid", {"evidence": []})
    # Who prepared it does not decide it: the manager asked for the papers, and the gate waits.
    assert told.last(DecisionRefused).code == "SELF_APPROVAL"
    told.wait(48 * HOUR)
    paid(told.decide("vera"), "75000.00")


def test_an_agent_that_reports_twice_is_refused_and_changes_nothing() -> None:
    told = city()
    honest = told.agents["claim-triage"]
    told.agents["claim-triage"] = lambda town, offer: honest(town, offer) * 3
    paid(told.submit("75000.00"), "75000.00")
    assert {event.code for event in told.all(ReportRefused)} <= {"ALREADY_COMPLETED", "CASE_CLOSED"}
    assert len(told.all(ReportRefused)) == 2
