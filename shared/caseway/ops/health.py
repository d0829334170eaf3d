"""Answers `/metrics`, `/livez` and `/readyz` on one small HTTP server in a thread of its own.

Ready means caught up and progressing, never merely started. Alive means that the event loop
turns: a halted shard is alive, because a restart would not mend its log. Both answers say in
plain text what is wrong, so that a probe's event in an orchestrator is enough to act on.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from caseway.ops.metrics import CONTENT_TYPE, ShardReading

_RUNNING = "running"
_TEXT = "text/plain; charset=utf-8"
# A loop that has not turned for so long is stuck for good: longer than any drain or takeover.
DEAD_S = 60.0


class PortInUse(OSError):
    """The port of the probes is taken; `code` is stable."""

    code = "PORT_IN_USE"


@dataclass(frozen=True, slots=True)
class Health:
    """Whether it is well, and what is not."""

    is_well: bool
    problems: tuple[str, ...] = ()

    def text(self) -> str:
        """What a probe shows."""
        return "ok\n" if self.is_well else "\n".join(self.problems) + "\n"


def judge_readiness(
    readings: Iterable[ShardReading],
    joined: Mapping[str, bool],
    silent_s: float,
    now_ms: int,
    stall_s: int,
) -> Health:
    """Ready when the log answers, every service knows its shards, and each of those runs and
    progresses. `silent_s` is for how long the log has not answered.
    """
    problems = [
        f"{service}: has not been told its shards yet; is the broker reachable?"
        for service, is_joined in joined.items()
        if not is_joined
    ]
    if silent_s > stall_s:
        problems.append(
            f"the log has not answered for {silent_s:.0f} s; at most {stall_s} s are allowed; "
            "is the broker reachable?"
        )
    for reading in readings:
        name = f"{reading.service}/{reading.shard}"
        age_s = (now_ms - reading.progress_ms) / 1000
        if reading.phase == "halted":
            problems.append(f"{name}: halted: {reading.halt_reason}; run `caseway verify`")
        elif reading.phase == "code too old":
            problems.append(f"{name}: code_too_old: its log is newer; deploy a newer version")
        elif reading.phase != _RUNNING:
            problems.append(f"{name}: {reading.phase}")
        elif age_s > stall_s:
            problems.append(
                f"{name}: no progress for {age_s:.0f} s; at most {stall_s} s are allowed"
            )
    return Health(not problems, tuple(problems))


def judge_liveness(turned_s_ago: float) -> Health:
    """Alive while the event loop turns."""
    if turned_s_ago <= DEAD_S:
        return Health(True)
    return Health(False, (f"the event loop has not turned for {turned_s_ago:.0f} s",))


class Probes:
    """The HTTP server; the callables are asked on its thread, at every request."""

    def __init__(
        self,
        metrics: Callable[[], bytes],
        liveness: Callable[[], Health],
        readiness: Callable[[], Health],
    ) -> None:
        self._answers: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]] = {
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE, metrics()),
            "/livez": lambda: _answer(liveness()),
            "/readyz": lambda: _answer(readiness()),
        }
        self._server: ThreadingHTTPServer | None = None

    def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which is chosen by the system for port 0.

        Raises:
            PortInUse: something else listens there.
        """
        answers = self._answers

        class Handler(_Handler):
            routes = answers

        try:
            self._server = _Server((host, port), Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise PortInUse(
                error.errno,
                f"{host}:{port} is taken or not allowed; set CASEWAY_HTTP_PORT to a free port, "
                "or to 0 for any",
            ) from None
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _answer(health: Health) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.OK if health.is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return status, _TEXT, health.text().encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """As the base does, without asking a name server who we are: that may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # restart at once
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    routes: Mapping[str, Callable[[], tuple[HTTPStatus, str, bytes]]]
    # A client that opens a connection and says nothing holds a thread for no longer.
    timeout = 10

    def do_GET(self) -> None:
        """Answer one of the three paths."""
        route = self.routes.get(self.path.partition("?")[0])
        if route is None:
            self._send(
                HTTPStatus.NOT_FOUND, _TEXT, f"known are {', '.join(self.routes)}\n".encode()
            )
            return
        self._send(*route())

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every second; they are not worth a line."""
