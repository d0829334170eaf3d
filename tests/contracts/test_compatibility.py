"""What may change within a version, as a table; each line is tried through a real model."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from caseway.contracts.catalog import CATALOG
from caseway.contracts.fields import Contract
from caseway_control.compatibility import BACKWARD, FORWARD, breaks
from caseway_control.schemas import DOCUMENTS, broken_promises, schemas

SCHEMAS = Path(__file__).parents[2] / "schemas"
TODAY = schemas()

NEITHER: set[str] = set()
BACK, FORTH, BOTH = {BACKWARD}, {FORWARD}, {BACKWARD, FORWARD}

Two = StrEnum("Two", {"A": "a", "B": "b"})
Three = StrEnum("Three", {"A": "a", "B": "b", "C": "c"})


class Cat(Contract):
    """One kind."""

    kind: Literal["cat"]
    lives: int


class Dog(Contract):
    """Another kind."""

    kind: Literal["dog"]
    tricks: tuple[str, ...] = ()


class Hen(Contract):
    """A third kind."""

    kind: Literal["hen"]


class TrickierDog(Contract):
    """A dog that has to know something."""

    kind: Literal["dog"]
    tricks: Annotated[tuple[str, ...], Field(min_length=1)]


class Tree(Contract):
    """A model that holds itself."""

    name: str
    children: tuple[Tree, ...] = ()


class LongTree(Contract):
    """The same with a bound somewhere below."""

    name: Annotated[str, Field(max_length=5)]
    children: tuple[LongTree, ...] = ()


def tagged(*kinds: Any) -> Any:
    """A union told apart by `kind`."""
    union = kinds[0]
    for kind in kinds[1:]:
        union = union | kind
    return Annotated[union, Field(discriminator="kind")]


def schema_of(**fields: Any) -> dict[str, Any]:
    """The schema of a contract with a field `kept` and these: a type, or (type, default)."""
    every = {"kept": (int, ...)} | {
        name: field if isinstance(field, tuple) else (field, ...) for name, field in fields.items()
    }
    made: type[BaseModel] = create_model("Changing", __base__=Contract, **every)  # type: ignore[call-overload]
    return made.model_json_schema()


PATTERN = Annotated[str, Field(pattern="^a+$")]
SHORT, LONG = Annotated[str, Field(max_length=5)], Annotated[str, Field(max_length=9)]
FEW, MANY = Annotated[tuple[int, ...], Field(max_length=2)], tuple[int, ...]
COUNT, NUMBER = Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]
KEYED = dict[PATTERN, int]

# what, before, after, the directions that break, the place that is named
CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], set[str], str]] = [
    ("nothing", {"a": str}, {"a": str}, NEITHER, ""),
    ("optional field added", {}, {"a": (str, "")}, NEITHER, ""),
    ("required field added", {}, {"a": str}, BACK, "/a"),
    ("optional field removed", {"a": (str, "")}, {}, BACK, "/a"),
    ("required field removed", {"a": str}, {}, BOTH, "/a"),
    ("required to optional", {"a": str}, {"a": (str, "")}, FORTH, "/a"),
    ("optional to required", {"a": (str, "")}, {"a": str}, BACK, "/a"),
    ("default changed", {"a": (int, 1)}, {"a": (int, 2)}, BACK, "/a"),
    ("null allowed", {"a": str}, {"a": str | None}, FORTH, "/a"),
    ("null taken away", {"a": str | None}, {"a": str}, BACK, "/a"),
    ("enum wider", {"a": Two}, {"a": Three}, FORTH, "/a"),
    ("enum narrower", {"a": Three}, {"a": Two}, BACK, "/a"),
    ("text to enum", {"a": str}, {"a": Two}, BACK, "/a"),
    ("enum to text", {"a": Two}, {"a": str}, FORTH, "/a"),
    ("enum to fitting pattern", {"a": Literal["a", "aa"]}, {"a": PATTERN}, FORTH, "/a"),
    ("enum to other pattern", {"a": Literal["a", "b"]}, {"a": PATTERN}, BOTH, "/a"),
    ("type changed", {"a": int}, {"a": str}, BOTH, "/a"),
    ("int to number", {"a": int}, {"a": float}, FORTH, "/a"),
    ("number to int", {"a": float}, {"a": int}, BACK, "/a"),
    ("any to text", {"a": Any}, {"a": str}, BACK, "/a"),
    ("pattern added", {"a": str}, {"a": PATTERN}, BACK, "/a"),
    ("pattern dropped", {"a": PATTERN}, {"a": str}, FORTH, "/a"),
    ("length tightened", {"a": LONG}, {"a": SHORT}, BACK, "/a"),
    ("length loosened", {"a": SHORT}, {"a": LONG}, FORTH, "/a"),
    ("length bounded", {"a": str}, {"a": SHORT}, BACK, "/a"),
    ("least raised", {"a": COUNT}, {"a": NUMBER}, BACK, "/a"),
    ("empty allowed", {"a": Annotated[str, Field(min_length=1)]}, {"a": str}, FORTH, "/a"),
    ("zero length said", {"a": str}, {"a": Annotated[str, Field(min_length=0)]}, NEITHER, ""),
    ("fewer items", {"a": MANY}, {"a": FEW}, BACK, "/a"),
    ("items of another type", {"a": tuple[int, ...]}, {"a": tuple[str, ...]}, BOTH, "/a/*"),
    ("pair to triple", {"a": tuple[int, int]}, {"a": tuple[int, int, int]}, BOTH, "/a"),
    ("values of a mapping", {"a": dict[str, int]}, {"a": dict[str, str]}, BOTH, "/a/*"),
    ("keys of a mapping", {"a": dict[str, int]}, {"a": KEYED}, BACK, "/a"),
    ("mapping to record", {"a": dict[str, Any]}, {"a": Hen}, BACK, "/a/kind"),
    ("field of a part", {"a": Dog}, {"a": TrickierDog}, BACK, "/a/tricks"),
    ("kind added", {"a": tagged(Cat, Dog)}, {"a": tagged(Cat, Dog, Hen)}, FORTH, "/a"),
    ("kind removed", {"a": tagged(Cat, Dog, Hen)}, {"a": tagged(Cat, Dog)}, BACK, "/a"),
    ("kinds in another order", {"a": tagged(Cat, Dog)}, {"a": tagged(Dog, Cat)}, NEITHER, ""),
    ("kind tightened", {"a": tagged(Cat, Dog)}, {"a": tagged(Cat, TrickierDog)}, BACK, "/a/tricks"),
    ("one kind to a union", {"a": Cat}, {"a": tagged(Cat, Dog)}, FORTH, "/a/kind"),
    ("itself inside", {"a": Tree}, {"a": Tree}, NEITHER, ""),
    ("bound deep inside", {"a": Tree}, {"a": LongTree}, BACK, "/a/name"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "directions", "place"),
    [change[1:] for change in CHANGES],
    ids=[change[0] for change in CHANGES],
)
def test_a_change_breaks_in_its_directions_and_is_named(
    before: dict[str, Any], after: dict[str, Any], directions: set[str], place: str
) -> None:
    found = breaks(schema_of(**before), schema_of(**after))
    assert {one.direction for one in found} == directions, found
    assert all(one.where.startswith("/a") for one in found)
    assert not directions or place in {one.where for one in found}


def test_words_for_people_may_change() -> None:
    before = schema_of(a=(str, ""))
    after = json.loads(json.dumps(before).replace('"Changing"', '"Changed"'))
    after["description"] = "better said"
    assert breaks(before, after) == []


def test_a_keyword_that_can_not_be_judged_breaks() -> None:
    odd = {"type": "array", "uniqueItems": True}
    assert "uniqueItems" in str(breaks(odd, odd)[0])


def test_what_broke_reads_as_a_sentence() -> None:
    found = breaks(schema_of(a=LONG), schema_of(a=SHORT))
    assert [str(one) for one in found] == [f"/a: maxLength is 5, was 9; {BACKWARD}"]
    found = breaks(schema_of(a=SHORT), schema_of(a=LONG))
    assert [str(one) for one in found] == [f"/a: maxLength is 9, was 5; {FORWARD}"]


def test_no_promise_is_broken() -> None:
    assert broken_promises(SCHEMAS) == [], "raise VERSION and write an upcaster, see schemas/README"


@pytest.mark.parametrize("name", sorted(TODAY))
def test_every_schema_of_ours_can_be_judged(name: str) -> None:
    schema = TODAY[name]
    assert breaks(schema, schema) == []


@pytest.mark.parametrize("name", sorted(TODAY))
def test_taking_any_field_away_is_seen(name: str) -> None:
    schema = TODAY[name]
    fields = schema.get("properties", {})
    for field in fields:
        rest = {key: value for key, value in fields.items() if key != field}
        required = [key for key in schema.get("required", ()) if key != field]
        found = breaks(schema, {**schema, "properties": rest, "required": required})
        assert (BACKWARD, f"/{field}") in {(one.direction, one.where) for one in found}


def test_every_type_and_document_is_compared() -> None:
    assert len(TODAY) == len(CATALOG) + len(DOCUMENTS)
