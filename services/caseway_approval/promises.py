"""When a gate falls due, and the one timer that watches over it.

Exactly one timer is open for an open gate: its id names revision, level and alarm, so a breach
that was overtaken by a decision, a newer revision or a higher level is known by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from caseway.contracts.deadline import TimerKind, TimerRequest
from caseway.contracts.durations import BusinessDays, Elapsed, parse_sla
from caseway.contracts.fields import Pin
from caseway.contracts.record import instant_of
from caseway.errors import ContractError
from caseway.kernel.calendars import due_at, warn_at
from caseway.kernel.matrix import CompiledMatrix
from caseway.kernel.registry import Registry

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Promise:
    """An SLA that began to run: when it warns and when it falls due."""

    warn_at: datetime
    due_at: datetime

    def timer(self, gate_id: str, revision: int, level: int, alarm: int = 0) -> TimerRequest:
        """The timer of this level; each alarm at the end of the ladder has one of its own."""
        again = f"/{alarm}" if alarm else ""
        return TimerRequest(
            timer_id=f"sla/{gate_id}/{revision}/{level}{again}",
            kind=TimerKind.SLA,
            about=gate_id,
            due_at=self.due_at,
            warn_at=self.warn_at,
        )


def promise(
    sla: Elapsed | BusinessDays, matrix: CompiledMatrix | None, at_ms: int, registry: Registry
) -> Promise:
    """The promise of a row, given at the append time of a record, in the matrix's calendar.

    Raises:
        ContractError: CALENDAR_MISSING or CALENDAR_RANGE.
    """
    name = matrix.document.spec.calendar if matrix is not None else None
    calendar = registry.calendars.get(name) if name is not None else None
    if isinstance(sla, BusinessDays) and calendar is None:
        raise ContractError(
            f"{sla} need calendar {name!r}, which is not in force; publish it",
            code="CALENDAR_MISSING",
        )
    start = instant_of(at_ms)
    due = due_at(start, sla, calendar)
    return Promise(warn_at(start, due), due)


def promise_again(text: str, pin: Pin | None, at_ms: int, registry: Registry) -> Promise:
    """The same SLA from now on, for the next rung or the next alarm; it never fails.

    A calendar that ran out meanwhile must not silence a gate that is late already: its business
    days then elapse as days of 24 hours, which is sooner than any calendar says.
    """
    sla = parse_sla(text)
    matrix = registry.matrices_by_digest.get(pin.digest) if pin is not None else None
    try:
        return promise(sla, matrix, at_ms, registry)
    except ContractError:
        assert isinstance(sla, BusinessDays), "elapsed time asks no calendar"
        return promise(Elapsed(sla.days * _DAY_S), None, at_ms, registry)
