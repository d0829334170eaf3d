"""Turn promises into instants: exact elapsed time, and business days of a pinned calendar.

Business days keep the local wall-clock time: Friday 16:00 and one day is Monday 16:00, whether
or not clocks change between. Where that time falls into a gap (clocks go forward) the deadline
is the first instant after the gap; where it comes twice (clocks go back) it is the first of
both: in one sentence, the earliest instant of that day at which the local clock has reached the
time. Zone rules are those of the tzdata package and never of the host, so that two machines
agree. Nothing here reads a clock.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from caseway.contracts.calendar import WEEK, Calendar, CalendarSpec
from caseway.contracts.durations import BusinessDays, Elapsed
from caseway.contracts.fields import Pin
from caseway.errors import ContractError
from caseway.kernel.digests import digest_of

# A calendar is compiled into the list of its business days: 50 years are 13,000 numbers.
SPAN_MAX_DAYS = 50 * 366
# The precision of every instant on a topic: a finer warning would not survive its own event.
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class CompiledCalendar:
    """A proven calendar; `days` are the ordinals of its business days, ascending."""

    document: Calendar
    pin: Pin
    zone: ZoneInfo
    days: tuple[int, ...]


def compile_calendar(document: Calendar) -> CompiledCalendar:
    """Prove that a calendar has a known zone and business days, and list them.

    Raises:
        ContractError: CALENDAR_RANGE, CALENDAR_ZONE, CALENDAR_WORKDAYS, CALENDAR_HOLIDAYS or
            CALENDAR_EMPTY; `where` is the JSON pointer of the value.
    """
    spec = document.spec
    _prove_range(spec)
    _prove_workdays(spec)
    closed = _prove_holidays(spec)
    working = {WEEK.index(name) for name in spec.workdays}
    span = range(spec.valid_from.toordinal(), spec.valid_to.toordinal() + 1)
    days = tuple(
        day for day in span if date.fromordinal(day).weekday() in working and day not in closed
    )
    if not days:
        text = "every workday is a holiday; a calendar needs at least one business day"
        raise _refused("CALENDAR_EMPTY", "/spec/holidays", text)
    metadata = document.metadata
    return CompiledCalendar(
        document=document,
        pin=Pin(name=metadata.name, version=metadata.version, digest=digest_of(document)),
        zone=_zone(spec.zone),
        days=days,
    )


def due_at(
    start: datetime, sla: Elapsed | BusinessDays, calendar: CompiledCalendar | None
) -> datetime:
    """The instant in UTC at which a promise given at `start` falls due.

    Elapsed time is exact seconds and asks no calendar. N business days end at the local time of
    `start` on the Nth business day after it; a start on a day without business counts as the
    first instant of the next business day.

    Raises:
        ContractError: CALENDAR_MISSING, CALENDAR_RANGE, or TIME_OFFSET for a naive start.
    """
    instant = _utc(start)
    if isinstance(sla, Elapsed):
        try:
            return instant + sla.timedelta
        except OverflowError:
            raise _refused("CALENDAR_RANGE", "", "the deadline lies after the year 9999") from None
    if calendar is None:
        text = f"{sla} need a calendar; name one where the promise is made"
        raise _refused("CALENDAR_MISSING", "", text)
    local = instant.astimezone(calendar.zone)
    days, ordinal = calendar.days, local.date().toordinal()
    index = bisect_left(days, ordinal)
    spec = calendar.document.spec
    if not spec.valid_from <= local.date() <= spec.valid_to or index + sla.days >= len(days):
        text = f"{sla} from {local.date()} leave calendar {calendar.pin}, which knows"
        text += f" {spec.valid_from} to {spec.valid_to}; publish a version with more years"
        raise _refused("CALENDAR_RANGE", "", text)
    clock = local.time() if days[index] == ordinal else time(0)
    return _earliest(date.fromordinal(days[index + sla.days]), clock, calendar.zone)


def warn_at(start: datetime, due: datetime) -> datetime:
    """The instant in UTC when three quarters of the time are gone, to the millisecond below.

    Business days are weighed by the elapsed time they take, so the warning needs no calendar.

    Raises:
        ContractError: TIME_ORDER where `due` lies before `start`; TIME_OFFSET for naive times.
    """
    begin, end = _utc(start), _utc(due)
    if end < begin:
        raise _refused("TIME_ORDER", "", "a deadline lies before its start; check the caller")
    return begin + ((end - begin) * 3 // (4 * _MILLISECOND)) * _MILLISECOND


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise _refused("TIME_OFFSET", "", "an instant carries its offset, e.g. ...T09:00:00Z")
    return moment.astimezone(UTC)


def _earliest(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """The earliest instant of a day at which the local clock reads `clock` or later."""
    wall = datetime.combine(day, clock.replace(fold=0, tzinfo=None))
    # In a gap fold 0 answers with the offset before it and fold 1 with the one after it.
    late = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if late.astimezone(zone).replace(tzinfo=None) == wall:
        return late
    return _change_between(early, late, zone)


def _change_between(early: datetime, late: datetime, zone: ZoneInfo) -> datetime:
    """The one change of offset in (early, late], found by halving; changes are whole seconds."""
    low, high = early.replace(microsecond=0), late.replace(microsecond=0)
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


@lru_cache(maxsize=64)
def _zone(key: str) -> ZoneInfo:
    """A zone of the tzdata package; the list of names also keeps paths like `..` out."""
    names = (files("tzdata") / "zones").read_text(encoding="utf-8").split()
    if key not in names:
        near = get_close_matches(key, names, 1)
        hint = f"did you mean {near[0]}?" if near else "write e.g. America/New_York"
        raise _refused("CALENDAR_ZONE", "/spec/zone", f"is not an IANA zone; {hint}")
    with files("tzdata").joinpath("zoneinfo", *key.split("/")).open("rb") as stream:
        return ZoneInfo.from_file(stream, key=key)


def _prove_range(spec: CalendarSpec) -> None:
    days = (spec.valid_to - spec.valid_from).days
    if not 0 <= days <= SPAN_MAX_DAYS:
        text = "ends before it begins" if days < 0 else "is longer than 50 years"
        text = f"the range valid_from..valid_to {text}; correct one of both"
        raise _refused("CALENDAR_RANGE", "/spec/valid_to", text)


def _prove_workdays(spec: CalendarSpec) -> None:
    if not spec.workdays:
        text = "is empty; list the days of business, e.g. [mon, tue, wed, thu, fri]"
        raise _refused("CALENDAR_WORKDAYS", "/spec/workdays", text)
    if len(set(spec.workdays)) < len(spec.workdays):
        raise _refused("CALENDAR_WORKDAYS", "/spec/workdays", "names a day twice; list each once")


def _prove_holidays(spec: CalendarSpec) -> frozenset[int]:
    closed: set[int] = set()
    for index, holiday in enumerate(spec.holidays):
        where, ordinal = f"/spec/holidays/{index}", holiday.day.toordinal()
        if ordinal in closed:
            raise _refused("CALENDAR_HOLIDAYS", where, f"lists {holiday.day} a second time")
        if not spec.valid_from <= holiday.day <= spec.valid_to:
            text = f"{holiday.day} lies outside valid_from..valid_to, so it has no effect"
            raise _refused("CALENDAR_HOLIDAYS", where, f"{text}; drop it or widen the range")
        closed.add(ordinal)
    return frozenset(closed)


def _refused(code: str, where: str, text: str) -> ContractError:
    return ContractError(f"{where}: {text}" if where else text, code=code, where=where)
