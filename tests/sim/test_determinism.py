"""The same seed gives the same bytes in every process: hash seeds, zones, locales, Pythons."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEED = 5
PROGRAM = """
import sys
from tests.sim.running import run
from tests.sim.plan import draw
result = run(draw(int(sys.argv[1])), is_digested=True)
sys.stdout.write(f"{result.code} {result.steps} {result.digest}")
"""
PLACES = (
    {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "1", "TZ": "America/New_York", "LC_ALL": "C.UTF-8"},
    {"PYTHONHASHSEED": "4242", "TZ": "Asia/Kathmandu", "LC_ALL": "de_DE.UTF-8"},
)


def digest_in(python: str, place: dict[str, str]) -> str:
    """What a process of its own says of the seed: the run holds all folds to their logs."""
    paths = [str(ROOT), str(ROOT / "shared"), str(ROOT / "services")]
    environment = {**os.environ, **place, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [python, "-c", PROGRAM, str(SEED)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_two_processes_and_every_place_on_earth_give_the_same_digest() -> None:
    found = {digest_in(sys.executable, place) for place in PLACES}
    assert len(found) == 1, found
    assert found.pop().startswith(" "), "the seed breaks a rule"


def other_pythons() -> list[str]:
    """Interpreters of another version that have everything the product imports."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = []
    for minor in range(11, 16):
        path = shutil.which(f"python3.{minor}")
        if path is None or f"3.{minor}" == here:
            continue
        needs = "import pydantic, cryptography, structlog, cel_expr_python, ruamel.yaml"
        done = subprocess.run([path, "-c", needs], capture_output=True, check=False, timeout=60)
        if done.returncode == 0:
            found.append(path)
    return found


def test_another_python_gives_the_same_digest() -> None:
    pythons = other_pythons()
    if not pythons:
        version = sys.version.split()[0]
        pytest.skip(f"compared with no other Python: only {version} has what Caseway imports")
    expected = digest_in(sys.executable, PLACES[0])
    for python in pythons:
        assert digest_in(python, PLACES[1]) == expected, python
    sys.stderr.write(f"\ncompared: {sys.version.split()[0]} and {', '.join(pythons)}\n")
