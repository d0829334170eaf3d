"""The bytes of every event version ever published: they read today as they were meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import decode, encode
from caseway.contracts.report import CompleteTask
from tests.contracts.examples import example
from tests.contracts.golden_files import (
    GOLDEN,
    as_text,
    golden_files,
    golden_of,
    record_of,
    sum_of,
    sums,
)

FILES = golden_files()


def test_every_version_has_a_golden_file_and_no_file_is_a_stray() -> None:
    wanted = {
        golden_of(kind.name, version)
        for kind in CATALOG.values()
        for version in range(1, kind.version + 1)
    }
    assert set(FILES) == wanted, "a type or version is new: python -m tests.contracts.golden_files"


def test_no_golden_file_ever_changed() -> None:
    assert {path.name: sum_of(path) for path in FILES} == sums(), (
        "a golden file changed: put it back, and raise the version instead"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("is_sole_writer", [False, True], ids=["inbound", "log"])
def test_a_golden_record_reads_as_todays_model(path: Path, is_sole_writer: bool) -> None:
    event = decode(record_of(path), is_sole_writer=is_sole_writer)
    name, _, version = path.stem.rpartition(".v")
    assert (event.envelope.type, event.envelope.version) == (name, int(version))
    assert type(event.data) is CATALOG[name].model
    told = {"confidence"} if int(version) < CATALOG[name].version else set()
    assert event.key == example(name).key
    assert event.data.model_dump(exclude=told) == example(name).data.model_dump(exclude=told)


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_todays_version_is_written_as_the_very_same_bytes(name: str) -> None:
    path = golden_of(name, CATALOG[name].version)
    event = decode(record_of(path), is_sole_writer=True)
    assert as_text(encode("golden", 0, event)) == path.read_text("utf-8")
    assert as_text(encode("golden", 0, example(name))) == path.read_text("utf-8")


def test_a_result_of_version_1_is_lifted_to_exact_text() -> None:
    path = GOLDEN / "task.complete.v1.json"
    assert r"\"confidence\":0.93," in path.read_text("utf-8")
    data = decode(record_of(path)).data
    assert isinstance(data, CompleteTask)
    assert data.confidence == "0.930000"
