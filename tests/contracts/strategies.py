"""Hypothesis strategies for JSON that fits a schema of ours, read from the schema itself."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import ValidationError

from caseway.contracts.catalog import CATALOG
from caseway.contracts.fields import Contract, format_instant
from caseway_control.schemas import DOCUMENTS, event_file, schemas
from tests.contracts.examples import example

# Whatever JSON may hold and every reader keeps: no half characters, integers within 2^53.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INTEGER_MAX = 2**53 - 1
ANY_JSON: SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-INTEGER_MAX, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
_INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2999, 1, 1)).map(
    lambda naive: format_instant(naive.replace(tzinfo=UTC))
)
_DAYS = st.dates(date(1971, 1, 1), date(2999, 1, 1)).map(date.isoformat)


@cache
def data_of(name: str) -> SearchStrategy[Contract]:
    """Instances of an event type's model; documents are the real ones, which a proof has passed."""
    kind = CATALOG[name]
    schema = schemas_of_today()[event_file(name, kind.version)]
    documents = {
        model: json.loads(example(name).data.model_dump_json())["document"]
        for model in DOCUMENTS
        if f'"#/$defs/{model}"' in json.dumps(schema)
    }

    def read(value: Any) -> Contract | None:
        try:
            return kind.model.model_validate_json(json.dumps(value), strict=True)
        except ValidationError:
            return None  # a rule between fields, which a schema can't say

    fitting = _value(schema, schema, documents).map(read)
    return fitting.filter(lambda made: made is not None)  # type: ignore[return-value]


@cache
def schemas_of_today() -> dict[str, dict[str, Any]]:
    """The schemas, made once."""
    return schemas()


def _value(schema: Any, root: Any, documents: dict[str, Any]) -> SearchStrategy[Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in documents:
            return st.just(documents[name])
        return _value(root["$defs"][name], root, documents)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        return st.one_of([_value(branch, root, documents) for branch in branches])
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, root, documents)
    if kind == "array":
        return _array(schema, root, documents)
    return ANY_JSON if kind is None else _simple(kind, schema)


def _simple(kind: str, schema: Any) -> SearchStrategy[Any]:
    low, high = schema.get("minimum", -INTEGER_MAX), schema.get("maximum", INTEGER_MAX)
    return {
        "string": lambda: _string(schema),
        "integer": lambda: st.integers(low, high),
        "boolean": st.booleans,
        "null": st.none,
    }[kind]()


def _string(schema: Any) -> SearchStrategy[str]:
    if "format" in schema:
        return {"date-time": _INSTANTS, "date": _DAYS}[schema["format"]]
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    low, high = schema.get("minLength", 0), schema.get("maxLength", 20)
    return st.text(
        st.characters(exclude_categories=["Cs"]), min_size=low, max_size=min(high, low + 20)
    )


def _object(schema: Any, root: Any, documents: dict[str, Any]) -> SearchStrategy[Any]:
    rest = schema.get("additionalProperties", False)
    if rest is not False:
        inner = ANY_JSON if rest is True else _value(rest, root, documents)
        return st.dictionaries(TEXT, inner, max_size=3)
    fields = {
        name: _value(part, root, documents) for name, part in schema.get("properties", {}).items()
    }
    always = schema.get("required", ())
    return st.fixed_dictionaries(
        {name: fields[name] for name in always},
        optional={name: field for name, field in fields.items() if name not in always},
    )


def _array(schema: Any, root: Any, documents: dict[str, Any]) -> SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*(_value(part, root, documents) for part in schema["prefixItems"]))
    low = schema.get("minItems", 0)
    high = min(schema.get("maxItems", low + 3), low + 3)
    return st.lists(_value(schema["items"], root, documents), min_size=low, max_size=high)
