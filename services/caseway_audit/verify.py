"""Checks what the logs say against what was sealed: notes, small tree, every tree, every root.

Nothing here reads a log: it is given records and answers with findings. It trusts the key in
the genesis (or the one it is given) and no hash that it has not made itself. Integrity (what is
there is what was sealed) and completeness (all that was sealed is there) are told apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from caseway.contracts.audit import CheckpointSealed, TreeHead
from caseway.contracts.fields import Contract
from caseway.contracts.record import Record
from caseway.contracts.shard import ShardGenesis
from caseway.contracts.signing import VerifyKey
from caseway.errors import CasewayError, CodeTooOld, ContractError, IntegrityError
from caseway.kernel.merkle import Frontier, leaf_hash
from caseway.kernel.notes import Checkpoint, NoteKey, open_note
from caseway_audit.sealing import Sealer, frontier_of, leaf_bytes, origin_of

Place = tuple[str, int]


class Code(StrEnum):
    """What is wrong with a place, as one word."""

    # Integrity: what is there is not what was written.
    TAMPERED = "TAMPERED"
    UNREADABLE = "UNREADABLE"
    DIVERGED = "DIVERGED"
    # What is there says that something happened which never may.
    INVARIANT = "INVARIANT"
    # Completeness: something that was written is not there, or can't be judged.
    TORN = "TORN"
    ROLLBACK = "ROLLBACK"
    CODE_TOO_OLD = "CODE_TOO_OLD"


_INTEGRITY = frozenset({Code.TAMPERED, Code.UNREADABLE, Code.DIVERGED, Code.INVARIANT})


class Finding(Contract):
    """One bad place: the first of its partition, since what follows it proves nothing.

    `offset` is the first record that may be wrong; -1 where no record is.
    """

    code: Code
    place: str
    offset: int
    expected: str
    found: str
    detail: str


class ServiceDigest(Contract):
    """All states of one service: how many, and one digest over theirs, whatever their order."""

    cases: int
    digest: str


class VerificationReport(Contract):
    """The outcome. Two honest runs over the same logs give equal reports.

    `unsealed_records` came after the last checkpoint; `expired_records` had left by retention,
    and their trees were taken up again from a signed head; `torn_records` were committed
    without their trailer and decided again.
    """

    namespace: str
    generation: str
    checkpoints: int
    sealed_records: int
    unsealed_records: int
    expired_records: int
    batches: int
    events: int
    torn_records: int
    snapshots_compared: int
    services: dict[str, ServiceDigest]
    trees: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def is_intact(self) -> bool:
        """True when everything that is there is what was written."""
        return not any(finding.code in _INTEGRITY for finding in self.findings)

    @property
    def is_complete(self) -> bool:
        """True when everything that was written, and has not expired, is there."""
        return all(finding.code in _INTEGRITY for finding in self.findings)

    @property
    def first(self) -> Finding | None:
        """The first bad place."""
        return self.findings[0] if self.findings else None


# What the errors of a reader mean to who verifies, and what would have been right.
_MEANS = {
    "integrity.torn": (Code.TORN, "every record and every batch, in order"),
    "integrity.sequence": (Code.TORN, "the trailer that follows"),
    "integrity.epoch": (Code.ROLLBACK, "an owner no older than the one before"),
    "integrity.shrunk": (Code.ROLLBACK, "checkpoints and trees that only grow"),
    "integrity.digest": (Code.TAMPERED, "the records that were vouched for"),
    "integrity.checkpoint": (Code.TAMPERED, "the checkpoint that was signed"),
    "integrity.frontier": (Code.TAMPERED, "a frontier that has the root of its head"),
}
_UNREADABLE = (Code.UNREADABLE, "an event that today's code reads and folds")


def finding_of(error: CasewayError, place: Place, offset: int) -> Finding:
    """What stopped the reading of a place at an offset, as a finding."""
    code, expected = _MEANS.get(error.code, _UNREADABLE)
    if isinstance(error, CodeTooOld):
        code = Code.CODE_TOO_OLD
    return Finding(
        code=code,
        place=f"{place[0]}/{place[1]}",
        offset=offset,
        expected=expected,
        found=error.code,
        detail=str(error),
    )


# -- checkpoints ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """What one checkpoint says of one tree."""

    number: int
    size: int
    root: bytes
    next_offset: int


class CheckpointCheck:
    """Follows the audit log: every note is signed, and says what all checkpoints so far add up to.

    The small tree is made anew leaf by leaf, so each signed root is consistent with all before
    it. `known` is the note of a checkpoint that somebody kept elsewhere: the log must still hold
    it, or it was rolled back or forked since.
    """

    def __init__(self, genesis: ShardGenesis, known: str = "") -> None:
        self._genesis = genesis
        self._keys = [NoteKey(origin_of(genesis), VerifyKey.from_text(genesis.checkpoint_key))]
        self._sealer = Sealer()
        self._known: Checkpoint | None = None
        if known:
            self._known = Checkpoint.from_text(open_note(known, self._keys).text)

    @property
    def number(self) -> int:
        """How many checkpoints hold."""
        return self._sealer.number

    @property
    def heads(self) -> dict[Place, TreeHead]:
        """Every tree as it was last sealed."""
        return self._sealer.heads

    def take(self, checkpoint: CheckpointSealed) -> list[tuple[Claim, TreeHead]]:
        """What the next checkpoint claims, if it holds.

        Raises:
            IntegrityError: it does not; `finding_of` says what that means.
        """
        expected = self._sealer.number + 1
        if checkpoint.number != expected:
            raise IntegrityError(
                f"checkpoint {checkpoint.number} where {expected} belongs",
                code="integrity.torn" if checkpoint.number > expected else "integrity.shrunk",
            )
        self._sealer.evolve(checkpoint)
        try:
            text = open_note(checkpoint.note, self._keys).text
        except ContractError as error:
            raise IntegrityError(
                f"checkpoint {checkpoint.number}: {error}", code="integrity.checkpoint"
            ) from error
        told = self._sealer.note_text(self._genesis)
        if text != told:
            raise IntegrityError(
                f"checkpoint {checkpoint.number}: {_difference(told, text)}",
                code="integrity.checkpoint",
            )
        if self._known is not None and self._known.size == expected and self._known.text != text:
            raise IntegrityError(
                f"checkpoint {expected} is another than the one kept elsewhere: "
                f"{_difference(self._known.text, text)}",
                code="integrity.checkpoint",
            )
        return [
            (Claim(expected, head.size, bytes.fromhex(head.root), head.next_offset), head)
            for head in checkpoint.grown
        ]

    def finish(self, end: int) -> Finding | None:
        """At the end of the audit log: it is not shorter than a checkpoint kept elsewhere."""
        if self._known is None or self.number >= self._known.size:
            return None
        return Finding(
            code=Code.ROLLBACK,
            place="audit/0",
            offset=end,
            expected=f"{self._known.size} checkpoints",
            found=f"{self.number} checkpoints",
            detail="the audit log is shorter than it was when a checkpoint was kept elsewhere",
        )


def _difference(expected: str, found: str) -> str:
    pairs = zip([*expected.split("\n"), ""], [*found.split("\n"), ""], strict=False)
    line = next((n, a, b) for n, (a, b) in enumerate(pairs, start=1) if a != b)
    return f"line {line[0]} should be {line[1]!r} and is {line[2]!r}"


# -- trees ------------------------------------------------------------------------------------


class TreeCheck:
    """Grows one tree from its records and compares its root wherever a checkpoint claims one.

    Holds a frontier and at most one chunk of records: those beyond the last claim wait, since
    the next claim may be about fewer than have come.
    """

    def __init__(self, place: Place, start: TreeHead | None = None) -> None:
        self.place = place
        self.frontier = frontier_of(start) if start else Frontier()
        self.start_offset = start.next_offset if start else 0
        self.sealed = self.expired = self.frontier.size
        self.unsealed = 0
        self.finding: Finding | None = None
        self._is_draining = False
        self._good_offset = self.start_offset
        self._claims: deque[Claim] = deque()
        self._rest: list[Record] = []

    @property
    def is_hungry(self) -> bool:
        """True while claims wait for records that have not been given yet."""
        return self.finding is None and bool(self._claims)

    def expect(self, claims: Iterable[Claim]) -> None:
        """Claims of the next checkpoints, in order; those before the start are passed over."""
        self._claims.extend(claim for claim in claims if claim.size > self.sealed)
        self._compare()

    def take(self, records: Sequence[Record]) -> None:
        """The next records of the place."""
        self._rest.extend(r for r in records if r.offset >= self.start_offset)
        if self._is_draining or self.finding is not None:
            self.unsealed += len(self._rest)
            self._rest = []
        else:
            self._compare()

    def finish(self, end: int) -> None:
        """No more claims come: where one still waits, its records are not there.

        What was read beyond the last claim, and all that is read from now on, is not sealed.
        """
        if self.is_hungry:
            claim = self._claims[0]
            found = self.frontier.size + len(self._rest)
            self.finding = self._bad(
                Code.ROLLBACK,
                end,
                f"{claim.size} records",
                f"{found} records",
                f"checkpoint {claim.number} sealed records that are not there",
            )
        self._is_draining = True
        self.take(())

    def _compare(self) -> None:
        while self._claims and self.finding is None:
            claim = self._claims[0]
            needed = claim.size - self.frontier.size
            if needed > len(self._rest):
                return
            some, self._rest = self._rest[:needed], self._rest[needed:]
            self.frontier = self.frontier.extend(leaf_hash(leaf_bytes(r)) for r in some)
            root = self.frontier.root()
            if root != claim.root:
                last = some[-1].offset if some else self._good_offset
                self.finding = self._bad(
                    Code.TAMPERED,
                    self._good_offset,
                    claim.root.hex(),
                    root.hex(),
                    f"checkpoint {claim.number} sealed {claim.size} records with another root: "
                    f"one of the offsets {self._good_offset} to {last} was changed, removed, "
                    "added or moved",
                )
                return
            self.sealed = claim.size
            self._good_offset = claim.next_offset
            self._claims.popleft()

    def _bad(self, code: Code, offset: int, expected: str, found: str, detail: str) -> Finding:
        return Finding(
            code=code,
            place=f"{self.place[0]}/{self.place[1]}",
            offset=offset,
            expected=expected,
            found=found,
            detail=detail,
        )
