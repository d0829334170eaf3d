"""Folds written down: the bytes of one entity, its digest, and a whole round of changes.

A snapshot is a cache with a checksum and never the truth. Open cases are one record each, so a
compacted topic keeps the newest; settled ones are packed many to a record, so recovery follows
the number of open cases and not the length of history.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from caseway.contracts.record import Draft, Record
from caseway.contracts.shard import ParkedInput, SnapshotMarked
from caseway.contracts.topics import snapshots
from caseway.errors import IntegrityError
from caseway.kernel.fold import Entity
from caseway.kernel.processor import Card

S = TypeVar("S")

_MODULUS = 1 << 256
SETTLED = "~settled/"
MARKER = "~marker"
# A packed record stays far below a broker's message limit of 1 MiB.
_PACK_BYTES = 400_000
# One entry beyond this fits no record: no round is written while it is so large.
_ENTRY_BYTES_MAX = 1_000_000


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once for a type: it takes milliseconds, which every takeover would spend again."""
    return TypeAdapter(kind)


class StateCodec(Generic[S]):
    """The canonical bytes of an entity: same state, same bytes, on every machine."""

    def __init__(self, card: Card[S]) -> None:
        self._state = _adapter(card.state_type)  # type: ignore[arg-type]
        self._parked = _adapter(tuple[ParkedInput, ...])

    def encode(self, entity: Entity[S]) -> bytes:
        """One JSON line: sequence, fault, parked inputs, state."""
        state = b"null" if entity.state is None else self._state.dump_json(entity.state)
        head = json.dumps([entity.sequence, entity.fault]).encode()
        parked = self._parked.dump_json(entity.parked) if entity.parked else b"[]"
        return b"[" + head + b"," + parked + b"," + state + b"]"

    def decode(self, raw: bytes) -> Entity[S]:
        """The entity that `encode` wrote."""
        (sequence, fault), parked, state = json.loads(raw)
        return Entity(
            None if state is None else self._state.validate_python(state),
            sequence,
            self._parked.validate_python(parked) if parked else (),
            fault,
        )

    def digest(self, key: str, entity: Entity[S]) -> str:
        """The state digest of one case in one service, SHA-256 hex."""
        return hashlib.sha256(key.encode() + b"\x00" + self.encode(entity)).hexdigest()


def digest_of_all(digests: Iterable[str]) -> str:
    """One digest over many state digests, whatever their order (a sum modulo 2^256)."""
    return f"{sum(int(digest, 16) for digest in digests) % _MODULUS:064x}"


@dataclass(slots=True)
class _Tally:
    """What a reader must find again: the open entries by digest, the packs as a chain."""

    open_digests: dict[str, str]
    pack_chain: str = "0" * 64

    def pack(self, raw: bytes) -> None:
        self.pack_chain = hashlib.sha256(self.pack_chain.encode() + raw).hexdigest()

    def digest(self) -> str:
        whole = digest_of_all(self.open_digests.values()) + self.pack_chain
        return hashlib.sha256(whole.encode()).hexdigest()


