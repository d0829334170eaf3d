"""The next version of Caseway, as a patch that exists only here.

It brings what a release may bring: a new version of an event that another service hears, a new
event type, and another state of the router. Level 2 governs what of it is written. Import it
before anything that reads the catalogue.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from caseway.casefile import state as case_states
from caseway.contracts import case, levels, upcasters
from caseway.contracts.fields import Contract

LEVEL = 2


class GateRequested(case.GateRequested):
    """Version 2 says how urgent a decision is; whoever made version 1 could not."""

    VERSION: ClassVar[int] = 2
    urgency: str = "high"


class CaseNoted(Contract):
    """A word about a case that the version before does not know."""

    TYPE: ClassVar[str] = "case.noted"
    VERSION: ClassVar[int] = 1
    note: str


@dataclass(frozen=True)
class GateState(case_states.GateState):
    """The gate with its urgency: another state than the version before has."""

    urgency: str = "unknown"


def _lift(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "urgency": "normal"}


def _lower(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "urgency"}


levels.SINCE.update({(GateRequested.TYPE, 2): LEVEL, (CaseNoted.TYPE, 1): LEVEL})
levels.DOWNCASTERS[GateRequested.TYPE, 2] = _lower
upcasters.UPCASTERS[GateRequested.TYPE, 1] = _lift
case.GateRequested = GateRequested  # type: ignore[misc]
case_states.GateState = GateState  # type: ignore[misc]

# From here on everything that is imported sees the names above.
from caseway.contracts.catalog import CATALOG, EventType  # noqa: E402

assert "caseway.contracts.codec" not in sys.modules, "the codec lays out its tables when imported"
CATALOG[CaseNoted.TYPE] = EventType(CaseNoted.TYPE, 1, CaseNoted, ("cases",))

from caseway.casefile import evolve  # noqa: E402
from caseway.kernel.processor import Delivery, Step  # noqa: E402
from caseway.kernel.registry import Registry  # noqa: E402
from caseway_control import roster  # noqa: E402
from caseway_router.service import CARD  # noqa: E402

_REQUESTED = evolve._FOLDS[GateRequested]


def _requested(state: Any, data: Any, time: str) -> Any:
    made = _REQUESTED(state, data, time)
    return replace(made, gate=replace(made.gate, urgency=data.urgency))


def _decide(state: Any, delivery: Delivery, registry: Registry) -> Step:
    """As before, and one word more for every case that opens once the level allows it."""
    step = CARD.decide(state, delivery, registry)
    if registry.level >= LEVEL and any(isinstance(e, case.CaseOpened) for e in step.events):
        step = replace(step, events=(*step.events, CaseNoted(note="opened by the newer version")))
    return step


evolve._FOLDS[GateRequested] = _requested
roster.CARDS["router"] = replace(CARD, decide=_decide, state_version=CARD.state_version + 1)
