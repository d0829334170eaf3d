"""Rows as data: what a projection writes to which table, without knowing any database.

A row of an appended table stands for one record. A row of a kept table is a patch: None leaves a
column as it is, and the position of the record that made the patch guards it, so a patch that
comes again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

Value = str | int | bool | datetime | None
Row = tuple[Value, ...]
Rows = Mapping["Table", list[Row]]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one table that records of one topic fill: the key first, the guard last.

    `guard` is the column with the offset of the record that last wrote the row, "" for a table
    that is only appended to. `types` are SQL types, one a column. One table of the database may
    be filled from two topics: each has its own columns and its own guard, so neither can
    undo the other, in whatever order the two are read.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    types: tuple[str, ...]
    guard: str = ""

    @classmethod
    def of(cls, name: str, key: tuple[str, ...], guard: str = "", **columns: str) -> Table:
        """A table by its columns and their types."""
        names = tuple(columns)
        assert names[: len(key)] == key, f"{name}: the key comes first"
        assert not guard or names[-1] == guard, f"{name}: the guard comes last"
        return cls(name, key, names, tuple(columns.values()), guard)

    def row(self, **values: Value) -> Row:
        """A row by column names; what is not named stays as it is."""
        unknown = values.keys() - set(self.columns)
        assert not unknown, f"{self.name} has no columns {sorted(unknown)}"
        return tuple(values.get(column) for column in self.columns)


def merged(rows: Iterable[tuple[Table, Row]]) -> dict[Table, list[Row]]:
    """Rows by table; patches of one key become one, the later value of each column winning.

    Rows of one table come in the order of their positions. One statement can't write a row
    twice, and the outcome is the same wherever a stream of rows is cut.

    Example:
        >>> cases = Table.of("cases", ("id",), "at", id="text", phase="text", at="bigint")
        >>> merged([(cases, ("c-1", "a", 1)), (cases, ("c-1", None, 2))])[cases]
        [('c-1', 'a', 2)]
    """
    appended: dict[Table, list[Row]] = {}
    kept: dict[Table, dict[Row, Row]] = {}
    for table, row in rows:
        if not table.guard:
            appended.setdefault(table, []).append(row)
            continue
        of_table = kept.setdefault(table, {})
        key = row[: len(table.key)]
        before = of_table.get(key)
        of_table[key] = row if before is None else _patched(before, row)
    return {**appended, **{table: list(of_key.values()) for table, of_key in kept.items()}}


def _patched(before: Row, row: Row) -> Row:
    return tuple(old if new is None else new for old, new in zip(before, row, strict=True))
