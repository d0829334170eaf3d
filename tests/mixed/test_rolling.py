"""Two versions at once, forward and back under load; a rollback is free until the level rises."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from caseway.contracts import topics
from caseway.contracts.topics import dead_letters, snapshots
from caseway.hosting.kafka_log import KafkaLog
from caseway_control.fleet import SERVICES, Fleet
from caseway_control.keys import ROOTS, key_path
from tests.acceptance.test_claims_on_kafka import BOUNDARIES
from tests.mixed.rolling import NEWER, OLDER, Load, Rolling, records_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

# One case at each gate of the matrix at which a person decides.
PARKED = [amount for amount, (row, _) in BOUNDARIES.items() if row != "auto"]


async def state_versions(log: Any) -> set[int]:
    """The state versions in the router's snapshots."""
    marks = [r for r in await records_of(log, snapshots("router").name) if r.key == b"~marker"]
    return {json.loads(mark.value or b"{}")["state_version"] for mark in marks}


async def raise_level(rolling: Rolling, version: str, level: int) -> tuple[str, str]:
    """What becomes of the wish to raise the level, and its code."""
    key = str(key_path(rolling.fleet.keys, ROOTS[0]))
    _, (said,) = await rolling.command(version, "control", "raise", str(level), "--sign", key)
    return said["verdict"], said["code"]


async def until_parked(rolling: Rolling, count: int) -> None:
    """Wait until so many gates wait for people."""
    async with asyncio.timeout(180):
        while (await rolling.schemas("approvals"))["gate.opened:1"] < count:
            await asyncio.sleep(0.1)


async def founded(fleet: Fleet) -> tuple[KafkaLog, Rolling, Load]:
    """A namespace with its documents in force, all of it older."""
    log = fleet.log()
    await fleet.found(log)
    rolling = Rolling(fleet, log)
    rolling.start_all(OLDER)
    await fleet.publish(log)
    return log, rolling, Load(fleet, log)


async def test_one_service_rolls_forward_and_back_beside_the_others(fleet: Fleet) -> None:
    log, rolling, load = await founded(fleet)
    async with fleet.people_and_agents(log, is_deciding=False), load.running():
        await load.submit("parked", PARKED[0])
        await until_parked(rolling, 1)
        await rolling.roll("router", NEWER, load)
        async with asyncio.timeout(60):
            while len(await state_versions(log)) < 2:  # the newer one writes a snapshot, too
                await asyncio.sleep(0.1)
        await rolling.roll("router", OLDER, load)
    (_, older), (_, newer) = [await rolling.command(v, "verify") for v in (OLDER, NEWER)]
    assert older["findings"] == newer["findings"] == []
    differ = {s for s in older["services"] if older["services"][s] != newer["services"][s]}
    assert differ == {"router"}, "the one whose state has another form"
    async with fleet.people_and_agents(log), asyncio.timeout(60):
        while (await rolling.schemas("cases"))["case.closed:1"] < load.sent + 1:
            await asyncio.sleep(0.1)
    assert fleet.died() == []
    await log.close()


@pytest.mark.long
async def test_versions_roll_forward_and_back_and_forward_and_nothing_is_stranded(
    fleet: Fleet,
) -> None:
    log, rolling, load = await founded(fleet)
    async with fleet.people_and_agents(log, is_deciding=False), load.running():
        for amount in PARKED:
            await load.submit(f"parked-{amount}", amount)
        await until_parked(rolling, len(PARKED))
        await rolling.roll_all(NEWER, load)
        for amount in PARKED:
            await load.submit(f"parked-newer-{amount}", amount)
        await until_parked(rolling, 2 * len(PARKED))
        await rolling.roll_all(OLDER, load)
        assert await raise_level(rolling, OLDER, 2) == ("refused", "LEVEL_UNKNOWN")
    # At rest, before the level: both versions read everything, and each its own state of it.
    written = await rolling.schemas("cases")
    assert (written["gate.requested:2"], written["case.noted:1"]) == (0, 0)
    assert len(await state_versions(log)) == 2, "both versions wrote snapshots"
    older, newer = await rolling.digests(OLDER), await rolling.digests(NEWER)
    assert {name for name in older if older[name] != newer[name]} == {"router"}

    async with fleet.people_and_agents(log, is_fresh=True, is_deciding=False), load.running():
        await rolling.roll_all(NEWER, load)
        assert await raise_level(rolling, NEWER, 3) == ("refused", "LEVEL_UNKNOWN")
        assert await raise_level(rolling, NEWER, 2) == ("accepted", "")
        assert await raise_level(rolling, NEWER, 1) == ("refused", "VERSION_CONFLICT")
        for amount in PARKED:
            await load.submit(f"parked-raised-{amount}", amount)
        await until_parked(rolling, 3 * len(PARKED))
        assert (await rolling.schemas("cases"))["gate.requested:2"] >= len(PARKED)
        assert (await rolling.schemas("cases"))["case.noted:1"] > 0
        await too_old_waits_and_goes_on(rolling, load)
    async with fleet.people_and_agents(log, is_fresh=False):
        async with asyncio.timeout(120):
            while (await rolling.schemas("cases"))["case.closed:1"] < load.sent + 3 * len(PARKED):
                await asyncio.sleep(0.2)
    assert fleet.died() == []
    written = await rolling.schemas("cases")
    assert written["case.opened:1"] == written["case.closed:1"] == load.sent + 3 * len(PARKED)
    for topic in ("intake", "cases", "approvals", "deadlines"):
        assert (await rolling.schemas(topic))["case.faulted:1"] == 0
    for service in (s for s in SERVICES if s in topics.SERVICES):
        assert await records_of(log, dead_letters(service).name, 1) == []
    await rolling.digests(NEWER)
    await log.close()


async def too_old_waits_and_goes_on(rolling: Rolling, load: Load) -> None:
    """A process left behind says so and stops nothing for ever: its shards go on when replaced."""
    old = rolling.start("approval", OLDER)
    await rolling.until_says(old, is_ready=False, words="code_too_old")
    await asyncio.to_thread(rolling.fleet.retire, old)
    await load.more(8)
