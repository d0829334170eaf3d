"""A record as it lies in a partition, and as it is about to be appended to one.

Named tuples, as the envelope is: a case makes hundreds of them, and a frozen dataclass takes five
times as long to make.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from caseway.contracts.fields import format_instant

# A stranger's may have no value, and a name with surrogates for bytes that are no text (PEP 383);
# the contract refuses both. What we write has neither.
Headers = tuple[tuple[str, bytes | None], ...]


class Record(NamedTuple):
    """Raw bytes with their coordinates; `at_ms` is the append time of the log, epoch ms."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Draft(NamedTuple):
    """A record before it has an offset and an append time."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def size_bytes(self) -> int:
        """What a broker counts against its message limit, to within its small framing."""
        return (
            len(self.key or b"")
            + len(self.value or b"")
            + sum(len(name) + len(value or b"") + 4 for name, value in self.headers)
        )

    def is_beyond(self, limit_bytes: int) -> bool:
        """Whether it is larger than a limit; counts headers only where the body is near it."""
        if len(self.value or b"") < limit_bytes // 2 and len(self.headers) < 64:
            return False
        return self.size_bytes > limit_bytes


def instant_of(at_ms: int) -> datetime:
    """Epoch milliseconds as an aware UTC instant."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


@lru_cache(maxsize=1024)
def instant_text(at_ms: int) -> str:
    """Epoch milliseconds as an envelope has them: one text for all that follows from one record."""
    return format_instant(instant_of(at_ms))


def millis_of(instant: datetime) -> int:
    """An aware instant as epoch milliseconds."""
    return round(instant.timestamp() * 1000)
