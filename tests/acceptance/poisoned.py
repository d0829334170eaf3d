"""Serves a router with a bug: whatever an agent reports on a case of one amount is an error.

Run it as `python poisoned.py serve router`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from caseway.contracts.topics import AGENT_REPORTS
from caseway.kernel.processor import Delivery, Step
from caseway.kernel.registry import Registry
from caseway_control import roster
from caseway_router.service import CARD

AMOUNT = "666.66"


def _decide(state: Any, delivery: Delivery, registry: Registry) -> Step:
    is_report = delivery.topic == AGENT_REPORTS.name
    if is_report and state is not None and state.facts["amount"]["amount"] == AMOUNT:
        raise ArithmeticError("the number of the beast")
    return CARD.decide(state, delivery, registry)


if __name__ == "__main__":
    roster.CARDS["router"] = replace(CARD, decide=_decide)

    from caseway_control.cli import main

    sys.exit(main())
