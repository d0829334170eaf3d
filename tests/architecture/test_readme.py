"""What the documents promise: commands that exist, links that lead somewhere, a running agent."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer.main

from caseway import errors
from caseway.contracts.topics import all_topics
from caseway_control.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "schemas/README.md"]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
HOUSE = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")]
WAIT_S = 120.0
CLAIM = (
    '{"definition": "insurance-claim", "source": "portal", "key": "KEY", "facts": {'
    '"claimant": "claimant-0123456789abcdef", "payee": "payee-0123456789abcdef", '
    '"amount": {"amount": "75000.00", "currency": "USD"}, "incident_kind": "theft"}}\n'
)


def fences(text: str, language: str) -> list[str]:
    """The content of every code fence of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def shown_commands() -> list[str]:
    """Every command after a `$` in the console fences of README and CONTRIBUTING."""
    texts = [README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")]
    return [
        line.removeprefix("$ ")
        for text in texts
        for fence in fences(text, "console")
        for line in fence.splitlines()
        if line.startswith("$ ")
    ]


def named_commands() -> set[tuple[str, ...]]:
    """Every `caseway …` in inline code of the documents, with the word that follows a group."""
    found: set[tuple[str, ...]] = set()
    for path in DOCUMENTS:
        for code in re.findall(r"`[^`\n]*?\bcaseway ([a-z][^`\n]*)`", path.read_text("utf-8")):
            words = code.split()
            is_group = words[0] in {"topics", "control"}
            found.add(tuple(words[: 2 if is_group else 1]))
    return found


def caseway(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "caseway_control.cli", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def test_the_documents_keep_to_their_length() -> None:
    assert len(README.splitlines()) <= 150
    assert len(ARCHITECTURE.splitlines()) <= 200


def test_the_first_screen_shows_how_to_begin() -> None:
    assert shown_commands()[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("command", [c for c in shown_commands() if c.startswith("make ")])
def test_a_make_target_that_is_shown_exists(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(command.split()[1])}:", makefile, re.MULTILINE)


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for path in DOCUMENTS:
        named = set(re.findall(r"`make ([a-z-]+)`", path.read_text(encoding="utf-8")))
        assert named - targets == set(), path.name


@pytest.mark.parametrize("command", [c for c in shown_commands() if c.startswith("caseway ")])
def test_a_command_that_is_shown_has_help(command: str) -> None:
    assert caseway(command.split()[1], "--help").returncode == 0


def test_every_command_that_is_named_exists() -> None:
    group = typer.main.get_command(app)
    known: dict[str, object] = dict(group.commands)  # type: ignore[attr-defined]
    for words in sorted(named_commands()):
        assert words[0] in known, words
        below = getattr(known[words[0]], "commands", {})
        if len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in below, words


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), target


def paths_of(text: str) -> Iterator[str]:
    """What looks like a source file of ours in inline code."""
    for code in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(r"[a-z_A-Z0-9/.-]+\.py", code):
            yield code


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_source_file_that_is_named_exists(path: Path) -> None:
    """A short name counts when some file of the house ends with it."""
    every = [f"/{p.relative_to(ROOT)}" for p in [*HOUSE, *(ROOT / "tests").rglob("*.py")]]
    skeleton = {"state.py", "service.py", "processor.py", "agent.py"}
    for name in paths_of(path.read_text(encoding="utf-8")):
        assert name in skeleton or any(file.endswith(f"/{name}") for file in every), name


@pytest.mark.parametrize("topic", all_topics(("<pool>",)), ids=lambda topic: topic.name)
def test_every_topic_is_documented(topic: object) -> None:
    name = str(getattr(topic, "name", ""))
    family = re.sub(r"^(dead-letters|snapshots)\..*", r"\1.<service>", name)
    assert f"`{family}`" in README + ARCHITECTURE


def error_codes() -> dict[str, str]:
    """The code of every class of the error tree."""
    return {
        name: found.code
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, errors.CasewayError)
    }


@pytest.mark.parametrize(("name", "code"), sorted(error_codes().items()))
def test_every_error_is_in_the_runbook(name: str, code: str) -> None:
    assert f"| `{code}` | `{name}` |" in RUNBOOK


def test_every_metric_that_the_runbook_names_exists() -> None:
    known = set(re.findall(r"`(caseway_\w+)`", (ROOT / "docs/metrics.md").read_text("utf-8")))
    assert set(re.findall(r"`(caseway_[a-z_]+)[`{]", RUNBOOK)) <= known


def agent_source() -> str:
    """The agent of the README."""
    (source,) = fences(README, "python")
    return source


def test_the_agent_of_the_readme_is_short_and_is_python() -> None:
    assert len(agent_source().splitlines()) <= 25
    ast.parse(agent_source())


@contextmanager
def running(*command: str, environment: dict[str, str], out: Path) -> Iterator[None]:
    """A child process whose standard output goes to a file, ended with SIGTERM."""
    with out.open("w", encoding="utf-8") as file:
        child = subprocess.Popen(command, env=environment, stdout=file)
    try:
        yield
    finally:
        child.terminate()
        child.wait(WAIT_S)


@pytest.mark.timeout(300)
def test_the_agent_of_the_readme_completes_a_task(tmp_path: Path) -> None:
    home = tmp_path / "claims"
    log = f"sqlite:{home}"
    assert caseway("init", str(home)).returncode == 0
    agent = tmp_path / "agent.py"
    agent.write_text(agent_source(), encoding="utf-8")
    keep = {k: v for k, v in os.environ.items() if not k.startswith("CASEWAY_")}
    environment = keep | {"CASEWAY_LOG": log, "CASEWAY_HTTP_PORT": "0"}
    engine = (sys.executable, "-m", "caseway_control.cli", "up", "--json")
    worker = (sys.executable, str(agent), str(home / "keys/agent-triage-1.json"))
    up, said = tmp_path / "up.out", tmp_path / "agent.out"
    signed = [part for n in (1, 2) for part in ("--sign", str(home / f"keys/root-{n}.json"))]
    with running(*engine, environment=environment, out=up):
        published = caseway("publish", str(home / "insurance"), *signed, "--log", log)
        assert published.returncode == 0, published.stdout + published.stderr
        with running(*worker, environment=environment, out=said):
            began = time.monotonic()
            # The agent reads what is offered from its start on, and nobody is told when that is.
            while "\n" not in said.read_text("utf-8") and time.monotonic() - began < WAIT_S:
                claim = CLAIM.replace("KEY", f"PC-{time.monotonic_ns()}")
                sent = caseway("submit", "-", "--log", log, stdin=claim)
                assert sent.returncode == 0, sent.stdout + sent.stderr
    case_id, line = said.read_text("utf-8").splitlines()[0].split()
    assert line == "motor"
    told = caseway("history", case_id, "--log", log)
    assert "agent:triage-1 completed triage-1" in told.stdout
