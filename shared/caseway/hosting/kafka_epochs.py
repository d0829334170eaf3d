"""Teaches the Kafka client EndTxn version 5, so that no late commit can end a later transaction.

The client sends version 0, under which a producer keeps its epoch from one transaction to the
next: an EndTxn that strayed in the network, was repeated by the client and arrives during the next
transaction ends that one, half written. From version 5 on (KIP-890) the broker raises the epoch
with every transaction and answers with the new one; whatever comes late has an old epoch and is
refused. A broker before 4.0 offers no version 5; there the client goes on with version 0.

Rests on private names of the pinned client, which a contract test guards.
"""

from __future__ import annotations

from typing import Any, ClassVar

from aiokafka.errors import ProducerFenced
from aiokafka.producer import sender as aiokafka_sender
from aiokafka.producer.transaction_manager import PidAndEpoch
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.transaction import EndTxnRequest_v0
from aiokafka.protocol.types import (
    Boolean,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

_PRODUCER_FENCED = 90


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
        ("transactional_id", CompactString("utf-8")),
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


def teach() -> None:
    """From now on every transactional producer of this process raises its epoch."""
    aiokafka_sender.EndTxnHandler = EpochEndTxnHandler
