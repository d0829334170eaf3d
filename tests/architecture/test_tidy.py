"""Tidiness that no formatter knows: captions, sizes, pure rooms, and who may name which driver."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = sorted(p for floor in ("shared", "services") for p in (ROOT / floor).rglob("*.py"))
PURE_ROOMS = (
    "services/caseway_intake/",
    "services/caseway_router/",
    "services/caseway_approval/",
    "services/caseway_sla_watchdog/",
    "services/caseway_audit/",
    "shared/caseway/kernel/",
    "shared/caseway/contracts/",
    "shared/caseway/casefile/",
    "shared/caseway/invariants/",
)
PURE = [path for path in HOUSE if path.relative_to(ROOT).as_posix().startswith(PURE_ROOMS)]

# One line of 100 with its quotes: what a picture of the house shows under a file.
CAPTION_MAX = 97
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
DEFINITION_LINES_MAX = 150
# Beyond 400 lines only with a reason, and never beyond 500.
FILE_LINES_HARD = 500
LONG_FILES = {}
# Classes that stand above it because one state is passed through all of their methods: the two
# logs, the shard's host and its parts, the sealer, the verifier, and what drives them.
DEFINITION_LINES_HARD = 300
LONG_DEFINITIONS = {
    "Client",
    "Demo",
    "Fleet",
    "KafkaLog",
    "MemoryLog",
    "Sealer",
    "SealingShard",
    "Shard",
    "ShardRunner",
    "Verifier",
    "Worker",
    "_Inclusion",
}
# Worlds of threads, clocks, chance and wires: none of them enters a pure room.
IMPURE = {
    "aiokafka",
    "apsw",
    "asyncio",
    "asyncpg",
    "os",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
CLOCKS = {"now", "utcnow", "today"}
DRIVERS = {
    "aiokafka": {
        "shared/caseway/hosting/kafka_admin.py",
        "shared/caseway/hosting/kafka_calls.py",
        "shared/caseway/hosting/kafka_features.py",
        "shared/caseway/hosting/kafka_feed.py",
        "shared/caseway/hosting/kafka_hanging.py",
        "shared/caseway/hosting/kafka_log.py",
        "shared/caseway/hosting/kafka_membership.py",
        "shared/caseway/hosting/kafka_quotas.py",
        "shared/caseway/hosting/kafka_records.py",
        "shared/caseway/hosting/kafka_transactions.py",
        "shared/caseway/hosting/kafka_writer.py",
    },
    "asyncpg": {"shared/caseway/hosting/postgres_store.py"},
    "apsw": {
        "shared/caseway/hosting/sqlite_file.py",
        "shared/caseway/hosting/sqlite_commits.py",
    },
}
# Every service has these three; the kernel has a processor's shape, the casefile a state.
SHARED_NAMES = {"__init__", "service", "state", "processor"}
# Said once in contracts or asked for in hosting, and once where it is judged or decided.
TWICE = {"control", "effects", "matrix"}


@cache
def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(source(path), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """The top package of every import of a file, those inside functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def definitions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


each_file = pytest.mark.parametrize("path", HOUSE, ids=name_of)
each_pure_file = pytest.mark.parametrize("path", PURE, ids=name_of)


def test_there_is_a_house_to_look_at() -> None:
    assert len(HOUSE) > 80
    assert {room for room in PURE_ROOMS if not any(name_of(p).startswith(room) for p in PURE)} == (
        set()
    )


@each_file
def test_a_file_opens_with_one_sentence_that_says_what_it_is_for(path: Path) -> None:
    assert source(path).startswith('"""'), "the docstring is the very first thing in a file"
    caption, _, rest = (ast.get_docstring(tree(path)) or "").partition("\n")
    assert 0 < len(caption) <= CAPTION_MAX, caption
    assert caption.endswith((".", "?", "!")), "the first line is one whole sentence"
    assert rest == "" or rest.startswith("\n"), "a blank line follows the first sentence"


@each_file
def test_a_file_and_its_definitions_fit_on_a_desk(path: Path) -> None:
    lines = len(source(path).splitlines())
    assert lines <= (FILE_LINES_HARD if name_of(path) in LONG_FILES else FILE_LINES_MAX)
    for node in definitions(path):
        if not isinstance(node, ast.ClassDef):
            assert lines_of(node) <= FUNCTION_LINES_MAX, node.name


@each_file
def test_a_definition_is_shorter_than_what_the_picture_marks_red(path: Path) -> None:
    for node in definitions(path):
        limit = DEFINITION_LINES_HARD if node.name in LONG_DEFINITIONS else DEFINITION_LINES_MAX
        assert lines_of(node) < limit, node.name


def test_every_long_file_is_still_long() -> None:
    for name in LONG_FILES:
        assert len(source(ROOT / name).splitlines()) > FILE_LINES_MAX, f"{name} needs no exception"


@each_pure_file
def test_a_pure_room_knows_no_clock_no_chance_and_no_wire(path: Path) -> None:
    assert set(imported(path)) & IMPURE == set()
    calls = (node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    assert [f.attr for f in calls if isinstance(f, ast.Attribute) and f.attr in CLOCKS] == []
    assert not any(
        isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in ast.walk(tree(path))
    )


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_is_named_in_its_adapter_alone(driver: str) -> None:
    assert {name_of(path) for path in HOUSE if driver in imported(path)} == DRIVERS[driver]


@each_file
def test_nothing_prints_and_nothing_swallows_everything(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"line {node.lineno}: write to a stream, or log"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: name what is caught"


@pytest.mark.parametrize("path", [p for p in HOUSE if p.stem == "__init__"], ids=name_of)
def test_a_package_is_a_docstring_and_nothing_else(path: Path) -> None:
    assert len(tree(path).body) == 1
    assert ast.get_docstring(tree(path))


def test_no_two_modules_share_a_name() -> None:
    names = Counter(path.stem for path in HOUSE if path.stem not in SHARED_NAMES)
    assert {name for name, times in names.items() if times > 1} == TWICE


@each_file
def test_a_module_is_named_after_its_matter(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "common", "base", "manager", "types", "misc"}
    assert path.stem == "__init__" or not path.stem.startswith("_")


def test_every_send_to_the_broker_is_awaited_in_one_place() -> None:
    """The client commits over a failed send unless the send's future was awaited."""
    adapters = (ROOT / f"shared/caseway/hosting/kafka_{name}.py" for name in ("log", "writer"))
    senders = {
        node.name
        for adapter in adapters
        for node in definitions(adapter)
        if not isinstance(node, ast.ClassDef)
        and any(
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in {"send", "send_and_wait", "send_batch"}
            for call in ast.walk(node)
        )
    }
    assert senders == {"send_all"}


@each_file
def test_a_todo_names_its_issue(path: Path) -> None:
    for number, line in enumerate(source(path).splitlines(), 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            assert re.search(r"#\d+|issue \d+", line), f"line {number}"


def test_no_test_patches_and_no_unit_test_sleeps() -> None:
    # Spelt in two parts, because this file is looked at too.
    banned = {"mock" + ".patch": "", "unittest" + " import mock": "", "time" + ".sleep": "unit"}
    found = [
        f"{name_of(path)}: {word}"
        for word, where in banned.items()
        for path in sorted((ROOT / "tests" / where).rglob("*.py"))
        if word in source(path)
    ]
    assert found == []
