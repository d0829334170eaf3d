"""A mapping of CSV columns to facts: small conversions, written down once and proven when read.

What a conversion cannot read it passes on as it stands, so that admission refuses it with the
code and the words that every other sender gets. Names and account numbers become keyed
pseudonyms here, before anything leaves the machine.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from caseway.contracts.fields import Contract, Identifier
from caseway.contracts.money import Currency
from caseway.contracts.submission import SourceName
from caseway.errors import ConfigError, ContractError
from caseway_control.yaml_text import read_yaml

_NUMBER = re.compile(r"(-?)([0-9]{1,15})(\.[0-9]+)?")
Column = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ToText(Contract):
    """The cell as it is, or the word that `values` names for it."""

    to: Literal["text"]
    column: Column
    values: dict[str, str] | None = None


class ToMoney(Contract):
    """An amount; `scale` says how many of the digits stand behind the point (2: cents)."""

    to: Literal["money"]
    column: Column
    currency: Currency
    scale: Annotated[int, Field(ge=0, le=4)] = 0


class ToBoolean(Contract):
    """One of two lists of words."""

    to: Literal["boolean"]
    column: Column
    true_words: tuple[str, ...]
    false_words: tuple[str, ...]


class ToDate(Contract):
    """A day in a form of `strptime`, e.g. %d-%m-%Y."""

    to: Literal["date"]
    column: Column
    format: str = "%Y-%m-%d"


class ToInteger(Contract):
    """A whole number."""

    to: Literal["integer"]
    column: Column


class ToPseudonym(Contract):
    """A keyed hash of one or several columns; the key never leaves the machine."""

    to: Literal["pseudonym"]
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    prefix: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,20}$")]


class ToConstant(Contract):
    """The same value in every row."""

    to: Literal["constant"]
    value: Any


Conversion = Annotated[
    ToText | ToMoney | ToBoolean | ToDate | ToInteger | ToPseudonym | ToConstant,
    Field(discriminator="to"),
]


class _Name(Contract):
    name: Identifier


class MappingSpec(Contract):
    """Which definition and source a file is for, its key, and how each fact is made."""

    definition: Identifier
    source: SourceName
    key: Annotated[tuple[Column, ...], Field(min_length=1)]
    missing: tuple[str, ...] = ("",)
    facts: dict[str, Conversion]


class SubmissionMapping(Contract):
    """A mapping file."""

    api_version: Annotated[Literal["caseway.dev/v1"], Field(alias="apiVersion")]
    kind: Literal["SubmissionMapping"]
    metadata: _Name
    spec: MappingSpec


@dataclass(frozen=True, slots=True)
class Row:
    """One submission to be: where it stands in its file, and what it says."""

    place: str
    key: str
    definition: str
    source: str
    facts: Any
    errors: tuple[ContractError, ...] = field(default=())


def load_mapping(text: str | bytes, source: str) -> MappingSpec:
    """Read a mapping file.

    Raises:
        ContractError: YAML_*, or MAPPING with the field that is wrong.
    """
    written = read_yaml(text, source)
    try:
        return SubmissionMapping.model_validate(written.value).spec
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "/" + "/".join(str(part) for part in first["loc"])
        text_of = first["msg"][:1].lower() + first["msg"][1:]
        raise ContractError(
            f"{source}: {where}: {text_of}; compare data/mappings of the package",
            code="MAPPING",
            where=where,
        ) from None


def needs_key(mapping: MappingSpec) -> bool:
    """True when the mapping makes pseudonyms."""
    return any(isinstance(c, ToPseudonym) for c in mapping.facts.values())


def read_csv(text: str, source: str, mapping: MappingSpec, secret: bytes) -> Iterator[Row]:
    """The rows of a CSV file with a header, each converted; `source` is what errors call it.

    Raises:
        ConfigError: MAPPING_COLUMN, CSV_HEADER, or FILE_TRUNCATED inside a quoted cell.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader)
        _check_header(header, mapping, source)
        for cells in reader:
            if cells:
                yield _row(f"line {reader.line_num}", header, cells, mapping, secret)
    except StopIteration:
        raise ConfigError(
            f"{source}: has no header; the first line names the columns", code="CSV_HEADER"
        ) from None
    except csv.Error as error:
        code = "FILE_TRUNCATED" if "end of data" in str(error) else "CSV_FORMAT"
        raise ConfigError(
            f"{source}: line {reader.line_num}: {error}; is the file cut short?", code=code
        ) from None


