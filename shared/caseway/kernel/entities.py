"""The cases of one shard: those in use as objects, all others as the bytes a snapshot has of them.

An open case at rest is a tenth as large as bytes, and a takeover need not decode what nobody
asks for. What an operator has to see (faulted, parked, stuck) is never packed away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import TypeAdapter

from caseway.contracts.shard import ParkedInput
from caseway.errors import Unavailable
from caseway.kernel.processor import Card

S = TypeVar("S")

# Twice as many cases stay unpacked at most: what a shard works at under full load fits, and a
# case that rests longer costs some 50 µs when it is next heard of.
IN_USE_MAX = 250
# Of that many forms of a settled case it is remembered that there was one like it.
_SHARED_MAX = 1_000
# How the bytes begin of what has a state, and neither a fault nor parked inputs.
_PLAIN = b', ""],[],{'
_PLAIN_WITHIN = 40


@dataclass(frozen=True, slots=True)
class Entity(Generic[S]):
    """One case in one service; `sequence` counts its events in that service's log.

    With a `fault` it waits for a fix; the inputs in `parked` are decided in order after it.
    """

    state: S | None
    sequence: int = 0
    parked: tuple[ParkedInput, ...] = ()
    fault: str = ""


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once for a type: it takes milliseconds, which every takeover would spend again."""
    return TypeAdapter(kind)


class StateCodec(Generic[S]):
    """The canonical bytes of an entity: same state, same bytes, on every machine."""

    def __init__(self, card: Card[S]) -> None:
        state: Any = card.state_type
        self._state = _adapter(state)
        self._parked = _adapter(tuple[ParkedInput, ...])
        self._whole = _adapter(tuple[tuple[int, str], tuple[ParkedInput, ...], state | None])

    def encode(self, entity: Entity[S]) -> bytes:
        """One JSON line: sequence, fault, parked inputs, state."""
        state = b"null" if entity.state is None else self._state.dump_json(entity.state)
        head = json.dumps([entity.sequence, entity.fault]).encode()
        parked = self._parked.dump_json(entity.parked) if entity.parked else b"[]"
        return b"[" + head + b"," + parked + b"," + state + b"]"

    def decode(self, raw: bytes) -> Entity[S]:
        """The entity that `encode` wrote.

        Raises:
            ValueError: it was another code's `encode`: a field less or more shows, too.
        """
        (sequence, fault), parked, state = self._whole.validate_json(raw)
        entity = Entity(state, sequence, parked, fault)
        if self.encode(entity) != raw:
            raise ValueError("the bytes are not those of the state they hold")
        return entity

    def digest(self, key: str, entity: Entity[S]) -> str:
        """The state digest of one case in one service, SHA-256 hex."""
        return digest_of_bytes(key, self.encode(entity)).hex()


def digest_of_bytes(key: str, raw: bytes) -> bytes:
    """The state digest of a case by its canonical bytes."""
    return hashlib.sha256(key.encode() + b"\x00" + raw).digest()


class Kind(Enum):
    """What becomes of an entity in a snapshot, and whether it may rest as bytes (not STUCK)."""

    OPEN = "open"
    SETTLED = "settled"
    STUCK = "stuck"


class Written(NamedTuple):
    """An entity as a snapshot holds it."""

    raw: bytes
    kind: Kind


class Census(NamedTuple):
    """How many cases a shard has that operators ask for."""

    open: int
    faulted: int
    stuck: int


