"""Runs one real Apache Kafka broker as a child process, without Docker."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from contextlib import suppress
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_NEEDS: Final = "a broker without Docker needs {}: install Java 17 and Maven, or run Docker"
_JVM: Final = (
    "-Xmx512m",
    "-XX:+UseSerialGC",  # one small heap: smaller and quicker to start than G1
    "-XX:TieredStopAtLevel=1",  # start-up and CPU of short runs matter here, not peak speed
    "-XX:-UsePerfData",
    "-Dlog4j2.level=WARN",
)
_CONFIG: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "BROKER",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "offsets.retention.minutes": "5256000",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "auto.create.topics.enable": "false",
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": str(4 << 20),  # 128 MiB by default, a quarter of the heap
    "log.cleaner.backoff.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    # A broker killed and started again is refused until the session of its former life ends.
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": "1500",
}


class LocalBrokerError(RuntimeError):
    """The broker cannot start or did not answer; the text says what to do."""


class LocalBroker:
    """One broker on loopback; `directory` holds its log, its data and its configuration."""

    def __init__(self, directory: Path | None = None, *, start_timeout: float = 60.0) -> None:
        self._own = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="caseway-kafka-"))
        self._timeout = start_timeout
        self._port, self._controller = _free_ports(2)
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def log_file(self) -> Path:
        return self.directory / "broker.log"

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Start, and return once the broker answers a metadata request with itself in it."""
        if self._child is not None:
            return
        cache = _kafka()
        self._lay_out(cache)
        command = ["java", *_JVM, *_archive(cache), "-cp", f"{cache / 'jars'}/*", "kafka.Kafka"]
        with self.log_file.open("ab") as log:
            # A session of its own: Ctrl-C reaches the owner, which then stops us in order.
            self._child = subprocess.Popen(
                [*command, str(self.directory / "server.properties")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # The guard's pipe closes when our process dies, however it dies. PR_SET_PDEATHSIG would
        # fire when the starting thread ends, and that is often a pool's.
        self._guard = subprocess.Popen(
            ["sh", "-c", 'read -r _; kill -9 "$0"', str(self._child.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 15.0) -> None:
        """Shut down in order; after `timeout` seconds, kill."""
        if self._child is not None:
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """End the broker at once, as a lost machine would."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        if self._guard is not None:  # after the child: its pid may be another's from here on
            self._guard.kill()
            self._guard.communicate()
        self._child = self._guard = None

    def restart(self) -> None:
        """Stop and start again on the same port and the same data."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _lay_out(self, cache: Path) -> None:
        data = self.directory / "data"
        if not data.exists():
            fresh = self.directory / "data.new"
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(cache / "formatted", fresh)
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            meta = fresh / "meta.properties"
            meta.write_text(re.sub(r"cluster\.id=.*", f"cluster.id={cluster}", meta.read_text()))
            fresh.rename(data)
        text = _properties(data, self._port, self._controller)
        (self.directory / "server.properties").write_text(text)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self._timeout
        assert self._child is not None
        while not _answers(self._port):
            if self._child.poll() is not None:
                raise LocalBrokerError(f"the broker ended while starting: read {self.log_file}")
            if time.monotonic() > deadline:
                raise LocalBrokerError(f"no answer in {self._timeout:.0f} s: read {self.log_file}")
            time.sleep(0.02)


def _properties(data: Path, port: int, controller: int) -> str:
    listeners = f"BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"
    own = {
        "log.dirs": str(data),
        "listeners": listeners,
        "advertised.listeners": f"BROKER://127.0.0.1:{port}",
        # Named here and not in the storage, so that formatted storage fits any port.
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
    }
    return "".join(f"{key}={value}\n" for key, value in {**_CONFIG, **own}.items())


def _kafka() -> Path:
    """The directory with the jars and a formatted storage; made by the first caller."""
    pom = resources.files(__package__).joinpath("kafka_pom.xml").read_text(encoding="utf-8")
    version = re.search(r"<kafka\.version>(.+?)<", pom)
    assert version is not None
    cache = Path.home() / ".cache" / "caseway" / f"kafka-{version[1]}"
    if not shutil.which("java"):
        raise LocalBrokerError(_NEEDS.format("java"))
    if cache.exists():
        return cache
    if not shutil.which("mvn"):
        raise LocalBrokerError(_NEEDS.format("mvn"))
    cache.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="making-", dir=cache.parent))
    try:
        (work / "pom.xml").write_text(pom, encoding="utf-8")
        copy = ["mvn", "-q", "-B", "-f", str(work / "pom.xml"), "dependency:copy-dependencies"]
        _run([*copy, "-DincludeScope=runtime", f"-DoutputDirectory={work / 'jars'}"])
        (work / "format.properties").write_text(_properties(work / "formatted", 1, 2))
        tool = ["java", *_JVM, "-cp", f"{work / 'jars'}/*", "kafka.tools.StorageTool", "format"]
        _run([*tool, "-t", "caseway-replaced-here", "-c", str(work / "format.properties")])
        with suppress(OSError):  # another process was first: take its copy
            work.rename(cache)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return cache


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalBrokerError(_NEEDS.format(f"{command[0]} to work") + f"\n{done.stdout}{done.stderr}")


def _archive(cache: Path) -> list[str]:
    return []


def _free_ports(count: int) -> list[int]:
    """Ports below the system's own range, where no reconnecting client can sit on one."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def _answers(port: int) -> bool:
    """Whether a metadata request for no topic names at least one broker."""
    body = struct.pack(">hhihi", 3, 1, 0, -1, 0)  # Metadata v1, no client id, no topics
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as link:
        link.sendall(struct.pack(">i", len(body)) + body)
        head = link.recv(12, socket.MSG_WAITALL)
        return len(head) == 12 and struct.unpack(">iii", head)[2] > 0
    return False