def _check_header(header: list[str], mapping: MappingSpec, source: str) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ConfigError(
            f"{source}: column {twice[0]!r} stands twice; give each column its own name",
            code="CSV_HEADER",
        )
    named = list(mapping.key)
    for conversion in mapping.facts.values():
        named += getattr(conversion, "columns", ())
        named += filter(None, [getattr(conversion, "column", "")])
    for name in named:
        if name not in header:
            near = get_close_matches(name, header, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(header)}"
            raise ConfigError(f"{source}: has no column {name!r}; {hint}", code="MAPPING_COLUMN")


def _row(
    place: str, header: list[str], cells: list[str], mapping: MappingSpec, secret: bytes
) -> Row:
    if len(cells) != len(header):
        what = f"{place}: has {len(cells)} cells and the header {len(header)}"
        error = ContractError(f"{what}; quote cells that hold a comma", code="CSV_ROW", where=place)
        return Row(place, "", mapping.definition, mapping.source, {}, (error,))
    row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
    facts: dict[str, Any] = {}
    errors: list[ContractError] = []
    for name, conversion in mapping.facts.items():
        try:
            value = _convert(conversion, row, frozenset(mapping.missing), secret)
        except ContractError as error:
            where = f"/{name}"
            errors.append(ContractError(f"{where}: {error}", code=error.code, where=where))
            continue
        if value is not None:
            facts[name] = value
    key = "-".join(row[column] for column in mapping.key)
    return Row(place, key, mapping.definition, mapping.source, facts, tuple(errors))


def _convert(
    conversion: Any, row: Mapping[str, str], missing: frozenset[str], secret: bytes
) -> Any:
    """One fact of a row; None when its cell is one of the words for a missing value."""
    if isinstance(conversion, ToConstant):
        return conversion.value
    if isinstance(conversion, ToPseudonym):
        cells = [row[column] for column in conversion.columns]
        return None if set(cells) <= missing else _pseudonym(conversion.prefix, cells, secret)
    cell = row[conversion.column]
    if cell in missing:
        return None
    match conversion:
        case ToMoney():
            return {"amount": _amount(cell, conversion.scale), "currency": conversion.currency}
        case ToBoolean():
            return _boolean(conversion, cell)
        case ToDate():
            return _date(conversion, cell)
        case ToInteger():
            return int(cell) if re.fullmatch(r"-?[0-9]{1,15}", cell) else cell
    return _word(conversion, cell)


def _amount(cell: str, scale: int) -> str:
    found = _NUMBER.fullmatch(cell)
    if found is None or (scale and found[3]):
        return cell  # admission says what is wrong with it
    if not scale:
        sign, whole, rest = found.groups()
        return f"{sign}{int(whole)}{rest or ''}"
    return f"{Decimal(cell).scaleb(-scale):.{scale}f}"


def _boolean(conversion: ToBoolean, cell: str) -> bool:
    if cell in conversion.true_words:
        return True
    if cell in conversion.false_words:
        return False
    raise _unmapped(conversion.column, "to `true_words` or `false_words`")


def _date(conversion: ToDate, cell: str) -> str:
    try:
        return datetime.strptime(cell, conversion.format).date().isoformat()
    except ValueError:
        what = f"column {conversion.column!r} holds no day of the form {conversion.format}"
        raise ContractError(
            f"{what}; correct the cell or the mapping", code="TIME_INVALID"
        ) from None


def _word(conversion: ToText, cell: str) -> str:
    if conversion.values is None:
        return cell
    word = conversion.values.get(cell)
    if word is None:
        raise _unmapped(conversion.column, "to `values`")
    return word


def _unmapped(column: str, where: str) -> ContractError:
    what = f"column {column!r} holds a word that the mapping does not know"
    return ContractError(f"{what}; add it {where}", code="VALUE_UNMAPPED")


def _pseudonym(prefix: str, cells: list[str], secret: bytes) -> str:
    message = "\x1f".join(cells).encode()
    return f"{prefix}-{hmac.new(secret, message, hashlib.sha256).hexdigest()[:32]}"
