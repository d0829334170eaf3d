"""What comes due: the next instant of a case, and what is said once it has come.

Nothing is said early, whatever wakes the watchdog. After an outage everything that came due in
it is said at once, and `due_at` beside `detected_at` shows for how long nobody watched.
"""

from __future__ import annotations

from collections.abc import Iterator

from caseway.contracts.deadline import SlaBreached, TimerFired, TimerKind, TimerWarned
from caseway.contracts.fields import Contract
from caseway.contracts.record import instant_of
from caseway.kernel.processor import Step
from caseway_sla_watchdog.state import Deadlines, OpenTimer


def due_ms(state: Deadlines) -> int | None:
    """The earliest instant, epoch ms, at which a timer of this case warns or comes due."""
    return min((_next_ms(timer) for timer in state.timers.values()), default=None)


def wake(state: Deadlines, _key: str, now_ms: int) -> Step:
    """Say what has come due by now, the oldest first; a timer that is due warns no more."""
    timers = sorted(state.timers.items(), key=lambda item: (item[1].due_ms, item[0]))
    return Step(tuple(_said(timers, now_ms)))


def _next_ms(timer: OpenTimer) -> int:
    if timer.warn_ms is None or timer.is_warned:
        return timer.due_ms
    return min(timer.warn_ms, timer.due_ms)


def _said(timers: list[tuple[str, OpenTimer]], now_ms: int) -> Iterator[Contract]:
    now = instant_of(now_ms)
    for timer_id, timer in timers:
        if _next_ms(timer) > now_ms:
            continue
        due = instant_of(timer.due_ms)
        about, requester = timer.about, timer.requester
        if timer.due_ms > now_ms:
            yield TimerWarned(
                timer_id=timer_id, about=about, due_at=due, detected_at=now, requester=requester
            )
        elif timer.kind is TimerKind.SLA:
            yield SlaBreached(
                timer_id=timer_id,
                about=about,
                breached_at=due,
                detected_at=now,
                requester=requester,
            )
        else:
            yield TimerFired(
                timer_id=timer_id,
                kind=timer.kind,
                about=about,
                due_at=due,
                detected_at=now,
                requester=requester,
            )
