"""Defects of effects: a payment made twice, of another amount, or that nobody asks about."""

from __future__ import annotations

from caseway.casefile import evolve
from caseway_router import effects, leases, reconcile, wishes
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
        "doubted-payment-tried-again",
        "A payment in doubt is offered as work and not as a question to the bank.",
        "I02, stuck",
        (Edit(reconcile.doubt, "Purpose.RECONCILE", "Purpose.WORK"),),
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
    Defect(
        "effect-id-of-an-attempt",
        "The bank hears of each attempt under an id of its own.",
        "I02, payment",
        (
            Edit(
                effects.begin,
                "effect = effect_of(script, known.task)",
                'effect = f"{effect_of(script, known.task)[:62]}{known.token:02}"',
            ),
        ),
    ),
    Defect(
        "permit-revoked-too-soon",
        "Another asks the bank while the permit of an agent in quarantine may still be used.",
        "I02, payment",
        (Edit(leases.end_attempt, "rest_s=task.permit.seconds if is_revoked else 0", "rest_s=0"),),
    ),
    Defect(
        "effect-forgotten-after-doubt",
        "A case forgets its permitted payment once the outcome is in doubt.",
        "I21, payment",
        (
            Edit(
                evolve._doubted,
                "return _task(\n        state,",
                "return _task(\n        replace(state, effects=()),",
            ),
        ),
    ),
)
