"""Commands that found a namespace, run it, provision it and look after it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer

from caseway_control.cli_output import (
    DONE,
    REFUSED,
    JsonOption,
    LogOption,
    emit,
    in_space,
    note,
    table,
)

_topics = typer.Typer(help="List the topics of the namespace, or create what is missing.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(init)
    app.command()(up)
    app.command()(serve)
    app.add_typer(_topics, name="topics", invoke_without_command=True)
    app.command()(doctor)


def init(
    directory: Annotated[
        str | None,
        typer.Argument(
            help="The embedded directory; on Kafka, where the keys go.", show_default=False
        ),
    ] = None,
    no_demo: Annotated[
        bool, typer.Option("--no-demo", help="No demo persons, agents and documents.")
    ] = False,
    log: LogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make keys, topics and the genesis; may be run again.

    Example: caseway init ./claims
    """
    import asyncio  # noqa: PLC0415 - not for --help
    from pathlib import Path  # noqa: PLC0415

    from caseway_control.founding import found_namespace  # noqa: PLC0415
    from caseway_control.spaces import home_of, load_settings  # noqa: PLC0415

    settings = load_settings(log=_log_of(directory, log))
    home = home_of(settings)
    keys = home.keys if home is not None else Path(directory or "caseway-keys")
    founded = asyncio.run(found_namespace(settings, keys, is_demo=not no_demo))
    data = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(founded).items()
    }

    emit(as_json, data, lambda out: _show_founded(out, founded))


