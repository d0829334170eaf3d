"""The stage of a chaos run: services in several instances, each behind a proxy of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from aiokafka import TopicPartition

from caseway.contracts.topics import OWN_LOGS
from caseway.hosting.kafka_membership import share_out
from caseway_control.fleet import SERVICES, SHARDS, Fleet
from caseway_control.local_postgres import LocalPostgres
from caseway_control.processes import with_children

# Always there: one of each, and a second router. `#1` and `#2` of the others only stand in.
LASTING = (*SERVICES, "router#1")
# Comes and goes, so that the group of the router shares out anew.
COMING_AND_GOING = "router#2"
# There is one of each but while its standby stands in.
SINGLE = tuple(service for service in SERVICES if service not in {"router", "audit"})
STANDBYS = tuple(f"{service}#1" for service in SINGLE)
INSTANCES = (*LASTING, COMING_AND_GOING, *STANDBYS)


class Stage(Fleet):
    """A fleet whose instances are named `service` or `service#n`, the n being the member."""

    def __init__(
        self,
        directory: Path,
        bootstrap: str,
        namespace: str,
        ports: dict[str, str],
        *,
        postgres_url: str,
    ) -> None:
        super().__init__(directory, bootstrap, namespace, postgres_url=postgres_url)
        self._ports = ports
        self.unforced: Counter[str] = Counter()
        # One fault at a time for one instance.
        self.busy = {name: asyncio.Lock() for name in INSTANCES}

    def start(self, service: str) -> None:
        """Start an instance behind its own proxy."""
        name, _, member = service.partition("#")
        environment = self.environment() | {
            "CASEWAY_LOG": f"kafka://{self._ports[service]}",
            "CASEWAY_MEMBER": f"member-{member or 0}",
        }
        announced = self.directory / f"{service}.json"
        with announced.open("wb") as out, (self.directory / f"{service}.log").open("ab") as errors:
            self._children[service] = subprocess.Popen(
                [sys.executable, "-m", "caseway_control.cli", "serve", name, "--json"],
                env=environment,
                stdout=out,
                stderr=errors,
            )

    def start_all(self) -> None:
        """Start those that last."""
        for name in LASTING:
            self.start(name)

    def runs(self, name: str) -> bool:
        """Whether this instance was started and not ended by us."""
        return name in self._children

    def owned(self, name: str) -> list[TopicPartition]:
        """The partitions that an instance writes, by how the members share them out."""
        service, _, _ = name.partition("#")
        if service == "audit":
            return []
        members = [m for m in self._children if m.partition("#")[0] == service]
        ids = {m: f"member-{m.partition('#')[2] or 0}" for m in members}
        shares = share_out(SHARDS, list(ids.values()))
        return [TopicPartition(self.log_topic(name), number) for number in shares[ids[name]]]

    def log_topic(self, name: str) -> str:
        """The topic that an instance writes as the only one."""
        return f"{self.namespace}.{OWN_LOGS[name.partition('#')[0]].name}"

    def signal(self, name: str, what: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""
        child = self._children.get(name)
        if child is not None and child.poll() is None:
            child.send_signal(what)

    async def leave(self, name: str) -> None:
        """End one instance in order."""
        child = self._children.pop(name)
        child.terminate()
        try:
            await asyncio.to_thread(child.wait, 20)
        except subprocess.TimeoutExpired:
            child.kill()
            await asyncio.to_thread(child.wait)

    def revive(self) -> None:
        """Start again what ended by itself, and count it: nothing ought to."""
        for name in self.died():
            self.unforced[name] += 1
            self._children.pop(name)
            self.start(name)


class Rows:
    """The PostgreSQL of the audit service, with an old copy of its files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server = LocalPostgres(directory / "now")
        self._copy = directory / "copy"
        self.stops = self.pauses = self.restores = 0

    def start(self) -> str:
        """Start; returns where to connect."""
        self._server.start()
        return self._server.dsn

    def stop(self) -> None:
        """Stop for good."""
        self._server.stop()

    def interrupt(self) -> None:
        """Stop in order and start again; the files as they are then are the old copy."""
        self._server.stop()
        shutil.rmtree(self._copy, ignore_errors=True)
        self._files_to(self._directory / "now", self._copy)
        self._server.start()
        self.stops += 1

    def restore(self) -> None:
        """Go back to the old copy, which knows nothing of what was projected since."""
        if not self._copy.exists():
            return
        self._server.stop()
        shutil.rmtree(self._directory / "now")
        self._files_to(self._copy, self._directory / "now")
        self._server.start()
        self.restores += 1

    def pause(self, what: signal.Signals) -> None:
        """SIGSTOP or SIGCONT for the server and all its children."""
        for pid in with_children([self._server.pid]):
            with suppress(ProcessLookupError):
                os.kill(pid, what)
        self.pauses += what is signal.SIGSTOP

    @staticmethod
    def _files_to(source: Path, target: Path) -> None:
        # Not by shutil: the files belong to the server's own account, and must stay its.
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)
