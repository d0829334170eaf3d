"""A process that writes to the broker is killed or frozen at any moment; the log stays whole."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from caseway.contracts import topics
from caseway.contracts.record import Record
from caseway.hosting.kafka_log import KafkaLog
from caseway.hosting.log import Place
from tests.broker import Broker
from tests.conformance.log_suite import all_of, draft, values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

CASES: Place = ("cases", 0)
OFFERS: Place = ("offers.claims", 0)
_KILLS = 4
_PER_COMMIT = 3
_COMMITTER = """
import asyncio, sys
from caseway.contracts.record import Draft
from caseway.hosting.kafka_log import KafkaLog

async def main(bootstrap, namespace, name):
    log = KafkaLog(bootstrap, namespace, 1)
    writer = await log.fence("router", 0)
    for number in range(100_000):
        text = f"{name}/{number}".encode()
        drafts = [Draft("cases", 0, b"k", text, ()) for _ in range(3)]
        try:
            await writer.commit([Draft("offers.claims", 0, b"k", text, ()), *drafts], {})
        except BaseException as error:
            print(type(error).__name__, flush=True)
            raise
        print(number, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def log(broker: Broker) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(broker.bootstrap, f"x{uuid.uuid4().hex[:8]}", 1)
    await log.create_topics(topics.all_topics(("claims",)))
    yield log
    await log.close()


@contextmanager
def committing(log: KafkaLog, name: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _COMMITTER, log._bootstrap, log._namespace, str(name)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        yield child
        child.kill()


async def line_of(child: subprocess.Popen[str]) -> str:
    """The next line it prints; the loop goes on meanwhile."""
    assert child.stdout is not None
    return (await asyncio.to_thread(child.stdout.readline)).strip()


async def last_of(child: subprocess.Popen[str], line: str) -> int:
    """The last number it printed before it ended."""
    while number := await line_of(child):
        line = number
    return int(line)


def commits_of(records: list[Record], per_commit: int) -> list[str]:
    """The commits that are there, each whole."""
    texts = values(records)
    assert texts == [text for text in texts[::per_commit] for _ in range(per_commit)]
    return texts[::per_commit]


async def whole_commits(log: KafkaLog) -> list[str]:
    """What both topics agree on, once a new owner has taken over."""
    owner = await log.fence("router", 0)
    await owner.close()
    events = commits_of(await all_of(log, CASES), _PER_COMMIT)
    assert commits_of(await all_of(log, OFFERS), 1) == events
    return events


@pytest.mark.parametrize("seed", [1, 2])
async def test_rule_25_a_kill_leaves_whole_commits_and_every_acknowledged_one(
    log: KafkaLog, seed: int
) -> None:
    moments = random.Random(seed)
    acknowledged: dict[int, int] = {}
    for name in range(_KILLS):
        with committing(log, name) as child:
            line = await line_of(child)
            for _ in range(moments.randint(0, 60)):
                line = await line_of(child)
            child.kill()
            acknowledged[name] = await last_of(child, line)
        commits = await whole_commits(log)
        for earlier, last in acknowledged.items():
            there = [int(c.partition("/")[2]) for c in commits if c.startswith(f"{earlier}/")]
            assert there == list(range(len(there)))
            assert len(there) > last


async def test_a_frozen_owner_that_wakes_up_is_fenced_and_changes_nothing(log: KafkaLog) -> None:
    for name in range(3):
        with committing(log, name) as child:
            for _ in range(5 + name):
                await line_of(child)
            child.send_signal(signal.SIGSTOP)
            owner = await log.fence("router", 0)
            before = await all_of(log, CASES)
            child.send_signal(signal.SIGCONT)
            await owner.commit([draft("cases", "owner")] * _PER_COMMIT, {})
            while (line := await line_of(child)).isdigit():
                pass  # commits that were answered before it froze
            assert line == "Fenced"
            await owner.commit([draft("cases", "owner")] * _PER_COMMIT, {})
            await owner.close()
        records = await all_of(log, CASES)
        assert values(records[: len(before)]) == values(before)
        assert values(records[len(before) :]) == ["owner"] * 2 * _PER_COMMIT
        commits_of(records, _PER_COMMIT)


async def test_a_broker_that_restarts_takes_back_nothing_that_a_reader_saw(
    log: KafkaLog, broker: Broker
) -> None:
    """A lone broker may forget the commit that it answered last (docs/decisions.md), but no reader
    ever saw that one, and the next owner finds a log that is whole and open."""
    with committing(log, 0) as child:
        for _ in range(10):
            line = await line_of(child)
        seen = values(await all_of(log, CASES))
        await asyncio.to_thread(broker.restart)
        while (latest := await line_of(child)).isdigit() and int(latest) < int(line) + 200:
            pass
        child.kill()
    there = [int(commit.partition("/")[2]) for commit in await whole_commits(log)]
    assert there == list(range(len(there)))
    assert len(there) * _PER_COMMIT >= len(seen) >= 10 * _PER_COMMIT
