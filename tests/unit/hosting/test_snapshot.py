"""A fold written down and read back: the same state, or nothing at all."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pytest

from caseway.contracts.record import Draft, Record, instant_of
from caseway.contracts.shard import ParkedInput, SnapshotMarked
from caseway.kernel.entities import Entities, Entity, StateCodec
from caseway.kernel.snapshot import (
    LoadedSnapshot,
    SnapshotReader,
    SnapshotWriter,
    digest_of_all,
)
from tests.unit.hosting.toy import CARD, Tally

RECORD_BYTES_MAX = 1_047_552
PARKED = ParkedInput(
    topic="t", partition=0, offset=4, at_ms=9, value="eA==", headers=(("a", "eA=="),)
)


class Partition:
    """A snapshot partition and the fold that is written to it."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.fold: Entities[Tally] = Entities(CARD)
        self.writer = SnapshotWriter(CARD, 0)

    def write(self, changes: Mapping[str, Entity[Tally] | None]) -> Sequence[Draft]:
        for key, entity in changes.items():
            if entity is None:
                self.fold.pop(key, None)
            else:
                self.fold[key] = entity
        drafts = self.writer.write(changes, self.fold.written, mark)
        start = len(self.records)
        self.records += [Record(d[0], d[1], start + n, 0, *d[2:]) for n, d in enumerate(drafts)]
        return drafts

    def read(self, records: Iterable[Record] | None = None) -> LoadedSnapshot[Tally] | None:
        reader = SnapshotReader(CARD)
        reader.feed(self.records if records is None else records)
        return reader.load()

    def compacted(self) -> list[Record]:
        """As a compacted topic may keep it: the newest record of each key."""
        newest = {record.key: record for record in self.records}
        return sorted(newest.values(), key=lambda record: record.offset)


def mark(round_: int, entries: int, digest: str) -> SnapshotMarked:
    return SnapshotMarked(
        round=round_,
        state_version=CARD.state_version,
        log_offset=7,
        sequence=3,
        epoch=1,
        positions={"submissions/0": 5},
        registry_position=2,
        greatest_ms=11,
        entries=entries,
        states_digest=digest,
        taken_at=instant_of(0),
    )


def entity(*heard: str, sequence: int = 1) -> Entity[Tally]:
    return Entity(Tally(heard), sequence)


def loaded(found: LoadedSnapshot[Tally] | None) -> Entities[Tally]:
    assert found is not None
    return found.entities


ROUNDS: tuple[dict[str, Entity[Tally] | None], ...] = (
    {"a": entity("x"), "b": entity("y"), "c": entity("settle")},
    {"a": entity("x", "settle", sequence=2), "b": None, "d": entity("größe", '"quoted"')},
    {"e": Entity(Tally(("z",), due_ms=5), 3, (PARKED, PARKED), "ValueError"), "nobody": None},
    {"d": entity("settle"), "f": Entity(None, 1, (PARKED,), "ValueError")},
)


def test_what_was_written_is_read_back_round_after_round() -> None:
    made = Partition()
    for changes in ROUNDS:
        made.write(changes)
        assert loaded(made.read()) == made.fold
        assert loaded(made.read(made.compacted())) == made.fold


def test_the_marker_is_the_last_record_and_comes_back_as_it_was() -> None:
    made = Partition()
    drafts = made.write(ROUNDS[0])
    assert [draft.key for draft in drafts].index(b"~marker") == len(drafts) - 1
    found = made.read()
    assert found is not None
    assert found.marker == mark(1, 2, found.marker.states_digest)


def test_a_writer_that_goes_on_after_a_snapshot_writes_what_the_first_one_would() -> None:
    one, two = Partition(), Partition()
    for changes in ROUNDS:
        found = two.read()
        two.writer = SnapshotWriter(CARD, 0)
        if found is not None:
            two.writer.resume(found)
        assert one.write(changes) == two.write(changes)


def test_a_case_that_is_settled_or_gone_leaves_a_tombstone_and_no_record_of_its_own() -> None:
    made = Partition()
    made.write({"a": entity("x"), "b": entity("x")})
    drafts = made.write({"a": entity("settle"), "b": None})
    assert [(d.key, d.value) for d in drafts if d.value is None] == [(b"a", None), (b"b", None)]
    assert "a" in loaded(made.read())
    assert "b" not in loaded(made.read())


def test_every_round_that_is_cut_short_gives_the_one_before_or_nothing() -> None:
    made = Partition()
    folds: dict[int, dict[str, Entity[Tally]]] = {}
    for changes in ROUNDS:
        made.write(changes)
        folds[len(made.records)] = dict(made.fold)
    for cut in range(len(made.records)):
        found = made.read(made.records[:cut])
        assert (dict(loaded(found)) if found else None) == folds.get(cut), cut


