"""Merkle trees: the known vectors, every small proof, and a prover that lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseway.errors import IntegrityError
from caseway.kernel.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

Proof = Sequence[bytes]

# The test tree of Certificate Transparency: leaf inputs, then the root for every size.
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAF_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
LEAF_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
LEAF_6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
NODE_2_3 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
NODE_4_5 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
NODE_6_7 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
NODE_4_7 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"

LEAVES = [leaf_hash(b"leaf-%d" % number) for number in range(300)]
SIZES = range(1, 41)


def rfc_root(leaves: Sequence[bytes]) -> bytes:
    """The definition in RFC 6962, 2.1, word for word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + rfc_root(leaves[:split]) + rfc_root(leaves[split:])).digest()


def hexes(proof: Proof) -> list[str]:
    return [node.hex() for node in proof]


def lies(proof: Proof) -> Iterator[list[bytes]]:
    """What a prover may try instead of the truth, every place of the proof in turn."""
    honest = list(proof)
    stranger = sha256(b"stranger").digest()
    for place, node in enumerate(honest):
        before, after = honest[:place], honest[place + 1 :]
        yield [*before, bytes([node[0] ^ 1]) + node[1:], *after]  # altered
        yield [*before, node[:31] + bytes([node[31] ^ 128]), *after]
        yield [*before, *after]  # an inner node skipped
        yield [*before, node, node, *after]  # and one counted twice
        yield [*before, stranger, node, *after]  # one put in
        yield [*before, b"", *after]
        yield [*before, node[:31], *after]
        yield [*before, node + b"\x00", *after]
        if after:
            yield [*before, after[0], node, *after[1:]]  # swapped
            yield [*before, node + after[0], *after[1:]]  # the border between two moved
            yield [*before, node_hash(node, after[0]), *after[1:]]  # two folded into one
            yield [*before, node_hash(after[0], node), *after[1:]]
    yield [*honest, stranger]  # extended
    yield [*honest, EMPTY_ROOT]
    yield [*honest[::-1], stranger]
    if honest:
        yield []


class TestTheKnownTree:
    def test_leaf_and_node_hashes_are_kept_apart(self) -> None:
        assert leaf_hash(b"").hex() == ROOTS[1]
        assert leaf_hash(b"\x00").hex() == LEAF_1
        assert node_hash(leaf_hash(b""), leaf_hash(b"\x00")).hex() == ROOTS[2]

    def test_every_root_is_the_known_one(self) -> None:
        hashes = [leaf_hash(data) for data in INPUTS]
        assert [root_of(hashes[:size]).hex() for size in range(9)] == ROOTS

    @pytest.mark.parametrize(
        ("index", "size", "proof"),
        [
            (0, 1, []),
            (0, 8, [LEAF_1, NODE_2_3, NODE_4_7]),
            (5, 8, [LEAF_4, NODE_6_7, ROOTS[4]]),
            (2, 3, [ROOTS[2]]),
            (1, 5, [ROOTS[1], NODE_2_3, LEAF_4]),
        ],
    )
    def test_inclusion_proofs_are_the_known_ones(
        self, index: int, size: int, proof: list[str]
    ) -> None:
        hashes = [leaf_hash(data) for data in INPUTS[:size]]
        assert hexes(inclusion_proof(hashes, index)) == proof
        nodes, root = [bytes.fromhex(node) for node in proof], bytes.fromhex(ROOTS[size])
        assert verify_inclusion(hashes[index], index, size, nodes, root)

    @pytest.mark.parametrize(
        ("old", "new", "proof"),
        [
            (1, 1, []),
            (1, 8, [LEAF_1, NODE_2_3, NODE_4_7]),
            (6, 8, [NODE_4_5, NODE_6_7, ROOTS[4]]),
            (2, 5, [NODE_2_3, LEAF_4]),
            (6, 7, [NODE_4_5, LEAF_6, ROOTS[4]]),
        ],
    )
    def test_consistency_proofs_are_the_known_ones(
        self, old: int, new: int, proof: list[str]
    ) -> None:
        hashes = [leaf_hash(data) for data in INPUTS[:new]]
        assert hexes(consistency_proof(hashes, old)) == proof
        old_root, new_root = bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new])
        nodes = [bytes.fromhex(node) for node in proof]
        assert verify_consistency(old, old_root, new, new_root, nodes)

    def test_go_s_tlog_package_makes_the_same_tree_and_proofs(self) -> None:
        assert root_of(LEAVES[:5]).hex() == (
            "00d21829a5503145348abcf712513eacf2a274211ad83e970202bb5b6d80b286"
        )
        included = [
            "f76836325aec5699d8d71f8e42e9d47c5c29b08059ba296384f7ca40ad3a40ae",
            "60a53eed0de87a90c8e59427c59c46253c33a76a09502a51801300927b7e6bdc",
            "ea9fc1a1b6e191b460d0d6306e3e870c173f39330f13cda1b70cfc72bdc398ba",
        ]
        third = "fca89f57c9f8c8eb4047a7ff9d333acf9e0f3384b20b255bceab0f216dcca267"
        assert hexes(inclusion_proof(LEAVES[:5], 2)) == included
        assert hexes(consistency_proof(LEAVES[:5], 3)) == [third, *included]


