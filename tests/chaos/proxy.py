"""A TCP proxy that understands Kafka's framing and does to requests what bad networks do.

It stands between clients and one broker. Every request goes through a `Chooser`, which may name a
fault for it; without one the proxy only carries bytes. A reply names the broker's own address in
three places (Metadata, FindCoordinator, DescribeCluster), always as host and port side by side, so
the port is replaced there and no version of any message needs to be understood.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

PRODUCE, FETCH, METADATA, FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT = 0, 1, 3, 10, 11, 12
INIT_PRODUCER_ID, ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT = 22, 24, 25, 26, 28
DESCRIBE_CLUSTER = 60
NAMES = {
    PRODUCE: "Produce",
    FETCH: "Fetch",
    METADATA: "Metadata",
    FIND_COORDINATOR: "FindCoordinator",
    JOIN_GROUP: "JoinGroup",
    HEARTBEAT: "Heartbeat",
    INIT_PRODUCER_ID: "InitProducerId",
    ADD_PARTITIONS: "AddPartitionsToTxn",
    ADD_OFFSETS: "AddOffsetsToTxn",
    END_TXN: "EndTxn",
    TXN_OFFSET_COMMIT: "TxnOffsetCommit",
}
# Those that name the broker's address.
_ADDRESSED = frozenset({METADATA, FIND_COORDINATOR, DESCRIBE_CLUSTER})
# A request that waits for the next one to overtake it goes on alone after this.
_OVERTAKE_S = 0.05
_LATE_ANSWER_S = 10.0


class Act(Enum):
    """What is done to one request."""

    DELAY = "delayed"
    OVERTAKE = "overtaken by the next of its connection"
    DUPLICATE = "sent twice"
    STRAY = "lost with its connection, arrives late"
    COPY = "answered, and a copy arrives late"
    CUT_BEFORE = "connection cut before it"
    CUT_AFTER = "connection cut before its answer"
    DROP_REPLY = "never answered"


@dataclass(frozen=True, slots=True)
class Fault:
    """An act; what comes late comes after `late_s`, or at the client's next answered `until`."""

    act: Act
    late_s: float = 0.0
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came from a client."""

    api: int
    version: int
    correlation: int
    client: str
    frame: bytes


Chooser = Callable[[Request], Fault | None]


@dataclass(slots=True)
class Tally:
    """What the proxy did: requests carried, faults by api and act, and answers to late requests."""

    requests: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    late_answers: Counter[str] = field(default_factory=Counter)


class Proxy:
    """Listens on loopback for clients of one broker, whose advertised host must be `host`."""

    def __init__(self, bootstrap: str, choose: Chooser) -> None:
        host, _, port = bootstrap.rpartition(":")
        self._host, self._port = host, int(port)
        self.choose = choose
        self.tally = Tally()
        self._links: set[asyncio.Task[Any]] = set()
        self._held: dict[str, list[tuple[int, asyncio.Event]]] = {}

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, self._host)
        self._own_port = self._server.sockets[0].getsockname()[1]
        self.bootstrap = f"{self._host}:{self._own_port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._links.add(task)
        task.add_done_callback(self._links.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        task.add_done_callback(self._links.discard)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await _Link(self, reader, writer).run()
        finally:
            writer.transport.abort()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection to the broker."""
        return await asyncio.open_connection(self._host, self._port)

    def readdressed(self, api: int, frame: bytes) -> bytes:
        """A reply in which the broker's address is the proxy's."""
        if api not in _ADDRESSED:
            return frame
        host = self._host.encode()
        broker, own = (host + struct.pack(">i", p) for p in (self._port, self._own_port))
        return frame.replace(broker, own)

    # -- what comes late ----------------------------------------------------------------------

    def send_late(self, request: Request, fault: Fault) -> None:
        """Send this request on a connection of its own, later."""
        self._spawn(self._late(request, fault))

    async def _late(self, request: Request, fault: Fault) -> None:
        if fault.until is None:
            await asyncio.sleep(fault.late_s)
        else:
            due = asyncio.Event()
            self._held.setdefault(request.client, []).append((fault.until, due))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(fault.late_s):
                    await due.wait()
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            reader, writer = await self.connect()
            try:
                async with asyncio.timeout(_LATE_ANSWER_S):
                    writer.write(request.frame)
                    answer = await _read_frame(reader)
            finally:
                writer.transport.abort()
            self.tally.late_answers[_late_outcome(request, answer)] += 1

    def release(self, client: str, api: int) -> None:
        """An answer of this kind went to the client: what waits for that is due."""
        waiting = self._held.get(client)
        if waiting:
            for until, due in waiting:
                if until == api:
                    due.set()
            self._held[client] = [(until, due) for until, due in waiting if not due.is_set()]


