"""Decides one record after another for a shard, and folds what was decided into its batch.

What a record may do to the shard is settled here: unreadable ones become dead letters, one case
that fails is faulted alone with its input kept, and everything else becomes events.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from caseway.contracts import topics
from caseway.contracts.codec import Event, decode, decode_raw, encode
from caseway.contracts.control import CaseRedriven
from caseway.contracts.envelope import Strength
from caseway.contracts.fields import Contract
from caseway.contracts.record import Draft, Record
from caseway.contracts.shard import (
    CaseFaulted,
    CaseResumed,
    InputParked,
    ParkedInput,
    ShardCommitted,
)
from caseway.contracts.topics import TopicKind
from caseway.errors import ContractError, IntegrityError, Unattributable
from caseway.hosting.bounds import (
    EVENT_BYTES_MAX,
    PARKED_BYTES_MAX,
    check_inbound_size,
    check_routed,
    check_size,
)
from caseway.hosting.parking import describe, letter_of, park, unpark
from caseway.kernel.authentication import identify
from caseway.kernel.emission import HOPS_MAX, Cause, Emitter
from caseway.kernel.entities import Entity
from caseway.kernel.fold import Fold
from caseway.kernel.identity import coordinates
from caseway.kernel.processor import Actor, Card, Delivery, Input, Step, never_due
from caseway.kernel.registry import Registry

S = TypeVar("S")

FAULT_QUEUE = "operations"
# Events about an input, not decided from it, are numbered from here on: the input is decided
# later under the same cause, and an id is never given twice.
_ASIDE = 1_000_000


class Worker(Generic[S]):
    """The fold of one shard, and the batch in hand."""

    def __init__(self, card: Card[S], shard: int, registry: Registry) -> None:
        self._card = card
        self._shard = shard
        self.registry = registry
        self.registry_position = registry.position
        self.greatest_ms = 0
        self.fold: Fold[S] = Fold(card)
        self.decided = 0
        self.dead_letters = 0
        self.faults = 0
        self._own: list[Draft] = []
        self._others: list[Draft] = []
        self._consumed = False
        self.has_registry_facts = False
        self._held: list[tuple[Delivery, TopicKind, Record]] = []
        self._due: list[tuple[int, str]] = []
        self._emitter = Emitter(card, registry.namespace, shard, registry.level)

    def use(self, registry: Registry) -> None:
        """Decide under this registry from now on."""
        self.registry = registry
        self.registry_position = registry.position
        self._emitter = Emitter(self._card, registry.namespace, self._shard, registry.level)

    # -- replay -------------------------------------------------------------------------------

    def replay(self, records: Sequence[Record]) -> frozenset[str]:
        """Fold one whole batch of the own log. Returns the keys that changed.

        Raises:
            CodeTooOld: a record is newer than this code.
            IntegrityError: a record of our own log can't be folded.
        """
        for record in records:
            try:
                self.fold.apply(decode(record, is_sole_writer=True))
            except ContractError as error:
                raise IntegrityError(
                    f"{record.topic}/{record.partition}@{record.offset}: {error}",
                    code="integrity.unreadable",
                ) from error
        return self.fold.accept()

    def index_due(self) -> None:
        """After a replay: know what wants to be woken."""
        self._due = []
        if self._card.due_ms is not never_due:  # or every case at rest would be decoded in vain
            for key, entity in self.fold.committed.unsettled():
                self._schedule(key, entity.state)
        heapq.heapify(self._due)

    # -- the batch in hand --------------------------------------------------------------------

    @property
    def is_worth_a_commit(self) -> bool:
        """True when something was decided, even if the decision was to say nothing."""
        return self._consumed

    @property
    def has_drafts(self) -> bool:
        """True when the batch in hand says something."""
        return bool(self._own or self._others)

    def drafts(self) -> tuple[list[Draft], list[Draft]]:
        """What goes to the own log, and what goes elsewhere."""
        return self._own, self._others

    def trailer(self, data: ShardCommitted) -> Draft:
        """The last record of the batch."""
        emitter = self._emitter
        own = self._card.own.name
        place = f"{self.registry.generation}/{own}/{self._shard}/trailer/{data.sequence}"
        cause = Cause(place, data.greatest_ms, f"system:{self._card.service}", Strength.SYSTEM)
        event = emitter.event(f"{own}/{self._shard}", data, cause, 0)
        return encode(own, self._shard, event)

    def accept(self) -> frozenset[str]:
        """The batch is committed. Returns the keys that changed."""
        changed = self.fold.accept()
        self._own, self._others = [], []
        self._consumed = self.has_registry_facts = False
        for key in changed:
            entity = self.fold.committed.get(key)
            self._schedule(key, entity.state if entity else None)
        return changed

    # -- inputs -------------------------------------------------------------------------------

    def take(self, source: Input, record: Record, *, is_redriven: bool = False) -> None:
        """Decide one record of an input topic, or hold it for `decide_held` if the card prunes.

        Raises:
            CodeTooOld: it is newer than this code, on a topic with one writer: wait.
        """
        self._consumed = True
        self.greatest_ms = max(self.greatest_ms, record.at_ms)
        kind = source.topic.kind
        try:
            event, actor = _read(kind, record, self._shard, self.registry)
        except ContractError as error:
            if kind is TopicKind.LOG:
                where = f"{record.topic}/{record.partition}@{record.offset}"
                raise IntegrityError(f"{where}: {error}", code="integrity.unreadable") from error
            self._dead_letter(record, error)
            return
        if event.envelope.type not in source.hears:
            self._dead_letter(
                record,
                ContractError(
                    f"{event.envelope.type} does not belong on {record.topic}",
                    code="EVENT_FORBIDDEN",
                    where="ce_type",
                ),
            )
            return
        cause = coordinates(self.registry.generation, record)
        delivery = Delivery(event, record.topic, cause, self.greatest_ms, actor, record.at_ms)
        if is_redriven:
            # A person stands between: what went round too often may go on.
            delivery = delivery._replace(event=_first_hop(event))
        if self._card.prune:
            self._held.append((delivery, kind, record))
        else:
            self._decide(delivery, kind, event.key, record)

    def decide_held(self) -> None:
        """Decide what was held; the card prunes each case's records with all of them in sight."""
        held, self._held = self._held, []
        pruned = _pruned(self._card, [delivery for delivery, _, _ in held])
        for delivery, (_, kind, record) in zip(pruned, held, strict=True):
            self._decide(delivery, kind, delivery.event.key, record)

    def broadcast(self, event: Event, registry: Registry) -> None:
        """Move the registry one event on, and let the cases that it concerns react to it."""
        self.use(registry)
        if isinstance(event.data, CaseRedriven):
            self._redrive(event.data.case_id, event)
            return
        for key in self._touched(event):
            self._decide(self._fact(event, key), TopicKind.LOG, key, None)

    def next_due_ms(self) -> int | None:
        """When `wake` has something to do."""
        return self._due[0][0] if self._due else None

    def wake(self, now_ms: int, sequence: int) -> None:
        """Let every state that is due say so; `sequence` is that of the batch in hand."""
        while self._due and self._due[0][0] <= now_ms:
            _, key = heapq.heappop(self._due)
            entity = self.fold.get(key)
            if entity is None or entity.state is None or entity.fault:
                continue
            due = self._card.due_ms(entity.state)
            if due is None or due > now_ms:
                continue  # what was scheduled has moved or gone meanwhile
            own = self._card.own.name
            place = f"{self.registry.generation}/{own}/{self._shard}/wake/{sequence}"
            actor = f"system:{self._card.service}"
            # A clock behind the broker's must not write a time before that of an earlier event.
            at_ms = max(now_ms, self.greatest_ms)
            self._wake(key, entity, now_ms, Cause(place, at_ms, actor, Strength.SYSTEM))
            self._consumed = True

    # -- helpers ------------------------------------------------------------------------------

    def _decide(self, delivery: Delivery, kind: TopicKind, key: str, record: Record | None) -> None:
        entity = self.fold.get(key)
        cause = Cause.of(delivery, kind, self._card.service)
        if entity is not None and entity.fault and record is not None:
            self._set_aside(key, InputParked(parked=park(record)), cause)
            return
        own, others = len(self._own), len(self._others)
        try:
            if cause.hops > HOPS_MAX:
                raise _TooManyHops(f"{cause.hops} hops without a person or an agent in between")
            step = self._card.decide(entity.state if entity else None, delivery, self.registry)
            self._emit(key, step, cause, heard=delivery.event.data)
            self.decided += 1
        except Unattributable as error:
            if record is None or kind is not TopicKind.INBOUND:
                raise IntegrityError(str(error), code=error.code) from error
            self._dead_letter(record, error)
        except Exception as error:  # the one guard: a case that fails must not take others along
            del self._own[own:], self._others[others:]
            self.fold.undo(key, entity)
            parked = park(record if record is not None else _fact_record(delivery))
            if entity is not None and entity.fault:
                self._set_aside(key, InputParked(parked=parked), cause)
                return
            self._fault(key, error, parked, cause)

    def _wake(self, key: str, entity: Entity[S], now_ms: int, cause: Cause) -> None:
        assert entity.state is not None, "what has no state is not due"
        own, others = len(self._own), len(self._others)
        try:
            self._emit(key, self._card.wake(entity.state, key, now_ms), cause)
        except Exception as error:  # as in `_decide`; nothing is parked, for nothing came in
            del self._own[own:], self._others[others:]
            self.fold.undo(key, entity)
            self._fault(key, error, None, cause)

    def _fault(self, key: str, error: Exception, parked: ParkedInput | None, cause: Cause) -> None:
        self.faults += 1
        code = getattr(error, "code", type(error).__name__)
        fault = CaseFaulted(queue=FAULT_QUEUE, code=code, detail=describe(error), parked=parked)
        self._set_aside(key, fault, cause)

    def _set_aside(self, key: str, data: CaseFaulted | InputParked, cause: Cause) -> None:
        first = _ASIDE + self.fold.next_sequence(key)
        self._emit(key, Step((data,)), cause, first=first, limit=PARKED_BYTES_MAX)

    def _emit(
        self,
        key: str,
        step: Step,
        cause: Cause,
        *,
        heard: Contract | None = None,
        first: int = 0,
        limit: int = EVENT_BYTES_MAX,
    ) -> None:
        emitter, guard = self._emitter, self._card.guard
        position = self.registry_position
        for index, data in enumerate(step.events, first):
            event = emitter.event(
                key,
                data,
                cause,
                index,
                sequence=self.fold.next_sequence(key),
                registry_position=position,
                step=step,
            )
            draft = encode(self._card.own.name, self._shard, event)
            check_size(draft, limit)
            entity = self.fold.get(key)
            guard(entity.state if entity else None, event, heard, self.registry)
            self.fold.apply(event)
            self._own.append(draft)
        if step.offers or step.registry:
            others = emitter.others(key, step, cause, position)
            for draft in others:
                check_size(draft, limit)
            self._others.extend(others)
            self.has_registry_facts = self.has_registry_facts or bool(step.registry)

    def _redrive(self, key: str, event: Event) -> None:
        entity = self.fold.get(key)
        if entity is None or not entity.fault:
            return
        cause = Cause.of(self._fact(event, key), TopicKind.LOG, self._card.service)
        self._emit(key, Step((CaseResumed(released=len(entity.parked)),)), cause)
        self._consumed = True
        for parked in entity.parked:
            record = unpark(key, parked)
            if parked.topic == topics.REGISTRY.name:
                fact = self._fact(decode(record, is_sole_writer=True), key, parked.offset)
                self._decide(fact, TopicKind.LOG, key, record)
                continue
            source = next(i for i in self._card.inputs if i.topic.name == parked.topic)
            self.take(source, record, is_redriven=True)

    def _touched(self, event: Event) -> Sequence[str]:
        keys = sorted(self._card.touched(self.fold.states(), event))
        self._consumed = self._consumed or bool(keys)
        return keys

    def _fact(self, event: Event, key: str, offset: int | None = None) -> Delivery:
        """A registry event as one case hears it; without `offset` it is the one read last."""
        offset = self.registry_position - 1 if offset is None else offset
        place = f"{self.registry.generation}/{topics.REGISTRY.name}/0/{offset}"
        actor = Actor(event.envelope.actor, event.envelope.strength)
        event, now_ms = event._replace(key=key), self.greatest_ms
        return Delivery(event, topics.REGISTRY.name, place, now_ms, actor, now_ms)

    def _dead_letter(self, record: Record, error: ContractError) -> None:
        self.dead_letters += 1
        letter = letter_of(record, error)
        place = coordinates(self.registry.generation, record)
        cause = Cause(place, self.greatest_ms, f"system:{self._card.service}", Strength.SYSTEM)
        event = self._emitter.event(f"{record.topic}/{record.partition}", letter, cause, 0)
        self._others.append(encode(topics.dead_letters(self._card.service).name, 0, event))

    def _schedule(self, key: str, state: S | None) -> None:
        due = self._card.due_ms(state) if state is not None else None
        if due is not None:
            heapq.heappush(self._due, (due, key))


