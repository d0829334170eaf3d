"""What strangers may send: every bad input has its code and its place, and none is a crash."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseway.contracts.catalog import CATALOG
from caseway.contracts.codec import (
    MAX_ATTRIBUTE_CHARS,
    MAX_HEADERS,
    MAX_VALUE_BYTES,
    STRUCTURED,
    Event,
    decode,
    decode_raw,
    encode,
    type_of,
)
from caseway.contracts.envelope import ATTRIBUTES, Strength
from caseway.contracts.record import Record
from caseway.contracts.strict_json import MAX_DEPTH, parse_json
from caseway.contracts.submission import SubmitCase
from caseway.errors import CodeTooOld, ContractError
from tests.contracts.examples import example
from tests.contracts.golden_files import golden_of, record_of
from tests.contracts.strategies import ANY_JSON

GOOD = record_of(golden_of("case.submit", 1))
RESULT = record_of(golden_of("task.complete", 2))
LOGGED = record_of(golden_of("case.opened", 1))


def body(record: Record = GOOD, **changes: Any) -> dict[str, Any]:
    """The data of a good record with changes; None takes a field away."""
    assert record.value is not None
    whole = {**json.loads(record.value), **changes}
    return {name: value for name, value in whole.items() if value is not None}


def with_body(value: Any, record: Record = GOOD) -> Record:
    """A good record with another body: bytes as they are, anything else as JSON."""
    return record._replace(value=value if isinstance(value, bytes) else json.dumps(value).encode())


def with_headers(*, record: Record = GOOD, **changes: bytes | None) -> Record:
    """A good record with these headers set, or left out where None; `_` stands for `-`."""
    named = {("content-type" if n == "content_type" else n): v for n, v in changes.items()}
    kept = [(name, value) for name, value in record.headers if name not in named]
    added = [(name, value) for name, value in named.items() if value is not None]
    return record._replace(headers=(*kept, *added))


def refusal(record: Record) -> ContractError:
    """What a reader of an inbound topic says of it."""
    with pytest.raises(ContractError) as refused:
        decode(record)
    return refused.value


def nested(depth: int) -> dict[str, Any]:
    """A submission whose facts go so deep, counted from the body itself."""
    facts: Any = 1
    for _ in range(depth - 2):
        facts = [facts]
    return body(facts={"a": facts})


# The catalogue of bad inputs, as far as reading a record can tell; what needs a definition to be
# told (the right currency, the known process) is told by intake.
BODIES: list[tuple[str, Any, str, str]] = [
    ("empty", b"", "BODY_EMPTY", "/"),
    ("broken", b'{\n "a": 1,\n "b": 2 "c"}', "JSON_INVALID", "line 3 column 9"),
    ("cut", b'{"namespace": "d', "JSON_INVALID", "line 1 column 15"),
    ("not UTF-8", b'{"namespace": "\xff"}', "JSON_INVALID", "/"),
    ("UTF-16", json.dumps(body()).encode("utf-16"), "JSON_INVALID", "/"),
    ("byte order mark", b"\xef\xbb\xbf" + (GOOD.value or b""), "JSON_INVALID", "line 1 column 1"),
    ("raw surrogate", b'{"namespace": "\xed\xa0\x80"}', "JSON_INVALID", "/"),
    ("a control character", b'{"namespace": "\x00"}', "JSON_INVALID", "line 1 column 16"),
    ("no object", b"[1]", "JSON_INVALID", "/"),
    ("null", b"null", "JSON_INVALID", "/"),
    ("a key twice", b'{"a": 1, "a": 2}', "JSON_INVALID", "/"),
    ("too large", b" " * (MAX_VALUE_BYTES + 1), "BODY_TOO_LARGE", "/"),
    ("missing", body(definition=None), "FIELD_MISSING", "/definition"),
    ("unknown field", body(ammount="1"), "UNKNOWN_FIELD", "/ammount"),
    ("unknown odd field", body(**{"ann@example.com": 1}), "UNKNOWN_FIELD", "/?"),
    ("NaN", body(facts={"a": [1, float("nan")]}), "AMOUNT_FORMAT", "/facts/a/1"),
    ("infinity", body(facts={"a": {"b": float("-inf")}}), "AMOUNT_FORMAT", "/facts/a/b"),
    ("1e400", b'{"facts": {"amount": 1e400}}', "AMOUNT_FORMAT", "/facts/amount"),
    ("1e400, then no JSON", b'{"a": 1e400, "b" 1}', "AMOUNT_FORMAT", "/"),
    ("5,000 digits", b'{"a": ' + b"9" * 5000 + b"}", "JSON_INVALID", "/"),
    ("key with a space in front", body(key=" 7"), "FIELD_INVALID", "/key"),
    ("key too long", body(key="7" * 129), "FIELD_INVALID", "/key"),
    ("key with a control", body(key="7\x07"), "FIELD_INVALID", "/key"),
    ("id upwards", body(definition="../etc"), "FIELD_INVALID", "/definition"),
    ("id with a space", body(definition="a b"), "FIELD_INVALID", "/definition"),
    ("id of 300", body(definition="a" * 300), "FIELD_INVALID", "/definition"),
    ("lone surrogate", body(facts={"note": "a\ud800b"}), "TEXT_CHARS", "/facts/note"),
    ("lone surrogate in a name", body(facts={"a\udfff": 1}), "TEXT_CHARS", "/facts"),
    ("too deep by one", nested(MAX_DEPTH), "TOO_DEEP", "/"),
    ("200 deep", nested(200), "TOO_DEEP", "/"),
    ("100,000 deep", b'{"a":' + b"[" * 100_000, "TOO_DEEP", "/"),
    ("text for a number", {**body(RESULT), "token": "3"}, "FIELD_INVALID", "/token"),
    ("true for a number", {**body(RESULT), "token": True}, "FIELD_INVALID", "/token"),
    ("seconds for an instant", {**body(RESULT), "expires_at": 1}, "FIELD_INVALID", "/expires_at"),
    ("no offset", {**body(RESULT), "expires_at": "2026-11-21T09:00:00"}, "FIELD_INVALID",
     "/expires_at"),
    ("no such day", {**body(RESULT), "expires_at": "2026-02-30T09:00:00Z"}, "FIELD_INVALID",
     "/expires_at"),
    ("too sure", {**body(RESULT), "confidence": "1.7"}, "CONFIDENCE_RANGE", "/confidence"),
    ("sure in words", {**body(RESULT), "confidence": "high"}, "CONFIDENCE_RANGE", "/confidence"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "code", "where"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
def test_a_bad_body_is_refused_with_its_place(value: Any, code: str, where: str) -> None:
    is_result = isinstance(value, dict) and "token" in value
    refused = refusal(with_body(value, RESULT if is_result else GOOD))
    assert (refused.code, refused.where) == (code, where)


def test_the_size_that_is_allowed_is_named() -> None:
    said = str(refusal(with_body(b" " * (MAX_VALUE_BYTES + 1))))
    assert "900001" in said
    assert "900000" in said


def test_no_refusal_quotes_what_was_sent() -> None:
    secret = "4111-1111-1111-1111"
    for name, value in body().items():
        refused = refusal(
            with_body(body(**{name: {secret: secret} if name != "facts" else secret}))
        )
        assert secret not in f"{refused}{refused.where}", (name, value)
    assert secret not in str(refusal(with_body(body(**{f"{secret}-": 1}))))


def test_a_name_of_a_megabyte_makes_no_megabyte_of_a_dead_letter() -> None:
    refused = refusal(with_body(body(**{"a" * 800_000: 1})))
    assert len(refused.where) < 250
    assert len(str(refused)) < 500
    deep = body(facts={"name" * 9: {"name" * 9: {"name" * 9: [[{"name" * 9: [float("nan")]}]]}}})
    assert len(refusal(with_body({"facts": {"x" * 40: {"y" * 40: deep}}})).where) <= 200


def test_what_is_deep_and_what_is_wide_but_allowed_is_read() -> None:
    assert decode(with_body(nested(MAX_DEPTH - 1)))
    wide = body(facts={f"f{n}": [{}] for n in range(MAX_DEPTH * 10)})
    assert decode(with_body(wide))
    big = body(facts={"n": 10**4000})
    read = decode(with_body(big))
    assert decode(as_record(encode("x", 0, read)), is_sole_writer=True) == read


def as_record(draft: Any) -> Record:
    """The record that a draft becomes."""
    return Record(draft.topic, draft.partition, 0, 0, draft.key, draft.value, draft.headers)


HEADERS: list[tuple[str, dict[str, bytes | None], str, str]] = [
    ("content type", {"content_type": b"text/plain"}, "CONTENT_TYPE", "content-type"),
    ("spec version", {"ce_specversion": b"0.3"}, "SPEC_VERSION", "ce_specversion"),
    ("not UTF-8", {"ce_id": b"\xff"}, "HEADER_TEXT", "ce_id"),
    ("a control", {"ce_id": b"a\x00b"}, "HEADER_TEXT", "ce_id"),
    ("a direction mark", {"ce_correlationid": "a\u202eb".encode()}, "HEADER_TEXT",
     "ce_correlationid"),
    ("long", {"ce_source": b"s" * (MAX_ATTRIBUTE_CHARS + 1)}, "HEADER_LENGTH", "ce_source"),
    ("no id", {"ce_id": None}, "HEADER_MISSING", "ce_id"),
    ("empty id", {"ce_id": b""}, "HEADER_MISSING", "ce_id"),
    ("no source", {"ce_source": None}, "HEADER_MISSING", "ce_source"),
    ("no type", {"ce_type": None, "ce_dataschema": None}, "contract.unknown_event_type", "ce_type"),
    ("unknown type", {"ce_type": b"case.eat", "ce_dataschema": None},
     "contract.unknown_event_type", "ce_type"),
    ("unknown version", {"ce_dataschema": b"urn:caseway:schema:case.submit:2"},
     "contract.unknown_event_type", "ce_type"),
    ("schema of another type", {"ce_dataschema": b"urn:caseway:schema:case.amend:1"},
     "SCHEMA_FORMAT", "ce_dataschema"),
    ("schema 0", {"ce_dataschema": b"urn:caseway:schema:case.submit:0"}, "SCHEMA_FORMAT",
     "ce_dataschema"),
    ("schema without end", {"ce_dataschema": b"urn:caseway:schema:case.submit:" + b"1" * 900},
     "SCHEMA_FORMAT", "ce_dataschema"),
    ("hops in words", {"ce_hops": b"many"}, "HEADER_NUMBER", "ce_hops"),
    ("hops below", {"ce_hops": b"-1"}, "HEADER_NUMBER", "ce_hops"),
    ("hops without end", {"ce_hops": b"9" * 19}, "HEADER_NUMBER", "ce_hops"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code", "where"), [row[1:] for row in HEADERS], ids=[row[0] for row in HEADERS]
)
def test_a_bad_header_is_refused_with_its_name(
    changes: dict[str, bytes | None], code: str, where: str
) -> None:
    refused = refusal(with_headers(**changes))
    assert (refused.code, refused.where) == (code, where)


@pytest.mark.parametrize("name", ["ce_id", "content-type", "ce_datacontenttype"])
def test_a_header_that_stands_twice_is_refused(name: str) -> None:
    value = dict(GOOD.headers).get(name, b"application/json")
    twice = GOOD._replace(headers=(*GOOD.headers, (name, value)))
    assert refusal(twice).code == "HEADER_TWICE"


def test_a_header_without_a_value_is_refused() -> None:
    for name in ("ce_skill", "ce_mine", "traceparent"):
        refused = refusal(GOOD._replace(headers=(*GOOD.headers, (name, None))))
        assert (refused.code, refused.where) == ("HEADER_TEXT", name)
        assert "has no value" in str(refused)
    assert type_of(GOOD._replace(headers=(("ce_type", None),))) == ""


@pytest.mark.parametrize("name", ["a\udcff", "ce_\udcff", "a\x00b", "a\u202eb"])
def test_a_header_whose_name_is_no_plain_text_is_refused_in_plain_text(name: str) -> None:
    refused = refusal(GOOD._replace(headers=(*GOOD.headers, (name, b"1"))))
    assert refused.code == "HEADER_TEXT"
    assert "rename it" in str(refused)
    assert (str(refused) + refused.where).isprintable()


def test_as_many_headers_as_anybody_needs_are_read() -> None:
    room = MAX_HEADERS - len(GOOD.headers)
    others = tuple((f"x-{n}", b"\xff") for n in range(room + 1))
    assert decode(GOOD._replace(headers=GOOD.headers + others[:room]))
    assert refusal(GOOD._replace(headers=GOOD.headers + others)).code == "HEADER_COUNT"


def test_a_signature_may_be_longer_than_other_headers() -> None:
    signed = with_headers(ce_dssematerial=b"s" * 5000)
    assert len(decode(signed).envelope.signature) == 5000


@pytest.mark.parametrize("key", [None, b"\xff"])
def test_a_record_needs_a_key_that_is_text(key: bytes | None) -> None:
    refused = refusal(GOOD._replace(key=key))
    assert (refused.code, refused.where) == ("KEY_FORMAT", "key")


@pytest.mark.parametrize("value", [None, b""])
def test_a_tombstone_is_empty(value: bytes | None) -> None:
    assert refusal(GOOD._replace(value=value)).code == "BODY_EMPTY"


def test_what_a_stranger_claims_of_its_own_strength_is_read_and_proves_nothing() -> None:
    assert decode(with_headers(ce_authstrength=b"god")).envelope.strength is Strength.UNVERIFIED


def test_the_surface_is_what_was_sent() -> None:
    event, raw = decode_raw(GOOD)
    assert raw.data == GOOD.value
    assert raw.attributes["type"] == event.envelope.type == type_of(GOOD)
    assert raw.attributes["datacontenttype"] == "application/json"


# -- what a log says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "newer",
    [
        with_headers(record=LOGGED, ce_type=b"case.paused", ce_dataschema=None),
        with_headers(record=LOGGED, ce_dataschema=b"urn:caseway:schema:case.opened:2"),
        with_body({**body(LOGGED), "urgency": "high"}, LOGGED),
    ],
    ids=["type", "version", "field"],
)
def test_a_log_that_is_newer_than_the_code_makes_it_wait(newer: Record) -> None:
    with pytest.raises(CodeTooOld, match=r"golden/0@0: .* deploy a newer version"):
        decode(newer, is_sole_writer=True)
    assert refusal(newer).code in ("contract.unknown_event_type", "UNKNOWN_FIELD")


def test_a_log_that_is_damaged_does_not_pass_for_a_newer_one() -> None:
    for value in (b"{", {**body(LOGGED), "title": 7}, body(LOGGED, title=None)):
        with pytest.raises(ContractError):
            decode(with_body(value, LOGGED), is_sole_writer=True)


def test_an_older_version_is_lifted_on_a_log_too() -> None:
    old = record_of(golden_of("task.complete", 1))
    assert decode(old, is_sole_writer=True).data == decode(old).data


@pytest.mark.parametrize("confidence", ["0.93", True, None, -0.1, 1.1, 10**400])
def test_a_confidence_of_version_1_was_a_number_from_0_to_1(confidence: Any) -> None:
    old = record_of(golden_of("task.complete", 1))
    assert old.value is not None
    bad = {**json.loads(old.value), "confidence": confidence}
    assert refusal(with_body(bad, old)).code == "CONFIDENCE_RANGE"


@pytest.mark.parametrize("value", [b"[]", b"7", b'"text"', b"null"])
def test_an_older_version_that_is_no_object_is_refused(value: bytes) -> None:
    assert refusal(with_body(value, record_of(golden_of("task.complete", 1)))).code == (
        "JSON_INVALID"
    )


# -- structured mode ------------------------------------------------------------------------------


def structured(record: Record = GOOD, **changes: Any) -> Record:
    """The same event as one JSON document; None takes a member away."""
    whole = {
        name.removeprefix("ce_"): value.decode()
        for name, value in record.headers
        if name != "content-type"
    }
    whole |= {"datacontenttype": "application/json", "data": body(record), **changes}
    kept = {name: value for name, value in whole.items() if value is not None}
    content_type = f"{STRUCTURED.upper()}; charset=utf-8".encode()
    return with_body(kept)._replace(headers=(("content-type", content_type),))


def test_structured_mode_says_the_same_event() -> None:
    assert decode(structured()) == decode(GOOD)
    typed = structured(sequence=7, hops=2, ce_flag=True, tracestate=None)
    assert decode(typed) == decode(GOOD)


def test_signed_bytes_travel_in_structured_mode_as_base64() -> None:
    assert GOOD.value is not None
    encoded = base64.b64encode(GOOD.value).decode()
    event, raw = decode_raw(structured(data=None, data_base64=encoded, dssematerial="s" * 2000))
    assert raw.data == GOOD.value
    assert event.envelope.signature == "s" * 2000


def test_data_that_is_written_anew_carries_no_signature() -> None:
    assert decode(structured(dssematerial="s")).envelope.signature == ""


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (structured(data=None), "JSON_INVALID"),
        (structured(data_base64="e30="), "JSON_INVALID"),
        (structured(data=None, data_base64="*"), "JSON_INVALID"),
        (structured(data=None, data_base64=7), "JSON_INVALID"),
        (structured(data=None, data_base64="\u00e9"), "JSON_INVALID"),
        (structured(data=[1]), "JSON_INVALID"),
        (structured(specversion="0.3"), "SPEC_VERSION"),
        (structured(datacontenttype="text/xml"), "CONTENT_TYPE"),
        (structured(datacontenttype=STRUCTURED), "CONTENT_TYPE"),
        (structured(source={"a": 1}), "HEADER_TEXT"),
        (structured(source=1.5), "HEADER_TEXT"),
        (structured(source="a\nb"), "HEADER_TEXT"),
        (structured(source="s" * 2000), "HEADER_LENGTH"),
        (structured(id=None), "HEADER_MISSING"),
        (structured(type="case.eat", dataschema=None), "contract.unknown_event_type"),
        (structured()._replace(value=b"[]"), "JSON_INVALID"),
        (structured()._replace(value=b"{"), "JSON_INVALID"),
        (structured(data=body(definition=None)), "FIELD_MISSING"),
    ],
)
def test_a_bad_structured_event_is_refused(record: Record, code: str) -> None:
    assert refusal(record).code == code


# -- nothing else is ever raised ------------------------------------------------------------------

NAMES = st.sampled_from([*ATTRIBUTES, "content-type", "ce_type", "ce_dataschema", "ce_subject"])
CONTENT_TYPES = st.sampled_from([b"application/json", STRUCTURED.encode()])
ODD_BODIES = st.one_of(
    st.binary(max_size=80),
    ANY_JSON.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda field, value: json.dumps({**body(RESULT), field: value}).encode(),
        st.sampled_from(sorted(body(RESULT))) | st.text(max_size=4),
        ANY_JSON,
    ),
)


@settings(max_examples=400, deadline=None, database=None)
@given(
    key=st.none() | st.binary(max_size=9),
    value=st.none() | ODD_BODIES,
    name=st.sampled_from(sorted(CATALOG)) | st.text(max_size=5),
    version=st.none() | st.integers(0, 3) | st.text(max_size=3),
    headers=st.lists(st.tuples(NAMES | st.text(max_size=5), st.binary(max_size=9)), max_size=5),
    content_type=CONTENT_TYPES,
    is_sole_writer=st.booleans(),
)
def test_whatever_comes_is_read_or_refused(
    *,
    key: bytes | None,
    value: bytes | None,
    name: str,
    version: int | str | None,
    headers: list[tuple[str, bytes]],
    content_type: bytes,
    is_sole_writer: bool,
) -> None:
    type_header = name.encode("utf-8", "surrogatepass")
    said = [("content-type", content_type), ("ce_type", type_header), ("ce_id", b"1")]
    if version is not None:
        said.append(
            ("ce_dataschema", f"urn:caseway:schema:{name}:{version}".encode("utf-8", "replace"))
        )
    said += [("ce_source", b"/x"), *headers]
    record = Record("golden", 0, 0, 0, key, value, tuple(said))
    said_of_it = ("fine", "")
    try:
        event = decode(record, is_sole_writer=is_sole_writer)
        again = encode("golden", 0, event)
        assert decode(as_record(again), is_sole_writer=True).data == event.data
    except ContractError as refused:
        said_of_it = (refused.code, refused.where)
        f"{refused}{refused.where}".encode()  # it goes into a dead letter: it has to be writable
    except CodeTooOld:
        said_of_it = ("waits" if is_sole_writer else ContractError.code, "")
    assert said_of_it[0] != ContractError.code
    assert len(said_of_it[1]) <= 200


@settings(max_examples=300, deadline=None, database=None)
@given(value=st.binary(max_size=60) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_json_is_read_as_it_is_or_refused(value: bytes) -> None:
    try:
        parsed = parse_json(value)
    except ContractError:
        return
    assert json.loads(value.decode()) == parsed


def test_the_example_is_a_submission() -> None:
    event = decode(GOOD)
    assert isinstance(event, Event)
    assert isinstance(event.data, SubmitCase)
    assert event == example("case.submit")
