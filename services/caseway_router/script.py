"""What one decision writes, line by line, with the case as it stands after each line.

A decision often has consequences that depend on each other: a result completes a phase, which
opens a gate. Each line is evolved at once, by the same fold that a replay uses.
"""

from __future__ import annotations

from caseway.casefile.evolve import evolve
from caseway.casefile.state import CaseState
from caseway.contracts.codec import Event
from caseway.contracts.deadline import TimerId
from caseway.contracts.envelope import Envelope
from caseway.contracts.fields import Contract
from caseway.contracts.record import instant_text
from caseway.contracts.report import TaskId
from caseway.kernel.machine import Machine
from caseway.kernel.processor import NOTHING, Delivery, Offer, Step
from caseway.kernel.registry import Registry


class Script:
    """The events and offers of one decision about one case, in order."""

    def __init__(
        self, state: CaseState | None, machine: Machine, delivery: Delivery, registry: Registry
    ) -> None:
        self._state = state
        self.machine = machine
        self.delivery = delivery
        self.registry = registry
        self.case_id = delivery.event.key
        self._events: list[Contract] = []
        self._offers: list[Offer] = []
        self._time = instant_text(delivery.at_ms)

    @property
    def state(self) -> CaseState:
        """The case after the last line."""
        assert self._state is not None, "a script goes on only after its case was opened"
        return self._state

    def say(self, data: Contract) -> None:
        """Write one event and evolve the case by it."""
        self._events.append(data)
        envelope = Envelope("", "", data.TYPE, 1, time=self._time)  # type: ignore[attr-defined]
        self._state = evolve(self._state, Event(self.case_id, envelope, data))

    def offer(self, pool: str, skill: str, agent: str, data: Contract) -> None:
        """Write one record for a pool; `agent` "" addresses whoever has the skill."""
        self._offers.append(Offer(pool, skill, agent, data))

    def step(self) -> Step:
        """All that was written; nothing at all if nothing was."""
        if not self._events and not self._offers:
            return NOTHING
        return Step(tuple(self._events), tuple(self._offers), definition=str(self.machine.pin))


def lease_timer(task_id: TaskId) -> TimerId:
    """The timer that ends a lease; a new lease of the task moves it."""
    return f"lease/{task_id}"


def retry_timer(task_id: TaskId) -> TimerId:
    """The timer that ends the rest between two attempts, or before a task is offered again."""
    return f"retry/{task_id}"


def queue_timer(task_id: TaskId) -> TimerId:
    """The SLA of a person's task."""
    return f"sla/{task_id}"


def about(task_id: TaskId, token: int) -> str:
    """What a lease timer is about: a firing for an older token is known by it and passed over."""
    return f"{task_id}#{token}"
