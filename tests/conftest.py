"""What all tests share: loopback alone, and one real broker a session for those that ask."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.broker import Broker, any_broker

_connect = socket.socket.connect


def _connect_to_loopback(self: socket.socket, address: Any) -> None:
    """A test that talks to another machine is no test of this project."""
    host = address[0] if isinstance(address, tuple) else ""
    if host and host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise AssertionError(f"a test tried to reach {host}; only loopback is allowed")
    _connect(self, address)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _connect_to_loopback)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real Apache Kafka."""
    with any_broker(tmp_path_factory.mktemp("broker")) as made:
        yield made
