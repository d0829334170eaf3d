"""The production log at its edges, on a real broker: where aiokafka and the protocol bite."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import ProducerFenced

from caseway.contracts import topics
from caseway.contracts.control import AgentQuarantined
from caseway.contracts.shard import ShardGenesis
from caseway.errors import ContractError, Unavailable
from caseway.hosting import kafka_admin, kafka_writer
from caseway.hosting.kafka_log import KafkaLog
from caseway.hosting.kafka_writer import KafkaWriter
from caseway.hosting.log import Place
from caseway.hosting.registry_reader import RegistryReader
from caseway_control.doctor import diagnose
from caseway_control.spaces import Space, load_settings
from tests.broker import Broker
from tests.conformance.log_edges import LogEdges, committed, fetched
from tests.conformance.log_suite import CASES, SHARDS, all_of, draft, values
from tests.unit.hosting.toy import REGISTRY, spoken

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


@pytest.fixture
async def log(broker: Broker) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(broker.bootstrap, f"e{uuid.uuid4().hex[:8]}", SHARDS)
    await log.create_topics(topics.all_topics(("claims",)))
    yield log
    await log.close()


class TestKafkaEdges(LogEdges):
    """The fixture above is its log."""


async def begun(log: KafkaLog, text: str, place: Place = CASES) -> KafkaWriter:
    """A writer that stands in the middle of a transaction."""
    writer = await log.fence("router", 0)
    assert isinstance(writer, KafkaWriter)
    await writer._producer.begin_transaction()
    sent = await writer._producer.send(
        f"{log._namespace}.{place[0]}", text.encode(), partition=place[1]
    )
    await sent
    return writer


async def test_what_an_open_transaction_wrote_is_beyond_the_end_of_a_scan(log: KafkaLog) -> None:
    before = await log.fence("router", 0)
    offset, _ = await before.commit([draft("cases", "a")], {})
    orphan = await begun(log, "orphan")
    assert await log.end(CASES) > offset + 2
    assert values(await all_of(log, CASES)) == ["a"]
    feed = await log.feed()
    await feed.seek({CASES: 0})
    assert await fetched(feed, 1) == {CASES: ["a"]}
    owner = await log.fence("router", 0)
    await owner.commit([draft("cases", "b")], {})
    assert await fetched(feed, 1) == {CASES: ["b"]}
    assert values(await committed(log, CASES, 2)) == ["a", "b"]
    for closing in (feed, before, orphan, owner):
        await closing.close()


async def test_rule_16_a_scan_ends_behind_aborted_records(log: KafkaLog) -> None:
    orphan = await begun(log, "orphan")
    owner = await log.fence("router", 0)
    assert await log.end(CASES) > 0
    async with asyncio.timeout(20):
        chunk, start = await log.scan(CASES, 0), 0
        while not chunk.is_end:
            start = chunk.next_offset
            chunk = await log.scan(CASES, start)
    assert (list(chunk.records), chunk.next_offset) == ([], await log.end(CASES))
    await orphan.close()
    await owner.close()


async def test_rule_5_a_send_that_fails_fails_the_commit_and_nothing_is_written(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client commits over a failed send unless its future was awaited."""
    monkeypatch.setattr(kafka_writer, "check_size", lambda _draft: None)
    writer = await log.fence("router", 0)
    unknown = draft("cases", "x", partition=99)
    large = draft("cases", "", value=bytes(1_048_576))
    for bad in (large, unknown):
        with pytest.raises(Unavailable):
            await writer.commit([draft("cases", "a"), bad], {})
        await writer.close()
        writer = await log.fence("router", 0)
        assert await all_of(log, CASES) == []
    await writer.close()


async def test_rule_6_a_writer_that_failed_is_of_no_more_use(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_writer, "check_size", lambda _draft: None)
    writer = await log.fence("router", 0)
    large = draft("cases", "", value=bytes(1_048_576))
    with pytest.raises(Unavailable):
        await writer.commit([draft("cases", "a"), large], {})
    with pytest.raises(Unavailable):
        await writer.commit([draft("cases", "b")], {})
    with pytest.raises(Unavailable):
        await writer.settle({("intake", 0): 1})
    await writer.close()
    owner = await log.fence("router", 0)
    assert await all_of(log, CASES) == []
    await owner.close()


async def test_rule_19_a_refused_record_leaves_the_writer_as_it_was(log: KafkaLog) -> None:
    writer = await log.fence("router", 0)
    large = draft("cases", "", value=bytes(1_048_576))
    with pytest.raises(ContractError):
        await writer.commit([draft("cases", "a"), large], {})
    await writer.commit([draft("cases", "b")], {})
    assert values(await committed(log, CASES, 1)) == ["b"]
    await writer.close()


