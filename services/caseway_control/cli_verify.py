"""The command that verifies a whole namespace from its logs alone."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from caseway_control.cli_output import (
    DONE,
    REFUSED,
    JsonOption,
    LogOption,
    emit,
    in_space,
    progress,
)


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(verify)


def verify(
    checkpoint_key: Annotated[
        str,
        typer.Option("--checkpoint-key", help="The public key as init printed it; else believed."),
    ] = "",
    note: Annotated[
        str | None, typer.Option("--note", help="A file with a checkpoint's note kept elsewhere.")
    ] = None,
    log: LogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify the namespace from its logs alone.

    Replays every log, rebuilds every tree, compares states, snapshots and signed checkpoints.

    Example: caseway verify --log sqlite:./claims
    """

    async def body(space: Any) -> Any:
        from pathlib import Path  # noqa: PLC0415 - not for --help

        from caseway_control.files import read_text  # noqa: PLC0415
        from caseway_control.verification import Anchors, Verifier  # noqa: PLC0415

        anchors = Anchors(checkpoint_key, read_text(Path(note)) if note else "")
        with progress("verifying", is_shown=not as_json) as tell:
            verifier = Verifier(
                space.log,
                pools=space.settings.pool_names,
                anchors=anchors,
                told=lambda step: tell(step.records, 0, f"{step.stage} {step.place}"),
            )
            return await verifier.run()

    found = in_space(log, body)
    verdict = {"is_intact": found.is_intact, "is_complete": found.is_complete}
    emit(
        as_json,
        {**found.model_dump(mode="json"), **verdict},
        lambda out: out.print(_text(found), markup=False),
    )
    raise typer.Exit(DONE if found.is_intact and found.is_complete else REFUSED)


def _text(found: Any) -> str:
    lines = [
        f"namespace {found.namespace}, generation {found.generation}",
        f"{found.checkpoints} checkpoints over {found.sealed_records} records "
        f"({found.unsealed_records} not sealed yet, {found.expired_records} expired)",
        f"{found.batches} batches, {found.events} events, {found.torn_records} torn records, "
        f"{found.snapshots_compared} snapshots compared",
    ]
    for service, states in found.services.items():
        lines.append(f"{service}: {states.cases} cases, states digest {states.digest[:16]}…")
    for finding in found.findings:
        at = f"@{finding.offset}" if finding.offset >= 0 else ""
        lines.append(
            f"{finding.code.value} {finding.place}{at}: {finding.detail}\n"
            f"  expected: {finding.expected}\n  found: {finding.found}"
        )
    lines.append(f"integrity: {'proven' if found.is_intact else 'BROKEN'}")
    lines.append(f"completeness: {'proven' if found.is_complete else 'BROKEN'}")
    return "\n".join(lines)
