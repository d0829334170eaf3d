"""Identifiers that follow from their cause, so that deciding twice names things once."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from caseway.contracts.record import Record

_ID_HEX = 32  # 128 bits: no two events of a namespace collide before the sun goes out
# No case id is longer; a stranger's key may be, and is not kept.
_REMEMBERED_BYTES = 64


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def coordinates(generation: str, record: Record) -> str:
    """Where a record lies, for ever: by generation, not by a broker's topic id."""
    return f"{generation}/{record.topic}/{record.partition}/{record.offset}"


def event_id(cause: str, service: str, key: str, index: int) -> str:
    """The id of the index-th event that `service` makes of one cause for one case."""
    return _hash("event", cause, service, key, str(index))[:_ID_HEX]


def case_id_of(namespace: str, source: str, key: str) -> str:
    """The case id of a submitter's own key.

    Example:
        >>> case_id_of("demo", "claims-portal", "PC-1017")
        'c-ade4f5010e0358d4e78db39a'
    """
    return "c-" + _hash("case", namespace, source, key)[:24]


def effect_id(namespace: str, case_id: str, task: str, round_: int) -> str:
    """The idempotency key outside: of case, node and round, never of an attempt."""
    return _hash("effect", namespace, case_id, task, str(round_))


def spread(*parts: str) -> int:
    """A number that spreads choices evenly and is the same on every machine."""
    return int(_hash("spread", *parts)[:16], 16)


def shard_of(key: bytes, shards: int) -> int:
    """The partition of a key: murmur2, as every Kafka client but librdkafka has by default.

    Follows Kafka's Utils.murmur2 with seed 0x9747b28c and `toPositive`.

    Example:
        >>> shard_of(b"case-1", 12)
        8
    """
    hashed = _remembered(key) if len(key) <= _REMEMBERED_BYTES else _murmur2(key)
    return (hashed & 0x7FFFFFFF) % shards


def _murmur2(data: bytes) -> int:
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    length = len(data)
    value = 0x9747B28C ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * multiplier & mask
        word = (word ^ (word >> 24)) * multiplier & mask
        value = (value * multiplier & mask) ^ word
    rest = data[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * multiplier & mask
    value = (value ^ (value >> 13)) * multiplier & mask
    return value ^ (value >> 15)


# A case has a dozen inbound records, and each is checked against its partition.
_remembered = lru_cache(maxsize=4096)(_murmur2)
