"""Commits numbered batches through the proxy while EndTxn requests stray, and counts what is torn.

    python -m tests.chaos.torn [--tries 10000] [--seed 1] [--stock]

Each batch is a commit of the project's own writer over two topics: offers first, then its events
and the trailer on the own log, in several Produce requests, so that a late EndTxn finds halves to
commit. A writer whose commit failed is thrown away, and the log says what became of the batch.
`--stock` leaves the client as it was released, with version 0 of EndTxn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer import sender as aiokafka_sender
from confluent_kafka import Consumer, KafkaError, TopicPartition

import caseway.hosting.kafka_log as adapter
from caseway.contracts import topics
from caseway.contracts.codec import Event, encode
from caseway.contracts.envelope import Envelope
from caseway.contracts.record import Draft, Record
from caseway.contracts.shard import ShardCommitted
from caseway.errors import Fenced, Unavailable
from caseway.hosting import kafka_transactions, kafka_writer
from caseway.hosting.batches import BatchReader, batch_digest
from caseway.hosting.kafka_log import KafkaLog
from caseway_control.local_broker import LocalBroker
from tests.chaos.proxy import (
    ADD_PARTITIONS,
    END_TXN,
    PRODUCE,
    Act,
    Fault,
    Proxy,
    Request,
)

SHARDS = 4
_STOCK_HANDLER = kafka_transactions.EpochEndTxnHandler.__bases__[0]
_OFFERS = 3
_EVENTS = 4
_POOL = "claims"
# Small batches of the client, so that one commit takes several Produce requests.
_BATCH_BYTES = 700
# A lost answer is doubt after this; the product waits longer.
_COMMIT_S = 1.5
_READ_S = 60.0
# Of a hundred EndTxn requests, which fate how many have; the rest pass.
_ENDS: tuple[tuple[int, Act, int | None], ...] = (
    (30, Act.STRAY, PRODUCE),
    (30, Act.COPY, PRODUCE),
    (8, Act.COPY, None),
    (6, Act.CUT_BEFORE, None),
    (8, Act.CUT_AFTER, None),
    (4, Act.DUPLICATE, None),
    (4, Act.DELAY, None),
    (1, Act.DROP_REPLY, None),
)
_OTHERS = (Act.STRAY, Act.COPY, Act.CUT_AFTER, Act.CUT_BEFORE, Act.DUPLICATE)
_OTHERS_SHARE = 0.02


class Plan:
    """Draws the fate of every request from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.is_over = False

    def __call__(self, request: Request) -> Fault | None:
        if self.is_over:
            return None
        if request.api == END_TXN:
            ticket = self._random.randrange(100)
            for share, act, until in _ENDS:
                ticket -= share
                if ticket < 0:
                    return Fault(act, 0.5 if until is not None else self._late(), until)
        elif request.api in {PRODUCE, ADD_PARTITIONS} and self._random.random() < _OTHERS_SHARE:
            return Fault(self._random.choice(_OTHERS), self._late())
        return None

    def _late(self) -> float:
        return self._random.uniform(0.001, 0.03)


@dataclass(slots=True)
class Outcome:
    """What was tried, what was found, and each violation in words."""

    tries: int = 0
    acknowledged: int = 0
    doubted: int = 0
    doubted_there: int = 0
    fenced: int = 0
    late_ends_accepted: int = 0
    late_ends_refused: int = 0
    batches_folded: int = 0
    torn_records: int = 0
    ghost_offers: int = 0
    seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    @property
    def tries_per_s(self) -> float:
        """Commits tried in a second, those in doubt included."""
        return self.tries / self.seconds if self.seconds else 0.0


def _event(place: tuple[str, int], key: str, number: int, data: Any) -> Draft:
    envelope = Envelope(
        f"{key}-{number}", "/torn", data.TYPE, data.VERSION, time="2026-11-21T09:00:00.000Z"
    )
    return encode(*place, Event(key, envelope, data))


