"""Compares a namespace with what it must be, and names the exact command that mends each finding.

It changes nothing. On an embedded directory most of it holds by construction; on Kafka each of
these settings has lost somebody's data before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from caseway.contracts.shard import ShardGenesis
from caseway.contracts.topics import FOREVER_MS, Topic, TopicKind, all_topics
from caseway.errors import CasewayError, ConfigError
from caseway.hosting.log import QuotaFacts, TopicFacts, insync_of
from caseway_control.genesis import LOGS, read_genesis
from caseway_control.spaces import Space


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be; a warning lets the services start."""

    code: str
    severity: Literal["error", "warning"]
    where: str
    what: str
    command: str


_OLD_BROKER = Finding(
    "DOCTOR_TXN",
    "warning",
    "broker",
    "is older than 4.0, where a late commit may tear the next batch; that is found and decided "
    "again, but costs a takeover",
    "kafka-features.sh --bootstrap-server BROKER upgrade --release-version 4.0"
    "  # once every broker runs 4.0 or newer",
)


_NO_QUOTA = Finding(
    "DOCTOR_QUOTA",
    "warning",
    "cluster",
    "has no default quota: whoever floods a topic delays every case of its shards",
    "CASEWAY_QUOTA_BYTES=65536 caseway topics create  # holds for every client of the cluster",
)


@runtime_checkable
class HasQuotas(Protocol):
    """A log whose brokers can hold a sender back."""

    async def quotas(self) -> QuotaFacts:
        """How the broker holds producers back."""


@runtime_checkable
class HasTransactions(Protocol):
    """A log whose brokers end its transactions, and may be too old to do so safely."""

    async def refuses_late_ends(self) -> bool:
        """Whether every broker refuses a late end of an earlier transaction (KIP-890)."""


async def diagnose(space: Space) -> list[Finding]:
    """Everything that is wrong, errors first.

    Raises:
        Unavailable: the log does not answer at all.
    """
    wanted = all_topics(space.settings.pool_names)
    there = await space.log.describe(wanted)
    findings = list(check_topics(space, wanted, there))
    findings += await _check_genesis(space, there)
    if isinstance(space.log, HasTransactions) and not await space.log.refuses_late_ends():
        findings.append(_OLD_BROKER)
    if isinstance(space.log, HasQuotas):
        findings += _check_quotas(space, await space.log.quotas())
    return sorted(findings, key=lambda finding: finding.severity != "error")


def check_topics(
    space: Space, wanted: tuple[Topic, ...], there: Mapping[str, TopicFacts]
) -> Iterator[Finding]:
    """Missing topics, and those that keep, split or time their records otherwise than they must."""
    others = _other_count(wanted, there, space.log.shards)
    if others:
        what = f"have {others} partitions each, and the setting says {space.log.shards}"
        command = f"export CASEWAY_SHARDS={others}"
        yield Finding("DOCTOR_PARTITIONS", "error", "all sharded topics", what, command)
    for topic in wanted:
        facts = there.get(topic.name)
        if facts is None:
            what = "is missing"
            yield _error("DOCTOR_TOPIC_MISSING", topic, what, "caseway topics create")
            continue
        expected = topic.partitions(space.log.shards)
        if facts.partitions != expected and not (topic.sharded and others):
            yield _partitions(space, topic, facts.partitions, expected)
        yield from _kept(space, topic, facts)
        yield from _written(space, topic, facts)


def _other_count(wanted: tuple[Topic, ...], there: Mapping[str, TopicFacts], shards: int) -> int:
    """How many partitions all sharded topics have, if that is one number and not ours; else 0."""
    counts = {there[t.name].partitions for t in wanted if t.sharded and t.name in there}
    count = counts.pop() if len(counts) == 1 else shards
    return count if count != shards else 0


def _partitions(space: Space, topic: Topic, found: int, expected: int) -> Finding:
    what = f"has {found} partitions and not {expected}; every shard needs its own, in every topic"
    command = (
        f"{_tool(space, 'kafka-topics.sh')} --delete --topic {_name(space, topic)} && "
        "caseway topics create  # only while it is empty: a key's shard never moves"
    )
    return _error("DOCTOR_PARTITIONS", topic, what, command)


def _kept(space: Space, topic: Topic, facts: TopicFacts) -> Iterator[Finding]:
    if topic.compacted:
        if not facts.is_compacted:
            what = "is not compacted, and would grow for ever"
            yield _warning(
                "DOCTOR_COMPACTION", topic, what, _set(space, topic, "cleanup.policy=compact")
            )
        return
    if facts.is_compacted:
        what = "is compacted, which deletes records that are the truth"
        command = _set(space, topic, "cleanup.policy=delete")
        yield _error("DOCTOR_COMPACTION", topic, what, command)
    if topic.retention_ms != FOREVER_MS:
        return
    make = _error if topic.kind is TopicKind.LOG else _warning
    if facts.retention_ms != FOREVER_MS:
        days = facts.retention_ms / 86_400_000
        what = f"deletes records after {days:g} days, and must keep them for ever"
        yield make("DOCTOR_RETENTION", topic, what, _set(space, topic, "retention.ms=-1"))
    if facts.retention_bytes != -1:
        size = facts.retention_bytes
        what = f"deletes records beyond {size} bytes a partition, and must keep them for ever"
        yield make("DOCTOR_RETENTION", topic, what, _set(space, topic, "retention.bytes=-1"))


