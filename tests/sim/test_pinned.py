"""What the simulator found, made small: it stays mended, or it is known to be open."""

from __future__ import annotations

import pytest

from tests.sim.city import City
from tests.sim.plan import Plan
from tests.sim.points import REFERENCE
from tests.sim.reading import Line
from tests.sim.running import run
from tests.sim.world import Violation

PINNED: dict[str, Plan] = {
    # A lease ran from the newest record of another topic: sla_watchdog, `appended_ms`.
    "a span runs from the record that asks for it": Plan(
        seed=15,
        cases=(0, 1, 2),
        days=10.0,
        faults=(("lag", 0.1), ("stall", 0.02), ("down", 0.5), ("crash before", 0.01)),
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_what_was_found_stays_mended(name: str) -> None:
    result = run(PINNED[name])
    assert not result.code, result.text


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
