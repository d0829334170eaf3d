"""All that is left to chance in a run: streams of numbers from one seed, and faults that strike.

Every matter has a stream of its own, so that leaving out one fault or one case, as the shrinker
does, disturbs the rest as little as can be.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random


class Chance:
    """The streams of one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: dict[str, Random] = {}

    def stream(self, matter: str) -> Random:
        """The numbers of one matter, from their beginning at its first use."""
        found = self._streams.get(matter)
        if found is None:
            found = self._streams[matter] = Random(f"{self._seed}/{matter}")
        return found


class Faults:
    """Which faults strike: by their rates, by chance, and only those that the plan lets pass.

    A strike is named by its kind and how many opportunities came before it: `crash#17`.
    """

    def __init__(
        self,
        chance: Chance,
        rates: dict[str, float],
        only: frozenset[str] | None,
        note: Callable[[str], None],
    ) -> None:
        self._chance = chance
        self._rates = rates
        self._only = only
        self._note = note
        # Asked a hundred times for each time that one strikes.
        self._drawn = {kind: chance.stream(f"fault/{kind}").random for kind in rates}
        self._asked = dict.fromkeys(rates, 0)
        self.struck: list[str] = []
        self.are_over = False
        # A strike that is asked for by name, of whatever plan; for counted-out failures.
        self.forced = ""

    def strikes(self, kind: str) -> bool:
        """Whether this fault happens now."""
        if self.forced and kind == self.forced:
            self.forced = ""
            self.struck.append(kind)
            return True
        rate = self._rates.get(kind)
        if rate is None or self.are_over:
            return False
        ordinal = self._asked[kind]
        self._asked[kind] = ordinal + 1
        if self._drawn[kind]() >= rate:
            return False
        name = f"{kind}#{ordinal}"
        if self._only is not None and name not in self._only:
            return False
        self.struck.append(name)
        self._note(kind)
        return True

    def amount(self, kind: str, low: float, high: float) -> float:
        """How long, how much or how many, for a fault that has struck."""
        return self._chance.stream(f"amount/{kind}").uniform(low, high)

    def choose(self, kind: str, number: int) -> int:
        """One of so many."""
        return self._chance.stream(f"choose/{kind}").randrange(number)