def _written(space: Space, topic: Topic, facts: TopicFacts) -> Iterator[Finding]:
    if not facts.has_append_time and not topic.compacted:
        what = "carries the producers' times; every SLA runs from the broker's append time"
        command = _set(space, topic, "message.timestamp.type=LogAppendTime")
        yield _error("DOCTOR_TIMESTAMP", topic, what, command)
    if facts.has_unclean_election and not topic.compacted:
        what = "may be led by a replica that lacks acknowledged records"
        command = _set(space, topic, "unclean.leader.election.enable=false")
        yield _error("DOCTOR_ELECTION", topic, what, command)
    enough = insync_of(facts.replication)
    if facts.min_insync is not None and facts.min_insync < enough and not topic.compacted:
        what = f"acknowledges records that {facts.min_insync} of {facts.replication} replicas have"
        command = _set(space, topic, f"min.insync.replicas={enough}")
        yield _error("DOCTOR_INSYNC", topic, what, command)
    is_kafka = space.home is None
    if is_kafka and facts.replication < 2 and space.settings.stage == "production":
        what = "has one replica; the loss of one disk is the loss of every case"
        yield _error("DOCTOR_REPLICATION", topic, what, _reassign(space, topic, facts.partitions))


def _check_quotas(space: Space, facts: QuotaFacts) -> Iterator[Finding]:
    """Strangers are to be held back, and a service never: its commits would time out."""
    if facts.default_bytes is None and space.settings.stage == "production":
        yield _NO_QUOTA
    if facts.held_back:
        ours = ", ".join(sorted(facts.held_back))
        what = f"holds back {ours} as it does strangers; their commits time out"
        command = f"CASEWAY_QUOTA_BYTES={facts.default_bytes} caseway topics create"
        yield Finding("DOCTOR_QUOTA", "error", "cluster", what, command)


async def _check_genesis(space: Space, there: Mapping[str, TopicFacts]) -> list[Finding]:
    findings = []
    known: dict[ShardGenesis, str] = {}
    for _, topic in LOGS:
        facts = there.get(topic.name)
        count = min(facts.partitions, topic.partitions(space.log.shards)) if facts else 0
        for partition in range(count):
            where = f"{topic.name}/{partition}"
            try:
                genesis = await read_genesis(space.log, (topic.name, partition))
            except (CasewayError, ConfigError) as error:
                command = "restore the topic from a copy  # its beginning is gone"
                findings.append(Finding(error.code, "error", where, str(error), command))
                continue
            if genesis is None:
                what = "has no genesis; nothing can run on it yet"
                findings.append(Finding("DOCTOR_GENESIS", "error", where, what, "caseway init"))
                continue
            if genesis not in known:
                known[genesis] = where
                findings += _foreign(space, genesis, where)
    if len(known) > 1:
        what = f"{' and '.join(known.values())} begin with different geneses"
        command = "CASEWAY_NAMESPACE=another  # two namespaces were made on the same topics"
        findings.append(Finding("GENESIS_MISMATCH", "error", "logs", what, command))
    return findings


def _foreign(space: Space, genesis: ShardGenesis, where: str) -> list[Finding]:
    if genesis.namespace != space.namespace:
        return [
            Finding(
                "GENESIS_MISMATCH",
                "error",
                where,
                f"belongs to namespace {genesis.namespace!r} and not to {space.namespace!r}",
                f"CASEWAY_NAMESPACE={genesis.namespace}",
            )
        ]
    if genesis.shards != space.log.shards:
        return [
            Finding(
                "GENESIS_MISMATCH",
                "error",
                where,
                f"was founded with {genesis.shards} shards and not {space.log.shards}",
                f"CASEWAY_SHARDS={genesis.shards}",
            )
        ]
    return []


def _error(code: str, topic: Topic, what: str, command: str) -> Finding:
    return Finding(code, "error", topic.name, what, command)


def _warning(code: str, topic: Topic, what: str, command: str) -> Finding:
    return Finding(code, "warning", topic.name, what, command)


def _set(space: Space, topic: Topic, setting: str) -> str:
    tool = _tool(space, "kafka-configs.sh")
    return f"{tool} --alter --topic {_name(space, topic)} --add-config {setting}"


def _reassign(space: Space, topic: Topic, partitions: int) -> str:
    name = _name(space, topic)
    plan = [
        {
            "topic": name,
            "partition": number,
            "replicas": [number % 3 + 1, (number + 1) % 3 + 1, (number + 2) % 3 + 1],
        }
        for number in range(partitions)
    ]
    body = json.dumps({"version": 1, "partitions": plan}, separators=(",", ":"))
    tool = _tool(space, "kafka-reassign-partitions.sh")
    return f"{tool} --execute --reassignment-json-file <(echo '{body}')  # brokers 1, 2 and 3"


def _tool(space: Space, name: str) -> str:
    address = space.settings.address
    return f"{name} --bootstrap-server {address.target}" if address.kind == "kafka" else name


def _name(space: Space, topic: Topic) -> str:
    return f"{space.namespace}.{topic.name}"
