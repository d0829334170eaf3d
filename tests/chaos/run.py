"""One chaos run: torment for some minutes, then peace, then judgement.

Faults come from a seed: which, on whom and when. What they meet depends on the machine, so a seed
says what was done and not what happened. Every lane goes on beside the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import TopicPartition
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as Position
from confluent_kafka._model import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from caseway.contracts import topics
from caseway_control.fleet import POOLS, SHARDS
from caseway_control.local_broker import LocalBroker
from caseway_control.roster import CARDS
from tests.chaos.crowd import Crowd
from tests.chaos.gauges import BESIDE, Gauges, Stall
from tests.chaos.oracle import Findings, Oracle
from tests.chaos.proxied import POINTS, ProxyFarm
from tests.chaos.stage import COMING_AND_GOING, INSTANCES, LASTING, STANDBYS, Rows, Stage

# Longer than the session of a member (6 s) and shorter than the timeout of a transaction (10 s).
_FROZEN_S = 8.0
_POINT_WAIT_S = 4.0
_PAUSED_S = 6.0
_ADMIN_S = 10.0
_STILL_S = 3.0
_ODD = ("poison", "poison", "delete", "move", "stop", "pause", "restore")
_SUBMITTING = 0.85  # of the time of torment
LANES = ("kill", "restart", "freeze", "come-and-go", "odd", "proxy")
# A freeze takes this long by itself, however often they are asked for.
_FREEZE_TAKES_S = 13.0
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how much, and seconds from one fault of a kind to the next."""

    minutes: float = 10.0
    cases: int = 5_000
    seed: int = 1
    kill_s: float = 7.0
    restart_s: float = 75.0
    freeze_s: float = 45.0
    come_and_go_s: float = 10.0
    odd_s: float = 9.0
    patience_s: float = 420.0
    lanes: tuple[str, ...] = LANES

    @property
    def seconds(self) -> float:
        """Of torment."""
        return self.minutes * 60

    def least(self) -> dict[str, int]:
        """Fewer than this, and the run proves nothing: about two thirds of what is drawn."""
        freeze_s = max(self.freeze_s, _FREEZE_TAKES_S)
        least = {
            "kill": ("kills", self.seconds / self.kill_s * 0.7),
            "restart": ("broker restarts", self.seconds / self.restart_s * 0.8),
            "freeze": ("freezes", self.seconds / freeze_s * 0.6),
            "come-and-go": ("comings and goings", self.seconds / self.come_and_go_s * 0.6),
            "proxy": ("proxy faults", self.seconds),
        }
        return {least[lane][0]: int(least[lane][1]) for lane in self.lanes if lane in least}


@dataclass(slots=True)
class Report:
    """All that is printed at the end."""

    plan: dict[str, Any]
    did: Counter[str] = field(default_factory=Counter)
    proxy_faults: dict[str, int] = field(default_factory=dict)
    late_answers: dict[str, int] = field(default_factory=dict)
    takeovers: dict[str, dict[str, float | str]] = field(default_factory=dict)
    longest_stalls: dict[str, Stall] = field(default_factory=dict)
    submitted: int = 0
    closed: int = 0
    torment_s: float = 0.0
    closed_after_s: float = 0.0
    rows: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    oracle: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


