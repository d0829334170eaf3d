"""Teaches the Kafka client the second version of transactions (KIP-890), where a cluster has it.

Of itself the client sends EndTxn version 0, under which a producer keeps its epoch from one
transaction to the next: an EndTxn that strayed in the network, was repeated by the client and
arrives during the next transaction ends that one, half written. From version 5 on the broker raises
the epoch with every transaction and answers with the new one; whatever comes late has an old epoch
and is refused. A broker before 4.0 offers no version 5; there the client goes on with version 0.

Where `transaction.version` 2 is finalised, a partition also joins the transaction with the first
record produced to it (Produce version 12), and nobody has to ask for it beforehand: that saves one
of the three requests that a commit is made of.

Rests on private names of the pinned client, which a contract test guards.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    ConcurrentTransactions,
    InvalidProducerEpoch,
    NotEnoughReplicasError,
    ProducerFenced,
)
from aiokafka.producer import producer as aiokafka_producer
from aiokafka.producer import sender as aiokafka_sender
from aiokafka.producer.transaction_manager import PidAndEpoch, TransactionManager
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.transaction import EndTxnRequest_v0
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from caseway.hosting.kafka_features import finalized_features

_FEATURE, _LEVEL = "transaction.version", 2
_PRODUCER_FENCED = 90
# Errors of joining, and what brokers answer to clients that do not know them.
_AS_BEFORE = {
    # The transaction before is not quite complete: try again.
    ConcurrentTransactions.errno: NotEnoughReplicasError.errno,
    _PRODUCER_FENCED: InvalidProducerEpoch.errno,
}
_text = CompactString("utf-8")


class EndTxnResponse5(Response):  # type: ignore[misc]
    """Says under which id and epoch the next transaction runs."""

    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class EndTxnRequest5(RequestStruct):  # type: ignore[misc]
    """The same question as version 0, in the flexible encoding."""

    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 26
    API_VERSION = 5
    RESPONSE_TYPE = EndTxnResponse5
    SCHEMA = Schema(
        ("transactional_id", _text),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("committed", Boolean),
        ("tags", TaggedFields),
    )


class EndTxnRequest(Request[EndTxnRequest_v0 | EndTxnRequest5]):  # type: ignore[misc]
    """The newest version that the broker at hand knows."""

    API_KEY = 26

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: type[Any]) -> Any:
        """The request in one version."""
        is_flexible = request_struct_class.API_VERSION >= 5
        return request_struct_class(*self._fields, *([{}] if is_flexible else []))


class EpochEndTxnHandler(aiokafka_sender.EndTxnHandler):  # type: ignore[misc]
    """Ends a transaction and goes on under the epoch that the broker answers with."""

    def create_request(self) -> EndTxnRequest:
        """The end of the transaction in hand."""
        manager = self._sender._txn_manager
        return EndTxnRequest(
            manager.transactional_id,
            manager.producer_id,
            manager.producer_epoch,
            bool(self._commit_result),
        )

    def handle_response(self, resp: Any) -> Any:
        """Adopt the new epoch, under which every sequence begins at zero."""
        if resp.error_code == _PRODUCER_FENCED:
            raise ProducerFenced
        if resp.error_code == 0 and resp.API_VERSION >= 5:
            manager = self._sender._txn_manager
            manager._pid_and_epoch = PidAndEpoch(resp.producer_id, resp.producer_epoch)
            manager._sequence_numbers.clear()
        return super().handle_response(resp)


class ProduceResponse12(Response):  # type: ignore[misc]
    """Offset and append time for every partition, or its error."""

    API_KEY = 0
    API_VERSION = 12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", _text),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("offset", Int64),
                        ("timestamp", Int64),
                        ("log_start_offset", Int64),
                        (
                            "record_errors",
                            CompactArray(
                                ("batch_index", Int32), ("message", _text), ("tags", TaggedFields)
                            ),
                        ),
                        ("error_message", _text),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class ProduceRequest12(RequestStruct):  # type: ignore[misc]
    """The same records as in version 3; what they are produced to joins the transaction."""

    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 0
    API_VERSION = 12
    RESPONSE_TYPE = ProduceResponse12
    SCHEMA = Schema(
        ("transactional_id", _text),
        ("required_acks", Int16),
        ("timeout", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _text),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32), ("messages", CompactBytes), ("tags", TaggedFields)
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class JoiningProduceRequest(Request[ProduceRequest12]):  # type: ignore[misc]
    """Of one version alone: an older one would write into a transaction without joining it."""

    API_KEY = 0

    def __init__(self, plain: Any) -> None:
        self.required_acks = plain.required_acks
        self._fields = (plain._transactional_id, plain._required_acks, plain._timeout)
        self._topics: list[Any] = [
            (topic, [(number, bytes(batch), {}) for number, batch in partitions], {})
            for topic, partitions in plain._topics
        ]

    def build(self, request_struct_class: type[Any]) -> Any:
        """The request in its one version."""
        return request_struct_class(*self._fields, self._topics, {})


class _PlainResponse(NamedTuple):
    """An answer in the shape in which the client reads version 7."""

    topics: list[tuple[str, list[tuple[int, int, int, int, int]]]]
    API_VERSION: int = 7


class JoiningProduceHandler(aiokafka_sender.SendProduceReqHandler):  # type: ignore[misc]
    """Produces so that partitions join the transaction, if this producer's cluster has that."""

    def create_request(self) -> Any:
        """The request that the client makes, in the version that joins."""
        plain = super().create_request()
        manager = self._sender._txn_manager
        is_joining = isinstance(manager, Transactions) and manager.is_joining
        return JoiningProduceRequest(plain) if is_joining else plain

    def handle_response(self, response: Any) -> None:
        """What the broker says of joining, in errors that the client knows to repeat or not."""
        if response.API_VERSION == ProduceRequest12.API_VERSION:
            response = _PlainResponse(
                [(topic, [_plain(*p) for p in some]) for topic, some, _ in response.topics]
            )
        super().handle_response(response)


def _plain(number: int, error: int, *rest: Any) -> tuple[int, int, int, int, int]:
    offset, timestamp, log_start = rest[:3]
    return number, _AS_BEFORE.get(error, error), offset, timestamp, log_start


class Transactions(TransactionManager):  # type: ignore[misc]
    """The client's state of a transaction; when `is_joining`, producing alone adds a partition."""

    is_joining = False

    def maybe_add_partition_to_txn(self, tp: TopicPartition) -> None:
        """Count the partition as part of the transaction, or have it asked for."""
        if self.is_joining:
            assert self.is_in_transaction()
            self._txn_partitions.add(tp)
        else:
            super().maybe_add_partition_to_txn(tp)


async def use_newest(producer: AIOKafkaProducer) -> None:
    """Let a started transactional producer save the request, if the cluster has finalised it."""
    features = await finalized_features(producer.client)
    producer._txn_manager.is_joining = features.get(_FEATURE, 0) >= _LEVEL


def teach() -> None:
    """From now on every transactional producer of this process raises its epoch."""
    aiokafka_producer.TransactionManager = Transactions
    aiokafka_sender.EndTxnHandler = EpochEndTxnHandler
    aiokafka_sender.SendProduceReqHandler = JoiningProduceHandler
