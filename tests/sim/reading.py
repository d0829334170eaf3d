"""Reads what lies on the topics as a stranger would: headers and JSON, with no code of the product.

The history checker and the dwellers see the logs through this file alone.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MURMUR = 0x5BD1E995


class Line(NamedTuple):
    """One record: where it lies, what its headers say, and its body as JSON ({} if it is none)."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: str
    type: str
    headers: dict[str, str]
    data: dict[str, Any]
    value: bytes

    @property
    def place(self) -> str:
        """`topic/partition`, as trailers name it."""
        return f"{self.topic}/{self.partition}"

    @property
    def cause(self) -> str:
        """`generation/topic/partition/offset` of the record that led to this one."""
        return self.headers.get("ce_causationid", "")


def read(record: Any) -> Line:
    """A record of the bus as a line; nothing that a stranger wrote makes this fail."""
    topic, partition, offset, at_ms, key, value, raw = record
    headers = {name: (text or b"").decode("utf-8", "replace") for name, text in raw}
    try:
        data = json.loads(value) if value else {}
    except (ValueError, RecursionError):
        data = {}
    if not isinstance(data, dict):
        data = {}
    name = (key or b"").decode("utf-8", "replace")
    kind = headers.get("ce_type", "")
    return Line(topic, partition, offset, at_ms, name, kind, headers, data, value or b"")


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's own clients put a key: murmur2, written down a second time."""
    value = 0x9747B28C ^ len(key)
    for start in range(0, len(key) - 3, 4):
        word = int.from_bytes(key[start : start + 4], "little") * _MURMUR % 2**32
        value = value * _MURMUR % 2**32 ^ (word ^ word >> 24) * _MURMUR % 2**32
    if rest := key[len(key) // 4 * 4 :]:
        value = (value ^ int.from_bytes(rest, "little")) * _MURMUR % 2**32
    value = (value ^ value >> 13) * _MURMUR % 2**32
    return ((value ^ value >> 15) & 0x7FFFFFFF) % partitions


def millis(text: str) -> int:
    """An RFC 3339 instant as epoch milliseconds."""
    return round((datetime.fromisoformat(text) - _EPOCH).total_seconds() * 1000)


def instant(at_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
