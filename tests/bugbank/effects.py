"""Defects of effects: a payment made twice, of another amount, or that nobody asks about."""

from __future__ import annotations

from caseway_router import effects, wishes
from tests.bugbank.planting import Defect, Edit

DEFECTS = (
    Defect(
        "permit-twice",
        "Who asks twice gets a second permit for the same payment.",
        "I02",
        (Edit(effects.begin, "if known.effect_id:", "if known.is_settled:"),),
    ),
    Defect(
        "agents-word-opens-a-second-payment",
        "An agent's word that a payment was not made leads to another, without a person's look.",
        "I02, payment",
        (
            Edit(
                effects._not_done,
                "if script.delivery.actor.is_person:",
                "if script.delivery.actor.name:",
            ),
        ),
    ),
    Defect(
        "too-late-amendment",
        "A case may be amended after the payment was permitted.",
        "I21",
        (Edit(wishes.amend, "if script.state.is_past_return:", "if script.state.is_closed:"),),
    ),
    Defect(
        "too-late-withdrawal",
        "A case may be withdrawn after the payment was permitted.",
        "payment",
        (Edit(wishes.withdraw, "if script.state.is_past_return:", "if script.state.is_closed:"),),
    ),
    Defect(
        "halted-and-permitted",
        "A payment is permitted while the namespace is halted.",
        "I30",
        (Edit(effects.begin, "if script.registry.is_halted:", "if script.registry.position < 1:"),),
    ),
    Defect(
        "permit-never-lapses",
        "Nobody asks what became of a permit whose holder fell silent.",
        "I04, stuck",
        (Edit(effects.lapse, "known.token != token", "known.token == token"),),
    ),
    Defect(
        "permit-loses-its-cents",
        "The amount of a permit goes through a float and back to text.",
        "I06, payment",
        (
            Edit(
                effects.begin,
                'amount = parse_money(facts[task.amount], f"/{task.amount}")',
                'amount = parse_money(facts[task.amount], f"/{task.amount}")\n'
                '    amount = amount.model_copy(update={"amount": str(float(amount.amount))})',
            ),
        ),
    ),
)
