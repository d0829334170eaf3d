"""Bytes to events and back: CloudEvents 1.0 in Kafka binary mode, structured mode accepted.

Reading checks everything a stranger may get wrong and says where; it never quotes a value. The
bytes of `data` are kept as they were sent, because signatures and audit leaves cover them.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pydantic import ValidationError

from caseway.contracts.catalog import CATALOG, EventType
from caseway.contracts.envelope import ATTRIBUTES, Envelope, Strength
from caseway.contracts.fields import Contract
from caseway.contracts.record import Draft, Headers, Record
from caseway.contracts.upcasters import upcast
from caseway.errors import CodeTooOld, ContractError

MAX_VALUE_BYTES = 900_000  # under the broker's default 1 MiB, with room for headers and framing
MAX_DEPTH = 32
MAX_HEADERS = 64
STRUCTURED = "application/cloudevents+json"
_SCHEMA = "urn:caseway:schema:"
_KNOWN = {"ce_specversion", "ce_type", "ce_dataschema", "ce_subject", "content-type", *ATTRIBUTES}
_STRENGTHS = {strength.value: strength for strength in Strength}
_COUNTERS = ("sequence", "hops", "registry_position")


class Event(NamedTuple):
    """One event as every processor sees it; `key` is the case id, or `kind/name` on control."""

    key: str
    envelope: Envelope
    data: Contract


class Raw(NamedTuple):
    """The signed surface of a received record: CloudEvents attributes and the data bytes."""

    attributes: dict[str, str]
    data: bytes


def _prefix(event_type: EventType) -> Headers:
    return (
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_type", event_type.name.encode()),
        ("ce_dataschema", f"{_SCHEMA}{event_type.name}:{event_type.version}".encode()),
    )


_PREFIXES = {name: _prefix(event_type) for name, event_type in CATALOG.items()}
_FIELDS = tuple((header, name) for header, name in ATTRIBUTES.items())


def encode(topic: str, partition: int, event: Event) -> Draft:
    """The record that says this event; attributes with their default value are left out."""
    envelope = event.envelope
    headers = list(_PREFIXES[envelope.type])
    for header, name in _FIELDS:
        value = getattr(envelope, name)
        if value:
            headers.append((header, str(value).encode()))
    value_bytes = event.data.__pydantic_serializer__.to_json(event.data)
    return Draft(topic, partition, event.key.encode(), value_bytes, tuple(headers))


def type_of(record: Record) -> str:
    """The event type of a record without decoding it; "" if it does not say (binary mode)."""
    for name, value in record.headers:
        if name == "ce_type":
            return value.decode("utf-8", "replace")
    return ""


def decode(record: Record, *, is_sole_writer: bool = False) -> Event:
    """Read a record as today's model of its type.

    Raises:
        CodeTooOld: on a sole-writer topic, a type or version this code does not know yet.
        ContractError: anything else that is wrong, with a stable code and its place.
    """
    return decode_raw(record, is_sole_writer=is_sole_writer)[0]


def decode_raw(record: Record, *, is_sole_writer: bool = False) -> tuple[Event, Raw]:
    """As `decode`, with the surface that a signature covers."""
    attributes, body = _surface(record)
    name = attributes.get("type", "")
    version = _version(attributes.get("dataschema", ""), name)
    event_type = CATALOG.get(name)
    if event_type is None or version > event_type.version:
        if is_sole_writer:
            raise CodeTooOld(
                f"{record.topic}/{record.partition}@{record.offset}: event type {name!r} "
                f"version {version} is newer than this code; deploy a newer version"
            )
        raise ContractError(
            "the event type is not in the catalogue; see schemas/events for those that are",
            code="contract.unknown_event_type",
            where="ce_type",
        )
    if record.key is None:
        raise ContractError(
            "the record has no key; send the case id as the key", code="KEY_FORMAT", where="key"
        )
    try:
        key = record.key.decode()
    except UnicodeDecodeError:
        raise ContractError(
            "the key is not UTF-8; send the case id as the key", code="KEY_FORMAT", where="key"
        ) from None
    envelope = _envelope(attributes, name, version)
    data = _data(event_type, version, body, is_trusted=is_sole_writer)
    return Event(key, envelope, data), Raw(attributes, body)


def _surface(record: Record) -> tuple[dict[str, str], bytes]:
    if record.value is None or record.value == b"":
        raise ContractError("the body is empty; send a JSON object", code="BODY_EMPTY", where="/")
    if len(record.value) > MAX_VALUE_BYTES:
        raise ContractError(
            f"the body has {len(record.value)} bytes; at most {MAX_VALUE_BYTES} are accepted: "
            "store large evidence and send a reference",
            code="BODY_TOO_LARGE",
            where="/",
        )
    attributes: dict[str, str] = {}
    content_type = "application/json"
    if len(record.headers) > MAX_HEADERS:
        raise ContractError("too many headers", code="HEADER_COUNT", where="headers")
    for name, value in record.headers:
        if name != "content-type" and not name.startswith("ce_"):
            continue
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise ContractError(
                f"header {name[:40]!r} is not UTF-8", code="HEADER_TEXT", where=name[:40]
            ) from None
        if name == "content-type":
            content_type = attributes["datacontenttype"] = text
        elif name[3:] in attributes:
            raise ContractError(
                f"header {name[:40]!r} is there twice", code="HEADER_TWICE", where=name[:40]
            )
        else:
            attributes[name[3:]] = text
    media = content_type.partition(";")[0].strip().lower()
    if media == STRUCTURED:
        return _structured(record.value)
    if media != "application/json":
        raise ContractError(
            f"content type must be application/json or {STRUCTURED}",
            code="CONTENT_TYPE",
            where="content-type",
        )
    if attributes.get("specversion", "1.0") != "1.0":
        raise ContractError(
            "ce_specversion must be 1.0", code="SPEC_VERSION", where="ce_specversion"
        )
    return attributes, record.value


def _structured(value: bytes) -> tuple[dict[str, str], bytes]:
    whole = parse_json(value)
    if not isinstance(whole, dict) or "data" not in whole:
        raise ContractError(
            "a structured event is an object with data", code="JSON_INVALID", where="/data"
        )
    attributes = {
        name: str(item) for name, item in whole.items() if name not in ("data", "dssematerial")
    }
    return attributes, json.dumps(whole["data"]).encode()


def _version(schema: str, name: str) -> int:
    if not schema:
        return 1
    number = schema.removeprefix(f"{_SCHEMA}{name}:")
    if not number.isdecimal() or not 0 < len(number) < 6 or int(number) < 1:
        raise ContractError(
            f"ce_dataschema must be {_SCHEMA}TYPE:VERSION", code="SCHEMA_FORMAT", where="dataschema"
        )
    return int(number)


def _envelope(attributes: dict[str, str], name: str, version: int) -> Envelope:
    values: dict[str, Any] = {}
    for header, field in _FIELDS:
        text = attributes.get(header[3:])
        if text is None:
            continue
        if field in _COUNTERS:
            if not text.isdecimal() or len(text) > 18:
                raise ContractError(
                    f"{header} must be a whole number", code="HEADER_NUMBER", where=header
                )
            values[field] = int(text)
        else:
            values[field] = text
    # What an inbound header claims about its own authentication proves nothing.
    strength = values.pop("strength", "")
    for field in ("id", "source"):
        if not values.get(field):
            raise ContractError(
                f"ce_{field} is missing", code="HEADER_MISSING", where=f"ce_{field}"
            )
    values["strength"] = _STRENGTHS.get(strength, Strength.UNVERIFIED)
    return Envelope(type=name, version=version, **values)


def _data(event_type: EventType, version: int, body: bytes, *, is_trusted: bool) -> Contract:
    try:
        if version == event_type.version and is_trusted:
            return event_type.model.model_validate_json(body)
        parsed = parse_json(body)
        if version != event_type.version:
            parsed = upcast(event_type.name, version, event_type.version, parsed)
        return event_type.model.model_validate(parsed, strict=False)
    except ValidationError as error:
        raise contract_error(error) from None


def parse_json(body: bytes) -> Any:
    """Strict JSON: no NaN, no duplicate keys, bounded depth.

    Raises:
        ContractError: JSON_INVALID with line and column, or TOO_DEEP.
    """
    try:
        parsed = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise ContractError(
            f"the body is not UTF-8 at byte {error.start}", code="JSON_INVALID", where="/"
        ) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ContractError(
            f"the body is not JSON: {where}", code="JSON_INVALID", where=where
        ) from None
    except RecursionError:
        raise ContractError("the body is nested too deep", code="TOO_DEEP", where="/") from None
    except ValueError:
        # An integer of more digits than Python converts at once: no field of ours is that long.
        raise ContractError(
            "the body holds a number of too many digits", code="JSON_INVALID", where="/"
        ) from None
    _check_depth(parsed, MAX_DEPTH)
    return parsed


def _no_constant(name: str) -> Any:
    raise ContractError(
        f"{name} is not JSON; send a decimal string", code="AMOUNT_FORMAT", where="/"
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ContractError("a key stands twice in one object", code="JSON_INVALID", where="/")
    return made


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise ContractError(
            f"the body is nested deeper than {MAX_DEPTH}", code="TOO_DEEP", where="/"
        )
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for child in children:
            _check_depth(child, left - 1)


def contract_error(error: ValidationError) -> ContractError:
    """The first finding of pydantic as one of ours: place and expectation, never the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = "/" + "/".join(str(part) for part in first["loc"])
    code, text = {
        "missing": ("FIELD_MISSING", "is missing"),
        "extra_forbidden": ("UNKNOWN_FIELD", "is not a field here"),
    }.get(first["type"], ("FIELD_INVALID", first["msg"][:1].lower() + first["msg"][1:]))
    if where == "/confidence" and code == "FIELD_INVALID":
        code, text = "CONFIDENCE_RANGE", 'must be decimal text from 0 to 1, e.g. "0.93"'
    return ContractError(f"{where}: {text}", code=code, where=where)
