"""Writes schemas/: a JSON Schema for every event and document, and one AsyncAPI document.

Everything is generated from the catalogue; nothing in schemas/ is edited by hand. A released
schema of a version that is no longer the latest stays as it is: its events are kept for ever.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from caseway.contracts.calendar import Calendar
from caseway.contracts.catalog import CATALOG, EventType
from caseway.contracts.definition import ProcessDefinition
from caseway.contracts.envelope import ATTRIBUTES
from caseway.contracts.matrix import AuthorityMatrix
from caseway.contracts.topics import FIXED_TOPICS, SERVICES, Topic, dead_letters, offers, snapshots
from caseway_control.tables import write_tables

DOCUMENTS: tuple[type[BaseModel], ...] = (ProcessDefinition, AuthorityMatrix, Calendar)
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _AsyncApiSchema(GenerateJsonSchema):
    """AsyncAPI takes a discriminator as a plain property name, and not OpenAPI's object."""

    def tagged_union_schema(self, schema: Any) -> dict[str, Any]:
        made = super().tagged_union_schema(schema)
        made.pop("discriminator", None)
        return made


def event_schema(event_type: EventType) -> dict[str, Any]:
    """The JSON Schema of an event type's data, by the names that travel."""
    schema = event_type.model.model_json_schema(mode="serialization", by_alias=True)
    name, version = event_type.name, event_type.version
    return {
        "$schema": _DIALECT,
        "$id": f"urn:caseway:schema:{name}:{version}",
        **schema,
        "title": name,
    }


def file_of(event_type: EventType) -> str:
    """The file name of an event type's schema."""
    return f"events/{event_type.name}.v{event_type.version}.json"


def generate() -> dict[str, str]:
    """Every file of schemas/ with its content, by its path in there."""
    files = {file_of(t): _json(event_schema(t)) for t in CATALOG.values()}
    for model in DOCUMENTS:
        schema = {"$schema": _DIALECT, **model.model_json_schema(by_alias=True)}
        files[f"documents/{model.__name__}.json"] = _json(schema)
    files["asyncapi.json"] = _json(asyncapi())
    return files


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.1 document: channels, messages, and who sends and receives what."""
    messages: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for event_type in CATALOG.values():
        name = _component(event_type.name)
        messages[name] = {
            "name": event_type.name,
            "title": event_type.name,
            "summary": (event_type.model.__doc__ or "").strip().splitlines()[0],
            "contentType": "application/json",
            "headers": {"$ref": "#/components/schemas/CloudEventHeaders"},
            "payload": {"$ref": f"#/components/schemas/{name}"},
        }
        schemas |= _inlined(name, event_type.model)
    schemas["CloudEventHeaders"] = _headers()
    channels = {_component(topic.name): _channel(topic) for topic in _topics()}
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Caseway",
            "version": "0.1.0",
            "description": "Every topic of a namespace; names carry the namespace as a prefix. "
            "Events are CloudEvents 1.0 in Kafka binary mode; structured mode is accepted on "
            "inbound topics. Reports, decisions and control records are signed (DSSE, Ed25519).",
        },
        "channels": channels,
        "operations": {
            f"write.{name}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": f"written by {topic.writer}",
            }
            for name, topic in ((_component(topic.name), topic) for topic in _topics())
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def write(directory: Path) -> list[str]:
    """Write what differs; returns the paths that were written."""
    written = []
    for name, content in generate().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != content:
            path.write_text(content, "utf-8")
            written.append(name)
    return written


def _topics() -> tuple[Topic, ...]:
    families = (offers("{pool}"), dead_letters("{service}"), snapshots("{service}"))
    return (*FIXED_TOPICS, *families)


def _channel(topic: Topic) -> dict[str, Any]:
    family = topic.name.partition("{")[0]
    carried = [
        name
        for name, event_type in CATALOG.items()
        if any(
            topic.name == t or (family != topic.name and t == f"{family}*")
            for t in event_type.topics
        )
    ]
    channel: dict[str, Any] = {
        "address": f"{{namespace}}.{topic.name}",
        "description": f"{topic.kind.value}; written by {topic.writer}",
        "parameters": {"namespace": {"description": "One per tenant or stage."}},
        "messages": {
            _component(name): {"$ref": f"#/components/messages/{_component(name)}"}
            for name in carried
        },
        "bindings": {
            "kafka": {
                "bindingVersion": "0.5.0",
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if topic.compacted else "delete"],
                    "retention.ms": topic.retention_ms,
                },
            }
        },
    }
    if "{" in topic.name:
        parameter = topic.name.partition("{")[2].rstrip("}")
        known = {} if parameter == "pool" else {"enum": list(SERVICES)}
        channel["parameters"][parameter] = {"description": f"The {parameter}.", **known}
    if not topic.sharded:
        channel["bindings"]["kafka"]["partitions"] = 1
    return channel


def _headers() -> dict[str, Any]:
    properties = {
        name: {"type": "string"}
        for name in ("content-type", "ce_specversion", "ce_type", "ce_dataschema", "ce_subject")
    }
    properties |= {name: {"type": "string"} for name in ATTRIBUTES}
    required = ["ce_specversion", "ce_type", "ce_id", "ce_source"]
    return {"type": "object", "properties": properties, "required": required}


def _inlined(name: str, model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema with its definitions lifted into the components."""
    schema = model.model_json_schema(
        mode="serialization",
        by_alias=True,
        ref_template="#/components/schemas/{model}",
        schema_generator=_AsyncApiSchema,
    )
    definitions = schema.pop("$defs", {})
    return {**definitions, name: schema}


def _component(name: str) -> str:
    return name.replace("{", "").replace("}", "")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write schemas/ and the generated tables of docs/ in the current directory."""
    for name in write(Path("schemas")):
        sys.stdout.write(f"schemas/{name}\n")
    write_tables(Path("docs"))


if __name__ == "__main__":
    main()
