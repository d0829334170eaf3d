"""Defects of authority: rows, amounts, roles, and who is kept apart."""

from __future__ import annotations

from caseway.kernel import registry
from caseway.kernel.matrix import CompiledMatrix
from caseway_approval import authority, delegation, quorum, state
from tests.bugbank.planting import Defect, Edit

DEFECTS = (
    Defect(
        "band-off-by-one",
        "An amount on the edge of two rows falls to the lower one.",
        "I06",
        (
            Edit(CompiledMatrix.find, "(amount, 0)", "(amount, -1)"),
            Edit(CompiledMatrix.find, "assert row.amount.contains(amount)", "pass"),
        ),
    ),
    Defect(
        "money-as-float",
        "The amount of a gate goes through a float and loses its cents.",
        "I06",
        (
            Edit(
                authority.find_row,
                "asked.amount.decimal, asked",
                "type(asked.amount.decimal)(round(float(asked.amount.amount))), asked",
            ),
        ),
    ),
    Defect(
        "fraud-after-amount",
        "A small amount is decided without a person, whatever flag is raised.",
        "I06, I10",
        (
            Edit(
                CompiledMatrix.find,
                "if row.flag in flags:",
                "if row.flag in flags and amount >= 5000:",
            ),
        ),
    ),
    Defect(
        "preparer-decides",
        "Who did the work may decide on it.",
        "I07",
        (Edit(authority.kept_apart, "if person in bench.preparers:", "if not bench.preparers:"),),
    ),
    Defect(
        "owner-decides",
        "The owner of the agents that did the work may decide on it.",
        "I07",
        (
            Edit(
                authority.kept_apart,
                "if person in bench.owners or person in owned:",
                "if person in bench.preparers and person in owned:",
            ),
        ),
    ),
    Defect(
        "dismissal-ignored",
        "A person who was dismissed keeps the roles they had.",
        "I06",
        (
            Edit(
                registry._person,
                "data.card.person_id: data.card}",
                "data.card.person_id: data.card if data.card.roles else "
                "registry.persons[data.card.person_id]}",
            ),
        ),
    ),
    Defect(
        "one-person-for-two-roles",
        "One person with both roles of a joint rung is enough.",
        "I07",
        (Edit(quorum.weigh, "if other == person:", "if other == person and not held:"),),
    ),
    Defect(
        "second-signature-skipped",
        "The first of two roles decides alone.",
        "I06",
        (Edit(quorum.weigh, "if not outstanding:", "if len(outstanding) < 2:"),),
    ),
    Defect(
        "giver-keeps-authority",
        "Who handed a gate to another may still decide it.",
        "I08",
        (Edit(authority.roles_held, "roles - handed - {SYSTEM}", "roles - {SYSTEM}"),),
    ),
    Defect(
        "delegation-widens",
        "A gate may be handed to a person who does not hold the role.",
        "I08",
        (
            Edit(delegation.delegate, "if not shared:", "if not shared and not theirs:"),
            Edit(delegation.delegate, "for role in shared:", "for role in shared or held:"),
        ),
    ),
    Defect(
        "last-person-handed-away",
        "A handover may leave the two roles of a rung to one person.",
        "I04",
        (Edit(delegation.delegate, "if _can_be_filled(after, registry):", "if True:"),),
    ),
    Defect(
        "lower-rung-keeps-authority",
        "Who could decide before the gate went up can still decide it.",
        "I06",
        (Edit(state._escalated, "roles=data.roles,", "roles=(*data.roles, *bench.roles),"),),
    ),
)
