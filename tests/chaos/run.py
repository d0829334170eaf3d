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
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from aiokafka import TopicPartition

from caseway.contracts import topics
from caseway_control.fleet import POOLS, SHARDS
from caseway_control.local_broker import LocalBroker
from caseway_control.roster import CARDS
from tests.chaos.crowd import Crowd
from tests.chaos.gauges import BESIDE, Gauges
from tests.chaos.offsets import RETENTION, known, spoil
from tests.chaos.oracle import Findings, Oracle
from tests.chaos.plan import Plan, Report
from tests.chaos.proxied import POINTS, ProxyFarm
from tests.chaos.stage import (
    COMING_AND_GOING,
    INSTANCES,
    LASTING,
    SINGLE,
    STANDBYS,
    Rows,
    Stage,
)

# Longer than the session of a member (6 s) and shorter than the timeout of a transaction (10 s).
_FROZEN_S = 8.0
_POINT_WAIT_S = 4.0
_PAUSED_S = 6.0
_STILL_S = 3.0
_ODD = ("poison", "poison", "delete", "move", "stop", "pause", "restore")
_SUBMITTING = 0.85  # of the time of torment
T = TypeVar("T")
Tell = Callable[[str], None]


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
            "expire": (plan.expire_s, self._expire),
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

    def _free(self, chosen: random.Random, names: Sequence[str]) -> str:
        """One of these to whom nothing else is being done, if there is one."""
        return chosen.choice([n for n in names if not self._stage.busy[n].locked()] or names)

    async def _whole(self, work: Awaitable[T]) -> T:
        """Do it to its end, even when the time of torment ends before: half a restart is none."""
        begun = asyncio.ensure_future(work)
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)
        return await asyncio.shield(begun)

    async def _kill(self, chosen: random.Random) -> None:
        """SIGKILL, every other time while the victim stands at a named point of a commit."""
        name = self._free(chosen, LASTING)
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
        name = self._free(chosen, ("router", "router#1", *SINGLE))
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
                group = self._group(chosen.choice(["router", *SINGLE]))
                topic = f"{self._stage.namespace}.{topics.SUBMISSIONS.name}"
                far = [chosen.choice([0, 10**9]) for _ in range(SHARDS if what == "move" else 0)]
                came = await self._whole(spoil(self._broker.bootstrap, group, topic, far))
                self._did[f"group offsets {came}"] += 1
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

    async def _expire(self, chosen: random.Random) -> None:
        """Keep a whole service away until the broker has forgotten how far it had read."""
        name = self._free(chosen, SINGLE)
        async with self._stage.busy[name]:
            bootstrap, group = self._broker.bootstrap, self._group(name)
            if not await known(bootstrap, group):
                return  # they were deleted just now
            await self._whole(self._stage.leave(name))
            try:
                while await known(bootstrap, group):
                    await asyncio.sleep(1)
                self._did["group offsets expired"] += 1
            finally:
                self._stage.start(name)

    def _group(self, service: str) -> str:
        return f"{self._stage.namespace}.{service}"

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
        broker = stack.enter_context(LocalBroker(directory / "broker", properties=RETENTION))
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
