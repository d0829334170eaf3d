"""Reading whole logs, and waiting for cases, in tests on a real broker."""

from __future__ import annotations

import asyncio
from collections import Counter

from caseway.contracts.case import EffectPermitted
from caseway.contracts.codec import Event, decode
from caseway.contracts.decision import GateDecided
from caseway.hosting.batches import BatchReader
from caseway.hosting.log import Log
from caseway_control.demo_agents import DemoBank


async def whole_log(log: Log, topic: str) -> list[Event]:
    """Every event of a log, from whole batches only, partition after partition."""
    events = []
    for number in range(log.shards):
        reader = BatchReader((topic, number), is_resumed=False)
        start, is_end = 0, False
        while not is_end:
            chunk = await log.scan((topic, number), start)
            for batch in reader.feed(chunk.records):
                events += [decode(record, is_sole_writer=True) for record in batch.records]
            start, is_end = chunk.next_offset, chunk.is_end
    return events


async def until_closed(log: Log, expected: int, timeout_s: float) -> dict[str, str]:
    """Wait until so many cases are closed; their outcomes by case id."""
    outcomes: dict[str, str] = {}
    feed = await log.feed()
    await feed.seek({("cases", number): 0 for number in range(log.shards)})
    try:
        async with asyncio.timeout(timeout_s):
            while len(outcomes) < expected:
                for records in (await feed.fetch(0.5)).values():
                    for record in records:
                        if ("ce_type", b"case.closed") in record.headers:
                            event = decode(record, is_sole_writer=True)
                            outcomes[event.key] = getattr(event.data, "outcome", "")
    except TimeoutError:
        raise AssertionError(
            f"{len(outcomes)} of {expected} cases closed in {timeout_s} s"
        ) from None
    finally:
        await feed.close()
    return outcomes


async def assert_once(bank: DemoBank, log: Log, count: int) -> None:
    """One decision a gate revision, one permit and one payment a case, whatever was repeated."""
    cases: list[Event] = await whole_log(log, "cases")
    approvals = await whole_log(log, "approvals")
    permits = Counter(e.data.effect_id for e in cases if isinstance(e.data, EffectPermitted))
    assert len(permits) == count
    assert set(permits.values()) == {1}
    assert set(bank.payments) == set(permits)
    decided = Counter(
        (e.key, e.data.gate_id, e.data.revision)
        for e in approvals
        if isinstance(e.data, GateDecided)
    )
    assert len(decided) == count
    assert set(decided.values()) == {1}
    kinds = Counter(e.envelope.type for e in cases)
    assert kinds["case.opened"] == kinds["case.closed"] == count
    assert kinds["case.faulted"] == 0
    sequences: dict[str, int] = {}
    for event in cases:
        assert event.envelope.sequence == sequences.get(event.key, 0) + 1
        sequences[event.key] = event.envelope.sequence
