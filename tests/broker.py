"""A real Kafka for the tests: a container where Docker is, else the broker's own jars."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from caseway_control.local_broker import (
    LocalBroker,
    LocalBrokerError,
    answers,
    free_ports,
    shipped_settings,
)

_IMAGE, _INSIDE = "apache/kafka:4.1.1", 9094
# A restart in a container took 12 to 16 s on two cores.
_START_S = 120


class Broker(Protocol):
    """What tests ask of a broker."""

    bootstrap: str

    def restart(self) -> None:
        """Stop and start again, with the same address and data."""


class ContainerBroker:
    """Kafka in a container, by testcontainers, with the settings of the local broker.

    Their own KafkaContainer starts Confluent's images alone. The port is chosen here: the broker
    has to announce it, and one that Docker chooses is another after a restart.
    """

    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415

        (port,) = free_ports(1)
        self.bootstrap = f"127.0.0.1:{port}"
        self._port = port
        self._container = DockerContainer(_IMAGE)
        self._container.ports[_INSIDE] = ("127.0.0.1", port)
        protocols = "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,HOST:PLAINTEXT"
        settings = shipped_settings() | {
            "log.dirs": "/var/lib/kafka/data",
            "listeners": f"BROKER://:9092,CONTROLLER://:9093,HOST://:{_INSIDE}",
            "advertised.listeners": f"BROKER://localhost:9092,HOST://{self.bootstrap}",
            "listener.security.protocol.map": protocols,
            "controller.quorum.voters": "1@localhost:9093",
        }
        for name, value in settings.items():
            self._container.with_env(f"KAFKA_{name.upper().replace('.', '_')}", value)

    def start(self) -> None:
        """Start, and return once the broker answers."""
        self._container.start()
        self._wait_ready()

    def stop(self) -> None:
        """End it, with its data."""
        self._container.stop()

    def restart(self) -> None:
        """Restart the container: its port and its data stay."""
        self._container.get_wrapped_container().restart()
        self._wait_ready()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        while not answers(self._port):
            container = self._container.get_wrapped_container()
            container.reload()
            if container.status == "exited" or time.monotonic() > deadline:
                said = b"".join(self._container.get_logs())[-2_000:].decode(errors="replace")
                raise LocalBrokerError(f"{_IMAGE} does not answer, {container.status}:\n{said}")
            time.sleep(0.1)


@contextmanager
def any_broker(directory: Path) -> Iterator[Broker]:
    """The broker that this machine can run.

    Without one the tests fail where a broker is demanded (`make test`, CI), and skip elsewhere.
    """
    if _docker_answers():
        container = ContainerBroker()
        try:
            container.start()
            yield container
        finally:
            container.stop()
        return
    demand_jars("no Kafka to test on: run Docker, or install Java 17 and Maven")
    try:
        broker = LocalBroker(directory)
        broker.start()
    except LocalBrokerError as error:
        _missing(str(error))
        raise
    try:
        yield broker
    finally:
        broker.stop()


def _docker_answers() -> bool:
    """Whether an engine runs; the client alone is not enough."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False)
    return asked.returncode == 0


def demand_jars(reason: str) -> None:
    """For a test that starts the broker's jars itself, to kill it or to give it settings."""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        _missing(reason)


def _missing(reason: str) -> None:
    if os.environ.get("CASEWAY_REQUIRE_KAFKA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
