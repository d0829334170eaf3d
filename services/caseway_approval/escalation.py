"""What follows when a gate's SLA is missed: the next rung, or an alarm that comes again."""

from __future__ import annotations

from caseway.contracts.deadline import SlaBreached
from caseway.contracts.decision import GateEscalated, GateOverdue
from caseway.contracts.topics import APPROVALS
from caseway.kernel.registry import Registry
from caseway_approval.promises import promise_again
from caseway_approval.state import Gate


def escalate(
    gate: Gate | None, data: SlaBreached, at_ms: int, registry: Registry
) -> GateEscalated | GateOverdue | None:
    """Answer a breach of the timer that watches over this gate now; all others are stale.

    The next rung has the whole SLA again, from the append time of the breach.
    """
    if data.requester != APPROVALS.name or gate is None or gate.bench is None:
        return None
    bench = gate.bench
    if bench.timer_id != data.timer_id:
        return None
    promised = promise_again(bench.sla, gate.matrix, at_ms, registry)
    if bench.level < len(bench.rungs):
        level = bench.level + 1
        return GateEscalated(
            gate_id=gate.gate_id,
            revision=gate.revision,
            level=level,
            roles=bench.rungs[level - 1],
            due_at=promised.due_at,
            breached_at=data.breached_at,
            detected_at=data.detected_at,
            timers=(promised.timer(gate.gate_id, gate.revision, level),),
        )
    alarm = bench.alarm + 1
    return GateOverdue(
        gate_id=gate.gate_id,
        revision=gate.revision,
        alarm=alarm,
        roles=bench.roles,
        due_at=promised.due_at,
        breached_at=data.breached_at,
        detected_at=data.detected_at,
        timers=(promised.timer(gate.gate_id, gate.revision, bench.level, alarm),),
    )
