"""Canonical JSON and the digest over it: one text per value, in every language.

The form is RFC 8785 (keys sorted by UTF-16 unit, no blanks, UTF-8) without its floats: money is
text, and a float prints differently from one library to the next, so it is refused and never
rounded. A stranger recomputes a pin from the JSON that travels, with any RFC 8785 library.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel

from caseway.errors import ContractError

# Beyond 2^53 a reader that holds numbers as doubles sees another number than we wrote.
INTEGER_MAX = 2**53 - 1
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def canonical_json(obj: Any) -> bytes:
    """The one JSON text of a model or of plain JSON values, as UTF-8.

    Raises:
        ContractError: CANONICAL, naming the JSON pointer of what has no canonical form: a float,
            an integer beyond 2^53 - 1, a key that is no text, a lone surrogate, a foreign type.

    Example:
        >>> canonical_json({"b": [1, "ä"], "a": None})
        b'{"a":null,"b":[1,"\\xc3\\xa4"]}'
    """
    plain = obj.model_dump(mode="json") if isinstance(obj, BaseModel) else obj
    return _ENCODER.encode(_ordered(plain, "")).encode()


def digest_of(model_or_obj: Any) -> str:
    """The sha256 of the canonical JSON, as 64 hexadecimal digits.

    Example:
        >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(canonical_json(model_or_obj)).hexdigest()


def _ordered(value: Any, where: str) -> Any:
    """The same values with sorted keys; walks everything, because each leaf may be refused."""
    if isinstance(value, str):
        return _text(value, where)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise _refused("an integer beyond 2^53 - 1; send it as text", where)
        return int(value)
    if isinstance(value, float):
        raise _refused("a float; send exact decimals as text", where)
    if isinstance(value, list | tuple):
        return [_ordered(item, f"{where}/{index}") for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _ordered(value[key], f"{where}/{key}") for key in _keys(value, where)}
    raise _refused(f"a {type(value).__name__}; convert it to JSON values first", where)


def _keys(value: dict[Any, Any], where: str) -> list[str]:
    if all(isinstance(key, str) and key.isascii() for key in value):
        return sorted(value)  # of ASCII this is the order of UTF-16 units, too
    for key in value:
        if not isinstance(key, str):
            raise _refused("an object with a key that is no text", where)
        _text(key, where)
    return sorted(value, key=lambda key: key.encode("utf-16-be"))


def _text(value: str, where: str) -> str:
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refused("text with a lone surrogate; send valid Unicode", where) from None
    return value


def _refused(found: str, where: str) -> ContractError:
    return ContractError(
        f"{where or '/'}: has no canonical JSON: found {found}", code="CANONICAL", where=where
    )
