"""Claims from submission to payment on a real broker, while everything is being killed."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest

from caseway.client import Client
from caseway.contracts.decision import GateOpened
from caseway.contracts.fields import JsonObject
from caseway.contracts.record import Draft
from caseway.contracts.submission import SubmissionRefused
from caseway.kernel.identity import case_id_of
from caseway_control.fleet import SERVICES, Fleet
from tests.acceptance.reading import assert_once, until_closed, whole_log

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

BOUNDARIES = {
    "4999.99": ("auto", ("system",)),
    "5000.00": ("standard", ("senior-adjuster",)),
    "24999.99": ("standard", ("senior-adjuster",)),
    "25000.00": ("large", ("claims-manager",)),
    "75000.00": ("large", ("claims-manager",)),
    "99999.99": ("large", ("claims-manager",)),
    "100000.00": ("major", ("vp-claims",)),
    "500000.00": ("major", ("vp-claims",)),
    "500000.01": ("catastrophic", ("chief-claims-officer",)),
}
REFUSED: dict[str, Any] = {
    "-1": "AMOUNT_RANGE",
    "NaN": "AMOUNT_FORMAT",
    "1e400": "AMOUNT_FORMAT",
    "10.001": "AMOUNT_SCALE",
    "75,000": "AMOUNT_FORMAT",
}


class TripledLog:
    """Sends every inbound record three times, as an impatient client would."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, drafts: Sequence[Draft]) -> Sequence[tuple[int, int]]:
        tripled = list(itertools.chain.from_iterable([draft] * 3 for draft in drafts))
        given: Sequence[tuple[int, int]] = await self._log.append(tripled)
        return given[::3]


def claim(amount: str, **changes: Any) -> JsonObject:
    """The facts of one claim."""
    return {
        "claimant": "claimant-0123456789abcdef",
        "payee": "payee-0123456789abcdef",
        "amount": {"amount": amount, "currency": "USD"},
        "incident_kind": "fire",
        **changes,
    }


async def test_boundary_amounts_reach_their_approver_and_bad_ones_are_named(
    fleet: Fleet, running: Any
) -> None:
    portal = Client(running, fleet.namespace, source="/portal")
    drafts = [
        portal.submission("insurance-claim", "portal", amount, claim(amount))
        for amount in (*BOUNDARIES, *REFUSED)
    ]
    flagged = claim("10.00", fraud_reported=True)
    drafts.append(portal.submission("insurance-claim", "portal", "flagged", flagged))
    for name, value in (
        ("null", None),
        ("float", 12.5),
        ("euro", {"amount": "1", "currency": "euro"}),
    ):
        drafts.append(
            portal.submission("insurance-claim", "portal", name, claim("1") | {"amount": value})
        )
    async with fleet.people_and_agents(running):
        await running.append(drafts)
        closed = await until_closed(running, len(BOUNDARIES) + 1, 240)
    assert set(closed.values()) == {"paid"}

    approvals = await whole_log(running, "approvals")
    opened = {e.key: e.data for e in approvals if isinstance(e.data, GateOpened)}
    for amount, (row, roles) in BOUNDARIES.items():
        gate = opened[case_id_of(fleet.namespace, "portal", amount)]
        assert (gate.row, gate.roles) == (row, roles), amount
    assert opened[case_id_of(fleet.namespace, "portal", "flagged")].row == "fraud-referral"
    catastrophic = opened[case_id_of(fleet.namespace, "portal", "500000.01")]
    assert catastrophic.rungs == (("ceo", "legal"),)
    assert catastrophic.sla == "5 business days"

    refusals = {
        e.key: e.data.code
        for e in await whole_log(running, "intake")
        if isinstance(e.data, SubmissionRefused)
    }
    expected = REFUSED | {"null": "FIELD_MISSING", "float": "AMOUNT_FORMAT", "euro": "CURRENCY"}
    for name, code in expected.items():
        assert refusals[case_id_of(fleet.namespace, "portal", name)] == code, name


async def test_nothing_is_lost_or_doubled_while_services_and_broker_are_killed(
    fleet: Fleet, running: Any, broker: Any
) -> None:
    seed = 20261121
    chosen = random.Random(seed)
    count = 120
    portal = Client(running, fleet.namespace, source="/portal")
    amounts = [chosen.choice(list(BOUNDARIES)) for _ in range(count)]
    drafts = [
        portal.submission("insurance-claim", "portal", f"claim-{n}", claim(amount))
        for n, amount in enumerate(amounts)
    ]
    drafts += chosen.sample(drafts, count // 20)
    async with fleet.people_and_agents(running):
        closing = asyncio.create_task(until_closed(running, count, 240))
        for n, draft in enumerate(drafts):
            await running.append([draft])
            if n % 8 == 4:
                service = SERVICES[(n // 8) % len(SERVICES)]
                fleet.kill(service)
                fleet.start(service)
            if n == count // 2:
                await asyncio.to_thread(broker.restart)
        closed = await closing
    assert len(closed) == count
    assert set(closed.values()) == {"paid"}
    assert all(fleet.kills[service] >= 3 for service in SERVICES), fleet.kills
    assert fleet.died() == []
    await assert_once(fleet.bank, running, count)


async def test_every_inbound_record_three_times_changes_nothing(fleet: Fleet, running: Any) -> None:
    count = 40
    portal = Client(running, fleet.namespace, source="/portal")
    tripled: Any = TripledLog(running)
    amounts = itertools.cycle(BOUNDARIES)
    drafts = [
        portal.submission("insurance-claim", "portal", f"claim-{n}", claim(next(amounts)))
        for n in range(count)
    ]
    async with fleet.people_and_agents(tripled):
        await tripled.append(drafts)
        closed = await until_closed(running, count, 240)
    assert len(closed) == count
    await assert_once(fleet.bank, running, count)
