"""600 insurance claims that nobody here wrote, through the command line, under kills.

The file lies beside the project and is not part of it, so this runs where it is there.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from caseway.contracts import topics
from caseway.contracts.decision import GateOpened
from caseway_control.bootstrap import shipped_folder
from caseway_control.fleet import SERVICES, Fleet
from caseway_control.keys import PSEUDONYM, key_path
from tests.acceptance.reading import assert_once, until_closed, whole_log

FILE = Path(__file__).parents[3] / "shared" / "data" / "auto_claims.csv"
MAPPING = shipped_folder("mappings") / "auto-claims.yaml"
ROWS = {"auto": 30, "standard": 68, "large": 340, "major": 7, "fraud-referral": 154}
COUNT = sum(ROWS.values())

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not FILE.exists(), reason="auto_claims.csv lies beside the project"),
]


async def caseway(fleet: Fleet, *arguments: str) -> tuple[int, Any]:
    """Run one command; its exit code and what it printed as JSON."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "caseway_control.cli",
        *arguments,
        "--json",
        env=fleet.environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, json.loads(output) if output else None


async def submit(fleet: Fleet, file: Path) -> tuple[int, Any]:
    """Submit a file of claims; a run that an outage ended is simply run again."""
    pseudonyms = str(key_path(fleet.keys, PSEUDONYM))
    options = ("--mapping", str(MAPPING), "--pseudonym-key", pseudonyms, "--timeout", "120")
    code, said = 2, None
    async with asyncio.timeout(300):
        while code == 2:
            code, said = await caseway(fleet, "submit", str(file), *options)
    return code, said


async def test_600_claims_close_as_the_matrix_says_while_everything_is_killed(
    fleet: Fleet, running: Any, broker: Any, tmp_path: Path
) -> None:
    again = tmp_path / "again.csv"
    lines = FILE.read_text("utf-8").splitlines()
    chosen = random.Random(20261121)
    again.write_text("\n".join([lines[0], *chosen.sample(lines[1:10] + lines[11:], 30)]), "utf-8")

    async with fleet.people_and_agents(running):
        torment = asyncio.create_task(_torment(fleet, broker))
        closing = asyncio.create_task(until_closed(running, COUNT, 600))
        code, said = await submit(fleet, FILE)
        assert code == 1, said
        _, repeated = await submit(fleet, again)
        closed = await closing
        torment.cancel()
    assert len(closed) == COUNT
    assert set(closed.values()) == {"paid"}
    assert "11" in json.dumps([row for row in said["rows"] if row["verdict"] == "refused"])
    assert {row["verdict"] for row in repeated["rows"]} == {"already admitted"}
    assert min(fleet.kills[service] for service in SERVICES) >= 3, fleet.kills
    assert fleet.died() == []

    approvals = await whole_log(running, "approvals")
    opened = {e.key: e.data for e in approvals if isinstance(e.data, GateOpened)}
    assert Counter(gate.row for gate in opened.values()) == ROWS
    await assert_once(fleet.bank, running, COUNT)

    before = await verified(fleet)
    fleet.stop()
    await _delete_snapshots(fleet, running)
    requests = fleet.bank.requests
    async with fleet.people_and_agents(running, is_fresh=True):
        fleet.start_all()
        await fleet.until_ready()
        after = await verified(fleet)
    assert after == before
    assert fleet.bank.requests == requests


async def verified(fleet: Fleet) -> Any:
    """The state digests of every service, from a verifier that found nothing wrong."""
    code, report = await caseway(fleet, "verify")
    assert code == 0, report
    return report["services"]


async def _torment(fleet: Fleet, broker: Any) -> None:
    """Kill one service after the other, and restart the broker once."""
    for turn in range(len(SERVICES) * 4):
        await asyncio.sleep(1.0)  # let it work: this is the pace of the torment, not a wait
        service = SERVICES[turn % len(SERVICES)]
        fleet.kill(service)
        fleet.start(service)
        if turn == len(SERVICES):
            await asyncio.to_thread(broker.restart)


async def _delete_snapshots(fleet: Fleet, log: Any) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=fleet.bootstrap)
    await admin.start()
    caches = [topics.snapshots(service) for service in topics.SERVICES]
    await admin.delete_topics([f"{fleet.namespace}.{topic.name}" for topic in caches])
    async with asyncio.timeout(120):
        while set(await admin.list_topics()) & {f"{fleet.namespace}.{t.name}" for t in caches}:
            await asyncio.sleep(0.05)
    await admin.close()
    await log.create_topics(caches)