class Run:
    """The stage, the crowd, and the lanes of faults."""

    def __init__(
        self,
        plan: Plan,
        broker: LocalBroker,
        stage: Stage,
        crowd: Crowd,
        farm: ProxyFarm,
        rows: Rows,
        tell: Tell,
    ) -> None:
        self.plan = plan
        self.report = Report(asdict(plan))
        self._broker = broker
        self._stage = stage
        self._crowd = crowd
        self._farm = farm
        self._rows = rows
        self._tell = tell
        self._did = self.report.did
        self._decks: dict[str, list[Any]] = {}
        self._begun: set[asyncio.Future[Any]] = set()
        self._gauges = Gauges(broker.bootstrap, _watched(stage.namespace))

    # -- lanes --------------------------------------------------------------------------------

    async def torment(self) -> None:
        """All lanes until the time is over; then everything that was stopped runs again."""
        plan = self.plan
        faults = {
            "kill": (plan.kill_s, self._kill),
            "restart": (plan.restart_s, self._restart_broker),
            "freeze": (plan.freeze_s, self._freeze),
            "come-and-go": (plan.come_and_go_s, self._come_and_go),
            "odd": (plan.odd_s, self._odd),
        }
        lanes = [self._lane(name, *faults[name]) for name in plan.lanes if name in faults]
        lanes += [
            self._progress(),
            self._crowd.submit(plan.cases, plan.seconds * _SUBMITTING),
        ]
        began = time.monotonic()
        self._farm.foul(is_foul="proxy" in plan.lanes)
        tasks = [asyncio.create_task(lane) for lane in lanes]
        done, going = await asyncio.wait(
            tasks[:-1], timeout=plan.seconds, return_when="FIRST_EXCEPTION"
        )
        self._farm.foul(is_foul=False)
        for task in done:
            task.result()
        await _ended(going)
        await asyncio.gather(*self._begun)
        await tasks[-1]
        self._calm()
        self.report.torment_s = time.monotonic() - began

    async def _lane(
        self, name: str, every_s: float, fault: Callable[[random.Random], Awaitable[None]]
    ) -> None:
        """One fault after the other, at random moments that are `every_s` apart on average."""
        chosen = random.Random(f"{self.plan.seed}/{name}")
        due = time.monotonic()
        while True:
            due += every_s * chosen.uniform(0.6, 1.4)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await fault(chosen)

    def _next(self, chosen: random.Random, name: str, every: Sequence[Any]) -> Any:
        """One of these, and each of them before any comes again."""
        deck = self._decks.setdefault(name, [])
        if not deck:
            deck.extend(chosen.sample(list(every), len(every)))
        return deck.pop()

    async def _whole(self, work: Awaitable[Any]) -> None:
        """Do it to its end, even when the time of torment ends before: half a restart is none."""
        begun = asyncio.ensure_future(work)
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)
        await asyncio.shield(begun)

    async def _kill(self, chosen: random.Random) -> None:
        """SIGKILL, every other time while the victim stands at a named point of a commit."""
        name = chosen.choice([n for n in LASTING if not self._stage.busy[n].locked()] or LASTING)
        async with self._stage.busy[name]:
            if chosen.random() < 0.5:
                point = self._next(chosen, "point", POINTS)
                hit = await self._farm.stand_at(name, point, _POINT_WAIT_S)
                self._did["kills at a point" if hit else "kills at random"] += 1
                if hit:
                    self._did[f"killed {hit.point}"] += 1
            else:
                self._did["kills at random"] += 1
            self._did["kills"] += 1
            self._gauges.killed(name.partition("#")[0], self._stage.owned(name))
            self._stage.kill(name)
            self._stage.start(name)

    async def _restart_broker(self, chosen: random.Random) -> None:
        with self._gauges.outage():
            if chosen.random() < 0.5:
                await self._whole(asyncio.to_thread(self._lose_broker))
                self._did["broker kills"] += 1
            else:
                await self._whole(asyncio.to_thread(self._broker.restart))
            self._did["broker restarts"] += 1

    def _lose_broker(self) -> None:
        self._broker.kill()
        self._broker.start()

    async def _freeze(self, chosen: random.Random) -> None:
        """SIGSTOP beyond the session, so that another takes over and the sleeper wakes a zombie."""
        name = chosen.choice(["router", "router#1", "intake", "approval", "sla_watchdog"])
        standby = f"{name}#1"
        async with self._stage.busy[name]:
            if standby in STANDBYS:
                self._stage.start(standby)
            with self._gauges.freeze(self._stage.log_topic(name)):
                self._stage.signal(name, signal.SIGSTOP)
                try:
                    await asyncio.sleep(_FROZEN_S)
                finally:
                    self._stage.signal(name, signal.SIGCONT)
                self._did["freezes"] += 1
                if standby in STANDBYS:  # both are there, and the group shares out anew
                    await asyncio.sleep(_FROZEN_S / 2)
                    await self._whole(self._stage.leave(standby))

    async def _come_and_go(self, _chosen: random.Random) -> None:
        if self._stage.runs(COMING_AND_GOING):
            await self._whole(self._stage.leave(COMING_AND_GOING))
        else:
            self._stage.start(COMING_AND_GOING)
        self._did["comings and goings"] += 1

    async def _odd(self, chosen: random.Random) -> None:
        """Poison, group offsets, or the database."""
        match what := self._next(chosen, "odd", _ODD):
            case "poison":
                await self._crowd.poison()
            case "delete" | "move":
                spoiling = asyncio.to_thread(
                    self._spoil_offsets, chosen, is_deleted=what == "delete"
                )
                await self._whole(spoiling)
            case "stop":
                await self._whole(asyncio.to_thread(self._rows.interrupt))
            case "restore":
                await self._whole(asyncio.to_thread(self._rows.restore))
            case "pause":
                self._rows.pause(signal.SIGSTOP)
                try:
                    await asyncio.sleep(_PAUSED_S)
                finally:
                    self._rows.pause(signal.SIGCONT)

    def _spoil_offsets(self, chosen: random.Random, *, is_deleted: bool) -> None:
        """Delete a service's group offsets, as their expiry does, or set them to nonsense."""
        service = chosen.choice(["intake", "router", "approval", "sla_watchdog"])
        group = f"{self._stage.namespace}.{service}"
        admin = AdminClient({"bootstrap.servers": self._broker.bootstrap, "log_level": 0})
        if is_deleted:
            asked = admin.delete_consumer_groups([group], request_timeout=_ADMIN_S)
        else:
            topic = f"{self._stage.namespace}.{topics.SUBMISSIONS.name}"
            far = [Position(topic, n, chosen.choice([0, 10**9])) for n in range(SHARDS)]
            asked = admin.alter_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, far)], request_timeout=_ADMIN_S
            )
        for answer in asked.values():
            try:
                answer.result(_ADMIN_S)
                self._did["group offsets deleted" if is_deleted else "group offsets moved"] += 1
            except (KafkaException, TimeoutError):
                self._did["group offsets refused"] += 1  # a transaction on them is open just now

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(5)
            self._stage.revive()
            done, crowd = self._did, self._crowd
            self._tell(
                f"submitted {len(crowd.submitted)}, closed {len(crowd.closed)}, "
                f"kills {done['kills']}, broker restarts {done['broker restarts']}, "
                f"freezes {done['freezes']}, comings and goings {done['comings and goings']}"
            )

    def _calm(self) -> None:
        """Faults off: everything that is to run does."""
        for name in INSTANCES:
            self._stage.signal(name, signal.SIGCONT)
        for name in LASTING:
            if not self._stage.runs(name):
                self._stage.start(name)
        self._stage.revive()

    # -- the whole ----------------------------------------------------------------------------

    async def go(self) -> Report:
        """Torment, wait until every accepted case is closed, judge."""
        crowd, report = self._crowd, self.report
        beside = [asyncio.create_task(crowd.keep(work)) for work in crowd.works()]
        beside.append(asyncio.create_task(self._gauges.watch()))
        try:
            await self.torment()
            began = time.monotonic()
            await self._until_closed()
            report.closed_after_s = time.monotonic() - began
            await self._until_still()
        finally:
            await _ended(beside)
        self._count()
        tally = await self._farm.tally()
        report.proxy_faults, report.late_answers = tally["faults"], tally["late_answers"]
        report.did["proxy faults"] = sum(report.proxy_faults.values())
        await self._judge()
        return report

    async def _until_closed(self) -> None:
        crowd = self._crowd
        deadline = time.monotonic() + self.plan.patience_s
        while crowd.submitted - crowd.closed and time.monotonic() < deadline:
            self._stage.revive()
            self._tell(f"peace: closed {len(crowd.closed)} of {len(crowd.submitted)}")
            await asyncio.sleep(1)

    async def _until_still(self) -> None:
        """Every service is ready and no log grew for a while: what follows a closing is done."""
        deadline = time.monotonic() + self.plan.patience_s
        ends, since = None, time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < _STILL_S:
            asked = (asyncio.to_thread(self._stage.readiness, name) for name in LASTING)
            ready = [is_ready for is_ready, _ in await asyncio.gather(*asked)]
            now = {p: e for p, e in self._gauges.ends.items() if not p.topic.endswith(".audit")}
            if now != ends or not all(ready):
                ends, since = now, time.monotonic()
            await asyncio.sleep(0.2)

    def _count(self) -> None:
        report, gauges, stage, rows = self.report, self._gauges, self._stage, self._rows
        report.submitted, report.closed = len(self._crowd.submitted), len(self._crowd.closed)
        report.did["submissions tripled"] = self._crowd.tripled
        report.did["poison records"] = self._crowd.poisoned
        report.did["database stopped"] = rows.stops
        report.did["database paused"] = rows.pauses
        report.did["database restored from an old copy"] = rows.restores
        report.did["agents and people begun anew"] = self._crowd.restarts
        report.did["processes that ended by themselves"] = sum(stage.unforced.values())
        report.takeovers = {beside: gauges.spans(beside) for beside in BESIDE}
        report.longest_stalls = {beside: gauges.longest_stall(beside) for beside in BESIDE}

    async def _judge(self) -> None:
        report, stage = self.report, self._stage
        self._tell("judgement: the whole log, by another client library")
        oracle = Oracle(self._broker.bootstrap, stage.namespace, SHARDS, POOLS)
        found: Findings = await asyncio.to_thread(
            oracle.judge, set(self._crowd.submitted), stage.bank
        )
        report.oracle = {k: v for k, v in asdict(found).items() if k != "violations"}
        report.violations += found.violations
        for what, least in self.plan.least().items():
            if report.did[what] < least:
                report.violations.append(f"only {report.did[what]} {what}, not {least}")
        if stage.unforced:
            report.violations.append(f"processes ended by themselves: {dict(stage.unforced)}")
        await self._compare_rows(found.events)
        self._tell("judgement: two replays in other time zones and with other hash seeds")
        replays = [_verify(stage, "1", "UTC"), _verify(stage, "77", "Pacific/Chatham")]
        for code, digests, said in await asyncio.gather(*replays):
            if code != 0:
                report.violations.append(f"verify: exit {code}: {said}")
            if report.digests and report.digests != digests:
                report.violations.append(f"replays differ: {report.digests} and {digests}")
            report.digests = digests

    async def _compare_rows(self, events: int) -> None:
        """The rows of the last database hold every event of every log, once each."""
        deadline = time.monotonic() + self.plan.patience_s
        dsn, count = self._rows.start(), -1
        while time.monotonic() < deadline:
            session = await asyncpg.connect(dsn)
            try:
                count = await session.fetchval(
                    "SELECT count(*) FROM caseway.events WHERE topic = ANY($1)",
                    ["intake", "cases", "approvals", "deadlines"],
                )
            finally:
                await session.close()
            if count >= events - self.report.oracle["checkpoints"]:
                break
            await asyncio.sleep(0.5)
        self.report.rows = count
        if count != events - self.report.oracle["checkpoints"]:
            self.report.violations.append(f"{count} rows for {events} events")


