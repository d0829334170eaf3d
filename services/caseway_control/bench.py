"""Measures the reference claim on both logs in one run, beside a floor without logic.

The reference claim has three agent tasks, one gate with its timer and a person's decision, and
one effect. Everything runs on this machine: broker, database, services, agents and people; CPU
and memory are summed over all of those processes.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from caseway.client import Client
from caseway.contracts import topics
from caseway.contracts.codec import type_of
from caseway.contracts.fields import JsonObject
from caseway.hosting.kafka_log import KafkaLog
from caseway.hosting.log import Log
from caseway.kernel.identity import shard_of
from caseway_control.bench_floor import run_floor
from caseway_control.bench_history import multiply_closed
from caseway_control.fleet import POOLS, SERVICES, SHARDS, Fleet
from caseway_control.founding import found_namespace
from caseway_control.local_broker import LocalBroker
from caseway_control.local_postgres import LocalPostgres
from caseway_control.processes import cpu_seconds, pss_bytes
from caseway_control.spaces import load_settings, open_space
from caseway_control.wiring import running_engine

_WARM_UP = 40
_IDLE_S = 5.0
_QUIET_S, _QUIET_CORES = 0.5, 0.5
_CLOSED = b"case.closed"
_ONLOOKER_MS = 100
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; the defaults are what docs/performance.md reports."""

    cases: int = 1_000
    per_second: int = 5
    seconds: int = 20
    parked: int = 10_000
    history_factor: int = 10


@dataclass(slots=True)
class Figures:
    """What was measured on one log; None was not measured there."""

    log: str
    cases_per_s: float | None = None
    floor_cases_per_s: float | None = None
    drain_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_ms_per_case: float | None = None
    idle_cpu_percent: float | None = None
    recovery_s: float | None = None
    recovery_long_history_s: float | None = None
    pss_kib_per_open_case: float | None = None
    notes: list[str] = field(default_factory=list)


class Rig:
    """A running namespace under measurement: where to send, whom to count, how to restart."""

    def __init__(self, log: Log, fleet: Fleet, pids: Callable[[], list[int]]) -> None:
        self.log = log
        self.fleet = fleet
        self.pids = pids
        self._portal = Client(log, fleet.namespace, source="/bench")
        self._next = 0

    def claims(self, count: int, amount: str) -> list[Any]:
        """Drafts of so many new claims."""
        drafts = []
        for _ in range(count):
            self._next += 1
            drafts.append(
                self._portal.submission(
                    "insurance-claim", "bench", f"claim-{self._next}", _facts(amount)
                )
            )
        return drafts

    @asynccontextmanager
    async def closings(self) -> AsyncIterator[asyncio.Queue[tuple[str, int]]]:
        """(case id, append time in ms) of every closing from now on."""
        queue: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        # Times are those of the append, so whoever only looks on may come late and weigh less.
        feed = await self.log.feed(_ONLOOKER_MS)
        places = [(topics.CASES.name, number) for number in range(self.log.shards)]
        await feed.seek({place: await self.log.end(place) for place in places})

        async def follow() -> None:
            while True:
                for records in (await feed.fetch(0.5)).values():
                    for record in records:
                        if ("ce_type", _CLOSED) in record.headers:
                            await queue.put(((record.key or b"").decode(), record.at_ms))

        task = asyncio.create_task(follow())
        try:
            yield queue
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await feed.close()


async def measure_work(rig: Rig, plan: Plan, figures: Figures, tell: Tell) -> None:
    """Throughput with CPU, latency at a fixed rate, and what an idle namespace costs."""
    async with rig.closings() as closed:
        await _send_and_wait(rig, closed, rig.claims(_WARM_UP, "30000.00"))
        tell(f"{figures.log}: {plan.cases} claims at once")
        began, cpu = time.monotonic(), cpu_seconds(rig.pids())
        await _send_and_wait(rig, closed, rig.claims(plan.cases, "30000.00"))
        figures.cases_per_s = plan.cases / (time.monotonic() - began)
        figures.drain_s = await _until_quiet(rig)
        figures.cpu_ms_per_case = (cpu_seconds(rig.pids()) - cpu) / plan.cases * 1000
        tell(f"{figures.log}: {plan.per_second} claims a second for {plan.seconds} s")
        spans = await _at_rate(rig, closed, plan)
        figures.p50_ms = statistics.median(spans)
        figures.p99_ms = statistics.quantiles(spans, n=100)[98]
    tell(f"{figures.log}: idle for {_IDLE_S:.0f} s")
    cpu = cpu_seconds(rig.pids())
    await asyncio.sleep(_IDLE_S)
    figures.idle_cpu_percent = (cpu_seconds(rig.pids()) - cpu) / _IDLE_S * 100


