"""schemas/ is what the models generate, without strays, and AsyncAPI hangs together."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caseway.contracts.catalog import CATALOG
from caseway.contracts.envelope import ATTRIBUTES
from caseway.contracts.upcasters import UPCASTERS
from caseway.errors import ConfigError
from caseway_control.asyncapi import asyncapi
from caseway_control.schemas import DIALECT, event_file, generated, main, model_schema, write
from tests.contracts.released import RELEASED

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "schemas"
GENERATED = generated()
DOCUMENT = asyncapi()


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_a_file_of_schemas_is_what_the_models_generate(name: str) -> None:
    path = SCHEMAS / name
    assert path.exists(), f"{name} is new: run make schemas"
    assert path.read_text("utf-8") == GENERATED[name], f"{name} differs: run make schemas"


def test_every_version_has_its_file_and_no_file_is_a_stray() -> None:
    events = {
        event_file(kind.name, version)
        for kind in CATALOG.values()
        for version in range(1, kind.version + 1)
    }
    there = {str(path.relative_to(SCHEMAS)) for path in SCHEMAS.rglob("*") if path.is_file()}
    assert there == events | GENERATED.keys() | {"README.md"}


def test_every_earlier_version_has_a_frozen_model_and_an_upcaster() -> None:
    earlier = {(k.name, n) for k in CATALOG.values() for n in range(1, k.version)}
    assert RELEASED.keys() == UPCASTERS.keys() == earlier


@pytest.mark.parametrize(("name", "version"), sorted(RELEASED))
def test_the_schema_of_an_earlier_version_never_changes(name: str, version: int) -> None:
    frozen = json.loads((SCHEMAS / event_file(name, version)).read_text("utf-8"))
    urn = f"urn:caseway:schema:{name}:{version}"
    assert frozen == model_schema(RELEASED[name, version], urn)


@pytest.mark.parametrize("kind", CATALOG.values(), ids=lambda kind: kind.name)
def test_a_schema_says_what_it_is_and_closes_its_objects(kind: Any) -> None:
    schema = json.loads(GENERATED[event_file(kind.name, kind.version)])
    assert schema["$schema"] == DIALECT
    assert schema["$id"] == f"urn:caseway:schema:{kind.name}:{kind.version}"
    assert schema["title"] == kind.model.__name__
    assert schema["description"]
    assert schema["additionalProperties"] is False


def test_writing_again_changes_nothing_and_writing_anew_gives_the_same(tmp_path: Path) -> None:
    assert len(write(tmp_path)) == len(GENERATED)
    assert write(tmp_path) == []
    assert all((tmp_path / name).read_text("utf-8") == text for name, text in GENERATED.items())


def test_a_promise_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(SCHEMAS, tmp_path / "schemas")
    path = tmp_path / "schemas" / "events/task.claim.v1.json"
    promised = json.loads(path.read_text("utf-8"))
    promised["properties"]["urgency"] = {"type": "string", "default": ""}
    path.write_text(json.dumps(promised), "utf-8")
    with pytest.raises(ConfigError) as refused:
        write(tmp_path / "schemas")
    assert refused.value.code == "SCHEMA_BREAKING"
    assert "task.claim.v1 /urgency: is no field any more" in str(refused.value)
    assert json.loads(path.read_text("utf-8")) == promised
    assert main([str(tmp_path)]) == 2
    assert "SCHEMA_BREAKING: task.claim.v1 /urgency" in capsys.readouterr().err


def test_the_command_writes_schemas_and_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    assert main([str(tmp_path)]) == 0
    assert f"wrote {tmp_path / 'schemas/asyncapi.json'}" in capsys.readouterr().out
    assert (tmp_path / "docs/settings.md").exists()


# The structure that AsyncAPI's own parser checks, without asking a test for Node.


def test_every_reference_resolves() -> None:
    references = list(_references(DOCUMENT))
    assert len(references) > 100
    for reference in references:
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            assert part in found, reference
            found = found[part]


def test_every_channel_has_messages_and_every_message_a_channel_and_a_payload() -> None:
    carried = set()
    for name, channel in DOCUMENT["channels"].items():
        assert channel["messages"], name
        carried |= channel["messages"].keys()
        assert channel["bindings"]["kafka"]["partitions"] >= 1
        assert "retention.ms" in channel["bindings"]["kafka"]["topicConfiguration"]
        parameters = set(re.findall(r"{(\w+)}", channel["address"]))
        assert parameters == channel["parameters"].keys(), name
    assert carried == DOCUMENT["components"]["messages"].keys() == CATALOG.keys()
    for name, message in DOCUMENT["components"]["messages"].items():
        payload = message["payload"]["$ref"].rpartition("/")[2]
        assert payload == CATALOG[name].model.__name__
        assert message["summary"]
        assert message["bindings"]["kafka"]["key"]


def test_every_channel_is_sent_to_and_listened_to() -> None:
    used: dict[str, set[str]] = {"send": set(), "receive": set()}
    for name, operation in DOCUMENT["operations"].items():
        channel = operation["channel"]["$ref"].rpartition("/")[2]
        used[operation["action"]].add(channel)
        assert operation["messages"], name
        prefix = f"#/channels/{channel}/messages/"
        assert all(item["$ref"].startswith(prefix) for item in operation["messages"])
    assert used["send"] == DOCUMENT["channels"].keys()
    # A snapshot is read by its own writer alone, when it takes a shard over.
    assert used["receive"] == DOCUMENT["channels"].keys() - {"snapshots"}


def test_the_headers_are_those_of_the_envelope() -> None:
    headers = DOCUMENT["components"]["schemas"]["Headers"]["properties"]
    others = {"content-type", "ce_specversion", "ce_type", "ce_dataschema", "ce_subject"}
    assert headers.keys() == ATTRIBUTES.keys() | others
    assert all(headers[name]["description"] for name in ATTRIBUTES)


def test_nothing_of_json_schema_is_left_that_asyncapi_reads_otherwise() -> None:
    for node in _nodes(DOCUMENT):
        assert "$defs" not in node
        assert isinstance(node.get("discriminator", ""), str)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for child in children:
            yield from _nodes(child)


def _references(value: Any) -> Iterator[str]:
    return (node["$ref"] for node in _nodes(value) if isinstance(node.get("$ref"), str))
