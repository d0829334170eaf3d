"""One log partition: whole batches, trailers in order, events that count on (I02 I12 I16 I17 I30).

Written apart from `hosting/batches.py`, so that one mistake is not made twice. A record counts
when its trailer has come; what no trailer vouches for is dropped, as every reader does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from caseway.contracts.codec import Event, decode, type_of
from caseway.contracts.envelope import Envelope
from caseway.contracts.record import Record
from caseway.contracts.shard import CaseResumed, ShardCommitted, ShardGenesis
from caseway.contracts.submission import CaseAdmitted
from caseway.contracts.topics import INTAKE
from caseway.errors import CasewayError
from caseway.invariants.invariant import At, Report

Seen = tuple[At, Event]
_WOKEN = "/wake/"


class Damaged(Exception):
    """The partition is broken here; what follows proves nothing."""


class LogPartition:
    """What a reader of one log knows of it; `batch` is what the last trailer closed."""

    def __init__(self, topic: str, partition: int, report: Report) -> None:
        self.topic, self.partition = topic, partition
        self.place = f"{topic}/{partition}"
        self.positions: dict[str, int] = {}
        self.answered: set[str] = set()
        self._report = report
        self._records: list[Record] = []
        self._at_ms = 0
        self._time = ""
        self._trailer: ShardCommitted | None = None
        self._sequences: dict[str, int] = {}
        self._kept: set[str] = set()
        self._is_founded = False
        self._offset = -1

    def take(self, record: Record) -> Sequence[Seen]:
        """The next record; the events of the batch that it closes."""
        at = At(self.topic, self.partition, record.offset)
        self._follow(record, at)
        kind = type_of(record)
        if kind == ShardGenesis.TYPE:
            if self._is_founded:
                self._broken("I12", "a second genesis", at)
            self._is_founded = True
            return ()
        if not self._is_founded:
            self._broken("I12", "the log does not begin with its genesis", at)
        if kind != ShardCommitted.TYPE:
            self._records.append(record)
            return ()
        trailer = self._read(record, at).data
        assert isinstance(trailer, ShardCommitted)
        return self._close(trailer, at)

    def _follow(self, record: Record, at: At) -> None:
        if record.offset <= self._offset:
            self._broken("I12", f"offset {record.offset} after {self._offset}", at)
        if record.at_ms < self._at_ms:
            self._report("I30", self.place, f"appended at {record.at_ms} after {self._at_ms}", at)
        self._offset, self._at_ms = record.offset, max(record.at_ms, self._at_ms)

    def _close(self, trailer: ShardCommitted, at: At) -> Sequence[Seen]:
        before = self._trailer
        last, epoch = (before.sequence, before.epoch) if before else (0, 0)
        if trailer.sequence != last + 1:
            self._broken("I12", f"trailer {trailer.sequence} follows {last}", at)
        if trailer.epoch < epoch:
            self._broken("I17", f"owner epoch {trailer.epoch} after {epoch}", at)
        pending, self._records = self._records, []
        if trailer.count > len(pending):
            found = f"{trailer.count} records are counted and {len(pending)} are there"
            self._broken("I16", found, at)
        whole = pending[len(pending) - trailer.count :]
        if _digest(whole) != trailer.digest:
            self._broken("I16", "the records are not those that the trailer digests", at)
        self._check_trailer(trailer, at)
        seen = [(At(*record[:3]), self._read(record, At(*record[:3]))) for record in whole]
        self._check_events(seen, trailer)
        self._trailer, self.positions = trailer, {**self.positions, **trailer.positions}
        return seen

    def _check_trailer(self, trailer: ShardCommitted, at: At) -> None:
        before = self._trailer
        for place, position in self.positions.items():
            if trailer.positions.get(place, position) < position:
                found = f"{place} was read to {position}, and now to {trailer.positions[place]}"
                self._report("I02", self.place, found, at)
        if before is None:
            return
        if trailer.registry_position < before.registry_position:
            self._report("I02", self.place, "the registry was read backwards", at)
        if trailer.greatest_ms < before.greatest_ms:
            found = f"greatest time {trailer.greatest_ms} after {before.greatest_ms}"
            self._report("I30", self.place, found, at)

    def _check_events(self, seen: Sequence[Seen], trailer: ShardCommitted) -> None:
        self.answered.clear()
        if self.topic == INTAKE.name:
            # It forgets a key after each commit, until something was admitted under it.
            self._sequences = {key: n for key, n in self._sequences.items() if key in self._kept}
            self._kept |= {e.key for _, e in seen if isinstance(e.data, CaseAdmitted)}
        resumed = {event.key for _, event in seen if isinstance(event.data, CaseResumed)}
        for at, (key, envelope, _) in seen:
            number = self._sequences.get(key, 0) + 1
            if envelope.sequence != number:
                found = f"event {envelope.sequence} stands where {number} belongs"
                self._report("I12", key, found, at)
            self._sequences[key] = envelope.sequence
            self._check_time(key, envelope, at)
            if envelope.cause in self.answered:
                continue
            self.answered.add(envelope.cause)
            if key not in resumed:
                self._check_cause(key, envelope.cause, trailer, at)

    def _check_time(self, key: str, envelope: Envelope, at: At) -> None:
        """The time of the records that were decided never falls; a timer's is the clock's own."""
        if _WOKEN in envelope.cause:
            return
        # Texts of one form, so they compare as the instants do.
        if envelope.time < self._time:
            self._report("I30", key, f"{envelope.time} after {self._time}", at)
        self._time = max(envelope.time, self._time)

    def _check_cause(self, key: str, cause: str, trailer: ShardCommitted, at: At) -> None:
        """What led to an event was consumed in this very commit."""
        place, _, offset = cause.partition("/")[2].rpartition("/")
        end = trailer.positions.get(place)
        if end is None:
            return
        begin = self.positions.get(place, 0)
        if not begin <= int(offset) < end:
            found = f"{place}@{offset} was decided by a commit that consumed {begin} to {end}"
            self._report("I02", key, found, at)

    def _read(self, record: Record, at: At) -> Event:
        try:
            return decode(record, is_sole_writer=True)
        except CasewayError as error:
            self._report("I26", self.place, f"unreadable: {error.code}", at)
            raise Damaged from error

    def _broken(self, invariant: str, what: str, at: At) -> None:
        self._report(invariant, self.place, what, at)
        raise Damaged


def _digest(records: Sequence[Record]) -> str:
    hashed = hashlib.sha256()
    for record in records:
        key, value = record.key or b"", record.value or b""
        hashed.update(b"%d:%d:" % (len(key), len(value)) + key + value)
    return hashed.hexdigest()