class SnapshotWriter(Generic[S]):
    """Writes rounds of what changed; holds the tally of all that was written so far."""

    def __init__(self, card: Card[S], shard: int) -> None:
        self._card, self._shard = card, shard
        self._codec = StateCodec(card)
        self._topic = snapshots(card.service).name
        self._tally = _Tally({})
        self._stale: frozenset[str] = frozenset()
        self.round = 0

    def replace(self, keys: frozenset[str]) -> None:
        """Begin anew over a snapshot that was not used; `keys` are those its topic still holds."""
        self._stale = keys

    def resume(self, loaded: LoadedSnapshot[S]) -> None:
        """Go on after the last whole round that a reader found."""
        self._tally = _Tally(dict(loaded.open_digests), loaded.pack_chain)
        self.round = loaded.marker.round

    def write(
        self,
        changed: Iterable[str],
        get: Callable[[str], Entity[S] | None],
        mark: Callable[[int, int, str], SnapshotMarked],
    ) -> tuple[Draft, ...]:
        """The drafts of one round, its marker last; `mark(round, entries, digest)` makes that.

        None at all while a case is too large for a record: a shard that could not commit for it
        would stand still for ever, and one without a snapshot only takes over more slowly.
        """
        entries = self._entries(changed, get)
        if any(len(key) + len(raw) > _ENTRY_BYTES_MAX for key, raw, _ in entries):
            return ()
        self.round += 1
        drafts: list[Draft] = []
        pack: list[bytes] = []
        packed_bytes = 0
        tally = self._tally
        for key, raw, digest in entries:
            if digest:
                tally.open_digests[key] = digest
                drafts.append(self._draft(key, raw))
                continue
            if tally.open_digests.pop(key, None) is not None:
                drafts.append(self._draft(key, None))
            if not raw:
                continue
            if pack and packed_bytes + len(raw) > _PACK_BYTES:
                drafts.append(self._pack(len(drafts), pack))
                pack, packed_bytes = [], 0
            pack.append(raw)
            packed_bytes += len(raw)
        if pack:
            drafts.append(self._pack(len(drafts), pack))
        written = {draft.key for draft in drafts}
        gone = sorted(key for key in self._stale if key.encode() not in written)
        drafts.extend(self._draft(key, None) for key in gone)
        self._stale = frozenset()
        marker = mark(self.round, len(tally.open_digests), tally.digest())
        drafts.append(self._draft(MARKER, marker.model_dump_json().encode()))
        return tuple(drafts)

    def _entries(
        self, changed: Iterable[str], get: Callable[[str], Entity[S] | None]
    ) -> list[tuple[str, bytes, str]]:
        """Key, bytes as they will be written (none: it is gone), and the digest if it is open."""
        entries: list[tuple[str, bytes, str]] = []
        for key in sorted(changed):
            entity = get(key)
            if entity is None:
                entries.append((key, b"", ""))
                continue
            raw = self._codec.encode(entity)
            if self._is_packed(entity):
                line = json.dumps([key, raw.decode()], ensure_ascii=False).encode()
                entries.append((key, line, ""))
            else:
                entries.append((key, raw, self._codec.digest(key, entity)))
        return entries

    def _is_packed(self, entity: Entity[S]) -> bool:
        return (
            entity.state is not None
            and not entity.fault
            and not entity.parked
            and self._card.is_settled(entity.state)
        )

    def _pack(self, index: int, entries: list[bytes]) -> Draft:
        raw = b"[" + b",".join(entries) + b"]"
        self._tally.pack(raw)
        return self._draft(f"{SETTLED}{self.round:09d}/{index:06d}", raw)

    def _draft(self, key: str, value: bytes | None) -> Draft:
        headers = (("round", str(self.round).encode()),)
        return Draft(self._topic, self._shard, key.encode(), value, headers)


@dataclass(slots=True)
class LoadedSnapshot(Generic[S]):
    """The last whole round: its marker and every entity as of it."""

    marker: SnapshotMarked
    entities: dict[str, Entity[S]]
    open_digests: dict[str, str]
    pack_chain: str


class SnapshotReader(Generic[S]):
    """Collects a snapshot partition and trusts it only if its last marker vouches for all of it."""

    def __init__(self, card: Card[S]) -> None:
        self._card = card
        self._codec = StateCodec(card)
        self._open: dict[str, bytes] = {}
        self._packs: dict[str, bytes] = {}
        self._marker: bytes | None = None
        self._is_torn = False

    @property
    def keys(self) -> frozenset[str]:
        """What the partition holds; whoever writes it anew has to take these away."""
        return frozenset(self._open) | frozenset(self._packs)

    def feed(self, records: Iterable[Record]) -> None:
        """Take the next records of the partition, in order."""
        for record in records:
            key = (record.key or b"").decode(errors="replace")
            if key == MARKER:
                self._marker = record.value
                self._is_torn = False
                continue
            self._is_torn = True
            kept = self._packs if key.startswith(SETTLED) else self._open
            if record.value is None:
                kept.pop(key, None)
            else:
                kept[key] = record.value

    def load(self) -> LoadedSnapshot[S] | None:
        """The snapshot, or None if there is none that this code may use: replay the whole log."""
        if self._marker is None or self._is_torn:
            return None
        try:
            marker = SnapshotMarked.model_validate_json(self._marker)
            if marker.state_version != self._card.state_version:
                return None
            return self._load(marker)
        except (IntegrityError, ValueError, TypeError, AttributeError, RecursionError):
            return None  # whatever it is, it is no snapshot of ours

    def _load(self, marker: SnapshotMarked) -> LoadedSnapshot[S]:
        tally = _Tally({})
        entities: dict[str, Entity[S]] = {}
        for key in sorted(self._packs):
            tally.pack(self._packs[key])
            for name, raw in json.loads(self._packs[key]):
                entities[name] = self._codec.decode(raw.encode())
        for key, raw in self._open.items():
            entity = self._codec.decode(raw)
            entities[key] = entity
            tally.open_digests[key] = self._codec.digest(key, entity)
        if tally.digest() != marker.states_digest or len(tally.open_digests) != marker.entries:
            raise IntegrityError("the snapshot is not what its marker says")
        return LoadedSnapshot(marker, entities, tally.open_digests, tally.pack_chain)
