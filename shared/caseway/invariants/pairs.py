"""Two events of two logs that belong together, judged when the later of them was seen."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from caseway.contracts.codec import Event
from caseway.invariants.invariant import At

Side = tuple[At, Event]
Judge = Callable[[Side, Side], None]


class Pairs:
    """Causes wait for their effects, and effects for their causes, in whatever order both come."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.causes: dict[Hashable, Side] = {}
        self.effects: dict[Hashable, Side] = {}

    def cause(self, name: Hashable, at: At, event: Event) -> None:
        """Something was said that another log answers."""
        effect = self.effects.pop(name, None)
        if effect is None:
            self.causes[name] = (at, event)
        else:
            self._judge((at, event), effect)

    def effect(self, name: Hashable, at: At, event: Event) -> None:
        """Something was said that stands on what another log said."""
        cause = self.causes.pop(name, None)
        if cause is None:
            self.effects[name] = (at, event)
        else:
            self._judge(cause, (at, event))


def gate_of(event: Event) -> tuple[str, str, int]:
    """The name of a gate revision: case, gate, revision."""
    data: Any = event.data
    return event.key, data.gate_id, data.revision