class TestFrontier:
    def test_it_grows_to_the_root_of_the_definition_for_0_to_300_leaves(self) -> None:
        frontier = Frontier()
        for size in range(301):
            assert frontier.size == size
            assert frontier.root() == rfc_root(LEAVES[:size]) == root_of(LEAVES[:size])
            if size < 300:
                frontier = frontier.append(LEAVES[size])

    @given(st.integers(0, 300), st.integers(0, 300))
    def test_extending_in_two_steps_is_extending_in_one(self, one: int, other: int) -> None:
        low, high = sorted((one, other))
        stepped = Frontier().extend(LEAVES[:low]).extend(iter(LEAVES[low:high]))
        assert stepped == Frontier().extend(LEAVES[:high])

    def test_growing_leaves_the_older_frontier_as_it_was(self) -> None:
        older = Frontier().extend(LEAVES[:7])
        older.append(LEAVES[7])
        assert older == Frontier().extend(LEAVES[:7])

    @given(st.integers(0, 300))
    def test_it_reads_back_what_it_wrote(self, size: int) -> None:
        frontier = Frontier().extend(LEAVES[:size])
        assert Frontier.from_hex(frontier.to_hex()) == frontier
        assert len(frontier.to_hex()) == 1 + size.bit_count()

    @pytest.mark.parametrize(
        "texts",
        [
            (),
            ("",),
            ("0000000000000001",),
            ("0000000000000002", ROOTS[1], ROOTS[2]),
            ("0000000000000001", ROOTS[1][:-2]),
            ("0000000000000001", ROOTS[1].upper()),
            ("0000000000000001", ROOTS[1][:-2] + " " + ROOTS[1][-2:]),
            ("0000000000000001", "no hex"),
            ("1", ROOTS[1]),
            ("-000000000000001", ROOTS[1]),
            ("000000000000000x",),
        ],
    )
    def test_a_damaged_frontier_is_refused(self, texts: tuple[str, ...]) -> None:
        with pytest.raises(IntegrityError) as caught:
            Frontier.from_hex(texts)
        assert caught.value.code == "integrity.frontier"

    @pytest.mark.parametrize(("size", "count"), [(3, 1), (1, 0), (0, 1), (-1, 1)])
    def test_a_frontier_of_the_wrong_width_cannot_be_made(self, size: int, count: int) -> None:
        with pytest.raises(IntegrityError):
            Frontier(size, tuple(LEAVES[:count]))

    def test_a_leaf_that_was_not_hashed_is_a_programmer_s_error(self) -> None:
        with pytest.raises(AssertionError):
            Frontier().append(b"data")


class TestEveryProof:
    def test_every_inclusion_proof_up_to_40_leaves_verifies(self) -> None:
        for size in SIZES:
            leaves, root = LEAVES[:size], rfc_root(LEAVES[:size])
            for index in range(size):
                proof = inclusion_proof(leaves, index)
                assert verify_inclusion(leaves[index], index, size, proof, root), (index, size)

    def test_every_consistency_proof_up_to_40_leaves_verifies(self) -> None:
        roots = [rfc_root(LEAVES[:size]) for size in range(41)]
        for new in range(41):
            for old in range(new + 1):
                proof = consistency_proof(LEAVES[:new], old)
                assert verify_consistency(old, roots[old], new, roots[new], proof), (old, new)

    def test_a_prover_asked_for_what_is_not_there_stops(self) -> None:
        for index in (-1, 5):
            with pytest.raises(AssertionError):
                inclusion_proof(LEAVES[:5], index)
        for old in (-1, 6):
            with pytest.raises(AssertionError):
                consistency_proof(LEAVES[:5], old)


