"""Makes a failing plan small while it still fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, replace
from typing import Any

from tests.sim.plan import Plan
from tests.sim.running import Result, run

# In steps of the agenda: some minutes of one processor, however long a run is.
_STEPS_MAX = 1_000_000


def shrink(plan: Plan, code: str, tell: Callable[[str], None]) -> tuple[Plan, Result]:
    """The smallest plan found that breaks the same rule, and its result."""
    best, result = plan, run(plan)
    attempts, steps = 0, result.steps
    progress = True
    while progress and steps < _STEPS_MAX:
        progress = False
        for candidate in _smaller(best, result):
            attempts += 1
            tried = run(candidate)
            steps += tried.steps
            if tried.code == code:
                best, result, progress = candidate, tried, True
                tell(f"{attempts:>4} runs: {_size(best, result)}")
                break
            if steps >= _STEPS_MAX:
                break
    return best, result


def _smaller(plan: Plan, result: Result) -> Iterator[Plan]:
    """Plans with less in them, the boldest first."""
    blank = Plan(seed=plan.seed)
    if len(plan.cases) > 1:
        yield replace(plan, cases=plan.cases[: len(plan.cases) // 2])
        yield replace(plan, cases=plan.cases[len(plan.cases) // 2 :])
        for case in plan.cases:
            yield replace(plan, cases=tuple(each for each in plan.cases if each != case))
    for name in ("agents", "people", "controls", "faults"):
        there: Any = getattr(plan, name)
        without: list[Any] = [()] if there else []
        if len(there) > 1:
            without += [tuple(each for each in there if each != one) for one in there]
        for left in without:
            yield replace(plan, **{name: left})
    for name in ("shards", "days", "queue_records", "snapshot_events", "scan_records"):
        if getattr(plan, name) != getattr(blank, name):
            yield replace(plan, **{name: getattr(blank, name)})
    yield from _fewer_strikes(plan, result)


def _fewer_strikes(plan: Plan, result: Result) -> Iterator[Plan]:
    """The same plan in which fewer of the strikes happen that happened."""
    struck = list(result.struck)
    if not struck:
        return
    if plan.only is None or len(plan.only) > len(struck):
        yield replace(plan, only=frozenset(struck))
    size = max(1, len(struck) // 2)
    while True:
        for start in range(0, len(struck), size):
            kept = struck[:start] + struck[start + size :]
            yield replace(plan, only=frozenset(kept))
        if size == 1:
            return
        size //= 2


def _size(plan: Plan, result: Result) -> str:
    return (
        f"{len(plan.cases)} cases, {len(plan.faults)} kinds of fault, {len(result.struck)} strikes"
        f", {len(plan.agents) + len(plan.people)} odd people, {result.steps} steps"
    )


def literal(plan: Plan) -> str:
    """The plan as Python, without what is as by default; to be pinned in `test_pinned.py`."""
    parts = []
    for field in fields(plan):
        value = getattr(plan, field.name)
        if field.default is MISSING or value != field.default:
            text = f"frozenset({sorted(value)!r})" if isinstance(value, frozenset) else repr(value)
            parts.append(f"    {field.name}={text},")
    return "Plan(\n" + "\n".join(parts) + "\n)"
