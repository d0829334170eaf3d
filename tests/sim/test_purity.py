"""Pure rooms are pure at run time too: whole cities live while the world is out of their reach."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from caseway_control.roster import CARDS
from tests.sim.city import City
from tests.sim.plan import Plan, draw
from tests.sim.purity import Impure, guarded, pure
from tests.sim.world import World

REACHES: dict[str, Callable[[], Any]] = {
    "clock": lambda: time.time_ns(),  # noqa: PLW0108 - looked up when it is called
    "chance": lambda: random.random(),  # noqa: PLW0108
    "environment": lambda: os.environ["PATH"],
    "environment with a default": lambda: os.environ.get("PATH"),
    "file": lambda: open("README.md"),  # noqa: SIM115
    "entropy": lambda: os.urandom(4),
    "wire": lambda: socket.socket(),  # noqa: PLW0108
}


@pytest.mark.parametrize("reach", REACHES.values(), ids=REACHES)
def test_the_guard_refuses(reach: Callable[[], Any]) -> None:
    with pytest.raises(Impure), pure():
        reach()
    assert time.time() > 0
    assert "PATH" in os.environ


@pytest.mark.parametrize(
    "plan", [Plan(seed=1, cases=(0, 1, 2)), draw(4), draw(9)], ids=lambda p: p.seed
)
def test_services_decide_and_evolve_without_the_world(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = {name: guarded(card) for name, card in CARDS.items()}
    monkeypatch.setattr("tests.sim.world.CARDS", cards)
    city = City(plan)
    city.run()
    assert city.world.counts["commits"] > 10
    assert isinstance(city.world, World)
