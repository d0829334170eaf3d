"""Whole batches or nothing: what a reader of a log may believe.

A commit ends with a `shard.committed` trailer on the own log. Clients are known to tear
transactions (a late EndTxn commits the first half of the next one), so no reader trusts records
before their trailer: it takes the `count` records that stand before it and checks their digest.
Records that no trailer vouches for are dropped and counted; the owner decides them again.

Three invariants are kept here while services run, and a breach halts the shard: I12 continuity
(`integrity.sequence`), I16 whole transactions (`integrity.torn`, `integrity.digest`), I17 monotone
fencing (`integrity.epoch`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from caseway.contracts.codec import data_of, type_of
from caseway.contracts.record import Draft, Record
from caseway.contracts.shard import ShardCommitted, ShardGenesis
from caseway.errors import IntegrityError
from caseway.hosting.log import Place


def batch_digest(records: Iterable[Record | Draft]) -> str:
    """SHA-256 over keys and values, each with its length, in order."""
    hashed = hashlib.sha256()
    for record in records:
        key, value = record.key or b"", record.value or b""
        hashed.update(b"%d:%d:" % (len(key), len(value)))
        hashed.update(key)
        hashed.update(value)
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class Batch:
    """One commit as its reader sees it; `next_offset` is where the reader goes on after it."""

    records: Sequence[Record]
    trailer: ShardCommitted
    next_offset: int


class BatchReader:
    """Turns the committed records of one log partition into whole batches, in order."""

    def __init__(
        self, place: Place, *, is_resumed: bool, sequence: int | None = None, epoch: int = 0
    ) -> None:
        self._place = place
        self._pending: list[Record] = []
        # Only a reader that goes on inside a batch, which was checked before, may see its tail.
        self._may_be_tail = is_resumed
        # Whoever knows the batch before the first one says so, and a hole shows.
        self._sequence = sequence if sequence is not None or is_resumed else 0
        self._epoch = epoch
        self.genesis: ShardGenesis | None = None
        self.torn_records = 0

    def feed(self, records: Iterable[Record]) -> list[Batch]:
        """The batches that these records complete."""
        batches: list[Batch] = []
        for record in records:
            kind = type_of(record)
            if kind == ShardCommitted.TYPE:
                batches.append(self._close(record))
            elif kind == ShardGenesis.TYPE:
                self._found(record)
            else:
                self._pending.append(record)
        return batches

    @property
    def open_records(self) -> int:
        """How many records wait for their trailer."""
        return len(self._pending)

    def _found(self, record: Record) -> None:
        genesis = data_of(record)
        assert isinstance(genesis, ShardGenesis)
        self.genesis = genesis

    def _close(self, record: Record) -> Batch:
        trailer = data_of(record)
        assert isinstance(trailer, ShardCommitted)
        self._check_order(trailer, record)
        pending, self._pending = self._pending, []
        whole = pending[len(pending) - trailer.count :] if trailer.count <= len(pending) else None
        if whole is None:
            if not self._may_be_tail:
                raise IntegrityError(
                    f"{self._where(record)}: the trailer counts {trailer.count} records and "
                    f"{len(pending)} are there; records of this log are missing",
                    code="integrity.torn",
                )
            whole = pending
        elif batch_digest(whole) != trailer.digest:
            raise IntegrityError(
                f"{self._where(record)}: the records are not those the trailer digests",
                code="integrity.digest",
            )
        self.torn_records += len(pending) - len(whole)
        self._may_be_tail = False
        return Batch(whole, trailer, record.offset + 1)

    def _check_order(self, trailer: ShardCommitted, record: Record) -> None:
        if self._sequence is not None and trailer.sequence != self._sequence + 1:
            raise IntegrityError(
                f"{self._where(record)}: trailer {trailer.sequence} follows {self._sequence}",
                code="integrity.sequence",
            )
        if trailer.epoch < self._epoch:
            raise IntegrityError(
                f"{self._where(record)}: owner epoch {trailer.epoch} after {self._epoch}",
                code="integrity.epoch",
            )
        self._sequence, self._epoch = trailer.sequence, trailer.epoch

    def _where(self, record: Record) -> str:
        return f"{self._place[0]}/{self._place[1]}@{record.offset}"