def test_each_entry_that_is_lost_altered_or_there_too_much_is_found_out() -> None:
    made = Partition()
    for changes in ROUNDS:
        made.write(changes)
    whole = made.compacted()
    assert made.read(whole) is not None
    for at, record in enumerate(whole[:-1]):
        if record.value is None:
            continue
        assert made.read(whole[:at] + whole[at + 1 :]) is None, record.key
        for value in (b"[]", b"{}", b"x", b"[[1]]", record.value.replace(b"1", b"2", 1)):
            if value != record.value:
                assert (
                    made.read([*whole[:at], record._replace(value=value), *whole[at + 1 :]]) is None
                )
    ghost = whole[0]._replace(key=b"ghost", value=StateCodec(CARD).encode(entity("x")))
    assert made.read([ghost, *whole]) is None
    swapped = [whole[0]._replace(key=b"zz"), *whole[1:]]
    assert made.read(swapped) is None


@pytest.mark.parametrize("value", [None, b"", b"{", b"{}", b"[]", b"\xff"])
def test_a_marker_that_is_none_is_no_reason_to_fall(value: bytes | None) -> None:
    made = Partition()
    made.write(ROUNDS[0])
    assert made.read([*made.records[:-1], made.records[-1]._replace(value=value)]) is None


def test_a_snapshot_of_another_version_is_not_read() -> None:
    made = Partition()
    made.write(ROUNDS[0])
    reader = SnapshotReader(replace(CARD, state_version=2))
    reader.feed(made.records)
    assert reader.load() is None


def test_whoever_begins_anew_takes_away_what_lies_there() -> None:
    made = Partition()
    for changes in ROUNDS[:2]:
        made.write(changes)
    made.records.append(made.records[0]._replace(key=b"torn", value=b"half a round"))
    reader = SnapshotReader(CARD)
    reader.feed(made.records)
    assert reader.load() is None
    made.writer = SnapshotWriter(CARD, 0)
    made.writer.replace(reader.keys)
    made.write({key: made.fold.get(key) for key in "abcd"})
    assert loaded(made.read()) == made.fold
    assert loaded(made.read(made.compacted())) == made.fold
    made.write(ROUNDS[2])
    assert loaded(made.read()) == made.fold


def test_a_case_that_is_stuck_is_unpacked_at_once_so_that_it_is_counted() -> None:
    card = replace(CARD, is_stuck=lambda state: "stuck" in state.heard)
    entities = Entities(card)
    entities.update({"a": entity("x"), "b": entity("stuck"), "c": entity("settle", "stuck")})
    drafts = SnapshotWriter(card, 0).write(entities, entities.written, mark)
    reader = SnapshotReader(card)
    reader.feed(Record(d[0], d[1], n, 0, *d[2:]) for n, d in enumerate(drafts))
    found = loaded(reader.load())
    assert found == entities
    assert dict(found.in_use()).keys() == {"b"}
    assert (found.census().open, found.census().stuck) == (2, 1)


def test_packs_stay_below_what_a_record_may_hold() -> None:
    made = Partition()
    long = 'ä"\\' * 20_000
    drafts = made.write({f"k{n:03}": entity("settle", long) for n in range(20)})
    packs = [draft for draft in drafts if (draft.key or b"").startswith(b"~settled/")]
    assert len(packs) > 1
    assert max(draft.size_bytes for draft in drafts) < RECORD_BYTES_MAX
    assert loaded(made.read(made.compacted())) == made.fold


@pytest.mark.parametrize("word", ["settle", "open"])
def test_an_entry_too_large_for_any_record_leaves_the_round_unwritten(word: str) -> None:
    made = Partition()
    made.write({"a": entity("x")})
    assert made.write({"a": entity("y"), "b": entity(word, "x" * 1_000_001)}) == ()
    made.write({"a": entity("y"), "b": entity(word)})
    found = made.read()
    assert found is not None
    assert found.marker.round == 2
    assert loaded(found) == made.fold


def test_the_digest_of_all_does_not_depend_on_their_order_and_forgets_no_double() -> None:
    codec = StateCodec(CARD)
    digests = [codec.digest(key, entity(key)) for key in "abc"]
    wholes = {digest_of_all(some) for some in itertools.permutations(digests)}
    assert len(wholes) == 1
    assert digest_of_all([digests[0], digests[0]]) != digest_of_all([])  # as it would be with XOR
    assert digest_of_all([*digests, digests[0]]) not in wholes


def test_key_state_sequence_fault_and_parked_inputs_are_all_under_the_digest() -> None:
    codec = StateCodec(CARD)
    base = entity("x")
    others = (
        entity("y"),
        entity("x", sequence=2),
        replace(base, fault="F"),
        replace(base, parked=(PARKED,)),
        replace(base, state=None),
    )
    digests = {codec.digest("a", e) for e in (base, *others)} | {codec.digest("b", base)}
    assert len(digests) == 7
    for some in (base, *others):
        assert codec.decode(codec.encode(some)) == some
