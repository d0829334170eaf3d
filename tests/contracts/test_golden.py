"""The bytes of every event version ever published: they read today as they were meant.

A golden file is written once, when its type or version is new, and never changes:

    python -m tests.contracts.test_golden

writes those that are missing. Changing one that was released fails here, on purpose.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import decode, encode
from caseway.contracts.record import Draft, Record
from caseway.contracts.report import CompleteTask
from tests.contracts.examples import example

GOLDEN = Path(__file__).parent / "golden"


def golden_of(name: str, version: int) -> Path:
    """Where the golden bytes of a version lie."""
    return GOLDEN / f"{name}.v{version}.json"


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


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_todays_bytes_are_the_golden_bytes(name: str) -> None:
    path = golden_of(name, CATALOG[name].version)
    assert path.exists(), f"{name} is new: run python -m tests.contracts.test_golden"
    assert as_text(encode("golden", 0, example(name))) == path.read_text("utf-8")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_every_golden_record_reads_as_todays_model(path: Path) -> None:
    event = decode(record_of(path))
    assert type(event.data) is CATALOG[event.envelope.type].model
    assert event.key == "c-ade4f5010e0358d4e78db39a"
    if event.envelope.version == CATALOG[event.envelope.type].version:
        assert event == example(event.envelope.type)


def test_a_result_of_version_1_is_lifted_to_exact_text() -> None:
    data = decode(record_of(golden_of("task.complete", 1))).data
    assert isinstance(data, CompleteTask)
    assert data.confidence == "0.930000"


if __name__ == "__main__":
    for event_name, event_type in CATALOG.items():
        file = golden_of(event_name, event_type.version)
        if not file.exists():
            file.write_text(as_text(encode("golden", 0, example(event_name))), "utf-8")
