"""The watchdog's card: what it hears and says."""

from __future__ import annotations

from caseway.contracts import topics
from caseway.contracts.catalog import CATALOG
from caseway.contracts.deadline import Timed
from caseway.contracts.topics import Topic
from caseway.kernel.processor import Card, Input
from caseway_sla_watchdog.deadlines import due_ms, wake
from caseway_sla_watchdog.processor import decide, prune
from caseway_sla_watchdog.state import Deadlines, evolve

# Raise it when the meaning of Deadlines changes; snapshots of another version are not used.
STATE_VERSION = 1

# No timer is shorter than a second, and nobody waits for one to be set.
LINGER_MS = 500


def _timed(topic: Topic) -> Input:
    """A topic with every event type on it that may carry timers: a new one is heard at once."""
    types = CATALOG.values()
    return Input(
        topic,
        frozenset(t.name for t in types if topic.name in t.topics and issubclass(t.model, Timed)),
    )


CARD: Card[Deadlines] = Card(
    service="sla_watchdog",
    own=topics.DEADLINES,
    inputs=(_timed(topics.APPROVALS), _timed(topics.CASES)),
    state_type=Deadlines,
    state_version=STATE_VERSION,
    decide=decide,
    evolve=evolve,
    is_settled=lambda state: not state.timers,
    due_ms=due_ms,
    wake=wake,
    linger_ms=LINGER_MS,
    prune=prune,
)
