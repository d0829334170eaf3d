"""Runs seeds with a defect planted until the simulator's own rules find it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tests.bugbank.planting import Defect, planted
from tests.sim.plan import draw
from tests.sim.running import Result, run, run_seed

ROOT = Path(__file__).parents[2]
_TEXT_MAX = 100
_NAMES = re.compile(r"\bc-[0-9a-f]{24} ?")
# Two processes whose sets are ordered differently, asked for the digest of one seed after another.
_HASH_SEEDS = ("1", "2")
_PROGRAM = """
import sys
from tests.bugbank.bank import BANK
from tests.bugbank.hunting import answer_digests
answer_digests(BANK[sys.argv[1]])
"""


@dataclass(frozen=True)
class Found:
    """How many seeds it took, and what the simulator said; `by` is "" if it said nothing."""

    name: str
    seeds: int
    by: str
    text: str = ""


def hunt(defect: Defect, seeds: int, jobs: int) -> Found:
    """Seed after seed from 0 until the first finding; the answer is the same for any `jobs`."""
    if defect.needs_places:
        return _hunt_places(defect, seeds)
    done = 0
    with planted(defect):
        for result in _results(seeds, jobs):
            done += 1
            if result.code:
                return Found(defect.name, done, _short(result), result.text)
    return Found(defect.name, done, "")


def hunt_nothing(seeds: int, jobs: int) -> list[str]:
    """What the simulator finds when nothing is planted: anything is a false alarm, or a bug."""
    results = _results(seeds, jobs)
    return [f"SEED={result.seed} {_short(result)}" for result in results if result.code]


def _results(seeds: int, jobs: int) -> Iterator[Result]:
    """In the order of the seeds, so that the first finding is the first one there is."""
    if jobs <= 1:
        yield from map(run_seed, range(seeds))
        return
    with get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(run_seed, range(seeds))


def _short(result: Result) -> str:
    """The rule, and for a crash the last line of what was said."""
    if result.code.startswith("crash"):
        return f"{result.code}: {result.text.strip().splitlines()[-1]}"[:_TEXT_MAX]
    said = result.text.removeprefix(f"{result.code}: ")
    if result.code == "fault":  # the product's own guard stopped the case, and says by which rule
        said = said.partition("'code': ")[2]
    return _NAMES.sub("", f"{result.code}: {said}")[:_TEXT_MAX]


# -- between processes ----------------------------------------------------------------------------


def _hunt_places(defect: Defect, seeds: int) -> Found:
    """The same seeds in processes with other hash seeds: each has to end in the same bytes."""
    with ExitStack() as stack:
        processes = [stack.enter_context(_process(defect, place)) for place in _HASH_SEEDS]
        try:
            for seed in range(seeds):
                answers = {_ask(process, seed) for process in processes}
                if len(answers) > 1:
                    return Found(defect.name, seed + 1, "digest: not the same in every process")
        finally:
            for process in processes:
                process.kill()
    return Found(defect.name, seeds, "")


def _process(defect: Defect, hash_seed: str) -> subprocess.Popen[str]:
    paths = [str(ROOT), str(ROOT / "shared"), str(ROOT / "services")]
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, defect.name],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ask(process: subprocess.Popen[str], seed: int) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seed}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, "a process of the hunt died"
    return answer


def answer_digests(defect: Defect) -> None:
    """Be one of the processes: a seed per line comes in, what came of it goes out."""
    with planted(defect):
        for line in sys.stdin:
            result = run(draw(int(line)), is_digested=True)
            sys.stdout.write(f"{result.code} {result.digest}\n")
            sys.stdout.flush()
