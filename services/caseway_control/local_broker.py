"""Runs one real Apache Kafka broker as a child process, without Docker."""

from __future__ import annotations

import random
import secrets
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

_NEEDS: Final = "a broker without Docker needs {}: install Java 17 and Maven, or run Docker"
_CLUSTER: Final = "every-broker-gets-its-own"
_SETTINGS: Final = "kafka.properties"
_JVM: Final = (
    "-Xmx512m",
    "-XX:+UseSerialGC",  # one small heap: smaller and quicker to start than G1
    "-XX:TieredStopAtLevel=1",  # start-up and CPU of short runs matter here, not peak speed
    "-Xlog:cds=off,cds+dynamic=off",
    "-Dlog4j2.level=WARN",
)


class LocalBrokerError(RuntimeError):
    """The broker cannot start or did not answer; the text says what to do."""


class LocalBroker:
    """One broker on loopback; `directory` holds its log, its data and its configuration.

    `properties` stand above the broker's own of the same names (kafka.properties).
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        start_timeout: float = 60.0,
        properties: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._own = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="caseway-kafka-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log_file = self.directory / "broker.log"
        self._settings = self.directory / "server.properties"
        self._timeout = start_timeout
        self._properties = dict(properties)
        self._port, self._controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self._port}"
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Start, and return once the broker answers a metadata request with itself in it."""
        if self._child is not None:
            return
        cache = _kafka()
        self._lay_out(cache)
        # The first broker to stop in order leaves its loaded classes: the next start twice as fast.
        classes = cache / "classes.jsa"
        self._dump = cache / f"classes-{self._port}.jsa"
        archive = f"-XX:SharedArchiveFile={classes}"
        if not classes.exists():
            archive = f"-XX:ArchiveClassesAtExit={self._dump}"
        command = ["java", *_JVM, archive, "-cp", f"{cache / 'jars'}/*", "kafka.Kafka"]
        with self.log_file.open("ab") as log:
            # A session of its own: Ctrl-C reaches the owner, which then stops us in order.
            self._child = subprocess.Popen(
                [*command, str(self._settings)], stdout=log, stderr=log, start_new_session=True
            )
        # This pipe closes when we die; PR_SET_PDEATHSIG would fire when the starting thread ends.
        guard = ["sh", "-c", f"read -r _; kill -9 {self._child.pid}"]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)
        try:
            self._wait_ready(self._child)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 15.0) -> None:
        """Shut down in order; after `timeout` seconds, kill."""
        if self._child is not None:
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout)
                with suppress(FileNotFoundError):
                    self._dump.rename(self._dump.with_name("classes.jsa"))
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

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _lay_out(self, cache: Path) -> None:
        data = self.directory / "data"
        if not data.exists():
            fresh = self.directory / "data.new"
            shutil.copytree(cache / "formatted", fresh, dirs_exist_ok=True)
            meta = fresh / "meta.properties"
            meta.write_text(meta.read_text().replace(_CLUSTER, secrets.token_urlsafe(16)))
            fresh.rename(data)
        own = _properties(data, self._port, self._controller)
        changed = "".join(f"{name}={value}\n" for name, value in self._properties.items())
        self._settings.write_text(own + changed)

    def _wait_ready(self, child: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._timeout
        while not answers(self._port):
            if child.poll() is not None:
                raise LocalBrokerError(f"the broker ended while starting: read {self.log_file}")
            if time.monotonic() > deadline:
                raise LocalBrokerError(f"no answer in {self._timeout:.0f} s: read {self.log_file}")
            time.sleep(0.02)


def _properties(data: Path, port: int, controller: int) -> str:
    own = {
        "log.dirs": str(data),
        "listeners": f"BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"BROKER://127.0.0.1:{port}",
        # Named here and not in the storage, so that formatted storage fits any port.
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
    }
    return _shipped(_SETTINGS) + "".join(f"{key}={own[key]}\n" for key in own)


def shipped_settings() -> dict[str, str]:
    """What a broker for demonstrations and tests is set to, but for its ports and paths."""
    lines = (line.strip() for line in _shipped(_SETTINGS).splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _shipped(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _kafka() -> Path:
    """The directory with the jars and a formatted storage; made by the first caller."""
    pom = _shipped("kafka_pom.xml")
    version = pom.partition("<kafka.version>")[2].partition("<")[0]
    cache = Path.home() / ".cache" / "caseway" / f"kafka-{version}"
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
        _run([*tool, "-t", _CLUSTER, "-c", str(work / "format.properties")])
        with suppress(OSError):  # another process was first: take its copy
            work.rename(cache)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return cache


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip()
        raise LocalBrokerError(_NEEDS.format(f"a working {command[0]}") + f"\n{said}")


def free_ports(count: int) -> list[int]:
    """Ports below the system's own range, where no reconnecting client can sit on one."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return list(found)


def answers(port: int) -> bool:
    """Whether a metadata request for no topic names at least one broker."""
    body = struct.pack(">hhihi", 3, 1, 0, -1, 0)  # Metadata v1, no client id, no topics
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as link:
        link.sendall(struct.pack(">i", len(body)) + body)
        head = link.recv(12, socket.MSG_WAITALL)
        return len(head) == 12 and struct.unpack(">iii", head)[2] > 0
    return False
