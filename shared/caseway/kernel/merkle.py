"""RFC 6962 Merkle trees: a frontier that grows leaf by leaf, and proofs a stranger can check.

Every function takes leaf *hashes*. A verifier makes them itself, by `leaf_hash` over the bytes
it holds: were a hash taken from the prover, an inner node could pass for a leaf.

A verifier answers yes or no and never raises over what a prover sent. It takes size, index
and root from a checkpoint, never from the proof; the number of nodes follows from them, so a
proof that skips an inner node or adds one is refused even where its hashes add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from caseway.errors import IntegrityError

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf; its prefix keeps a leaf from ever passing for an inner node."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over its two children."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """All of a tree that growing it needs: the roots of its complete subtrees, largest first.

    One hash for each one-bit of `size`: 20 hashes stand for a million leaves.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        # A wrong number of hashes would grow on into a root that no proof fits.
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise IntegrityError(
                f"a frontier of size {self.size} with {len(self.hashes)} hashes;"
                " expected one for each one-bit of the size",
                code="integrity.frontier",
            )

    def append(self, leaf: bytes) -> Frontier:
        """The frontier with one more leaf hash; for many, `extend` is twice as fast."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier with more leaf hashes, in order; one pass, whatever their number."""
        size, stack = self.size, list(self.hashes)
        for leaf in leaves:
            assert len(leaf) == 32, "a frontier takes leaf hashes, not the leaves themselves"
            carry, bits = leaf, size
            while bits & 1:  # each one-bit is a complete subtree that this leaf completes
                carry = sha256(b"\x01" + stack.pop() + carry).digest()
                bits >>= 1
            stack.append(carry)
            size += 1
        return Frontier(size, tuple(stack))

    def root(self) -> bytes:
        """The root of the whole tree."""
        if not self.hashes:
            return EMPTY_ROOT
        *others, root = self.hashes
        for left in reversed(others):
            root = node_hash(left, root)
        return root

    def to_hex(self) -> tuple[str, ...]:
        """The size as 16 hex digits, then the hashes: all that `from_hex` needs.

        Example:
            >>> Frontier().to_hex()
            ('0000000000000000',)
        """
        return (f"{self.size:016x}", *(each.hex() for each in self.hashes))

    @classmethod
    def from_hex(cls, texts: Sequence[str]) -> Frontier:
        """Read what `to_hex` wrote, and nothing else.

        Raises:
            IntegrityError: integrity.frontier, for any other text.
        """
        try:
            size = int(texts[0], 16)
            frontier = cls(size, tuple(bytes.fromhex(text) for text in texts[1:]))
        except (ValueError, IndexError):
            frontier = cls()
        whole = all(len(each) == 32 for each in frontier.hashes)
        if not whole or frontier.to_hex() != tuple(texts):
            raise IntegrityError(
                "a stored frontier that is not a size and hashes in hex; restore the snapshot",
                code="integrity.frontier",
            )
        return frontier


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    return Frontier().extend(leaves).root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The nodes that lead from leaf `index` to the root, lowest first."""
    assert 0 <= index < len(leaves), "the leaf lies in the tree"
    low, high = 0, len(leaves)
    path: list[bytes] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(root_of(leaves[middle:high]))
            high = middle
        else:
            path.append(root_of(leaves[low:middle]))
            low = middle
    return tuple(reversed(path))


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether the tree of this size and root has this leaf hash at `index` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    position, last, found = index, size - 1, leaf
    for node in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            found = node_hash(node, found)
            # On the right edge, levels without a left sibling add no node to the path.
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            found = node_hash(found, node)
        position, last = position >> 1, last >> 1
    return last == 0 and found == root


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """The nodes that show the tree of the first `old_size` leaves to be a prefix of this one.

    Empty for equal sizes and for an old size of 0, where nothing needs proof.
    """
    assert 0 <= old_size <= len(leaves), "the older tree is not the larger"
    if old_size in (0, len(leaves)):
        return ()
    low, high = 0, len(leaves)
    path: list[bytes] = []
    while high != old_size:
        middle = low + _split(high - low)
        if old_size <= middle:
            path.append(root_of(leaves[middle:high]))
            high = middle
        else:
            path.append(root_of(leaves[low:middle]))
            low = middle
    if low:  # where the old tree is one complete subtree, the verifier holds its root already
        path.append(root_of(leaves[low:high]))
    return tuple(reversed(path))


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the newer tree only adds leaves after those of the older (RFC 9162, 2.1.4.2)."""
    if not 0 <= old_size <= new_size or not _are_hashes(old_root, new_root, *proof):
        return False
    if old_size == 0 and old_root != EMPTY_ROOT:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if old_size == 0 or not proof:
        return old_size == 0 and not proof
    first, *rest = proof if old_size & (old_size - 1) else (old_root, *proof)
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_found = new_found = first
    for node in rest:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_found, new_found = node_hash(node, old_found), node_hash(node, new_found)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new_found = node_hash(new_found, node)
        position, last = position >> 1, last >> 1
    return last == 0 and old_found == old_root and new_found == new_root


def _split(size: int) -> int:
    """The largest power of two below `size`: where RFC 6962 parts a tree in two."""
    return 1 << (size - 1).bit_length() - 1


def _are_hashes(*values: bytes) -> bool:
    # A node of another length could shift the border between left and right child.
    return all(len(value) == 32 for value in values)
