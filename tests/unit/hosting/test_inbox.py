"""The queues of a shard: whole batches, bounded shares, and what a record has to wait for."""

from __future__ import annotations

from collections.abc import Sequence

from caseway.contracts.record import Draft, Record
from caseway.hosting.inbox import Inbox
from tests.unit.hosting.toy import (
    FIXED,
    INBOUND,
    INPUTS,
    INTAKE,
    KEYS,
    admitted,
    spoken,
    trailer_of,
    wish,
)


def inbox(inbound: int = 0, intake: int = 0) -> Inbox:
    return Inbox(INPUTS, [INBOUND, INTAKE], {INBOUND: inbound, INTAKE: intake})


def lie(drafts: Sequence[Draft], start: int = 0, at_ms: int = 5) -> list[Record]:
    """Records with gaps between their offsets."""
    return [
        Record(d.topic, d.partition, start + 3 * n, at_ms, *d[2:]) for n, d in enumerate(drafts)
    ]


def taken(box: Inbox, share: int = 9, position: int = 1) -> list[int]:
    return [record.offset for _, record in box.take(share, position)]


def batch(words: str, sequence: int, registry_position: int = 1) -> list[Draft]:
    drafts = [admitted(word) for word in words]
    return [*drafts, trailer_of(drafts, sequence, registry_position)]


def test_an_inbound_record_waits_for_its_barrier() -> None:
    box = inbox()
    box.receive({INBOUND: lie([wish("a"), wish("b")])})
    assert box.needs_barrier
    assert not box.is_ready(99)
    assert taken(box, position=99) == []
    box.pass_barrier(4)
    assert not box.needs_barrier
    assert not box.is_ready(3)
    assert box.awaited_position(3) == 4
    assert box.is_ready(4)
    assert taken(box, position=4) == [0, 3]


def test_what_comes_after_a_barrier_needs_one_of_its_own() -> None:
    box = inbox()
    box.receive({INBOUND: lie([wish("a")])})
    box.pass_barrier(1)
    box.receive({INBOUND: lie([wish("b")], start=7)})
    assert box.needs_barrier
    assert taken(box) == [0]
    box.pass_barrier(2)
    assert taken(box, position=1) == []
    assert taken(box, position=2) == [7]


def test_a_later_barrier_never_lets_an_earlier_record_wait_longer() -> None:
    box = inbox()
    box.receive({INBOUND: lie([wish("a")])})
    box.pass_barrier(1)
    box.receive({INBOUND: lie([wish("b")], start=7)})
    box.pass_barrier(9)
    assert taken(box, position=1) == [0]


def test_after_a_registry_fact_all_that_waits_asks_again() -> None:
    box = inbox()
    box.receive({INBOUND: lie([wish("a"), wish("b")])})
    box.pass_barrier(1)
    box.require_again()
    assert box.needs_barrier
    assert taken(box) == []


def test_a_log_record_counts_once_its_trailer_has_come() -> None:
    box = inbox()
    records = lie(batch("ab", 1))
    box.receive({INTAKE: records[:2]})
    assert not box.is_ready(1)
    assert box.positions()[INTAKE] == 0
    box.receive({INTAKE: records[2:]})
    assert not box.needs_barrier
    assert taken(box) == [0, 3]
    assert box.positions()[INTAKE] == 7


def test_a_log_record_waits_for_the_registry_its_writer_had() -> None:
    box = inbox()
    box.receive({INTAKE: lie(batch("a", 1, registry_position=6))})
    assert box.awaited_position(2) == 6
    assert taken(box, position=5) == []
    assert taken(box, position=6) == [0]


def test_one_topic_that_waits_holds_up_no_other() -> None:
    box = inbox()
    box.receive({INBOUND: lie([wish("a")]), INTAKE: lie(batch("b", 1))})
    box.pass_barrier(50)
    assert [record.topic for _, record in box.take(9, 1)] == ["intake"]


def test_each_topic_has_its_share_in_the_fixed_order() -> None:
    box = inbox()
    box.receive({INTAKE: lie(batch("abc", 1)), INBOUND: lie([wish(w) for w in "def"])})
    box.pass_barrier(1)
    order = [(record.topic, record.offset) for _, record in box.take(2, 1)]
    assert order == [("submissions", 0), ("submissions", 3), ("intake", 0), ("intake", 3)]


def test_a_position_is_the_first_record_not_yet_taken_and_else_behind_all_that_came() -> None:
    box = inbox(inbound=4, intake=2)
    assert box.positions() == {INBOUND: 4, INTAKE: 2}
    box.receive({INBOUND: lie([wish("a"), wish("b")], start=10)})
    assert box.positions()[INBOUND] == 10
    box.pass_barrier(1)
    for _, record in box.take(9, 1):
        assert box.positions()[INBOUND] == {10: 13, 13: 14}[record.offset]


def test_a_record_counts_as_read_only_once_it_was_handed_out() -> None:
    box = inbox()
    box.receive({INBOUND: lie([wish("a"), wish("b")])})
    box.pass_barrier(1)
    taking = iter(box.take(9, 1))
    next(taking)
    assert box.positions()[INBOUND] == 3
    assert box.queued == 1


def test_what_a_service_does_not_hear_is_stepped_over() -> None:
    box = inbox()
    drafts = [spoken(FIXED, KEYS[0], INTAKE), admitted("a")]
    box.receive({INTAKE: lie([*drafts, trailer_of(drafts, 1)])})
    assert taken(box) == [3]
    box.receive({INTAKE: lie([trailer_of([], 2)], start=9)})
    assert box.positions()[INTAKE] == 10


def test_a_reader_that_goes_on_inside_a_batch_takes_its_rest() -> None:
    whole = lie(batch("abc", 4))
    box = inbox(intake=whole[1].offset)
    box.receive({INTAKE: whole[1:]})
    assert taken(box) == [3, 6]


def test_full_and_oldest_tell_what_waits() -> None:
    box = inbox()
    assert (box.full(1), box.oldest_ms, box.queued) == (frozenset(), None, 0)
    box.receive(
        {INBOUND: lie([wish("a"), wish("b")], at_ms=8), INTAKE: lie(batch("c", 1), at_ms=6)}
    )
    assert box.full(2) == {INBOUND}
    assert box.full(3) == frozenset()
    assert (box.oldest_ms, box.queued) == (6, 3)


def test_nothing_is_made_of_nothing() -> None:
    box = inbox()
    box.receive({INBOUND: []})
    assert box.positions() == {INBOUND: 0, INTAKE: 0}
    assert box.awaited_position(3) == 3
