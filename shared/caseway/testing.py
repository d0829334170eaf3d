"""Given events, when a record comes, then these events: tests of a service without a broker.

    Given(CARD, registry).events("c-1", GateOpened(…)).when(DecideGate(…), …).then(GateDecided(…))

Every step is also put through what the host does to it. The record and what was said travel as
bytes through the codec; the state is folded from the decoded events and written down as a
snapshot would be; the decision is made twice, because it may depend on nothing else. So a test
that passes here can't fail there for one of these reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeVar

from caseway.contracts import control, topics
from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import Event, decode, encode
from caseway.contracts.control import AgentCard, PersonCard
from caseway.contracts.envelope import Envelope, Strength
from caseway.contracts.fields import Contract, Pin, format_instant
from caseway.contracts.record import Draft, Record, instant_of, millis_of
from caseway.contracts.topics import TopicKind
from caseway.kernel.digests import digest_of
from caseway.kernel.emission import Cause, Emitter
from caseway.kernel.entities import Entity, StateCodec
from caseway.kernel.identity import coordinates
from caseway.kernel.processor import NOTHING, Actor, Card, Delivery, Offer, Step
from caseway.kernel.registry import Registry, advance

S = TypeVar("S")

NAMESPACE = "test"
# A Monday, 09:00 in New York: business days count from here as one expects.
START = "2026-03-02T14:00:00Z"
_KEY = "ed25519:" + "A" * 43 + "="  # has the form of a public key; nothing is verified here
_STRENGTHS = {
    "person": Strength.PERSON_SIGNED,
    "agent": Strength.AGENT_SIGNED,
    "system": Strength.SYSTEM,
}


def registry_of(
    *documents: Any,
    persons: Mapping[str, tuple[str, ...]] | None = None,
    agents: Mapping[str, AgentCard | str] | None = None,
    base: Registry | None = None,
) -> Registry:
    """A registry in which these are in force, folded as the real one is; `base` goes first.

    Documents are definitions, matrices and calendars; `persons` are their roles by id; `agents`
    their cards by id, or the id of their owner where the rest of the card does not matter.
    """
    made = base or Registry(namespace=NAMESPACE, generation="g1")
    facts: list[Contract] = [_published(document) for document in documents]
    for name, roles in (persons or {}).items():
        person = PersonCard(person_id=name, roles=roles, public_key=_KEY)
        facts.append(control.PersonAppointed(card=person, signers=()))
    for name, agent in (agents or {}).items():
        card = agent if isinstance(agent, AgentCard) else _agent(name, agent)
        facts.append(control.AgentRegistered(card=card, signers=()))
    for fact in facts:
        made = advance(made, _registry_event(fact), made.position + 1)
    return made


@dataclass(frozen=True)
class Given(Generic[S]):
    """One case of one service; immutable, so a story can be told on from any of its points.

    `key` is the case that records are about; `said` what the last record led to; `history` every
    event of the case so far. `at_ms` never falls: a record without a time comes at the last one.
    """

    card: Card[S]
    registry: Registry = field(default_factory=registry_of)
    key: str = "c-1"
    entity: Entity[S] = field(default_factory=lambda: Entity(None))
    said: Step = NOTHING
    history: tuple[Contract, ...] = ()
    at_ms: int = millis_of(datetime.fromisoformat(START))
    steps: int = 0

    @property
    def state(self) -> S | None:
        """The state of the case now."""
        return self.entity.state

    @property
    def said_events(self) -> tuple[Contract, ...]:
        """The events that the last record led to."""
        return self.said.events

    def events(self, key: str, *data: Contract, at: str | int | None = None) -> Given[S]:
        """What the service has said of this case before."""
        earlier = replace(self, key=key, at_ms=_instant(self, at))
        return _fold(earlier, Step(data), _cause(earlier, "past"))

    def about(self, key: str) -> Given[S]:
        """The key of the records to come: a case id, or `kind/name` on `control`."""
        return replace(self, key=key)

    def under(self, registry: Registry) -> Given[S]:
        """The same case under another registry; nobody is told of the change."""
        return replace(self, registry=registry)

    def when(
        self,
        data: Contract,
        *,
        topic: str = "",
        at: str | int | None = None,
        actor: str | Actor = "",
        registry: Registry | None = None,
        event_id: str = "",
    ) -> Given[S]:
        """One record comes; a registry fact is decided on only if the card says it is touched.

        `topic` may be left out where the type travels on one topic alone. `actor` is by default
        the topic's writer; a name's kind gives its strength, unless an `Actor` says another.
        """
        place = topic or _topic_of(data)
        now = replace(self, registry=registry or self.registry, at_ms=_instant(self, at))
        delivery = _delivery(now, data, place, _actor(actor, place), event_id)
        if place == topics.REGISTRY.name:
            states = [] if now.state is None else [(now.key, now.state)]
            if now.key not in list(now.card.touched(states, delivery.event)):
                return replace(now, said=NOTHING)
        else:
            _require_heard(now.card, data, place)
        step = now.card.decide(now.state, delivery, now.registry)
        again = now.card.decide(now.state, delivery, now.registry)
        assert step == again, f"the same record was decided in two ways: {step} and {again}"
        cause = Cause.of(delivery, _kind_of(place), now.card.service)
        return _fold(now, step, cause, delivery.event.data)

    def woken(self, at: str | int) -> Given[S]:
        """The clock strikes; as in the host, nothing is asked before the state is due."""
        now = replace(self, at_ms=_instant(self, at))
        due_ms = now.card.due_ms(now.state) if now.state is not None else None
        if now.state is None or due_ms is None or due_ms > now.at_ms:
            return replace(now, said=NOTHING)
        step = now.card.wake(now.state, now.key, now.at_ms)
        assert step == now.card.wake(now.state, now.key, now.at_ms), "woken in two ways"
        return _fold(now, step, _cause(now, "wake"))

    def then(self, *data: Contract) -> Given[S]:
        """The last record led to exactly these events."""
        assert self.said.events == data, _difference(data, self.said.events)
        return self

    def then_like(self, model: type[Contract], **fields: Any) -> Given[S]:
        """The last record led to exactly one event of this type, with these fields."""
        types = tuple(type(event) for event in self.said.events)
        assert types == (model,), f"expected one {model.__name__}, found {_names(self.said.events)}"
        return self.then_holds(model, **fields)

    def then_holds(self, model: type[Contract], **fields: Any) -> Given[S]:
        """Among what the last record led to is one event of this type with these fields."""
        found = [event for event in self.said.events if isinstance(event, model)]
        assert found, f"expected {model.__name__}, found {_names(self.said.events)}"
        told = [{name: getattr(event, name) for name in fields} for event in found]
        assert fields in told, f"expected {model.__name__} with {fields}, found {told}"
        return self

    def then_nothing(self) -> Given[S]:
        """The last record changed nothing and said nothing."""
        assert self.said == NOTHING, f"expected nothing, found {self.said}"
        return self

    def then_offers(self, *offers: Offer) -> Given[S]:
        """The last record led to exactly these offers."""
        assert self.said.offers == offers, _difference(offers, self.said.offers)
        return self


# -- how the host does it -------------------------------------------------------------------------


def _instant(given: Given[Any], at: str | int | None) -> int:
    if at is None:
        return given.at_ms
    wanted = at if isinstance(at, int) else millis_of(datetime.fromisoformat(at))
    return max(wanted, given.at_ms)


def _topic_of(data: Contract) -> str:
    known = CATALOG[data.TYPE].topics  # type: ignore[attr-defined]
    assert len(known) == 1, f"say the topic: {type(data).__name__} travels on {known}"
    return known[0]


def _require_heard(card: Card[Any], data: Contract, topic: str) -> None:
    name = data.TYPE  # type: ignore[attr-defined]
    heard = any(each.topic.name == topic and name in each.hears for each in card.inputs)
    assert heard, f"{card.service} does not hear {name} on {topic}"


def _cause(given: Given[Any], place: str) -> Cause:
    actor = f"system:{given.card.service}"
    return Cause(f"g1/{place}/0/{given.steps}", given.at_ms, actor, Strength.SYSTEM)


def _delivery(
    given: Given[Any], data: Contract, topic: str, actor: Actor, event_id: str
) -> Delivery:
    envelope = Envelope(
        id=event_id or f"input-{given.steps}",
        source=f"/{NAMESPACE}/{topic}",
        type=data.TYPE,  # type: ignore[attr-defined]
        version=data.VERSION,  # type: ignore[attr-defined]
        time=format_instant(instant_of(given.at_ms)),
        actor=actor.name,
        strength=actor.strength,
    )
    kind = _kind_of(topic)
    key = _registry_key(data) if topic == topics.REGISTRY.name else given.key
    record = _record(given, encode(topic, 0, Event(key, envelope, data)))
    event = decode(record, is_sole_writer=kind is TopicKind.LOG)
    assert event.data == data, _difference((data,), (event.data,))
    return Delivery(event, topic, coordinates("g1", record), given.at_ms, actor, record.at_ms)


def _record(given: Given[Any], draft: Draft) -> Record:
    return Record(
        draft.topic,
        draft.partition,
        given.steps,
        given.at_ms,
        draft.key,
        draft.value,
        draft.headers,
    )


def _fold(given: Given[S], step: Step, cause: Cause, heard: Contract | None = None) -> Given[S]:
    """The case after a step, evolved from the bytes of its events; a heard one is guarded."""
    card, registry, entity = given.card, given.registry, given.entity
    emitter = Emitter(card, registry.namespace, 0)
    for index, data in enumerate(step.events):
        sequence, position = entity.sequence + 1, registry.position
        said = emitter.event(
            given.key,
            data,
            cause,
            index,
            sequence=sequence,
            registry_position=position,
            step=step,
        )
        (draft,) = emitter.own([said])
        read = decode(_record(given, draft), is_sole_writer=True)
        assert read == said, _difference((said,), (read,))
        if heard is not None:
            card.guard(entity.state, read, heard, registry)
        state = card.evolve(entity.state, read)
        assert state == card.evolve(entity.state, said), "bytes fold to another state"
        entity = replace(entity, state=state, sequence=sequence)
    for draft in emitter.others(given.key, step, cause, registry.position):
        decode(_record(given, draft), is_sole_writer=True)
    _write_down(card, entity)
    history = (*given.history, *step.events)
    return replace(given, entity=entity, said=step, history=history, steps=given.steps + 1)


@cache
def _codec_of(card: Card[Any]) -> StateCodec[Any]:
    return StateCodec(card)


def _write_down(card: Card[S], entity: Entity[S]) -> None:
    codec = _codec_of(card)
    raw = codec.encode(entity)
    loaded = codec.decode(raw)
    assert loaded == entity, f"a snapshot loads as another state: {loaded} for {entity}"
    assert codec.encode(loaded) == raw, "a snapshot is written in two ways"


def _kind_of(topic: str) -> TopicKind:
    for each in topics.FIXED_TOPICS:
        if each.name == topic:
            return each.kind
    raise AssertionError(f"{topic!r} is not an input of any service")


def _actor(actor: str | Actor, topic: str) -> Actor:
    if isinstance(actor, Actor):
        return actor
    if actor:
        return Actor(actor, _STRENGTHS.get(actor.partition(":")[0], Strength.UNVERIFIED))
    kind = _kind_of(topic)
    assert kind is TopicKind.LOG, f"say the actor: {topic} has many writers"
    writer = next(each.writer for each in topics.FIXED_TOPICS if each.name == topic)
    return Actor(f"system:{writer}", Strength.SYSTEM)


def _published(document: Any) -> Contract:
    metadata = document.metadata
    pin = Pin(name=metadata.name, version=metadata.version, digest=digest_of(document))
    model: Any = {
        "ProcessDefinition": control.DefinitionPublished,
        "AuthorityMatrix": control.MatrixPublished,
        "Calendar": control.CalendarPublished,
    }[document.kind]
    published: Contract = model(pin=pin, document=document, signers=())
    return published


def _agent(name: str, owner: str) -> AgentCard:
    return AgentCard(agent_id=name, owner=owner, pool="p", skills=("s",), public_key=_KEY)


def _registry_event(fact: Contract) -> Event:
    envelope = Envelope("", "", fact.TYPE, fact.VERSION)  # type: ignore[attr-defined]
    return Event(_registry_key(fact), envelope, fact)


def _registry_key(data: Contract) -> str:
    pin, card = getattr(data, "pin", None), getattr(data, "card", None)
    kind = data.TYPE.partition(".")[0]  # type: ignore[attr-defined]
    if pin is not None:
        return f"{kind}/{pin.name}"
    if card is not None:
        return f"{kind}/{getattr(card, 'person_id', None) or card.agent_id}"
    return f"{kind}/{getattr(data, 'agent_id', NAMESPACE)}"


def _names(events: tuple[Any, ...]) -> str:
    return ", ".join(repr(event) for event in events) or "nothing"


def _difference(expected: tuple[Any, ...], found: tuple[Any, ...]) -> str:
    lines = ["expected:", *(f"  {each!r}" for each in expected), "found:"]
    return "\n".join([*lines, *(f"  {each!r}" for each in found)])
