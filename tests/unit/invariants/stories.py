"""Real stories by name: every way through a claim that the invariants speak of."""

from __future__ import annotations

from collections.abc import Callable

from caseway.contracts import topics
from caseway.contracts.decision import Choice, DelegateGate, GateDelegated, GateOpened
from caseway.testing import NAMESPACE, registry_of

from ..story.city import EXPIRES, Bank, City, absent, gives, pays, person_of, silent
from ..story.test_claims import DAY, HOUR, PAYEE, city, registry
from .histories import History, history_of


def _waiting() -> City:
    return city(approver=absent).submit("75000.00")


def _queued() -> City:
    told = city()
    told.agents["claim-settlement"] = silent
    return told.submit("75000.00").wait(600)


def _delegated() -> City:
    told = City(registry_of(base=registry(), persons={"cora": ("claims-manager",)}))
    told.approver = absent
    told.submit("75000.00")
    return _hand(told, "cid", "cora").decide("cora")


def _both_handed() -> City:
    """One holds both roles of a joint rung, and hands each to another; found by the simulator."""
    told = City(registry_of(base=registry(), persons={"ella": ("ceo", "legal")}))
    told.approver = absent
    told.submit("600000.00").wait(7 * DAY)
    _hand(_hand(told, "ella", "cleo"), "ella", "lea")
    assert len(told.all(GateDelegated)) == 2
    return told.decide("cleo").decide("lea")


def _hand(told: City, giver: str, taker: str) -> City:
    gate = told.last(GateOpened)
    wish = DelegateGate(
        namespace=NAMESPACE,
        gate_id=gate.gate_id,
        revision=gate.revision,
        to=taker,
        expires_at=EXPIRES,
    )
    return told.post(topics.DECISIONS.name, wish, person_of(giver))


def _paid_late() -> City:
    told = city()
    told.agents["claim-payment"] = silent
    told.submit("75000.00")
    told.agents["claim-payment"] = pays
    return told.amend(payee=PAYEE)


def _unpaid() -> City:
    told = city()
    told.agents["claim-payment"] = silent
    return told.submit("75000.00")


def _repeated() -> City:
    told = city()
    honest = told.agents["claim-triage"]
    told.agents["claim-triage"] = lambda town, offer: honest(town, offer) * 3
    return told.submit("75000.00")


def _documents() -> City:
    told = city()
    told.agents["claim-assessment"] = gives({"severity": "minor", "evidence_complete": False})
    return told.submit("75000.00").wait(72 * HOUR)


STORIES: dict[str, Callable[[], City]] = {
    "paid": lambda: city().submit("75000.00"),
    "auto": lambda: city().submit("100.00"),
    "boundary": lambda: city().submit("25000.00"),
    "fraud": lambda: city().submit("100.00", fraud_reported=True),
    "refused": lambda: city().submit("75,000"),
    "waiting": _waiting,
    "rejected": lambda: _waiting().decide("cid", Choice.REJECT, "not covered"),
    "sent back": lambda: _waiting().decide("cid", Choice.SEND_BACK, "which?").decide("cid"),
    "withdrawn": lambda: _waiting().withdraw(),
    "amended": lambda: _waiting().amend(payee=PAYEE).decide("cid"),
    "amended late": _paid_late,
    "unpaid": _unpaid,
    "queued": _queued,
    "worked": lambda: _queued().works(
        "dora", {"settlement": {"amount": "70000.00", "currency": "USD"}}
    ),
    "documents": _documents,
    "doubted": lambda: city(bank=Bank(timeouts=1)).submit("75000.00"),
    "in doubt": lambda: city(bank=Bank(deaths=1)).submit("75000.00"),
    "reconciled": lambda: city(bank=Bank(deaths=1)).submit("75000.00").wait(61),
    "escalated": lambda: _waiting().wait(48 * HOUR),
    "decided above": lambda: _waiting().wait(48 * HOUR).decide("cid").decide("vera"),
    "overdue": lambda: _waiting().wait(9 * DAY),
    "joint": lambda: (
        city(approver=absent).submit("600000.00").wait(7 * DAY).decide("cleo").decide("lea")
    ),
    "delegated": _delegated,
    "both handed": _both_handed,
    "repeated": _repeated,
}


def told(name: str) -> History:
    """The history of a story, fresh, so that it may be forged."""
    return history_of(STORIES[name]())