class TestALyingProver:
    def test_no_altered_inclusion_proof_is_accepted(self) -> None:
        for size in SIZES:
            leaves, root = LEAVES[:size], rfc_root(LEAVES[:size])
            for index in range(size):
                for lie in lies(inclusion_proof(leaves, index)):
                    assert not verify_inclusion(leaves[index], index, size, lie, root)

    def test_no_leaf_is_shown_at_another_place_or_in_another_root(self) -> None:
        for size in SIZES:
            leaves, root = LEAVES[:size], rfc_root(LEAVES[:size])
            for index in range(size):
                proof = inclusion_proof(leaves, index)
                for place in range(-1, size + 2):
                    shown = verify_inclusion(leaves[index], place, size, proof, root)
                    assert shown is (place == index)
                assert not verify_inclusion(LEAVES[99], index, size, proof, root)
                assert not verify_inclusion(leaves[index], index, size, proof, LEAVES[99])

    def test_no_path_is_shown_that_the_size_does_not_call_for(self) -> None:
        for size in SIZES:
            leaves, root = LEAVES[:size], rfc_root(LEAVES[:size])
            for index in range(size):
                proof = inclusion_proof(leaves, index)
                for claimed in range(-1, 45):
                    if verify_inclusion(leaves[index], index, claimed, proof, root):
                        assert len(proof) == len(inclusion_proof(LEAVES[:claimed], index))

    def test_a_leaf_is_not_shown_in_a_smaller_tree_under_the_root_of_a_larger(self) -> None:
        root = rfc_root(LEAVES[:8])
        for index in range(4, 8):
            proof = inclusion_proof(LEAVES[:8], index)
            for size in range(1, 8):
                assert not verify_inclusion(LEAVES[index], index % 4, size, proof, root)
        assert not verify_inclusion(LEAVES[1], 0, 1, LEAVES[:1], rfc_root(LEAVES[:2]))

    def test_only_whole_hashes_are_taken(self) -> None:
        root = rfc_root(LEAVES[:2])
        short, shifted = LEAVES[0][:31], LEAVES[0][31:] + LEAVES[1]
        assert node_hash(short, shifted) == root, "what the length check is for"
        assert not verify_inclusion(short, 0, 2, (shifted,), root)
        assert not verify_consistency(1, short, 2, root, (shifted,))
        assert not verify_consistency(5, short, 5, short, ())

    def test_an_inner_node_passes_for_a_leaf_only_under_another_size(self) -> None:
        root = rfc_root(LEAVES[:8])
        node = node_hash(LEAVES[4], LEAVES[5])
        higher = inclusion_proof(LEAVES[:8], 4)[1:]
        assert verify_inclusion(node, 2, 4, higher, root), "hence leaf_hash is the verifier's"
        for index in range(8):
            assert not verify_inclusion(node, index, 8, higher, root)
        assert leaf_hash(LEAVES[4] + LEAVES[5]) != node

    def test_no_altered_consistency_proof_is_accepted(self) -> None:
        roots = [rfc_root(LEAVES[:size]) for size in range(41)]
        for new in range(41):
            for old in range(new + 1):
                for lie in lies(consistency_proof(LEAVES[:new], old)):
                    assert not verify_consistency(old, roots[old], new, roots[new], lie)

    def test_no_rewritten_history_is_consistent(self) -> None:
        for new in SIZES:
            for old in range(1, new + 1):
                forged = [*LEAVES[:new]]
                forged[old - 1] = LEAVES[99]
                old_root, new_root = rfc_root(LEAVES[:old]), rfc_root(forged)
                for source in (forged, LEAVES[:new]):
                    proof = consistency_proof(source, old)
                    assert not verify_consistency(old, old_root, new, new_root, proof)

    def test_each_root_of_a_consistency_proof_is_checked(self) -> None:
        for new in SIZES:
            for old in range(new + 1):
                old_root, new_root = rfc_root(LEAVES[:old]), rfc_root(LEAVES[:new])
                proof = consistency_proof(LEAVES[:new], old)
                assert not verify_consistency(old, LEAVES[99], new, new_root, proof)
                if old:
                    assert not verify_consistency(old, old_root, new, LEAVES[99], proof)

    def test_no_consistency_is_shown_between_sizes_that_the_path_does_not_fit(self) -> None:
        roots = [rfc_root(LEAVES[:size]) for size in range(20)]
        for new in range(1, 20):
            for old in range(1, new):
                proof = consistency_proof(LEAVES[:new], old)
                for claimed in range(-1, 24):
                    if claimed not in (old, new):
                        path = (claimed, roots[old], new, roots[new], proof)
                        assert not verify_consistency(*path)
                assert not verify_consistency(new, roots[new], old, roots[old], proof)

    def test_an_empty_tree_has_one_root(self) -> None:
        assert verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, ())
        assert not verify_consistency(0, LEAVES[0], 0, LEAVES[0], ())
        assert not verify_consistency(0, EMPTY_ROOT, 0, LEAVES[0], ())
        assert not verify_inclusion(EMPTY_ROOT, 0, 0, (), EMPTY_ROOT)
