"""What the chaos run does to group offsets really happens, on a broker that forgets them soon."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from caseway_control.local_broker import LocalBroker
from tests.broker import demand_jars
from tests.chaos.offsets import RETENTION, known, spoil


@pytest.mark.kafka
@pytest.mark.timeout(180)
async def test_offsets_are_moved_and_deleted_where_they_are_kept_for_a_minute(
    tmp_path: Path,
) -> None:
    demand_jars("a broker with settings of its own needs Java 17 and Maven")
    with LocalBroker(tmp_path, properties=RETENTION) as broker:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic("t", 2, 1)])
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
        settings = {entry[0]: entry[1] for entry in answer.resources[0][4]}
        assert settings.items() >= RETENTION.items()
        await admin.close()
        # Before its coordinator is up, a broker refuses.
        async with asyncio.timeout(60):
            while await spoil(broker.bootstrap, "g", "t", [7, 9]) != "moved":
                assert await known(broker.bootstrap, "g") in ({}, {"unknown": None})
        kept = await known(broker.bootstrap, "g")
        assert sorted(place.offset for place in kept.values()) == [7, 9]
        assert await spoil(broker.bootstrap, "g", "t", []) == "deleted"
        assert await known(broker.bootstrap, "g") == {}
        assert await spoil(broker.bootstrap, "g", "t", []) == "refused"
