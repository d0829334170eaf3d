"""The reference story in a terminal: a 75,000 USD claim from submission to payment.

The engine is a process of its own, over one SQLite file, and is killed with SIGKILL while the
claim waits for its approver. Agents, bank and people are outside of it and speak only through the
public topics. Every command that it shows is one that anybody can run.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console

from caseway.client import Client
from caseway.contracts import case, decision
from caseway.contracts.codec import Event, decode
from caseway.contracts.topics import APPROVALS, CASES, INTAKE, SERVICES, snapshots
from caseway.hosting.log import Log, Place
from caseway.hosting.sqlite_file import forget
from caseway.hosting.sqlite_log import SqliteLog
from caseway_control.bootstrap import publish, read_folder
from caseway_control.demo_agents import DEMO_AGENTS, DemoAgent, DemoBank
from caseway_control.founding import found_namespace
from caseway_control.keys import ROOTS, key_path, load_key
from caseway_control.local_postgres import LocalPostgres
from caseway_control.spaces import Home, load_settings

_APPROVER = "clara"
_WAIT_S = 30.0


class Demo:
    """One run of the story in one directory."""

    def __init__(self, home: Home, out: Console, *, is_scripted: bool) -> None:
        self._home = home
        self._out = out
        self._is_scripted = is_scripted
        self._address = f"sqlite:{home.directory}"
        self._engine: asyncio.subprocess.Process | None = None
        self._postgres = LocalPostgres(home.directory / "postgres")
        self._bank = DemoBank(timeouts=1)
        self._began = time.monotonic()

    async def run(self) -> bool:
        """Tell the story; True when everything it claims was seen."""
        settings = load_settings(log=self._address)
        self._say("a namespace on one SQLite file, a real PostgreSQL, [bold]demo keys[/]")
        _, founded = await asyncio.gather(
            asyncio.to_thread(self._postgres.start),
            found_namespace(settings, self._home.keys),
        )
        try:
            await self._start_engine()
            log = SqliteLog(self._home.database, founded.shards)
            try:
                return await self._story(log, founded.namespace)
            finally:
                await log.close()
        finally:
            await self._stop_engine(signal.SIGTERM)
            await asyncio.to_thread(self._postgres.stop)

    async def _story(self, log: Log, namespace: str) -> bool:
        documents = read_folder([self._home.directory / "insurance"])
        outcomes = await publish(log, documents, [self._key(key_id) for key_id in ROOTS])
        refused = [outcome for outcome in outcomes if outcome.verdict == "refused"]
        assert not refused, refused
        self._say(f"{len(outcomes)} documents published, the matrix signed by two persons")
        portal = Client(log, namespace, source="/claims-portal")
        claim = json.loads(_claim_file().read_text("utf-8"))
        draft = portal.submission(**claim)
        case_id = (draft.key or b"").decode()
        async with self._agents(log, namespace), _following(log, case_id) as events:
            await log.append([draft])
            self._say(
                f"submitted: {claim['key']}, 75,000.00 USD, {len(claim['facts']['evidence'])}"
                f" pieces of evidence; it is case [bold]{case_id}[/]"
            )
            await self._until(events, decision.GateOpened)
            await self._kill_and_restart()
            await self._decide(case_id)
            await self._until(events, case.CaseClosed)
        return await self._prove(case_id)

    async def _kill_and_restart(self) -> None:
        await self._stop_engine(signal.SIGKILL)
        self._say("[bold red]SIGKILL[/]: the engine is gone, the case is in the log")
        began = time.monotonic()
        await self._start_engine()
        self._say(f"the engine runs again after {time.monotonic() - began:.1f} s")

    async def _decide(self, case_id: str) -> None:
        key = key_path(self._home.keys, f"person:{_APPROVER}")
        arguments = ["decide", case_id, "--as", _APPROVER, "--key", str(key)]
        if self._is_scripted:
            self._say("the demo's claims manager decides, on this screen:")
            arguments += ["--approve", "--reason", "The evidence supports the estimate."]
        else:
            self._say("you are Clara, the claims manager; this is all you need:")
        code = await self._caseway(*arguments)
        assert code == 0, f"caseway decide ended with {code}"

    async def _prove(self, case_id: str) -> bool:
        assert len(self._bank.payments) == 1, self._bank.payments
        self._say(
            f"the bank was asked {self._bank.requests} time(s), its first answer was lost, and it "
            f"paid [bold]{len(self._bank.payments)}[/] time"
        )
        await self._caseway("history", case_id)
        before = await self._verified()
        await self._stop_engine(signal.SIGTERM)
        await asyncio.to_thread(self._wipe)
        self._say("every snapshot and the whole database are deleted")
        await self._start_engine()
        after = await self._verified()
        is_equal = bool(before == after)
        self._say(
            "rebuilt from the log: every state digest is "
            + ("[bold green]the same[/]" if is_equal else "[bold red]different[/]")
        )
        self._say(f"done in {time.monotonic() - self._began:.1f} s")
        return is_equal

    async def _verified(self) -> Any:
        """The verifier's digests, after it printed its verdict."""
        process = await asyncio.create_subprocess_exec(
            *_command("verify", "--json", "--log", self._address),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        report = json.loads(output)
        assert process.returncode == 0, report
        self._say("proofs verified: logs whole, trees and checkpoints agree")
        return report["services"]

    def _wipe(self) -> None:
        forget(self._home.database, [snapshots(service).name for service in SERVICES])
        self._postgres.stop()
        shutil.rmtree(self._home.directory / "postgres", ignore_errors=True)
        self._postgres = LocalPostgres(self._home.directory / "postgres")
        self._postgres.start()

    # -- parts --------------------------------------------------------------------------------

    async def _start_engine(self) -> None:
        environment = os.environ | {
            "CASEWAY_HTTP_PORT": "0",
            "CASEWAY_LOG_LEVEL": "error",
            "CASEWAY_POSTGRES_URL": self._postgres.dsn,
        }
        self._engine = await asyncio.create_subprocess_exec(
            *_command("up", str(self._home.directory), "--json"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._engine.stdout is not None
        async with asyncio.timeout(_WAIT_S):
            await self._engine.stdout.readline()

    async def _stop_engine(self, how: signal.Signals) -> None:
        engine, self._engine = self._engine, None
        if engine is not None and engine.returncode is None:
            engine.send_signal(how)
            async with asyncio.timeout(_WAIT_S):
                await engine.wait()

    @asynccontextmanager
    async def _agents(self, log: Log, namespace: str) -> AsyncIterator[None]:
        tasks = []
        for name in DEMO_AGENTS:
            client = Client(log, namespace, keys=[self._key(f"agent:{name}")])
            agent = DemoAgent(log, client, name, self._bank)
            tasks.append(asyncio.create_task(agent.run(start={})))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until(self, events: AsyncIterator[Event], kind: type) -> None:
        """Tell what happens, until an event of this kind."""
        async with asyncio.timeout(_WAIT_S):
            async for event in events:
                text = _TOLD.get(type(event.data), lambda _data: "")(event.data)
                if text:
                    self._say(text)
                if isinstance(event.data, kind):
                    return

    async def _caseway(self, *arguments: str) -> int:
        process = await asyncio.create_subprocess_exec(
            *_command(*arguments, "--log", self._address),
            stdin=asyncio.subprocess.DEVNULL if self._is_scripted else None,
        )
        return await process.wait()

    def _key(self, key_id: str) -> Any:
        return load_key(key_path(self._home.keys, key_id))

    def _say(self, text: str) -> None:
        self._out.print(f"[dim]{time.monotonic() - self._began:5.1f} s[/]  {text}", highlight=False)


async def run_demo(directory: Path | None, *, is_scripted: bool) -> bool:
    """Run the story in a directory that is kept, or in one that is thrown away."""
    out = Console()
    made = directory or Path(tempfile.mkdtemp(prefix="caseway-demo-"))
    try:
        return await Demo(Home(made), out, is_scripted=is_scripted).run()
    finally:
        if directory is None:
            shutil.rmtree(made, ignore_errors=True)


@asynccontextmanager
async def _following(log: Log, case_id: str) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of one case from its three logs, as they come."""
    feed = await log.feed()
    places: list[Place] = [
        (topic.name, number) for topic in (INTAKE, CASES, APPROVALS) for number in range(log.shards)
    ]
    await feed.seek({place: await log.end(place) for place in places})

    async def stream() -> AsyncIterator[Event]:
        while True:
            for records in (await feed.fetch(0.5)).values():
                for record in records:
                    if record.key == case_id.encode():
                        yield decode(record, is_sole_writer=True)

    try:
        yield stream()
    finally:
        await feed.close()


def _completed(data: Any) -> str:
    found = ", ".join(f"{name} {_short(value)}" for name, value in data.output.items())
    return f"{data.holder} finished {data.task_id}: {found} (confidence {data.confidence})"


def _short(value: Any) -> str:
    return f"{value['amount']} {value['currency']}" if isinstance(value, dict) else str(value)


_TOLD: dict[type, Callable[[Any], str]] = {
    case.CaseOpened: lambda data: f"admitted under {data.definition}",
    case.TaskCompleted: _completed,
    decision.GateOpened: lambda data: (
        f"authority row [bold]{data.row}[/]: {', '.join(data.roles)}, SLA {data.sla}, then "
        f"{' and '.join(data.rungs[0]) if data.rungs else 'nobody'}"
    ),
    case.GateConsumed: lambda data: f"{data.choice.value}d by {', '.join(data.by)}",
    case.EffectPermitted: lambda data: (
        f"one permit: pay {data.amount}, effect {data.effect_id[:12]}"
    ),
    case.EffectDoubted: lambda data: (
        f"payment in doubt ({data.reason}): the bank is asked by its id"
    ),
    case.CaseClosed: lambda data: f"closed: [bold green]{data.outcome}[/]",
}


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "caseway_control.cli", *arguments]


def _claim_file() -> Any:
    return resources.files("caseway_control").joinpath("data/demo/claim-75000.json")
