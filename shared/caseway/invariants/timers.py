"""The `deadlines` log: each timer ends once, and nothing is said of it before its time (I05)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from caseway.contracts.codec import Event
from caseway.contracts.deadline import (
    SlaBreached,
    TimerFired,
    TimerKind,
    TimersUpdated,
    TimerWarned,
)
from caseway.invariants.invariant import At, Report


@dataclass(slots=True)
class Open:
    """A timer that is set."""

    kind: TimerKind
    about: str
    due_at: datetime
    is_warned: bool = False


class Timers:
    """The open timers of every case; `breached` are gate timers whose breach was the last word."""

    def __init__(self, report: Report) -> None:
        self.open: dict[str, dict[str, Open]] = {}
        self.breached: dict[str, set[str]] = {}
        self._report = report

    def take(self, at: At, event: Event) -> None:
        """The next event of a `deadlines` partition."""
        data, key = event.data, event.key
        if isinstance(data, TimersUpdated):
            self._updated(data, at, key)
        elif isinstance(data, TimerWarned):
            timer = self._known(key, data.timer_id, "warned of", at)
            if timer is not None and timer.is_warned:
                self._report("I05", key, f"{data.timer_id} is warned of twice", at)
            if timer is not None:
                timer.is_warned = True
        elif isinstance(data, TimerFired | SlaBreached):
            self._ended(data, at, key)

    def _updated(self, data: TimersUpdated, at: At, key: str) -> None:
        timers = self.open.setdefault(key, {})
        for name in data.cancelled:
            if self._known(key, name, "cancelled", at) is not None:
                del timers[name]
        for each in data.armed:
            timers[each.timer_id] = Open(each.kind, each.about, each.due_at)
            self.breached.get(key, set()).discard(each.about)
        if not timers:
            del self.open[key]

    def _ended(self, data: TimerFired | SlaBreached, at: At, key: str) -> None:
        timer = self._known(key, data.timer_id, "fired", at)
        if timer is None:
            return
        due = data.due_at if isinstance(data, TimerFired) else data.breached_at
        if due != timer.due_at or data.detected_at < timer.due_at:
            self._report("I05", key, f"{data.timer_id} fires before it is due", at)
        if (timer.kind is TimerKind.SLA) != isinstance(data, SlaBreached):
            self._report("I05", key, f"{data.timer_id} fires as another kind of timer", at)
        if isinstance(data, SlaBreached):
            self.breached.setdefault(key, set()).add(data.about)
        timers = self.open[key]
        del timers[data.timer_id]
        if not timers:
            del self.open[key]

    def _known(self, key: str, timer_id: str, what: str, at: At) -> Open | None:
        timer = self.open.get(key, {}).get(timer_id)
        if timer is None:
            self._report("I05", key, f"{timer_id} is {what}, and is not set", at)
        return timer
