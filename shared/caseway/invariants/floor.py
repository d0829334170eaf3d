"""Which row an amount requires, read from a matrix document and from nothing compiled.

Written apart from `kernel/matrix.py`: no bisection, no cache, one look at every row. Amounts are
exact decimals; what no row is for requires nobody here, and so nothing may be decided on it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from caseway.contracts.definition import Gate
from caseway.contracts.matrix import AuthorityMatrix, Row
from caseway.contracts.money import Money


def required_row(matrix: AuthorityMatrix, amount: Money, flags: Collection[str]) -> Row | None:
    """The row that has to decide: that of the first flag that is up, else of the amount."""
    rows = matrix.spec.rows
    known = {row.flag for row in rows if row.flag is not None}
    if amount.currency != matrix.spec.currency or not known.issuperset(flags):
        return None
    for row in rows:
        if row.flag is not None and row.flag in flags:
            return row
    holding = [row for row in rows if row.amount is not None and _holds(row, amount)]
    # Bands never overlap; if they did, the highest of them has the authority.
    return holding[-1] if holding else None


def roles_at(row: Row, level: int) -> frozenset[str]:
    """Who must decide, jointly, after so many escalations."""
    if level == 0:
        return frozenset({row.approver})
    return frozenset(row.escalates_to[level - 1]) if level <= len(row.escalates_to) else frozenset()


def raised_flags(gate: Gate, facts: Mapping[str, Any]) -> frozenset[str]:
    """The flags of a gate that are up: one of their facts is anything but a plain false."""
    return frozenset(
        flag
        for flag, names in gate.flags.items()
        if not all(facts.get(name) is False for name in names)
    )


def _holds(row: Row, amount: Money) -> bool:
    value, band = Decimal(amount.amount), row.amount
    assert band is not None
    if value < band.low or (value == band.low and not band.low_closed):
        return False
    if band.high is None:
        return True
    return value < band.high or (value == band.high and band.high_closed)
