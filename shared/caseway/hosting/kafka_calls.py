"""How every call to the Kafka client is made: one deadline, and every failure is doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalOperation,
    KafkaError,
    ProducerFenced,
)

from caseway.contracts.record import Record
from caseway.errors import Fenced, Unavailable
from caseway.hosting.log import Place

T = TypeVar("T")

# For all but a commit; a healthy broker answers within milliseconds.
CALL_S = 15.0
RECORD_BYTES_MAX = 1_048_576


async def bounded(call: Awaitable[T], seconds: float, what: str) -> T:
    """One deadline on every call; every failure of the client is doubt, whatever its class."""
    try:
        async with asyncio.timeout(seconds):
            return await call
    except ProducerFenced as error:
        raise Fenced(f"{what}: another owner took over, or the transaction timed out") from error
    except TimeoutError as error:
        raise Unavailable(f"{what}: no answer within {seconds:g} s") from error
    except (KafkaError, IllegalOperation, ConsumerStoppedError, AssertionError, OSError) as error:
        # aiokafka asserts where its own state machine is broken, and two of its errors are no
        # KafkaError: that too is doubt.
        raise Unavailable(f"{what}: {type(error).__name__}: {error}") from error


async def stop(client: Any) -> None:
    """Close a connection; one that does not close in time is left to the garbage collector."""
    try:
        async with asyncio.timeout(2):
            await client.stop()
    except (TimeoutError, KafkaError, AssertionError, OSError):
        return


def record_of(place: Place, got: Any) -> Record:
    """What the client fetched, as the rest of the house knows it."""
    return Record(
        place[0], place[1], got.offset, got.timestamp, got.key, got.value, tuple(got.headers)
    )
