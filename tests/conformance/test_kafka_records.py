"""Headers that no client of ours writes and any stranger can: read, and not the end of a reader."""

from __future__ import annotations

import struct
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.consumer import fetcher
from aiokafka.record.util import calc_crc32c

from caseway.contracts import topics
from caseway.contracts.codec import decode
from caseway.errors import ContractError
from caseway.hosting.bounds import check_inbound_size
from caseway.hosting.kafka_log import KafkaLog
from caseway.hosting.kafka_records import UNPACKED_BYTES_MAX, ReadableRecords
from caseway_audit.sealing import leaf_bytes
from tests.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PLACE = (topics.SUBMISSIONS.name, 0)
# What the client takes for a name, and what is made of its bytes before they are sent.
NAME, RAW = b"xxxx", b"x\xff\x00x"
_CRC_AT, _CRC_OF = 17, 21


@pytest.fixture
async def log(broker: Broker) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(broker.bootstrap, f"h{uuid.uuid4().hex[:8]}", 1)
    await log.create_topics(topics.FIXED_TOPICS)
    yield log
    await log.close()


async def send(
    log: KafkaLog, headers: list[list[tuple[str, bytes | None]]], **options: Any
) -> None:
    """One batch with a record for each of these, the names as raw bytes."""
    producer = AIOKafkaProducer(bootstrap_servers=log._bootstrap, **options)
    await producer.start()
    try:
        batch = producer.create_batch()
        for number, some in enumerate(headers):
            batch.append(key=b"k", value=b"%d" % number, timestamp=None, headers=some)
        raw = bytearray(batch._build().replace(NAME, RAW))
        struct.pack_into(">I", raw, _CRC_AT, calc_crc32c(bytes(raw[_CRC_OF:])))
        batch._buffer = bytes(raw)
        await (await producer.send_batch(batch, f"{log._namespace}.{PLACE[0]}", partition=0))
    finally:
        await producer.stop()


async def read(log: KafkaLog) -> list[Any]:
    """All of the topic by a feed, which has to be what a scan finds."""
    feed = await log.feed()
    try:
        await feed.seek({PLACE: 0})
        found: list[Any] = []
        end = await log.end(PLACE)
        while not found or found[-1].offset + 1 < end:
            found += (await feed.fetch(0.5)).get(PLACE, ())
    finally:
        await feed.close()
    assert (await log.scan(PLACE, 0)).records == found
    return found


async def test_a_name_that_is_no_text_ends_no_reader_and_is_sealed_byte_for_byte(
    log: KafkaLog,
) -> None:
    await send(log, [[("fine", b"1")], [(NAME.decode(), b"2")], [("fine", b"3")]])
    await send(log, [[("fine", b"4")]])
    found = await read(log)
    assert [record.value for record in found] == [b"0", b"1", b"2", b"0"]
    ((name, value),) = found[1].headers
    assert (name.encode(errors="surrogateescape"), value) == (RAW, b"2")
    assert RAW in leaf_bytes(found[1])
    with pytest.raises(ContractError, match="not plain text") as refused:
        decode(found[1])
    assert refused.value.code == "HEADER_TEXT"
    assert (str(refused.value) + refused.value.where).isascii()


async def test_a_header_without_a_value_is_not_an_empty_one(log: KafkaLog) -> None:
    await send(log, [[("x", None)], [("x", b"")]])
    none, empty = await read(log)
    assert (none.headers, empty.headers) == ((("x", None),), (("x", b""),))
    assert leaf_bytes(none._replace(value=b"")) != leaf_bytes(empty._replace(value=b""))


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
async def test_a_batch_that_unpacks_to_too_much_is_one_record_too_large(
    log: KafkaLog, codec: str
) -> None:
    sizes = {"max_batch_size": 2 * UNPACKED_BYTES_MAX, "max_request_size": 2 * UNPACKED_BYTES_MAX}
    bomb = [[("fine", bytes(UNPACKED_BYTES_MAX // 4))]] * 4
    await send(log, bomb, compression_type=codec, **sizes)
    await send(log, [[("fine", b"1")]])
    found = await read(log)
    assert [record.offset for record in found] == [3, 4]
    with pytest.raises(ContractError, match="store large evidence") as refused:
        check_inbound_size(found[0])
    assert refused.value.code == "BODY_TOO_LARGE"
    assert found[0].at_ms <= found[1].at_ms


async def test_a_batch_just_within_is_read(log: KafkaLog) -> None:
    sizes = {"max_batch_size": 2 * UNPACKED_BYTES_MAX, "max_request_size": 2 * UNPACKED_BYTES_MAX}
    nearly = [[("fine", bytes(UNPACKED_BYTES_MAX // 4 - 100))]] * 4
    await send(log, nearly, compression_type="zstd", **sizes)
    assert [len(record.headers[0][1]) for record in await read(log)] == [
        UNPACKED_BYTES_MAX // 4 - 100
    ] * 4


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_a_batch_is_read_whatever_packs_it(log: KafkaLog, codec: str | None) -> None:
    await send(log, [[("fine", b"v" * 200)]] * 20, compression_type=codec)
    assert [record.value for record in await read(log)] == [b"%d" % n for n in range(20)]


def test_the_client_reads_by_our_class_and_still_names_what_we_rest_on() -> None:
    assert fetcher.MemoryRecords is ReadableRecords
