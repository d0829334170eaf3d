"""A calendar document: the days on which a business works, pinned as data.

Holidays are listed one by one and never computed, so that the upgrade of a library cannot move
a deadline; outside `valid_from`..`valid_to` a calendar knows nothing and says so. `tzdata` and
`origin` record what the list was made from, for the maker that compares it with today's.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from caseway.contracts.fields import Contract, Identifier

Workday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
# In the order of date.weekday(), which counts Monday as 0.
WEEK: tuple[Workday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _iso(value: Any) -> Any:
    """Only the long form: pydantic alone would also take seconds since 1970."""
    if isinstance(value, date):
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        with suppress(ValueError):  # a day that no month has is named by pydantic itself
            return date.fromisoformat(value)
        return value
    raise PydanticCustomError("DATE", "is not a date; write e.g. 2026-11-21")


Day = Annotated[date, BeforeValidator(_iso)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=120)]
PrintedVersion = Annotated[str, StringConstraints(pattern=r"^[0-9a-z][0-9a-z.]{0,19}$")]


class Metadata(Contract):
    """What a document is called; a name and a version are published once."""

    name: Identifier
    version: Annotated[int, Field(ge=1, strict=True)]
    title: Title


class Holiday(Contract):
    """One day without business, and why."""

    day: Day
    name: Title


class Origin(Contract):
    """What a generated list of holidays was made from; absent where a person wrote the list."""

    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    subdivision: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{0,10}$")]
    holidays: PrintedVersion


class CalendarSpec(Contract):
    """Workdays of a week in one IANA zone, less the holidays."""

    zone: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    workdays: tuple[Workday, ...]
    valid_from: Day
    valid_to: Day
    tzdata: PrintedVersion
    holidays: tuple[Holiday, ...]
    origin: Annotated[Origin | None, Field(exclude_if=lambda origin: origin is None)] = None


class Calendar(Contract):
    """One version of a calendar; `caseway.kernel.calendars` proves it and counts with it."""

    apiVersion: Literal["caseway.dev/v1"]
    kind: Literal["Calendar"]
    metadata: Metadata
    spec: CalendarSpec
