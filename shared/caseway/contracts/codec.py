"""Bytes to events and back: CloudEvents 1.0 in Kafka binary mode, structured mode accepted.

Reading checks everything a stranger may get wrong and says where; it never quotes a value. The
bytes of `data` are kept as they were sent, because signatures and audit leaves cover them.
"""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

from pydantic import ValidationError

from caseway.contracts.catalog import CATALOG, EventType
from caseway.contracts.envelope import ATTRIBUTES, Envelope, Strength
from caseway.contracts.fields import Contract
from caseway.contracts.levels import downcast
from caseway.contracts.record import Draft, Headers, Record
from caseway.contracts.strict_json import contract_error, parse_json, refused, step
from caseway.contracts.upcasters import upcast
from caseway.errors import CodeTooOld, ContractError

MAX_VALUE_BYTES = 900_000  # under the broker's default 1 MiB, with room for headers and framing
MAX_HEADERS = 64
# An attribute is copied from cause to effect: a long one would make every later record longer.
MAX_ATTRIBUTE_CHARS = 1024
STRUCTURED = "application/cloudevents+json"
_SCHEMA = "urn:caseway:schema:"
_STRENGTHS = {strength.value: strength for strength in Strength}


class Event(NamedTuple):
    """One event as every processor sees it; `key` is the case id, or `kind/name` on control."""

    key: str
    envelope: Envelope
    data: Contract


class Raw(NamedTuple):
    """The signed surface of a received record: CloudEvents attributes and the data bytes."""

    attributes: dict[str, str]
    data: bytes


def _prefix(name: str, version: int) -> Headers:
    return (
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_type", name.encode()),
        ("ce_dataschema", f"{_SCHEMA}{name}:{version}".encode()),
    )


_PREFIXES = {
    (name, version): _prefix(name, version)
    for name, event_type in CATALOG.items()
    for version in range(1, event_type.version + 1)
}
# Every record passes through here several times on its way, so the tables are laid out for that.
_WRITTEN = tuple((header, Envelope._fields.index(name)) for header, name in ATTRIBUTES.items())
_INDEX_OF = {header[3:]: index for header, index in _WRITTEN}
_ABSENT = tuple(Envelope._field_defaults.get(name, "") for name in Envelope._fields)
_COUNTERS = tuple(
    (attribute, index) for attribute, index in _INDEX_OF.items() if _ABSENT[index] == 0
)
_TYPE, _VERSION, _STRENGTH = map(Envelope._fields.index, ("type", "version", "strength"))
_NEEDED = tuple((attribute, _INDEX_OF[attribute]) for attribute in ("id", "source"))
_ROW_OF = dict(_WRITTEN)
_TODAY = {_PREFIXES[name, event_type.version]: event_type for name, event_type in CATALOG.items()}
_ATTRIBUTE_OF = {
    "content-type": "datacontenttype",
    **{header: header[3:] for header in (*ATTRIBUTES, "ce_type", "ce_dataschema")},
}


def encode(topic: str, partition: int, event: Event) -> Draft:
    """The record that says this event, in the version that its envelope names.

    Attributes with their default value are left out.
    """
    envelope = event.envelope
    headers = list(_PREFIXES[envelope.type, envelope.version])
    for header, index in _WRITTEN:
        value = envelope[index]
        if value:
            text = value if isinstance(value, str) else str(value)
            headers.append((header, text.encode()))
    if envelope.version == CATALOG[envelope.type].version:
        value_bytes = event.data.__pydantic_serializer__.to_json(event.data)
    else:
        value_bytes = _lower(event.data, CATALOG[envelope.type], envelope.version)
    return Draft(topic, partition, event.key.encode(), value_bytes, tuple(headers))


def as_written(event_type: EventType, version: int, data: Contract) -> Contract:
    """What readers will see of data that is written in this version.

    A writer folds this and not what it made: after a replay its state must be the same.
    """
    if version == event_type.version:
        return data
    return _data(event_type, version, _lower(data, event_type, version))


def _lower(data: Contract, event_type: EventType, version: int) -> bytes:
    lowered = downcast(event_type.name, version, event_type.version, data.model_dump(mode="json"))
    return json.dumps(lowered, ensure_ascii=False, separators=(",", ":")).encode()


def type_of(record: Record) -> str:
    """The event type of a record without decoding it; "" if it does not say (binary mode)."""
    for name, value in record.headers:
        if name == "ce_type":
            return (value or b"").decode("utf-8", "replace")
    return ""


def decode(record: Record, *, is_sole_writer: bool = False) -> Event:
    """Read a record as today's model of its type.

    Raises:
        CodeTooOld: on a sole-writer topic, a type, version or field this code does not know yet.
        ContractError: anything else that is wrong, with a stable code and its place.
    """
    if is_sole_writer and (event := _as_encoded(record)) is not None:
        return event
    return decode_raw(record, is_sole_writer=is_sole_writer)[0]


