"""A whole namespace on Kafka: five service processes, demo people, demo agents and a bank.

For benchmarks, demonstrations and tests; a platform team has Kubernetes for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from caseway.client import Client
from caseway.contracts import topics
from caseway.contracts.control import PersonCard
from caseway.contracts.shard import ShardGenesis
from caseway.contracts.signing import SigningKey
from caseway.hosting.kafka_log import KafkaLog
from caseway.hosting.log import Log
from caseway_control.bootstrap import publish, read_folder, shipped_folder
from caseway_control.demo_agents import DEMO_AGENTS, DemoAgent, DemoBank, demo_cards
from caseway_control.demo_people import DemoApprovers
from caseway_control.genesis import found
from caseway_control.keys import (
    CHECKPOINT,
    DEMO_PERSONS,
    PSEUDONYM,
    ROOTS,
    key_path,
    load_key,
    make_keys,
)

SERVICES = ("intake", "router", "approval", "sla_watchdog", "audit")
POOLS = ("claims", "payments")
SHARDS = 4
# Until processes answer, on however busy a machine.
_START_S = 180.0
# What the interpreter is told to run; a test hands over another version of the services.
PROGRAM = ("-m", "caseway_control.cli")


class Fleet:
    """One namespace on a broker, its five services as processes, and its demo people and agents."""

    def __init__(
        self, directory: Path, bootstrap: str, namespace: str, *, postgres_url: str = ""
    ) -> None:
        self.directory = directory
        self.bootstrap = bootstrap
        self.namespace = namespace
        self.postgres_url = postgres_url
        self.keys = directory / "keys"
        self.bank = DemoBank()
        self.kills: Counter[str] = Counter()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        agents = [f"agent:{name}" for name in DEMO_AGENTS]
        persons = [f"person:{name}" for name in DEMO_PERSONS]
        make_keys(self.keys, [*ROOTS, CHECKPOINT, PSEUDONYM, *agents, *persons], is_demo=True)

    def key(self, key_id: str) -> SigningKey:
        """A demo key."""
        return load_key(key_path(self.keys, key_id))

    def environment(self) -> dict[str, str]:
        """What a service process is told."""
        # As an installed service has it: compiled modules are kept, which is 0.1 s of each start,
        # and output has a buffer, so that what is not flushed shows.
        dropped = ("CASEWAY_", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
        plain = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        return plain | {
            "CASEWAY_LOG": f"kafka://{self.bootstrap}",
            "CASEWAY_NAMESPACE": self.namespace,
            "CASEWAY_SHARDS": str(SHARDS),
            "CASEWAY_POOLS": ",".join(POOLS),
            "CASEWAY_CHECKPOINT_KEY_FILE": str(key_path(self.keys, CHECKPOINT)),
            "CASEWAY_HTTP_PORT": "0",
            "CASEWAY_LOG_LEVEL": "warning",
            "CASEWAY_MEMBER": "member-0",
            "CASEWAY_POSTGRES_URL": self.postgres_url,
        }

    def log(self, client_id: str | None = None, quota_bytes: int = 0) -> KafkaLog:
        """A log of this process's own; the client id is whose quota it uses up."""
        return KafkaLog(
            self.bootstrap,
            self.namespace,
            SHARDS,
            client_id=client_id,
            quota_bytes=quota_bytes,
        )

    async def found(self, log: Log) -> None:
        """Topics and genesis."""
        await log.create_topics(topics.all_topics(POOLS))
        roots = tuple(self.key(key_id).public_text for key_id in ROOTS)
        genesis = ShardGenesis(
            namespace=self.namespace,
            generation="g1",
            shards=SHARDS,
            root_keys=roots,
            checkpoint_key=self.key(CHECKPOINT).public_text,
        )
        await found(log, genesis)

    async def publish(self, log: Log) -> None:
        """The shipped insurance process, with the demo people and agents."""
        people = [
            PersonCard(
                person_id=name, roles=roles, public_key=self.key(f"person:{name}").public_text
            )
            for name, roles in DEMO_PERSONS.items()
        ]
        agents = demo_cards(
            "olga", {name: self.key(f"agent:{name}").public_text for name in DEMO_AGENTS}
        )
        documents = [*people, *read_folder([shipped_folder("insurance")]), *agents]
        keys = [self.key(key_id) for key_id in ROOTS]
        outcomes = await publish(log, documents, keys, timeout_s=_START_S)
        refused = [outcome for outcome in outcomes if outcome.verdict == "refused"]
        assert not refused, refused

    def start(self, service: str, *, name: str = "", program: Sequence[str] = PROGRAM) -> None:
        """Start a process of a service; with a name of its own it is one more beside the first."""
        own = {"CASEWAY_MEMBER": name} if name else {}
        name = name or service
        announced = self.directory / f"{name}.json"
        with announced.open("wb") as out, (self.directory / f"{name}.log").open("ab") as errors:
            self._children[name] = subprocess.Popen(
                [sys.executable, *program, "serve", service, "--json"],
                env=self.environment() | own,
                stdout=out,
                stderr=errors,
            )

    def start_all(self) -> None:
        """Start every service."""
        for service in SERVICES:
            self.start(service)

    def pids(self) -> list[int]:
        """The processes that run."""
        return [child.pid for child in self._children.values()]

    def port(self, service: str) -> int | None:
        """Where a service answers probes; None until it has said so."""
        try:
            said = json.loads((self.directory / f"{service}.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return int(said["http_port"])

    async def until_ready(self, timeout_s: float = _START_S) -> None:
        """Wait until every process says that it is ready."""
        async with asyncio.timeout(timeout_s):
            for name in tuple(self._children):
                while not (await asyncio.to_thread(self.readiness, name))[0]:
                    await asyncio.sleep(0.02)

    def readiness(self, name: str) -> tuple[bool, str]:
        """Whether a process is ready, and what it says; "" while it does not answer."""
        port = self.port(name)
        if port is None:
            return False, ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                return answer.status == 200, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return False, refusal.read().decode()
        except OSError:
            return False, ""

    def kill(self, service: str) -> None:
        """SIGKILL it, in whatever it is doing."""
        child = self._children.pop(service)
        child.send_signal(signal.SIGKILL)
        child.wait()
        self.kills[service] += 1

    def retire(self, name: str) -> int:
        """SIGTERM one process and let it drain; SIGKILL after 30 s, as Kubernetes does."""
        child = self._children.pop(name)
        child.terminate()
        try:
            return child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            self.kills[name] += 1
            return child.wait()

    def stop(self) -> list[int]:
        """SIGTERM all that run, and wait; returns their exit codes."""
        for child in self._children.values():
            child.terminate()
        codes = []
        for child in self._children.values():
            try:
                codes.append(child.wait(20))
            except subprocess.TimeoutExpired:
                child.kill()
                codes.append(child.wait())
        self._children = {}
        return codes

    def died(self) -> list[str]:
        """Services whose process ended by itself."""
        return [name for name, child in self._children.items() if child.poll() is not None]

    def output(self, service: str) -> str:
        """What a service wrote."""
        return (self.directory / f"{service}.log").read_text("utf-8", "replace")

    @asynccontextmanager
    async def people_and_agents(
        self, log: Log, *, is_fresh: bool = False, is_deciding: bool = True
    ) -> AsyncIterator[DemoApprovers]:
        """Demo agents and approvers at work; `is_fresh` passes by what was offered before."""
        agents = [
            DemoAgent(log, self.client(log, f"agent:{name}"), name, self.bank)
            for name in DEMO_AGENTS
        ]
        approvers = DemoApprovers(
            log, {name: self.client(log, f"person:{name}") for name in DEMO_PERSONS}
        )
        approvals = [(topics.APPROVALS.name, number) for number in range(log.shards)]
        ends = {place: await log.end(place) for place in approvals} if is_fresh else None
        works = [agent.run(start=None if is_fresh else {}) for agent in agents]
        if is_deciding:
            works.append(approvers.run(start=ends))
        tasks = [asyncio.create_task(work) for work in works]
        try:
            yield approvers
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def client(self, log: Log, key_id: str) -> Client:
        """A signing client of one identity."""
        return Client(log, self.namespace, keys=[self.key(key_id)])
