"""What the watchdog remembers: the open timers of a case, and nothing once there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from caseway.contracts.codec import Event
from caseway.contracts.deadline import (
    SlaBreached,
    Timer,
    TimerFired,
    TimerKind,
    TimersUpdated,
    TimerWarned,
)
from caseway.contracts.record import instant_of, millis_of
from caseway.errors import IntegrityError


@dataclass(frozen=True, slots=True)
class OpenTimer:
    """A timer that is set; instants are epoch milliseconds, because it is here only compared."""

    kind: TimerKind
    about: str
    due_ms: int
    warn_ms: int | None
    requester: str
    is_warned: bool = False

    def as_set(self, timer_id: str) -> Timer:
        """The timer as the event that set it says it, whether or not it has warned since."""
        return Timer(
            timer_id=timer_id,
            kind=self.kind,
            about=self.about,
            due_at=instant_of(self.due_ms),
            warn_at=None if self.warn_ms is None else instant_of(self.warn_ms),
            requester=self.requester,
        )


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The open timers of one case by their id.

    Without one it is settled, and kept, so that the case's events are counted on.
    """

    timers: dict[str, OpenTimer] = field(default_factory=dict)


def evolve(state: Deadlines | None, event: Event) -> Deadlines | None:
    """The open timers after one more event of the deadlines log.

    Raises:
        IntegrityError: a timer came due, or was cancelled, that is not open.
    """
    data = event.data
    timers = state.timers if state is not None else {}
    if isinstance(data, TimersUpdated):
        for timer_id in data.cancelled:
            _open(timers, timer_id, event)
        left = {name: timer for name, timer in timers.items() if name not in data.cancelled}
        timers = {**left, **{timer.timer_id: _opened(timer) for timer in data.armed}}
    elif isinstance(data, TimerWarned):
        warned = replace(_open(timers, data.timer_id, event), is_warned=True)
        timers = {**timers, data.timer_id: warned}
    elif isinstance(data, TimerFired | SlaBreached):
        _open(timers, data.timer_id, event)
        timers = {name: timer for name, timer in timers.items() if name != data.timer_id}
    return Deadlines(timers)


def _opened(timer: Timer) -> OpenTimer:
    return OpenTimer(
        kind=timer.kind,
        about=timer.about,
        due_ms=millis_of(timer.due_at),
        warn_ms=None if timer.warn_at is None else millis_of(timer.warn_at),
        requester=timer.requester,
    )


def _open(timers: Mapping[str, OpenTimer], timer_id: str, event: Event) -> OpenTimer:
    timer = timers.get(timer_id)
    if timer is None:
        raise IntegrityError(
            f"case {event.key!r}: {event.envelope.type} of timer {timer_id!r}, which is not open"
        )
    return timer