def drafts_of(shard: int, sequence: int, attempt: int) -> list[Draft]:
    """One batch; every record names its sequence and the attempt that wrote it."""
    name = f"{sequence}/{attempt}"
    filler = "x" * 200
    offers = [
        Draft(f"offers.{_POOL}", shard, name.encode(), f"{n}:{filler}".encode(), ())
        for n in range(_OFFERS)
    ]
    own = [
        Draft("cases", shard, name.encode(), f"{n}:{filler}".encode(), (("ce_type", b"toy"),))
        for n in range(_EVENTS)
    ]
    trailer = ShardCommitted(
        sequence=sequence,
        epoch=1,
        count=len(own),
        digest=batch_digest(own),
        positions={},
        registry_position=0,
        greatest_ms=0,
    )
    return [*offers, *own, _event(("cases", shard), name, sequence, trailer)]


class Committer:
    """One shard's owner: commits batch after batch, and asks the log after every doubt."""

    def __init__(self, log: KafkaLog, shard: int, outcome: Outcome, share: int) -> None:
        self._log = log
        self._shard = shard
        self._outcome = outcome
        self._left = share
        self._next = 0
        self._reader = BatchReader(("cases", shard), is_resumed=False)
        self._folded: list[str] = []
        self.acknowledged: list[str] = []

    async def run(self) -> None:
        """Use up the share of tries."""
        writer = await self._own()
        attempt = 0
        while self._left > 0:
            self._left -= 1
            self._outcome.tries += 1
            sequence = len(self._folded) + 1
            attempt += 1
            name = f"{sequence}/{attempt}"
            try:
                await writer.commit(drafts_of(self._shard, sequence, attempt), {})
                self.acknowledged.append(name)
                self._folded.append(name)
                self._outcome.acknowledged += 1
            except Unavailable as error:
                self._outcome.doubted += 1
                self._outcome.fenced += isinstance(error, Fenced)
                await writer.close()
                known = len(self._folded)
                writer = await self._own()
                self._outcome.doubted_there += len(self._folded) - known
        await writer.close()

    async def _own(self) -> Any:
        """Take over: fence, then fold what is new in the log, in whole batches."""
        while True:
            try:
                async with asyncio.timeout(_READ_S):
                    writer = await self._log.fence("router", self._shard)
                    await self._replay()
                    return writer
            except Unavailable:
                continue  # the proxy met the takeover itself: once more

    async def _replay(self) -> None:
        is_end = False
        while not is_end:
            chunk = await self._log.scan(("cases", self._shard), self._next)
            for batch in self._reader.feed(chunk.records):
                if batch.trailer.sequence > len(self._folded):
                    self._folded.append((batch.records[-1].key or b"").decode())
            self._next, is_end = chunk.next_offset, chunk.is_end


