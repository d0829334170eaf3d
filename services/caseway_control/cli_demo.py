"""Commands that show and measure: the reference story, and what a case costs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from caseway_control.cli_output import DONE, REFUSED, JsonOption, emit, note, table


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(demo)
    app.command()(bench)


def demo(
    directory: Annotated[
        str | None,
        typer.Argument(help="Keep everything in this directory.", show_default=False),
    ] = None,
    decide: Annotated[
        str,
        typer.Option(
            envvar="DECIDE",
            help="approve: the demo's claims manager decides; else you do, if on a terminal.",
        ),
    ] = "",
) -> None:
    """Run the 75,000 USD claim from submission to payment, with the engine killed on the way.

    Example: caseway demo
    """
    import asyncio  # noqa: PLC0415 - not for --help
    import sys  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from caseway.errors import ConfigError  # noqa: PLC0415
    from caseway_control.demo import run_demo  # noqa: PLC0415

    if decide not in ("", "approve"):
        raise ConfigError("--decide takes approve, or nothing to decide yourself", code="OPTION")
    is_scripted = decide == "approve" or not sys.stdin.isatty()
    told = asyncio.run(run_demo(Path(directory) if directory else None, is_scripted=is_scripted))
    raise typer.Exit(DONE if told else REFUSED)


def bench(
    cases: Annotated[int, typer.Option(help="Claims at once, for cases a second.")] = 1_000,
    per_second: Annotated[int, typer.Option(help="Claims a second, for latency.")] = 5,
    seconds: Annotated[int, typer.Option(help="How long that lasts.")] = 20,
    parked: Annotated[int, typer.Option(help="Open cases at recovery.")] = 10_000,
    history: Annotated[int, typer.Option(help="Closed cases, as a multiple of those.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Measure the reference claim on Kafka and embedded, beside a floor without logic.

    Example: caseway bench --cases 300 --parked 1000
    """
    import asyncio  # noqa: PLC0415 - not for --help

    from caseway.ops.logs import configure_logs  # noqa: PLC0415
    from caseway_control.bench import Plan, run_bench  # noqa: PLC0415

    configure_logs("error")
    plan = Plan(cases, per_second, seconds, parked, history)
    result = asyncio.run(run_bench(plan, note))
    rows = result["figures"]
    names = [name for name in rows[0] if name not in ("log", "notes")]
    cells = [[name, *(_cell(row[name]) for row in rows)] for name in names]

    def show(out: Any) -> None:
        out.print(", ".join(f"{k} {v}" for k, v in result["machine"].items()), markup=False)
        table(out, ("figure", *(row["log"] for row in rows)), cells)

    emit(as_json, result, show)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
