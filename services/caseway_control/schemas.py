"""Writes schemas/ from the catalogue: one JSON Schema a version, and the AsyncAPI document.

A file under schemas/events is the record of what was promised for that version: it is written
anew only where the change is compatible, and the file of an earlier version is never touched.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from caseway.contracts.calendar import Calendar
from caseway.contracts.catalog import CATALOG
from caseway.contracts.definition import ProcessDefinition
from caseway.contracts.matrix import AuthorityMatrix
from caseway.errors import ConfigError
from caseway_control.asyncapi import asyncapi
from caseway_control.compatibility import breaks
from caseway_control.tables import write_tables

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# The documents that people write, by the `kind` they carry.
DOCUMENTS: dict[str, type[BaseModel]] = {
    "ProcessDefinition": ProcessDefinition,
    "AuthorityMatrix": AuthorityMatrix,
    "Calendar": Calendar,
}


def event_file(name: str, version: int) -> str:
    """Where the schema of one version of an event type lies, below schemas/.

    Example:
        >>> event_file("task.complete", 2)
        'events/task.complete.v2.json'
    """
    return f"events/{name}.v{version}.json"


def model_schema(model: type[BaseModel], urn: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of what a model reads, under the names that travel."""
    return {"$schema": DIALECT, "$id": urn, **model.model_json_schema(by_alias=True)}


def schemas() -> dict[str, dict[str, Any]]:
    """The schema of every event type in its latest version and of every document, by file."""
    made = {
        event_file(kind.name, kind.version): model_schema(
            kind.model, f"urn:caseway:schema:{kind.name}:{kind.version}"
        )
        for kind in CATALOG.values()
    }
    for kind, model in DOCUMENTS.items():
        made[f"documents/{kind}.json"] = model_schema(model, f"urn:caseway:schema:{kind}:1")
    return made


def generated() -> dict[str, str]:
    """Everything under schemas/ that is generated: file and text, the same in every run."""
    whole = {**schemas(), "asyncapi.json": asyncapi()}
    return {
        name: json.dumps(made, indent=2, ensure_ascii=False) + "\n" for name, made in whole.items()
    }


def broken_promises(directory: Path) -> list[str]:
    """Every incompatible change since `directory` was written: type, version, field and why."""
    found = []
    for name, now in schemas().items():
        path = directory / name
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            about = name.rpartition("/")[2].removesuffix(".json")
            found += [f"{about} {problem}" for problem in breaks(before, now)]
    return found


def write(directory: Path) -> list[Path]:
    """Write what changed, and return it; the schemas of earlier versions stay as they are.

    Raises:
        ConfigError: SCHEMA_BREAKING, before anything is written.
    """
    if broken := broken_promises(directory):
        raise ConfigError(
            "\n".join(broken) + "\nRaise VERSION of the event type and add an upcaster; a document "
            "gets optional keys only. If that version was never released, delete its file first.",
            code="SCHEMA_BREAKING",
        )
    changed = []
    for name, text in generated().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def main(arguments: list[str]) -> int:
    """Write schemas/ and the generated tables of docs/ below the directory that is named."""
    root = Path(arguments[0] if arguments else ".")
    try:
        changed = write(root / "schemas")
    except ConfigError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 2
    for path in [*changed, *write_tables(root / "docs")]:
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