def decode_raw(record: Record, *, is_sole_writer: bool = False) -> tuple[Event, Raw]:
    """As `decode`, with the surface that a signature covers."""
    attributes, body = _surface(record)
    if not is_sole_writer:
        _check_attributes(attributes)
    name = attributes.get("type", "")
    version = _version(attributes.get("dataschema", ""), name)
    event_type = CATALOG.get(name)
    if event_type is None or version > event_type.version:
        raise _unknown(record, name, version, event_type, is_sole_writer)
    if record.key is None:
        raise refused("KEY_FORMAT", "key", "the record has no key; send the case id as the key")
    try:
        key = record.key.decode()
    except UnicodeDecodeError:
        problem = "the key is not UTF-8; send the case id as the key"
        raise refused("KEY_FORMAT", "key", problem) from None
    envelope = _envelope(attributes, name, version)
    if is_sole_writer and version == event_type.version:
        data = _trusted(event_type, body, record)
    else:
        data = _data(event_type, version, body)
    return Event(key, envelope, data), Raw(attributes, body)


def data_of(record: Record) -> Contract:
    """The data alone of a record on a topic with one writer.

    Raises:
        CodeTooOld: as `decode`.
        ContractError: as `decode`, but of an envelope that lies as ours do nothing is read.
    """
    event_type = _laid_out(record)
    if event_type is None:
        return decode_raw(record, is_sole_writer=True)[0].data
    return _trusted(event_type, record.value or b"", record)


def _laid_out(record: Record) -> EventType | None:
    """The type of a record that begins as `encode` lays out today's version of it."""
    event_type = _TODAY.get(record.headers[:4])
    if event_type is None or not record.value or len(record.value) > MAX_VALUE_BYTES:
        return None
    return event_type


def _as_encoded(record: Record) -> Event | None:
    """A record that lies as `encode` lays it out, or None: then it is read the long way.

    Each is read by several services and at every takeover, so here no header is looked at twice.
    """
    event_type = _laid_out(record)
    if event_type is None or record.key is None:
        return None
    row: list[Any] = [*_ABSENT]
    row[_TYPE], row[_VERSION] = event_type.name, event_type.version
    last = -1
    try:
        for header, value in record.headers[4:]:
            index = _ROW_OF.get(header, -1)
            if index <= last or value is None:
                return None
            row[index], last = value.decode(), index
        key = record.key.decode()
    except UnicodeDecodeError:
        return None
    return Event(key, _typed(row), _trusted(event_type, record.value or b"", record))


def _unknown(
    record: Record, name: str, version: int, known: EventType | None, is_sole_writer: bool
) -> CodeTooOld | ContractError:
    """What a type or version beyond the catalogue means: on a log, that a newer writer is live."""
    if is_sole_writer:
        return _too_old(record, f"event type {name!r} version {version}")
    problem = "the event type is not in the catalogue; see schemas/events for those that are"
    if known is not None:
        problem = f"version {version} of {name} is not known here; send version {known.version}"
    return ContractError(problem, code="contract.unknown_event_type", where="ce_type")


def _too_old(record: Record, what: str) -> CodeTooOld:
    at = f"{record.topic}/{record.partition}@{record.offset}"
    return CodeTooOld(f"{at}: {what} is newer than this code; deploy a newer version")


def _surface(record: Record) -> tuple[dict[str, str], bytes]:
    if record.value is None or record.value == b"":
        raise refused("BODY_EMPTY", "/", "the body is empty; send a JSON object")
    if len(record.value) > MAX_VALUE_BYTES:
        found = f"the body has {len(record.value)} bytes; at most {MAX_VALUE_BYTES} are accepted"
        problem = f"{found}: store large evidence and send a reference"
        raise refused("BODY_TOO_LARGE", "/", problem)
    if len(record.headers) > MAX_HEADERS:
        raise refused("HEADER_COUNT", "headers", "too many headers")
    attributes: dict[str, str] = {}
    for name, value in record.headers:
        if value is None:  # Kafka knows headers without a value
            problem = f"header {name[:40]!r} has no value; give it one or leave it out"
            raise refused("HEADER_TEXT", repr(name[:40])[1:-1], problem)
        attribute = _ATTRIBUTE_OF.get(name)
        if attribute is None:
            if not name.isprintable():
                problem = f"the name of header {name[:40]!r} is not plain text; rename it"
                raise refused("HEADER_TEXT", repr(name[:40])[1:-1], problem)
            if not name.startswith("ce_"):
                continue
            attribute = name[3:]
        if attribute in attributes:
            raise refused("HEADER_TWICE", name[:40], f"header {name[:40]!r} is there twice")
        try:
            attributes[attribute] = value.decode()
        except UnicodeDecodeError:
            raise refused("HEADER_TEXT", name[:40], f"header {name[:40]!r} is not UTF-8") from None
    body = record.value
    if attributes.get("datacontenttype") != "application/json":
        if _media(attributes) == STRUCTURED:
            attributes, body = _structured(record.value)
        if _media(attributes) != "application/json":
            problem = f"content type must be application/json or {STRUCTURED}"
            raise refused("CONTENT_TYPE", "content-type", problem)
    if attributes.get("specversion", "1.0") != "1.0":
        raise refused("SPEC_VERSION", "ce_specversion", "ce_specversion must be 1.0")
    return attributes, body