async def test_rule_8_a_commit_without_an_answer_ends_in_doubt(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_writer, "COMMIT_S", 0.05)
    writer = await log.fence("router", 0)
    assert isinstance(writer, KafkaWriter)
    monkeypatch.setattr(writer._producer, "commit_transaction", asyncio.Event().wait)
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable, match="no answer within"):
            await writer.commit([draft("cases", "a")], {})
    await writer.close()
    owner = await log.fence("router", 0)
    assert await all_of(log, CASES) == []
    await owner.close()


async def test_rule_10_a_record_goes_to_the_partition_it_names_whatever_its_key(
    log: KafkaLog,
) -> None:
    writer = await log.fence("router", 1)
    keys = [f"k{number}".encode() for number in range(20)]
    await writer.commit([draft("cases", "a", 1, key=key) for key in keys], {})
    found = await committed(log, ("cases", 1), 20)
    assert [record.key for record in found] == keys
    assert await all_of(log, ("cases", 0)) == []
    await writer.close()


async def test_rule_12_an_offset_that_does_not_exist_is_an_error_and_no_guess(
    log: KafkaLog,
) -> None:
    await log.append([draft("submissions", "a")])
    feed = await log.feed()
    await feed.seek({("submissions", 0): 500})
    with pytest.raises(Unavailable):
        await fetched(feed, 1)
    await feed.close()


async def test_rule_15_hints_bring_lag_to_zero(log: KafkaLog) -> None:
    writer = await log.fence("router", 0)
    ((offset, _),) = await log.append([draft("submissions", "a")])
    await writer.settle({("submissions", 0): offset + 1})
    await writer.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=log._bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(20):
            found: dict[str, int] = {}
            while found != {f"{log._namespace}.submissions": offset + 1}:
                groups = await admin.list_consumer_group_offsets(f"{log._namespace}.router")
                found = {place.topic: at.offset for place, at in groups.items()}
    finally:
        await admin.close()


async def test_the_barrier_sees_what_was_committed_the_moment_before(log: KafkaLog) -> None:
    """The broker answers a commit before its marker lies in the registry."""
    genesis = ShardGenesis(namespace="demo", generation="g1", shards=SHARDS)
    await log.append([spoken(genesis, "genesis", REGISTRY)])
    reader = RegistryReader(log)
    writer = await log.fence("intake", 0)
    for number in range(150):
        fact = AgentQuarantined(agent_id=f"a{number}", reason="r", signers=())
        await writer.commit([draft("intake", "x"), spoken(fact, "fact", REGISTRY)], {})
        await reader.barrier()
        assert len(reader.current.quarantined) == number + 1
    await writer.close()


async def test_the_doctor_warns_of_a_broker_whose_transactions_may_be_torn(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space(log, load_settings(), log._namespace, None)
    assert await log.refuses_late_ends()
    assert "DOCTOR_TXN" not in {finding.code for finding in await diagnose(space)}
    monkeypatch.setattr(kafka_admin, "_END_WITH_EPOCH", 99)
    assert "DOCTOR_TXN" in {finding.code for finding in await diagnose(space)}


async def test_the_doctor_finds_what_somebody_changed_on_the_broker(
    log: KafkaLog, broker: Broker
) -> None:
    space = Space(log, load_settings(), log._namespace, None)
    assert not [f for f in await diagnose(space) if f.where == "cases"]
    changed = {"retention.bytes": "1048576", "unclean.leader.election.enable": "true"}
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    name = f"{log._namespace}.cases"
    # It replaces all settings of the topic, so the time of appending goes, too.
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, changed)])
    await admin.close()
    found = {f.code: f.command for f in await diagnose(space) if f.where == "cases"}
    assert set(found) == {"DOCTOR_RETENTION", "DOCTOR_ELECTION", "DOCTOR_TIMESTAMP"}
    assert found["DOCTOR_RETENTION"].endswith(f"--topic {name} --add-config retention.bytes=-1")


async def test_what_a_fenced_owner_sent_and_no_longer_waits_for_is_no_error_of_the_loop(
    log: KafkaLog,
) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
    old = await begun(log, "old")
    new = await log.fence("router", 0)
    drafts = [draft("cases", "a"), draft("cases", "b"), draft("cases", "c", 999)]
    with pytest.raises(AssertionError, match="Unrecognized partition"):
        await kafka_writer.send_all(old._producer, log._namespace, drafts)
    with contextlib.suppress(ProducerFenced):
        await old._producer.flush()
    await old.close()
    await new.close()
    gc.collect()
    assert complaints == []
