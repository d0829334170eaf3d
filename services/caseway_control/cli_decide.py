"""The command that decides a gate: one screen of all that an approver must see, then the answer."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from caseway_control.cli_output import (
    DONE,
    REFUSED,
    JsonOption,
    LogOption,
    TimeoutOption,
    console,
    emit,
    in_space,
    progress,
)
from caseway_control.cli_read import fact_text, left


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(decide)


def decide(  # noqa: PLR0913, PLR0917 - each is an option of its own
    case_id: Annotated[str, typer.Argument(metavar="CASE", help="The case id.")],
    person: Annotated[str, typer.Option("--as", help="Who decides.")],
    key: Annotated[
        str | None,
        typer.Option("--key", help="That person's key file; a demo directory has it."),
    ] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Approve.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Reject; needs a reason.")] = False,
    send_back: Annotated[
        bool, typer.Option("--send-back", help="Send back for rework; needs a reason.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept for ever.")] = "",
    gate: Annotated[
        str | None, typer.Option("--gate", help="Which gate, if several of the case wait.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask again.")] = False,
    log: LogOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Show what is to be decided, and decide it.

    The decision is bound to exactly what was shown.

    Example: caseway decide c-ade4f5010e0358d4e78db39a --approve --as clara --key clara.json
    """
    named = {"approve": approve, "reject": reject, "send_back": send_back}
    chosen = [name for name, is_given in named.items() if is_given]

    async def body(space: Any) -> Any:
        from caseway_control.deciding import Desk  # noqa: PLC0415 - not for --help

        with progress("reading", is_shown=not as_json) as tell:
            desk = await Desk.open(space, case_id, gate, tell)
        signer = desk.signer(person, key)
        if not (as_json or (yes and chosen)):
            _show(console(), desk)
        choice = desk.choice(chosen, reason, ask=_ask if _may_ask(as_json, yes) else None)
        if choice is None:
            return None
        return await desk.decide(signer, choice, timeout)

    result = in_space(log, body)
    if result is None:
        emit(as_json, {"verdict": "nothing sent"}, lambda out: out.print("nothing was sent"))
        raise typer.Exit(REFUSED)
    emit(as_json, result.data, lambda out: out.print(result.text, markup=False))
    raise typer.Exit(DONE if result.is_accepted else REFUSED)


def _may_ask(as_json: bool, yes: bool) -> bool:
    return sys.stdin.isatty() and not yes and not as_json


def _ask(question: str) -> str:
    return str(typer.prompt(question, default="", show_default=False, err=True))


def _show(out: Any, desk: Any) -> None:
    """One screen: the question, the authority, the time left, the evidence, the work behind it."""
    asked, opened, docket = desk.asked, desk.opened, desk.docket
    bench = desk.gate.bench
    lines = [
        f"{docket.title}  {docket.case_id}",
        f"ASKED    to approve {asked.amount} in phase {asked.phase}",
        f"ROW      {opened.row} of {opened.matrix}",
        *(f"         {cell}" for cell in opened.cells),
        f"DECIDES  {' and '.join(bench.outstanding)}"
        + (f" (rung {bench.level})" if bench.level else ""),
        f"THEN     {' → '.join(' + '.join(rung) for rung in bench.rungs) or 'nobody above'}",
        f"SLA      {opened.sla}; {left(docket.due.get(asked.gate_id))} left",
        "FACTS",
    ]
    lines += [f"  {name}: {fact_text(value)}" for name, value in asked.shows.items()]
    lines += [
        f"  {name}: {fact_text(value) if value is not None else 'none'}  (bound)"
        for name, value in asked.material.items()
        if name != "evidence"
    ]
    lines += ["EVIDENCE", *_evidence(asked.material.get("evidence") or asked.shows.get("evidence"))]
    lines.append("WORK")
    for done in docket.work:
        by = f" ({done.model})" if done.model else ""
        lines.append(f"  {done.task_id} by {done.holder}{by}, confidence {done.confidence}")
        if done.rationale:
            lines.append(f"    {done.rationale}")
        lines += [f"    called {call.name}: {call.outcome}" for call in done.systems]
    lines.append(f"BOUND TO revision {asked.revision}, digest {asked.digest[:16]}…")
    out.print("\n".join(line for line in lines if line), markup=False)


def _evidence(references: Any) -> list[str]:
    if not references:
        return ["  none"]
    return [
        f"  {r['uri']}  {r['media_type']}, {r['size_bytes']:,} bytes, sha256 {r['sha256'][:12]}…"
        for r in references
    ]
