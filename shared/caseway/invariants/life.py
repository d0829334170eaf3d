"""One case as its own log tells it, kept only as far as a check needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from caseway.contracts.report import Purpose
from caseway.invariants.moves import Move

HELD = frozenset({"granted", "permitted"})
START = Move("start")


@dataclass(slots=True)
class Task:
    """A task of the current phase."""

    task_id: str
    status: str
    token: int = 0
    holder: str = ""
    queue: str = ""
    purpose: Purpose = Purpose.WORK


@dataclass(slots=True)
class Life:
    """One case as its log tells it; `move` is what may lead it into its next phase."""

    definition: str
    requester: str
    facts: dict[str, Any]
    phase: str = ""
    round: int = 0
    token: int = 0
    visited: list[str] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    preparers: set[str] = field(default_factory=set)
    gate: tuple[str, int, str] | None = None
    approved: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    asked: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    effects: dict[str, str] = field(default_factory=dict)
    move: Move = START
    is_closed: bool = False