def read_all(bootstrap: str, topic: str, partition: int) -> list[Record]:
    """Every committed record of a partition, by librdkafka, to the end that is stable now."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "oracle",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # the end of an empty partition is told at the first answer
        }
    )
    records: list[Record] = []
    try:
        consumer.assign([TopicPartition(topic, partition, 0)])
        deadline = time.monotonic() + _READ_S
        while time.monotonic() < deadline:
            got = consumer.poll(1.0)
            if got is None:
                continue
            error = got.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return records
                raise AssertionError(f"{topic}/{partition}: {error}")
            headers = tuple((name, value or b"") for name, value in got.headers() or ())
            records.append(
                Record(
                    topic.partition(".")[2],
                    partition,
                    got.offset(),
                    got.timestamp()[1],
                    got.key(),
                    got.value(),
                    headers,
                )
            )
    finally:
        consumer.close()
    raise AssertionError(f"{topic}/{partition}: no end within {_READ_S:.0f} s")


def judge(bootstrap: str, namespace: str, committer: Committer, outcome: Outcome) -> None:
    """Every acknowledged batch is there whole and once, on both topics; no half is folded."""
    shard = committer._shard
    reader = BatchReader(("cases", shard), is_resumed=False)
    folded: list[str] = []
    try:
        for batch in reader.feed(read_all(bootstrap, f"{namespace}.cases", shard)):
            names = {(record.key or b"").decode() for record in batch.records}
            if len(names) != 1 or len(batch.records) != _EVENTS:
                outcome.violations.append(f"shard {shard}: folded {sorted(names)}")
            folded.append(min(names))
    except Exception as error:
        outcome.violations.append(f"shard {shard}: {type(error).__name__}: {error}")
    outcome.batches_folded += len(folded)
    outcome.torn_records += reader.torn_records + reader.open_records
    times = Counter(folded)
    outcome.violations += [
        f"shard {shard}: acknowledged {name} is there {times[name]} times"
        for name in committer.acknowledged
        if times[name] != 1
    ]
    offers = read_all(bootstrap, f"{namespace}.offers.{_POOL}", shard)
    shown = Counter((record.key or b"").decode() for record in offers)
    for name in folded:
        count = shown.pop(name, 0)
        if count != _OFFERS:
            outcome.violations.append(f"shard {shard}: {name} has {count} of {_OFFERS} offers")
    outcome.ghost_offers += sum(shown.values())


@contextmanager
def client_with(*, stock: bool) -> Iterator[None]:
    """The client as released or as we teach it, with batches that are easy to tear."""
    before = (adapter._BATCH_BYTES, kafka_writer.COMMIT_S, kafka_transactions.use_newest)
    adapter._BATCH_BYTES, kafka_writer.COMMIT_S = _BATCH_BYTES, _COMMIT_S
    if stock:
        aiokafka_sender.EndTxnHandler = _STOCK_HANDLER
        kafka_transactions.use_newest = _use_oldest
    try:
        yield
    finally:
        adapter._BATCH_BYTES, kafka_writer.COMMIT_S, kafka_transactions.use_newest = before
        kafka_transactions.teach()


async def _use_oldest(_producer: AIOKafkaProducer) -> None:
    """Let partitions be asked for, as the client does of itself."""


async def torment(
    bootstrap: str, namespace: str, tries: int, seed: int, *, stock: bool = False
) -> Outcome:
    """Try so many commits through the proxy and judge what lies on the broker afterwards."""
    outcome = Outcome()
    plan = Plan(seed)
    with client_with(stock=stock):
        async with Proxy(bootstrap, plan) as proxy:
            log = KafkaLog(proxy.bootstrap, namespace, SHARDS)
            await KafkaLog.create_topics(log, [topics.CASES, topics.offers(_POOL)])
            committers = [
                Committer(log, shard, outcome, tries // SHARDS) for shard in range(SHARDS)
            ]
            began = time.monotonic()
            await asyncio.gather(*(committer.run() for committer in committers))
            outcome.seconds = time.monotonic() - began
            plan.is_over = True
            for shard in range(SHARDS):  # whatever hangs open is ended, as any next owner would
                await (await log.fence("router", shard)).close()
            await log.close()
            outcome.faults = dict(sorted(proxy.tally.faults.items()))
            for answer, count in proxy.tally.late_answers.items():
                if answer == "EndTxn: accepted":
                    outcome.late_ends_accepted += count
                elif answer.startswith("EndTxn"):
                    outcome.late_ends_refused += count
    for committer in committers:
        await asyncio.to_thread(judge, bootstrap, namespace, committer, outcome)
    return outcome


def main() -> int:
    """Run it on a broker of its own; exit code 1 when something was torn."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tries", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stock", action="store_true")
    given = parser.parse_args()
    with LocalBroker() as broker:
        outcome = asyncio.run(
            torment(broker.bootstrap, "torn", given.tries, given.seed, stock=given.stock)
        )
    found = asdict(outcome) | {"tries_per_s": round(outcome.tries_per_s, 1)}
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 1 if outcome.violations or (outcome.ghost_offers and not given.stock) else 0


if __name__ == "__main__":
    sys.exit(main())
