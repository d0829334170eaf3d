"""Grows one Merkle tree per topic partition and seals all of them in signed checkpoints.

The state is the fold of the audit log alone. Each checkpoint is a leaf of one small tree: its
leaf bytes are the lines of its own note, so whoever holds the notes can rebuild the small tree,
and the root that note n signs vouches for every note before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from caseway.contracts.audit import CheckpointSealed, TreeHead
from caseway.contracts.envelope import ATTRIBUTES
from caseway.contracts.record import Record
from caseway.contracts.shard import ShardGenesis
from caseway.contracts.signing import SigningKey
from caseway.errors import IntegrityError
from caseway.kernel.merkle import Frontier, leaf_hash
from caseway.kernel.notes import Checkpoint, sign_note

Place = tuple[str, int]  # a topic partition by the topic's name inside the namespace

# A head with its frontier has at most some 3 kB, so these and the note stay below the 900,000
# bytes of a record, even when every partition of a large namespace grew at once.
GROWN_MAX = 200

# The name of the small tree among the others; no topic partition is called so.
CHECKPOINTS = "checkpoints"

_ABSENT = b"\xff\xff\xff\xff"


def leaf_bytes(record: Record) -> bytes:
    """What a tree commits to: key, value and headers, each with its length before it.

    Lengths have four bytes, big-endian; ffffffff stands for no key or no value, a header's too,
    which is not an empty one. Offset and append time are left out, because a copy of the topic on
    another cluster numbers and stamps its records anew, and the tree must be the same there: the
    place of a record is its leaf index, and the times that decided anything stand in `ce_time` of
    the events and in the trailers.

    Example:
        >>> leaf_bytes(Record("cases", 0, 7, 0, b"c-1", None, (("n", b"v"),))).hex(" ", -4)
        '00000003 632d31ff ffffff00 00000100 0000016e 00000001 76'
    """
    _, _, _, _, key, body, headers = record
    parts = [_field(key), _field(body), len(headers).to_bytes(4)]
    for name, value in headers:
        parts.append(_NAMES.get(name) or _field(name.encode(errors="surrogateescape")))
        parts.append(_field(value))
    return b"".join(parts)


def _field(value: bytes | None) -> bytes:
    return _ABSENT if value is None else len(value).to_bytes(4) + value


# The names that nearly all headers have, ready made: every record of every topic is sealed.
_NAMES = {
    name: _field(name.encode())
    for name in ("content-type", "ce_specversion", "ce_type", "ce_dataschema", *ATTRIBUTES)
}


def origin_of(genesis: ShardGenesis) -> str:
    """The name of this log of checkpoints, and of the key that signs them.

    A generation is part of it: the trees of the next one begin anew.
    """
    return f"caseway/{genesis.namespace}/{genesis.generation}"


def line_of(head: TreeHead) -> str:
    """The line of a note that says how far one tree was sealed."""
    return f"{head.topic}/{head.partition} {head.size} {head.root} {head.next_offset}"


def frontier_of(head: TreeHead) -> Frontier:
    """The compact range a tree grows on from, proved to be that of the head's root.

    Raises:
        IntegrityError: integrity.frontier.
    """
    frontier = Frontier(head.size, tuple(bytes.fromhex(text) for text in head.frontier))
    if frontier.root().hex() != head.root:
        raise IntegrityError(
            f"{head.topic}/{head.partition}: the frontier of size {head.size} has root "
            f"{frontier.root().hex()}; its head says {head.root}",
            code="integrity.frontier",
        )
    return frontier


@dataclass(slots=True)
class _Tree:
    frontier: Frontier
    next_offset: int


class Sealer:
    """Every tree as it was last sealed, and what has come since.

    `seal` moves on as if its checkpoint were committed; when that is in doubt, throw the sealer
    away and fold the audit log again.
    """

    def __init__(self) -> None:
        self.number = 0
        self.heads: dict[Place, TreeHead] = {}
        self._small = Frontier()
        self._trees: dict[Place, _Tree] = {}
        self._grown: dict[Place, None] = {}
        self._lines: dict[Place, str] = {}

    @classmethod
    def from_checkpoints(cls, checkpoints: Iterable[CheckpointSealed]) -> Sealer:
        """The sealer as of the last of these, which are all since the genesis, in order.

        Raises:
            IntegrityError: they are not what one sealer wrote.
        """
        sealer = cls()
        for checkpoint in checkpoints:
            sealer.evolve(checkpoint)
        return sealer

    @property
    def has_growth(self) -> bool:
        """True when records have come that no checkpoint covers."""
        return bool(self._grown)

    @property
    def records(self) -> int:
        """How many records are under seal."""
        return sum(head.size for head in self.heads.values())

    def positions(self) -> Mapping[Place, int]:
        """The next offset of every sealed tree; a partition that is missing begins at 0."""
        return {place: head.next_offset for place, head in self.heads.items()}

    def extend(self, place: Place, records: Sequence[Record]) -> None:
        """Add the next committed records of a partition to its tree, in order."""
        if not records:
            return
        tree = self._trees.get(place) or _Tree(Frontier(), 0)
        # A record that came twice, or out of order, would give a root that nobody finds again.
        assert records[0].offset >= tree.next_offset, "each record is sealed once"
        leaves = (leaf_hash(leaf_bytes(record)) for record in records)
        self._trees[place] = _Tree(tree.frontier.extend(leaves), records[-1].offset + 1)
        self._grown[place] = None

    def seal(self, genesis: ShardGenesis, key: SigningKey) -> CheckpointSealed | None:
        """The next checkpoint, or None when nothing grew since the last.

        At most `GROWN_MAX` trees move on with one checkpoint, the longest waiting first.
        """
        chosen = sorted(list(self._grown)[:GROWN_MAX])
        if not chosen:
            return None
        grown = tuple(self._head(place) for place in chosen)
        self._close(grown)
        text = self.note_text(genesis)
        return CheckpointSealed(
            number=self.number,
            grown=grown,
            frontier=self._small_hashes(),
            note=sign_note(text, origin_of(genesis), key),
        )

    def evolve(self, checkpoint: CheckpointSealed) -> None:
        """Fold one checkpoint of the audit log; its note is left to whoever has the key.

        Raises:
            IntegrityError: it does not follow from those before it.
        """
        if checkpoint.number != self.number + 1:
            raise IntegrityError(
                f"checkpoint {checkpoint.number} follows {self.number}",
                code="integrity.checkpoint",
            )
        for head in checkpoint.grown:
            place = (head.topic, head.partition)
            before = self.heads.get(place)
            if before and (head.size <= before.size or head.next_offset <= before.next_offset):
                raise IntegrityError(
                    f"checkpoint {checkpoint.number}: {line_of(head)} follows {line_of(before)}",
                    code="integrity.shrunk",
                )
            self._trees[place] = _Tree(frontier_of(head), head.next_offset)
        self._close(checkpoint.grown)
        if self._small_hashes() != checkpoint.frontier:
            raise IntegrityError(
                f"checkpoint {checkpoint.number}: its frontier is not that of the checkpoints "
                "before it",
                code="integrity.checkpoint",
            )

    def remember(self) -> dict[str, TreeHead]:
        """All that was sealed, as heads by name; that of the small tree is `CHECKPOINTS`."""
        small = TreeHead(
            topic=CHECKPOINTS,
            partition=0,
            size=self.number,
            root=self._small.root().hex(),
            next_offset=0,
            frontier=self._small_hashes(),
        )
        named = {f"{topic}/{number}": head for (topic, number), head in self.heads.items()}
        return {CHECKPOINTS: small, **named}

    def recall(self, heads: Mapping[str, TreeHead]) -> None:
        """Become what `remember` said; only for a sealer that has seen nothing.

        Raises:
            IntegrityError: integrity.frontier, or the small tree is missing.
        """
        if CHECKPOINTS not in heads:
            raise IntegrityError("a sealer without its small tree", code="integrity.frontier")
        for name, head in heads.items():
            frontier = frontier_of(head)
            if name == CHECKPOINTS:
                self.number, self._small = head.size, frontier
                continue
            place = (head.topic, head.partition)
            self.heads[place] = head
            self._lines[place] = line_of(head)
            self._trees[place] = _Tree(frontier, head.next_offset)

    def note_text(self, genesis: ShardGenesis) -> str:
        """What the note of the last checkpoint says, by the state that was folded."""
        lines = tuple(self._lines[place] for place in sorted(self._lines))
        return Checkpoint(origin_of(genesis), self.number, self._small.root(), lines).text

    def _head(self, place: Place) -> TreeHead:
        tree = self._trees[place]
        return TreeHead(
            topic=place[0],
            partition=place[1],
            size=tree.frontier.size,
            root=tree.frontier.root().hex(),
            next_offset=tree.next_offset,
            frontier=tuple(each.hex() for each in tree.frontier.hashes),
        )

    def _close(self, grown: Iterable[TreeHead]) -> None:
        """These heads are sealed: the lines of all heads are the next leaf of the small tree."""
        for head in grown:
            place = (head.topic, head.partition)
            self.heads[place] = head
            self._lines[place] = line_of(head)
            self._grown.pop(place, None)
        lines = "".join(f"{self._lines[place]}\n" for place in sorted(self._lines))
        self._small = self._small.append(leaf_hash(lines.encode()))
        self.number += 1

    def _small_hashes(self) -> tuple[str, ...]:
        return tuple(each.hex() for each in self._small.hashes)
