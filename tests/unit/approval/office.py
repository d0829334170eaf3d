"""The office of these tests: the shipped insurance matrix, its people, and what they write."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from caseway.contracts.case import GateRequested
from caseway.contracts.deadline import SlaBreached
from caseway.contracts.decision import AskAboutGate, Choice, DecideGate, DelegateGate
from caseway.contracts.fields import Instant
from caseway.contracts.money import Money
from caseway.contracts.record import instant_of
from caseway.kernel.registry import Registry
from caseway.testing import NAMESPACE, Given, registry_of
from caseway_approval.service import CARD
from caseway_approval.state import Bench, Gate, Gates
from caseway_control.documents import load_document

GATE = "settle-1"
DIGEST, OTHER_DIGEST = "a" * 64, "b" * 64
EXPIRES = "2027-01-01T00:00:00Z"
PEOPLE = {
    "ann": ("senior-adjuster",),
    "bob": ("senior-adjuster",),
    "cid": ("claims-manager",),
    "cora": ("claims-manager",),
    "vera": ("vp-claims",),
    "otto": ("chief-claims-officer",),
    "cleo": ("ceo",),
    "lea": ("legal",),
    "leo": ("legal",),
    "sue": ("special-investigations-unit",),
    "zoe": ("claims-clerk",),
}


def document(name: str) -> Any:
    path = files("caseway_control") / "data" / "insurance" / f"{name}.yaml"
    return load_document(path.read_text(encoding="utf-8"), path.name)


@cache
def office() -> Registry:
    """Matrix, calendar and people in force; ann owns the agent triage-1."""
    return registry_of(
        document("calendar"), document("matrix"), persons=PEOPLE, agents={"triage-1": "ann"}
    )


def given(registry: Registry | None = None) -> Given[Gates]:
    return Given(CARD, registry or office())


def asked(
    amount: str = "75000.00", *flags: str, currency: str = "USD", **changes: Any
) -> GateRequested:
    fields: dict[str, Any] = {
        "gate_id": GATE,
        "revision": 1,
        "phase": "settle",
        "matrix": "claim-settlement",
        "amount": Money(amount=amount, currency=currency),
        "flags": flags,
        "material": {"amount": amount},
        "shows": {},
        "digest": DIGEST,
        "preparers": ("agent:triage-1",),
        "requester": "submitter:portal",
    }
    return GateRequested(**{**fields, **changes})


def opened(amount: str = "75000.00", *flags: str, **changes: Any) -> Given[Gates]:
    """A case whose gate was just asked for, under the office's registry."""
    return given().when(asked(amount, *flags, **changes))


def decide(choice: Choice = Choice.APPROVE, reason: str = "", **changes: Any) -> DecideGate:
    fields = _bound() | {"digest": DIGEST, "choice": choice, "reason": reason}
    return DecideGate(**{**fields, **changes})


def hand_to(person: str, **changes: Any) -> DelegateGate:
    return DelegateGate(**{**_bound(), "to": person, "reason": "on leave", **changes})


def question(text: str = "Which policy?", **changes: Any) -> AskAboutGate:
    return AskAboutGate(**{**_bound(), "question": text, **changes})


def breach(story: Given[Gates], **changes: Any) -> SlaBreached:
    """The breach of the timer that is open now, seen when the story stands."""
    now: Instant = instant_of(story.at_ms)
    fields: dict[str, Any] = {
        "timer_id": bench_of(story).timer_id,
        "about": GATE,
        "breached_at": now,
        "detected_at": now,
        "requester": "approvals",
    }
    return SlaBreached(**{**fields, **changes})


def breached(story: Given[Gates], times: int = 1) -> Given[Gates]:
    for _ in range(times):
        story = story.when(breach(story))
    return story


def gate_of(story: Given[Gates]) -> Gate:
    assert story.state is not None
    return story.state.gates[GATE]


def bench_of(story: Given[Gates]) -> Bench:
    bench = gate_of(story).bench
    assert bench is not None
    return bench


def appointed(registry: Registry, **people: tuple[str, ...]) -> Registry:
    return registry_of(persons=people, base=registry)


def without(registry: Registry, *people: str) -> Registry:
    left = {name: card for name, card in registry.persons.items() if name not in people}
    return replace(registry, persons=left)


def _bound() -> dict[str, Any]:
    return {"namespace": NAMESPACE, "gate_id": GATE, "revision": 1, "expires_at": EXPIRES}
