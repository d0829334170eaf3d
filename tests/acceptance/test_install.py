"""What a user installs: a wheel that holds everything, and imports from nothing but itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
# Not code, and lost without a word if a build leaves it out.
DATA = (
    "caseway_control/data/insurance/definition.yaml",
    "caseway_control/data/insurance/matrix.yaml",
    "caseway_control/data/insurance/calendar.yaml",
    "caseway_control/data/mappings/auto-claims.yaml",
    "caseway_control/data/demo/claim-75000.json",
)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without a network by the pinned backend."""
    into = tmp_path_factory.mktemp("wheel")
    script = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", script, str(into)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return into / built.stdout.split()[-1]


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty directory with nothing but the wheel's content."""
    into = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
    return into


def run(script: str, first: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python that looks into this directory before any other."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CASEWAY_")}
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=first,
        env=environment | {"PYTHONPATH": str(first)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_holds_every_file_of_the_checkout_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0 and listed.stdout:
        expected = {name.partition("/")[2] for name in listed.stdout.splitlines()}
        assert expected - inside == set(), "the wheel leaves these out"
    assert set(DATA) <= inside
    assert {name.partition("/")[0] for name in inside} == {Path(p).name for p in PACKAGES}
    assert not any("__pycache__" in name or "/tests/" in name for name in inside)
    assert {name for name in inside if not name.endswith((".py", ".typed"))} >= set(DATA)


def test_the_wheel_says_what_it_is_and_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (about,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        (entries,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        metadata, points = archive.read(about).decode(), archive.read(entries).decode()
    assert "caseway = caseway_control.cli:main" in points
    assert "Requires-Python: >=3.11" in metadata
    assert "Requires-Dist: aiokafka[lz4]==" in metadata
    assert metadata.count("\nRequires-Dist: ") >= len(PROJECT["project"]["dependencies"])


def test_everything_imports_from_the_wheel_alone(unpacked: Path) -> None:
    script = (
        "import importlib, pathlib, sys\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "for path in sorted(root.glob('caseway*/**/*.py')):\n"
        "    parts = path.relative_to(root).with_suffix('').parts\n"
        "    module = importlib.import_module('.'.join(p for p in parts if p != '__init__'))\n"
        "    assert pathlib.Path(module.__file__).is_relative_to(root), module.__file__\n"
    )
    done = run(script, unpacked, str(unpacked))
    assert done.returncode == 0, done.stderr


def test_the_command_reads_its_own_documents_from_the_wheel(unpacked: Path) -> None:
    script = (
        "import sys; from caseway_control.cli import main; import caseway_control as c\n"
        "assert c.__file__.startswith(sys.argv[1])\n"
        "from caseway_control.bootstrap import read_folder, shipped_folder\n"
        "print(len(read_folder([shipped_folder('insurance')])))\n"
        "sys.exit(main(['--help']))\n"
    )
    done = run(script, unpacked, str(unpacked))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3\n")


def test_a_new_namespace_is_founded_from_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    script = "import sys; from caseway_control.cli import main; sys.exit(main(sys.argv[1:]))"
    done = run(script, unpacked, "init", str(tmp_path / "claims"), "--json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "claims").is_dir()


def test_an_editable_install_leads_to_the_folders_of_the_checkout(tmp_path: Path) -> None:
    """The build backend refuses editable installs of a layout whose folders are renamed."""
    script = (
        "import sys; from hatchling.build import build_editable; print(build_editable(sys.argv[1]))"
    )
    built = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(tmp_path / built.stdout.split()[-1]) as archive:
        (pointer,) = (n for n in archive.namelist() if n.endswith(".pth"))
        folders = archive.read(pointer).decode().split()
    assert {Path(folder) for folder in folders} == {ROOT / "shared", ROOT / "services"}
