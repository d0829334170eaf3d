"""Says whether two schemas of one event type can live in one fleet: closed ⊆ open, both ways.

A writer is closed: it writes exactly what its schema says. A reader is open: what it does not
know it passes over. Full compatibility asks both ways, because events are kept for ever and
agents lag behind. So an optional field may come, and nothing else may change: a field may not
go, appear as required, change its type, or change what values it allows.
"""

from __future__ import annotations

from typing import Any

# What bounds a value; any difference is a break in one direction or the other.
_BOUNDS = (
    "type",
    "const",
    "enum",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)
Break = tuple[str, str]


def breaks(old: dict[str, Any], new: dict[str, Any]) -> list[Break]:
    """Where the new schema breaks with the old one: (JSON pointer, what), nothing if it does not.

    Example:
        >>> breaks({"type": "string"}, {"type": "integer"})
        [('/', 'type was string and is integer')]
    """
    return _compare(old, new, old.get("$defs", {}), new.get("$defs", {}), "", set())


def _compare(
    old: Any, new: Any, old_defs: Any, new_defs: Any, where: str, seen: set[str]
) -> list[Break]:
    if "$ref" in old and "$ref" in new:
        if where.count("/") > 1 and old["$ref"] in seen:
            return []  # a recursive model was compared when it was first met
        seen = seen | {old["$ref"]}
    old, new = _resolve(old, old_defs), _resolve(new, new_defs)
    place = where or "/"
    found = [
        (place, f"{bound} was {old.get(bound)} and is {new.get(bound)}")
        for bound in _BOUNDS
        if _normal(old.get(bound)) != _normal(new.get(bound))
    ]
    found += _properties(old, new, old_defs, new_defs, where, seen)
    for part in ("items", "additionalProperties"):
        before, after = old.get(part), new.get(part)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _compare(before, after, old_defs, new_defs, f"{where}/{part}", seen)
        elif before != after:
            found.append((place, f"{part} changed"))
    for part in ("anyOf", "oneOf", "prefixItems"):
        before, after = old.get(part, []), new.get(part, [])
        if len(before) != len(after):
            found.append((place, f"{part} had {len(before)} and has {len(after)} choices"))
            continue
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            found += _compare(one, other, old_defs, new_defs, f"{where}/{part}/{index}", seen)
    return found


def _properties(
    old: Any, new: Any, old_defs: Any, new_defs: Any, where: str, seen: set[str]
) -> list[Break]:
    before, after = old.get("properties", {}), new.get("properties", {})
    was, now = set(old.get("required", ())), set(new.get("required", ()))
    found: list[Break] = []
    for name in sorted(before.keys() | after.keys()):
        place = f"{where}/{name}"
        if name not in after:
            found.append((place, "was taken away"))
        elif name not in before:
            # Serialised schemas list what is always written; a default makes it optional to read.
            if name in now and "default" not in after[name]:
                found.append((place, "came as a required field"))
        else:
            if (name in was) != (name in now):
                found.append((place, "changed between required and optional"))
            found += _compare(before[name], after[name], old_defs, new_defs, place, seen)
    return found


def _resolve(schema: Any, definitions: Any) -> Any:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    return definitions[reference.rpartition("/")[2]]


def _normal(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, list) else value