def up(
    directory: Annotated[
        str | None, typer.Argument(help="The embedded directory.", show_default=False)
    ] = None,
    log: LogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run all services in this process until stopped.

    Killed or not, the next start goes on exactly where this one was.

    Example: caseway up ./claims
    """
    with _loading():
        from caseway_control.wiring import SERVICES  # noqa: PLC0415 - not for --help

    _serve(SERVICES, _log_of(directory, log), as_json)


def serve(
    service: Annotated[
        str, typer.Argument(help="intake, router, approval, sla_watchdog or audit.")
    ],
    log: LogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one service on Kafka until stopped.

    This is the entry point of a container.

    Example: CASEWAY_LOG=kafka://broker:9092 caseway serve router
    """
    from difflib import get_close_matches  # noqa: PLC0415 - not for --help

    with _loading():
        from caseway.errors import ConfigError  # noqa: PLC0415
        from caseway_control.spaces import load_settings  # noqa: PLC0415
        from caseway_control.wiring import SERVICES  # noqa: PLC0415

    if service not in SERVICES:
        near = get_close_matches(service, SERVICES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(SERVICES)}"
        raise ConfigError(f"{service!r} is not a service; {hint}", code="SERVICE_UNKNOWN")
    if load_settings(log=log).address.kind == "sqlite":
        raise ConfigError(
            "an embedded directory is owned by one process; run `caseway up`, or set CASEWAY_LOG "
            "to a Kafka cluster",
            code="EMBEDDED_SERVE",
        )
    _serve((service,), log, as_json)


@_topics.callback()
def list_topics(context: typer.Context, log: LogOption = None, as_json: JsonOption = False) -> None:
    """List the topics of the namespace.

    Example: caseway topics
    """
    if context.invoked_subcommand is not None:
        return

    async def body(space: Any) -> list[dict[str, Any]]:
        from caseway.contracts.topics import all_topics  # noqa: PLC0415 - not for --help

        wanted = all_topics(space.settings.pool_names)
        there = await space.log.describe(wanted)
        return [
            {
                "topic": topic.name,
                "kind": topic.kind.value,
                "writer": topic.writer,
                "is_there": topic.name in there,
                "partitions": there[topic.name].partitions if topic.name in there else None,
            }
            for topic in wanted
        ]

    rows = in_space(log, body)
    cells = [
        [r["topic"], r["kind"], r["writer"], str(r["partitions"]) if r["is_there"] else "missing"]
        for r in rows
    ]
    emit(as_json, rows, lambda out: table(out, ("topic", "kind", "writer", "partitions"), cells))


@_topics.command("create")
def create_topics(log: LogOption = None, as_json: JsonOption = False) -> None:
    """Create the topics that are missing, with the settings they need; may be run again.

    Example: caseway topics create --log kafka://localhost:9092
    """

    async def body(space: Any) -> list[str]:
        from caseway.contracts.topics import all_topics  # noqa: PLC0415 - not for --help

        return list(await space.log.create_topics(all_topics(space.settings.pool_names)))

    created = in_space(log, body)
    text = "\n".join(f"created {name}" for name in created) or "every topic is there"
    emit(as_json, {"created": created}, lambda out: out.print(text, markup=False))


def doctor(log: LogOption = None, as_json: JsonOption = False) -> None:
    """Compare the namespace with what it must be.

    Each finding names the exact command that mends it. Nothing is changed.

    Example: caseway doctor --log kafka://localhost:9092
    """

    async def body(space: Any) -> list[Any]:
        from caseway_control.doctor import diagnose  # noqa: PLC0415 - not for --help

        return await diagnose(space)

    findings = in_space(log, body)

    def show(out: Any) -> None:
        for finding in findings:
            out.print(
                f"{finding.severity} {finding.code}\n  {finding.where} {finding.what}\n"
                f"  do: {finding.command}",
                markup=False,
            )
        out.print(f"{len(findings)} findings" if findings else "all is as it must be")

    emit(as_json, [asdict(finding) for finding in findings], show)
    raise typer.Exit(REFUSED if any(f.severity == "error" for f in findings) else DONE)


def _show_founded(out: Any, founded: Any) -> None:
    out.print(
        f"namespace {founded.namespace}, generation {founded.generation}, {founded.shards} "
        f"shards on {founded.where}\n{founded.topics_created} topics and "
        f"{founded.genesis_written} genesis records written; keys in {founded.keys}",
        markup=False,
    )
    if founded.documents is None:
        return
    out.print(
        "THESE ARE DEMO KEYS: whoever has this directory can decide and pay; "
        "for real use run `caseway init --no-demo` and keep the keys apart",
        style="bold red",
    )
    signed = " ".join(f"--sign {founded.keys}/root-{n}.json" for n in (1, 2))
    out.print(f"next: caseway up --log {founded.where}", markup=False)
    then = f"then: caseway publish {founded.documents} {signed} --log {founded.where}"
    out.print(then, markup=False)


def _log_of(directory: str | None, log: str | None) -> str | None:
    import os  # noqa: PLC0415 - not for --help

    if directory is None or log is not None:
        return log
    on_kafka = os.environ.get("CASEWAY_LOG", "").startswith("kafka:")
    return None if on_kafka else f"sqlite:{directory}"


@contextmanager
def _loading() -> Iterator[None]:
    """What is imported within stays: the collector looks through it neither now, which is a tenth
    of a start, nor at every full collection of a service's life. And structlog takes rich along
    where it finds it, for traces that no service draws: another tenth."""
    is_hidden = "rich" not in sys.modules
    if is_hidden:
        sys.modules["rich"] = None  # type: ignore[assignment]  # Python's word for "not there"
    gc.disable()
    try:
        yield
    finally:
        if is_hidden:
            del sys.modules["rich"]
        gc.freeze()
        gc.enable()


# Under the 30 s that Kubernetes gives a pod, and above the drain of a shard.
_DRAIN_MAX_S = 15.0


def _serve(services: tuple[str, ...], log: str | None, as_json: bool) -> None:
    import asyncio  # noqa: PLC0415 - not for --help
    import signal  # noqa: PLC0415

    from caseway_control.cli_output import print_json  # noqa: PLC0415
    from caseway_control.draining import cut_after  # noqa: PLC0415
    from caseway_control.spaces import load_settings, open_space  # noqa: PLC0415
    from caseway_control.wiring import Engine, own_directory, run_services  # noqa: PLC0415

    settings = load_settings(log=log)

    def announce(_engine: Engine, port: int) -> None:
        if as_json:
            print_json({"services": services, "log": str(settings.address), "http_port": port})
        else:
            note(
                f"{', '.join(services)} on {settings.address}; probes and metrics on "
                f"http://{settings.http_host}:{port}; stop with Ctrl-C or SIGTERM"
            )

    async def body() -> None:
        async with open_space(settings) as space:
            own_directory(space.log)
            task = asyncio.current_task()
            assert task is not None
            loop = asyncio.get_running_loop()

            def stop(number: signal.Signals) -> None:
                signals.append(number)
                cut_after(_DRAIN_MAX_S, loop, 128 + number)
                task.cancel()

            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop, number)
            await run_services(space, services, announce)

    signals: list[signal.Signals] = []
    try:
        asyncio.run(body())
    except asyncio.CancelledError:
        if signal.SIGINT in signals:
            raise KeyboardInterrupt from None
        note("drained and stopped")
