"""What waits for people: open gates, queued tasks and faulted cases, folded from the logs.

A person decides on exactly what is gathered here, so it holds what an approver must see: what is
asked, under which row and why, who may decide until when, and what agents did on what evidence.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from caseway.casefile.evolve import evolve as evolve_case
from caseway.casefile.history import Told, in_order
from caseway.casefile.state import CaseState, TaskStatus
from caseway.contracts import topics
from caseway.contracts.case import CaseOpened, GateRequested, TaskCompleted
from caseway.contracts.catalog import CATALOG
from caseway.contracts.decision import GateEscalated, GateOpened, GateOverdue, GateUnmatched
from caseway.contracts.fields import format_instant
from caseway.contracts.shard import CaseFaulted, CaseResumed
from caseway_approval.state import Gate, Gates, GateStatus
from caseway_approval.state import evolve as evolve_gates

_TOLD = (topics.CASES, topics.APPROVALS)
# In the other two logs only a fault is of interest: it waits for a person like everything here.
TOPICS = (*_TOLD, topics.INTAKE, topics.DEADLINES)
TYPES = frozenset(
    entry.name
    for entry in CATALOG.values()
    if {topic.name for topic in _TOLD} & set(entry.topics) and not entry.name.startswith("shard.")
)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that waits for a person: a gate, a gate without a row, or a task of a queue."""

    kind: str
    case_id: str
    title: str
    name: str
    revision: int
    roles: tuple[str, ...]
    amount: str
    row: str
    level: int
    due_at: datetime | None
    since: str

    def data(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "kind": self.kind,
            "case_id": self.case_id,
            "title": self.title,
            "name": self.name,
            "revision": self.revision,
            "roles": list(self.roles),
            "amount": self.amount,
            "row": self.row,
            "level": self.level,
            "due_at": format_instant(self.due_at) if self.due_at else None,
            "since": self.since,
        }


@dataclass(slots=True)
class Docket:
    """One open case as a person at the desk sees it."""

    case_id: str
    title: str = ""
    state: CaseState | None = None
    gates: Gates = field(default_factory=Gates)
    asked: dict[str, GateRequested] = field(default_factory=dict)
    opened: dict[str, GateOpened] = field(default_factory=dict)
    since: dict[str, str] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)
    queues: dict[str, str] = field(default_factory=dict)
    work: list[TaskCompleted] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)

    def apply(self, item: Told) -> None:
        """Fold one event of the case."""
        data: Any = item.event.data
        if isinstance(data, CaseFaulted):
            self.faults[item.topic] = data.code
        elif isinstance(data, CaseResumed):
            self.faults.pop(item.topic, None)
        elif item.topic == topics.CASES.name:
            self.state = evolve_case(self.state, item.event)
            self._note_case(data)
        elif item.topic == topics.APPROVALS.name:
            self.gates = evolve_gates(self.gates, item.event) or self.gates
            if isinstance(data, GateOpened):
                self.opened[data.gate_id] = data
                self.since[data.gate_id] = item.event.envelope.time
            if isinstance(data, GateUnmatched):
                self.queues[data.gate_id] = data.queue
            if isinstance(data, GateOpened | GateEscalated | GateOverdue) and data.due_at:
                self.due[data.gate_id] = data.due_at

    def _note_case(self, data: Any) -> None:
        if isinstance(data, CaseOpened):
            self.title = data.title
        elif isinstance(data, GateRequested):
            self.asked[data.gate_id] = data
        elif isinstance(data, TaskCompleted):
            self.work.append(data)

    @property
    def is_closed(self) -> bool:
        """True when nothing waits any more."""
        return self.state is not None and self.state.is_closed

    def waiting_gates(self) -> list[Gate]:
        """The gates that somebody has to decide."""
        return [gate for gate in self.gates.gates.values() if gate.is_waiting]

    def items(self) -> list[Item]:
        """Everything of this case that waits for a person."""
        found = [self._gate_item(gate) for gate in self.waiting_gates()]
        for task in self.state.tasks.values() if self.state else ():
            if task.status is TaskStatus.QUEUED:
                found.append(self._item("task", task.task_id, (task.queue,), since=task.since))
        found += [self._item("fault", topic, ("operations",)) for topic in self.faults]
        return found

    def _gate_item(self, gate: Gate) -> Item:
        asked = self.asked.get(gate.gate_id)
        amount = str(asked.amount) if asked else ""
        if gate.status is GateStatus.UNMATCHED or gate.bench is None:
            queue = self.queues.get(gate.gate_id, "operations")
            return self._item(
                "unmatched", gate.gate_id, (queue,), revision=gate.revision, amount=amount
            )
        return self._item(
            "gate",
            gate.gate_id,
            gate.bench.outstanding,
            revision=gate.revision,
            amount=amount,
            row=gate.bench.row,
            level=gate.bench.level,
            since=self.since.get(gate.gate_id, ""),
        )

    def _item(
        self,
        kind: str,
        name: str,
        roles: tuple[str, ...],
        *,
        revision: int = 0,
        amount: str = "",
        row: str = "",
        level: int = 0,
        since: str = "",
    ) -> Item:
        due_at = self.due.get(name)
        return Item(
            kind, self.case_id, self.title, name, revision, roles, amount, row, level, due_at, since
        )


def docket_of(case_id: str, events: Iterable[Told]) -> Docket:
    """The docket of one case from its events in any order."""
    made = Docket(case_id)
    for item in in_order(event for event in events if event.topic in {t.name for t in TOPICS}):
        made.apply(item)
    return made


async def open_dockets(events: AsyncIterator[Told]) -> list[Docket]:
    """The dockets of all open cases; `events` come log by log, each in its own order."""
    dockets: dict[str, Docket] = {}
    async for item in events:
        docket = dockets.setdefault(item.event.key, Docket(item.event.key))
        docket.apply(item)
    return [docket for docket in dockets.values() if not docket.is_closed]
