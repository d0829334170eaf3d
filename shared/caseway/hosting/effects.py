"""What a shard asks of the outside world, and what it is told: the whole of its I/O.

A shard is a generator that yields these and is sent their answers; a failure is thrown into it
as `Unavailable`. The driver performs them on a real log, the simulator on a model of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from caseway.contracts.codec import Event
from caseway.contracts.record import Draft, Record
from caseway.hosting.log import Place
from caseway.kernel.registry import Registry


@dataclass(frozen=True, slots=True)
class Fence:
    """Become the only writer of the shard. Answer: None."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Read committed records for a replay. Answer: a `Chunk`."""

    place: Place
    start: int


@dataclass(frozen=True, slots=True)
class RegistryAt:
    """Answer: the `Registry` as of this position, once the process has read so far."""

    position: int


@dataclass(frozen=True, slots=True)
class Seek:
    """Feed the shard from these offsets on. Answer: None."""

    positions: Mapping[Place, int]


@dataclass(frozen=True, slots=True)
class Wait:
    """Give what has come. Answer: an `Arrival`, at once if not `is_idle`, else when there is
    something, when `until_ms` is reached, or after a bounded while.

    `full` are the places whose queues hold enough: nothing more is fetched for them. A record
    waits for the registry to reach `awaited_position`, if that is beyond `registry_position`.
    """

    registry_position: int
    awaited_position: int
    until_ms: int | None
    is_idle: bool
    full: frozenset[Place] = frozenset()


@dataclass(frozen=True, slots=True)
class Arrival:
    """Records since the last answer, registry events from the asked position on, and what the
    steady clock of the process says: it counts milliseconds and is never set.
    """

    records: Mapping[Place, Sequence[Record]]
    registry: Sequence[tuple[Event, Registry]]
    now_ms: int


@dataclass(frozen=True, slots=True)
class Barrier:
    """Answer: a registry position not smaller than its end was when this was asked."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Append and move on, all or nothing. Answer: a `Committed`; doubt is thrown."""

    drafts: Sequence[Draft]
    positions: Mapping[Place, int]


class Committed(NamedTuple):
    """Offset and append time of the last draft, and the steady clock when the answer came."""

    offset: int
    at_ms: int
    now_ms: int

    @property
    def ahead_ms(self) -> int:
        """The steady clock less the time of the log."""
        return self.now_ms - self.at_ms


@dataclass(frozen=True, slots=True)
class Backoff:
    """Wait before the next try. Answer: None. `attempt` counts failures in a row from 1."""

    attempt: int
    reason: str


Effect = Fence | Scan | RegistryAt | Seek | Wait | Barrier | Commit | Backoff
