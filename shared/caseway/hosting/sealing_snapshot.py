"""The sealer's state written down, so that a takeover need not fold every checkpoint there is.

A cache with a checksum and never the truth: one round holds every head and ends with a marker,
all in the transaction of a checkpoint. A round that its marker does not vouch for is not used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

from pydantic import ValidationError

from caseway.contracts.audit import TreeHead
from caseway.contracts.record import Draft, Record
from caseway.contracts.shard import SnapshotMarked
from caseway.contracts.topics import snapshots
from caseway.hosting.log import Place
from caseway.kernel.snapshot import MARKER

# Raise it when the meaning of a head changes; rounds of another version are not used.
STATE_VERSION = 1

SNAPSHOT_PLACE: Place = (snapshots("audit").name, 0)


def snapshot_drafts(
    heads: Mapping[str, TreeHead], mark: Callable[[int, str], SnapshotMarked]
) -> list[Draft]:
    """One round, its marker last; `mark(entries, digest)` makes that."""
    values = {name: head.model_dump_json().encode() for name, head in heads.items()}
    marker = mark(len(values), _digest(values)).model_dump_json().encode()
    return [
        Draft(*SNAPSHOT_PLACE, name.encode(), value, ())
        for name, value in (*sorted(values.items()), (MARKER, marker))
    ]


class SealingSnapshotReader:
    """Collects the snapshot partition and trusts it only if its last marker vouches for it."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._marker: bytes | None = None

    def feed(self, records: Iterable[Record]) -> None:
        """The next records of the partition."""
        for record in records:
            name = (record.key or b"").decode()
            if name == MARKER:
                self._marker = record.value
            else:
                self._values[name] = record.value or b""

    def load(self) -> tuple[SnapshotMarked, dict[str, TreeHead]] | None:
        """The last whole round; None if there is none that this code may use."""
        if self._marker is None:
            return None
        try:
            marker = SnapshotMarked.model_validate_json(self._marker)
            heads = {n: TreeHead.model_validate_json(raw) for n, raw in self._values.items()}
        except ValidationError:
            return None
        known = (STATE_VERSION, len(self._values), _digest(self._values))
        if (marker.state_version, marker.entries, marker.states_digest) != known:
            return None
        return marker, heads


def _digest(values: Mapping[str, bytes]) -> str:
    hashed = hashlib.sha256()
    for name, value in sorted(values.items()):
        hashed.update(b"%d:%d:" % (len(name), len(value)))
        hashed.update(name.encode() + value)
    return hashed.hexdigest()
