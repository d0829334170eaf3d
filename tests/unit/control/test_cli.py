"""The command line: one way to fail, exit codes, quick help, and a claim from init to history."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from caseway.client import Client
from caseway_control.cli import app, main
from caseway_control.demo_agents import DEMO_AGENTS, DemoAgent, DemoBank
from caseway_control.docket import TOPICS, TYPES, open_dockets
from caseway_control.keys import key_path, load_key
from caseway_control.reading import events_of_topics, registry_of
from caseway_control.spaces import load_settings, open_space

COMMAND = [sys.executable, "-m", "caseway_control.cli"]
CLAIM = {
    "definition": "insurance-claim",
    "source": "portal",
    "key": "PC-1017",
    "facts": {
        "claimant": "person-9f86d081884c7d65",
        "payee": "person-9f86d081884c7d65",
        "amount": {"amount": "75000.00", "currency": "USD"},
        "incident_kind": "fire",
    },
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CASEWAY_")]:
        monkeypatch.delenv(name)


def environment(**settings: str) -> dict[str, str]:
    # Without a buffer, what is never flushed would be read all the same.
    dropped = ("CASEWAY_", "PYTHONUNBUFFERED")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    return {**plain, **settings, "PYTHONPATH": os.pathsep.join(sys.path)}


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str, input: str = "") -> Done:
    """One command in this process: what a command imports is paid once for all tests."""
    out, err = io.StringIO(), io.StringIO()
    stdin, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(input.encode()))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
    finally:
        sys.stdin = stdin
    return Done(code, out.getvalue(), err.getvalue())


def execute(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One command as a process of its own."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=environment(**settings),
    )


def commands() -> list[list[str]]:
    """Every command with its parents, as one would type it."""
    found = [[info.name or info.callback.__name__] for info in app.registered_commands]  # type: ignore[union-attr]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        found.append([str(group.name)])
        for info in group.typer_instance.registered_commands:
            assert info.callback is not None
            found.append([str(group.name), info.name or info.callback.__name__])
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    if command == ["control"]:
        return
    assert "Example: " in text or command == ["topics"]
    assert "--json" in text or command[0] in ("demo", "bench")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["submitt", "x"], "USAGE", "Did you mean 'submit'?"),
        (["control", "quarantin"], "USAGE", "'quarantine'"),
        (["submit", "x", "--mappin", "y"], "USAGE", "--mapping"),
        (["submit"], "USAGE", "FILE|-"),
        (["submit", "x", "--timeout", "soon"], "USAGE", "--timeout"),
        (["serve", "ruter"], "SERVICE_UNKNOWN", "did you mean 'router'?"),
        (["serve", "router"], "EMBEDDED_SERVE", "run `caseway up`"),
        (["up", "{empty}"], "NOT_INITIALISED", "caseway init"),
        (["inbox", "--log", "sqlite:{empty}"], "NOT_INITIALISED", "caseway init"),
        (["inbox", "--log", "redis://x"], "SETTING_INVALID", "kafka://host:port"),
        (["publish", "{empty}", "--sign", "{empty}/no.json"], "FOLDER_EMPTY", ".yaml"),
        (["publish", "{empty}/no.yaml", "--sign", "k"], "FILE_MISSING", "no.yaml"),
        (["case", "c-1", "--at", "yesterday"], "TIME_INVALID", "2026-11-21T09:00:00Z"),
        (["case", "c-1", "--at", "2026-02-30T00:00:00Z"], "TIME_INVALID", "--at"),
        (["case", "c-1", "--at", "2026-02-20T00:00:00"], "TIME_OFFSET", "offset"),
    ],
)
def test_an_error_is_one_block_with_what_to_do(
    arguments: list[str], code: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.replace("{empty}", str(tmp_path)) for argument in arguments]
    assert main(given) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error {code}\n")
    assert says in captured.err
    assert "Traceback" not in captured.err
    assert main([*given, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == code


@pytest.mark.parametrize(
    ("variable", "text", "code"),
    [
        ("CASEWAY_SHRDS", "4", "UNKNOWN_SETTING"),
        ("CASEWAY_POSTGRES_URL", "postgresql://a:hunter2@db/x", "SECRET_INLINE"),
        ("CASEWAY_HTTP_PORT", "no", "SETTING_INVALID"),
    ],
)
def test_a_wrong_setting_ends_every_command(
    variable: str,
    text: str,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, text)
    assert main(["doctor"]) == 2
    said = capsys.readouterr().err
    assert f"error {code}" in said
    assert "hunter2" not in said


def test_help_is_there_within_its_budget() -> None:
    """300 ms on a quiet machine; on a busy one, not much more than its framework alone."""

    def seconds(*command: str) -> float:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, *command], check=True, capture_output=True, env=environment()
        )
        return time.perf_counter() - began

    best = min(seconds("-m", "caseway_control.cli", "--help") for _ in range(5))
    floor = min(seconds("-c", "import typer") for _ in range(5))
    assert best < max(0.3, 2.5 * floor), f"--help took {best:.3f} s; importing typer {floor:.3f} s"


def run_python(code: str) -> None:
    """Run it in a process of its own, where nothing is imported yet; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 0, done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from caseway_control.cli import main; main(['--help']); "
        "heavy = {'pydantic', 'aiokafka', 'apsw', 'structlog', 'cryptography', 'asyncpg', "
        "'cel_expr_python', 'prometheus_client', 'asyncio'} & set(sys.modules); "
        "sys.exit(f'imported for --help: {heavy}' if heavy else 0)"
    )
    run_python(code)


