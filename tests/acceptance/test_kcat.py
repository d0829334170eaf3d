"""Clients that nobody here wrote: kcat submits and reads, librdkafka reads what our log reads."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from caseway.client import Client
from caseway.contracts import topics
from caseway.contracts.codec import Event, decode
from caseway.contracts.shard import DeadLetter
from caseway.hosting.log import Log
from caseway.kernel.identity import case_id_of, shard_of
from caseway_control.fleet import POOLS, Fleet
from tests.acceptance.reading import until_closed

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

DEFINITION, SOURCE = "insurance-claim", "kcat"
MURMUR2 = ("-X", "topic.partitioner=murmur2_random")
WAIT_S = 120


def the_tool() -> str:
    """kcat, or a skip with its reason; a failure where it is demanded."""
    found = shutil.which("kcat") or shutil.which("kafkacat")
    if found is None:
        reason = "kcat is not here; Debian and Ubuntu have it as the package kcat"
        if os.environ.get("CASEWAY_REQUIRE_KCAT") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def kcat(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        [the_tool(), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def submission(fleet: Fleet, key: str, amount: str = "75000.00") -> str:
    """The body of a submission, as anybody writes it who has read its schema."""
    return json.dumps(
        {
            "namespace": fleet.namespace,
            "definition": DEFINITION,
            "source": SOURCE,
            "key": key,
            "facts": {
                "claimant": "claimant-0123456789abcdef",
                "payee": "payee-0123456789abcdef",
                "amount": {"amount": amount, "currency": "USD"},
                "incident_kind": "fire",
            },
        }
    )


def publish(fleet: Fleet, case_id: str, body: str, *options: str) -> None:
    headers = {"ce_id": f"kcat-{case_id}", "ce_source": "/kcat", "ce_type": "case.submit"}
    given = [part for name, text in headers.items() for part in ("-H", f"{name}={text}")]
    topic = f"{fleet.namespace}.{topics.SUBMISSIONS.name}"
    kcat("-P", "-b", fleet.bootstrap, "-t", topic, "-k", case_id, *given, *options, stdin=body)


def read_by_kcat(fleet: Fleet, topic: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Key, event type and body of every committed event that kcat sees on a topic."""
    name = f"{fleet.namespace}.{topic}"
    isolation = ("-X", "isolation.level=read_committed")
    out = kcat(
        "-C", "-b", fleet.bootstrap, "-t", name, "-o", "beginning", "-e", "-q", "-J", *isolation
    )
    found = []
    for line in out.splitlines():
        said = json.loads(line)
        headers = dict(zip(said["headers"][::2], said["headers"][1::2], strict=True))
        found.append((said["key"] or "", headers.get("ce_type", ""), json.loads(said["payload"])))
    return found


async def until_said(
    log: Log, topic: topics.Topic, is_it: Callable[[Event], bool], timeout_s: float = WAIT_S
) -> Event:
    """The first event of a topic for which this is true."""
    feed = await log.feed()
    await feed.seek({(topic.name, n): 0 for n in range(topic.partitions(log.shards))})
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                for records in (await feed.fetch(0.5)).values():
                    for record in records:
                        event = decode(record)
                        if is_it(event):
                            return event
    finally:
        await feed.close()


def lands(case_id: str, shards: int) -> tuple[int, int]:
    """Where a key belongs, and where librdkafka's own default puts it."""
    return shard_of(case_id.encode(), shards), zlib.crc32(case_id.encode()) % shards


async def test_kcat_submits_a_case_and_reads_its_events(fleet: Fleet, running: Any) -> None:
    the_tool()
    key = next(
        key
        for key in (f"claim-{n}" for n in count())
        if len(set(lands(case_id_of(fleet.namespace, SOURCE, key), running.shards))) == 2
    )
    case_id = case_id_of(fleet.namespace, SOURCE, key)
    publish(fleet, case_id, submission(fleet, key), *MURMUR2)
    await until_said(
        running,
        topics.CASES,
        lambda event: event.key == case_id and event.envelope.type == "case.opened",
    )
    admitted = [(kind, body) for at, kind, body in read_by_kcat(fleet, "intake") if at == case_id]
    assert [kind for kind, _ in admitted] == ["case.admitted"]
    assert admitted[0][1]["source"] == SOURCE
    opened = [(kind, body) for at, kind, body in read_by_kcat(fleet, "cases") if at == case_id]
    assert opened[0][0] == "case.opened"
    assert opened[0][1]["facts"]["amount"] == {"amount": "75000.00", "currency": "USD"}


