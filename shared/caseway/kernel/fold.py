"""The fold of one shard's own log: its cases, and those that wait because deciding failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from caseway.contracts.codec import Event
from caseway.contracts.shard import CaseFaulted, CaseResumed, InputParked
from caseway.kernel.entities import Entities, Entity
from caseway.kernel.processor import Card

S = TypeVar("S")


class Fold(Generic[S]):
    """Committed entities, and above them what the batch in hand would make of them."""

    def __init__(self, card: Card[S]) -> None:
        self._card = card
        self.committed: Entities[S] = Entities(card)
        self._pending: dict[str, Entity[S]] = {}

    def get(self, key: str) -> Entity[S] | None:
        """The entity as the batch in hand sees it."""
        entity = self._pending.get(key)
        return entity if entity is not None else self.committed.use(key)

    def next_sequence(self, key: str) -> int:
        """The sequence number of the next event of this case."""
        entity = self.get(key)
        return entity.sequence + 1 if entity else 1

    def apply(self, event: Event) -> None:
        """Evolve one event into the batch in hand."""
        entity = self.get(event.key) or Entity(None)
        state, parked, fault, data = entity.state, entity.parked, entity.fault, event.data
        if isinstance(data, CaseFaulted):
            parked = parked if data.parked is None else (*parked, data.parked)
            fault = data.code
        elif isinstance(data, InputParked):
            parked = (*parked, data.parked)
        elif isinstance(data, CaseResumed):
            parked, fault = parked[data.released :], ""
        else:
            state = self._card.evolve(state, event)
        self._pending[event.key] = Entity(state, entity.sequence + 1, parked, fault)

    def accept(self) -> frozenset[str]:
        """The batch is committed: its entities count. Returns the keys that changed."""
        changed = frozenset(self._pending)
        for key, entity in self._pending.items():
            if entity.state is None and not entity.fault and not entity.parked:
                self.committed.drop(key)
            else:
                self.committed[key] = entity
        self._pending.clear()
        self.committed.turn()
        return changed

    def discard(self) -> None:
        """The batch is in doubt or undone: nothing of it counts."""
        self._pending.clear()

    def undo(self, key: str, entity: Entity[S] | None) -> None:
        """Put one case back to what `get` said before a decision that failed."""
        self._pending.pop(key, None)
        if entity is not None and entity is not self.committed.use(key):
            self._pending[key] = entity

    def states(self) -> Iterator[tuple[str, S]]:
        """Every state that was not settled before the batch in hand, and all in that, by key."""
        for key, entity in self.committed.unsettled():
            if key not in self._pending and entity.state is not None:
                yield key, entity.state
        for key, entity in self._pending.items():
            if entity.state is not None:
                yield key, entity.state

    def faulted(self) -> Iterator[tuple[str, Entity[S]]]:
        """The cases that wait for a fix."""
        return ((key, entity) for key, entity in self.committed.in_use() if entity.fault)
