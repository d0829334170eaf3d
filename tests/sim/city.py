"""A whole run: found the city, let its people live, let things go wrong, heal, and come to rest."""

from __future__ import annotations

from typing import Any

from tests.sim.agents import Agent
from tests.sim.bank import Bank
from tests.sim.checker import Checker
from tests.sim.closing import check_rest
from tests.sim.founding import AGENTS
from tests.sim.people import People
from tests.sim.plan import Plan
from tests.sim.post import Post
from tests.sim.reading import Line
from tests.sim.scanning import Scanner
from tests.sim.story import tells
from tests.sim.visitors import Operators, Submitters, Vandals
from tests.sim.world import DAY, MINUTE, World

# A seed of twelve cases with every trouble takes some tens of thousands of steps.
STEPS_MAX = 400_000


class City:
    """One run of one plan, from its founding until nothing is left to do."""

    def __init__(self, plan: Plan, *, is_told: bool = False) -> None:
        self.world = world = World(plan, is_told=is_told)
        self.post = Post(world)
        self.bank = Bank(world)
        ways = dict(plan.agents)
        self.agents = [
            Agent(world, self.post, self.bank, name, ways.get(name, "honest")) for name in AGENTS
        ]
        self.people = People(world, self.post, self.bank)
        self.operators = Operators(world, self.post)
        self.checker = Checker(world.violate)
        self.heads: dict[tuple[str, int], dict[str, Any]] = {}
        # Whoever judges records as they become visible is told here, one at a time and in order.
        world.watchers.append(self.checker.see)
        self.scanner = Scanner(world)
        if is_told:
            world.watchers.insert(0, self._tell)
        self.checker.readers += [self._note_heads, self.people.hear, self.operators.hear]

    def run(self) -> None:
        """Live; then, with all faults over, finish.

        Raises:
            Violation: a rule was broken, or something never ends.
        """
        world = self.world
        world.begin()
        self.submitters = Submitters(world, self.post)
        self.checker.readers.append(self.submitters.hear)
        self.vandals = Vandals(world, self.post)
        patience = world.chance.stream("patience").choice((0.2, 3, 15, 45))
        world.at((world.plan.days + patience) * DAY, self._heal)
        world.run(STEPS_MAX)
        check_rest(self)

    def _tell(self, line: Line) -> None:
        if text := tells(line):
            self.world.tell(text)

    def _note_heads(self, line: Line) -> None:
        if line.topic != "audit":
            return
        for head in line.data.get("grown", ()):
            self.heads[head["topic"], head["partition"]] = head

    def _heal(self) -> None:
        """Nothing fails from now on; whoever is down comes back, and everybody is honest."""
        world = self.world
        world.tell("all faults are over")
        world.is_healed = world.faults.are_over = True
        for key, owner in list(world.assigned.items()):
            if not owner.is_alive:
                world.assign(*key)
        self.operators.heal()
        world.at(10 * MINUTE, self._poll, 10.0 * MINUTE)

    def _poll(self, pause_ms: float) -> None:
        """People look at their lists as long as there is anything left to happen."""
        self.people.poll()
        if self.people.desk.gates or self.people.desk.tasks or self.world.is_busy:
            self.world.at(pause_ms, self._poll, min(pause_ms * 1.2, DAY / 2))
