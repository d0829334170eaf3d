"""Defects of tasks and leases: who holds what, until when, and whose report counts."""

from __future__ import annotations

from caseway.kernel import identity
from caseway_router import leases, processor, routing
from tests.bugbank.planting import Defect, Edit

DEFECTS = (
    Defect(
        "stale-token-accepted",
        "A report counts whichever fencing token it names.",
        "I18",
        (Edit(leases.held, "token != known.token or known.status", "known.status"),),
    ),
    Defect(
        "holder-unchecked",
        "Whoever knows the token may complete the task.",
        "I18",
        (Edit(leases.held, "if known.holder != actor:", "if not known.holder:"),),
    ),
    Defect(
        "token-not-raised",
        "A second attempt gets the token of the first.",
        "I18",
        (
            Edit(
                routing.grant,
                "token = state.token + 1",
                "token = state.token + (not (known and known.ended))",
            ),
        ),
    ),
    Defect(
        "double-claim",
        "A task that somebody holds is granted to the next who claims it.",
        "I18",
        (
            Edit(
                leases.claim,
                "if known.status is not TaskStatus.OPEN:",
                "if known.status is TaskStatus.DONE:",
            ),
        ),
    ),
    Defect(
        "skill-unchecked",
        "An agent is granted what it has no skill for.",
        "I20",
        (Edit(leases.claim, "task.skill not in card.skills or ", ""),),
    ),
    Defect(
        "quarantined-agent-ranked",
        "An agent in quarantine is assigned work.",
        "I19",
        (
            Edit(
                routing.rank,
                "card.pool == pool and card.agent_id not in registry.quarantined",
                "card.pool == pool",
            ),
        ),
    ),
    Defect(
        "quarantine-revokes-nothing",
        "An agent in quarantine keeps the leases it holds.",
        "I19",
        (
            Edit(
                processor.touched,
                "if _held_by(state, holder)]",
                "if _held_by(state, data.agent_id)]",
            ),
        ),
    ),
    Defect(
        "lease-never-ends",
        "An agent that falls silent keeps its task.",
        "I04, stuck",
        (Edit(leases.expire, "known.token != token", "known.token == token"),),
    ),
    Defect(
        "rest-forgotten",
        "After a failed attempt nothing wakes the task again.",
        "I04, stuck",
        (Edit(leases.end_attempt, "timers=rest,", "timers=(),"),),
    ),
    Defect(
        "result-on-old-facts",
        "A result counts whatever facts it stands on.",
        "words",
        (
            Edit(leases.stands_on_today, "if digest != known.inputs_digest:", "if digest == '':"),
            Edit(
                leases.stands_on_today,
                "if digest == script.machine.inputs_digest(known.task, script.state.facts):",
                "if digest:",
            ),
        ),
    ),
    Defect(
        "spread-by-hash",
        "Work is spread by the interpreter's own hash.",
        "I22",
        (Edit(identity.spread, 'int(_hash("spread", *parts)[:16], 16)', "hash(parts)"),),
        needs_places=True,
    ),
)
