"""A real Kafka for the tests: a container where Docker is, else the broker's own jars."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from caseway_control.local_broker import LocalBroker, LocalBrokerError


class Broker(Protocol):
    """What tests ask of a broker."""

    bootstrap: str

    def restart(self) -> None:
        """Stop and start again, with the same address and data."""


class ContainerBroker:
    """Kafka in a container, by testcontainers."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self.bootstrap: str = container.get_bootstrap_server()

    def restart(self) -> None:
        """Restart the container: its port mapping and its data stay."""
        self._container.get_wrapped_container().restart()


@contextmanager
def any_broker(directory: Path) -> Iterator[Broker]:
    """The broker that this machine can run.

    Without one the tests fail where a broker is demanded (`make test`, CI), and skip elsewhere.
    """
    if _docker_answers():
        from testcontainers.community.kafka import KafkaContainer  # noqa: PLC0415

        made = KafkaContainer("apache/kafka:4.1.1").with_env("KAFKA_QUOTA_WINDOW_NUM", "3")
        with made as container:
            yield ContainerBroker(container)
        return
    if shutil.which("java") is None or shutil.which("mvn") is None:
        _missing("no Kafka to test on: run Docker, or install Java 17 and Maven")
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


def _missing(reason: str) -> None:
    if os.environ.get("CASEWAY_REQUIRE_KAFKA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
