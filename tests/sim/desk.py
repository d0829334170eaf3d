"""What people know: the gates and the queued tasks, as the public logs tell them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.sim.reading import Line

Key = tuple[str, str]  # case, and gate or task id


@dataclass
class Gate:
    """A gate that waits for people."""

    revision: int
    digest: str
    roles: tuple[str, ...]
    level: int = 0


@dataclass
class Task:
    """A task that waits in a queue, or that a person holds."""

    task: str
    queue: str
    holder: str = ""
    token: int = 0
    digest: str = ""
    effect: dict[str, Any] = field(default_factory=dict)


class Desk:
    """The state of every case, as far as people need it."""

    def __init__(self) -> None:
        self.gates: dict[Key, Gate] = {}
        self.tasks: dict[Key, Task] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self._effects: dict[Key, dict[str, Any]] = {}

    def hear(self, line: Line) -> None:
        """A record of `cases` or `approvals`."""
        handler = _HANDLERS.get(line.type)
        if handler is not None:
            handler(self, line.key, line.data)

    def _opened(self, case: str, data: dict[str, Any]) -> None:
        roles = tuple(data["roles"])
        if roles != ("system",):
            self.gates[case, data["gate_id"]] = Gate(data["revision"], data["digest"], roles)

    def _escalated_gate(self, case: str, data: dict[str, Any]) -> None:
        gate = self.gates.get((case, data["gate_id"]))
        if gate is not None and gate.revision == data["revision"]:
            gate.roles, gate.level = tuple(data["roles"]), data["level"]

    def _over(self, case: str, data: dict[str, Any]) -> None:
        gate = self.gates.get((case, data["gate_id"]))
        if gate is not None and gate.revision <= data["revision"]:
            del self.gates[case, data["gate_id"]]

    def _case(self, case: str, data: dict[str, Any]) -> None:
        self.facts.setdefault(case, {}).update(data.get("facts") or data.get("changes") or {})

    def _task_opened(self, case: str, data: dict[str, Any]) -> None:
        if data["queue"]:
            self.tasks[case, data["task_id"]] = Task(data["task"], data["queue"])

    def _task_escalated(self, case: str, data: dict[str, Any]) -> None:
        key = (case, data["task_id"])
        task = self.tasks.get(key)
        if task is None:
            task = self.tasks[key] = Task(data["task_id"].rpartition("-")[0], "")
            task.effect = self._effects.get(key, {})
        task.queue = data["queue"]
        if data["code"] != "SLA_BREACHED":
            task.holder = ""

    def _granted(self, case: str, data: dict[str, Any]) -> None:
        task = self.tasks.get((case, data["task_id"]))
        if task is not None:
            task.holder, task.token = data["holder"], data["token"]
            task.digest = data["inputs_digest"]

    def _permitted(self, case: str, data: dict[str, Any]) -> None:
        key = (case, data["task_id"])
        self._effects[key] = data
        if key in self.tasks:
            self.tasks[key].effect = data

    def _ended(self, case: str, data: dict[str, Any]) -> None:
        self.tasks.pop((case, data["task_id"]), None)

    def _let_go(self, case: str, data: dict[str, Any]) -> None:
        task = self.tasks.get((case, data["task_id"]))
        if task is not None:
            task.holder = ""


_HANDLERS: dict[str, Any] = {
    "gate.opened": Desk._opened,
    "gate.escalated": Desk._escalated_gate,
    "gate.decided": Desk._over,
    "gate.retired": Desk._over,
    "case.opened": Desk._case,
    "case.amended": Desk._case,
    "task.opened": Desk._task_opened,
    "task.escalated": Desk._task_escalated,
    "task.granted": Desk._granted,
    "task.completed": Desk._ended,
    "task.cancelled": Desk._ended,
    "attempt.ended": Desk._let_go,
    "effect.doubted": Desk._let_go,
    "effect.permitted": Desk._permitted,
}
