"""Asks a Kafka cluster which of its features are in force; the client does not.

A broker that knows a feature may stand beside one that does not, in mid-upgrade: only what the
cluster has finalised may be used (KIP-584). Version 3 of ApiVersions says it, in tagged fields.
Rests on private names of the pinned client, which a contract test guards.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, ClassVar

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import ApiVersionRequest_v2
from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

_text = CompactString("utf-8")
_FINALIZED = 2  # the tag of the features in force
_LEVELS = CompactArray(
    ("name", _text), ("max_level", Int16), ("min_level", Int16), ("tags", TaggedFields)
)


class ApiVersionResponse3(Response):  # type: ignore[misc]
    """The versions of every request; features lie in the tags."""

    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "api_versions",
            CompactArray(
                ("api_key", Int16),
                ("min_version", Int16),
                ("max_version", Int16),
                ("tags", TaggedFields),
            ),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class ApiVersionRequest3(RequestStruct):  # type: ignore[misc]
    """Asks under a name, as Kafka demands from version 3 on."""

    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 18
    API_VERSION = 3
    RESPONSE_TYPE = ApiVersionResponse3
    SCHEMA = Schema(("software", _text), ("software_version", _text), ("tags", TaggedFields))

    def parse_response_header(self, read_buffer: BytesIO | bytes) -> ResponseHeader_v0:
        """Of all flexible answers this one alone has the old header (KIP-511)."""
        return ResponseHeader_v0.decode(read_buffer)


class ApiVersionRequest(Request[ApiVersionRequest_v2 | ApiVersionRequest3]):  # type: ignore[misc]
    """The newest version that the broker at hand knows; before 3 there are no features."""

    API_KEY = 18

    def build(self, request_struct_class: type[Any]) -> Any:
        """The request in one version."""
        if request_struct_class.API_VERSION < 3:
            return request_struct_class()
        return request_struct_class("caseway", "1", {})


async def finalized_features(client: AIOKafkaClient) -> Mapping[str, int]:
    """The level of every feature that the whole cluster has finalised, as one broker knows it."""
    answer = await client.send(client.get_random_node(), ApiVersionRequest())
    if answer.API_VERSION < 3 or _FINALIZED not in answer.tags:
        return {}
    levels = _LEVELS.decode(BytesIO(answer.tags[_FINALIZED])) or ()
    return {name: max_level for name, max_level, _, _ in levels}
