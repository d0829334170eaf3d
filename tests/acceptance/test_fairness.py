"""One who floods, one case that is broken, one who owns most of a shard: the others go on.

All on one shard of a real broker. Quiet and disturbed rounds take turns, so that a busy machine
slows both, and medians are compared: what a broken guard does to the others is seconds.
`make fairness` does it with so many claims that there is a 99th percentile to tell.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from caseway.client import Client
from caseway.contracts import topics
from caseway.contracts.codec import type_of
from caseway.contracts.control import RedriveCase
from caseway.contracts.record import Draft
from caseway.contracts.report import HeartbeatTask
from caseway.hosting import kafka_admin, kafka_quotas
from caseway.hosting.kafka_log import KafkaLog
from caseway.kernel.identity import case_id_of, shard_of
from caseway_control.bootstrap import expiry, send_wishes
from caseway_control.fleet import Fleet
from caseway_control.keys import ROOTS
from caseway_control.reading import registry_of
from tests.acceptance.poisoned import AMOUNT as POISON
from tests.acceptance.test_claims_on_kafka import claim

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

POISONED = (str(Path(__file__).with_name("poisoned.py")),)
SHARD = 0
PACE_S = 0.25
# Some 65 reports a second, and twice as many at once: what two seconds let pass.
QUOTA_BYTES = 16_384
FLOOD = 25
STALE = 20  # reports that are parked behind the fault of each broken case
HOGGED = 9  # of ten claims on the shard
# The hog is measured far below saturation, where it would be the machine's limit and not fairness:
# on two free cores a claim costs 20 ms of them to its gate, on a busy machine several times that.
HOG_PACE_S = 0.25
# The aim is twice, and noise. Where others work on the same cores their comings and goings make
# three of it, and a broken guard makes ten or no end at all: that is what fails.
AIM, BOUND, NOISE_MS = 2.0, 3.0, 100.0


class Watch:
    """What became of the cases of the shard, and when."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log
        self.at: dict[str, dict[str, int]] = defaultdict(dict)
        self.refused = 0
        self._grew = asyncio.Event()

    def keys(self, kind: str) -> set[str]:
        """The cases of which something of this type was said."""
        return set(self.at[kind])

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until it holds."""
        try:
            async with asyncio.timeout(60):
                while not holds():
                    self._grew.clear()
                    await self._grew.wait()
        except TimeoutError:
            raise AssertionError(f"a minute has passed, and not yet: {what}") from None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch during the body."""
        places = [(topic, SHARD) for topic in ("offers.claims", "approvals", "cases")]
        feed = await self._log.feed()
        await feed.seek({place: await self._log.end(place) for place in places})
        task = asyncio.create_task(self._follow(feed))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await feed.close()

    async def _follow(self, feed: Any) -> None:
        while True:
            for records in (await feed.fetch(0.5)).values():
                for record in records:
                    kind = type_of(record)
                    self.at[kind].setdefault((record.key or b"").decode(), record.at_ms)
                    self.refused += kind == "report.refused"
            self._grew.set()


