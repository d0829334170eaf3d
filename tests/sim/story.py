"""Says in a few words what a record says, for whoever reads the story of a seed."""

from __future__ import annotations

import json
from typing import Any

from tests.sim.reading import Line

_TOLD = (
    "phase",
    "task_id",
    "gate_id",
    "revision",
    "timer_id",
    "holder",
    "token",
    "row",
    "roles",
    "level",
    "choice",
    "by",
    "to",
    "amount",
    "outcome",
    "code",
    "queue",
    "wish",
    "reason",
    "key",
    "changes",
    "agent_id",
)
_QUIET = {"shard.committed", "shard.genesis", "timers.updated", "snapshot.marked"}
_WIDTH = 150


def tells(line: Line) -> str:
    """What one record of a log or of an inbound topic says; "" if it is not worth a line."""
    if line.type in _QUIET or line.topic in ("registry", "audit") or "." in line.topic:
        return ""
    place = f"{line.topic}/{line.partition}"
    return f"{place:<16} {line.type:<20} {line.key:<28} {brief(line)}"


def brief(line: Line) -> str:
    """The fields that matter, short."""
    if not line.data:
        return repr(line.value[:40])
    told = [f"{name}={_short(line.data[name])}" for name in _TOLD if line.data.get(name)]
    effect = line.data.get("effect_id")
    if effect:
        told.append(f"effect={effect[:8]}")
    return " ".join(told)[:_WIDTH]


def _short(value: Any) -> str:
    if isinstance(value, dict) and "currency" in value:
        return f"{value['amount']} {value['currency']}"
    if isinstance(value, list):
        return "+".join(str(each) for each in value)
    return value if isinstance(value, str) else json.dumps(value)
