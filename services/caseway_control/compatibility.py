"""Says whether a changed schema still reads every record there is, and names what breaks.

Two directions are judged, as inclusion of what one schema allows in what another accepts:

- *backward*: a record written before is read by today's model, which knows no other keys than
  its own. Logs are kept for ever, so this holds for every version, without end.
- *forward*: a record written today is read by yesterday's code. A key that is new to it makes a
  log's reader wait for its upgrade (`code_too_old`), so new optional fields are no break.

Both are transitive from change to change, because no field ever goes away within a version; so
the file of a version under schemas/ stands for all its earlier shapes. What can't be judged (an
unknown keyword, a pattern in other words) counts as a break: better one version too many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

Schema = Mapping[str, Any]

BACKWARD = "records written before cannot be read now"
FORWARD = "records written now cannot be read by the code before"

# Keywords that say nothing about which values are valid.
_NOTES = {"$schema", "$id", "$defs", "title", "description", "default", "examples", "discriminator"}
_JUDGED = {
    *("type", "enum", "const", "anyOf", "oneOf", "$ref", "format", "pattern"),
    *("properties", "required", "additionalProperties", "patternProperties", "minProperties"),
    *("items", "prefixItems", "minItems", "maxItems", "minLength", "maxLength"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_COUNTS = ("minLength", "minItems", "minProperties")  # at least zero where nobody says so
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_JSON_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


class Break(NamedTuple):
    """One reason why a change is not compatible: direction, place in the record, and what."""

    direction: str
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where or '/'}: {self.problem}; {self.direction}"


def breaks(before: Schema, now: Schema) -> list[Break]:
    """Everything that breaks between two shapes of one version; none means compatible.

    Example:
        >>> before = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
        >>> now = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 2}}}
        >>> [str(found) for found in breaks(before, now)]
        ['/n: minimum is 2, was 1; records written before cannot be read now']
    """
    return [
        *(Break(BACKWARD, *found) for found in _Inclusion(before, now, is_open=False).judge()),
        *(Break(FORWARD, *found) for found in _Inclusion(now, before, is_open=True).judge()),
    ]


class _Inclusion:
    """Whether all that `writer` allows is accepted by `reader`; findings are (place, problem)."""

    def __init__(self, writer: Schema, reader: Schema, *, is_open: bool) -> None:
        self._writer = writer
        self._reader = reader
        self._is_open = is_open
        self._seen: set[tuple[str, str]] = set()

    def judge(self) -> list[tuple[str, str]]:
        """All findings, in the order of the writer's fields."""
        return list(dict.fromkeys(self._values("", self._writer, self._reader)))

    def _values(self, at: str, writer: Schema, reader: Schema) -> Iterator[tuple[str, str]]:
        refs = writer.get("$ref", ""), reader.get("$ref", "")
        if any(refs):
            # A schema that holds itself has been judged where it was met first.
            if all(refs) and refs in self._seen:
                return
            self._seen.add(refs)
            writer, reader = _resolved(writer, self._writer), _resolved(reader, self._reader)
            yield from self._values(at, writer, reader)
            return
        unknown = sorted((writer.keys() | reader.keys()) - _JUDGED - _NOTES)
        if unknown:
            yield at, f"{unknown[0]} is a keyword that this check can't judge"
        elif branches := _branches(writer):
            for branch in branches:
                yield from self._values(at, branch, reader)
        elif alternatives := _branches(reader):
            yield from self._one_of(at, writer, alternatives)
        elif (listed := _listed(writer)) is not None:
            yield from self._listed(at, listed, reader)
        else:
            yield from self._typed(at, writer, reader)

    def _one_of(
        self, at: str, writer: Schema, alternatives: list[Schema]
    ) -> Iterator[tuple[str, str]]:
        """Inside one alternative; the likeliest one tells why not, where none takes it."""
        best: list[tuple[str, str]] | None = None
        tag = _tag(writer)
        for alternative in alternatives:
            seen = set(self._seen)
            found = list(self._values(at, writer, alternative))
            if not found:
                return
            self._seen = seen
            whole = _resolved(alternative, self._reader)
            is_same = whole.get("type") == writer.get("type") and _tag(whole) == tag
            if is_same and (best is None or len(found) < len(best)):
                best = found
        kind = " ".join(str(part) for part in tag.values()) or writer.get("type", "a value")
        yield from best if best is not None else [(at, f"{kind} is no alternative")]

    def _listed(self, at: str, values: list[Any], reader: Schema) -> Iterator[tuple[str, str]]:
        for value in values:
            if not _accepts(reader, value):
                yield at, f"{value!r} is not accepted"

    def _typed(self, at: str, writer: Schema, reader: Schema) -> Iterator[tuple[str, str]]:
        wanted, given = reader.get("type"), writer.get("type")
        if _listed(reader) is not None:
            yield at, f"any {given or 'value'} is allowed, but only {_listed(reader)} accepted"
        elif wanted is None:
            return
        elif given != wanted and (given, wanted) != ("integer", "number"):
            yield at, f"type is {given or 'any'} on one side and {wanted} on the other"
        else:
            yield from self._bounds(at, writer, reader)
            if given == "object":
                yield from self._object(at, writer, reader)
            elif given == "array":
                yield from self._array(at, writer, reader)

    def _bounds(self, at: str, writer: Schema, reader: Schema) -> Iterator[tuple[str, str]]:
        for name in (*_LOWER, *_UPPER):
            limit, given = reader.get(name), writer.get(name)
            if limit is None or (given is None and limit == 0 and name in _COUNTS):
                continue
            if given is None or ((given < limit) if name in _LOWER else (given > limit)):
                yield at, self._changed(name, limit, given)
        for name in ("pattern", "format"):
            wanted, given = reader.get(name), writer.get(name)
            if wanted is not None and wanted != given:
                yield at, self._changed(name, wanted, given)

    def _changed(self, name: str, of_reader: Any, of_writer: Any) -> str:
        now, was = (of_writer, of_reader) if self._is_open else (of_reader, of_writer)
        return f"{name} is {_shown(now)}, was {_shown(was)}"

    def _object(self, at: str, writer: Schema, reader: Schema) -> Iterator[tuple[str, str]]:
        given, known = writer.get("properties", {}), reader.get("properties", {})
        always = writer.get("required", ())
        for name in reader.get("required", ()):
            if name not in always:
                yield (
                    f"{at}/{name}",
                    (
                        "may be left out, but was required"
                        if self._is_open
                        else "is required, but was not always there"
                    ),
                )
        for name, schema in given.items():
            where = f"{at}/{name}"
            if name in known:
                yield from self._values(where, schema, known[name])
                yield from self._default(where, schema, known[name])
            elif "additionalProperties" in reader or "patternProperties" in reader:
                yield from self._stranger(where, schema, reader)
        yield from self._map(at, writer, reader)

    def _default(self, at: str, writer: Schema, reader: Schema) -> Iterator[tuple[str, str]]:
        """A record without the field means its default, so a default is kept for ever."""
        if self._is_open or "default" not in writer or "default" not in reader:
            return
        if writer["default"] != reader["default"]:
            yield at, self._changed("default", reader["default"], writer["default"])

    def _stranger(self, at: str, schema: Schema, reader: Schema) -> Iterator[tuple[str, str]]:
        """A field of the writer that the reader does not name."""
        rest = _rest(reader)
        if rest is None:
            if not self._is_open:
                yield at, "is no field any more"
        else:
            yield from self._values(at, schema, rest)

    def _map(self, at: str, writer: Schema, reader: Schema) -> Iterator[tuple[str, str]]:
        """Keys that nobody names, as a mapping from any text to one kind of value has them."""
        given, taken = _rest(writer), _rest(reader)
        if given is None:
            return
        if taken is None:
            yield at, "any key is allowed on one side and none on the other"
            return
        keys, wanted = _key_pattern(writer), _key_pattern(reader)
        if wanted not in (None, keys):
            yield at, self._changed("pattern of keys", wanted, keys)
        yield from self._values(f"{at}/*", given, taken)

    def _array(self, at: str, writer: Schema, reader: Schema) -> Iterator[tuple[str, str]]:
        given, known = writer.get("prefixItems", ()), reader.get("prefixItems", ())
        if len(given) != len(known):
            yield at, self._changed("number of items", len(known), len(given))
            return
        for index, (one, other) in enumerate(zip(given, known, strict=True)):
            yield from self._values(f"{at}/{index}", one, other)
        if "items" in reader and not (given and "items" not in writer):
            yield from self._values(f"{at}/*", writer.get("items", {}), reader["items"])


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _branches(schema: Schema) -> list[Schema]:
    return list(schema.get("anyOf") or schema.get("oneOf") or ())


def _listed(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _tag(schema: Schema) -> dict[str, Any]:
    """The constants of an object, which tell it from its alternatives."""
    properties = schema.get("properties", {})
    return {name: field["const"] for name, field in properties.items() if "const" in field}


def _accepts(schema: Schema, value: Any) -> bool:
    listed = _listed(schema)
    if listed is not None:
        return any(value == one and type(value) is type(one) for one in listed)
    kind = schema.get("type")
    if kind is None:
        return True
    if kind not in _JSON_TYPES or not _JSON_TYPES[kind](value):
        return False
    if not isinstance(value, str):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    is_long = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
    return is_long and "format" not in schema and bool(re.search(schema.get("pattern", ""), value))


def _rest(schema: Schema) -> Schema | None:
    """The schema of keys without a name of their own; None where there are none."""
    if patterns := schema.get("patternProperties"):
        return dict(next(iter(patterns.values())))
    rest = schema.get("additionalProperties", True)
    if isinstance(rest, bool):
        return {} if rest else None
    return dict(rest)


def _key_pattern(schema: Schema) -> str | None:
    return next(iter(schema.get("patternProperties") or ()), None)


def _shown(value: Any) -> str:
    return "not there" if value is None else str(value)
