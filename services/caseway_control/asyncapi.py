"""The AsyncAPI 3.1 document: every topic, who writes and reads it, and every message on it.

Made from the catalogue, the topics and the services' cards, so it can't say more than the code
does. Payloads stand under components, because AsyncAPI resolves no `$defs` inside a schema.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from caseway.contracts import topics
from caseway.contracts.catalog import CATALOG, EventType
from caseway.contracts.envelope import ATTRIBUTES, Strength
from caseway.contracts.topics import FIXED_TOPICS, SERVICES, Topic, TopicKind
from caseway_control.roster import CARDS

# Of the document; its first number is the contract level that a new namespace starts with.
DOCUMENT_VERSION = "1.0.0"
# As `caseway topics create` makes them unless told otherwise.
SHARDS = 12

_ABOUT = """Caseway runs cases that AI agents and people work on together. Every fact is a record \
in a Kafka topic: CloudEvents 1.0 in binary mode, JSON as data; inbound topics take structured \
mode too. The key of a record is the id of its case (`kind/name` on control and registry), \
partitioned by murmur2 as Kafka's Java client does it. All topics carry the namespace as prefix.

Security: authority rests on signatures and on the broker's ACLs, never on what a header claims. \
Reports, decisions and control records are signed (Ed25519 in a DSSE envelope, header \
`ce_dssematerial`; the key is registered for an agent or a person). ACLs let agents write \
agent-reports alone, submitters submissions alone, people decisions, operators control; a log is \
written by one service. What can't be read on an inbound topic becomes a dead letter: a pointer, \
a hash and a code, never the content."""

_KINDS = {
    TopicKind.INBOUND: "Inbound: many writers; never folded as own state.",
    TopicKind.LOG: "A log: one writer for each partition; the truth.",
    TopicKind.DERIVED: "Derived: can be made again from the logs.",
}
_HEADERS: dict[str, tuple[str, str]] = {
    "ce_id": ("Unique with ce_source; a record of both again is the same event.", ""),
    "ce_source": ("Who says it: a path of the namespace, or a submitter's own name.", ""),
    "ce_time": ("Time of the causing record, RFC 3339 in UTC.", ""),
    "ce_sequence": ("Counts the events of one case in one log from 1.", "^[0-9]{1,18}$"),
    "ce_causationid": ("generation/topic/partition/offset of the record that led here.", ""),
    "ce_correlationid": ("What belongs to one story, across cases too.", ""),
    "ce_hops": ("Records between this one and the last person or agent.", "^[0-9]{1,18}$"),
    "ce_traceparent": ("W3C trace context.", ""),
    "ce_authid": ("Who caused it; informs and proves nothing.", ""),
    "ce_authstrength": ("How the actor's identity is known.", ""),
    "ce_definition": ("Pin name@version#digest of the process definition.", ""),
    "ce_matrix": ("Pin name@version#digest of the authority matrix.", ""),
    "ce_registryposition": ("How far the writer had read the registry.", "^[0-9]{1,18}$"),
    "ce_skill": ("The skill that an offer asks for.", ""),
    "ce_agent": ("The agent that an offer is for.", ""),
    "ce_dssematerial": ("DSSE envelope over the attributes and the data.", ""),
    "ce_signedextattrs": ("The extension attributes that the signature covers.", ""),
}
# Who is no service: what they send, and what they listen to.
_PARTIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "submitters": (("submissions",), ("intake", "cases", "dead-letters")),
    "agents": (("agent-reports",), ("offers",)),
    "people": (("decisions",), ("approvals", "cases")),
    "operators": (("control",), ("registry", "intake", "dead-letters")),
}


def asyncapi() -> dict[str, Any]:
    """The whole document, the same in every run."""
    families = {topic.name: topic for topic in FIXED_TOPICS}
    families |= {
        "offers": topics.offers("{pool}"),
        "dead-letters": topics.dead_letters("{service}"),
        "snapshots": topics.snapshots("{service}"),
    }
    return {
        "asyncapi": "3.1.0",
        "id": "urn:caseway:asyncapi",
        "info": {
            "title": "Caseway",
            "version": DOCUMENT_VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": _server()},
        "channels": {name: _channel(name, topic) for name, topic in families.items()},
        "operations": _operations(),
        "components": {
            "messages": {kind.name: _message(kind) for kind in CATALOG.values()},
            "schemas": {"Headers": _headers(), **_payloads()},
            "securitySchemes": {
                "mtls": {"type": "X509", "description": "A client certificate names the writer."},
                "scram": {"type": "scramSha512", "description": "SASL/SCRAM over TLS."},
            },
        },
    }


def messages_of(channel: str) -> list[EventType]:
    """The event types that travel on a channel, in the catalogue's order."""
    return [
        kind for kind in CATALOG.values() if channel in kind.topics or f"{channel}.*" in kind.topics
    ]


def _server() -> dict[str, Any]:
    return {
        "host": "{broker}",
        "protocol": "kafka-secure",
        "protocolVersion": "4.0",
        "description": "Apache Kafka 4.0 or newer; one cluster serves many namespaces.",
        "variables": {"broker": {"default": "localhost:9092", "description": "host:port"}},
        "security": [
            {"$ref": "#/components/securitySchemes/mtls"},
            {"$ref": "#/components/securitySchemes/scram"},
        ],
    }


