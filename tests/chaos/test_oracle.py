"""The oracle finds every defect that is planted, and nothing in a namespace without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from caseway.contracts import case, decision, topics
from caseway.contracts.money import Money
from caseway.contracts.record import Record, instant_of
from caseway.contracts.submission import CaseAdmitted
from caseway.hosting.log import Place
from caseway_control.demo_agents import DemoBank
from tests.acceptance.test_projector_postgres import GATE, PIN, Writers
from tests.chaos.oracle import Oracle

World = dict[Place, list[Record]]
CASES: Place = ("cases", 0)
USD = Money(amount="5.00", currency="USD")
DECIDED = decision.GateDecided(
    **GATE,
    choice=decision.Choice.APPROVE,
    by=("person:eve",),
    roles=("claims-manager",),
    level=0,
    reason="covered",
    row="large",
    matrix=PIN,
)
PERMITTED = case.EffectPermitted(
    task_id="pay-1",
    token=1,
    effect_id="ef" * 32,
    gate_id="settle-1",
    revision=1,
    amount=USD,
    payee="payee",
    permit_s=60,
)


class FromMemory(Oracle):
    """Reads a world that lies in memory."""

    def __init__(self, world: World) -> None:
        super().__init__("", "", 2, ())
        self._world = world

    def _records(self, topic: str, number: int) -> list[Record]:
        return self._world.get((topic, number), [])


async def world_of(
    more: Callable[[Writers], Awaitable[Any]] | None = None,
) -> World:
    """Two whole cases, and what is planted on top by a proper commit."""
    writers = Writers()
    await writers.cases(2)
    for n in range(2):
        admitted = CaseAdmitted(
            definition=PIN,
            source="portal",
            key=f"k-{n}",
            body_sha256="ab" * 32,
            facts={},
            submitted_at=instant_of(0),
        )
        await writers.commit(("intake", n), (f"c-{n}", admitted))
    if more is not None:
        await more(writers)
    world: World = {}
    for topic in topics.all_topics(()):
        for number in range(topic.partitions(2)):
            chunk = await writers.log.scan((topic.name, number), 0)
            world[topic.name, number] = list(chunk.records)
    del world["audit", 0]  # its writer here counts trailers among the events of its key
    return world


def violations(world: World, bank: DemoBank | None = None) -> str:
    found = FromMemory(world).judge({"c-0", "c-1"}, bank or DemoBank())
    return "\n".join(found.violations)


async def test_two_whole_cases_have_nothing_wrong_with_them() -> None:
    assert violations(await world_of()) == ""


@pytest.mark.parametrize(
    ("place", "data", "said"),
    [
        (("approvals", 0), (DECIDED,), "decided twice"),
        (CASES, (case.CaseClosed(outcome="paid"),), "case.closed more than once"),
        (CASES, (PERMITTED,), "a permit that was never shown"),
        (CASES, (PERMITTED, PERMITTED), "permitted twice"),
    ],
)
async def test_what_is_said_once_too_often_is_found(
    place: Place, data: tuple[Any, ...], said: str
) -> None:
    world = await world_of(lambda w: w.commit(place, *(("c-0", event) for event in data)))
    assert said in violations(world)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda log: log.pop(), "ends without a trailer"),
        (lambda log: log.pop(1), "integrity."),
        (lambda log: log.insert(2, log[1]), "integrity."),
        (lambda log: log.append(log[-1]), "integrity.sequence"),
        (lambda log: log.clear(), "submitted and without case.closed"),
    ],
    ids=["no trailer", "a record gone", "a record twice", "a trailer twice", "all gone"],
)
async def test_a_log_that_is_not_whole_is_found(
    spoil: Callable[[list[Record]], Any], said: str
) -> None:
    world = await world_of()
    spoil(world[CASES])
    assert said in violations(world)


async def test_a_payment_that_no_log_permits_is_found() -> None:
    bank = DemoBank()
    await bank.pay("ab" * 32, USD, "payee")
    assert "paid without a permit" in violations(await world_of(), bank)


async def test_poison_that_nobody_answered_is_found() -> None:
    world = await world_of()
    world["submissions", 1] = [Record("submissions", 1, 7, 0, b"poison-1", b"x", ())]
    assert "poison without a dead letter" in violations(world)
