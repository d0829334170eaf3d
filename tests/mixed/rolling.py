"""A fleet in two versions at once, a steady load beside it, and what is looked at in its logs."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from caseway.client import Client
from caseway.contracts.codec import type_of
from caseway.contracts.record import Record
from caseway.hosting.log import Log
from caseway_control.fleet import SERVICES, Fleet
from tests.acceptance.test_claims_on_kafka import claim

OLDER, NEWER = "older", "newer"
_PROGRAM = str(Path(__file__).with_name("program.py"))
_PACE_S = 0.15


class Rolling:
    """Replaces processes one at a time; the new one works beside the old one before that ends."""

    def __init__(self, fleet: Fleet, log: Log) -> None:
        self.fleet = fleet
        self.log = log
        self._running: dict[str, str] = {}
        self._numbers = itertools.count()

    def start(self, service: str, version: str) -> str:
        """One more process of a service."""
        name = f"{service}-{next(self._numbers)}-{version}"
        self.fleet.start(service, name=name, program=(_PROGRAM, version))
        return name

    def start_all(self, version: str) -> None:
        """Every service, once."""
        self._running = {service: self.start(service, version) for service in SERVICES}

    async def until_ready(self, name: str) -> None:
        """Wait for one process."""
        await self.until_says(name, is_ready=True)

    async def until_says(self, name: str, *, is_ready: bool, words: str = "") -> None:
        """Wait until a process is ready or not, with these words in its reason."""
        said = (False, "")
        try:
            async with asyncio.timeout(180):
                while said[0] != is_ready or not said[1] or words not in said[1]:
                    assert name not in self.fleet.died(), self.fleet.output(name)
                    await asyncio.sleep(0.05)
                    said = await asyncio.to_thread(self.fleet.readiness, name)
        except TimeoutError:
            raise AssertionError(f"{name}: {said}\n{self.fleet.output(name)[-2000:]}") from None

    async def roll(self, service: str, version: str, load: Load) -> str:
        """Replace the process of a service; both versions work at once for some cases."""
        new = self.start(service, version)
        await self.until_ready(new)
        await load.more(2)
        await asyncio.to_thread(self.fleet.retire, self._running[service])
        self._running[service] = new
        return new

    async def roll_all(self, version: str, load: Load) -> None:
        """Every service, one after the other."""
        for service in SERVICES:
            await self.roll(service, version, load)

    async def command(self, version: str, *arguments: str) -> tuple[int, Any]:
        """One command of a version; its exit code and what it says as JSON."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, _PROGRAM, version, *arguments, "--json"),
            env=self.fleet.environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, json.loads(output) if output else None

    async def digests(self, version: str) -> dict[str, Any]:
        """The state digest of every service, as two processes of a version say it."""
        (code, one), (_, two) = [await self.command(version, "verify") for _ in range(2)]
        assert code == 0, one
        assert one["services"] == two["services"]
        return dict(one["services"])

    async def schemas(self, topic: str) -> Counter[str]:
        """How many records a topic holds, by event type and version."""
        return Counter(schema_of(r) for r in await records_of(self.log, topic))


class Load:
    """Small claims at a steady pace, which agents close without any person."""

    def __init__(self, fleet: Fleet, log: Log) -> None:
        self._portal = Client(log, fleet.namespace, source="/portal")
        self._log = log
        self.sent = 0
        self.closed: dict[str, str] = {}
        self._grew = asyncio.Event()

    async def more(self, count: int) -> None:
        """Wait until so many more cases are closed."""
        goal = len(self.closed) + count
        async with asyncio.timeout(180):
            while len(self.closed) < goal:
                self._grew.clear()
                await self._grew.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send during the body, and afterwards wait until all that was sent is closed."""
        following = asyncio.create_task(self._follow())
        sending = asyncio.create_task(self._send())
        try:
            yield
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await self.more(self.sent - len(self.closed))
        finally:
            sending.cancel()
            following.cancel()
            await asyncio.gather(sending, following, return_exceptions=True)

    async def submit(self, name: str, amount: str) -> None:
        """One claim; an outage of its shard is the services' matter and not its sender's."""
        draft = self._portal.submission("insurance-claim", "portal", name, claim(amount))
        await self._log.append([draft])

    async def _send(self) -> None:
        while True:
            await self.submit(f"load-{self.sent}", "120.00")
            self.sent += 1
            await asyncio.sleep(_PACE_S)  # the pace of the load, not a wait

    async def _follow(self) -> None:
        feed = await self._log.feed()
        try:
            await feed.seek({("cases", number): 0 for number in range(self._log.shards)})
            while True:
                for records in (await feed.fetch(0.5)).values():
                    for record in records:
                        if type_of(record) == "case.closed":
                            key = (record.key or b"").decode()
                            self.closed[key] = (record.value or b"").decode()
                            self._grew.set()
        finally:
            await feed.close()


async def records_of(log: Log, topic: str, partitions: int | None = None) -> list[Record]:
    """Every record of a topic, undecoded: the tests know the older version alone."""
    records: list[Record] = []
    for number in range(log.shards if partitions is None else partitions):
        start, is_end = 0, False
        while not is_end:
            chunk = await log.scan((topic, number), start)
            records += chunk.records
            start, is_end = chunk.next_offset, chunk.is_end
    return records


def schema_of(record: Record) -> str:
    """`gate.requested:2` of a record."""
    schema = dict(record.headers).get("ce_dataschema") or b""
    return schema.decode().removeprefix("urn:caseway:schema:")
