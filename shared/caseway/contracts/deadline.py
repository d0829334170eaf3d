"""Timers: what other services ask for, and what the watchdog says became of them.

The requester computes the instant and the watchdog only compares. A span (`after_s`) runs from
the append time of the record that asks for it; an instant (`due_at`) was computed with a
calendar and is never computed again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, model_validator

from caseway.contracts.fields import Contract, Instant

TimerId = Annotated[str, StringConstraints(pattern=r"^[a-z]+(/[a-z0-9._-]+){1,4}$")]


class TimerKind(StrEnum):
    """What a timer is for; its requester acts when it fires."""

    LEASE = "lease"
    RETRY = "retry"
    OFFER = "offer"
    PERMIT = "permit"
    SLA = "sla"


class TimerRequest(Contract):
    """One timer on an event of `cases` or `approvals`; setting an id again moves that timer."""

    timer_id: TimerId
    kind: TimerKind
    about: str
    after_s: Annotated[int, Field(ge=1)] | None = None
    due_at: Instant | None = None
    warn_at: Instant | None = None

    @model_validator(mode="after")
    def _one_clock(self) -> TimerRequest:
        if (self.after_s is None) == (self.due_at is None):
            raise ValueError("a timer has either after_s or due_at")
        return self


class Timed(Contract):
    """An event that may set and cancel timers of its case."""

    timers: tuple[TimerRequest, ...] = ()
    cancels: tuple[TimerId, ...] = ()


class Timer(Contract):
    """A timer as the watchdog holds it; `requester` is the topic that asked for it."""

    timer_id: TimerId
    kind: TimerKind
    about: str
    due_at: Instant
    warn_at: Instant | None = None
    requester: str


class TimersUpdated(Contract):
    """Timers set and cancelled because of one record."""

    TYPE: ClassVar[str] = "timers.updated"
    VERSION: ClassVar[int] = 1
    armed: tuple[Timer, ...] = ()
    cancelled: tuple[TimerId, ...] = ()


class TimerWarned(Contract):
    """An SLA is about to be missed; said once per timer, before its breach."""

    TYPE: ClassVar[str] = "timer.warned"
    VERSION: ClassVar[int] = 1
    timer_id: TimerId
    about: str
    due_at: Instant
    detected_at: Instant
    requester: str


class TimerFired(Contract):
    """A lease, retry, offer or permit timer came due; never before `due_at`."""

    TYPE: ClassVar[str] = "timer.fired"
    VERSION: ClassVar[int] = 1
    timer_id: TimerId
    kind: TimerKind
    about: str
    due_at: Instant
    detected_at: Instant
    requester: str


class SlaBreached(Contract):
    """A promise was missed at `breached_at` and seen at `detected_at`.

    They differ when the watchdog itself was down: its own outage stays visible.
    """

    TYPE: ClassVar[str] = "sla.breached"
    VERSION: ClassVar[int] = 1
    timer_id: TimerId
    about: str
    breached_at: Instant
    detected_at: Instant
    requester: str
