"""Folds written down: a whole round of what changed, and the reading of all rounds.

A snapshot is a cache with a checksum and never the truth. Open cases are one record each, so a
compacted topic keeps the newest; settled ones are packed many to a record, so recovery follows
the number of open cases and not the length of history.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from caseway.contracts.record import Draft, Headers, Record
from caseway.contracts.shard import SnapshotMarked
from caseway.contracts.topics import snapshots
from caseway.errors import IntegrityError
from caseway.kernel.entities import Entities, Kind, Written, digest_of_bytes
from caseway.kernel.processor import Card

S = TypeVar("S")

_MODULUS = 1 << 256
SETTLED = "~settled/"
MARKER = "~marker"
# A packed record stays far below a broker's message limit of 1 MiB.
_PACK_BYTES = 400_000
# The header of an open case in which nothing is awaited: whoever reads it decodes it at once.
_STUCK = ("stuck", b"1")
# One entry beyond this fits no record: no round is written while it is so large.
_ENTRY_BYTES_MAX = 1_000_000


def digest_of_all(digests: Iterable[str]) -> str:
    """One digest over many state digests, whatever their order (a sum modulo 2^256)."""
    return f"{sum(int(digest, 16) for digest in digests) % _MODULUS:064x}"


class _Tally:
    """What a reader must find again: the open entries by digest, the packs as a chain."""

    def __init__(self) -> None:
        self.open_digests: dict[str, bytes] = {}
        self._sum = 0
        self._pack_chain = "0" * 64

    def add(self, key: str, raw: bytes) -> None:
        """An entry is open, with this content."""
        self.remove(key)
        digest = digest_of_bytes(key, raw)
        self.open_digests[key] = digest
        self._sum += int.from_bytes(digest)

    def remove(self, key: str) -> bool:
        """An entry is not open; whether it was."""
        digest = self.open_digests.pop(key, None)
        self._sum -= int.from_bytes(digest or b"")
        return digest is not None

    def pack(self, raw: bytes) -> None:
        """Settled entries were packed into one more record."""
        self._pack_chain = hashlib.sha256(self._pack_chain.encode() + raw).hexdigest()

    def digest(self) -> str:
        """The digest of all of it."""
        whole = f"{self._sum % _MODULUS:064x}{self._pack_chain}"
        return hashlib.sha256(whole.encode()).hexdigest()


class SnapshotWriter(Generic[S]):
    """Writes rounds of what changed; holds the tally of all that was written so far."""

    def __init__(self, card: Card[S], shard: int) -> None:
        self._shard = shard
        self._topic = snapshots(card.service).name
        self._tally = _Tally()
        self._stale: frozenset[str] = frozenset()
        self.round = 0

    def replace(self, keys: frozenset[str]) -> None:
        """Begin anew over a snapshot that was not used; `keys` are those its topic still holds."""
        self._stale = keys

    def resume(self, loaded: LoadedSnapshot[S]) -> None:
        """Go on after the last whole round that a reader found."""
        self._tally = loaded.tally
        self.round = loaded.marker.round

    def write(
        self,
        changed: Iterable[str],
        get: Callable[[str], Written | None],
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
        for key, raw, kind in entries:
            if raw and kind is not Kind.SETTLED:
                tally.add(key, raw)
                drafts.append(self._draft(key, raw, kind))
                continue
            if tally.remove(key):
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
        self, changed: Iterable[str], get: Callable[[str], Written | None]
    ) -> list[tuple[str, bytes, Kind]]:
        """Key, bytes as they will be written (none: it is gone), and what it is."""
        entries: list[tuple[str, bytes, Kind]] = []
        for key in sorted(changed):
            raw, kind = get(key) or (b"", Kind.OPEN)
            if kind is Kind.SETTLED:
                raw = json.dumps([key, raw.decode()], ensure_ascii=False).encode()
            entries.append((key, raw, kind))
        return entries

    def _pack(self, index: int, entries: list[bytes]) -> Draft:
        raw = b"[" + b",".join(entries) + b"]"
        self._tally.pack(raw)
        return self._draft(f"{SETTLED}{self.round:09d}/{index:06d}", raw)

    def _draft(self, key: str, value: bytes | None, kind: Kind = Kind.OPEN) -> Draft:
        headers: Headers = (("round", str(self.round).encode()),)
        if kind is Kind.STUCK:
            headers = (*headers, _STUCK)
        return Draft(self._topic, self._shard, key.encode(), value, headers)


@dataclass(slots=True)
class LoadedSnapshot(Generic[S]):
    """The last whole round: its marker and every entity as of it."""

    marker: SnapshotMarked
    entities: Entities[S]
    tally: _Tally


class SnapshotReader(Generic[S]):
    """Collects a snapshot partition and trusts it only if its last marker vouches for all of it."""

    def __init__(self, card: Card[S]) -> None:
        self._card = card
        self._open: dict[str, Written] = {}
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
            if record.value is None:
                self._open.pop(key, None)
                self._packs.pop(key, None)
            elif key.startswith(SETTLED):
                self._packs[key] = record.value
            else:
                kind = Kind.STUCK if _STUCK in record.headers else Kind.OPEN
                self._open[key] = Written(record.value, kind)

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
        tally = _Tally()
        for key in sorted(self._packs):
            tally.pack(self._packs[key])
        for key, written in self._open.items():
            tally.add(key, written.raw)
        if tally.digest() != marker.states_digest or len(tally.open_digests) != marker.entries:
            raise IntegrityError("the snapshot is not what its marker says")
        entities = Entities(self._card)
        for key in sorted(self._packs):
            for name, raw in json.loads(self._packs[key]):
                entities.restore(name, Written(raw.encode(), Kind.SETTLED))
        for key, written in self._open.items():
            entities.restore(key, written)
        return LoadedSnapshot(marker, entities, tally)
