"""No commit is torn by what comes late, and the same proxy tears the client as released."""

from __future__ import annotations

import os
import uuid

import pytest
from aiokafka import AIOKafkaProducer

from caseway.contracts import topics
from caseway.hosting.kafka_log import KafkaLog
from tests.broker import Broker
from tests.chaos.proxy import END_TXN, PRODUCE, Act, Fault, Proxy, Request
from tests.chaos.test_proxy import Once, late_answers
from tests.chaos.torn import Plan, client_with, torment
from tests.conformance.log_suite import all_of, values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

# A hundred takes about four seconds; `make torn` tries ten thousand.
TRIES = 320


async def second_half_of_nothing(broker: Broker, *, stock: bool) -> tuple[list[str], str]:
    """Commit, then begin and abort, while the first EndTxn comes again in between.

    Returns what a reader of committed records sees, and the answer to the late EndTxn.
    """
    namespace = f"h{uuid.uuid4().hex[:8]}"
    with client_with(stock=stock):
        async with Proxy(broker.bootstrap, Once(END_TXN, Fault(Act.COPY, 20, PRODUCE))) as proxy:
            log = KafkaLog(proxy.bootstrap, namespace, 1)
            await log.create_topics([topics.CASES])
            producer = AIOKafkaProducer(
                bootstrap_servers=proxy.bootstrap, transactional_id=namespace
            )
            await producer.start()
            topic = f"{namespace}.cases"
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"whole", partition=0)
            await producer.commit_transaction()
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"half", partition=0)
            (answer,) = await late_answers(proxy)
            await producer.stop()  # what was begun is never committed by anybody
            owner = AIOKafkaProducer(bootstrap_servers=proxy.bootstrap, transactional_id=namespace)
            await owner.start()
            await owner.stop()
            seen = values(await all_of(log, ("cases", 0)))
            await log.close()
    return seen, answer


async def test_the_client_as_released_commits_a_half_that_nobody_committed(broker: Broker) -> None:
    """The proxy is known to bite: without this, the next test would prove nothing."""
    seen, answer = await second_half_of_nothing(broker, stock=True)
    assert answer == "EndTxn: accepted"
    assert seen == ["whole", "half"]


async def test_a_late_end_finds_an_old_epoch_and_commits_nothing(broker: Broker) -> None:
    seen, answer = await second_half_of_nothing(broker, stock=False)
    assert answer.startswith("EndTxn: refused")
    assert seen == ["whole"]


async def test_no_batch_is_torn_lost_or_shown_in_part(broker: Broker) -> None:
    namespace = f"t{uuid.uuid4().hex[:8]}"
    seed = int.from_bytes(os.urandom(4), "big")
    outcome = await torment(broker.bootstrap, namespace, TRIES, seed)
    assert outcome.violations == [], f"seed {seed}"
    assert outcome.tries == TRIES
    assert outcome.batches_folded == outcome.acknowledged + outcome.doubted_there
    assert (outcome.torn_records, outcome.ghost_offers) == (0, 0), f"seed {seed}"
    assert outcome.late_ends_refused > TRIES / 4, "the faults were there"


async def test_without_epochs_readers_drop_what_is_torn_and_lose_nothing(broker: Broker) -> None:
    """Throwing writers away and reading whole batches is enough for a log, not for offers."""
    namespace = f"s{uuid.uuid4().hex[:8]}"
    outcome = await torment(broker.bootstrap, namespace, TRIES // 2, 7, stock=True)
    # A folded batch may even lack its offers, which a late end of another transaction threw away.
    assert [said for said in outcome.violations if not said.endswith("offers")] == []
    assert outcome.late_ends_accepted > 0
    assert outcome.torn_records + outcome.ghost_offers > 0, "halves were there to be dropped"


def test_a_plan_is_the_same_for_the_same_seed() -> None:
    """A failing seed can be run again, as far as requests come in the same order."""
    asked = [Request(END_TXN, 5, n, "client", b"") for n in range(50)]
    first, second = Plan(3), Plan(3)
    assert [first(r) for r in asked] == [second(r) for r in asked]
