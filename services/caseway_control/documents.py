"""Read a document that a person wrote, as YAML 1.2 or JSON, or say which line is wrong and why.

One document a file, plain data alone: no aliases, no tags, no floats, and none of the words that
other YAML versions read as booleans. A refusal names line and column, what was expected and what
to do; it never quotes a value, because a document may hold what a log must not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from caseway.contracts.calendar import Calendar
from caseway.contracts.definition import ProcessDefinition
from caseway.contracts.matrix import AuthorityMatrix
from caseway.errors import ContractError
from caseway.kernel.calendars import compile_calendar
from caseway.kernel.machine import compile_definition
from caseway.kernel.matrix import compile_matrix
from caseway_control.yaml_text import Path, Place, YamlText, read_yaml

API_VERSION = "caseway.dev/v1"

Document = AuthorityMatrix | Calendar | ProcessDefinition


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document: its model, and the proof that needs no other document."""

    model: type[Any]
    prove: Callable[[Any], object]


# A new kind is one line here and one name in `Document`.
KINDS: dict[tuple[str, str], Kind] = {
    (API_VERSION, "AuthorityMatrix"): Kind(AuthorityMatrix, compile_matrix),
    (API_VERSION, "Calendar"): Kind(Calendar, compile_calendar),
    (API_VERSION, "ProcessDefinition"): Kind(ProcessDefinition, compile_definition),
}


def load_document(text: str | bytes, source: str) -> Document:
    """The proven document in a text; `source` is what messages call the text, e.g. its file.

    Raises:
        ContractError: YAML_*, API_VERSION, KIND_UNKNOWN, UNKNOWN_FIELD, FIELD_MISSING,
            FIELD_TYPE, FIELD_INVALID, or the code of the proof; `where` is `line N column M`.
    """
    written = read_yaml(text, source)
    kind = _kind(written, source)
    try:
        document = kind.model.model_validate(written.value)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_input=False)
        raise _most_useful(errors, kind, written, source) from None
    try:
        kind.prove(document)
    except ContractError as unproven:
        path = _path_of(unproven.where, written.value)
        message = str(unproven).removeprefix(f"{unproven.where}: ")
        raise _refused(unproven.code, path, message, written, source) from None
    loaded: Document = document
    return loaded


def _kind(written: YamlText, source: str) -> Kind:
    if not isinstance(written.value, dict):
        text = "a document is a mapping; begin with apiVersion, kind, metadata and spec"
        raise _refused("FIELD_TYPE", (), text, written, source)
    for name in ("apiVersion", "kind"):
        if name not in written.value:
            text = f"field {name} is missing; begin with apiVersion: {API_VERSION} and a kind"
            raise _refused("FIELD_MISSING", (), text, written, source)
    api, name = written.value["apiVersion"], written.value["kind"]
    versions = sorted({version for version, _ in KINDS})
    if api not in versions:
        text = f"is not a version this Caseway reads; write {' or '.join(versions)}"
        raise _refused("API_VERSION", ("apiVersion",), text, written, source)
    names = sorted(known for version, known in KINDS if version == api)
    if name not in names:
        text = f"is not a kind of document; {_suggestion(str(name), names)}"
        raise _refused("KIND_UNKNOWN", ("kind",), text, written, source)
    return KINDS[api, name]


def _most_useful(
    errors: list[ErrorDetails], kind: Kind, written: YamlText, source: str
) -> ContractError:
    """One error of many: a misspelt key first, for it explains the missing one beside it."""
    found = []
    for error in errors:
        path = _written_path(error, written.value)
        place = written.place(path, key=error["type"] == "extra_forbidden")
        found.append((error["type"] != "extra_forbidden", place, path, error))
    _, _, path, error = min(found, key=lambda item: item[:2])
    code, text = _translated(error, path, kind)
    if len(errors) > 1:
        text += f" (and {len(errors) - 1} more to correct in this document)"
    is_key = code == "UNKNOWN_FIELD"
    return _refused(code, path, text, written, source, is_key=is_key)


def _translated(error: ErrorDetails, path: Path, kind: Kind) -> tuple[str, str]:
    """A code and a sentence without the value; the library's own texts may quote it."""
    of_pydantic, context = error["type"], error.get("ctx", {})
    if of_pydantic.isupper():
        return of_pydantic, error["msg"]
    if of_pydantic == "extra_forbidden":
        hint = _suggestion(str(path[-1]), fields_at(kind.model, path[:-1]))
        return "UNKNOWN_FIELD", f"is not a known field; {hint}"
    if of_pydantic == "missing":
        return "FIELD_MISSING", f"field {error['loc'][-1]} is missing; add it"
    if of_pydantic in ("union_tag_invalid", "union_tag_not_found"):
        expected = context.get("expected_tags", "one of the documented kinds")
        return "FIELD_INVALID", f"is of no known kind; expected {expected}"
    if of_pydantic == "string_type":
        return "FIELD_TYPE", "is not text; put it in quotes"
    if of_pydantic in ("list_type", "tuple_type"):
        return "FIELD_TYPE", "is not a list; write it in square brackets, or one entry a line"
    if of_pydantic in ("dict_type", "model_type", "model_attributes_type"):
        return "FIELD_TYPE", "is not a mapping; write it as keys and values"
    if of_pydantic.endswith(("_type", "_parsing")):
        return "FIELD_TYPE", _lower(error["msg"])
    return "FIELD_INVALID", _lower(error["msg"].removeprefix("Value error, "))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _suggestion(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if near := get_close_matches(word, names, 1):
        return f"did you mean {near[0]!r}?"
    return f"expected {', '.join(names)}" if names else "drop it"


def _written_path(error: ErrorDetails, value: Any) -> Path:
    """Where the error lies in the text; a location also names branches of unions, left out."""
    path: list[str | int] = []
    for step in error["loc"]:
        is_index = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if is_index or (isinstance(value, dict) and step in value):
            value = value[step]
            path.append(step)
    return tuple(path)


def _path_of(pointer: str, value: Any) -> Path:
    path: list[str | int] = []
    for step in pointer.split("/")[1:]:
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            path.append(int(step))
        elif isinstance(value, dict) and step in value:
            path.append(step)
        else:
            break
        value = value[path[-1]]
    return tuple(path)


def fields_at(model: type[Any], path: Path) -> set[str]:
    """The keys a model knows at a path, over all branches of its unions."""
    schema = model.model_json_schema()
    here = _branches(schema, schema)
    for step in path:
        below = []
        for branch in here:
            children = [branch.get("properties", {}).get(step)]
            children += [branch.get("items"), branch.get("additionalProperties")]
            children += branch.get("patternProperties", {}).values()
            below += [child for child in children if isinstance(child, dict)]
        here = [branch for child in below for branch in _branches(child, schema)]
    return {name for branch in here for name in branch.get("properties", {})}


def _branches(schema: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in schema:
        return _branches(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    several = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    return [schema, *(branch for child in several for branch in _branches(child, root))]


def _refused(
    code: str, path: Path, text: str, written: YamlText, source: str, *, is_key: bool = False
) -> ContractError:
    place: Place = written.place(path, key=is_key)
    return ContractError(
        f"{source}: {place}: {written.pointer(path)}: {text}", code=code, where=str(place)
    )
