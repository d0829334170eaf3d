"""Every topic of a namespace: who writes it, how it is split and how long it is kept.

Partition p of every sharded topic is shard p: one owner at a time in each service. A LOG has
exactly one writer per partition and is the truth; an INBOUND topic has many writers and is never
folded as own state; a DERIVED topic can be made again from the logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

FOREVER_MS = -1
_DAY_MS = 86_400_000


class TopicKind(Enum):
    """What a topic is to its readers."""

    INBOUND = "inbound"
    LOG = "log"
    DERIVED = "derived"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic by its name inside the namespace; `writer` is who may append to it."""

    name: str
    kind: TopicKind
    writer: str
    sharded: bool = True
    retention_ms: int = FOREVER_MS
    compacted: bool = False

    def partitions(self, shards: int) -> int:
        """How many partitions this topic has in a namespace of so many shards."""
        return shards if self.sharded else 1


SUBMISSIONS = Topic("submissions", TopicKind.INBOUND, "submitters", retention_ms=30 * _DAY_MS)
AGENT_REPORTS = Topic("agent-reports", TopicKind.INBOUND, "agents")
DECISIONS = Topic("decisions", TopicKind.INBOUND, "people")
CONTROL = Topic("control", TopicKind.INBOUND, "operators", sharded=False)
INTAKE = Topic("intake", TopicKind.LOG, "intake")
REGISTRY = Topic("registry", TopicKind.LOG, "intake", sharded=False)
CASES = Topic("cases", TopicKind.LOG, "router")
APPROVALS = Topic("approvals", TopicKind.LOG, "approval")
DEADLINES = Topic("deadlines", TopicKind.LOG, "sla_watchdog")
AUDIT = Topic("audit", TopicKind.LOG, "audit", sharded=False)

FIXED_TOPICS = (
    SUBMISSIONS,
    AGENT_REPORTS,
    DECISIONS,
    CONTROL,
    INTAKE,
    REGISTRY,
    CASES,
    APPROVALS,
    DEADLINES,
    AUDIT,
)
# The log each service writes its own events and trailers to.
OWN_LOGS = {
    "intake": INTAKE,
    "router": CASES,
    "approval": APPROVALS,
    "sla_watchdog": DEADLINES,
    "audit": AUDIT,
}
SERVICES = tuple(OWN_LOGS)


def offers(pool: str) -> Topic:
    """The task packets of one pool: only the fields that pool may see."""
    return Topic(f"offers.{pool}", TopicKind.DERIVED, "router", retention_ms=7 * _DAY_MS)


def dead_letters(service: str) -> Topic:
    """Pointers to the records that `service` could not interpret; never their content."""
    return Topic(
        f"dead-letters.{service}",
        TopicKind.DERIVED,
        service,
        sharded=False,
        retention_ms=30 * _DAY_MS,
    )


def snapshots(service: str) -> Topic:
    """A checksummed cache of folds, compacted by key; never the truth."""
    return Topic(f"snapshots.{service}", TopicKind.DERIVED, service, compacted=True)


def all_topics(pools: tuple[str, ...]) -> tuple[Topic, ...]:
    """Every topic of a namespace that serves these pools, in a stable order."""
    return (
        *FIXED_TOPICS,
        *(offers(pool) for pool in sorted(pools)),
        *(dead_letters(service) for service in SERVICES),
        *(snapshots(service) for service in SERVICES),
    )
