"""Probes: ready means caught up and progressing, and an answer says what is wrong."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from caseway.ops.health import Health, PortInUse, Probes, judge_liveness, judge_readiness
from caseway.ops.metrics import ShardReading

RUNNING = ShardReading("router", 0, "running", progress_ms=100_000)


def judge(*readings: ShardReading, joined: bool = True, silent_s: float = 1.0) -> Health:
    return judge_readiness(readings, {"router": joined}, silent_s, 101_000, 10)


@pytest.mark.parametrize(
    ("reading", "says"),
    [
        (replace(RUNNING, phase="replaying"), "router/0: replaying"),
        (replace(RUNNING, phase="code too old"), "code_too_old"),
        (replace(RUNNING, phase="halted", halt_reason="integrity.torn: x"), "integrity.torn"),
        (replace(RUNNING, progress_ms=80_000), "no progress for 21 s"),
        (replace(RUNNING, phase="doubting"), "doubting"),
    ],
)
def test_a_shard_that_does_not_run_is_not_ready(reading: ShardReading, says: str) -> None:
    health = judge(RUNNING, reading)
    assert not health.is_well
    assert says in health.text()


def test_running_shards_are_ready() -> None:
    assert judge(RUNNING) == Health(True)


def test_shards_at_rest_are_not_ready_when_the_log_is_gone() -> None:
    health = judge(RUNNING, silent_s=12.0)
    assert not health.is_well
    assert "the log has not answered for 12 s" in health.text()


def test_a_process_without_shards_is_ready_once_it_was_told_so() -> None:
    assert judge().is_well
    assert "not been told" in judge(joined=False).text()


def test_a_loop_that_does_not_turn_is_dead() -> None:
    assert judge_liveness(1.0).is_well
    assert not judge_liveness(61.0).is_well


@pytest.fixture
def probes() -> Iterator[tuple[Probes, int]]:
    made = Probes(lambda: b"a 1\n", lambda: Health(True), lambda: Health(False, ("x: halted",)))
    yield made, made.start("127.0.0.1", 0)
    made.stop()


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def test_the_three_answers(probes: tuple[Probes, int]) -> None:
    _, port = probes
    assert get(port, "/metrics") == (200, "a 1\n")
    assert get(port, "/livez?verbose") == (200, "ok\n")
    assert get(port, "/readyz") == (503, "x: halted\n")
    assert get(port, "/") == (404, "known are /metrics, /livez, /readyz\n")


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = Probes(lambda: b"", lambda: Health(True), lambda: Health(True))
        with pytest.raises(PortInUse, match=f"{port} is taken.*CASEWAY_HTTP_PORT") as error:
            other.start("127.0.0.1", port)
        assert error.value.code == "PORT_IN_USE"
