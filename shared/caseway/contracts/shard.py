"""What the host itself writes on a log: its genesis, its trailers, faults and dead letters."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from caseway.contracts.fields import Contract, Instant, Sha256


class ShardGenesis(Contract):
    """The first record of every log partition: which namespace and generation this is.

    History survives a copy to another cluster because coordinates name `generation`, not a
    broker's topic id; `predecessor` is the trailer digest of the generation before, if any.
    """

    TYPE: ClassVar[str] = "shard.genesis"
    VERSION: ClassVar[int] = 1
    namespace: str
    generation: str
    shards: Annotated[int, Field(ge=1)]
    root_keys: tuple[str, ...] = ()
    checkpoint_key: str = ""
    predecessor: str = ""


class ShardCommitted(Contract):
    """The trailer: the last record of every commit on the own log.

    `count` own-log records precede it in its batch and `digest` is the SHA-256 over them;
    `positions` holds the next offset of *every* input (`topic/partition`), so it, and not the
    group offset, says what has been consumed. `greatest_ms` is the greatest record time so far.
    """

    TYPE: ClassVar[str] = "shard.committed"
    VERSION: ClassVar[int] = 1
    sequence: Annotated[int, Field(ge=1)]
    epoch: Annotated[int, Field(ge=0)]
    count: Annotated[int, Field(ge=0)]
    digest: Sha256
    positions: dict[str, int]
    registry_position: Annotated[int, Field(ge=0)]
    greatest_ms: Annotated[int, Field(ge=0)]


class ParkedInput(Contract):
    """An input that waits for its faulted case: the raw record, base64, so order is kept."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    value: str
    headers: tuple[tuple[str, str], ...]


class CaseFaulted(Contract):
    """Deciding this input failed: the case waits in a named queue, alone, and nothing is lost.

    `parked` is null when no input failed but a timer of the case's own.
    """

    TYPE: ClassVar[str] = "case.faulted"
    VERSION: ClassVar[int] = 1
    queue: str
    code: str
    detail: str
    parked: ParkedInput | None


class InputParked(Contract):
    """A later input of a faulted case, kept in order until the case is driven again."""

    TYPE: ClassVar[str] = "input.parked"
    VERSION: ClassVar[int] = 1
    parked: ParkedInput


class CaseResumed(Contract):
    """The fault was mended: the parked inputs are decided again, in order."""

    TYPE: ClassVar[str] = "case.resumed"
    VERSION: ClassVar[int] = 1
    released: int


class DeadLetter(Contract):
    """A record no processor may interpret: where it lies, its hash and why; never its content."""

    TYPE: ClassVar[str] = "record.dead_lettered"
    VERSION: ClassVar[int] = 1
    topic: str
    partition: int
    offset: int
    sha256: Sha256
    code: str
    where: str = ""
    advice: str = ""


class SnapshotMarked(Contract):
    """The end of a whole snapshot round; a reader trusts a round only up to its marker.

    `log_offset` is the next offset to replay after it; `states_digest` the order-free digest
    over every entry, so a lost or resurrected entry shows; `entries` counts them.
    """

    TYPE: ClassVar[str] = "snapshot.marked"
    VERSION: ClassVar[int] = 1
    round: Annotated[int, Field(ge=1)]
    state_version: int
    log_offset: int
    sequence: int
    epoch: int
    positions: dict[str, int]
    registry_position: int
    greatest_ms: int
    entries: int
    states_digest: Sha256
    taken_at: Instant
