"""Bounds what a producer that is none of our services may write a second, by Kafka's own quotas.

Records of a partition are decided in their order, so whoever floods a topic makes all behind it
wait; only the broker can slow a sender down. A quota is held by client id: it stops a runaway,
not a liar. A cluster that authenticates its clients holds the same quota by user as well.

The client speaks neither AlterClientQuotas nor DescribeClientQuotas; both are added here in
version 1, which every broker since 2.8 knows. Rests on private names of the pinned client, which
a contract test guards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Float64,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from caseway.errors import Unavailable
from caseway.hosting.kafka_calls import CALL_S, bounded

_CLIENT_ID, _RATE = "client-id", "producer_byte_rate"
_ANY = 2  # the match type that takes every entity of its type, the default one too
# Kafka knows no "none" beside a default; more than a broker ever takes in a second.
UNBOUNDED = float(1 << 50)

_text = CompactString("utf-8")
_entity = CompactArray(("type", _text), ("name", _text), ("tags", TaggedFields))


class AlterClientQuotasResponse1(Response):  # type: ignore[misc]
    """Says for every entity whether its quota was taken."""

    API_KEY = 49
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "entries",
            CompactArray(
                ("error_code", Int16),
                ("error_message", _text),
                ("entity", _entity),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class AlterClientQuotasRequest1(RequestStruct):  # type: ignore[misc]
    """Sets or removes quotas of some entities."""

    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 49
    API_VERSION = 1
    RESPONSE_TYPE = AlterClientQuotasResponse1
    SCHEMA = Schema(
        (
            "entries",
            CompactArray(
                ("entity", _entity),
                (
                    "ops",
                    CompactArray(
                        ("key", _text),
                        ("value", Float64),
                        ("remove", Boolean),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("validate_only", Boolean),
        ("tags", TaggedFields),
    )


class AlterClientQuotasRequest(Request[AlterClientQuotasRequest1]):  # type: ignore[misc]
    """The producers' byte rate of some client ids; None takes a quota away.

    The client id None is the default: every id without a quota of its own.
    """

    API_KEY = 49

    def __init__(self, rates: Mapping[str | None, float | None]) -> None:
        self._rates = rates

    def build(self, request_struct_class: type[AlterClientQuotasRequest1]) -> Any:
        """The request in the one version."""
        entries: list[Any] = [
            ([(_CLIENT_ID, name, {})], [(_RATE, rate or 0.0, rate is None, {})], {})
            for name, rate in self._rates.items()
        ]
        return request_struct_class(entries, False, {})


class DescribeClientQuotasResponse1(Response):  # type: ignore[misc]
    """The quotas of the entities that match."""

    API_KEY = 48
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", _text),
        (
            "entries",
            CompactArray(
                ("entity", _entity),
                (
                    "values",
                    CompactArray(("key", _text), ("value", Float64), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeClientQuotasRequest1(RequestStruct):  # type: ignore[misc]
    """Asks for the quotas of all entities of some types."""

    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 48
    API_VERSION = 1
    RESPONSE_TYPE = DescribeClientQuotasResponse1
    SCHEMA = Schema(
        (
            "components",
            CompactArray(
                ("type", _text), ("match_type", Int8), ("match", _text), ("tags", TaggedFields)
            ),
        ),
        ("strict", Boolean),
        ("tags", TaggedFields),
    )


class DescribeClientQuotasRequest(Request[DescribeClientQuotasRequest1]):  # type: ignore[misc]
    """What every client id may do, and nothing that is held by user or address."""

    API_KEY = 48

    def build(self, request_struct_class: type[DescribeClientQuotasRequest1]) -> Any:
        """The request in the one version."""
        return request_struct_class([(_CLIENT_ID, _ANY, None, {})], True, {})


async def alter(admin: AIOKafkaAdminClient, rates: Mapping[str | None, float | None]) -> None:
    """Set or take away the producers' byte rates of client ids; None is the default's name.

    Raises:
        Unavailable: the cluster refuses one, or does not know quotas.
    """
    asked = admin._send_request(AlterClientQuotasRequest(rates))
    answer = await bounded(asked, CALL_S, "alter quotas")
    for code, message, _entity, _tags in answer.entries:
        if code != 0:
            raise Unavailable(f"quota not set: {for_code(code).__name__} {message}")


async def describe(admin: AIOKafkaAdminClient) -> Mapping[str | None, float]:
    """The producers' byte rates by client id; None is the name of the default.

    Raises:
        Unavailable: the cluster refuses to say.
    """
    asked = admin._send_request(DescribeClientQuotasRequest())
    answer = await bounded(asked, CALL_S, "describe quotas")
    if answer.error_code != 0:
        name = for_code(answer.error_code).__name__
        raise Unavailable(f"quotas not told: {name} {answer.error_message}")
    return {
        entity[0][1]: value
        for entity, values, _tags in answer.entries or ()
        for key, value, _ in values
        if key == _RATE
    }
