"""Defects of decisions: of which one counts, once, and on what it was made."""

from __future__ import annotations

from caseway_approval import escalation, hearing, state
from caseway_router import phases, processor, wishes
from tests.bugbank.planting import Defect, Edit

DEFECTS = (
    Defect(
        "decision-on-stale-digest",
        "A decision counts though its maker was shown other facts.",
        "I01",
        (Edit(hearing._stale, "!= gate.digest:", "== '':"),),
    ),
    Defect(
        "decided-twice",
        "The second of two racing approvers decides the gate once more.",
        "I01",
        (
            Edit(
                hearing._over,
                "if gate.verdict is not None:",
                "if gate.verdict is not None and gate.bench is None:",
            ),
            Edit(
                state._decided,
                "status=GateStatus.DECIDED, bench=None,",
                "status=GateStatus.DECIDED,",
            ),
        ),
    ),
    Defect(
        "overtaken-decision-consumed",
        "The router lets a decision on a replaced revision take effect.",
        "I01",
        (
            Edit(
                processor._decided,
                "(gate.gate_id, gate.revision) != (data.gate_id, data.revision)",
                "gate.gate_id != data.gate_id",
            ),
            Edit(processor._decided, "if gate.digest != data.digest:", "if not data.digest:"),
        ),
    ),
    Defect(
        "sent-back-taken-for-rejected",
        "A gate that was sent back goes on as if it had been rejected.",
        "I21",
        (
            Edit(
                processor._decided,
                "Choice.SEND_BACK: phase.gate.sent_back",
                "Choice.SEND_BACK: phase.gate.rejected",
            ),
        ),
    ),
    Defect(
        "amended-flags-keep-the-gate",
        "An amendment that changes only who has to decide leaves the gate as it was.",
        "I06",
        (
            Edit(
                wishes._stood_on,
                "or machine.gate_flags(name, before) != machine.gate_flags(name, facts)",
                "or False",
            ),
        ),
    ),
    Defect(
        "alarm-rings-once",
        "The last rung of a gate gets no timer: an alarm comes once and then never again.",
        "I29, promise",
        (
            Edit(
                escalation.escalate,
                "timers=(promised.timer(gate.gate_id, gate.revision, bench.level, alarm),)",
                "timers=()",
            ),
        ),
    ),
    Defect(
        "set-iterated-in-decide",
        "What a case cancels when it moves on comes in the order of a set.",
        "I22",
        (
            Edit(
                phases.leave,
                "(lease_timer(task_id), retry_timer(task_id), queue_timer(task_id))",
                "tuple({lease_timer(task_id), retry_timer(task_id), queue_timer(task_id)})",
            ),
        ),
        needs_places=True,
    ),
)
