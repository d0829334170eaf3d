"""Golden files: the bytes of every event version ever published, as text that people can read.

A file is written once, when its type or version is new, and never changes:

    python -m tests.contracts.golden_files

writes those that are missing, and puts their sums into SHA256SUMS (`sha256sum -c` reads it). A
file that changes fails its sum, on purpose: logs hold such records for ever. Only a version that
was never released is given up: by deleting its file together with its sum.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import encode
from caseway.contracts.record import Draft, Record
from tests.contracts.examples import example

GOLDEN = Path(__file__).parent / "golden"
SUMS = GOLDEN / "SHA256SUMS"


def golden_of(name: str, version: int) -> Path:
    """Where the golden bytes of a version lie."""
    return GOLDEN / f"{name}.v{version}.json"


def golden_files() -> list[Path]:
    """Every golden file, in the order of their names."""
    return sorted(GOLDEN.glob("*.json"))


def as_text(draft: Draft) -> str:
    """A record as a file that a person can read."""
    assert draft.key is not None
    assert draft.value is not None
    said = {
        "key": draft.key.decode(),
        "headers": [[name, value.decode()] for name, value in draft.headers],
        "value": draft.value.decode(),
    }
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


def record_of(path: Path) -> Record:
    """The record that a golden file holds."""
    said: dict[str, Any] = json.loads(path.read_text("utf-8"))
    headers = tuple((name, value.encode()) for name, value in said["headers"])
    return Record("golden", 0, 0, 0, said["key"].encode(), said["value"].encode(), headers)


def sums() -> dict[str, str]:
    """The SHA-256 that each golden file had when it was written."""
    lines = SUMS.read_text("utf-8").splitlines() if SUMS.exists() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def sum_of(path: Path) -> str:
    """The SHA-256 that a golden file has."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_missing() -> list[Path]:
    """Write what is new; a file that is there, or had a sum once, is never written again."""
    known, made = sums(), []
    for name, kind in CATALOG.items():
        path = golden_of(name, kind.version)
        if not path.exists() and path.name not in known:
            path.write_text(as_text(encode("golden", 0, example(name))), "utf-8")
            made.append(path)
    every = {**{path.name: sum_of(path) for path in golden_files()}, **known}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(every.items())]
    SUMS.write_text("".join(lines), "utf-8")
    return made


if __name__ == "__main__":
    for written in write_missing():
        sys.stdout.write(f"wrote {written}\n")