class _Link:
    """One client's connection and its connection to the broker."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        # In the order of their requests, which is the order in which a client wants its replies.
        self._asked: dict[int, Request] = {}
        self._replies: dict[int, bytes] = {}
        self._doomed: set[int] = set()
        self._unanswered: set[int] = set()
        self._overtaken: Request | None = None

    async def run(self) -> None:
        """Carry both ways until either side ends it."""
        up_reader, self._up = await self._proxy.connect()
        pumps = [
            asyncio.create_task(self._requests()),
            asyncio.create_task(self._answers(up_reader)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:  # no waiting before the connection is closed: a wait can be cancelled
            self._up.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _requests(self) -> None:
        while True:
            request = _request(await self._next_frame())
            self._proxy.tally.requests[NAMES.get(request.api, "other")] += 1
            fault = self._proxy.choose(request)
            self._asked[request.correlation] = request
            if fault is not None:
                name = f"{NAMES.get(request.api, request.api)} {fault.act.value}"
                self._proxy.tally.faults[name] += 1
                if not await self._suffer(request, fault):
                    return
            else:
                await self._forward(request)

    async def _next_frame(self) -> bytes:
        if self._overtaken is None:
            return await _read_frame(self._reader)
        coming = asyncio.ensure_future(_read_frame(self._reader))
        await asyncio.wait({coming}, timeout=_OVERTAKE_S)
        if not coming.done():
            await self._let_overtaken_go()
        return await coming

    async def _suffer(self, request: Request, fault: Fault) -> bool:
        """Do it; False ends the connection."""
        match fault.act:
            case Act.DELAY:
                await asyncio.sleep(fault.late_s)
            case Act.OVERTAKE if self._overtaken is None:
                self._overtaken = request
                return True
            case Act.DUPLICATE:
                self._proxy.send_late(request, Fault(fault.act))
            case Act.STRAY:
                self._proxy.send_late(request, fault)
                return False
            case Act.COPY:
                self._proxy.send_late(request, fault)
            case Act.CUT_BEFORE:
                return False
            case Act.CUT_AFTER:
                self._doomed.add(request.correlation)
            case Act.DROP_REPLY:
                self._unanswered.add(request.correlation)
        await self._forward(request)
        return True

    async def _forward(self, request: Request) -> None:
        self._up.write(request.frame)
        await self._up.drain()
        await self._let_overtaken_go()

    async def _let_overtaken_go(self) -> None:
        late, self._overtaken = self._overtaken, None
        if late is not None:
            self._up.write(late.frame)
            await self._up.drain()

    async def _answers(self, up_reader: asyncio.StreamReader) -> None:
        while True:
            frame = await _read_frame(up_reader)
            (correlation,) = struct.unpack_from(">i", frame, 4)
            if correlation in self._doomed:
                return
            self._replies[correlation] = frame
            while (first := next(iter(self._asked), None)) in self._replies:
                if first in self._unanswered:
                    break  # and with it every later answer: this connection has gone silent
                request = self._asked.pop(first)
                reply = self._replies.pop(first)
                self._writer.write(self._proxy.readdressed(request.api, reply))
                self._proxy.release(request.client, request.api)
            await self._writer.drain()


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    """One message with its length before it.

    Raises:
        IncompleteReadError: the other side closed.
    """
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack(">i", head)[0])


def _request(frame: bytes) -> Request:
    api, version, correlation, length = struct.unpack_from(">hhih", frame, 4)
    client = frame[14 : 14 + length].decode() if length > 0 else ""
    return Request(api, version, correlation, client, frame)


def _late_outcome(request: Request, answer: bytes) -> str:
    """The answer to a late request, by its error code where one stands at a known place."""
    name = NAMES.get(request.api, str(request.api))
    if request.api != END_TXN:
        return f"{name}: answered"
    flexible = request.version >= 3
    (code,) = struct.unpack_from(">h", answer, 12 + flexible)
    return f"{name}: " + ("accepted" if code == 0 else f"refused with error {code}")
