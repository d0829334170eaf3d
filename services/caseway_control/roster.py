"""The cards of the case services by name; who adds a service adds a line here."""

from __future__ import annotations

from typing import Any

from caseway.kernel.processor import Card
from caseway_approval.service import CARD as APPROVAL
from caseway_intake.service import CARD as INTAKE
from caseway_router.service import CARD as ROUTER
from caseway_sla_watchdog.service import CARD as SLA_WATCHDOG

# In the order of a case's life, as they are started and listed.
CARDS: dict[str, Card[Any]] = {
    card.service: card for card in (INTAKE, ROUTER, APPROVAL, SLA_WATCHDOG)
}
