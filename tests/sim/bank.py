"""The outside world: a bank that pays an effect id once, and does not always say so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sim.world import World


class Bank:
    """Pays each effect id once; may lose its answer, pay late, or refuse."""

    def __init__(self, world: World) -> None:
        self.world = world
        # effect id → case, amount, payee
        self.paid: dict[str, tuple[str, str, str]] = {}
        self.executed: Counter[str] = Counter()
        # Effects that somebody said were done before the bank had heard of them.
        self.lied_about: set[str] = set()
        self._under_way: set[str] = set()
        self._refused: set[str] = set()

    def pay(self, effect: str, case: str, amount: str, payee: str) -> str:
        """Pay; the answer is `done`, `not_done`, or `unknown` when none came in time."""
        faults = self.world.faults
        if effect in self._refused:
            return "not_done"
        if effect in self.paid:
            return "done"
        if effect not in self._under_way and faults.strikes("bank refuses"):
            self._refused.add(effect)
            return "not_done"
        if effect in self._under_way:
            return "unknown"
        if faults.strikes("bank late"):
            self._under_way.add(effect)
            delay = faults.amount("bank late", 60_000, 6 * 3_600_000)
            self.world.at(delay, self._execute, effect, case, amount, payee)
            return "unknown"
        self._execute(effect, case, amount, payee)
        return "unknown" if faults.strikes("bank timeout") else "done"

    def find(self, effect: str) -> str:
        """What became of an effect id: `done`, `not_done`, or `unknown` while it is under way."""
        if effect in self.paid:
            return "done"
        return "unknown" if effect in self._under_way else "not_done"

    def _execute(self, effect: str, case: str, amount: str, payee: str) -> None:
        self._under_way.discard(effect)
        self.executed[effect] += 1
        self.paid[effect] = (case, amount, payee)
        self.world.tell(f"the bank pays {amount} to {payee} for {case} ({effect[:8]})")
