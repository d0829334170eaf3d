"""The fold of one shard's own log: its cases, and those that wait because deciding failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from caseway.contracts.codec import Event
from caseway.contracts.shard import CaseFaulted, CaseResumed, InputParked, ParkedInput
from caseway.kernel.processor import Card

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Entity(Generic[S]):
    """One case in one service; `sequence` counts its events in that service's log.

    With a `fault` it waits for a fix; the inputs in `parked` are decided in order after it.
    """

    state: S | None
    sequence: int = 0
    parked: tuple[ParkedInput, ...] = ()
    fault: str = ""


class Fold(Generic[S]):
    """Committed entities, and above them what the batch in hand would make of them."""

    def __init__(self, card: Card[S]) -> None:
        self._card = card
        self.committed: dict[str, Entity[S]] = {}
        self._pending: dict[str, Entity[S]] = {}

    def get(self, key: str) -> Entity[S] | None:
        """The entity as the batch in hand sees it."""
        entity = self._pending.get(key)
        return entity if entity is not None else self.committed.get(key)

    def next_sequence(self, key: str) -> int:
        """The sequence number of the next event of this case."""
        entity = self.get(key)
        return entity.sequence + 1 if entity else 1

    def apply(self, event: Event) -> None:
        """Evolve one event into the batch in hand."""
        entity = self.get(event.key) or Entity(None)
        data = event.data
        if isinstance(data, CaseFaulted):
            parked = entity.parked if data.parked is None else (*entity.parked, data.parked)
            made = replace(entity, parked=parked, fault=data.code)
        elif isinstance(data, InputParked):
            made = replace(entity, parked=(*entity.parked, data.parked))
        elif isinstance(data, CaseResumed):
            made = replace(entity, parked=entity.parked[data.released :], fault="")
        else:
            made = replace(entity, state=self._card.evolve(entity.state, event))
        self._pending[event.key] = replace(made, sequence=entity.sequence + 1)

    def accept(self) -> frozenset[str]:
        """The batch is committed: its entities count. Returns the keys that changed."""
        changed = frozenset(self._pending)
        for key, entity in self._pending.items():
            if entity.state is None and not entity.fault and not entity.parked:
                self.committed.pop(key, None)
            else:
                self.committed[key] = entity
        self._pending.clear()
        return changed

    def discard(self) -> None:
        """The batch is in doubt or undone: nothing of it counts."""
        self._pending.clear()

    def undo(self, key: str, entity: Entity[S] | None) -> None:
        """Put one case back to what `get` said before a decision that failed."""
        self._pending.pop(key, None)
        if entity is not None and entity is not self.committed.get(key):
            self._pending[key] = entity

    def states(self) -> Mapping[str, S]:
        """Every live state by key, with the batch in hand."""
        merged = {**self.committed, **self._pending}
        return {key: entity.state for key, entity in merged.items() if entity.state is not None}

    def faulted(self) -> Iterator[tuple[str, Entity[S]]]:
        """The cases that wait for a fix."""
        return ((key, entity) for key, entity in self.committed.items() if entity.fault)
