"""The clerk of these tests: the shipped documents, operators, and wishes in their usual form."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from caseway.contracts import control
from caseway.contracts.control import AgentCard, PersonCard
from caseway.contracts.envelope import Strength
from caseway.contracts.fields import JsonObject
from caseway.contracts.submission import AmendCase, SubmitCase, WithdrawCase
from caseway.kernel.processor import Actor
from caseway.kernel.registry import Registry
from caseway.testing import NAMESPACE, Given, registry_of
from caseway_control.documents import load_document
from caseway_intake.service import CARD
from caseway_intake.state import Admission

EXPIRES = "2027-01-01T00:00:00Z"
PORTAL = Actor("submitter:portal", Strength.UNVERIFIED)
KEY = "ed25519:" + "B" * 43 + "="
APPROVERS = (
    "senior-adjuster",
    "claims-manager",
    "vp-claims",
    "chief-claims-officer",
    "ceo",
    "legal",
    "special-investigations-unit",
)
FACTS: JsonObject = {
    "claimant": "person-9f86d081884c7d65",
    "payee": "person-60303ae22b998861",
    "amount": {"amount": "75000.00", "currency": "USD"},
    "incident_kind": "collision",
}


def document(name: str) -> Any:
    path = files("caseway_control") / "data" / "insurance" / f"{name}.yaml"
    return load_document(path.read_text(encoding="utf-8"), path.name)


@cache
def people() -> Registry:
    """Two operators and somebody for every role; nothing is published yet."""
    persons: dict[str, tuple[str, ...]] = {
        "olga": ("operator",),
        "omar": ("operator",),
        "ann": APPROVERS,
    }
    return registry_of(persons=persons)


@cache
def published() -> Registry:
    names = ("calendar", "matrix", "definition")
    return registry_of(*(document(name) for name in names), base=people())


def given(registry: Registry | None = None) -> Given[Admission]:
    return Given(CARD, registry or published())


def signed(*signers: str) -> Actor:
    kind = signers[0].partition(":")[0]
    strength = Strength.AGENT_SIGNED if kind == "agent" else Strength.PERSON_SIGNED
    return Actor(signers[0], strength, signers)


OLGA, OMAR = "person:olga", "person:omar"
ONE, TWO = signed(OLGA), signed(OLGA, OMAR)


def submit(**changes: Any) -> SubmitCase:
    fields: dict[str, Any] = {
        "namespace": NAMESPACE,
        "definition": "insurance-claim",
        "source": "portal",
        "key": "PC-1017",
        "facts": FACTS,
    }
    return SubmitCase(**{**fields, **changes})


def with_facts(**changes: Any) -> SubmitCase:
    """The usual submission with some facts changed; None takes one away."""
    facts = {name: value for name, value in {**FACTS, **changes}.items() if value is not None}
    return submit(facts=facts)


def amend(changes: JsonObject, **fields: Any) -> AmendCase:
    bound = {"namespace": NAMESPACE, "source": "portal", "key": "PC-1017", "reason": "corrected"}
    return AmendCase(**{**bound, "changes": changes, **fields})


def withdraw(**fields: Any) -> WithdrawCase:
    bound = {"namespace": NAMESPACE, "source": "portal", "key": "PC-1017", "reason": "settled"}
    return WithdrawCase(**{**bound, **fields})


def wish(model: Any, **fields: Any) -> Any:
    return model(**{"namespace": NAMESPACE, "expires_at": EXPIRES, **fields})


def publish(name: str, replaces: int = 0, **metadata: Any) -> Any:
    """A wish to publish a shipped document, with other metadata where asked for."""
    whole = document(name)
    if metadata:
        changed = whole.metadata.model_copy(update=metadata)
        whole = whole.model_copy(update={"metadata": changed})
    model = {
        "calendar": control.PublishCalendar,
        "matrix": control.PublishMatrix,
        "definition": control.PublishDefinition,
    }[name]
    return wish(model, replaces=replaces, document=whole)


def appoint(person: str, *roles: str) -> control.AppointPerson:
    card = PersonCard(person_id=person, roles=roles, public_key=KEY)
    made: control.AppointPerson = wish(control.AppointPerson, card=card)
    return made


def register(agent: str, owner: str = "ann", skill: str = "s") -> control.RegisterAgent:
    card = AgentCard(agent_id=agent, owner=owner, pool="p", skills=(skill,), public_key=KEY)
    made: control.RegisterAgent = wish(control.RegisterAgent, card=card)
    return made
