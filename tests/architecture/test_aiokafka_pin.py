"""What the adapter relies on in the Kafka client beyond its public interface, at the exact pin."""

from __future__ import annotations

import asyncio
import math
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, errors
from aiokafka.client import AIOKafkaClient
from aiokafka.producer import sender
from aiokafka.producer.transaction_manager import PidAndEpoch, TransactionManager
from aiokafka.protocol import transaction
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import TopicPartition

from caseway.hosting import kafka_features, kafka_log, kafka_transactions

ROOT = Path(__file__).parents[2]


def test_the_client_is_the_one_that_is_pinned() -> None:
    pinned = re.search(
        r'"aiokafka(?:\[[a-z0-9,]*\])?==([0-9.]+)"',
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
    )
    assert pinned is not None, "the client is pinned exactly"
    assert version("aiokafka") == pinned[1]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("aiokafka==")] == [f"aiokafka=={pinned[1]}"]
    assert f"aiokafka {pinned[1]}" in (ROOT / "docs/decisions.md").read_text(encoding="utf-8")


def test_the_back_off_is_a_global_that_the_client_still_reads() -> None:
    """Without it every commit waits 20 ms for the one before (docs/decisions.md)."""
    assert vars(kafka_log)["aiokafka_sender"] is sender
    assert math.isclose(sender.BACKOFF_OVERRIDE, 0.001)
    assert sender.__file__ is not None
    text = Path(sender.__file__).read_text(encoding="utf-8")
    assert "return BACKOFF_OVERRIDE" in text, "its handler of ConcurrentTransactions reads it"


@pytest.mark.parametrize(
    "name",
    [
        "InitProducerIdRequest",
        "AddPartitionsToTxnRequest",
        "AddOffsetsToTxnRequest",
        "EndTxnRequest",
        "TxnOffsetCommitRequest",
    ],
)
def test_the_transaction_protocol_is_still_the_first_version(name: str) -> None:
    """What it does not speak we teach it: EndTxn version 5 (`hosting/kafka_transactions.py`)."""
    versions = {
        vars(struct)["API_VERSION"]
        for struct in vars(transaction).values()
        if isinstance(struct, type) and struct.__name__.startswith(f"{name}_v")
    }
    assert versions == {0}


async def test_a_client_learns_of_topics_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows the partitions of no others, and to ask for them is no part of its interface."""
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    asked: list[set[str]] = []

    async def update(_cluster: object, topics: set[str]) -> bool:
        asked.append(set(topics))
        return True

    monkeypatch.setattr(client, "_metadata_update", update)
    syncing = asyncio.create_task(client._md_synchronizer())
    client.add_topic("a")
    client.add_topic("b")
    await client.force_metadata_update()
    syncing.cancel()
    assert asked[-1] == {"a", "b"}
    assert client.cluster.partitions_for_topic("a") is None


def test_a_lost_fence_is_an_error_of_its_own() -> None:
    assert issubclass(errors.ProducerFenced, errors.KafkaError)
    assert errors.for_code(errors.InvalidProducerEpoch.errno) is errors.InvalidProducerEpoch


async def test_the_client_ends_transactions_with_what_we_taught_it() -> None:
    """It looks the handler up by its name in its own module, at every end of a transaction."""
    assert vars(kafka_log)["kafka_transactions"] is kafka_transactions
    assert sender.EndTxnHandler is kafka_transactions.EpochEndTxnHandler
    assert "EndTxnHandler" in sender.Sender._do_txn_commit.__code__.co_names
    assert sender.SendProduceReqHandler is kafka_transactions.JoiningProduceHandler
    assert "SendProduceReqHandler" in sender.Sender._send_produce_req.__code__.co_names
    assert "TransactionManager" in AIOKafkaProducer.__init__.__code__.co_names
    producer = AIOKafkaProducer(transactional_id="id")
    assert isinstance(producer._txn_manager, kafka_transactions.Transactions)
    await producer.stop()
    manager = TransactionManager("id", 1000)
    assert manager._pid_and_epoch == PidAndEpoch(-1, -1)
    assert manager._sequence_numbers == {}
    assert manager._txn_partitions == set()


@pytest.mark.parametrize(("newest", "version"), [(3, 0), (4, 0), (5, 5), (9, 5)])
def test_the_newest_version_of_endtxn_that_the_broker_knows_is_sent(
    newest: int, version: int
) -> None:
    request = kafka_transactions.EndTxnRequest("router.0", 7, 3, True).prepare({26: (0, newest)})
    assert version == request.API_VERSION
    encoded = request.encode()
    assert encoded.startswith(b"\x09router.0" if version else b"\x00\x08router.0")
    assert encoded.endswith(b"\x00\x03\x01\x00" if version else b"\x00\x03\x01")


@pytest.mark.parametrize(("newest", "version"), [(2, 2), (3, 3), (4, 3)])
def test_features_are_asked_for_as_soon_as_a_broker_knows_them(newest: int, version: int) -> None:
    request = kafka_features.ApiVersionRequest().prepare({18: (0, newest)})
    assert version == request.API_VERSION
    assert request.encode() == (b"\x08caseway\x021\x00" if version == 3 else b"")


def test_a_request_that_joins_is_of_one_version_alone() -> None:
    """An older one would write into a transaction that its partition is no part of."""
    plain = ProduceRequest("id", -1, 1000, [("cases", [(3, bytearray(b"batch"))])])
    request = kafka_transactions.JoiningProduceRequest(plain)
    assert request.prepare({0: (0, 13)}).encode() == (
        b"\x03id\xff\xff\x00\x00\x03\xe8\x02\x06cases\x02\x00\x00\x00\x03\x06batch\x00\x00\x00"
    )
    with pytest.raises(NotImplementedError):
        request.prepare({0: (0, 11)})


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (0, errors.NoError),
        (errors.ConcurrentTransactions.errno, errors.NotEnoughReplicasError),
        (90, errors.InvalidProducerEpoch),
        (errors.InvalidTxnState.errno, errors.InvalidTxnState),
    ],
)
def test_what_a_broker_says_of_joining_is_known_to_the_client(said: int, heard: type) -> None:
    """The first is tried again; a lost fence is told apart from other doubt."""
    handed_on: list[Any] = []

    class Batch:
        def done(self, *_: Any) -> None:
            handed_on.append(errors.NoError)

        def failure(self, exception: Exception) -> None:
            handed_on.append(type(exception))

    place = TopicPartition("cases", 3)
    handler = kafka_transactions.JoiningProduceHandler(FakeSender(), {place: Batch()})
    answer = kafka_transactions.ProduceResponse12(
        [("cases", [(3, said, 7, -1, 0, [], None, {})], {})], 0, {}
    )
    handler.handle_response(answer)
    if handler._to_reenqueue:
        handed_on.append(errors.NotEnoughReplicasError)
    expected = errors.ProducerFenced if heard is errors.InvalidProducerEpoch else heard
    assert handed_on == [expected]


class FakeSender:
    """What a handler of the client needs of its sender."""

    _retry_backoff = 0.0
    client = None
    _txn_manager = object()
