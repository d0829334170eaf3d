"""The command that submits cases from a file or a pipe."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from caseway_control.cli_output import (
    DONE,
    REFUSED,
    JsonOption,
    LogOption,
    TimeoutOption,
    in_space,
    note,
    print_json,
    progress,
)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(submit)


def submit(  # noqa: PLR0913, PLR0917 - each is an option of its own
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON, JSON lines or CSV.")],
    mapping: Annotated[
        str | None, typer.Option("--mapping", help="YAML that maps columns to facts; for CSV.")
    ] = None,
    definition: Annotated[str, typer.Option("--definition", help="For rows that name none.")] = "",
    source: Annotated[str, typer.Option("--source", help="For rows that name none.")] = "",
    key: Annotated[str, typer.Option("--key", help="For one object that names none.")] = "",
    pseudonym_key: Annotated[
        str | None,
        typer.Option("--pseudonym-key", help="The key file of pseudonyms; a directory has one."),
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait until intake has judged them.")
    ] = False,
    log: LogOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Submit cases from a file or a pipe.

    The same file again changes nothing, so an interrupted run is simply run again.

    Example: caseway submit claims.csv --mapping claims-mapping.yaml
    """

    async def body(space: Any) -> list[Any]:
        from caseway.client import Client  # noqa: PLC0415 - not for --help
        from caseway_control.reading import registry_of  # noqa: PLC0415
        from caseway_control.submitting import Defaults  # noqa: PLC0415

        defaults = Defaults(definition, source, key)
        rows = list(_rows(space, file, mapping, pseudonym_key, defaults))
        registry = await registry_of(space.log)
        client = Client(space.log, registry.namespace, source="/caseway/submit")
        ready, fates = _check(rows, registry, client, as_json)
        return fates + await _send(space, registry, ready, timeout, no_wait, as_json)

    _tell(in_space(log, body), as_json)


def _check(
    rows: list[Any], registry: Any, client: Any, as_json: bool
) -> tuple[list[Any], list[Any]]:
    """What may be sent, and what is wrong with the rest; told at once, before anything is sent."""
    from caseway_control.submitting import prepare  # noqa: PLC0415 - not for --help

    ready: list[Any] = []
    fates: list[Any] = []
    with progress("checking", is_shown=not as_json) as tell:
        for number, made in enumerate(prepare(rows, registry, client), 1):
            tell(number, len(rows))
            if isinstance(made, list):
                fates += made
            else:
                ready.append(made)
    for fate in fates:
        _refusal(fate, as_json)
    return ready, fates


def _tell(fates: list[Any], as_json: bool) -> None:
    counts = {verdict: len(places) for verdict, places in _by_verdict(fates).items()}
    if as_json:
        print_json({"counts": counts, "rows": [asdict(fate) for fate in fates]})
    else:
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
        typer.echo(told or "nothing to submit")
        if len(fates) == 1 and fates[0].case_id:
            typer.echo(f"case {fates[0].case_id}")
    is_wrong = any(verdict in counts for verdict in ("refused", "faulted"))
    raise typer.Exit(REFUSED if is_wrong else DONE)


async def _send(
    space: Any, registry: Any, ready: list[Any], timeout_s: float, no_wait: bool, as_json: bool
) -> list[Any]:
    from caseway_control.submitting import Fate, follow, intake_ends, send  # noqa: PLC0415

    since = await intake_ends(space.log)
    sent: dict[Any, Any] = {}
    with progress("sending", is_shown=not as_json) as tell:
        async for item, at in send(space.log, ready):
            sent[at] = item
            tell(len(sent), len(ready))
    if no_wait:
        return [Fate(i.row.place, i.row.key, i.case_id, "sent") for i in sent.values()]
    fates = []
    with progress("waiting for admission", is_shown=not as_json) as tell:
        async for fate in follow(space.log, registry.generation, sent, since, timeout_s):
            fates.append(fate)
            tell(len(fates), len(sent))
    for fate in fates:
        if fate.verdict in ("refused", "faulted"):
            _refusal(fate, as_json)
    return fates


def _rows(
    space: Any, file: str, mapping: str | None, pseudonym_key: str | None, defaults: Any
) -> Any:
    import sys  # noqa: PLC0415 - not for --help
    from pathlib import Path  # noqa: PLC0415

    from caseway.errors import ConfigError  # noqa: PLC0415
    from caseway_control.files import decode_text, read_file, read_text  # noqa: PLC0415
    from caseway_control.keys import PSEUDONYM, key_path, load_secret  # noqa: PLC0415
    from caseway_control.mapping import load_mapping, needs_key, read_csv  # noqa: PLC0415
    from caseway_control.submitting import read_json  # noqa: PLC0415

    if file == "-":
        name, text = "standard input", decode_text(sys.stdin.buffer.read(), "standard input")
        if not text.strip():
            raise ConfigError(f"{name}: is empty; pipe JSON or CSV in", code="BODY_EMPTY")
    else:
        name, text = file, read_text(Path(file))
    if mapping is None:
        if file.lower().endswith(".csv"):
            raise ConfigError(
                f"{file}: is CSV; name a mapping of its columns with --mapping",
                code="MAPPING_MISSING",
            )
        return read_json(text, name, defaults)
    spec = load_mapping(read_file(Path(mapping)), mapping)
    secret = b""
    if needs_key(spec):
        path = Path(pseudonym_key) if pseudonym_key else None
        if path is None and space.home is not None:
            path = key_path(space.home.keys, PSEUDONYM)
        if path is None:
            raise ConfigError(
                f"{mapping}: makes pseudonyms, and they need a key; name its file with "
                "--pseudonym-key",
                code="KEY_MISSING",
            )
        secret = load_secret(path).seed
    return read_csv(text, name, spec, secret)


def _refusal(fate: Any, as_json: bool) -> None:
    if not as_json:
        key = f" key {fate.key!r}" if fate.key else ""
        note(f"{fate.verdict} {fate.place}{key}: {fate.code} {fate.where}: {fate.message}")


def _by_verdict(fates: list[Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for fate in fates:
        found.setdefault(fate.verdict, set()).add(fate.place)
    return found
