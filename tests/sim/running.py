"""Runs one plan and says what came of it; many of them over several processes."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context

from caseway.hosting.memory_broker import MemoryBroker  # noqa: F401 - loaded before the workers fork
from tests.sim.city import City
from tests.sim.plan import Plan, draw
from tests.sim.world import BEGIN_MS, Violation


@dataclass
class Result:
    """One run: which rule it broke, if any, and what it met."""

    seed: int
    code: str = ""
    text: str = ""
    digest: str = ""
    virtual_ms: int = 0
    steps: int = 0
    struck: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    story: list[str] | None = None
    cpu_s: float = 0.0


def run(plan: Plan, *, is_told: bool = False, is_digested: bool = False) -> Result:
    """One run of one plan; a bug of any kind is a result and not an error."""
    began = time.process_time()
    code = text = ""
    city = City(plan, is_told=is_told)
    world = city.world
    try:
        city.run()
    except Violation as violation:
        code, text = violation.code, str(violation)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        code = f"crash {type(error).__name__} at {last.name}"
        text = "".join(traceback.format_exception(error))
    counts = world.counts + city.checker.counts
    return Result(
        plan.seed,
        code,
        text,
        world.digest() if is_digested else "",
        world.now_ms - BEGIN_MS,
        world.steps,
        tuple(world.faults.struck),
        counts,
        world.story,
        time.process_time() - began,
    )


def run_seed(seed: int) -> Result:
    """One run of what a seed draws."""
    return run(draw(seed))


def run_seeds(seeds: Iterable[int], jobs: int) -> Iterator[Result]:
    """Results as they come; seeds do not depend on each other."""
    if jobs <= 1:
        yield from map(run_seed, seeds)
        return
    run_seed(0)  # what a process makes once is made before the others are
    with get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(run_seed, seeds, chunksize=1)
