"""What is kept of an input that failed: its bytes for its case, or a letter; and safe words."""

from __future__ import annotations

import base64
import hashlib

from caseway.contracts.record import Record
from caseway.contracts.shard import DeadLetter, ParkedInput
from caseway.errors import ContractError, IntegrityError


def describe(error: Exception) -> str:
    """The error for operators; only our own errors are known to hold no personal data."""
    if isinstance(error, ContractError | IntegrityError):
        return str(error)
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_qualname}:{frame.tb_lineno}" if frame else "unknown"
    return f"{type(error).__name__} in {where}"


def letter_of(record: Record, error: ContractError) -> DeadLetter:
    """Where it lies, its hash and what is wrong with it; never its content."""
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        sha256=hashlib.sha256(record.value or b"").hexdigest(),
        code=error.code,
        where=error.where,
        advice=str(error),
    )


def park(record: Record) -> ParkedInput:
    """Keep an input in the log of the case that failed on it, with every byte that came."""
    return ParkedInput(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at_ms=record.at_ms,
        value=base64.b64encode(record.value or b"").decode(),
        headers=tuple((n, base64.b64encode(v or b"").decode()) for n, v in record.headers),
    )


def unpark(key: str, parked: ParkedInput) -> Record:
    """The record as it came, under the key of its case."""
    return Record(
        parked.topic,
        parked.partition,
        parked.offset,
        parked.at_ms,
        key.encode(),
        base64.b64decode(parked.value),
        tuple((n, base64.b64decode(v)) for n, v in parked.headers),
    )