def _channel(name: str, topic: Topic) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "namespace": {"description": "One for each tenant or stage; the prefix of every topic."}
    }
    if "{pool}" in topic.name:
        parameters["pool"] = {"description": "A pool of agents that see the same fields."}
    if "{service}" in topic.name:
        parameters["service"] = {"enum": list(SERVICES), "description": "Its writer."}
    policy = "compact" if topic.compacted else "delete"
    return {
        "address": f"{{namespace}}.{topic.name}",
        "title": name,
        "description": _KINDS[topic.kind],
        "servers": [{"$ref": "#/servers/kafka"}],
        "parameters": parameters,
        "messages": {
            kind.name: {"$ref": f"#/components/messages/{kind.name}"} for kind in messages_of(name)
        },
        "bindings": {
            "kafka": {
                "partitions": topic.partitions(SHARDS),
                "topicConfiguration": {
                    "cleanup.policy": [policy],
                    "retention.ms": topic.retention_ms,
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations() -> dict[str, Any]:
    made: dict[str, Any] = {}
    for party, (sends, receives) in _PARTIES.items():
        for channel in sends:
            _add(made, party, "send", channel, messages_of(channel))
        for channel in receives:
            _add(made, party, "receive", channel, messages_of(channel))
    for service, log in topics.OWN_LOGS.items():
        for channel in _written_by(service, log):
            _add(made, service, "send", channel, messages_of(channel))
        for channel, types in _heard_by(service).items():
            heard = [kind for kind in messages_of(channel) if kind.name in types]
            _add(made, service, "receive", channel, heard)
    return made


def _written_by(service: str, log: Topic) -> list[str]:
    more = {"intake": ["registry"], "router": ["offers"]}.get(service, [])
    return [log.name, *more, "dead-letters", "snapshots"]


def _heard_by(service: str) -> Mapping[str, Iterable[str]]:
    """Channel → event types; the audit service seals and projects every log whole."""
    everything = {topic.name: CATALOG.keys() for topic in topics.OWN_LOGS.values()}
    if service not in CARDS:
        return {**everything, "registry": CATALOG.keys()}
    heard: dict[str, Iterable[str]] = {
        source.topic.name: source.hears for source in CARDS[service].inputs
    }
    return {"registry": CATALOG.keys(), **heard}


def _add(made: dict[str, Any], party: str, action: str, channel: str, on: list[EventType]) -> None:
    made[f"{party}.{action}.{channel}"] = {
        "action": action,
        "summary": f"{party.replace('_', ' ')} {action} {channel}",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{kind.name}"} for kind in on],
    }


def _message(kind: EventType) -> dict[str, Any]:
    about = inspect.cleandoc(kind.model.__doc__ or "")
    return {
        "name": kind.name,
        "title": kind.model.__name__,
        "summary": about.partition("\n")[0],
        "contentType": "application/json",
        "correlationId": {"location": "$message.header#/ce_correlationid"},
        "headers": {
            "allOf": [
                {"$ref": "#/components/schemas/Headers"},
                {
                    "type": "object",
                    "properties": {
                        "ce_type": {"const": kind.name},
                        "ce_dataschema": {
                            "const": f"urn:caseway:schema:{kind.name}:{kind.version}"
                        },
                    },
                },
            ]
        },
        "payload": {"$ref": f"#/components/schemas/{kind.model.__name__}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": _key(kind)},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _key(kind: EventType) -> str:
    if kind.topics in (("control",), ("registry",)):
        return "kind/name of what is changed"
    return "The id of the case; what the host itself writes has a key of its own."


def _headers() -> dict[str, Any]:
    properties: dict[str, Any] = {
        "content-type": {"type": "string", "const": "application/json"},
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_type": {"type": "string", "description": "The event type."},
        "ce_dataschema": {"type": "string", "pattern": "^urn:caseway:schema:.+:[1-9][0-9]{0,4}$"},
        "ce_subject": {"type": "string", "description": "The key again; needed if signed."},
    }
    for header in ATTRIBUTES:
        about, pattern = _HEADERS[header]
        properties[header] = {"type": "string", "description": about}
        if pattern:
            properties[header]["pattern"] = pattern
    properties["ce_authstrength"]["enum"] = [strength.value for strength in Strength]
    return {
        "type": "object",
        "description": "CloudEvents 1.0 attributes as Kafka headers, UTF-8; defaults left out.",
        "properties": properties,
        "required": ["ce_specversion", "ce_type", "ce_id", "ce_source"],
    }


def _payloads() -> dict[str, Any]:
    _, made = models_json_schema(
        [(kind.model, "validation") for kind in CATALOG.values()],
        ref_template="#/components/schemas/{model}",
    )
    named: dict[str, Any] = _with_plain_discriminators(made["$defs"])
    return named


def _with_plain_discriminators(node: Any) -> Any:
    """AsyncAPI wants the name of the telling property where OpenAPI has an object."""
    if isinstance(node, list):
        return [_with_plain_discriminators(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: value["propertyName"]
        if key == "discriminator" and isinstance(value, dict) and "propertyName" in value
        else _with_plain_discriminators(value)
        for key, value in node.items()
    }
