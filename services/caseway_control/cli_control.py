"""Commands that change what is in force, by signed control records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from caseway_control.cli_output import (
    DONE,
    REFUSED,
    JsonOption,
    LogOption,
    SignOption,
    TimeoutOption,
    emit,
    in_space,
)

_control = typer.Typer(help="Stop agents, halt, drive faulted cases again, raise the level.")
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept for ever.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(publish)
    app.add_typer(_control, name="control", no_args_is_help=True)


def publish(
    documents: Annotated[
        list[str],
        typer.Argument(help="YAML or JSON files, or folders of them.", metavar="FILE|DIR"),
    ],
    sign: SignOption,
    log: LogOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Publish definitions, matrices, people and agents.

    A matrix needs two signatures. What is in force already is left as it is.

    Example: caseway publish ./claims/insurance --sign keys/root-1.json --sign keys/root-2.json
    """
    from pathlib import Path  # noqa: PLC0415 - not for --help

    from caseway_control.bootstrap import publish as publish_all  # noqa: PLC0415
    from caseway_control.bootstrap import read_folder  # noqa: PLC0415

    found = read_folder([Path(document) for document in documents])
    keys = _keys(sign)

    async def body(space: Any) -> Any:
        return await publish_all(space.log, found, keys, timeout_s=timeout)

    _show(in_space(log, body), as_json)


@_control.command()
def quarantine(
    agent: Annotated[str, typer.Argument(help="The agent's id.")],
    reason: Reason,
    sign: SignOption,
    log: LogOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Stop an agent at once on every shard; its leases are revoked.

    Example: caseway control quarantine triage-1 --reason "wrong lines" --sign keys/root-1.json
    """
    from caseway.contracts.control import QuarantineAgent  # noqa: PLC0415 - not for --help

    _wish(
        lambda namespace, at: (
            f"agent/{agent}",
            QuarantineAgent(namespace=namespace, expires_at=at, agent_id=agent, reason=reason),
        ),
        sign,
        log,
        timeout,
        as_json,
    )


@_control.command()
def release(
    agent: Annotated[str, typer.Argument(help="The agent's id.")],
    reason: Reason,
    sign: SignOption,
    log: LogOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Let a quarantined agent work again.

    Example: caseway control release triage-1 --reason "mended" --sign keys/root-1.json
    """
    from caseway.contracts.control import ReleaseAgent  # noqa: PLC0415 - not for --help

    _wish(
        lambda namespace, at: (
            f"agent/{agent}",
            ReleaseAgent(namespace=namespace, expires_at=at, agent_id=agent, reason=reason),
        ),
        sign,
        log,
        timeout,
        as_json,
    )


@_control.command()
def halt(
    reason: Reason,
    sign: SignOption,
    log: LogOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Offer no work to agents and permit no effects; people can still decide.

    Example: caseway control halt --reason "audit" --sign keys/root-1.json
    """
    from caseway.contracts.control import HaltNamespace  # noqa: PLC0415 - not for --help

    _wish(
        lambda namespace, at: (
            f"namespace/{namespace}",
            HaltNamespace(namespace=namespace, expires_at=at, reason=reason),
        ),
        sign,
        log,
        timeout,
        as_json,
    )


@_control.command()
def resume(
    reason: Reason,
    sign: SignOption,
    log: LogOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """End a halt.

    Example: caseway control resume --reason "audit done" --sign keys/root-1.json
    """
    from caseway.contracts.control import ResumeNamespace  # noqa: PLC0415 - not for --help

    _wish(
        lambda namespace, at: (
            f"namespace/{namespace}",
            ResumeNamespace(namespace=namespace, expires_at=at, reason=reason),
        ),
        sign,
        log,
        timeout,
        as_json,
    )


@_control.command()
def redrive(
    case: Annotated[str, typer.Argument(help="The case id.")],
    reason: Reason,
    sign: SignOption,
    log: LogOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Decide the parked inputs of a faulted case again, after the fix.

    Example: caseway control redrive c-ade4f5010e0358d4e78db39a --reason fixed --sign root-1.json
    """
    from caseway.contracts.control import RedriveCase  # noqa: PLC0415 - not for --help

    _wish(
        lambda namespace, at: (
            f"case/{case}",
            RedriveCase(namespace=namespace, expires_at=at, case_id=case, reason=reason),
        ),
        sign,
        log,
        timeout,
        as_json,
    )


@_control.command("raise")
def raise_level(
    level: Annotated[int, typer.Argument(help="The contract level.", min=1)],
    sign: SignOption,
    log: LogOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Let services write the event versions of a contract level; it never falls again.

    First deploy the version that knows the level to every service: until the level is raised you
    can roll back freely, and afterwards an older service waits.

    Example: caseway control raise 2 --sign keys/root-1.json
    """
    from caseway.contracts.control import RaiseContractLevel  # noqa: PLC0415 - not for --help

    _wish(
        lambda namespace, at: (
            f"namespace/{namespace}",
            RaiseContractLevel(namespace=namespace, expires_at=at, level=level),
        ),
        sign,
        log,
        timeout,
        as_json,
    )


def _wish(
    make: Callable[[str, Any], tuple[str, Any]],
    sign: list[str],
    log: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    from pydantic import ValidationError  # noqa: PLC0415 - not for --help

    from caseway.contracts.strict_json import contract_error  # noqa: PLC0415
    from caseway_control.bootstrap import expiry, send_wishes  # noqa: PLC0415
    from caseway_control.reading import registry_of  # noqa: PLC0415

    keys = _keys(sign)

    async def body(space: Any) -> Any:
        registry = await registry_of(space.log)
        try:
            wish = make(registry.namespace, expiry())
        except ValidationError as error:
            raise contract_error(error) from None
        return await send_wishes(space.log, registry, [wish], keys, timeout_s=timeout)

    _show(in_space(log, body), as_json)


def _keys(files: list[str]) -> list[Any]:
    from pathlib import Path  # noqa: PLC0415 - not for --help

    from caseway_control.keys import load_key  # noqa: PLC0415

    return [load_key(Path(file)) for file in files]


def _show(outcomes: list[Any], as_json: bool) -> None:
    def show(out: Any) -> None:
        for outcome in outcomes:
            why = f": {outcome.code}: {outcome.message}" if outcome.code else ""
            out.print(f"{outcome.verdict} {outcome.name}{why}", markup=False)

    emit(as_json, [asdict(outcome) for outcome in outcomes], show)
    raise typer.Exit(REFUSED if any(o.verdict == "refused" for o in outcomes) else DONE)