class Bench:
    """Submits to one shard, and measures."""

    def __init__(self, fleet: Fleet, log: KafkaLog, flooder: KafkaLog) -> None:
        self.fleet = fleet
        self.log = log
        self.flooder = flooder
        self.watch = Watch(log)
        self.poisoned: set[str] = set()
        self.flood: list[int] = []
        self.samples: dict[str, list[list[tuple[int, int]]]] = defaultdict(list)
        self._portal = Client(log, fleet.namespace, source="/portal")
        self._keys = (
            key
            for n in itertools.count()
            if shard_of(case_id_of(fleet.namespace, "portal", key := f"c-{n}").encode(), log.shards)
            == SHARD
        )

    async def submit(self, amount: str = "30000.00", **changes: Any) -> tuple[str, int]:
        """One claim on the shard: its case, and when the broker took it."""
        facts = claim(amount, **changes)
        draft = self._portal.submission("insurance-claim", "portal", next(self._keys), facts)
        ((_, at_ms),) = await self.log.append([draft])
        return (draft.key or b"").decode(), at_ms

    async def probe(self, name: str, count: int, pace_s: float = PACE_S) -> None:
        """A round of the others' claims: ms to the first offer and to the gate of each."""
        sent = []
        for _ in range(count):
            sent.append(await self.submit())
            await asyncio.sleep(pace_s)  # the pace of the claims, not a wait
        await self.watch.until(
            lambda: {key for key, _ in sent} <= self.watch.keys("gate.opened"), "each has its gate"
        )
        offered, opened = self.watch.at["task.offered"], self.watch.at["gate.opened"]
        self.samples[name].append([(offered[key] - at, opened[key] - at) for key, at in sent])

    def stale_report(self, key: str) -> Draft:
        """A signed report on a task that its agent does not hold."""
        report = HeartbeatTask(
            namespace=self.fleet.namespace,
            task_id="triage-1",
            token=999,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        agent = self.fleet.client(self.log, "agent:triage-1")
        return agent.draft(topics.AGENT_REPORTS.name, key, report)

    async def flooded(self, name: str, count: int, drafts: list[Draft]) -> None:
        """A round while one agent sends stale reports as fast as the broker takes them."""
        is_on, before, sent = True, self.watch.refused, 0

        async def flood() -> None:
            nonlocal sent
            while is_on:
                await self.flooder.append(drafts[sent % len(drafts) :][:FLOOD])
                sent += FLOOD

        async with beside(flood()) as task:
            await self.probe(name, count)
            is_on = False
            await task
        self.flood.append(sent)
        await self.watch.until(lambda: self.watch.refused >= before + sent, "all is refused")

    async def poison(self) -> None:
        """A case whose every report fails: more of them come, and are parked behind the fault."""
        key, _ = await self.submit(POISON)
        self.poisoned.add(key)
        await self.watch.until(lambda: key in self.watch.keys("case.faulted"), "it is faulted")
        for _ in range(STALE):
            await self.log.append([self.stale_report(key)])
        await asyncio.Event().wait()

    async def hog(self) -> None:
        """One claimant's claims, nine of ten on the shard."""
        while True:
            await self.submit(claimant="claimant-ffffffffffffffff")
            await asyncio.sleep(HOG_PACE_S)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Disturb during the body; a disturbance that fails fails the test."""
    task = asyncio.create_task(work)
    try:
        yield task
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def bench(fleet: Fleet) -> AsyncIterator[Bench]:
    """A fleet with a broken router; strangers have a quota, and this process has none."""
    log, flooder = fleet.log("gateway", QUOTA_BYTES), fleet.log("flooder")
    await fleet.found(log)
    await kafka_admin.limit(fleet.bootstrap, {"gateway": kafka_quotas.UNBOUNDED})
    for service in ("intake", "approval", "sla_watchdog", "audit"):
        fleet.start(service)
    fleet.start("router", program=POISONED)
    await fleet.publish(log)
    yield Bench(fleet, log, flooder)
    await flooder.close()
    await log.close()
    given = await kafka_admin.limits(fleet.bootstrap)
    await kafka_admin.limit(fleet.bootstrap, dict.fromkeys(given))


async def test_the_others_stay_within_twice_their_quiet_latency(bench: Bench) -> None:
    await measure(bench, rounds=2, probes=6, hogged=4)
    told = report(bench, "median", statistics.median)
    quiet = columns(bench.samples["quiet"], statistics.median)
    for name in ("flood", "poison", "claimant"):
        for what, ours, theirs in zip(
            ("offer", "gate"),
            columns(bench.samples[name], statistics.median),
            quiet,
            strict=True,
        ):
            assert ours <= BOUND * theirs + NOISE_MS, f"{name}, {what}:\n{told}"


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_how_the_others_fare_in_their_99th_percentile(bench: Bench) -> None:
    """Prints; that everybody gets to the gate, and broken cases alone are faulted, must hold."""
    await measure(bench, rounds=6, probes=25, hogged=12)
    report(bench, "median", statistics.median)
    report(bench, "p99", lambda some: statistics.quantiles(some, n=100, method="inclusive")[98])


async def measure(bench: Bench, rounds: int, probes: int, hogged: int) -> None:
    """Quiet and disturbed rounds in turn, of so many probes, and fewer where the hog needs time."""
    watch = bench.watch
    people = bench.fleet.people_and_agents(bench.log, is_deciding=False)
    async with people, watch.running():
        parked, _ = await bench.submit()
        flood = [bench.stale_report(parked) for _ in range(20 * FLOOD)]
        await watch.until(lambda: parked in watch.keys("gate.opened"), "the first has its gate")
        await bench.probe("warm-up", probes)
        for _ in range(rounds):
            await bench.probe("quiet", probes)
            await bench.flooded("flood", probes, flood)
            await bench.probe("quiet", probes)
            async with beside(bench.poison()):
                await bench.probe("poison", probes)
            async with beside(bench.hog()):
                await bench.probe("claimant", hogged, HOG_PACE_S * HOGGED)
        assert watch.keys("case.faulted") == bench.poisoned, "broken cases alone are faulted"
        await resume(bench)
    del bench.samples["warm-up"]


async def resume(bench: Bench) -> None:
    """The fix is deployed, the cases are driven again, and each goes on to its gate."""
    bench.fleet.retire("router")
    bench.fleet.start("router")
    registry = await registry_of(bench.log)
    wishes = [
        (
            f"case/{case}",
            RedriveCase(
                namespace=registry.namespace, expires_at=expiry(), case_id=case, reason="fixed"
            ),
        )
        for case in sorted(bench.poisoned)
    ]
    key = bench.fleet.key(ROOTS[0])
    outcomes = await send_wishes(bench.log, registry, wishes, [key], timeout_s=60)
    assert {outcome.verdict for outcome in outcomes} == {"accepted"}
    await bench.watch.until(
        lambda: bench.poisoned <= bench.watch.keys("gate.opened"), "what was broken goes on"
    )


def columns(
    rounds: list[list[tuple[int, int]]], of: Callable[[Sequence[int]], float]
) -> list[float]:
    """Of all probes: to the first offer, and to the gate."""
    return [of(column) for column in zip(*itertools.chain(*rounds), strict=True)]


def report(bench: Bench, name: str, of: Callable[[Sequence[int]], float]) -> str:
    """The figures, for whoever runs it with `-s`."""
    quiet = columns(bench.samples["quiet"], of)
    lines = []
    for what, rounds in bench.samples.items():
        ours = columns(rounds, of)
        ratios = ", ".join(f"{one / other:.2f}" for one, other in zip(ours, quiet, strict=True))
        figures = ", ".join(f"{one:.0f}" for one in ours)
        lines.append(
            f"{what}: {name} of {sum(map(len, rounds))} to offer and gate: {figures} ms, "
            f"{ratios} of the quiet"
        )
    told = "\n".join([*lines, f"flood records: {bench.flood}; the aim is {AIM:g} of the quiet"])
    print(told)  # noqa: T201 - the figures are what the test is run for by hand
    return told
