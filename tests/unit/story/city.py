"""A city in memory: the four services wired by plain queues, virtual time, scripted dwellers.

No broker, no threads, no asyncio: records are taken in the order in which they were appended, and
when none is left the clock jumps to the next timer. Everything travels as bytes through the codec,
and every log is kept, so that it can be folded again from nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from caseway.casefile.state import CaseState
from caseway.contracts import topics
from caseway.contracts.codec import Event, decode, encode
from caseway.contracts.decision import Choice, DecideGate, GateOpened
from caseway.contracts.envelope import Envelope, Strength
from caseway.contracts.fields import Contract, JsonObject, format_instant
from caseway.contracts.record import Draft, Record, instant_of, millis_of
from caseway.contracts.report import (
    BeginEffect,
    ClaimTask,
    CompleteTask,
    PermitIssued,
    Purpose,
    ReportEffect,
    TaskOffered,
)
from caseway.contracts.submission import AmendCase, SubmitCase, WithdrawCase
from caseway.contracts.topics import TopicKind
from caseway.kernel.emission import Cause, Emitter
from caseway.kernel.entities import Entity, StateCodec
from caseway.kernel.identity import coordinates
from caseway.kernel.processor import Actor, Delivery, Step
from caseway.kernel.registry import Registry
from caseway.testing import NAMESPACE, START
from caseway_control.roster import CARDS

C = TypeVar("C", bound=Contract)

EXPIRES = "2027-01-01T00:00:00Z"
PORTAL = Actor("submitter:portal", Strength.UNVERIFIED)
CASE = "c-1"
_KINDS = {topic.name: topic.kind for topic in topics.FIXED_TOPICS}
_STEPS_MAX = 500

Answer = list[Contract]
Agent = Callable[["City", TaskOffered], Answer]


@dataclass
class Bank:
    """The outside world: pays an effect id once, however often it is asked.

    `timeouts` answers are lost on their way; after `deaths` payments the cashier dies silently.
    """

    timeouts: int = 0
    deaths: int = 0
    paid: dict[str, tuple[str, str]] = field(default_factory=dict)
    requests: int = 0

    def pay(self, permit: PermitIssued) -> str:
        """Pay; what the cashier then says of it, "" for nothing."""
        self.requests += 1
        self.paid.setdefault(permit.effect_id, (permit.amount.amount, permit.payee))
        if self.requests <= self.deaths:
            return ""
        return "unknown" if self.requests <= self.timeouts else "done"


class City:
    """One case and all who have to do with it."""

    def __init__(self, registry: Registry, bank: Bank | None = None) -> None:
        self.registry = registry
        self.bank = bank or Bank()
        self.agents: dict[str, Agent] = dict(HONEST)
        self.approver: Callable[[City, GateOpened], None] = approve
        self.now_ms = millis_of(datetime.fromisoformat(START))
        self.logs: dict[str, list[Record]] = {}
        self._queue: deque[tuple[Record, Actor]] = deque()
        self._entities: dict[str, dict[str, Entity[Any]]] = {name: {} for name in CARDS}
        self._emitters = {name: Emitter(card, NAMESPACE, 0) for name, card in CARDS.items()}

    # -- what dwellers do -------------------------------------------------------------------------

    def submit(self, amount: str, **facts: Any) -> City:
        """A claim is submitted, and everything that follows at once has happened."""
        wish = SubmitCase(
            namespace=NAMESPACE,
            definition="insurance-claim",
            source="portal",
            key="PC-1017",
            facts={**CLAIM, "amount": {"amount": amount, "currency": "USD"}, **facts},
        )
        return self.post(topics.SUBMISSIONS.name, wish, PORTAL)

    def amend(self, **changes: Any) -> City:
        wish = AmendCase(
            namespace=NAMESPACE, source="portal", key="PC-1017", changes=changes, reason="moved"
        )
        return self.post(topics.SUBMISSIONS.name, wish, PORTAL)

    def withdraw(self) -> City:
        wish = WithdrawCase(namespace=NAMESPACE, source="portal", key="PC-1017", reason="settled")
        return self.post(topics.SUBMISSIONS.name, wish, PORTAL)

    def decide(self, person: str, choice: Choice = Choice.APPROVE, reason: str = "seen") -> City:
        """A person decides the gate that was opened last, as it was shown."""
        gate = self.last(GateOpened)
        wish = DecideGate(
            namespace=NAMESPACE,
            gate_id=gate.gate_id,
            revision=gate.revision,
            digest=gate.digest,
            choice=choice,
            reason=reason,
            expires_at=EXPIRES,
        )
        return self.post(topics.DECISIONS.name, wish, person_of(person))

    def report(self, actor: Actor, data: Contract) -> City:
        return self.post(topics.AGENT_REPORTS.name, data, actor)

    def works(self, person: str, output: JsonObject) -> City:
        """A person claims the task that waits in a queue, and completes it."""
        (task,) = [t for t in self.case.tasks.values() if t.status == "queued"]
        claim = ClaimTask(namespace=NAMESPACE, task_id=task.task_id, expires_at=EXPIRES)
        self.report(person_of(person), claim)
        held = self.case.tasks[task.task]
        done = completed(held.task_id, held.token, held.inputs_digest, output)
        return self.report(person_of(person), done)

    # -- time -------------------------------------------------------------------------------------

    def wait(self, seconds: int) -> City:
        """Time passes; every timer comes due in its order."""
        end_ms = self.now_ms + seconds * 1000
        for _ in range(_STEPS_MAX):
            entity = self._entities["sla_watchdog"].get(CASE)
            due = None if entity is None else CARDS["sla_watchdog"].due_ms(entity.state)
            if due is None or due > end_ms:
                self.now_ms = end_ms
                return self
            self.now_ms = max(self.now_ms, due)
            self._wake()
            self._run()
        raise AssertionError("timers fire for ever")

    # -- what can be seen -------------------------------------------------------------------------

    @property
    def case(self) -> CaseState:
        state = self._entities["router"][CASE].state
        assert isinstance(state, CaseState)
        return state

    def events(self, topic: str = "") -> Iterator[Contract]:
        """What a log holds, or all logs of our services, decoded from its bytes."""
        names = [topic] if topic else [card.own.name for card in CARDS.values()]
        for name in names:
            for record in self.logs.get(name, ()):
                yield decode(record, is_sole_writer=True).data

    def all(self, model: type[C]) -> list[C]:
        return [event for event in self.events() if isinstance(event, model)]

    def last(self, model: type[C]) -> C:
        return self.all(model)[-1]

    def digests(self) -> dict[str, str]:
        """The state digest of the case in every service."""
        return {
            name: StateCodec(CARDS[name]).digest(CASE, cases[CASE])
            for name, cases in self._entities.items()
            if CASE in cases
        }

    def refolded(self) -> dict[str, str]:
        """The same digests from the logs alone."""
        found = {}
        for name, card in CARDS.items():
            entity: Entity[Any] = Entity(None)
            for record in self.logs.get(card.own.name, ()):
                event = decode(record, is_sole_writer=True)
                state = card.evolve(entity.state, event)
                entity = Entity(state, entity.sequence + 1)
            found[name] = StateCodec(card).digest(CASE, entity)
        return found

    # -- the machinery ----------------------------------------------------------------------------

    def post(self, topic: str, data: Contract, actor: Actor, key: str = CASE) -> City:
        """One inbound record comes, and everything that follows at once happens."""
        number = len(self.logs.get(topic, ()))
        envelope = Envelope(
            id=f"{topic}-{number}",
            source="/city",
            type=data.TYPE,  # type: ignore[attr-defined]
            version=data.VERSION,  # type: ignore[attr-defined]
            time=format_instant(instant_of(self.now_ms)),
        )
        self._append(encode(topic, 0, Event(key, envelope, data)), actor)
        self._run()
        return self

    def _append(self, draft: Draft, actor: Actor) -> None:
        log = self.logs.setdefault(draft.topic, [])
        record = Record(
            draft.topic, 0, len(log), self.now_ms, draft.key, draft.value, draft.headers
        )
        log.append(record)
        self._queue.append((record, actor))

    def _run(self) -> None:
        steps = 0
        while self._queue:
            steps += 1
            assert steps < _STEPS_MAX, "the services answer each other for ever"
            record, actor = self._queue.popleft()
            kind = _KINDS.get(record.topic, TopicKind.LOG)
            event = decode(record, is_sole_writer=kind is TopicKind.LOG)
            for name, card in CARDS.items():
                for source in card.inputs:
                    if source.topic.name == record.topic and event.envelope.type in source.hears:
                        self._decide(name, record, event, kind, actor)
            self._dwell(event)

    def _decide(
        self, name: str, record: Record, event: Event, kind: TopicKind, actor: Actor
    ) -> None:
        place = coordinates("g1", record)
        delivery = Delivery(event, record.topic, place, record.at_ms, actor, record.at_ms)
        entity = self._entities[name].get(event.key)
        step = CARDS[name].decide(entity.state if entity else None, delivery, self.registry)
        self._emit(name, event.key, step, Cause.of(delivery, kind, name), event.data)

    def _wake(self) -> None:
        card = CARDS["sla_watchdog"]
        entity = self._entities["sla_watchdog"][CASE]
        step = card.wake(entity.state, CASE, self.now_ms)
        place = f"g1/deadlines/0/wake/{entity.sequence}"
        cause = Cause(place, self.now_ms, "system:sla_watchdog", Strength.SYSTEM)
        self._emit("sla_watchdog", CASE, step, cause)

    def _emit(
        self, name: str, key: str, step: Step, cause: Cause, heard: Contract | None = None
    ) -> None:
        card, emitter = CARDS[name], self._emitters[name]
        assert not step.registry, "nobody changes the registry of this city"
        for index, data in enumerate(step.events):
            entity = self._entities[name].get(key, Entity(None))
            sequence = entity.sequence + 1
            said = emitter.event(key, data, cause, index, sequence=sequence, step=step)
            (draft,) = emitter.own([said])
            self._append(draft, Actor(said.envelope.actor, said.envelope.strength))
            read = decode(self.logs[card.own.name][-1], is_sole_writer=True)
            assert read == said, "an event reads otherwise than it was written"
            card.guard(entity.state, read, heard, self.registry)
            state = card.evolve(entity.state, read)
            self._entities[name][key] = Entity(state, sequence)
        for draft in emitter.others(key, step, cause, 0):
            self._append(draft, Actor(f"system:{name}", Strength.SYSTEM))

    def _dwell(self, event: Event) -> None:
        """Agents and approvers see what is published and answer."""
        data = event.data
        if isinstance(data, TaskOffered) and event.envelope.agent:
            for answer in self.agents[event.envelope.skill](self, data):
                self._say(event.envelope.agent, answer)
        elif isinstance(data, PermitIssued):
            if outcome := self.bank.pay(data):
                self._say(event.envelope.agent, settled(data, outcome))
        elif isinstance(data, GateOpened):
            self.approver(self, data)

    def _say(self, agent: str, data: Contract) -> None:
        self.post(topics.AGENT_REPORTS.name, data, Actor(f"agent:{agent}", Strength.AGENT_SIGNED))


# -- the dwellers ---------------------------------------------------------------------------------

CLAIM: JsonObject = {
    "claimant": "person-9f86d081884c7d65",
    "payee": "person-60303ae22b998861",
    "incident_kind": "collision",
}


def person_of(name: str) -> Actor:
    return Actor(f"person:{name}", Strength.PERSON_SIGNED)


def completed(task_id: str, token: int, digest: str, output: JsonObject) -> CompleteTask:
    return CompleteTask(
        namespace=NAMESPACE,
        task_id=task_id,
        token=token,
        inputs_digest=digest,
        output=output,
        confidence="0.95",
        expires_at=EXPIRES,
    )


def settled(target: PermitIssued | TaskOffered, outcome: str) -> ReportEffect:
    output = {"payment_reference": f"pay-{target.effect_id[:12]}"} if outcome == "done" else {}
    return ReportEffect(
        namespace=NAMESPACE,
        task_id=target.task_id,
        token=target.token,
        effect_id=target.effect_id,
        outcome=outcome,
        output=output,
        expires_at=EXPIRES,
    )


def gives(output: JsonObject) -> Agent:
    """An agent that always has this result."""
    return lambda _city, offer: [completed(offer.task_id, offer.token, offer.inputs_digest, output)]


def settles(_city: City, offer: TaskOffered) -> Answer:
    """The claimed amount is covered in full."""
    output = {"settlement": offer.facts["amount"]}
    return [completed(offer.task_id, offer.token, offer.inputs_digest, output)]


def pays(city: City, offer: TaskOffered) -> Answer:
    """Ask for the permit, or ask the bank what became of one."""
    if offer.purpose is Purpose.RECONCILE:
        return [settled(offer, "done" if offer.effect_id in city.bank.paid else "not_done")]
    return [
        BeginEffect(
            namespace=NAMESPACE,
            task_id=offer.task_id,
            token=offer.token,
            inputs_digest=offer.inputs_digest,
            expires_at=EXPIRES,
        )
    ]


def silent(_city: City, _offer: TaskOffered) -> Answer:
    return []


HONEST: dict[str, Agent] = {
    "claim-triage": gives({"line": "motor", "fraud_suspected": False}),
    "claim-assessment": gives({"severity": "major", "evidence_complete": True}),
    "claim-settlement": settles,
    "claim-payment": pays,
}


def approve(city: City, gate: GateOpened) -> None:
    """Somebody who holds the role approves at once."""
    if gate.roles != ("system",):
        city.decide(city.registry.holders_of(gate.roles[0])[0])


def absent(_city: City, _gate: GateOpened) -> None:
    """Nobody is at the desk."""
