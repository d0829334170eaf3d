"""Who owns which shards on a real broker: shared out, handed over, and quiet in between."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from caseway.contracts import topics
from caseway.errors import Unavailable
from caseway.hosting import kafka_membership
from caseway.hosting.kafka_log import KafkaLog
from caseway.hosting.kafka_membership import KafkaMembership, _instance, share_out
from caseway.hosting.log import Membership
from tests.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

SHARDS = 4
_MEMBER = """
import asyncio, sys
from caseway.hosting.kafka_log import KafkaLog

async def main(bootstrap, namespace):
    log = KafkaLog(bootstrap, namespace, 4)
    membership = await log.join("router", "b")
    while True:
        print(*sorted(await membership.changes()), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def log(broker: Broker) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(broker.bootstrap, f"m{uuid.uuid4().hex[:8]}", SHARDS)
    await log.create_topics(topics.FIXED_TOPICS)
    yield log
    await log.close()


async def until(membership: Membership, owned: frozenset[int]) -> None:
    async with asyncio.timeout(60):
        while await membership.changes() != owned:
            pass


async def test_a_killed_members_shards_are_taken_over_when_its_session_ends(log: KafkaLog) -> None:
    first = await log.join("router", "a")
    await until(first, frozenset(range(SHARDS)))
    command = [sys.executable, "-c", _MEMBER, log._bootstrap, log._namespace]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        share = frozenset(share_out(SHARDS, ["a", "b"])["a"])
        await until(first, share)
        line = await asyncio.to_thread(child.stdout.readline)
        assert frozenset(map(int, line.split())) == frozenset(range(SHARDS)) - share
        child.kill()
        killed = time.monotonic()
    await until(first, frozenset(range(SHARDS)))
    assert time.monotonic() - killed < 20
    await first.close()


async def test_who_leaves_in_order_hands_its_shards_over_and_does_not_wait_for_its_session(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_membership, "_SESSION_MS", 600_000)
    first, second = await asyncio.gather(log.join("router", "a"), log.join("router", "b"))
    await until(first, frozenset(share_out(SHARDS, ["a", "b"])["a"]))
    await until(second, frozenset(share_out(SHARDS, ["a", "b"])["b"]))
    await second.close()
    await until(first, frozenset(range(SHARDS)))
    await first.close()


async def test_who_is_alone_stays_in_the_group_and_comes_back_without_a_share_out(
    log: KafkaLog,
) -> None:
    """An empty group waits 3 s for more members on a broker as it comes; this one is not empty."""
    alone = await log.join("router", "a")
    await until(alone, frozenset(range(SHARDS)))
    generation = alone._consumer._coordinator.generation  # type: ignore[attr-defined]
    await alone.close()
    again = await log.join("router", "a")
    await until(again, frozenset(range(SHARDS)))
    assert again._consumer._coordinator.generation == generation  # type: ignore[attr-defined]
    await again.close()


async def test_nothing_changes_hands_while_nobody_comes_or_goes(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker asks for a new share at every heartbeat where metadata changes: ours must not."""
    first, second = await asyncio.gather(log.join("router", "a"), log.join("router", "b"))
    shares = share_out(SHARDS, ["a", "b"])
    await until(first, frozenset(shares["a"]))
    await until(second, frozenset(shares["b"]))
    assigned: list[Any] = []

    async def counted(membership: KafkaMembership, some: Any) -> None:
        assigned.append(some)
        await plain(membership, some)

    plain = KafkaMembership.on_partitions_assigned
    monkeypatch.setattr(KafkaMembership, "on_partitions_assigned", counted)
    changes = [asyncio.create_task(m.changes()) for m in (first, second)]
    done, pending = await asyncio.wait(changes, timeout=4)  # eight heartbeats
    assert done == set()
    assert assigned == []
    for task in pending:
        task.cancel()
    await asyncio.gather(*changes, return_exceptions=True)
    await first.close()
    await second.close()


async def test_a_member_that_starts_again_has_the_shards_it_had(log: KafkaLog) -> None:
    first, second = await asyncio.gather(log.join("router", "a"), log.join("router", "b"))
    shares = share_out(SHARDS, ["a", "b"])
    await until(second, frozenset(shares["b"]))
    await until(first, frozenset(shares["a"]))
    await second.close()
    again = await log.join("router", "b")
    await until(again, frozenset(shares["b"]))
    assert first._owned == frozenset(shares["a"])  # type: ignore[attr-defined]
    await first.close()
    await again.close()


async def test_closing_leaves_no_task_behind_although_somebody_still_asks(log: KafkaLog) -> None:
    before = asyncio.all_tasks()
    membership = await log.join("router", "a")
    await until(membership, frozenset(range(SHARDS)))
    asking = asyncio.create_task(membership.changes())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await membership.close()
    async with asyncio.timeout(10):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0)


async def test_a_broker_that_does_not_answer_is_said_and_no_client_is_left() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(Unavailable):
        await KafkaLog("127.0.0.1:9", "n", SHARDS).join("router", "a")
    async with asyncio.timeout(10):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0)


def test_rule_11_shares_are_even_complete_and_nearly_all_stay_where_they_were() -> None:
    names = [f"pod-{number}" for number in range(7)]
    for count in range(1, 7):
        before, after = share_out(48, names[:count]), share_out(48, names[: count + 1])
        assert sorted(s for some in after.values() for s in some) == list(range(48))
        sizes = [len(some) for some in after.values()]
        assert max(sizes) - min(sizes) <= 1
        moved = sum(len(set(before[name]) - set(after[name])) for name in before)
        assert moved <= 48 // (count + 1) * 2
    assert share_out(48, names) == share_out(48, names[::-1])


def test_the_instance_id_is_what_the_broker_put_before_its_uuid() -> None:
    assert _instance(f"pod-b-7-{uuid.uuid4()}") == "pod-b-7"
