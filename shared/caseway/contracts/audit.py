"""Signed checkpoints over every topic: the audit log."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from caseway.contracts.fields import Contract, Sha256


class TreeHead(Contract):
    """The Merkle tree (RFC 6962) of one topic partition up to `next_offset`.

    The leaf index is the ordinal of the committed record; `frontier` is the compact range from
    which the tree grows on.
    """

    topic: str
    partition: int
    size: Annotated[int, Field(ge=0)]
    root: Sha256
    next_offset: int
    frontier: tuple[Sha256, ...]


class CheckpointSealed(Contract):
    """The trees that grew since the last checkpoint, and one signed note over all of them.

    `note` is a C2SP signed note (tlog-checkpoint) over the small tree of all checkpoints;
    its extension lines are one `topic/partition size root next_offset` a tree, sorted.
    """

    TYPE: ClassVar[str] = "checkpoint.sealed"
    VERSION: ClassVar[int] = 1
    number: Annotated[int, Field(ge=1)]
    grown: tuple[TreeHead, ...]
    frontier: tuple[Sha256, ...]
    note: str
