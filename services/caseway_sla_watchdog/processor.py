"""Decides which timers a record sets, moves and cancels.

The requester computed the instant; here it is only kept. A span runs from the append time of
the record that asks, so a record that comes again asks for the same instant and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from caseway.contracts.case import CaseClosed
from caseway.contracts.deadline import Timed, Timer, TimerRequest, TimersUpdated
from caseway.contracts.record import instant_of, millis_of
from caseway.kernel.processor import NOTHING, Delivery, Step
from caseway.kernel.registry import Registry
from caseway_sla_watchdog.state import Deadlines

_MS_PER_S = 1000


def decide(state: Deadlines | None, delivery: Delivery, _registry: Registry) -> Step:
    """Answer one record that may carry timers: one event, or none if nothing changes."""
    data = delivery.event.data
    assert isinstance(data, Timed), f"{delivery.event.envelope.type} carries no timers"
    timers = state.timers if state is not None else {}
    if isinstance(data, CaseClosed):
        # Whatever was still asked for, nobody is left to act on it.
        wanted: dict[str, Timer] = {}
        cancelled = tuple(timers)
    else:
        wanted = {each.timer_id: _timer(each, delivery) for each in data.timers}
        # A timer that the same record sets again is moved, not ended.
        cancels = dict.fromkeys(data.cancels)
        cancelled = tuple(name for name in cancels if name in timers and name not in wanted)
    armed = tuple(
        timer
        for name, timer in wanted.items()
        if name not in timers or timers[name].as_set(name) != timer
    )
    if not armed and not cancelled:
        return NOTHING
    return Step((TimersUpdated(armed=armed, cancelled=cancelled),))


def prune(deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
    """Leave out every timer that a later record of the same case cancels or sets again.

    Most leases last for as long as an agent answers: they are over before they were written down.
    """
    moot: set[str] = set()
    is_over = False
    pruned: list[Delivery] = []
    for delivery in reversed(deliveries):
        data = delivery.event.data
        assert isinstance(data, Timed), f"{delivery.event.envelope.type} carries no timers"
        timers = tuple(each for each in data.timers if not (is_over or each.timer_id in moot))
        pruned.append(delivery if timers == data.timers else _asking(delivery, data, timers))
        moot.update(data.cancels, (each.timer_id for each in data.timers))
        is_over = is_over or isinstance(data, CaseClosed)
    return pruned[::-1]


def _asking(delivery: Delivery, data: Timed, timers: tuple[TimerRequest, ...]) -> Delivery:
    asked = data.model_copy(update={"timers": timers})
    return delivery._replace(event=delivery.event._replace(data=asked))


def _timer(request: TimerRequest, delivery: Delivery) -> Timer:
    if request.due_at is not None:
        due_ms = millis_of(request.due_at)
    else:
        assert request.after_s is not None, "the contract holds one of both"
        # Not `at_ms`: what came from another topic before it must not move this timer.
        due_ms = delivery.appended_ms + request.after_s * _MS_PER_S
    return Timer(
        timer_id=request.timer_id,
        kind=request.kind,
        about=request.about,
        due_at=instant_of(due_ms),
        warn_at=None if request.warn_at is None else instant_of(millis_of(request.warn_at)),
        requester=delivery.topic,
    )
