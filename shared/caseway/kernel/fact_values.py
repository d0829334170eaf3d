"""Reads one value under its typed field: money, text, dates, pseudonyms, references, sealed.

Returns the one plain form of a value, or a ContractError that names the place and what is
expected, never the value, because the value may be what must not be in a log.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from typing import Any

from pydantic import BaseModel, ValidationError

from caseway.contracts.definition import (
    INTEGER_MAX,
    REFERENCES_MAX,
    TEXT_MAX,
    BooleanFact,
    DateFact,
    Fact,
    IntegerFact,
    MoneyFact,
    PseudonymFact,
    ReferencesFact,
    SealedFact,
    TextFact,
)
from caseway.contracts.fields import Reference, Sealed
from caseway.contracts.money import parse_money
from caseway.errors import ContractError
from caseway.kernel.misplaced import misplaced

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# The kind, then at least 64 bits of a keyed hash: a name or an account number does not fit.
_PSEUDONYM = re.compile(r"[a-z]{2,20}-[0-9a-f]{16,64}")
# Unicode's Bidi_Control: text that reads otherwise than it is.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BLANKS = frozenset("\t\n\r")


def read_value(fact: Fact, value: Any, where: str) -> Any:
    """One fact in its one plain form, or a ContractError."""
    match fact:
        case MoneyFact():
            return _money(fact, value, where)
        case TextFact():
            return _text(fact, value, where)
        case BooleanFact():
            return _typed(value, isinstance(value, bool), where, "true or false, without quotes")
        case IntegerFact():
            is_integer = isinstance(value, int) and not isinstance(value, bool)
            return _in_range(_typed(value, is_integer, where, "a whole number"), where)
        case DateFact():
            return _date(value, where)
        case PseudonymFact():
            return _pseudonym(value, where)
        case ReferencesFact():
            return _references(value, where)
        case SealedFact():
            return _model(Sealed, value, where, "SEALED_FORMAT", "is to be sealed")


def _money(fact: MoneyFact, value: Any, where: str) -> dict[str, Any]:
    money = parse_money(value, where)
    if money.currency not in fact.currencies:
        raise refused(
            "CURRENCY_UNMAPPED",
            f"{where}/currency",
            f"is not a currency of this process; it takes {', '.join(fact.currencies)}",
        )
    return money.model_dump()


def _text(fact: TextFact, value: Any, where: str) -> str:
    text = _clean(value, where)
    if fact.one_of is not None:
        if text not in fact.one_of:
            what = f"is not one of {', '.join(fact.one_of)}"
            raise refused("VALUE_NOT_ALLOWED", where, what)
    elif kind := misplaced(text):
        what = f"holds {kind}, and plain text is kept for ever; send it sealed, or leave it out"
        raise refused("PII_MISPLACED", where, what)
    return text


def _clean(value: Any, where: str) -> str:
    text: str = _typed(value, isinstance(value, str), where, "text")
    if not text.strip() or len(text) > TEXT_MAX:
        what = f"is not 1 to {TEXT_MAX} characters long; send more text as a reference"
        raise refused("TEXT_LENGTH", where, what)
    if any(_is_unseen(character) for character in text):
        what = "holds a control character, a lone surrogate or a direction mark; remove it"
        raise refused("TEXT_CHARS", where, what)
    return unicodedata.normalize("NFC", text)


def _is_unseen(character: str) -> bool:
    is_control = unicodedata.category(character) in {"Cc", "Cs"} and character not in _BLANKS
    return is_control or character in _BIDI


def _typed(value: Any, fits: bool, where: str, expected: str) -> Any:
    if not fits:
        raise refused("FIELD_TYPE", where, f"is not {expected}")
    return value


def _in_range(value: int, where: str) -> int:
    if abs(value) > INTEGER_MAX:
        raise refused("VALUE_RANGE", where, "is beyond 2^53 - 1, where readers lose digits")
    return value


def _date(value: Any, where: str) -> str:
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise refused("TIME_INVALID", where, "is not a day of the calendar, e.g. 2026-11-21")


def _pseudonym(value: Any, where: str) -> str:
    if (
        not isinstance(value, str)
        or not _PSEUDONYM.fullmatch(value)
        or _is_number(value.rpartition("-")[2])
    ):
        what = "is not a keyed pseudonym, e.g. person-9f86d081884c7d65; never send a name"
        raise refused("PSEUDONYM", where, what)
    return value


def _is_number(digits: str) -> bool:
    """Whether the whole of what should be a hash is a card's or an account's number.

    A run of digits inside a hash proves nothing: one honest hash in some thousands holds one.
    """
    return digits.isdecimal() and misplaced(digits) is not None


def _references(value: Any, where: str) -> list[dict[str, Any]]:
    items: list[Any] = _typed(value, isinstance(value, list), where, "a list of references")
    if len(items) > REFERENCES_MAX:
        raise refused("TOO_MANY", where, f"has more than {REFERENCES_MAX} references; send fewer")
    references = []
    for index, item in enumerate(items):
        at = f"{where}/{index}"
        reference = _model(Reference, item, at, "REFERENCE_FORMAT", "is not a reference")
        _clean(reference["uri"], f"{at}/uri")
        _in_range(reference["size_bytes"], f"{at}/size_bytes")
        references.append(reference)
    return references


def _model(
    model: type[BaseModel], value: Any, where: str, code: str, problem: str
) -> dict[str, Any]:
    try:
        return model.model_validate(value, strict=True).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        at = "/".join((where, *(str(part) for part in first["loc"])))
        fields = ", ".join(model.model_fields)
        raise refused(
            code, at, f"{problem}: an object with {fields} of the published form"
        ) from None


def refused(code: str, where: str, what: str) -> ContractError:
    """A refusal that says where and what, never the value."""
    return ContractError(f"{where or 'facts'}: {what}", code=code, where=where)
