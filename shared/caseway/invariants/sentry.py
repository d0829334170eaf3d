"""The guards inside the running services: what no event may do, whatever code decided it.

A card names its guard, and the host asks it before it folds an event. What it refuses faults that
case alone, with its input kept; the shard goes on. Only what can be read from the state before,
the event, what was heard and the registry is judged here; `Watch` judges all the rest.
"""

from __future__ import annotations

from caseway.errors import ContractError
from caseway.invariants.invariant import INVARIANTS


class InvariantBroken(ContractError):
    """An event would break an invariant; it was not written.

    Operator action: stop deciding this case; report the code, `caseway history` and the input.
    """

    code = "invariant.broken"

    def __init__(self, invariant: str, what: str) -> None:
        name = INVARIANTS[invariant].name
        super().__init__(f"{invariant} {name}: {what}", code=f"invariant.{invariant}")
