"""Services at rest whose broker goes away have nothing to do, and say that they are not ready."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from caseway_control.fleet import Fleet
from caseway_control.local_broker import LocalBroker
from tests.broker import demand_jars

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


async def until(fleet: Fleet, *, is_ready: bool) -> str:
    """What the probe says once it says this."""
    async with asyncio.timeout(120):
        while True:
            is_so, text = await asyncio.to_thread(fleet.readiness, "intake")
            if is_so == is_ready:
                return text
            await asyncio.sleep(0.1)


async def test_a_broker_that_is_gone_is_noticed_by_services_at_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demand_jars("a broker that can be killed needs Java 17 and Maven")
    with LocalBroker(tmp_path / "broker") as broker:
        fleet = Fleet(tmp_path / "fleet", broker.bootstrap, "outage")
        environment = fleet.environment() | {"CASEWAY_STALL_S": "2"}
        monkeypatch.setattr(fleet, "environment", lambda: environment)
        log = fleet.log()
        try:
            await fleet.found(log)
            fleet.start("intake")
            await until(fleet, is_ready=True)
            broker.kill()
            assert "the log has not answered" in await until(fleet, is_ready=False)
            broker.start()
            await until(fleet, is_ready=True)
        finally:
            fleet.stop()
            await log.close()