async def test_a_record_by_the_wrong_partitioner_is_told_how_to_come_right(
    fleet: Fleet, running: Any
) -> None:
    the_tool()
    key = next(
        key
        for key in (f"claim-{n}" for n in count())
        if len(set(lands(case_id_of(fleet.namespace, SOURCE, key), running.shards))) == 2
    )
    case_id = case_id_of(fleet.namespace, SOURCE, key)
    publish(fleet, case_id, submission(fleet, key))
    letter = await until_said(
        running,
        topics.dead_letters("intake"),
        lambda event: isinstance(event.data, DeadLetter),
    )
    assert isinstance(letter.data, DeadLetter)
    assert letter.data.code == "contract.misrouted"
    assert letter.data.partition == lands(case_id, running.shards)[1]
    assert "topic.partitioner=murmur2_random" in letter.data.advice
    (told,) = (b for _, _, b in read_by_kcat(fleet, "dead-letters.intake"))
    assert (told["code"], told["where"]) == ("contract.misrouted", "key")
    publish(fleet, case_id, submission(fleet, key), *MURMUR2)
    await until_said(running, topics.CASES, lambda event: event.key == case_id)
    assert [at for at, kind, _ in read_by_kcat(fleet, "cases") if kind == "case.opened"] == [
        case_id
    ]


Line = tuple[int, int, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]


def read_by_librdkafka(fleet: Fleet, topic: topics.Topic, partitions: int) -> list[Line]:
    """Every committed record of a topic, as the other client sees it."""
    consumer = Consumer(
        {
            "bootstrap.servers": fleet.bootstrap,
            "group.id": f"{fleet.namespace}-oracle",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    name = f"{fleet.namespace}.{topic.name}"
    consumer.assign([TopicPartition(name, n, OFFSET_BEGINNING) for n in range(partitions)])
    lines: list[Line] = []
    ended: set[int] = set()
    try:
        while len(ended) < partitions:
            message = consumer.poll(30)
            assert message is not None, f"{name}: only the ends of {ended} came"
            error = message.error()
            number = message.partition()
            if error is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ended.add(int(number or 0))
                continue
            headers: Any = message.headers() or []
            lines.append(
                (
                    int(number or 0),
                    int(message.offset() or 0),
                    message.timestamp()[1],
                    _bytes(message.key()),
                    _bytes(message.value()),
                    tuple((header, value) for header, value in headers),
                )
            )
    finally:
        consumer.close()
    return sorted(lines, key=lambda line: line[:2])


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


async def read_by_us(log: Log, topic: topics.Topic) -> list[Line]:
    lines: list[Line] = []
    for number in range(topic.partitions(log.shards)):
        start, is_end = 0, False
        while not is_end:
            chunk = await log.scan((topic.name, number), start)
            lines += [(number, r.offset, r.at_ms, r.key, r.value, r.headers) for r in chunk.records]
            start, is_end = chunk.next_offset, chunk.is_end
    return lines


async def test_another_client_reads_record_for_record_what_our_log_reads(
    fleet: Fleet, running: Any
) -> None:
    """Killed in mid-work, so that there are transactions which both must pass by."""
    portal = Client(running, fleet.namespace, source="/portal")
    cases = 12
    for n in range(cases):
        body = json.loads(submission(fleet, f"claim-{n}", "100.00"))
        await running.append([portal.submission(DEFINITION, SOURCE, f"claim-{n}", body["facts"])])
    async with fleet.people_and_agents(running):
        for service in ("intake", "router", "approval"):
            fleet.kill(service)
            fleet.start(service)
        await until_closed(running, cases, 240)
    fleet.stop()
    total = 0
    for topic in topics.all_topics(POOLS):
        theirs = read_by_librdkafka(fleet, topic, topic.partitions(running.shards))
        assert await read_by_us(running, topic) == theirs, topic.name
        total += len(theirs)
    assert total > cases * 20
