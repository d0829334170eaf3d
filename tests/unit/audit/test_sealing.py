"""Sealing: a leaf anyone can make again, trees that only grow, notes a stranger can check."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseway.contracts.audit import CheckpointSealed, TreeHead
from caseway.contracts.record import Record
from caseway.contracts.shard import ShardGenesis
from caseway.contracts.signing import SigningKey
from caseway.errors import ContractError, IntegrityError
from caseway.kernel.merkle import leaf_hash, root_of
from caseway.kernel.notes import Checkpoint, NoteKey, open_note
from caseway_audit.sealing import GROWN_MAX, Sealer, leaf_bytes, line_of, origin_of

KEY = SigningKey("checkpoint", bytes(range(32)))
GENESIS = ShardGenesis(namespace="demo", generation="g1", shards=2, checkpoint_key=KEY.public_text)
CASES, AGENTS = ("cases", 0), ("agent-reports", 1)


def record(
    offset: int,
    value: bytes | None = b"{}",
    key: bytes | None = b"c-1",
    headers: tuple[tuple[str, bytes], ...] = (),
    at_ms: int = 0,
) -> Record:
    return Record("cases", 0, offset, at_ms, key, value, headers)


def records(count: int, start: int = 0) -> list[Record]:
    return [record(n, b'{"n":%d}' % n) for n in range(start, start + count)]


def sealed(sealer: Sealer) -> CheckpointSealed:
    checkpoint = sealer.seal(GENESIS, KEY)
    assert checkpoint is not None
    return checkpoint


PARTS = st.none() | st.binary(max_size=6)
HEADERS = st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=3)), max_size=3)


@given(PARTS, PARTS, HEADERS, PARTS, PARTS, HEADERS)
def test_two_records_share_a_leaf_only_when_they_are_alike(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes]],
    other_key: bytes | None,
    other_value: bytes | None,
    other_headers: list[tuple[str, bytes]],
) -> None:
    one = record(0, value, key, tuple(headers))
    other = record(0, other_value, other_key, tuple(other_headers))
    are_alike = (key, value, headers) == (other_key, other_value, other_headers)
    assert (leaf_bytes(one) == leaf_bytes(other)) is are_alike


def test_moving_a_byte_between_key_value_and_headers_makes_another_leaf() -> None:
    splits = [
        record(0, b"bc", b"a"),
        record(0, b"c", b"ab"),
        record(0, b"", b"abc"),
        record(0, None, b"abc"),
        record(0, b"", b"a", (("b", b"c"),)),
        record(0, b"", b"a", (("bc", b""),)),
        record(0, b"", b"a", (("b", b""), ("c", b""))),
        record(0, b"", b"a", (("bc", None),)),
        record(0, b"", b"a", (("b\udcff", None),)),
    ]
    assert len({leaf_bytes(each) for each in splits}) == len(splits)


def test_a_copy_with_other_offsets_and_times_has_the_same_tree() -> None:
    original, copy = Sealer(), Sealer()
    original.extend(CASES, records(5))
    copy.extend(CASES, [record(n * 3, b'{"n":%d}' % n, at_ms=99) for n in range(5)])
    assert sealed(original).grown[0].root == sealed(copy).grown[0].root


def test_nothing_is_sealed_while_nothing_grew() -> None:
    sealer = Sealer()
    assert sealer.seal(GENESIS, KEY) is None
    sealer.extend(CASES, ())
    assert sealer.seal(GENESIS, KEY) is None
    sealer.extend(CASES, records(1))
    assert sealed(sealer).number == 1
    assert sealer.seal(GENESIS, KEY) is None


def test_a_checkpoint_holds_the_trees_that_grew_and_its_note_all_of_them() -> None:
    sealer = Sealer()
    sealer.extend(CASES, records(3))
    sealer.extend(AGENTS, records(2))
    sealed(sealer)
    sealer.extend(CASES, records(1, start=3))
    second = sealed(sealer)
    assert [(head.topic, head.size) for head in second.grown] == [("cases", 4)]
    note = Checkpoint.from_text(open_note(second.note, [_note_key()]).text)
    assert note.origin == "caseway/demo/g1"
    assert note.size == 2
    leaves = [leaf_hash(leaf_bytes(each)) for each in records(4)]
    assert note.extensions == (
        f"agent-reports/1 2 {root_of(leaves[:2]).hex()} 2",
        f"cases/0 4 {root_of(leaves).hex()} 4",
    )


def test_lines_stand_by_topic_and_then_by_partition_number() -> None:
    sealer = Sealer()
    for place in (("cases", 10), ("cases", 2), ("cases-x", 0), ("audits", 1)):
        sealer.extend(place, records(1))
        checkpoint = sealed(sealer)
    places = [line.partition(" ")[0] for line in _extensions(checkpoint)]
    assert places == ["audits/1", "cases/2", "cases/10", "cases-x/0"]


def test_the_small_tree_is_rebuilt_from_the_notes_alone() -> None:
    sealer = Sealer()
    notes = []
    for n in range(7):
        sealer.extend(CASES, records(n + 1, start=n * 10))
        sealer.extend(("agent-reports", 6 - n), records(1))
        notes.append(Checkpoint.from_text(open_note(sealed(sealer).note, [_note_key()]).text))
    leaves = [leaf_hash("".join(f"{x}\n" for x in note.extensions).encode()) for note in notes]
    for note in notes:
        assert note.root == root_of(leaves[: note.size])


@given(st.lists(st.tuples(st.sampled_from([CASES, AGENTS]), st.integers(1, 5)), max_size=12))
def test_the_state_is_the_fold_of_the_audit_log(growth: list[tuple[tuple[str, int], int]]) -> None:
    live, written, ends = Sealer(), [], {CASES: 0, AGENTS: 0}
    for place, count in growth:
        live.extend(place, records(count, start=ends[place]))
        ends[place] += count
        written.append(sealed(live))
    folded = Sealer.from_checkpoints(written)
    assert folded.positions() == live.positions()
    assert not folded.has_growth
    for sealer in (live, folded):
        sealer.extend(CASES, records(2, start=ends[CASES]))
    assert sealed(folded) == sealed(live)


@given(st.lists(st.tuples(st.sampled_from([CASES, AGENTS]), st.integers(1, 5)), max_size=6))
def test_what_is_remembered_is_recalled(growth: list[tuple[tuple[str, int], int]]) -> None:
    live, ends = Sealer(), {CASES: 0, AGENTS: 0}
    for place, count in growth:
        live.extend(place, records(count, start=ends[place]))
        ends[place] += count
        sealed(live)
    live.extend(AGENTS, records(1, start=ends[AGENTS]))  # not sealed: nobody remembers it
    recalled = Sealer()
    recalled.recall(live.remember())
    assert recalled.positions() == live.positions()
    recalled.extend(AGENTS, records(1, start=ends[AGENTS]))
    assert sealed(recalled) == sealed(live)


def test_what_was_remembered_wrongly_is_not_recalled() -> None:
    sealer = Sealer()
    sealer.extend(CASES, records(3))
    sealed(sealer)
    remembered = sealer.remember()
    forged = remembered["cases/0"].model_copy(update={"root": "0" * 64})
    for wrong in ({**remembered, "cases/0": forged}, {"cases/0": remembered["cases/0"]}):
        with pytest.raises(IntegrityError):
            Sealer().recall(wrong)


def test_the_note_of_every_checkpoint_is_what_its_fold_says() -> None:
    sealer, folded = Sealer(), Sealer()
    for n in range(4):
        sealer.extend(CASES, records(3, start=3 * n))
        checkpoint = sealed(sealer)
        folded.evolve(checkpoint)
        assert open_note(checkpoint.note, [_note_key()]).text == folded.note_text(GENESIS)


def test_more_trees_than_fit_are_sealed_by_the_next_checkpoint() -> None:
    sealer = Sealer()
    for number in range(GROWN_MAX + 3):
        sealer.extend(("cases", number), records(1))
    first = sealed(sealer)
    sealer.extend(("cases", 0), records(1, start=1))
    assert len(first.grown) == GROWN_MAX
    assert sealer.has_growth
    assert {head.partition for head in sealed(sealer).grown} == {
        0,
        *range(GROWN_MAX, GROWN_MAX + 3),
    }
    assert not sealer.has_growth


def test_what_waits_is_not_yet_among_the_positions() -> None:
    sealer = Sealer()
    sealer.extend(CASES, records(4))
    assert sealer.positions() == {}
    sealed(sealer)
    assert sealer.positions() == {CASES: 4}


def test_a_record_is_never_sealed_twice() -> None:
    sealer = Sealer()
    sealer.extend(CASES, records(4))
    with pytest.raises(AssertionError, match="once"):
        sealer.extend(CASES, records(1, start=3))


def _three() -> list[CheckpointSealed]:
    sealer, made = Sealer(), []
    for n in range(3):
        sealer.extend(CASES, records(4, start=4 * n))
        made.append(sealed(sealer))
    return made


def test_a_checkpoint_that_is_missing_or_comes_again_is_found() -> None:
    one, two, three = _three()
    for wrong in ([one, three], [one, one], [two], [one, two, two, three]):
        with pytest.raises(IntegrityError, match="follows"):
            Sealer.from_checkpoints(wrong)


def test_a_tree_that_shrinks_or_stands_is_found() -> None:
    one, two, _ = _three()
    behind = two.grown[0].model_copy(update={"next_offset": one.grown[0].next_offset})
    for head in (one.grown[0], one.grown[0].model_copy(update={"next_offset": 99}), behind):
        forged = two.model_copy(update={"grown": (head,)})
        with pytest.raises(IntegrityError) as caught:
            Sealer.from_checkpoints([one, forged])
        assert caught.value.code == "integrity.shrunk"


@pytest.mark.parametrize("changes", [{"root": "0" * 64}, {"size": 6}, {"frontier": ("1" * 64,)}])
def test_a_head_whose_frontier_is_not_its_root_is_found(changes: dict[str, object]) -> None:
    one, *_ = _three()
    forged = one.model_copy(update={"grown": (one.grown[0].model_copy(update=changes),)})
    with pytest.raises(IntegrityError) as caught:
        Sealer.from_checkpoints([forged])
    assert caught.value.code == "integrity.frontier"


def test_a_checkpoint_that_forgets_another_is_found() -> None:
    one, two, _ = _three()
    forged = two.model_copy(update={"frontier": one.frontier})
    with pytest.raises(IntegrityError) as caught:
        Sealer.from_checkpoints([one, forged])
    assert caught.value.code == "integrity.checkpoint"


def test_a_changed_note_does_not_open() -> None:
    one, *_ = _three()
    forged = one.note.replace("cases/0 4", "cases/0 5")
    with pytest.raises(ContractError) as caught:
        open_note(forged, [_note_key()])
    assert caught.value.code == "SIGNATURE_INVALID"


def test_every_checkpoint_fits_into_a_record() -> None:
    hashes = tuple("f" * 64 for _ in range(48))
    head = TreeHead(
        topic="offers." + "x" * 64,
        partition=99,
        size=2**48 - 1,
        root="f" * 64,
        next_offset=2**50,
        frontier=hashes,
    )
    grown = len(head.model_dump_json()) * GROWN_MAX
    note = len(line_of(head)) * 1000
    assert grown + note < 900_000


def _note_key() -> NoteKey:
    return NoteKey(origin_of(GENESIS), KEY.verify_key)


def _extensions(checkpoint: CheckpointSealed) -> tuple[str, ...]:
    return Checkpoint.from_text(open_note(checkpoint.note, [_note_key()]).text).extensions