def test_exit_codes_are_those_of_the_process() -> None:
    assert execute("--version").returncode == 0
    assert execute("nonsense").returncode == 2


def test_a_service_starts_without_what_draws_for_people() -> None:
    code = (
        "import sys; from caseway_control.cli import main; code = main(['serve', 'nonsense']); "
        "assert code == 2 and 'structlog' in sys.modules and 'rich' not in sys.modules; "
        "import rich.console"
    )
    run_python(code)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A founded directory."""
    directory = tmp_path_factory.mktemp("home") / "claims"
    done = run("init", str(directory))
    assert done.returncode == 0, done.stderr
    assert "DEMO KEYS" in done.stdout
    return directory


class Engine:
    """`caseway up` as a process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.start()

    def start(self) -> None:
        """Start, and wait until it is ready."""
        self.child = subprocess.Popen(
            [*COMMAND, "up", str(self.directory), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(CASEWAY_HTTP_PORT="0"),
        )
        assert self.child.stdout is not None
        self.port = int(json.loads(self.child.stdout.readline())["http_port"])

    def stop(self, number: signal.Signals) -> int:
        """Send a signal, and wait for the end."""
        self.child.send_signal(number)
        code = self.child.wait(20)
        assert self.child.stdout is not None
        self.child.stdout.close()
        return code


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[Engine]:
    """A running engine with the shipped documents in force."""
    made = Engine(home)
    keys = [f"--sign={home}/keys/root-{n}.json" for n in (1, 2)]
    done = run("publish", str(home / "insurance"), *keys, "--log", f"sqlite:{home}", "--json")
    assert done.returncode == 0, done.stderr
    assert {outcome["verdict"] for outcome in json.loads(done.stdout)} == {"accepted"}
    yield made
    if made.child.poll() is None:
        made.stop(signal.SIGTERM)


def ask(engine: Engine, *arguments: str, input: str = "") -> Any:
    done = run(*arguments, "--log", f"sqlite:{engine.directory}", "--json", input=input)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def submitted(engine: Engine, key: str) -> Any:
    text = json.dumps({**CLAIM, "key": key})
    return ask(engine, "submit", "-", input=text)["rows"][0]


def test_publishing_again_changes_nothing(engine: Engine) -> None:
    keys = [f"--sign={engine.directory}/keys/root-{n}.json" for n in (1, 2)]
    outcomes = ask(engine, "publish", str(engine.directory / "insurance"), *keys)
    assert {outcome["verdict"] for outcome in outcomes} == {"unchanged"}


def test_a_matrix_signed_by_one_is_refused(engine: Engine) -> None:
    matrix = engine.directory / "insurance" / "matrix.yaml"
    changed = engine.directory / "changed.yaml"
    changed.write_text(re.sub(r"version: 1", "version: 2", matrix.read_text()))
    key = f"--sign={engine.directory}/keys/root-1.json"
    done = run("publish", str(changed), key, "--log", f"sqlite:{engine.directory}")
    assert done.returncode == 1
    assert "refused matrix/claim-settlement: POLICY_SIGNATURES" in done.stdout


def test_a_signature_of_a_stranger_is_refused(engine: Engine, tmp_path: Path) -> None:
    stranger = tmp_path / "root-9.key"
    stranger.write_text("9f" * 32)
    done = run(
        *("control", "halt", "--reason", "x", f"--sign={stranger}"),
        *("--log", f"sqlite:{engine.directory}"),
    )
    assert done.returncode == 1
    assert "SIGNATURE_UNKNOWN" in done.stdout


def test_a_submission_is_admitted_once(engine: Engine) -> None:
    first = submitted(engine, "once")
    assert first["verdict"] == "admitted"
    again = submitted(engine, "once")
    assert (again["verdict"], again["case_id"]) == ("already admitted", first["case_id"])


def test_the_same_key_with_other_content_is_a_conflict(engine: Engine) -> None:
    submitted(engine, "conflict")
    facts = {**CLAIM["facts"], "incident_kind": "water"}  # type: ignore[dict-item]
    other = json.dumps({**CLAIM, "key": "conflict", "facts": facts})
    done = run("submit", "-", "--log", f"sqlite:{engine.directory}", input=other)
    assert done.returncode == 1
    assert "KEY_CONFLICT" in done.stderr


def test_a_killed_engine_goes_on_where_it_was(engine: Engine) -> None:
    case_id = submitted(engine, "killed")["case_id"]
    before = ask(engine, "case", case_id)
    assert engine.stop(signal.SIGKILL) == -signal.SIGKILL
    engine.start()
    assert submitted(engine, "killed")["verdict"] == "already admitted"
    assert ask(engine, "case", case_id)["state"] == before["state"]


def test_a_case_is_shown_as_it_stood(engine: Engine) -> None:
    case_id = submitted(engine, "stood")["case_id"]
    now = ask(engine, "case", case_id)
    assert now["state"]["phase"] == "intake"
    then = ask(engine, "case", case_id, "--at", "1")
    assert (then["sequence"], then["state"]["phase"]) == (1, "")
    for at in ("0", "99", "2020-01-01T00:00:00Z"):
        done = run("case", case_id, "--at", at, "--log", f"sqlite:{engine.directory}")
        assert done.returncode == 2
        assert "error RANGE" in done.stderr


def test_history_tells_causes_first(engine: Engine) -> None:
    case_id = submitted(engine, "told")["case_id"]
    types = [line["type"] for line in ask(engine, "history", case_id)]
    assert types[:3] == ["case.admitted", "case.opened", "phase.entered"]


def test_an_unknown_case_is_named(engine: Engine) -> None:
    done = run("case", "c-nobody", "--log", f"sqlite:{engine.directory}")
    assert done.returncode == 2
    assert "error CASE_UNKNOWN" in done.stderr


def test_a_case_without_a_gate_cannot_be_decided(engine: Engine) -> None:
    case_id = submitted(engine, "no-gate")["case_id"]
    log = ("--log", f"sqlite:{engine.directory}")
    done = run("decide", case_id, "--as", "clara", "--approve", "--yes", *log)
    assert done.returncode == 2
    assert "error GATE_NONE" in done.stderr


async def _work_until_a_gate_waits(directory: Path) -> None:
    """The demo agents, until their work has brought something to the claims manager."""
    settings = load_settings(log=f"sqlite:{directory}")
    start = {(f"offers.{pool}", n): 0 for pool in ("claims", "payments") for n in range(4)}
    async with open_space(settings) as space:
        work = []
        for name in DEMO_AGENTS:
            key = load_key(key_path(directory / "keys", f"agent:{name}"))
            client = Client(space.log, space.namespace, keys=[key])
            agent = DemoAgent(space.log, client, name, DemoBank())
            work.append(asyncio.create_task(agent.run(start=start)))
        registry = await registry_of(space.log)
        async with asyncio.timeout(20):
            while True:
                events = events_of_topics(
                    space.log, registry.generation, TOPICS, TYPES, lambda _done, _total: None
                )
                if any(docket.waiting_gates() for docket in await open_dockets(events)):
                    break
                await asyncio.sleep(0.1)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


def test_a_gate_is_shown_and_decided_by_whoever_may(engine: Engine) -> None:
    submitted(engine, "decided")
    asyncio.run(_work_until_a_gate_waits(engine.directory))
    item = ask(engine, "inbox", "--role", "claims-manager")[0]
    assert (item["kind"], item["row"], item["amount"]) == ("gate", "large", "75,000.00 USD")
    assert ask(engine, "inbox", "--person", "erik") == []
    log = ("--log", f"sqlite:{engine.directory}")
    case_id = item["case_id"]
    refused = run("decide", case_id, "--as", "adam", "--approve", "--yes", *log)
    assert (refused.returncode, "AUTHORITY" in refused.stdout) == (1, True)
    silent = run("decide", case_id, "--as", "clara", "--reject", *log)
    assert "error REASON_REQUIRED" in silent.stderr
    undecided = run("decide", case_id, "--as", "clara", *log)
    assert "error CHOICE" in undecided.stderr
    shown = run("decide", case_id, "--as", "clara", "--approve", *log)
    assert shown.returncode == 0
    for part in ("ASKED", "75,000.00 USD", "claims-manager", "48h", "confidence 0.97", "digest"):
        assert part in shown.stdout
    again = run("decide", case_id, "--as", "clara", "--approve", "--yes", *log)
    assert "error GATE_NONE" in again.stderr
    assert "gate.decided" in [line["type"] for line in ask(engine, "history", case_id)]


def test_what_waits_for_an_unknown_person_is_an_error(engine: Engine) -> None:
    done = run("inbox", "--person", "nobody", "--log", f"sqlite:{engine.directory}")
    assert "error PERSON_UNKNOWN" in done.stderr
    assert ask(engine, "inbox", "--person", "erik") == []


def test_agents_are_quarantined_and_released(engine: Engine) -> None:
    key = f"--sign={engine.directory}/keys/root-1.json"
    told = ("--reason", "wrong lines", key)
    for command, verdict in (("quarantine", "accepted"), ("quarantine", "unchanged")):
        (outcome,) = ask(engine, "control", command, "triage-1", *told)
        assert (outcome["name"], outcome["verdict"]) == ("agent/triage-1", verdict)
    (outcome,) = ask(engine, "control", "release", "triage-1", *told)
    assert outcome["verdict"] == "accepted"


def test_the_contract_level_rises_no_further_than_the_code_knows(engine: Engine) -> None:
    key = f"--sign={engine.directory}/keys/root-1.json"
    (outcome,) = ask(engine, "control", "raise", "1", key)
    assert outcome["verdict"] == "unchanged"
    done = run("control", "raise", "2", key, "--log", f"sqlite:{engine.directory}")
    assert done.returncode == 1
    assert "refused namespace/" in done.stdout
    assert "LEVEL_UNKNOWN" in done.stdout


def test_a_second_engine_is_refused(engine: Engine) -> None:
    done = execute("up", str(engine.directory), CASEWAY_HTTP_PORT="0")
    assert done.returncode == 2
    assert "error ENGINE_RUNNING" in done.stderr


def test_a_taken_port_is_named(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert run("init", str(other), "--no-demo").returncode == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = execute("up", str(other), CASEWAY_HTTP_PORT=port)
    assert done.returncode == 2
    assert "error PORT_IN_USE" in done.stderr


def test_topics_and_doctor_of_a_directory_are_well(engine: Engine) -> None:
    assert all(topic["is_there"] for topic in ask(engine, "topics"))
    assert ask(engine, "topics", "create") == {"created": []}
    assert ask(engine, "doctor") == []


def test_a_reader_that_goes_away_is_no_error(engine: Engine) -> None:
    line = f"{' '.join(COMMAND)} topics --log sqlite:{engine.directory} | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_output_has_no_colour_where_no_terminal_is(engine: Engine) -> None:
    done = run("topics", "--log", f"sqlite:{engine.directory}")
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "FILE_EMPTY"),
        (b"\xff\xfe{", "FILE_ENCODING"),
        (b'{"key": "\xc3', "FILE_TRUNCATED"),
        (b'{"key": ', "JSON_INVALID"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    engine: Engine, tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "claim.json"
    path.write_bytes(content)
    done = run("submit", str(path), "--log", f"sqlite:{engine.directory}")
    assert done.returncode == 2
    assert f"error {code}" in done.stderr


def test_csv_needs_a_mapping(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "claims.csv"
    path.write_text("a,b\n1,2\n")
    done = run("submit", str(path), "--log", f"sqlite:{engine.directory}")
    assert "error MAPPING_MISSING" in done.stderr


def test_a_stopped_engine_drains_and_an_interrupted_one_says_130(engine: Engine) -> None:
    assert engine.stop(signal.SIGTERM) == 0
    log = ("--log", f"sqlite:{engine.directory}")
    text = json.dumps({**CLAIM, "key": "nobody-answers"})
    done = run("submit", "-", "--timeout", "0.5", *log, input=text)
    assert done.returncode == 2
    assert "error NO_ANSWER" in done.stderr
    engine.start()
    assert ask(engine, "submit", "-", input=text)["rows"][0]["verdict"] == "already admitted"
    assert engine.stop(signal.SIGINT) == 130