async def _until_quiet(rig: Rig, timeout_s: float = 120) -> float:
    """Seconds until timers, seals and the projection have caught up: nobody computes much."""
    began = time.monotonic()
    async with asyncio.timeout(timeout_s):
        while True:
            asked, cpu = time.monotonic(), cpu_seconds(rig.pids())
            await asyncio.sleep(_QUIET_S)
            if cpu_seconds(rig.pids()) - cpu < _QUIET_S * _QUIET_CORES:
                return asked - began


async def _send_and_wait(
    rig: Rig, closed: asyncio.Queue[tuple[str, int]], drafts: list[Any]
) -> None:
    await rig.log.append(drafts)
    async with asyncio.timeout(60 + len(drafts)):
        for _ in drafts:
            await closed.get()


async def _at_rate(rig: Rig, closed: asyncio.Queue[tuple[str, int]], plan: Plan) -> list[float]:
    """Milliseconds from the append of a submission to the append of its closing."""
    sent: dict[str, int] = {}
    for draft in rig.claims(plan.per_second * plan.seconds, "30000.00"):
        due = time.monotonic() + 1 / plan.per_second
        ((_, at_ms),) = await rig.log.append([draft])
        sent[draft.key.decode()] = at_ms
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    spans: list[float] = []
    async with asyncio.timeout(60):
        while len(spans) < len(sent):
            case_id, at_ms = await closed.get()
            spans.append(float(at_ms - sent[case_id]))
    return spans


async def park(rig: Rig, count: int, tell: Tell) -> None:
    """Bring so many claims to their gate, where nobody decides."""
    feed = await rig.log.feed()
    places = [(topics.APPROVALS.name, number) for number in range(rig.log.shards)]
    await feed.seek({place: await rig.log.end(place) for place in places})
    left = count
    await rig.log.append(rig.claims(count, "75000.00"))
    async with asyncio.timeout(120 + count / 10):
        while left > 0:
            for records in (await feed.fetch(0.5)).values():
                left -= sum(type_of(record) == "gate.opened" for record in records)
            tell(f"parking: {count - left} of {count}")
    await feed.close()


async def measure_kafka(directory: Path, plan: Plan, tell: Tell, *, flush: bool) -> Figures:
    """Everything on a real broker; with `flush`, every record is flushed to disk on its own."""
    figures = Figures("kafka, flush per message" if flush else "kafka")
    with LocalBroker(directory / "broker") as broker, LocalPostgres(directory / "pg") as postgres:
        namespace = f"b{int(time.time())}"
        fleet = Fleet(directory, broker.bootstrap, namespace, postgres_url=postgres.dsn)
        log = KafkaLog(broker.bootstrap, namespace, SHARDS, flush_messages=1 if flush else None)
        try:
            await fleet.found(log)
            fleet.start_all()
            await fleet.publish(log)
            outside = [os.getpid(), broker.pid or 0, postgres.pid]
            rig = Rig(log, fleet, lambda: [*outside, *fleet.pids()])
            async with fleet.people_and_agents(log, is_fresh=True):
                await measure_work(rig, plan, figures, tell)
            if not flush:
                await _measure_recovery(rig, plan, figures, tell)
            tell(f"{figures.log}: the floor")
            figures.floor_cases_per_s = await _floor(broker, plan, flush=flush)
        finally:
            fleet.stop()
            await log.close()
    return figures