class _TooManyHops(ContractError):
    """Services answered each other too often: a person has to look at this case.

    Operator action: find the loop in `caseway history`, mend the definition, drive again.
    """

    code = "hops_exceeded"


def _read(kind: TopicKind, record: Record, shard: int, registry: Registry) -> tuple[Event, Actor]:
    if kind is TopicKind.LOG:
        event = decode(record, is_sole_writer=True)
        return event, Actor(event.envelope.actor, event.envelope.strength)
    check_inbound_size(record)
    event, raw = decode_raw(record)
    if record.topic != topics.CONTROL.name:
        check_routed(record, shard, registry.shards)
    return event, identify(event, raw, registry)


def _pruned(card: Card[S], deliveries: Sequence[Delivery]) -> Iterator[Delivery]:
    """The same, in the same order, each as the card has it beside the others of its case."""
    if card.prune is None:
        yield from deliveries
        return
    together: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        together.setdefault(delivery.event.key, []).append(delivery)
    pruned = {key: iter(card.prune(some)) for key, some in together.items()}
    for delivery in deliveries:
        yield next(pruned[delivery.event.key])


def _fact_record(delivery: Delivery) -> Record:
    """The record of a registry event, so that a case that fails on it can keep it."""
    draft = encode(topics.REGISTRY.name, 0, delivery.event)
    offset = int(delivery.cause.rpartition("/")[2])
    headers = tuple(draft.headers)
    return Record(draft.topic, 0, offset, delivery.at_ms, draft.key, draft.value, headers)


def _first_hop(event: Event) -> Event:
    return event._replace(envelope=event.envelope._replace(hops=0))
