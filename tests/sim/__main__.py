"""`make sim`: many seeds with their numbers, or one seed with its story."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

from tests.sim.counters import RARE, missing, table
from tests.sim.plan import draw
from tests.sim.points import points, run_points
from tests.sim.running import Result, run, run_seeds
from tests.sim.shrinking import literal, shrink

# A rare state that never occurs in fewer seeds than this proves nothing.
FULL_RUN = 1_000
_YEAR_MS = 365 * 86_400_000
_FAILURES_MAX = 2


def main() -> int:
    """Parse, run, report; 1 when a rule was broken or a rare state never occurred."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=FULL_RUN, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one alone and tell its story")
    parser.add_argument("--points", action="store_true", help="and every crash point, counted out")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--json", action="store_true", help="the numbers as JSON")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error("--seeds is 1 or more: none at all would prove nothing")
    if arguments.seed is not None:
        return one(arguments.seed)
    verdict = many(arguments.first, arguments.seeds, arguments.jobs, is_json=arguments.json)
    return every_point(arguments.jobs) or verdict if arguments.points else verdict


def one(seed: int) -> int:
    """Replay a seed: its plan, its story, its digest; a failing one is made small."""
    plan = draw(seed)
    result = run(plan, is_told=True, is_digested=True)
    say(literal(plan))
    for line in result.story or ():
        say(line)
    say(f"seed {seed}: {result.code or 'all rules hold'}; {result.steps:,} steps")
    say(f"digest of all topics: {result.digest}")
    if not result.code:
        return 0
    say(result.text)
    small, shown = shrink(plan, result.code, say)
    say(f"\nThe smallest plan that breaks {result.code!r}; pin it in tests/sim/test_pinned.py:\n")
    say(literal(small))
    for line in run(small, is_told=True).story or ():
        say(line)
    say(shown.text)
    return 1


def every_point(jobs: int) -> int:
    """Let a reference claim fail once at every boundary of every effect."""
    began = time.monotonic()
    tried: Counter[str] = Counter()
    failed = 0
    for point, text in run_points(points(), jobs):
        tried[point[0]] += 1
        if text:
            failed += 1
            say(f"{point}: {text}")
    for service, number in tried.items():
        say(f"{number:>9,}  crash points of {service}")
    wall_s = time.monotonic() - began
    say(f"{sum(tried.values()):>9,}  claims, {failed} broke a rule, {wall_s:.0f} s")
    return 1 if failed else 0


def many(first: int, number: int, jobs: int, *, is_json: bool) -> int:
    """Run many seeds, show how it goes, and what was met."""
    began = time.monotonic()
    totals: Counter[str] = Counter()
    failures: list[Result] = []
    done = 0
    cpu_s = 0.0
    for result in run_seeds(range(first, first + number), jobs):
        done += 1
        cpu_s += result.cpu_s
        totals += result.counts
        totals["steps"] += result.steps
        totals["virtual ms"] += result.virtual_ms
        if result.code:
            failures.append(result)
            say(f"\nSEED={result.seed} breaks {result.code}\n{result.text}")
        if not is_json and sys.stderr.isatty() | (done % 50 == 0):
            passed = time.monotonic() - began
            sys.stderr.write(f"\r{done:>6}/{number} seeds, {len(failures)} failed, {passed:.0f} s ")
            sys.stderr.flush()
    wall_s = time.monotonic() - began
    never = missing(totals) if number >= FULL_RUN else []
    numbers = summary(totals, done, wall_s, cpu_s)
    if is_json:
        failed = [{k: v for k, v in asdict(f).items() if k != "counts"} for f in failures]
        rare = {text: totals[name] for name, text in RARE.items()}
        say(json.dumps({**numbers, "failed": failed, "never": never, "rare": rare}, indent=2))
    else:
        report(numbers, totals, never)
    for failure in failures[:_FAILURES_MAX] if not is_json else ():
        small, _ = shrink(draw(failure.seed), failure.code, lambda _text: None)
        say(f"\nmake sim SEED={failure.seed} breaks {failure.code}; made small:\n{literal(small)}")
    return 1 if failures or never else 0


def summary(totals: Counter[str], seeds: int, wall_s: float, cpu_s: float) -> dict[str, Any]:
    """The numbers of a run."""
    commands = totals["letters"]
    return {
        "seeds": seeds,
        "wall seconds": round(wall_s, 1),
        "cpu seconds": round(cpu_s, 1),
        "seeds a minute": round(60 * seeds / max(wall_s, 0.001)),
        "commands": commands,
        "faults": sum(n for name, n in totals.items() if name.startswith("fault: ")),
        "events": sum(n for name, n in totals.items() if name.startswith("event: ")),
        "commits": totals["commits"],
        "takeovers": totals["takeovers"],
        "steps": totals["steps"],
        "virtual years": round(totals["virtual ms"] / _YEAR_MS, 1),
        "cases closed": totals["event: case.closed"],
    }


def report(numbers: dict[str, Any], totals: Counter[str], never: list[str]) -> None:
    """Numbers and rare states for people."""
    say("")
    for line in table(totals):
        say(line)
    say("")
    for name, value in numbers.items():
        say(f"{value:>14,}  {name}")
    for text in never:
        say(f"NEVER OCCURRED: {text}")


def say(text: str) -> None:
    """One line to standard output."""
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