async def _measure_recovery(rig: Rig, plan: Plan, figures: Figures, tell: Tell) -> None:
    """Kill all services with many cases open, then with a long history too; until all are ready."""
    before = pss_bytes(rig.fleet.pids())
    async with rig.fleet.people_and_agents(rig.log, is_fresh=True, is_deciding=False):
        await park(rig, plan.parked, tell)
    figures.pss_kib_per_open_case = (pss_bytes(rig.fleet.pids()) - before) / plan.parked / 1024
    tell("recovery with parked cases")
    figures.recovery_s = await _restart(rig)
    rig.fleet.stop()
    # To copy the history into the database takes longer than all the rest, and the projector
    # begins where its store says, whatever lies before that.
    rig.fleet.postgres_url = ""
    await _lengthen(rig, plan.parked * plan.history_factor, tell)
    tell("recovery with parked cases and a long history: once until all of it is sealed")
    rig.fleet.start_all()
    await rig.fleet.until_ready()
    await _until_quiet(rig, 60 + plan.parked * plan.history_factor / 100)
    tell("recovery with parked cases and a long history: measured")
    figures.recovery_long_history_s = await _restart(rig)


async def _lengthen(rig: Rig, count: int, tell: Tell) -> None:
    portal = Client(rig.log, rig.fleet.namespace, source="/bench")
    patterns: dict[int, str] = {}
    for n in range(1, _WARM_UP + 1):
        draft = portal.submission("insurance-claim", "bench", f"claim-{n}", _facts("30000.00"))
        case_id = (draft.key or b"").decode()
        patterns.setdefault(shard_of(case_id.encode(), rig.log.shards), case_id)
    for shard, case_id in sorted(patterns.items()):
        tell(f"history: shard {shard}")
        await multiply_closed(rig.log, case_id, shard, count // len(patterns))


async def _restart(rig: Rig) -> float:
    for service in SERVICES:
        rig.fleet.kill(service)
    began = time.monotonic()
    rig.fleet.start_all()
    await rig.fleet.until_ready()
    return time.monotonic() - began


async def _floor(broker: LocalBroker, plan: Plan, *, flush: bool) -> float:
    namespace = f"f{int(time.time())}"
    log = KafkaLog(broker.bootstrap, namespace, SHARDS, flush_messages=1 if flush else None)
    try:
        await log.create_topics(topics.all_topics(POOLS))
        await run_floor(log, _WARM_UP, 60)
        return plan.cases / await run_floor(log, plan.cases, 120)
    finally:
        await log.close()


async def measure_embedded(directory: Path, plan: Plan, tell: Tell) -> Figures:
    """The same work with everything in this one process, over one file."""
    figures = Figures("embedded")
    with LocalPostgres(directory / "pg") as postgres:
        settings = load_settings(log=f"sqlite:{directory}", postgres_url=postgres.dsn)
        founded = await found_namespace(settings, directory / "keys")
        fleet = Fleet(directory, "", founded.namespace)
        async with open_space(settings) as space, running_engine(space):
            await fleet.publish(space.log)
            rig = Rig(space.log, fleet, lambda: [os.getpid(), postgres.pid])
            async with fleet.people_and_agents(space.log, is_fresh=True):
                await measure_work(rig, plan, figures, tell)
    return figures


async def run_bench(plan: Plan, tell: Tell) -> Mapping[str, Any]:
    """All figures with the machine and the versions they were measured on."""
    results = []
    with tempfile.TemporaryDirectory(prefix="caseway-bench-") as name:
        for index, flush in enumerate((False, True)):
            place = Path(name) / f"kafka-{index}"
            place.mkdir()
            results.append(await measure_kafka(place, plan, tell, flush=flush))
        place = Path(name) / "embedded"
        place.mkdir()
        results.append(await measure_embedded(place, plan, tell))
    return {"machine": machine(), "plan": asdict(plan), "figures": [asdict(r) for r in results]}


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    from importlib.metadata import version  # noqa: PLC0415

    packages = ("aiokafka", "apsw", "asyncpg", "pydantic", "caseway")
    return {
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _facts(amount: str) -> JsonObject:
    return {
        "claimant": "claimant-0123456789abcdef",
        "payee": "payee-0123456789abcdef",
        "amount": {"amount": amount, "currency": "USD"},
        "incident_kind": "water",
        "incident_on": "2026-11-14",
        "evidence": [
            {
                "uri": "s3://claims-evidence/report.pdf",
                "sha256": "0" * 64,
                "size_bytes": 184320,
                "media_type": "application/pdf",
            }
        ],
    }
