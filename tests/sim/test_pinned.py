"""Plans that once broke a rule, made small: what was found stays mended."""

from __future__ import annotations

import pytest

from tests.sim.plan import Plan
from tests.sim.running import run

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