class Entities(MutableMapping[str, Entity[S]]):
    """The entities of one shard by key. Reading one through the mapping leaves it as it rests;
    `use` keeps it at hand."""

    def __init__(self, card: Card[S]) -> None:
        self._card = card
        self._codec = StateCodec(card)
        # Used since the last turn, and in the one before; whatever is older is packed.
        self._fresh: dict[str, Entity[S]] = {}
        self._aging: dict[str, Entity[S]] = {}
        self._open: dict[str, bytes] = {}
        self._settled: dict[str, bytes] = {}
        # Many settled cases differ in their key alone: those share their bytes.
        self._shared: dict[bytes, bytes] = {}
        # True once bytes were found that this code can't read: no snapshot is to be used again.
        self.is_damaged = False

    # -- as a mapping -------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Entity[S]:
        entity = self._fresh.get(key) or self._aging.get(key)
        if entity is not None:
            return entity
        raw = self._open.get(key) or self._settled[key]
        try:
            return self._codec.decode(raw)
        except ValueError:
            self.is_damaged = True
            raise _unreadable(key) from None

    def __setitem__(self, key: str, entity: Entity[S]) -> None:
        if key not in self._fresh:
            self.drop(key)
        self._fresh[key] = entity

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self.drop(key)

    def __iter__(self) -> Iterator[str]:
        for part in self._parts():
            yield from part

    def __len__(self) -> int:
        return sum(map(len, self._parts()))

    def __contains__(self, key: object) -> bool:
        return any(key in part for part in self._parts())

    def _parts(self) -> tuple[dict[str, Any], ...]:
        return self._fresh, self._aging, self._open, self._settled

    # -- at work ------------------------------------------------------------------------------

    def use(self, key: str) -> Entity[S] | None:
        """The entity, kept at hand from now on: until it changes, it is this very object."""
        entity = self._fresh.get(key)
        if entity is None and key in self:
            entity = self[key]
            self[key] = entity
        return entity

    def drop(self, key: str) -> None:
        """Forget it, if it is there."""
        for part in self._parts():
            part.pop(key, None)

    def turn(self) -> None:
        """Between two batches: pack what was not used for long, if much was used since."""
        if len(self._fresh) <= IN_USE_MAX:
            return
        aged, self._aging, self._fresh = self._aging, self._fresh, {}
        for key, entity in aged.items():
            written = self._written(entity)
            if not _is_plain(written):
                self._aging[key] = entity
            else:
                self._lay(key, written)

    def unsettled(self) -> Iterator[tuple[str, Entity[S]]]:
        """Every entity but the settled ones, whether packed or not."""
        for key, entity in self.in_use():
            if not _is_settled(self._card, entity):
                yield key, entity
        for key in self._open:
            yield key, self[key]

    def in_use(self) -> Iterator[tuple[str, Entity[S]]]:
        """Those at hand, among them all that are faulted, parked or stuck."""
        yield from self._fresh.items()
        yield from self._aging.items()

    def census(self) -> Census:
        """May be asked from another thread: it copies before it counts."""
        entities = [*self._fresh.values(), *self._aging.values()]
        states = [entity.state for entity in entities if entity.state is not None]
        settled, stuck = self._card.is_settled, self._card.is_stuck
        return Census(
            open=len(self._open) + sum(not settled(state) for state in states),
            faulted=sum(entity.fault != "" for entity in entities),
            stuck=sum(stuck(state) for state in states),
        )

    # -- as a snapshot has them ---------------------------------------------------------------

    def digests(self) -> Iterator[tuple[str, str]]:
        """The state digest of every entity, by key, in the order of the keys."""
        for key in sorted(self):
            written = self.written(key)
            assert written is not None, "it is one of ours"
            yield key, digest_of_bytes(key, written.raw).hex()

    def written(self, key: str) -> Written | None:
        """The canonical bytes of an entity; None if there is none."""
        raw = self._open.get(key)
        if raw is not None:
            return Written(raw, Kind.OPEN)
        raw = self._settled.get(key)
        if raw is not None:
            return Written(raw, Kind.SETTLED)
        entity = self._fresh.get(key) or self._aging.get(key)
        return None if entity is None else self._written(entity)

    def restore(self, key: str, written: Written) -> None:
        """Hold what a snapshot has, undecoded where that may be; the last word counts."""
        self.drop(key)
        if written.kind is Kind.SETTLED or _is_plain(written):
            self._lay(key, written)
        else:
            self._fresh[key] = self._codec.decode(written.raw)

    def _lay(self, key: str, written: Written) -> None:
        if written.kind is not Kind.SETTLED:
            self._open[key] = written.raw
            return
        if len(self._shared) >= _SHARED_MAX:
            self._shared.clear()
        self._settled[key] = self._shared.setdefault(written.raw, written.raw)

    def _written(self, entity: Entity[S]) -> Written:
        kind = Kind.OPEN
        if _is_settled(self._card, entity):
            kind = Kind.SETTLED
        elif entity.state is not None and self._card.is_stuck(entity.state):
            kind = Kind.STUCK
        return Written(self._codec.encode(entity), kind)


def _unreadable(key: str) -> Unavailable:
    return Unavailable(
        f"the snapshot holds case {key!r} in a form that this code can't read; the log is read "
        "from its beginning instead",
        code="SNAPSHOT_UNREADABLE",
    )


def _is_settled(card: Card[S], entity: Entity[S]) -> bool:
    is_plain = entity.state is not None and not entity.fault and not entity.parked
    return is_plain and card.is_settled(entity.state)  # type: ignore[arg-type]


def _is_plain(written: Written) -> bool:
    return written.kind is not Kind.STUCK and _PLAIN in written.raw[:_PLAIN_WITHIN]
