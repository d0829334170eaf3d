"""schemas/ is what the models generate, and no released schema breaks whoever reads or writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caseway.contracts.catalog import CATALOG
from caseway_control.compatibility import breaks
from caseway_control.schemas import event_schema, file_of, generate

SCHEMAS = Path(__file__).parents[2] / "schemas"
RELEASED = Path(__file__).parent / "released"


@pytest.mark.parametrize("name", sorted(generate()))
def test_a_file_of_schemas_is_what_the_models_generate(name: str) -> None:
    assert (SCHEMAS / name).read_text("utf-8") == generate()[name], "run make schemas"


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_today_reads_what_was_released_and_is_read_by_it(name: str) -> None:
    path = RELEASED / file_of(CATALOG[name]).removeprefix("events/")
    assert path.exists(), f"{name} is new: copy its schema to tests/contracts/released"
    released = json.loads(path.read_text("utf-8"))
    found = breaks(released, event_schema(CATALOG[name]))
    assert found == [], f"{name}: {found}; raise its version and write an upcaster"


def test_every_reference_of_the_asyncapi_document_resolves() -> None:
    document = json.loads((SCHEMAS / "asyncapi.json").read_text("utf-8"))
    for reference in _references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    assert all(channel["messages"] for name, channel in document["channels"].items())


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for item in value.values() for ref in _references(item)]
    if isinstance(value, list):
        return [ref for item in value for ref in _references(item)]
    return []


OLD = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "count": {"type": "integer"},
        "kind": {"enum": ["a", "b"]},
        "note": {"type": "string", "default": ""},
    },
    "required": ["name", "count", "kind"],
}


def changed(**properties: Any) -> dict[str, Any]:
    """The old schema with these properties set, or left out where None."""
    kept = {k: v for k, v in (OLD["properties"] | properties).items() if v is not None}  # type: ignore[operator]
    return OLD | {"properties": kept, "required": [r for r in OLD["required"] if r in kept]}


@pytest.mark.parametrize(
    ("new", "place"),
    [
        (OLD, None),
        (changed(extra={"type": "string", "default": ""}), None),
        (changed(name=None), "/name"),
        (changed(note=None), "/note"),
        (changed(count={"type": "string"}), "/count"),
        (changed(kind={"enum": ["a"]}), "/kind"),
        (changed(kind={"enum": ["a", "b", "c"]}), "/kind"),
        (changed(name={"type": "string", "maxLength": 10}), "/name"),
        (changed(name={"type": "string", "maxLength": 40}), "/name"),
        (
            changed(extra={"type": "string"}) | {"required": ["name", "count", "kind", "extra"]},
            "/extra",
        ),
        (OLD | {"required": ["name", "count"]}, "/kind"),
    ],
)
def test_a_change_that_breaks_a_reader_or_a_writer_is_named(
    new: dict[str, Any], place: str | None
) -> None:
    found = breaks(OLD, new)
    assert [where for where, _ in found] == ([] if place is None else [place])
