"""A record of our own is read by shorter ways than a stranger's, and says the same by all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseway.contracts.codec import Event, data_of, decode, decode_raw
from caseway.contracts.envelope import ATTRIBUTES
from caseway.contracts.record import Record
from caseway.errors import CasewayError
from tests.contracts.golden_files import golden_files, record_of

RECORDS = [record_of(golden) for golden in golden_files()]
NAMES = st.sampled_from([*ATTRIBUTES, "ce_type", "ce_dataschema", "content-type", "x", "ce_x"])
VALUES = st.none() | st.sampled_from([b"", b"0", b"7", b"-1", b"1" * 19, b"\xff", "٣".encode()])
HEADERS = st.tuples(NAMES, VALUES)


def verdict(read: Any, record: Record) -> Any:
    """The event, or the error's kind, code and words."""
    try:
        return read(record, is_sole_writer=True)
    except CasewayError as error:
        return type(error), error.code, str(error)


def by_the_long_way(record: Record, *, is_sole_writer: bool) -> Any:
    """What a reader says who also wants the signed surface."""
    return decode_raw(record, is_sole_writer=is_sole_writer)[0]


def assert_same(record: Record) -> None:
    """Both ways say the same of this record, and the data alone is what both have."""
    said = verdict(by_the_long_way, record)
    assert verdict(decode, record) == said
    if isinstance(said, Event):
        assert data_of(record) == said.data


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: dict(r.headers)["ce_dataschema"].decode())
def test_every_version_ever_released_reads_the_same(record: Record) -> None:
    assert_same(record)


@given(
    st.sampled_from(RECORDS),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 1), HEADERS), max_size=3),
    st.booleans(),
)
def test_headers_of_any_layout_read_the_same(
    record: Record, edits: list[tuple[int, int, tuple[str, bytes | None]]], is_reversed: bool
) -> None:
    headers = list(record.headers)
    for at, taken, header in edits:
        headers[at : at + taken] = [header]
    if is_reversed:
        headers[4:] = reversed(headers[4:])
    assert_same(record._replace(headers=tuple(headers)))


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"c-1"])
@pytest.mark.parametrize("value", [None, b"", b"[]", b'{"newer": 1}', b" " * 900_001])
def test_any_key_and_body_read_the_same(key: bytes | None, value: bytes | None) -> None:
    assert_same(RECORDS[0]._replace(key=key))
    assert_same(RECORDS[0]._replace(value=value))


@pytest.mark.parametrize("value", [None, b"", b"[]", b'{"newer": 1}', b" " * 900_001])
def test_data_that_cannot_be_read_is_refused_alone_too(value: bytes | None) -> None:
    record = RECORDS[0]._replace(value=value)
    with pytest.raises(CasewayError) as refused:
        data_of(record)
    assert (type(refused.value), refused.value.code, str(refused.value)) == verdict(decode, record)
