"""An authority matrix document: who decides on which amounts, by when, and who comes next.

A row is chosen by a flag (any amount) or by an interval of amounts; bounds are exact decimals
with their openness written down. One row can be read alone here; that all rows together leave
no gap, no overlap and no circle is proven by `caseway.kernel.matrix`, before a matrix is used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from caseway.contracts.calendar import Metadata
from caseway.contracts.durations import Elapsed, Sla
from caseway.contracts.fields import Contract, Identifier
from caseway.contracts.money import Currency
from caseway.errors import ContractError

# The approver of a row that needs nobody; no person and no agent ever holds this role.
SYSTEM = "system"

_BOUND = r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?"
_INTERVAL = re.compile(rf"([\[(]) *({_BOUND}) *\.\. *({_BOUND})? *([\])])")


@dataclass(frozen=True, slots=True)
class Interval:
    """A run of amounts from `low` up to `high`, or without end where `high` is None."""

    low: Decimal
    low_closed: bool
    high: Decimal | None
    high_closed: bool

    def contains(self, amount: Decimal) -> bool:
        """Compare exactly; a bound belongs to the interval on its closed side alone."""
        above = amount > self.low or (self.low_closed and amount == self.low)
        if self.high is None:
            return above
        return above and (amount < self.high or (self.high_closed and amount == self.high))

    @property
    def is_empty(self) -> bool:
        """True where no amount lies inside: `(5..5]`, or bounds the wrong way round."""
        if self.high is None:
            return False
        closed = self.low_closed and self.high_closed
        return self.low > self.high or (self.low == self.high and not closed)

    def __str__(self) -> str:
        high = "" if self.high is None else f"{self.high:f}"
        return f"{'(['[self.low_closed]}{self.low:f}..{high}{')]'[self.high_closed]}"


def parse_interval(value: Any, where: str = "") -> Interval:
    """Read `[0..5000)`: a square bracket takes its bound in, a round one leaves it out.

    Raises:
        ContractError: INTERVAL.

    Example:
        >>> parse_interval("(500000..)").contains(Decimal("500000.01"))
        True
    """
    at = f"{where}: " if where else ""
    expected = '; write e.g. "[0..5000)" or, without an upper end, "(500000..)"'
    found = _INTERVAL.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        problem = f"{at}is not an interval of amounts{expected}"
        raise ContractError(problem, code="INTERVAL", where=where)
    low, high = Decimal(found[2]), None if found[3] is None else Decimal(found[3])
    interval = Interval(low, found[1] == "[", high, found[4] == "]")
    if high is None and interval.high_closed:
        problem = f'{at}has no upper end to take in; close it with ")"{expected}'
        raise ContractError(problem, code="INTERVAL", where=where)
    if interval.is_empty:
        problem = f"{at}{interval} holds no amount{expected}"
        raise ContractError(problem, code="POLICY_BANDS", where=where)
    return interval


def _interval_field(value: Any) -> Interval:
    try:
        return parse_interval(str(value) if isinstance(value, Interval) else value)
    except ContractError as refused:
        raise PydanticCustomError(refused.code, "{why}", {"why": str(refused)}) from None


def _role(value: Any) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise PydanticCustomError("ROLE_EMPTY", "is empty; name the role that decides")
    return value


Amounts = Annotated[
    Interval,
    PlainValidator(_interval_field),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_INTERVAL.pattern}$"}),
]
Role = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$"), BeforeValidator(_role)
]
Rung = Annotated[tuple[Role, ...], Field(max_length=10)]


class Row(Contract):
    """One line: when it applies, who decides within which time, and the rungs above.

    Each rung of `escalates_to` is a set of roles that must decide jointly.
    """

    name: Identifier
    flag: Annotated[Identifier | None, Field(exclude_if=lambda flag: flag is None)] = None
    amount: Annotated[Amounts | None, Field(exclude_if=lambda amount: amount is None)] = None
    approver: Role
    escalates_to: Annotated[tuple[Rung, ...], Field(max_length=10)] = ()
    sla: Sla

    @model_validator(mode="after")
    def _is_one_kind_of_row(self) -> Self:
        if (self.flag is None) == (self.amount is None):
            raise PydanticCustomError(
                "ROW_CONDITION", "has to have either a flag or an amount, and not both"
            )
        if any(SYSTEM in rung for rung in self.escalates_to):
            raise PydanticCustomError(
                "AUTO_ROW", "escalates to system; name a role that people hold"
            )
        instant = isinstance(self.sla, Elapsed) and self.sla.is_instant
        if self.is_auto and (self.flag is not None or self.escalates_to or not instant):
            raise PydanticCustomError(
                "AUTO_ROW", "is decided by system, so it has an amount, sla: instant and no rungs"
            )
        if instant and not self.is_auto:
            raise PydanticCustomError(
                "AUTO_ROW", "gives people no time; sla: instant is for approver: system"
            )
        return self

    @property
    def is_auto(self) -> bool:
        """True where nobody has to decide."""
        return self.approver == SYSTEM


class MatrixSpec(Contract):
    """The rows of one matrix in one currency, and the calendar its business days count in."""

    currency: Currency
    calendar: Annotated[Identifier | None, Field(exclude_if=lambda name: name is None)] = None
    rows: Annotated[tuple[Row, ...], Field(max_length=500)]


class AuthorityMatrix(Contract):
    """One version of a matrix; `caseway.kernel.matrix` proves it and finds rows in it."""

    apiVersion: Literal["caseway.dev/v1"]
    kind: Literal["AuthorityMatrix"]
    metadata: Metadata
    spec: MatrixSpec
