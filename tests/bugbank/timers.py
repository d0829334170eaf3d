"""Defects of timers: early, twice, lost, or at another time than was asked for."""

from __future__ import annotations

from caseway.hosting.host import Shard
from caseway.hosting.worker import Worker
from caseway_sla_watchdog import deadlines, processor, state
from tests.bugbank.planting import Defect, Edit

DEFECTS = (
    Defect(
        "earlier-word-prunes-the-later",
        "Of two records that came together the first one's word on a timer is kept.",
        "I05",
        (
            Edit(processor.prune, "reversed(deliveries)", "deliveries"),
            Edit(processor.prune, "pruned[::-1]", "pruned"),
        ),
    ),
    Defect(
        "span-from-another-topic",
        "A lease runs from the newest record of any topic and not from the one that asks for it.",
        "I05",
        (Edit(processor._timer, "delivery.appended_ms +", "delivery.at_ms +"),),
    ),
    Defect(
        "time-by-the-machine",
        "Who takes over counts from the clock of its machine and asks no log for the time.",
        "stuck",
        (
            Edit(
                Shard._reset,
                "self._told: Committed | None = None",
                "self._told: Committed | None = Committed(0, 0, 0)",
            ),
        ),
    ),
    Defect(
        "time-not-asked-for",
        "Who takes over waits for its next commit to learn what time it is, be it never.",
        "stuck",
        (Edit(Shard._must_tell_time, "return True", "return False"),),
    ),
    Defect(
        "timer-fires-twice",
        "A timer that warned before it came due stays armed after it fired.",
        "I05",
        (
            Edit(
                state.evolve,
                "if name != data.timer_id}",
                "if name != data.timer_id or timer.is_warned}",
            ),
        ),
    ),
    Defect(
        "timer-early",
        "A timer fires in the second in which it comes due, and not once it is due.",
        "I05",
        (
            Edit(
                deadlines._said,
                "if _next_ms(timer) > now_ms:",
                "if _next_ms(timer) // 1000 > now_ms // 1000:",
            ),
            Edit(
                deadlines._said,
                "if timer.due_ms > now_ms:",
                "if timer.due_ms // 1000 > now_ms // 1000:",
            ),
        ),
    ),
    Defect(
        "moved-timer-keeps-its-time",
        "A timer that is set again stays due at the old instant.",
        "I05",
        (
            Edit(
                state.evolve,
                "timers = {**left, **{timer.timer_id: _opened(timer) for timer in data.armed}}",
                "timers = {**{timer.timer_id: _opened(timer) for timer in data.armed}, **left}",
            ),
        ),
    ),
    Defect(
        "timers-lost-in-takeover",
        "A new owner of the watchdog knows its timers but not when to look at them.",
        "I05, stuck",
        (Edit(Worker.index_due, "self._schedule(key, entity.state)", "pass"),),
    ),
    Defect(
        "warning-comes-again",
        "A timer that was moved and had warned forgets that it did.",
        "I05",
        (Edit(state.evolve, "is_warned=True", "is_warned=False"),),
    ),
)
