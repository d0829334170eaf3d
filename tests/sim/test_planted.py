"""Bugs planted one at a time: a simulator that does not find them would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from caseway.casefile.state import TaskStatus
from caseway.hosting.inbox import Inbox
from caseway.hosting.memory_broker import MemoryBroker
from caseway.kernel.matrix import CompiledMatrix
from caseway_router import effects, leases
from caseway_sla_watchdog import processor as watchdog
from tests.sim.plan import Plan, draw
from tests.sim.running import run

Plant = Callable[[pytest.MonkeyPatch], None]
SEEDS_MAX = 40


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """The broker lets whoever held a shard before go on writing."""
    commit = MemoryBroker.commit

    def lax(self: Any, service: str, shard: int, _epoch: int, *rest: Any) -> int:
        return commit(self, service, shard, self._epochs[service, shard], *rest)

    patch.setattr(MemoryBroker, "commit", lax)


def a_cent_too_low(patch: pytest.MonkeyPatch) -> None:
    """A value on a shared edge falls to the lower authority."""
    find = CompiledMatrix.find

    def lower(self: Any, amount: Decimal, *rest: Any) -> Any:
        return find(self, max(Decimal(0), amount - Decimal("0.01")), *rest)

    patch.setattr(CompiledMatrix, "find", lower)


def early(patch: pytest.MonkeyPatch) -> None:
    """The watchdog sets every timer a second too early."""
    timer = watchdog._timer

    def hasty(request: Any, delivery: Any) -> Any:
        return timer(request, delivery._replace(appended_ms=delivery.appended_ms - 1000))

    patch.setattr(watchdog, "_timer", hasty)


def everybody_decides(patch: pytest.MonkeyPatch) -> None:
    """Whoever signs holds every role of the gate."""
    for module in ("hearing", "quorum"):
        name = f"caseway_approval.{module}.roles_held"
        patch.setattr(name, lambda bench, _person, _registry: bench.roles)


def any_token(patch: pytest.MonkeyPatch) -> None:
    """A report counts whatever its fencing token is."""
    known = leases._known

    def held(script: Any, task_id: str, _token: int) -> Any:
        return known(script, task_id)

    patch.setattr(leases, "held", held)


def permit_again(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a permit twice gets two."""
    held = effects.held

    def forgetful(*arguments: Any) -> Any:
        task = held(*arguments)
        if task.status is TaskStatus.PERMITTED and arguments[0].delivery.event.envelope.type == (
            "effect.begin"
        ):
            return replace(task, effect_id="")
        return task

    patch.setattr(effects, "held", forgetful)


def skipped(patch: pytest.MonkeyPatch) -> None:
    """A position counts what waits in the queue as done."""
    positions = Inbox.positions

    def ahead(self: Any) -> dict[Any, int]:
        return {place: max(at, self._by_place[place].seen) for place, at in positions(self).items()}

    patch.setattr(Inbox, "positions", ahead)


PLANTS: dict[str, tuple[Plant, set[str]]] = {
    "no fence": (no_fence, {"I12 continuity", "I17 fencing", "I16 whole batches", "halted"}),
    "a cent too low": (a_cent_too_low, {"I06 authority"}),
    "early": (early, {"I05 timers"}),
    "everybody decides": (everybody_decides, {"I06 authority", "I07 four eyes"}),
    "any token": (any_token, {"I18 one holder", "I21 terminal", "words"}),
    "permit again": (permit_again, {"I02 one permit"}),
    "skipped": (skipped, {"I02 consumed once", "silence", "stuck", "halted"}),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, codes = PLANTS[name]
    plant(monkeypatch)
    for seed in range(SEEDS_MAX):
        result = run(small(seed))
        if result.code:
            # A guard inside the service may be faster than the judge of its log.
            assert result.code in codes | {"fault"}, result.text
            return
    raise AssertionError(f"not found in {SEEDS_MAX} seeds")


def small(seed: int) -> Plan:
    """What a seed draws, with few cases: a bug that shows in one claim is found sooner."""
    plan = draw(seed)
    return replace(plan, cases=plan.cases[:3], days=min(plan.days, 3.0))
