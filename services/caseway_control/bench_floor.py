"""The floor of a benchmark: the same records, sizes and hops through the same broker, no logic.

Each service becomes a loop that reads a token, and writes in one transaction as many records of
the size that the real service writes at this step of the reference claim. What a case costs above
this is what Caseway costs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from caseway.contracts.record import Draft, Record
from caseway.hosting.kafka_log import KafkaLog
from caseway.hosting.log import Feed, Place, Writer

# What a record of the reference claim weighs: its data, and its fourteen headers.
VALUE = b"x" * 420
HEADERS = tuple((f"ce_header{n:02}", b"v" * 24) for n in range(14))


@dataclass(frozen=True, slots=True)
class Hop:
    """One step: who acts on which topic, and how many records go where."""

    service: str
    reads: str
    writes: Mapping[str, int]


# The reference claim: three agent tasks, one gate with its timer, one effect. A token is passed on
# in the first topic of `writes`; the other records are of equal number and size to the real ones.
HOPS: tuple[Hop, ...] = (
    Hop("intake", "submissions", {"intake": 2}),
    Hop("router", "intake", {"offers.claims": 1, "cases": 4}),
    Hop("agent", "offers.claims", {"agent-reports": 1}),
    Hop("router", "agent-reports", {"offers.claims": 1, "cases": 4}),
    Hop("agent", "offers.claims", {"agent-reports": 1}),
    Hop("router", "agent-reports", {"offers.claims": 1, "cases": 4}),
    Hop("agent", "offers.claims", {"agent-reports": 1}),
    Hop("router", "agent-reports", {"cases": 4}),
    Hop("approval", "cases", {"approvals": 2}),
    Hop("person", "approvals", {"decisions": 1}),
    Hop("approval", "decisions", {"approvals": 2}),
    Hop("router", "approvals", {"offers.payments": 1, "cases": 4}),
    Hop("agent", "offers.payments", {"agent-reports": 1}),
    Hop("router", "agent-reports", {"offers.payments": 1, "cases": 2}),
    Hop("agent", "offers.payments", {"agent-reports": 1}),
    Hop("router", "agent-reports", {"cases": 5}),
)
_TOKEN = "token"
_OUTSIDE = ("agent", "person")
_FETCH_S = 0.2


async def run_floor(log: KafkaLog, cases: int, timeout_s: float) -> float:
    """Pass so many tokens through all hops; the seconds from the first to the last."""
    done = asyncio.Event()
    left = cases
    services = {hop.service for hop in HOPS}

    def finished(count: int) -> None:
        nonlocal left
        left -= count
        if left <= 0:
            done.set()

    loops = [
        asyncio.create_task(_serve(log, service, shard, finished))
        for service in sorted(services)
        for shard in range(log.shards)
    ]
    await asyncio.sleep(1.0)  # every loop stands at the end of its topics
    began = time.monotonic()
    tokens = [_draft("submissions", n % log.shards, 0) for n in range(cases)]
    await log.append(tokens)
    try:
        async with asyncio.timeout(timeout_s):
            await done.wait()
        return time.monotonic() - began
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


async def _serve(log: KafkaLog, service: str, shard: int, finished: Callable[[int], None]) -> None:
    topics = sorted({hop.reads for hop in HOPS if hop.service == service})
    feed: Feed = await log.feed()
    writer: Writer | None = None
    if service not in _OUTSIDE:
        writer = await log.fence(service, shard)
    try:
        await feed.seek({(topic, shard): await log.end((topic, shard)) for topic in topics})
        while True:
            drafts: list[Draft] = []
            ended = 0
            for place, records in (await feed.fetch(_FETCH_S)).items():
                for record in records:
                    more, is_last = _pass_on(service, place, record)
                    drafts += more
                    ended += is_last
            await _write(log, writer, drafts, shard)
            if ended:
                finished(ended)
    finally:
        await feed.close()
        if writer is not None:
            await writer.close()


async def _write(log: KafkaLog, writer: Writer | None, drafts: Sequence[Draft], shard: int) -> None:
    if not drafts:
        return
    if writer is None:
        await log.append(drafts)
    else:
        await writer.commit([*drafts, _draft("cases", shard, None)], {})


def _pass_on(service: str, place: Place, record: Record) -> tuple[list[Draft], bool]:
    """The records of the next step, none for padding; and whether that was the last hop."""
    step = next((int(value) for name, value in record.headers if name == _TOKEN and value), None)
    if step is None or (HOPS[step].service, HOPS[step].reads) != (service, place[0]):
        return [], False
    drafts = []
    following = HOPS[step + 1].reads if step + 1 < len(HOPS) else ""
    for topic, count in HOPS[step].writes.items():
        for n in range(count):
            token = step + 1 if topic == following and n == 0 else None
            drafts.append(_draft(topic, place[1], token))
    return drafts, not following


def _draft(topic: str, partition: int, step: int | None) -> Draft:
    headers = HEADERS if step is None else (*HEADERS, (_TOKEN, str(step).encode()))
    return Draft(topic, partition, b"case-0123456789abcdef", VALUE, headers)
