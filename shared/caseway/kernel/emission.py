"""Turns what was decided into records: envelopes, identities and pins, all from the cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import Event, as_written, encode
from caseway.contracts.envelope import Envelope, Strength
from caseway.contracts.fields import Contract
from caseway.contracts.levels import FIRST, version_at
from caseway.contracts.record import Draft, instant_text
from caseway.contracts.topics import REGISTRY, TopicKind, offers
from caseway.errors import ContractError
from caseway.kernel.identity import event_id
from caseway.kernel.processor import Card, Delivery, Step

# One case passes a dozen events between two people or agents; a loop passes any bound.
HOPS_MAX = 64


@dataclass(frozen=True, slots=True)
class Cause:
    """What one step's records have in common."""

    coordinates: str
    at_ms: int
    actor: str
    strength: Strength
    correlation: str = ""
    traceparent: str = ""
    hops: int = 0

    @staticmethod
    def of(delivery: Delivery, kind: TopicKind, service: str) -> Cause:
        """The cause that a delivery is; a person or an agent starts the hops anew."""
        envelope = delivery.event.envelope
        is_inbound = kind is TopicKind.INBOUND
        return Cause(
            delivery.cause,
            delivery.at_ms,
            delivery.actor.name if is_inbound else f"system:{service}",
            delivery.actor.strength if is_inbound else Strength.SYSTEM,
            envelope.correlation or envelope.id,
            envelope.traceparent,
            0 if is_inbound else envelope.hops + 1,
        )


class Emitter:
    """Makes the events and offers of one shard; knows its names, keeps no state.

    Every event is written in the newest version that the contract level allows.
    """

    def __init__(self, card: Card[Any], namespace: str, shard: int, level: int = FIRST) -> None:
        self._service = card.service
        self._own = card.own.name
        self._source = f"/{namespace}/{card.service}"
        self._shard = shard
        self._level = level

    def event(  # noqa: PLR0913 - what differs between events; each is named at the call
        self,
        key: str,
        data: Contract,
        cause: Cause,
        index: int,
        *,
        sequence: int = 0,
        registry_position: int = 0,
        step: Step = Step(),  # noqa: B008 - frozen and empty
        skill: str = "",
        agent: str = "",
    ) -> Event:
        """The `index`-th event of its cause.

        Raises:
            ContractError: CONTRACT_LEVEL, nobody may write this type yet.
        """
        event_type = CATALOG[data.TYPE]  # type: ignore[attr-defined]
        version = version_at(event_type.name, event_type.version, self._level)
        if version == 0:
            raise ContractError(
                f"{event_type.name} is beyond contract level {self._level}; decide by the level, "
                "and raise it when every live service can read this type",
                code="CONTRACT_LEVEL",
            )
        return Event(
            key,
            Envelope(
                id=event_id(cause.coordinates, self._service, key, index),
                source=self._source,
                type=event_type.name,
                version=version,
                time=instant_text(cause.at_ms),
                sequence=sequence,
                cause=cause.coordinates,
                correlation=cause.correlation,
                hops=cause.hops,
                traceparent=cause.traceparent,
                actor=cause.actor,
                strength=cause.strength,
                definition=step.definition,
                matrix=step.matrix,
                registry_position=registry_position,
                skill=skill,
                agent=agent,
            ),
            as_written(event_type, version, data),
        )

    def own(self, events: Iterable[Event]) -> list[Draft]:
        """The drafts for the own log."""
        return [encode(self._own, self._shard, event) for event in events]

    def others(self, key: str, step: Step, cause: Cause, registry_position: int) -> list[Draft]:
        """The drafts for offers and registry; their indexes follow those of the events."""
        drafts = []
        index = len(step.events)
        for offer in step.offers:
            event = self.event(
                key,
                offer.data,
                cause,
                index,
                registry_position=registry_position,
                step=step,
                skill=offer.skill,
                agent=offer.agent,
            )
            drafts.append(encode(offers(offer.pool).name, self._shard, event))
            index += 1
        for fact in step.registry:
            event = self.event(key, fact, cause, index, registry_position=registry_position)
            drafts.append(encode(REGISTRY.name, 0, event))
            index += 1
        return drafts
