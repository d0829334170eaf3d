"""The proxy carries real clients, and each fault is the one that was asked for."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Producer

from caseway.contracts.topics import CASES
from caseway.errors import Unavailable
from caseway.hosting.kafka_log import KafkaLog
from tests.broker import Broker
from tests.chaos.proxy import END_TXN, FETCH, PRODUCE, Act, Fault, Proxy, Request
from tests.conformance.log_suite import all_of, draft, values

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PLACE = ("cases", 0)


class Once:
    """Names one fault for the first request of one kind."""

    def __init__(self, api: int, fault: Fault) -> None:
        self.api = api
        self.fault: Fault | None = fault

    def __call__(self, request: Request) -> Fault | None:
        if request.api != self.api:
            return None
        fault, self.fault = self.fault, None
        return fault


def never(_request: Request) -> Fault | None:
    return None


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[Proxy]:
    async with Proxy(broker.bootstrap, never) as made:
        yield made


@pytest.fixture
async def log(proxy: Proxy) -> AsyncIterator[KafkaLog]:
    made = KafkaLog(proxy.bootstrap, f"p{uuid.uuid4().hex[:8]}", 1)
    await made.create_topics([CASES])
    yield made
    await made.close()


async def commit(log: KafkaLog, *texts: str) -> None:
    writer = await log.fence("router", 0)
    try:
        for text in texts:
            await writer.commit([draft("cases", text)], {})
    finally:
        await writer.close()


async def late_answers(proxy: Proxy) -> dict[str, int]:
    """What the broker said to requests that came late."""
    async with asyncio.timeout(20):
        while not proxy.tally.late_answers:
            await asyncio.sleep(0.01)
    return dict(proxy.tally.late_answers)


async def test_our_client_works_through_it_and_never_goes_around_it(
    log: KafkaLog, proxy: Proxy
) -> None:
    await commit(log, "a", "b")
    assert values(await all_of(log, PLACE)) == ["a", "b"]
    carried = proxy.tally.requests
    assert carried["EndTxn"] == 2
    assert carried["Produce"] == 2
    assert carried["Fetch"] >= 1
    assert not proxy.tally.faults


async def test_librdkafka_works_through_it(log: KafkaLog, proxy: Proxy) -> None:
    producer = Producer({"bootstrap.servers": proxy.bootstrap, "transactional.id": log._namespace})

    def work() -> None:
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce(f"{log._namespace}.cases", b"from another client", partition=0)
        producer.commit_transaction(20)

    await asyncio.to_thread(work)
    assert values(await all_of(log, PLACE)) == ["from another client"]
    assert proxy.tally.requests["EndTxn"] == 1


@pytest.mark.parametrize(
    ("api", "fault"),
    [
        (PRODUCE, Fault(Act.DELAY, 0.1)),
        (PRODUCE, Fault(Act.DUPLICATE)),
        (PRODUCE, Fault(Act.CUT_BEFORE)),
        (PRODUCE, Fault(Act.CUT_AFTER)),
        (END_TXN, Fault(Act.DELAY, 0.1)),
        (FETCH, Fault(Act.CUT_AFTER)),
        (FETCH, Fault(Act.OVERTAKE)),
    ],
    ids=lambda value: value.act.name if isinstance(value, Fault) else str(value),
)
async def test_a_fault_that_a_client_mends_by_itself_doubles_nothing(
    log: KafkaLog, proxy: Proxy, api: int, fault: Fault
) -> None:
    proxy.choose = Once(api, fault)
    await commit(log, "a", "b")
    assert values(await all_of(log, PLACE)) == ["a", "b"]
    assert sum(proxy.tally.faults.values()) == 1


async def test_a_request_that_strays_reaches_the_broker_after_its_repetition(
    log: KafkaLog, proxy: Proxy
) -> None:
    proxy.choose = Once(PRODUCE, Fault(Act.STRAY, 0.3))
    await commit(log, "a")
    assert await late_answers(proxy) == {"Produce: answered": 1}
    assert values(await all_of(log, PLACE)) == ["a"]
    assert proxy.tally.requests["Produce"] == 2


async def test_a_copy_comes_when_the_answer_that_it_waits_for_has_passed(
    log: KafkaLog, proxy: Proxy
) -> None:
    proxy.choose = Once(PRODUCE, Fault(Act.COPY, 20, until=END_TXN))
    await commit(log, "a")
    assert await late_answers(proxy) == {"Produce: answered": 1}
    assert values(await all_of(log, PLACE)) == ["a"]


async def test_a_connection_that_loses_one_answer_gives_no_later_one(
    log: KafkaLog, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caseway.hosting.kafka_writer.COMMIT_S", 0.5)
    proxy.choose = Once(END_TXN, Fault(Act.DROP_REPLY))
    with pytest.raises(Unavailable, match="no answer"):
        await commit(log, "a")
    await commit(log, "b")
    # The commit was carried out and nobody heard of it: the third outcome.
    assert values(await all_of(log, PLACE)) == ["a", "b"]