async def _verify(stage: Stage, seed: str, zone: str) -> tuple[int, dict[str, str], str]:
    """`caseway verify` in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "caseway_control.cli",
        "verify",
        "--json",
        env=stage.environment() | {"PYTHONHASHSEED": seed, "TZ": zone},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    said = json.loads(output) if output else {}
    digests = {name: found["digest"] for name, found in said.get("services", {}).items()}
    return process.returncode or 0, digests, json.dumps(said.get("findings", ""))[:2000]


async def _ended(tasks: Any) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _watched(namespace: str) -> dict[TopicPartition, list[TopicPartition]]:
    """Every partition of a log, with what its owner reads."""
    return {
        TopicPartition(f"{namespace}.{card.own.name}", shard): [
            TopicPartition(f"{namespace}.{i.topic.name}", shard if i.topic.sharded else 0)
            for i in card.inputs
            if i.topic.sharded or shard == 0
        ]
        for card in CARDS.values()
        for shard in range(SHARDS)
    } | {TopicPartition(f"{namespace}.{topics.AUDIT.name}", 0): []}


@asynccontextmanager
async def prepared(plan: Plan, directory: Path, tell: Tell) -> AsyncIterator[Run]:
    """A broker, a database, proxies and running services; all of it is gone afterwards."""
    async with AsyncExitStack() as stack:
        broker = stack.enter_context(LocalBroker(directory / "broker"))
        rows = Rows(directory / "rows")
        stack.callback(rows.stop)
        dsn = await asyncio.to_thread(rows.start)
        farm = await stack.enter_async_context(ProxyFarm(broker.bootstrap, INSTANCES, plan.seed))
        namespace = f"chaos{os.getpid()}"
        stage = Stage(directory, broker.bootstrap, namespace, farm.ports, postgres_url=dsn)
        stack.callback(stage.stop)
        log = stage.log()
        stack.push_async_callback(log.close)
        tell("founding")
        await stage.found(log)
        stage.start_all()
        await stage.publish(log)
        yield Run(plan, broker, stage, Crowd(stage, log, plan.seed), farm, rows, tell)


async def chaos(plan: Plan, directory: Path, tell: Tell) -> Report:
    """One run from nothing to its report."""
    async with prepared(plan, directory, tell) as run:
        with contextlib.suppress(asyncio.CancelledError):
            return await run.go()
        raise asyncio.CancelledError
