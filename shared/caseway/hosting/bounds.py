"""What no record may exceed, and where it must lie: whatever is said here can be read again.

Whatever one service says, another may have to park: base64 makes it a third larger, and a
record whose value is beyond MAX_VALUE_BYTES can't be read again. So inputs and decided events
stay below what a parked one may hold; a larger one would halt the shard for ever.
"""

from __future__ import annotations

from caseway.contracts.codec import MAX_VALUE_BYTES
from caseway.contracts.record import Draft, Record
from caseway.errors import ContractError
from caseway.kernel.identity import shard_of

EVENT_BYTES_MAX = 640_000
PARKED_BYTES_MAX = MAX_VALUE_BYTES


def check_inbound_size(record: Record) -> None:
    """Refuse what a stranger sent if it could not be parked: BODY_TOO_LARGE."""
    draft = Draft(record.topic, 0, record.key, record.value, record.headers)
    if draft.size_bytes > EVENT_BYTES_MAX:
        raise ContractError(
            f"a record may have {EVENT_BYTES_MAX} bytes with key and headers; store large "
            "evidence and send a reference",
            code="BODY_TOO_LARGE",
            where="/",
        )


def check_routed(record: Record, shard: int, shards: int) -> None:
    """Refuse a record whose key belongs to another partition: contract.misrouted."""
    if shard_of(record.key or b"", shards) != shard:
        raise ContractError(
            "the key belongs to another partition: set the producer's partitioner to murmur2 "
            "(librdkafka and kcat: topic.partitioner=murmur2_random)",
            code="contract.misrouted",
            where="key",
        )


def check_size(draft: Draft, limit: int) -> None:
    """A record that nobody could write or read again must fail its case and not the shard."""
    if len(draft.key or b"") + len(draft.value or b"") < limit // 2 or draft.size_bytes <= limit:
        return
    raise ContractError(
        f"a record for {draft.topic} would have {draft.size_bytes} bytes; at most {limit}",
        code="EVENT_TOO_LARGE",
    )
