"""Make calendar documents from a library of public holidays, and compare them with it later.

The library changes its mind between releases; a document does not. A made calendar is checked
in and published as data, and `drift_of` says where today's library would answer otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version as installed_version

import holidays

from caseway.contracts.calendar import (
    WEEK,
    Calendar,
    CalendarSpec,
    Holiday,
    Metadata,
    Origin,
    Workday,
)
from caseway.errors import ContractError
from caseway.kernel.calendars import compile_calendar


def generate_calendar(
    name: str,
    version: int,
    country: str,
    subdivision: str | None,
    zone: str,
    years: Sequence[int],
    workdays: tuple[Workday, ...] = WEEK[:5],
) -> Calendar:
    """A proven calendar over whole, consecutive years with a country's public holidays.

    Raises:
        ContractError: CALENDAR_COUNTRY, CALENDAR_RANGE, or what `compile_calendar` raises.
    """
    span = sorted(set(years))
    if not span or span != list(range(span[0], span[-1] + 1)):
        text = "the years have a hole, where every workday would count; give consecutive years"
        raise ContractError(text, code="CALENDAR_RANGE", where="/spec/valid_from")
    calendar = Calendar(
        apiVersion="caseway.dev/v1",
        kind="Calendar",
        metadata=Metadata(
            name=name,
            version=version,
            title=f"{country}{f'-{subdivision}' if subdivision else ''} public holidays,"
            f" {span[0]} to {span[-1]}",
        ),
        spec=CalendarSpec(
            zone=zone,
            workdays=workdays,
            valid_from=date(span[0], 1, 1),
            valid_to=date(span[-1], 12, 31),
            tzdata=installed_version("tzdata"),
            holidays=_holidays(country, subdivision, span),
            origin=Origin(
                country=country,
                subdivision=subdivision or "",
                holidays=installed_version("holidays"),
            ),
        ),
    )
    compile_calendar(calendar)
    return calendar


def calendar_yaml(calendar: Calendar) -> str:
    """The document as YAML with one holiday a line, so that a review shows the days that moved."""
    spec = calendar.spec
    lines = [
        f"# {calendar.metadata.title}. Pinned data: a newer library never moves a deadline.",
        f"apiVersion: {calendar.apiVersion}",
        f"kind: {calendar.kind}",
        f"metadata: {_flow(calendar.metadata.model_dump(mode='json'))}",
        "spec:",
        f"  zone: {spec.zone}",
        f"  workdays: [{', '.join(spec.workdays)}]",
        f"  valid_from: {spec.valid_from}",
        f"  valid_to: {spec.valid_to}",
        f'  tzdata: "{spec.tzdata}"',
        *([f"  origin: {_flow(spec.origin.model_dump(mode='json'))}"] if spec.origin else []),
        "  holidays:" if spec.holidays else "  holidays: []",
        *(f"    - {_flow(holiday.model_dump(mode='json'))}" for holiday in spec.holidays),
    ]
    return "\n".join(lines) + "\n"


def drift_of(calendar: Calendar) -> tuple[str, ...]:
    """Sentences on what the installed libraries would answer otherwise; none is good news.

    A calendar that a person wrote has no origin, so only its zone data can drift.
    """
    spec, found = calendar.spec, []
    if (today := installed_version("tzdata")) != spec.tzdata:
        found.append(f"tzdata is {today}, the calendar was made with {spec.tzdata}")
    if spec.origin is None:
        return tuple(found)
    if (today := installed_version("holidays")) != spec.origin.holidays:
        found.append(f"holidays is {today}, the calendar was made with {spec.origin.holidays}")
    span = range(spec.valid_from.year, spec.valid_to.year + 1)
    fresh = {
        holiday.day: holiday.name
        for holiday in _holidays(spec.origin.country, spec.origin.subdivision or None, span)
        if spec.valid_from <= holiday.day <= spec.valid_to
    }
    pinned = {holiday.day: holiday.name for holiday in spec.holidays}
    for day in sorted(fresh.keys() - pinned.keys()):
        found.append(f"{day} ({fresh[day]}) is a holiday in the library alone")
    for day in sorted(pinned.keys() - fresh.keys()):
        found.append(f"{day} ({pinned[day]}) is a holiday in the calendar alone")
    return tuple(found)


def _holidays(country: str, subdivision: str | None, years: Sequence[int]) -> tuple[Holiday, ...]:
    try:
        known = holidays.country_holidays(country, subdiv=subdivision, years=years)
    except NotImplementedError:
        raise ContractError(
            "the country or its subdivision has no public holidays on record; write ISO 3166"
            " codes, e.g. US and CA, or write the calendar by hand",
            code="CALENDAR_COUNTRY",
            where="/spec/origin",
        ) from None
    listed = sorted((day, name) for day, name in known.items() if day.year in years)
    return tuple(Holiday(day=day, name=name) for day, name in listed)


def _flow(values: dict[str, object]) -> str:
    """A flow mapping on one line; JSON texts are YAML texts."""
    texts = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    return f"{{{', '.join(texts)}}}"
