"""Who lives in the simulated city, their keys, and the namespace as it was founded; made once.

The registry that every seed begins with is the same bytes for the same number of shards, so its
compiled views are shared by all seeds of a process.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from caseway.contracts import control, topics
from caseway.contracts.codec import Event, decode, encode
from caseway.contracts.control import AgentCard, PersonCard
from caseway.contracts.envelope import Envelope, Strength
from caseway.contracts.fields import Contract, Pin
from caseway.contracts.record import Draft, Record
from caseway.contracts.shard import ShardGenesis
from caseway.contracts.signing import SigningKey
from caseway.kernel.digests import digest_of
from caseway.kernel.registry import Registry, advance
from caseway_control.documents import load_document

NAMESPACE, GENERATION = "sim", "g-sim"
# One is shipped. The other, beside this file, has two tasks at a time, and a flag that no task
# reads.
DEFINITIONS, CURRENCY = ("insurance-claim", "broker-claim"), "USD"
POOLS = ("claims", "payments")
# Two agents for every skill, so that work moves on, is stolen and is raced for.
AGENTS: dict[str, tuple[str, str]] = {
    f"{name}-{number}": (pool, skill)
    for name, pool, skill in (
        ("triage", "claims", "claim-triage"),
        ("assessor", "claims", "claim-assessment"),
        ("settler", "claims", "claim-settlement"),
        ("cashier", "payments", "claim-payment"),
    )
    for number in (1, 2)
}
# Two for every role, so that they may race and one may fall away; mallory and olga decide nothing.
# Whoever prepares may also decide elsewhere, each joint rung has one who holds both of its roles,
# and the agents' owner decides too: only the rules that keep people apart stand between.
PEOPLE: dict[str, tuple[str, ...]] = {
    "adam": ("senior-adjuster",),
    "anna": ("senior-adjuster",),
    "carl": ("claims-manager",),
    "cora": ("claims-manager",),
    "vera": ("vp-claims", "legal"),
    "vito": ("vp-claims",),
    "otto": ("chief-claims-officer",),
    "olav": ("chief-claims-officer",),
    "cleo": ("ceo", "legal"),
    "lea": ("legal",),
    "leon": ("legal",),
    "sue": ("special-investigations-unit",),
    "sid": ("special-investigations-unit",),
    "dora": ("claims-desk", "senior-adjuster"),
    "dirk": ("claims-desk",),
    "pat": ("payments-desk",),
    "paul": ("payments-desk",),
    "mallory": ("intern",),
    "olga": ("operator",),
}
OWNER = "carl"
LOGS = (
    ("intake", topics.REGISTRY),
    ("intake", topics.INTAKE),
    ("router", topics.CASES),
    ("approval", topics.APPROVALS),
    ("sla_watchdog", topics.DEADLINES),
    ("audit", topics.AUDIT),
)


class Founding(NamedTuple):
    """The drafts of a namespace's beginning, and the registry after each of its records."""

    genesis: tuple[tuple[str, int, Draft], ...]  # service, shard, draft
    registry: tuple[Draft, ...]
    views: tuple[tuple[Event, Registry], ...]


@cache
def key_of(key_id: str) -> SigningKey:
    """The key of a root, a person, an agent or the sealer; the same in every run."""
    return SigningKey(key_id, hashlib.sha256(f"simulated {key_id}".encode()).digest())


def card_of(person: str, roles: tuple[str, ...]) -> PersonCard:
    """A person with these roles."""
    public = key_of(f"person:{person}").public_text
    return PersonCard(person_id=person, roles=roles, public_key=public)


@cache
def founding(shards: int) -> Founding:
    """Everything that lies on the logs before the first case."""
    genesis = ShardGenesis(
        namespace=NAMESPACE,
        generation=GENERATION,
        shards=shards,
        root_keys=(key_of("root:1").public_text, key_of("root:2").public_text),
        checkpoint_key=key_of("checkpoint:1").public_text,
    )
    begun = tuple(
        (service, partition, _said(topic.name, partition, "genesis", genesis))
        for service, topic in LOGS
        for partition in range(topic.partitions(shards))
    )
    registry = tuple(_said("registry", 0, key, fact) for key, fact in _facts())
    return Founding(begun, registry, tuple(_views(begun[0][2], registry)))


def _facts() -> list[tuple[str, Contract]]:
    facts: list[tuple[str, Contract]] = [
        (f"person/{name}", control.PersonAppointed(card=card_of(name, roles), signers=()))
        for name, roles in PEOPLE.items()
    ]
    folder = files("caseway_control") / "data" / "insurance"
    for name in ("calendar", "matrix", "definition"):
        document = load_document((folder / f"{name}.yaml").read_text(encoding="utf-8"), name)
        facts.append((f"{name}/{document.metadata.name}", _published(document)))
    broker = Path(__file__).with_name("broker_claim.yaml").read_text(encoding="utf-8")
    facts.append((f"definition/{DEFINITIONS[1]}", _published(load_document(broker, "definition"))))
    for name, (pool, skill) in AGENTS.items():
        card = AgentCard(
            agent_id=name,
            owner=OWNER,
            pool=pool,
            skills=(skill,),
            public_key=key_of(f"agent:{name}").public_text,
        )
        facts.append((f"agent/{name}", control.AgentRegistered(card=card, signers=())))
    return facts


def _published(document: Any) -> Contract:
    metadata = document.metadata
    pin = Pin(name=metadata.name, version=metadata.version, digest=digest_of(document))
    model: Any = {
        "ProcessDefinition": control.DefinitionPublished,
        "AuthorityMatrix": control.MatrixPublished,
        "Calendar": control.CalendarPublished,
    }[document.kind]
    signers = ("root:1", "root:2")
    published: Contract = model(pin=pin, document=document, signers=signers)
    return published


def _said(topic: str, partition: int, key: str, data: Contract) -> Draft:
    name, version = data.TYPE, data.VERSION  # type: ignore[attr-defined]
    envelope = Envelope(
        f"{topic}-{partition}-{key}",
        f"/{NAMESPACE}/control",
        name,
        version,
        actor="system:control",
        strength=Strength.SYSTEM,
    )
    return encode(topic, partition, Event(key, envelope, data))


def _views(genesis: Draft, drafts: tuple[Draft, ...]) -> list[tuple[Event, Registry]]:
    views: list[tuple[Event, Registry]] = []
    registry = Registry()
    # The genesis and the facts are one transaction, so their offsets follow each other.
    for offset, draft in enumerate((genesis, *drafts)):
        record = Record(*draft[:2], offset, 0, *draft[2:])
        event = decode(record, is_sole_writer=True)
        registry = advance(registry, event, offset + 1)
        views.append((event, registry))
    return views
