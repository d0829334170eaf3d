"""Who works during a chaos run: a portal, demo agents and people, and someone who counts."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable

from caseway.client import Client
from caseway.contracts import topics
from caseway.contracts.codec import type_of
from caseway.contracts.fields import JsonObject
from caseway.contracts.record import Draft
from caseway.errors import Unavailable
from caseway.hosting.kafka_log import KafkaLog
from caseway.hosting.log import Place
from caseway.kernel.identity import shard_of
from caseway_control.demo_agents import DEMO_AGENTS, DemoAgent
from caseway_control.demo_people import DemoApprovers
from caseway_control.keys import DEMO_PERSONS
from tests.chaos.stage import Stage

_AMOUNTS = ("4999.99", "5000.00", "24999.99", "25000.00", "75000.00", "99999.99", "100000.00")
_REST_S = 0.2
# How many of a hundred submissions come three times.
_TRIPLED = 5
# How the oracle knows what was meant to be refused.
POISON = "poison"
INBOUND = (topics.SUBMISSIONS, topics.AGENT_REPORTS, topics.DECISIONS, topics.CONTROL)


def poison(chosen: random.Random, namespace: str, shards: int) -> list[Draft]:
    """One record of every kind that no processor may interpret, for a random inbound topic."""
    topic = chosen.choice(INBOUND)
    key = f"{POISON}-{chosen.randrange(10**9)}".encode()
    number = 0 if topic is topics.CONTROL else shard_of(key, shards)
    wrong = 0 if topic is topics.CONTROL else (number + 1) % shards
    kind = {
        topics.SUBMISSIONS.name: "case.submit",
        topics.AGENT_REPORTS.name: "task.complete",
        topics.DECISIONS.name: "gate.decide",
        topics.CONTROL.name: "namespace.halt",
    }[topic.name]

    def headers(**changes: str) -> tuple[tuple[str, bytes], ...]:
        fields = {
            "content-type": "application/json",
            "ce_specversion": "1.0",
            "ce_id": key.decode(),
            "ce_source": "/poison",
            "ce_type": kind,
            **changes,
        }
        return tuple((name, value.encode()) for name, value in fields.items())

    good = json.dumps({"namespace": namespace}).encode()
    bodies: list[bytes | None] = [
        b"",
        None,
        b"not json",
        b'"\xff\xfe"',
        b"[" * 300 + b"]" * 300,
        b'{"amount": NaN}',
        b'{"amount": 1' + b"0" * 400 + b"}",
        good,  # fields are missing
        b"\x00\x01\x02",
        b'"' + b"x" * 700_000 + b'"',
    ]
    drafts = [Draft(topic.name, number, key, body, headers()) for body in bodies]
    drafts += [
        Draft(topic.name, number, None, good, headers()),
        Draft(topic.name, number, key, good, ()),
        Draft(topic.name, number, key, good, headers(ce_type="nobody.knows")),
        Draft(topic.name, number, key, good, headers(ce_type="case.opened")),
        Draft(
            topic.name, number, key, good, headers(ce_dataschema=f"urn:caseway:schema:{kind}:999")
        ),
        Draft(topic.name, wrong, key, good, headers()),
        Draft(topic.name, number, key, good, (*headers(), ("traceparent", None))),
    ]
    return drafts


class Crowd:
    """All who talk to the broker directly; whatever an outage ends is begun anew."""

    def __init__(self, stage: Stage, log: KafkaLog, seed: int) -> None:
        self._stage = stage
        self._log = log
        self._random = random.Random(seed)
        self._portal = Client(log, stage.namespace, source="/portal")
        self.submitted: set[str] = set()
        self.closed: set[str] = set()
        self.poisoned = 0
        self.tripled = 0
        self.restarts = 0

    def works(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs beside the torment, each for ever."""
        stage, log = self._stage, self._log
        agents = [
            DemoAgent(log, stage.client(log, f"agent:{name}"), name, stage.bank)
            for name in DEMO_AGENTS
        ]
        people = DemoApprovers(
            log, {name: stage.client(log, f"person:{name}") for name in DEMO_PERSONS}
        )

        def of(agent: DemoAgent) -> Callable[[], Awaitable[None]]:
            return lambda: agent.run(start={})

        return [*(of(agent) for agent in agents), people.run, self._count]

    async def keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it again from the start whenever an outage ends it: all of them may repeat."""
        while True:
            try:
                await work()
            except* (Unavailable, TimeoutError, OSError):
                self.restarts += 1
            await asyncio.sleep(_REST_S)

    async def submit(self, cases: int, seconds: float) -> None:
        """So many claims, evenly over this time; some of them three times."""
        began = time.monotonic()
        for number in range(cases):
            rest = began + seconds * number / cases - time.monotonic()
            if rest > 0:
                await asyncio.sleep(rest)
            draft = self._portal.submission(
                "insurance-claim", "portal", f"claim-{number}", self._claim()
            )
            times = 3 if self._random.randrange(100) < _TRIPLED else 1
            self.tripled += times == 3
            await self.send([draft] * times)
            self.submitted.add((draft.key or b"").decode())

    async def send(self, drafts: list[Draft]) -> list[tuple[int, int]]:
        """Append until it is acknowledged; after an outage a record may be there twice."""
        while True:
            try:
                return list(await self._log.append(drafts))
            except Unavailable:
                await asyncio.sleep(_REST_S)

    async def poison(self) -> None:
        """One record of every bad kind; the oracle finds them by their key."""
        drafts = poison(self._random, self._stage.namespace, self._log.shards)
        await self.send(drafts)
        self.poisoned += len(drafts)

    def _claim(self) -> JsonObject:
        return {
            "claimant": "claimant-0123456789abcdef",
            "payee": "payee-0123456789abcdef",
            "amount": {"amount": self._random.choice(_AMOUNTS), "currency": "USD"},
            "incident_kind": self._random.choice(("fire", "theft", "collision")),
        }

    async def _count(self) -> None:
        places: list[Place] = [(topics.CASES.name, n) for n in range(self._log.shards)]
        feed = await self._log.feed()
        try:
            await feed.seek(dict.fromkeys(places, 0))
            while True:
                for records in (await feed.fetch(0.5)).values():
                    self.closed |= {
                        (r.key or b"").decode() for r in records if type_of(r) == "case.closed"
                    }
        finally:
            await feed.close()
