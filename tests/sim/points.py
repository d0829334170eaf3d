"""Every boundary of every effect of a reference claim, and every way to fail there; counted out.

First the claim lives without faults, and all effects of all services are written down; then it
lives again once for each of them and each way, under the same rules and to the same end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from multiprocessing import get_context

from caseway_control.roster import CARDS
from tests.sim.city import City
from tests.sim.owner import WAYS
from tests.sim.plan import Plan
from tests.sim.world import AUDIT, Violation

Point = tuple[str, int, str]  # service, the ordinal of its effect, the way to fail
REFERENCE = Plan(seed=1, amount="75000.00", snapshot_events=4, sealing_ms=1_000)
SERVICES = (*CARDS, AUDIT)
COMMITS_ONLY = WAYS[-4:]


def points() -> list[Point]:
    """All of them, in the order of services and effects."""
    city = City(REFERENCE)
    city.run()
    return [
        (service, index, way)
        for service in SERVICES
        for index, kind in enumerate(city.world.performed[service])
        for way in WAYS
        if kind == "Commit" or way not in COMMITS_ONLY
    ]


def run_point(point: Point) -> tuple[Point, str]:
    """The reference claim with one failure; what went wrong, "" if it was paid once as ever."""
    city = City(REFERENCE)
    city.world.point = point
    try:
        city.run()
    except Violation as violation:
        return point, str(violation)
    paid = [amount for _, amount, _ in city.bank.paid.values()]
    if paid != ["75000.00 USD"]:
        return point, f"paid {paid}"
    return point, "" if point[2] in city.world.faults.struck else "nothing failed"


def run_points(chosen: Iterable[Point], jobs: int) -> Iterator[tuple[Point, str]]:
    """All of these, over several processes."""
    with get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(run_point, chosen, chunksize=8)
