"""What a run of many seeds must have met at least once: rare states, and every kind of trouble."""

from __future__ import annotations

from collections import Counter

from tests.sim.plan import CONTROLS, FAULTS

# What is counted → what an operator would call it.
RARE: dict[str, str] = {
    "report.refused: TASK_TAKEN": "claim race lost",
    "report.refused: LEASE_STALE": "stale token refused",
    "report.refused: HOLDER": "another's task refused",
    "report.refused: ALREADY_COMPLETED": "double completion refused",
    "report.refused: INPUTS_STALE": "result on other facts refused",
    "report.refused: CASE_CLOSED": "report after the end refused",
    "report.refused: EXPIRED": "report too late refused",
    "report.refused: NOT_PERMITTED": "effect without a permit refused",
    "report.refused: ALREADY_PERMITTED": "second permit refused",
    "report.refused: HALTED": "permit or claim while halted refused",
    "report.refused: SKILL_MISSING": "claim without the skill refused",
    "decision.refused: DECIDED": "race of two approvers lost",
    "decision.refused: STALE_VIEW": "decision on a stale view refused",
    "decision.refused: AUTHORITY": "decision without authority refused",
    "decision.refused: IDENTITY": "decision by an agent refused",
    "decision.refused: SELF_APPROVAL": "decision by a preparer refused",
    "decision.refused: GATE_RETIRED": "decision on a retired gate refused",
    "decision.refused: EXPIRED": "decision too late refused",
    "decision.refused: SECOND_PERSON": "two roles of one person refused",
    "decision.refused: DELEGATION_WIDER": "wider delegation refused",
    "submission.refused: KEY_CONFLICT": "same key, other content refused",
    "submission.refused: AMOUNT_FORMAT": "amount in another form refused",
    "wish.refused: too_late": "amendment after the permit refused",
    "wish.refused: CASE_CLOSED": "wish after the end refused",
    "control.refused: POLICY_SIGNATURES": "forged control refused",
    "dead letter: SIGNATURE_INVALID": "forged signature",
    "dead letter: IDENTITY_MISSING": "unsigned report",
    "dead letter: JSON_INVALID": "broken JSON",
    "dead letter: contract.unknown_event_type": "unknown type",
    "dead letter: contract.misrouted": "misrouted record",
    "attempt ended: LEASE_EXPIRED": "lease expired",
    "attempt ended: RESULT_SCHEMA": "result of another form",
    "attempt ended: CONFIDENCE_LOW": "agent not sure enough",
    "attempt ended: AGENT_QUARANTINED": "lease revoked by quarantine",
    "attempt ended: released": "task given back",
    "escalated: SLA_BREACHED": "person's task went up",
    "escalated: EFFECT_UNKNOWN": "payment in doubt went to a person",
    "escalated: EFFECT_NOT_DONE": "payment not done went to a person",
    "event: lease.extended": "heartbeat extended a lease",
    "event: task.reoffered": "offer published again",
    "event: effect.doubted": "bank asked about a payment",
    "event: gate.voided": "gate voided by new facts",
    "overtaken": "decision overtaken by new facts",
    "event: gate.escalated": "gate went up a rung",
    "event: gate.overdue": "top rung was late too",
    "event: gate.delegated": "gate delegated",
    "event: gate.questioned": "gate questioned",
    "event: decision.endorsed": "first of two endorsed",
    "event: timer.warned": "warned before a breach",
    "top rung reached": "top rung reached",
    "takeover in mid-transaction": "takeover in mid-transaction",
    "takeover from a live owner": "takeover from a live owner",
    "late commit": "late commit",
    "late abort": "late abort",
    "snapshot used": "snapshot used",
    "torn records dropped": "torn records dropped",
    "barrier waited for a transaction": "barrier waited for a transaction",
    "fenced": "zombie fenced",
}
RARE |= {f"fault: {kind}": f"fault: {kind}" for kind in FAULTS}
RARE |= {f"control: {kind}": f"control: {kind}" for kind in CONTROLS}


def missing(counts: Counter[str]) -> list[str]:
    """The rare states that never occurred."""
    return sorted(text for name, text in RARE.items() if not counts[name])


def table(counts: Counter[str]) -> list[str]:
    """Every rare state with its number, in two columns."""
    cells = [f"{counts[name]:>9,}  {text:<36}" for name, text in RARE.items()]
    half = (len(cells) + 1) // 2
    right = [*cells[half:], ""]
    return [f"{left}{right[i]}".rstrip() for i, left in enumerate(cells[:half])]
