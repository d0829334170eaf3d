"""Deadlines: exact where time elapses, and the same local clock where days are counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from caseway.contracts.calendar import WEEK, Calendar
from caseway.contracts.durations import BusinessDays, Elapsed
from caseway.contracts.fields import format_instant
from caseway.errors import ContractError
from caseway.kernel.calendars import CompiledCalendar, compile_calendar, due_at, warn_at
from caseway_control.calendar_maker import calendar_yaml, drift_of, generate_calendar
from caseway_control.documents import load_document

US, EU, TO_SUNDAY = "America/New_York", "Europe/Berlin", list(WEEK)
SHIPPED = (files("caseway_control") / "data/insurance/calendar.yaml").read_text(encoding="utf-8")


def document(zone: str = US, holidays: tuple[str, ...] = (), **spec: Any) -> Calendar:
    whole: dict[str, Any] = {
        "zone": zone,
        "workdays": list(WEEK[:5]),
        "valid_from": "2010-01-01",
        "valid_to": "2035-12-31",
        "tzdata": "2026.6",
        "holidays": [{"day": day, "name": "closed"} for day in holidays],
    }
    return Calendar.model_validate(
        {
            "apiVersion": "caseway.dev/v1",
            "kind": "Calendar",
            "metadata": {"name": "test", "version": 1, "title": "Test"},
            "spec": whole | spec,
        }
    )


def calendar(zone: str = US, holidays: tuple[str, ...] = (), **spec: Any) -> CompiledCalendar:
    return compile_calendar(document(zone, holidays, **spec))


def local(text: str, zone: str = US) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def due_local(start: str, days: int, using: CompiledCalendar) -> str:
    zone = using.document.spec.zone
    due = due_at(local(start, zone), BusinessDays(days), using)
    return due.astimezone(ZoneInfo(zone)).isoformat()


def shipped() -> CompiledCalendar:
    loaded = load_document(SHIPPED, "calendar.yaml")
    assert isinstance(loaded, Calendar)
    return compile_calendar(loaded)


# ── elapsed time ──


def test_24_hours_are_elapsed_time_across_a_change_of_clocks() -> None:
    friday = local("2026-03-07T16:00")
    due = due_at(friday, Elapsed(86_400), None)
    assert due - friday == timedelta(hours=24)
    assert due.astimezone(ZoneInfo(US)).isoformat() == "2026-03-08T17:00:00-04:00"


@given(st.datetimes(timezones=st.just(ZoneInfo(US))), st.integers(0, 10**8))
def test_elapsed_time_is_exact_in_every_season(start: datetime, seconds: int) -> None:
    assume(datetime(1900, 1, 1) < start.replace(tzinfo=None) < datetime(9000, 1, 1))
    due = due_at(start, Elapsed(seconds), None)
    assert due - start.astimezone(UTC) == timedelta(seconds=seconds)
    assert due.utcoffset() == timedelta(0)
    assert due.tzinfo is UTC


def test_instant_is_due_at_its_start() -> None:
    start = datetime(2026, 11, 21, 9, tzinfo=UTC)
    assert due_at(start, Elapsed(0), None) == start


# ── business days ──


@pytest.mark.parametrize(
    ("start", "days", "due"),
    [
        ("2026-11-18T16:00", 1, "2026-11-19T16:00:00-05:00"),
        ("2026-11-20T16:00", 1, "2026-11-23T16:00:00-05:00"),
        ("2026-11-20T16:00", 5, "2026-11-30T16:00:00-05:00"),  # Thanksgiving lies between
        ("2026-11-21T16:00", 1, "2026-11-24T00:00:00-05:00"),  # Saturday counts as Monday 00:00
        ("2026-11-22T23:59:59", 1, "2026-11-24T00:00:00-05:00"),
        ("2026-11-26T08:00", 1, "2026-11-30T00:00:00-05:00"),  # from a holiday
        ("2028-02-28T10:00", 1, "2028-02-29T10:00:00-05:00"),
        ("2028-02-29T10:00", 1, "2028-03-01T10:00:00-05:00"),
        ("2027-02-26T10:00", 1, "2027-03-01T10:00:00-05:00"),
        ("2027-12-30T10:00", 1, "2028-01-03T10:00:00-05:00"),  # New Year's Day kept on 12-31
        ("2026-12-31T10:00", 1, "2027-01-04T10:00:00-05:00"),
        ("2026-03-06T16:00", 1, "2026-03-09T16:00:00-04:00"),  # clocks go forward on Sunday
        ("2026-10-30T16:00", 1, "2026-11-02T16:00:00-05:00"),  # clocks go back on Sunday
    ],
)
def test_business_days_end_at_the_same_local_time(start: str, days: int, due: str) -> None:
    assert due_local(start, days, shipped()) == due


@pytest.mark.parametrize(
    ("zone", "start", "due"),
    [
        (US, "2026-03-07T02:30", "2026-03-08T03:00:00-04:00"),
        (US, "2026-03-07T01:59:59.999", "2026-03-08T01:59:59.999000-05:00"),
        (US, "2026-03-07T03:00", "2026-03-08T03:00:00-04:00"),
        (EU, "2026-03-28T02:30:15.250", "2026-03-29T03:00:00+02:00"),
        ("Australia/Lord_Howe", "2026-10-03T02:10", "2026-10-04T02:30:00+11:00"),
        ("Africa/Cairo", "2026-04-23T00:15", "2026-04-24T01:00:00+03:00"),
        ("Pacific/Apia", "2011-12-29T10:00", "2011-12-31T00:00:00+14:00"),
    ],
)
def test_a_time_in_a_gap_is_due_at_the_first_instant_after_it(
    zone: str, start: str, due: str
) -> None:
    assert due_local(start, 1, calendar(zone, workdays=TO_SUNDAY)) == due


@pytest.mark.parametrize(
    ("zone", "start", "due"),
    [
        (US, "2026-10-31T01:30", "2026-11-01T01:30:00-04:00"),
        (US, "2026-10-31T02:00", "2026-11-01T02:00:00-05:00"),
        (EU, "2026-10-24T02:30", "2026-10-25T02:30:00+02:00"),
        (EU, "2026-10-24T03:00", "2026-10-25T03:00:00+01:00"),
    ],
)
def test_a_time_that_comes_twice_is_due_the_first_time(zone: str, start: str, due: str) -> None:
    assert due_local(start, 1, calendar(zone, workdays=TO_SUNDAY)) == due


def test_a_start_in_the_second_of_two_equal_hours_keeps_its_clock() -> None:
    using = calendar(workdays=TO_SUNDAY)
    second = datetime(2026, 11, 1, 1, 30, tzinfo=ZoneInfo(US), fold=1)
    due = due_at(second, BusinessDays(1), using)
    assert due.astimezone(ZoneInfo(US)).isoformat() == "2026-11-02T01:30:00-05:00"


def test_a_day_off_that_ends_in_a_missing_midnight_begins_after_the_gap() -> None:
    using = calendar("Africa/Cairo", workdays=TO_SUNDAY, holidays=("2026-04-22",))
    assert due_local("2026-04-22T12:00", 1, using) == "2026-04-24T01:00:00+03:00"


@given(
    st.sampled_from([US, EU, "America/Los_Angeles", "Asia/Kolkata", "Australia/Lord_Howe"]),
    st.datetimes(datetime(2024, 1, 2), datetime(2030, 12, 31)),
    st.integers(1, 40),
    st.sets(st.dates(date(2024, 1, 1), date(2031, 6, 1)), max_size=30),
)
def test_the_deadline_is_the_earliest_instant_of_its_day_at_that_clock(
    zone: str, start: datetime, days: int, closed: set[date]
) -> None:
    holidays = tuple(sorted(day.isoformat() for day in closed))
    using = calendar(zone, holidays, workdays=["mon", "tue", "thu", "sat", "sun"])
    begin = start.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))

    def is_open(day: date) -> bool:
        return day.weekday() not in (2, 4) and day not in closed

    day, clock = begin.date(), begin.time()
    if not is_open(day):
        clock = clock.min
        while not is_open(day):
            day += timedelta(days=1)
    for _ in range(days):
        day += timedelta(days=1)
        while not is_open(day):
            day += timedelta(days=1)
    wall = datetime.combine(day, clock)
    due = due_at(begin, BusinessDays(days), using)

    def reads(moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)

    assert reads(due).date() == day
    assert reads(due) >= wall
    for back in (timedelta(microseconds=1), timedelta(minutes=29), timedelta(minutes=60)):
        assert reads(due - back) < wall


@given(
    st.sampled_from([US, EU]),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)),
    st.timedeltas(timedelta(0), timedelta(days=5)),
    st.integers(1, 10),
)
def test_who_starts_later_is_never_due_earlier(
    zone: str, start: datetime, later: timedelta, days: int
) -> None:
    using = calendar(zone, ("2026-12-24", "2026-12-25", "2027-01-01"))
    one = start.replace(tzinfo=UTC)
    other = one + later
    # The clock of a second equal hour runs behind its instant; only there order may turn.
    assume(other.astimezone(ZoneInfo(zone)).fold == 0)
    assert due_at(one, BusinessDays(days), using) <= due_at(other, BusinessDays(days), using)


def test_a_chain_of_holidays_is_walked_to_its_end() -> None:
    closed = tuple(f"2026-12-{day}" for day in range(21, 32))
    assert due_local("2026-12-18T09:00", 1, calendar(EU, closed)) == "2027-01-01T09:00:00+01:00"
    assert due_local("2026-12-25T09:00", 1, calendar(EU, closed)) == "2027-01-04T00:00:00+01:00"


def test_the_zone_of_the_caller_does_not_matter() -> None:
    start = datetime(2026, 11, 21, 2, tzinfo=timezone(timedelta(hours=9)))
    using = shipped()
    assert due_at(start, BusinessDays(1), using) == due_at(
        start.astimezone(UTC), BusinessDays(1), using
    )


# ── refusals ──


@pytest.mark.parametrize(
    ("start", "days"),
    [
        ("2023-12-31T12:00", 1),
        ("2033-01-01T00:00", 1),
        ("2032-12-30T09:00", 1),
        ("2024-01-02T09:00", 2600),
        ("2032-12-31T09:00", 1),
    ],
)
def test_outside_its_years_a_calendar_knows_nothing(start: str, days: int) -> None:
    with pytest.raises(ContractError, match="2024-01-01 to 2032-12-31") as error:
        due_at(local(start), BusinessDays(days), shipped())
    assert error.value.code == "CALENDAR_RANGE"


def test_the_first_and_last_business_day_are_inside_the_range() -> None:
    assert due_local("2024-01-01T00:00", 1, shipped()) == "2024-01-03T00:00:00-05:00"
    assert due_local("2032-12-29T09:00", 1, shipped()) == "2032-12-30T09:00:00-05:00"


def test_business_days_without_a_calendar_are_refused() -> None:
    with pytest.raises(ContractError) as error:
        due_at(local("2026-11-20T16:00"), BusinessDays(5), None)
    assert error.value.code == "CALENDAR_MISSING"


def test_a_start_without_offset_is_refused() -> None:
    naive = datetime(2026, 11, 20, 16)
    with pytest.raises(ContractError) as error:
        due_at(naive, Elapsed(1), None)
    assert error.value.code == "TIME_OFFSET"
    with pytest.raises(ContractError) as error:
        warn_at(naive, naive)
    assert error.value.code == "TIME_OFFSET"


def test_a_deadline_beyond_the_last_year_is_refused() -> None:
    with pytest.raises(ContractError) as error:
        due_at(datetime(9999, 12, 31, 23, tzinfo=UTC), Elapsed(86_400), None)
    assert error.value.code == "CALENDAR_RANGE"


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"zone": "America/New_Yorck"}, "CALENDAR_ZONE"),
        ({"zone": "../../etc/passwd"}, "CALENDAR_ZONE"),
        ({"zone": "EST5"}, "CALENDAR_ZONE"),
        ({"workdays": []}, "CALENDAR_WORKDAYS"),
        ({"workdays": ["mon", "mon"]}, "CALENDAR_WORKDAYS"),
        ({"valid_from": "2035-12-31", "valid_to": "2035-12-30"}, "CALENDAR_RANGE"),
        ({"valid_from": "1900-01-01"}, "CALENDAR_RANGE"),
        ({"holidays": ("2009-12-31",)}, "CALENDAR_HOLIDAYS"),
        ({"holidays": ("2036-01-01",)}, "CALENDAR_HOLIDAYS"),
        ({"holidays": ("2026-01-01", "2026-01-01")}, "CALENDAR_HOLIDAYS"),
        ({"workdays": ["mon"], "valid_from": "2026-01-01", "valid_to": "2026-01-12",
          "holidays": ("2026-01-05", "2026-01-12")}, "CALENDAR_EMPTY"),
    ],
)  # fmt: skip
def test_a_calendar_that_cannot_count_is_refused(spec: dict[str, Any], code: str) -> None:
    with pytest.raises(ContractError) as error:
        calendar(**spec)
    assert error.value.code == code
    assert error.value.where.startswith("/spec/")


def test_a_misspelt_zone_is_answered_with_the_nearest() -> None:
    with pytest.raises(ContractError, match="did you mean America/New_York"):
        calendar("America/New_Yorck")


@pytest.mark.parametrize("day", [20260101, "2026-02-30", "2026-1-1", "1767225600", None])
def test_a_day_is_written_in_full(day: object) -> None:
    with pytest.raises(ValidationError):
        document(valid_from=day)


def test_a_workday_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError):
        document(workdays=["monday"])


# ── warnings ──


def test_a_warning_comes_when_three_quarters_are_gone() -> None:
    start = datetime(2026, 3, 7, 21, tzinfo=UTC)
    assert warn_at(start, start + timedelta(hours=24)) == start + timedelta(hours=18)
    assert warn_at(start, start) == start


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    st.integers(0, 10**12),
)
def test_a_warning_survives_the_precision_of_an_event(start: datetime, span_ms: int) -> None:
    start = start.replace(microsecond=start.microsecond // 1000 * 1000)
    due = start + timedelta(milliseconds=span_ms)
    warned = warn_at(start, due)
    assert datetime.fromisoformat(format_instant(warned)) == warned
    assert start <= warned <= due
    assert timedelta(0) <= (due - start) * 3 - (warned - start) * 4 < timedelta(milliseconds=4)


def test_a_deadline_before_its_start_is_refused() -> None:
    start = datetime(2026, 3, 7, 21, tzinfo=UTC)
    with pytest.raises(ContractError) as error:
        warn_at(start, start - timedelta(microseconds=1))
    assert error.value.code == "TIME_ORDER"


# ── the maker ──


def test_the_shipped_calendar_is_what_the_pinned_library_makes() -> None:
    made = generate_calendar("us-business", 1, "US", None, US, range(2024, 2033))
    assert calendar_yaml(made) == SHIPPED
    assert shipped().document == made
    assert drift_of(made) == ()


def test_drift_names_the_days_that_moved() -> None:
    made = generate_calendar("us-business", 1, "US", None, US, range(2024, 2026))
    spec = made.model_dump(mode="json")["spec"]
    spec["tzdata"], spec["origin"]["holidays"] = "2020.1", "0.1"
    spec["holidays"][0]["day"] = "2024-01-02"
    older = made.model_copy(update={"spec": type(made.spec).model_validate(spec)})
    assert [line.split(", the")[0] for line in drift_of(older)] == [
        f"tzdata is {made.spec.tzdata}",
        f"holidays is {made.spec.origin.holidays if made.spec.origin else ''}",
        "2024-01-01 (New Year's Day) is a holiday in the library alone",
        "2024-01-02 (New Year's Day) is a holiday in the calendar alone",
    ]


def test_a_subdivision_has_its_own_holidays() -> None:
    california = generate_calendar("us-ca", 1, "US", "CA", US, [2026])
    assert "2026-03-31" in {holiday.day.isoformat() for holiday in california.spec.holidays}
    assert load_document(calendar_yaml(california), "ca.yaml") == california


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: generate_calendar("x", 1, "XX", None, US, [2026]), "CALENDAR_COUNTRY"),
        (lambda: generate_calendar("x", 1, "US", "QQ", US, [2026]), "CALENDAR_COUNTRY"),
        (lambda: generate_calendar("x", 1, "US", None, US, [2026, 2028]), "CALENDAR_RANGE"),
        (lambda: generate_calendar("x", 1, "US", None, US, []), "CALENDAR_RANGE"),
        (lambda: generate_calendar("x", 1, "US", None, "Mars/Base", [2026]), "CALENDAR_ZONE"),
    ],
)
def test_the_maker_refuses_what_no_calendar_can_hold(
    make: Callable[[], Calendar], code: str
) -> None:
    with pytest.raises(ContractError) as error:
        make()
    assert error.value.code == code
