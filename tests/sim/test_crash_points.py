"""A claim is paid once wherever a service fails: some of the points that `make sim` counts out."""

from __future__ import annotations

from functools import cache

import pytest

from tests.sim.owner import WAYS
from tests.sim.points import SERVICES, Point, points, run_point

# `make sim` runs all of them; every so-manieth is enough to see that they are there and run.
STRIDE = 29


@cache
def all_points() -> list[Point]:
    return points()


@pytest.mark.parametrize("service", SERVICES)
def test_a_claim_is_paid_once_wherever_a_service_fails(service: str) -> None:
    mine = [point for point in all_points() if point[0] == service]
    assert {way for _, _, way in mine} == set(WAYS)
    for point in mine[::STRIDE]:
        assert run_point(point) == (point, "")
