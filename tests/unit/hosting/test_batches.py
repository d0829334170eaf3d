"""A reader of a log believes whole batches only, whatever a torn transaction left behind."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from caseway.contracts.codec import Event, encode
from caseway.contracts.deadline import TimersUpdated
from caseway.contracts.envelope import Envelope
from caseway.contracts.record import Draft, Record
from caseway.contracts.shard import ShardCommitted
from caseway.errors import IntegrityError
from caseway.hosting.batches import BatchReader, batch_digest

PLACE = ("deadlines", 0)


def draft(key: str) -> Draft:
    envelope = Envelope(key, "/test", TimersUpdated.TYPE, 1)
    return encode("deadlines", 0, Event(key, envelope, TimersUpdated(cancelled=(f"lease/{key}",))))


def trailer(sequence: int, records: Sequence[Draft], *, epoch: int = 1, count: int = -1) -> Draft:
    data = ShardCommitted(
        sequence=sequence,
        epoch=epoch,
        count=len(records) if count < 0 else count,
        digest=batch_digest(records),
        positions={},
        registry_position=1,
        greatest_ms=0,
    )
    return encode("deadlines", 0, Event("s", Envelope("t", "/test", ShardCommitted.TYPE, 1), data))


def lie(drafts: Sequence[Draft], start: int = 0) -> list[Record]:
    """The drafts as records with gaps between their offsets, as transaction markers make them."""
    return [
        Record(d.topic, d.partition, start + 2 * n, 0, d.key, d.value, d.headers)
        for n, d in enumerate(drafts)
    ]


def keys(records: Sequence[Record]) -> list[bytes | None]:
    return [record.key for record in records]


def test_records_count_only_once_their_trailer_has_come() -> None:
    reader = BatchReader(PLACE, is_resumed=False)
    first, second = draft("a"), draft("b")
    records = lie([first, second, trailer(1, [first, second])])
    assert reader.feed(records[:2]) == []
    assert reader.open_records == 2
    (batch,) = reader.feed(records[2:])
    assert keys(batch.records) == [b"a", b"b"]
    assert batch.next_offset == records[-1].offset + 1


def test_the_torn_half_of_a_commit_is_dropped_and_counted() -> None:
    reader = BatchReader(PLACE, is_resumed=False)
    torn, whole = draft("torn"), draft("whole")
    (batch,) = reader.feed(lie([torn, whole, trailer(1, [whole], epoch=2)]))
    assert keys(batch.records) == [b"whole"]
    assert reader.torn_records == 1


def test_a_record_missing_from_a_batch_halts_the_reader() -> None:
    reader = BatchReader(PLACE, is_resumed=False)
    first, second = draft("a"), draft("b")
    with pytest.raises(IntegrityError, match="records of this log are missing"):
        reader.feed(lie([second, trailer(1, [first, second])]))


def test_an_altered_record_halts_the_reader() -> None:
    reader = BatchReader(PLACE, is_resumed=False)
    with pytest.raises(IntegrityError, match="not those the trailer digests"):
        reader.feed(lie([draft("altered"), trailer(1, [draft("a")])]))


def test_a_trailer_that_does_not_follow_the_last_one_halts_the_reader() -> None:
    reader = BatchReader(PLACE, is_resumed=False)
    with pytest.raises(IntegrityError, match="trailer 3 follows 1"):
        reader.feed(lie([trailer(1, []), trailer(3, [])]))


def test_an_older_owner_after_a_newer_one_halts_the_reader() -> None:
    reader = BatchReader(PLACE, is_resumed=False)
    with pytest.raises(IntegrityError, match="owner epoch 1 after 2"):
        reader.feed(lie([trailer(1, [], epoch=2), trailer(2, [], epoch=1)]))


def test_a_reader_that_goes_on_inside_a_batch_takes_its_tail_once() -> None:
    first, second, third = draft("a"), draft("b"), draft("c")
    reader = BatchReader(PLACE, is_resumed=True)
    tail, after = reader.feed(
        lie([second, trailer(7, [first, second]), third, trailer(8, [third])], start=2)
    )
    assert keys(tail.records) == [b"b"]
    assert keys(after.records) == [b"c"]


def test_only_the_first_batch_of_a_resumed_reader_may_be_a_tail() -> None:
    first, second = draft("a"), draft("b")
    reader = BatchReader(PLACE, is_resumed=True)
    with pytest.raises(IntegrityError, match="missing"):
        reader.feed(lie([trailer(7, []), second, trailer(8, [first, second])]))
