"""Strict JSON, and every finding about it as an error with its place and without its value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from caseway.errors import ContractError

MAX_DEPTH = 32
PLACE_CHARS_MAX = 200  # a place lies in a dead letter, which is a pointer and no copy
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")


def parse_json(body: bytes) -> Any:
    """Strict JSON in UTF-8: finite numbers, no key twice, no half characters, bounded depth.

    Raises:
        ContractError: JSON_INVALID, AMOUNT_FORMAT, TEXT_CHARS or TOO_DEEP, with line and column
            where it is no JSON and with the place of the value otherwise.
    """
    try:
        text = body.decode()
        parsed = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        problem = f"the body is not UTF-8 at byte {error.start}"
        raise refused("JSON_INVALID", "/", problem) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise refused("JSON_INVALID", where, f"the body is not JSON: {where}") from None
    except RecursionError:
        raise refused("TOO_DEEP", "/", "the body is nested too deep") from None
    except _NotFinite:
        where = _place_of_infinite(text)
        problem = f"{where}: is not a finite number; send a decimal string"
        raise refused("AMOUNT_FORMAT", where, problem) from None
    except ValueError:
        # An integer of more digits than Python converts at once: no field of ours is that long.
        raise refused("JSON_INVALID", "/", "the body holds a number of too many digits") from None
    # Going too deep takes a bracket for each level, and halving a character takes an escape.
    if body.count(b"{") + body.count(b"[") >= MAX_DEPTH:
        _check_depth(parsed, MAX_DEPTH)
    if b"\\u" in body and (where := _place_of(_is_half_a_character, parsed)):
        problem = f"{where}: holds a lone surrogate; send whole characters"
        raise refused("TEXT_CHARS", where, problem)
    return parsed


class _NotFinite(ValueError):
    """NaN, an infinity, or an exponent beyond all floats."""


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NotFinite
    return value


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _is_half_a_character(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_is_half_a_character(key) for key in value)
    return isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value)


def _place_of(is_wrong: Callable[[Any], bool], whole: Any) -> str:
    """The JSON pointer of the first value that is wrong, or "" where none is."""
    pending: list[tuple[str, Any]] = [("", whole)]
    while pending:
        where, value = pending.pop()
        if is_wrong(value):
            return where[:PLACE_CHARS_MAX] or "/"
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            pending += [(f"{where}/{step(key)}", child) for key, child in items]
    return ""


def _place_of_infinite(text: str) -> str:
    try:
        return _place_of(_is_not_finite, json.loads(text))
    except (ValueError, RecursionError):  # what follows the number is no JSON either
        return "/"


def step(name: str | int) -> str:
    """One step of a pointer; a name that looks like no name may be what must not be repeated."""
    return str(name) if isinstance(name, int) or _NAME.fullmatch(name) else "?"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise refused("JSON_INVALID", "/", "a key stands twice in one object")
    return made


# Made once: `json.loads` with hooks makes one for every text, and that takes longer than the text.
_DECODER = json.JSONDecoder(parse_constant=_finite, parse_float=_finite, object_pairs_hook=_unique)


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise refused("TOO_DEEP", "/", f"the body is nested deeper than {MAX_DEPTH}")
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for child in children:
            _check_depth(child, left - 1)


def contract_error(error: ValidationError) -> ContractError:
    """The first finding of pydantic as one of ours: place and expectation, never the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ("/" + "/".join(step(part) for part in first["loc"]))[:PLACE_CHARS_MAX]
    code, text = {
        "missing": ("FIELD_MISSING", "is missing"),
        "extra_forbidden": ("UNKNOWN_FIELD", "is not a field here"),
    }.get(first["type"], ("FIELD_INVALID", first["msg"][:1].lower() + first["msg"][1:]))
    if where == "/confidence" and code == "FIELD_INVALID":
        code, text = "CONFIDENCE_RANGE", 'must be decimal text from 0 to 1, e.g. "0.93"'
    return refused(code, where, f"{where}: {text}")


def refused(code: str, where: str, problem: str) -> ContractError:
    """An error with a stable code and its place; `problem` says what to do and quotes no value."""
    return ContractError(problem, code=code, where=where)
