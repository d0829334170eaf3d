"""What the simulator found, made small: it stays mended, or it is known to be open."""

from __future__ import annotations

import pytest

from tests.bugbank.bank import BANK
from tests.bugbank.planting import planted
from tests.sim.city import City
from tests.sim.plan import Plan
from tests.sim.points import REFERENCE
from tests.sim.reading import Line
from tests.sim.running import run
from tests.sim.world import Violation

# What was found, the defect of the bank that is the same mistake, and the plan that shows it.
PINNED: dict[str, tuple[str, Plan]] = {
    # A lease ran from the newest record of another topic: sla_watchdog, `appended_ms`.
    "a span runs from the record that asks for it": (
        "span-from-another-topic",
        Plan(
            seed=1,
            shards=3,
            cases=(0, 2),
            days=7.719,
            faults=(("letter late", 0.1201), ("second thoughts", 0.429)),
            people=(("cora", "slow"),),
            only=frozenset(["letter late#1", "second thoughts#1"]),
        ),
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_what_was_found_stays_mended(name: str) -> None:
    result = run(PINNED[name][1])
    assert not result.code, result.text


@pytest.mark.parametrize("name", PINNED)
def test_a_pinned_plan_still_shows_what_it_was_pinned_for(name: str) -> None:
    """A city that draws other numbers makes a pin hollow: then shrink another seed with the defect.

    `tests.sim.shrinking.shrink` inside `planted(defect)` does it.
    """
    defect, plan = PINNED[name]
    with planted(BANK[defect]):
        assert run(plan).code, "nothing goes wrong here any more"


@pytest.mark.xfail(
    raises=Violation,
    strict=True,
    reason="open: an offer of a torn commit is believed, because offers have no trailer",
)
def test_a_permit_of_a_torn_commit_pays_no_claim_that_is_withdrawn_meanwhile() -> None:
    """The broker commits the permit without its event, and the withdrawal is decided first."""
    city = City(REFERENCE)
    told = permit_commit()

    def withdraw(line: Line) -> None:
        if line.type == "permit.issued" and city.world.faults.struck == ["torn"]:
            fields = {"source": "portal", "key": "K-0", "reason": "settled elsewhere"}
            city.post.submit(line.key, "case.withdraw", **fields)

    city.world.point = ("router", told, "torn")
    city.world.listeners["offers.payments"].append(withdraw)
    city.run()


def permit_commit() -> int:
    """Which effect of the router commits the permit of the reference claim."""
    city = City(REFERENCE)
    found: list[int] = []

    def note(line: Line) -> None:
        if line.type == "permit.issued":
            found.append(len(city.world.performed["router"]) - 1)

    city.world.listeners["offers.payments"].append(note)
    city.run()
    return found[0]
