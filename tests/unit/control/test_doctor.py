"""The doctor: each thing that has lost data before is found, with the command that mends it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from caseway.contracts.topics import all_topics
from caseway.hosting.log import TopicFacts
from caseway.ops.settings import read_settings
from caseway_control.doctor import Finding, check_topics, diagnose
from caseway_control.founding import found_namespace
from caseway_control.keys import ROOTS
from caseway_control.spaces import Home, Space, load_settings, open_space

TOPICS = all_topics(("claims", "payments"))
SHARDS = 12


@dataclass
class _Log:
    shards: int = SHARDS


def space(stage: str = "dev") -> Space:
    log: Any = _Log()
    settings = read_settings({}, log="kafka://broker:9092", stage=stage)
    return Space(log, settings, "acme", None)


def healthy() -> dict[str, TopicFacts]:
    return {
        topic.name: TopicFacts(
            topic.partitions(SHARDS),
            topic.retention_ms,
            topic.compacted,
            has_append_time=True,
            replication=3,
            min_insync=2,
        )
        for topic in TOPICS
    }


def check(there: dict[str, TopicFacts], stage: str = "dev") -> list[Finding]:
    return list(check_topics(space(stage), TOPICS, there))


def test_what_is_as_it_must_be_has_no_findings() -> None:
    assert check(healthy(), "production") == []


@pytest.mark.parametrize(
    ("topic", "change", "code", "command"),
    [
        ("cases", {"partitions": 6}, "DOCTOR_PARTITIONS", "kafka-topics.sh"),
        ("registry", {"partitions": 3}, "DOCTOR_PARTITIONS", "--topic acme.registry"),
        (
            "cases",
            {"retention_ms": 604_800_000},
            "DOCTOR_RETENTION",
            "kafka-configs.sh --bootstrap-server broker:9092 --alter --topic acme.cases "
            "--add-config retention.ms=-1",
        ),
        ("cases", {"retention_bytes": 2**30}, "DOCTOR_RETENTION", "retention.bytes=-1"),
        (
            "intake",
            {"has_unclean_election": True},
            "DOCTOR_ELECTION",
            "unclean.leader.election.enable=false",
        ),
        ("approvals", {"min_insync": 1}, "DOCTOR_INSYNC", "min.insync.replicas=2"),
        ("registry", {"is_compacted": True}, "DOCTOR_COMPACTION", "cleanup.policy=delete"),
        ("snapshots.router", {"is_compacted": False}, "DOCTOR_COMPACTION", "policy=compact"),
        (
            "deadlines",
            {"has_append_time": False},
            "DOCTOR_TIMESTAMP",
            "message.timestamp.type=LogAppendTime",
        ),
    ],
)
def test_a_setting_that_loses_data_is_found(
    topic: str, change: dict[str, Any], code: str, command: str
) -> None:
    there = healthy()
    there[topic] = replace(there[topic], **change)
    (finding,) = check(there)
    assert (finding.code, finding.where) == (code, topic)
    assert command in finding.command


def test_another_number_of_shards_is_one_finding() -> None:
    there = {
        topic.name: replace(healthy()[topic.name], partitions=topic.partitions(24))
        for topic in TOPICS
    }
    (finding,) = check(there)
    assert (finding.code, finding.command) == ("DOCTOR_PARTITIONS", "export CASEWAY_SHARDS=24")


def test_a_missing_topic_is_found() -> None:
    there = healthy()
    del there["offers.claims"]
    (finding,) = check(there)
    assert (finding.code, finding.command) == ("DOCTOR_TOPIC_MISSING", "caseway topics create")


def test_one_replica_is_an_error_in_production_alone() -> None:
    there = {name: replace(facts, replication=1) for name, facts in healthy().items()}
    assert check(there, "dev") == []
    findings = check(there, "production")
    assert {finding.code for finding in findings} == {"DOCTOR_REPLICATION"}
    assert '"topic":"acme.registry","partition":0,"replicas":[1,2,3]' in next(
        finding.command for finding in findings if finding.where == "registry"
    )


def diagnosed(directory: Path, **settings: str) -> list[Finding]:
    async def body() -> list[Finding]:
        async with open_space(load_settings(log=f"sqlite:{directory}", **settings)) as opened:
            return await diagnose(opened)

    return asyncio.run(body())


def founded(directory: Path) -> Home:
    home = Home(directory)
    asyncio.run(found_namespace(load_settings(log=f"sqlite:{directory}"), home.keys))
    return home


def test_a_fresh_directory_is_well(tmp_path: Path) -> None:
    founded(tmp_path / "a")
    assert diagnosed(tmp_path / "a") == []


def test_init_again_changes_nothing(tmp_path: Path) -> None:
    home = founded(tmp_path / "a")
    before = home.genesis_file.read_bytes()
    founded(tmp_path / "a")
    assert home.genesis_file.read_bytes() == before
    assert len(home.genesis().root_keys) == len(ROOTS)


def test_init_mends_a_directory_whose_genesis_note_was_lost(tmp_path: Path) -> None:
    home = founded(tmp_path / "a")
    before = home.genesis()
    home.genesis_file.unlink()
    founded(tmp_path / "a")
    assert home.genesis() == before


def test_a_foreign_genesis_is_named(tmp_path: Path) -> None:
    home = founded(tmp_path / "a")
    home.write_genesis(home.genesis().model_copy(update={"namespace": "other"}))
    codes = {finding.code for finding in diagnosed(tmp_path / "a")}
    assert codes == {"GENESIS_MISMATCH"}
