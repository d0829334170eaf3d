"""Compile an authority matrix: prove its rows, then find the one row of an amount.

The proof runs over the real line, not over cents: every amount from 0 up lies in exactly one
row, so no rounding, however fine, moves an amount into a lower row. What the table does not
know (a currency, a flag, a value that is no amount) is a `NoRow`, which callers send to people;
there is no default row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from itertools import pairwise
from typing import Literal

from caseway.contracts.durations import BusinessDays
from caseway.contracts.fields import Pin
from caseway.contracts.matrix import SYSTEM, AuthorityMatrix, Interval, Row
from caseway.contracts.money import MINOR_UNITS
from caseway.errors import ContractError
from caseway.kernel.digests import digest_of

NoRowReason = Literal["AMOUNT_FORMAT", "AMOUNT_RANGE", "CURRENCY_UNMAPPED", "FLAG_UNKNOWN"]
Flags = frozenset[str]


@dataclass(frozen=True, slots=True)
class NoRow:
    """No row decides: a reason code, and the sentence a person in the queue reads."""

    reason: NoRowReason
    detail: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One condition of one row, and why it matched or missed."""

    column: Literal["currency", "flag", "amount"]
    condition: str
    matched: bool
    why: str


@dataclass(frozen=True, slots=True)
class RowTrace:
    """One row of an explanation; `chosen` is true on the one row that decides."""

    row: str
    cells: tuple[Cell, ...]
    matched: bool
    chosen: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole table for one question: which row decides, or why none does."""

    matrix: Pin
    rows: tuple[RowTrace, ...]
    chosen: str | None
    no_row: NoRow | None


@dataclass(frozen=True, slots=True)
class CompiledMatrix:
    """A proven matrix; made by `compile_matrix` and by nothing else."""

    document: AuthorityMatrix
    pin: Pin
    flag_rows: tuple[Row, ...]
    amount_rows: tuple[Row, ...]
    starts: tuple[tuple[Decimal, int], ...]
    known_flags: Flags

    def find(self, amount: Decimal, currency: str, flags: Flags) -> Row | NoRow:
        """The row that decides, or why none does; what is unknown never falls into a row."""
        if (refusal := self._refusal(amount, currency, flags)) is not None:
            return refusal
        for row in self.flag_rows:
            if row.flag in flags:
                return row
        # An open start (v, 1) sorts after the probe (v, 0), so v itself stays in the row below.
        row = self.amount_rows[bisect_right(self.starts, (amount, 0)) - 1]
        assert row.amount is not None
        assert row.amount.contains(amount)
        return row

    def explain(self, amount: Decimal, currency: str, flags: Flags) -> Explanation:
        """Every row and every cell, matched or missed and why; recomputed, never stored."""
        found = self.find(amount, currency, flags)
        chosen = found.name if isinstance(found, Row) else None
        traces = []
        for row in self.document.spec.rows:
            cells = tuple(self._cells(row, amount, currency, flags))
            matched = all(cell.matched for cell in cells)
            traces.append(RowTrace(row.name, cells, matched, row.name == chosen))
        no_row = found if isinstance(found, NoRow) else None
        return Explanation(self.pin, tuple(traces), chosen, no_row)

    def matched_cells(
        self, row: Row, amount: Decimal, currency: str, flags: Flags
    ) -> tuple[str, ...]:
        """The cells that chose a row, as short texts for the event that records the choice."""
        return tuple(
            f"{cell.column} {cell.condition}: {cell.why}"
            for cell in self._cells(row, amount, currency, flags)
            if cell.matched
        )

    def _refusal(self, amount: Decimal, currency: str, flags: Flags) -> NoRow | None:
        # A float that reads 25000 may have been 24999.999999999996, so its type alone refuses it.
        if type(amount) is not Decimal or not amount.is_finite():
            return NoRow("AMOUNT_FORMAT", "the amount is not an exact, finite decimal")
        if amount < 0:
            return NoRow("AMOUNT_RANGE", "the amount is below 0, where no row begins")
        mapped = self.document.spec.currency
        if currency != mapped:
            return NoRow("CURRENCY_UNMAPPED", f"the matrix decides on {mapped} alone")
        if unknown := sorted(flags - self.known_flags):
            return NoRow("FLAG_UNKNOWN", f"no row is for flag {', '.join(unknown)}")
        return None

    def _cells(self, row: Row, amount: Decimal, currency: str, flags: Flags) -> Iterator[Cell]:
        mapped = self.document.spec.currency
        same = currency == mapped
        yield Cell("currency", mapped, same, "is the same" if same else f"is {currency}")
        yield self._flag_cell(row, flags)
        if row.amount is None:
            yield Cell("amount", "any", True, "any amount matches")
            return
        refusal = self._refusal(amount, mapped, frozenset())
        inside = refusal is None and row.amount.contains(amount)
        if refusal is not None:
            why = refusal.detail
        else:
            why = f"{amount} lies {'inside' if inside else 'outside'}"
        yield Cell("amount", str(row.amount), inside, why)

    def _flag_cell(self, row: Row, flags: Flags) -> Cell:
        raised = [other for other in self.flag_rows if other.flag in flags]
        if row.flag is None:
            if not raised:
                return Cell("flag", "none", True, "no flag is raised")
            return Cell("flag", "none", False, f"{raised[0].flag} goes to {raised[0].name}")
        if row not in raised:
            return Cell("flag", row.flag, False, "is not raised")
        if row is not raised[0]:
            return Cell("flag", row.flag, False, f"is raised, but {raised[0].name} stands above")
        return Cell("flag", row.flag, True, "is raised")


def compile_matrix(
    document: AuthorityMatrix, known_roles: frozenset[str] | None = None
) -> CompiledMatrix:
    """Prove that every amount has exactly one row, and every row an end.

    With `known_roles`, each role has to be one of them.

    Raises:
        ContractError: POLICY_BANDS, ROW_NAME, ROLE_EMPTY, ROLE_REPEATED, ESCALATION_CYCLE,
            CALENDAR_MISSING, CALENDAR_UNUSED, CURRENCY or AMOUNT_SCALE; `where` is the JSON
            pointer of the row.
    """
    _prove_currency(document)
    rows = document.spec.rows
    _prove_flags(rows)
    _prove_bands(rows)
    _prove_names(rows)
    for index, row in enumerate(rows):
        _prove_roles(row, f"/spec/rows/{index}", known_roles)
        _prove_escalation(row, f"/spec/rows/{index}")
    _prove_calendar(document)
    metadata = document.metadata
    amount_rows = tuple(row for row in rows if row.amount is not None)
    return CompiledMatrix(
        document=document,
        pin=Pin(name=metadata.name, version=metadata.version, digest=digest_of(document)),
        flag_rows=tuple(row for row in rows if row.flag is not None),
        amount_rows=amount_rows,
        starts=tuple(_start(row.amount) for row in amount_rows if row.amount is not None),
        known_flags=frozenset(row.flag for row in rows if row.flag is not None),
    )


def _start(band: Interval) -> tuple[Decimal, int]:
    return band.low, 0 if band.low_closed else 1


def _prove_currency(document: AuthorityMatrix) -> None:
    currency = document.spec.currency
    if currency not in MINOR_UNITS:
        text = f"is not one of {', '.join(MINOR_UNITS)} (ISO 4217)"
        raise _refused("CURRENCY", "/spec/currency", text)
    for index, row in enumerate(document.spec.rows):
        bounds = () if row.amount is None else (row.amount.low, row.amount.high)
        for bound in bounds:
            if bound is not None and -int(bound.as_tuple().exponent) > MINOR_UNITS[currency]:
                scale = f"{currency} has {MINOR_UNITS[currency]} decimals"
                text = f"row {row.name!r} has the bound {bound:f}; {scale}, write no more"
                raise _refused("AMOUNT_SCALE", f"/spec/rows/{index}/amount", text)


def _prove_flags(rows: tuple[Row, ...]) -> None:
    first: dict[str, Row] = {}
    for index, row in enumerate(rows):
        if row.flag is None:
            continue
        if (earlier := first.setdefault(row.flag, row)) is not row:
            text = f"rows {earlier.name!r} and {row.name!r} are both for flag {row.flag!r}"
            raise _refused("POLICY_BANDS", f"/spec/rows/{index}", f"{text}; keep one of them")


def _prove_bands(rows: tuple[Row, ...]) -> None:
    """Walk the bands from 0 up: each has to begin exactly where the one before it ends."""
    written = [(row, row.amount, index) for index, row in enumerate(rows) if row.amount]
    bands = sorted(written, key=lambda item: (_start(item[1]), item[2]))
    if not bands:
        where, text = "/spec/rows", "no row has an amount, so nothing covers [0..)"
        raise _refused("POLICY_BANDS", where, f"{text}, e.g. 1; add rows with an amount")
    row, band, index = bands[0]
    if _start(band) != (Decimal(0), 0):
        gap = Interval(Decimal(0), True, band.low, not band.low_closed)
        text = f"{_uncovered(gap)}; {_label(row, band)} is the lowest row; begin at [0"
        raise _refused("POLICY_BANDS", f"/spec/rows/{index}", text)
    for (below, under, _), (above, over, index) in pairwise(bands):
        _prove_seam(below, under, above, over, f"/spec/rows/{index}")
    row, band, index = bands[-1]
    if band.high is not None:
        gap = Interval(band.high, not band.high_closed, None, False)
        text = f"{_uncovered(gap)}; {_label(row, band)} is the highest row; leave its end open"
        raise _refused("POLICY_BANDS", f"/spec/rows/{index}", text)
    for (earlier, under, first), (later, over, second) in pairwise(bands):
        if first > second:
            text = f"{_label(later, over)} is written above {_label(earlier, under)}"
            text += "; write the rows in ascending order"
            raise _refused("POLICY_BANDS", f"/spec/rows/{second}", text)


def _prove_seam(below: Row, under: Interval, above: Row, over: Interval, where: str) -> None:
    between = f"between {_label(below, under)} and {_label(above, over)}"
    if under.high is not None:
        gap = Interval(under.high, not under.high_closed, over.low, not over.low_closed)
        if not gap.is_empty:
            text = f"{_uncovered(gap)}, {between}; move a bound or add a row"
            raise _refused("POLICY_BANDS", where, text)
    ends = [(band.high, band.high_closed) for band in (under, over) if band.high is not None]
    high, closed = min(ends) if ends else (None, False)
    shared = Interval(over.low, over.low_closed, high, closed)
    if not shared.is_empty:
        text = f"amounts in {shared}, e.g. {_example(shared)}, are covered twice, by"
        text += f" {_label(below, under)} and {_label(above, over)}; move a bound or drop a row"
        raise _refused("POLICY_BANDS", where, text)


def _label(row: Row, band: Interval) -> str:
    return f"row {row.name!r} {band}"


def _uncovered(gap: Interval) -> str:
    return f"amounts in {gap}, e.g. {_example(gap)}, are covered by no row"


def _example(band: Interval) -> str:
    if band.low_closed:
        return f"{band.low:f}"
    if band.high is None:
        return f"{band.low + 1:f}"
    return f"{(band.low + band.high) / 2:f}"


def _prove_names(rows: tuple[Row, ...]) -> None:
    seen: set[str] = set()
    for index, row in enumerate(rows):
        if row.name in seen:
            text = f"two rows are named {row.name!r}; an explanation names the row it chose"
            raise _refused("ROW_NAME", f"/spec/rows/{index}/name", text)
        seen.add(row.name)


def _prove_roles(row: Row, where: str, known_roles: frozenset[str] | None) -> None:
    named = [(f"{where}/approver", row.approver)]
    for index, rung in enumerate(row.escalates_to):
        at = f"{where}/escalates_to/{index}"
        if not rung:
            text = f"row {row.name!r} has a rung without roles; name one, or drop the rung"
            raise _refused("ROLE_EMPTY", at, text)
        if len(set(rung)) < len(rung):
            text = f"row {row.name!r} names a role twice in one rung; a joint rung needs others"
            raise _refused("ROLE_REPEATED", at, text)
        named += [(f"{at}/{place}", role) for place, role in enumerate(rung)]
    for at, role in named:
        if known_roles is not None and role not in known_roles | {SYSTEM}:
            near = get_close_matches(role, sorted(known_roles), 1)
            hint = f"did you mean {near[0]!r}?" if near else "publish the role first"
            text = f"row {row.name!r} names role {role!r}, which nobody has published; {hint}"
            raise _refused("ROLE_EMPTY", at, text)


def _prove_escalation(row: Row, where: str) -> None:
    path = [frozenset({row.approver})]
    for index, rung in enumerate(row.escalates_to):
        path.append(frozenset(rung))
        if path[-1] in path[:-1]:
            steps = " → ".join("+".join(sorted(roles)) for roles in path)
            text = f"row {row.name!r} escalates in a circle: {steps}; each rung needs other roles"
            raise _refused("ESCALATION_CYCLE", f"{where}/escalates_to/{index}", text)


def _prove_calendar(document: AuthorityMatrix) -> None:
    calendar = document.spec.calendar
    for index, row in enumerate(document.spec.rows):
        if isinstance(row.sla, BusinessDays):
            if calendar is None:
                text = f"row {row.name!r} counts business days; name a calendar in /spec/calendar"
                raise _refused("CALENDAR_MISSING", f"/spec/rows/{index}/sla", text)
            return
    if calendar is not None:
        text = "no row counts business days, so the calendar has no effect; drop it"
        raise _refused("CALENDAR_UNUSED", "/spec/calendar", text)


def _refused(code: str, where: str, text: str) -> ContractError:
    return ContractError(f"{where}: {text}", code=code, where=where)
