"""Which room may import which: the contracts of pyproject.toml, and that they cover the house."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINTER = SETTINGS["tool"]["importlinter"]


def rooms() -> set[str]:
    """Every package of the house, and the modules and rooms directly in the shared one."""
    found = {path.parent.name for path in (ROOT / "services").glob("*/__init__.py")}
    shared = ROOT / "shared/caseway"
    found |= {f"caseway.{path.parent.name}" for path in shared.glob("*/__init__.py")}
    return found | {f"caseway.{p.stem}" for p in shared.glob("*.py") if p.stem != "__init__"}


def test_every_import_contract_is_kept() -> None:
    script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", script, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_the_floors_name_every_room() -> None:
    (floors,) = (c for c in LINTER["contracts"] if c["name"] == "floors")
    named = {room.strip() for layer in floors["layers"] for room in layer.split("|")}
    assert named - rooms() == set(), "a floor names a room that does not exist"
    # What the tests of others use stands beside the floors: it may import any of the shared ones.
    assert rooms() - named <= {"caseway.testing"}


def test_every_package_is_linted_typed_and_shipped() -> None:
    packages = {"caseway"} | {p.parent.name for p in (ROOT / "services").glob("*/__init__.py")}
    wheel = SETTINGS["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert len(packages) == 7
    assert set(LINTER["root_packages"]) == packages
    assert set(SETTINGS["tool"]["mypy"]["packages"]) == packages
    assert {Path(folder).name for folder in wheel} == packages
