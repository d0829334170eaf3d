"""Runs one proxy a service instance in a process of its own, told over its standard input.

Each instance has a port of its own, so that a fault, and a kill at a named point, can be aimed at
it. Orders and answers are lines of JSON; `ProxyFarm` is the other end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from tests.chaos.proxy import (
    ADD_OFFSETS,
    END_TXN,
    FETCH,
    INIT_PRODUCER_ID,
    NAMES,
    PRODUCE,
    TXN_OFFSET_COMMIT,
    Act,
    Fault,
    Proxy,
    Request,
)

# Of a thousand requests of a kind, how many suffer which fault.
RATES: dict[int, dict[Act, int]] = {
    END_TXN: {
        Act.STRAY: 20,
        Act.COPY: 40,
        Act.DUPLICATE: 10,
        Act.DELAY: 30,
        Act.CUT_BEFORE: 5,
        Act.CUT_AFTER: 10,
        Act.DROP_REPLY: 1,
    },
    TXN_OFFSET_COMMIT: {Act.STRAY: 20, Act.COPY: 40, Act.DELAY: 30, Act.CUT_AFTER: 10},
    PRODUCE: {Act.STRAY: 8, Act.COPY: 20, Act.DUPLICATE: 5, Act.DELAY: 30, Act.CUT_AFTER: 8},
    ADD_OFFSETS: {Act.STRAY: 10, Act.COPY: 10, Act.DELAY: 10},
    INIT_PRODUCER_ID: {Act.STRAY: 30, Act.COPY: 30, Act.DELAY: 30},
    FETCH: {Act.CUT_AFTER: 1, Act.DELAY: 2, Act.OVERTAKE: 1},
}
_LATE_S = 2.0
_FROZEN_S = 5.0  # a request at which its sender is killed is let go after this
# Where an instance is killed: before the broker hears of the request, or before it is answered.
POINTS = tuple(
    (api, moment)
    for api in (INIT_PRODUCER_ID, PRODUCE, END_TXN, TXN_OFFSET_COMMIT)
    for moment in ("before", "after")
)


class Weather:
    """The faults of one instance's traffic, and the point at which it is to be killed."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.is_foul = False
        self.point: tuple[int, str] | None = None
        self._random = random.Random(seed)

    def __call__(self, request: Request) -> Fault | None:
        if self.point is not None and request.api == self.point[0]:
            moment, self.point = self.point[1], None
            tell({"hit": self.name, "point": f"{moment} {NAMES[request.api]}"})
            act = Act.DELAY if moment == "before" else Act.DROP_REPLY
            return Fault(act, _FROZEN_S)
        rates = RATES.get(request.api) if self.is_foul else None
        if rates is not None:
            ticket = self._random.randrange(1000)
            for act, share in rates.items():
                ticket -= share
                if ticket < 0:
                    return self._fault(act, request.api)
        return None

    def _fault(self, act: Act, api: int) -> Fault:
        if act is Act.DELAY:
            return Fault(act, self._random.uniform(0.01, 0.4))
        # Half of what strays comes in the middle of the next transaction, the rest at any time.
        if api == END_TXN and act in {Act.STRAY, Act.COPY} and self._random.random() < 0.5:
            return Fault(act, _LATE_S, PRODUCE)
        return Fault(act, self._random.expovariate(1 / 0.2))


def tell(said: dict[str, Any]) -> None:
    """One line to whoever started us."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


async def serve(bootstrap: str, names: Sequence[str], seed: int) -> None:
    """Carry traffic until the input ends."""
    weathers = {name: Weather(name, seed + n) for n, name in enumerate(names)}
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async with AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(Proxy(bootstrap, weather))
            for weather in weathers.values()
        ]
        tell({"ports": dict(zip(names, (p.bootstrap for p in proxies), strict=True))})
        while line := await reader.readline():
            order = json.loads(line)
            if "foul" in order:
                for weather in weathers.values():
                    weather.is_foul = order["foul"]
            if "kill" in order:
                weathers[order["kill"]].point = tuple(order["point"]) if order["point"] else None
            if "tally" in order:
                total: dict[str, Counter[str]] = {"faults": Counter(), "late_answers": Counter()}
                for proxy in proxies:
                    total["faults"] += proxy.tally.faults
                    total["late_answers"] += proxy.tally.late_answers
                tell({"tally": total})


@dataclass(slots=True)
class Hit:
    """An instance stands at the point where it was to be killed."""

    name: str
    point: str


class ProxyFarm:
    """The proxies of a run, as the run sees them."""

    def __init__(self, bootstrap: str, names: Sequence[str], seed: int) -> None:
        self._command = [sys.executable, "-m", "tests.chaos.proxied", bootstrap, str(seed), *names]
        self.ports: dict[str, str] = {}
        self.hits: asyncio.Queue[Hit] = asyncio.Queue()
        self._tallies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> ProxyFarm:
        self._child = await asyncio.create_subprocess_exec(
            *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._child.stdout is not None
        self.ports = json.loads(await self._child.stdout.readline())["ports"]
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()
        await self._child.wait()

    async def _listen(self) -> None:
        assert self._child.stdout is not None
        while line := await self._child.stdout.readline():
            said = json.loads(line)
            if "hit" in said:
                self.hits.put_nowait(Hit(said["hit"], said["point"]))
            else:
                self._tallies.put_nowait(said["tally"])

    def foul(self, *, is_foul: bool) -> None:
        """Begin or end the faults."""
        self._order({"foul": is_foul})

    async def stand_at(self, name: str, point: tuple[int, str], timeout_s: float) -> Hit | None:
        """Wait until this instance stands at a point; None when it did not come by in time."""
        while not self.hits.empty():
            self.hits.get_nowait()
        self._order({"kill": name, "point": point})
        try:
            async with asyncio.timeout(timeout_s):
                return await self.hits.get()
        except TimeoutError:
            self._order({"kill": name, "point": None})
            return None

    async def tally(self) -> dict[str, dict[str, int]]:
        """Faults done so far, and what the broker said to late requests."""
        self._order({"tally": True})
        async with asyncio.timeout(10):
            return await self._tallies.get()

    def _order(self, order: dict[str, Any]) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write((json.dumps(order) + "\n").encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("seed", type=int)
    parser.add_argument("names", nargs="+")
    given = parser.parse_args()
    asyncio.run(serve(given.bootstrap, given.names, given.seed))