def _media(attributes: dict[str, str]) -> str:
    """The media type without its parameters, JSON where none is named."""
    return attributes.get("datacontenttype", "application/json").partition(";")[0].strip().lower()


def _structured(value: bytes) -> tuple[dict[str, str], bytes]:
    """The attributes and data of an event that is one JSON document.

    The bytes of `data` are written anew, so no signature can cover them: a sender that signs
    puts the signed bytes into `data_base64`.
    """
    whole = parse_json(value)
    if not isinstance(whole, dict) or ("data" in whole) == ("data_base64" in whole):
        problem = "a structured event is an object with data or data_base64"
        raise refused("JSON_INVALID", "/data", problem)
    encoded = whole.pop("data_base64", None)
    if encoded is None:
        data = json.dumps(whole.pop("data")).encode()
        whole.pop("dssematerial", None)
    else:
        data = _base64(encoded)
    return {name: _text(name, item) for name, item in whole.items() if item is not None}, data


def _base64(encoded: Any) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (ValueError, TypeError):
        problem = "/data_base64: is not base64 text"
        raise refused("JSON_INVALID", "/data_base64", problem) from None


def _text(name: str, item: Any) -> str:
    """A CloudEvents attribute in the text form of its type."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, str | int):
        return str(item)
    problem = "an attribute of a structured event is text, a whole number or a boolean"
    raise refused("HEADER_TEXT", f"/{step(name)}", problem)


def _check_attributes(attributes: dict[str, str]) -> None:
    """A stranger's attributes are copied into what follows from them, so they are short text."""
    for name, text in attributes.items():
        where = f"ce_{name[:40]}"
        if len(text) > MAX_ATTRIBUTE_CHARS and name != "dssematerial":
            problem = f"{where} has more than {MAX_ATTRIBUTE_CHARS} characters; send fewer"
            raise refused("HEADER_LENGTH", where, problem)
        if not text.isprintable():
            problem = f"{where!r} holds a control character or a foreign blank; remove it"
            raise refused("HEADER_TEXT", where, problem)


def _version(schema: str, name: str) -> int:
    if not schema:
        return 1
    number = schema.removeprefix(f"{_SCHEMA}{name}:")
    if not number.isdecimal() or len(number) > 5 or int(number) < 1:
        problem = f"ce_dataschema must be {_SCHEMA}TYPE:VERSION"
        raise refused("SCHEMA_FORMAT", "ce_dataschema", problem)
    return int(number)


def _envelope(attributes: dict[str, str], name: str, version: int) -> Envelope:
    row: list[Any] = [*_ABSENT]
    row[_TYPE], row[_VERSION] = name, version
    for attribute, text in attributes.items():
        index = _INDEX_OF.get(attribute)
        if index is not None:
            row[index] = text
    return _typed(row)


def _typed(row: list[Any]) -> Envelope:
    """An envelope of what its headers say as text."""
    for attribute, index in _COUNTERS:
        text = row[index]
        if text != 0:
            if not text.isdecimal() or len(text) > 18:
                header = f"ce_{attribute}"
                raise refused("HEADER_NUMBER", header, f"{header} must be a whole number")
            row[index] = int(text)
    # What an inbound header claims about its own authentication proves nothing.
    row[_STRENGTH] = _STRENGTHS.get(row[_STRENGTH], Strength.UNVERIFIED)
    for attribute, index in _NEEDED:
        if not row[index]:
            raise refused("HEADER_MISSING", f"ce_{attribute}", f"ce_{attribute} is missing")
    return Envelope._make(row)


def _trusted(event_type: EventType, body: bytes, record: Record) -> Contract:
    """What our own services wrote in today's version.

    Our writers are checked before they write, so this path parses once and checks no more. A
    field that the model does not have was added by newer code: ignoring it would fold another
    state than the writer's, so the shard waits instead.
    """
    try:
        return event_type.model.model_validate_json(body)
    except ValidationError as error:
        found = contract_error(error)
        if found.code == "UNKNOWN_FIELD":
            raise _too_old(record, f"a field of {event_type.name} ({found.where})") from None
        raise found from None


def _data(event_type: EventType, version: int, body: bytes) -> Contract:
    """What anybody may have sent: strict JSON of strict types, in any version up to today's."""
    parsed = parse_json(body)
    if not isinstance(parsed, dict):
        raise refused("JSON_INVALID", "/", "the body is not a JSON object")
    if version != event_type.version:
        body = json.dumps(upcast(event_type.name, version, event_type.version, parsed)).encode()
    try:
        # From text, because only there may strict types still be written as JSON writes them.
        return event_type.model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise contract_error(error) from None
