"""Spans of time as text: exact elapsed time, and business days, as two different types.

"24h" is 86,400 seconds wherever the clock stands; "1 business day" has no length until a
calendar gives it one. No operator turns one into the other, so nobody can add them by mistake.
"d" and "w" are refused, because a day is 23, 24 or 25 hours, or a working day, or neither.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from caseway.errors import ContractError

# Ten years of either kind: longer than any promise a person keeps, far from datetime's end.
ELAPSED_MAX_S = 10 * 366 * 86_400
BUSINESS_DAYS_MAX = 2_610

_EXPECTED = '; write e.g. "30s", "5m", "24h", "instant" or "5 business days"'
_SECONDS = {"h": 3_600, "m": 60, "s": 1}
_ELAPSED = re.compile(r"([1-9][0-9]{0,8})([hms])")
_BUSINESS = re.compile(r"([1-9][0-9]{0,8}) business days?")
_ZERO_OR_LESS = re.compile(r"(?:-[0-9]+|0+) *(?:[hms]|business days?)?")


@dataclass(frozen=True, slots=True)
class Elapsed:
    """A number of seconds on the UTC time line; 0 is "instant"."""

    seconds: int

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= ELAPSED_MAX_S:
            raise _refused("is out of range; elapsed time is 0 to 10 years (87840h)")

    @property
    def is_instant(self) -> bool:
        """True for "instant", the promise of what no person has to wait for."""
        return self.seconds == 0

    @property
    def timedelta(self) -> timedelta:
        """The span to add to an instant in UTC, never to a local time."""
        return timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        if self.is_instant:
            return "instant"
        unit, size = next((u, s) for u, s in _SECONDS.items() if self.seconds % s == 0)
        return f"{self.seconds // size}{unit}"


@dataclass(frozen=True, slots=True)
class BusinessDays:
    """A number of business days, which only a calendar can turn into an instant."""

    days: int

    def __post_init__(self) -> None:
        if not 1 <= self.days <= BUSINESS_DAYS_MAX:
            raise _refused(f"is out of range; write 1 to {BUSINESS_DAYS_MAX} business days")

    def __str__(self) -> str:
        return f"{self.days} business day{'' if self.days == 1 else 's'}"


def parse_sla(value: Any, where: str = "") -> Elapsed | BusinessDays:
    """Read an SLA: "30s", "5m", "24h", "instant" or "5 business days".

    Raises:
        ContractError: DURATION, for every other text, for zero, and for what is no text.

    Example:
        >>> parse_sla("24h"), parse_sla("5 business days"), str(parse_sla("instant"))
        (Elapsed(seconds=86400), BusinessDays(days=5), 'instant')
    """
    if not isinstance(value, str):
        raise _refused(f"is not text with a unit{_EXPECTED}", where)
    if value == "instant":
        return Elapsed(0)
    try:
        if found := _ELAPSED.fullmatch(value):
            return Elapsed(int(found[1]) * _SECONDS[found[2]])
        if found := _BUSINESS.fullmatch(value):
            return BusinessDays(int(found[1]))
    except ContractError as refused:
        raise _refused(str(refused), where) from None
    if _ZERO_OR_LESS.fullmatch(value):
        raise _refused('is zero or negative; for no time at all write "instant"', where)
    raise _refused(f"is not a duration{_EXPECTED}", where)


def parse_duration(value: Any, where: str = "") -> Elapsed:
    """Read a span of elapsed time above zero, as leases and waits need it.

    Raises:
        ContractError: DURATION, also for "instant" and for business days.
    """
    parsed = parse_sla(value, where)
    if isinstance(parsed, BusinessDays) or parsed.is_instant:
        raise _refused('is not elapsed time above zero; write e.g. "30s", "5m" or "24h"', where)
    return parsed


def _refused(problem: str, where: str = "") -> ContractError:
    text = f"{where}: {problem}" if where else problem
    return ContractError(text, code="DURATION", where=where)


def _field(parse: Callable[[Any], Any]) -> PlainValidator:
    """Reads text; a value that is parsed already goes through the same checks as its text."""

    def validate(value: Any) -> Any:
        try:
            return parse(str(value) if isinstance(value, Elapsed | BusinessDays) else value)
        except ContractError as refused:
            raise PydanticCustomError("DURATION", "{why}", {"why": str(refused)}) from None

    return PlainValidator(validate)


def _schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})


_TEXT = PlainSerializer(str, return_type=str)

# A promise: elapsed time, instant, or business days.
Sla = Annotated[
    Elapsed | BusinessDays,
    _field(parse_sla),
    _TEXT,
    _schema(r"instant|[1-9][0-9]{0,8}([hms]| business days?)"),
]
# What waits or holds: elapsed time above zero.
Duration = Annotated[Elapsed, _field(parse_duration), _TEXT, _schema("[1-9][0-9]{0,8}[hms]")]
