"""Commands that read: who must do what, how a case stands or stood, and how it came to that."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from caseway_control.cli_output import JsonOption, LogOption, emit, in_space, progress, table


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(inbox)
    app.command()(case)
    app.command()(history)


def inbox(
    role: Annotated[
        str | None, typer.Option("--role", help="What waits for this role or queue.")
    ] = None,
    person: Annotated[
        str | None, typer.Option("--person", help="What waits for any role of this person.")
    ] = None,
    log: LogOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what waits for people.

    The nearest deadline comes first.

    Example: caseway inbox --role claims-manager
    """

    async def body(space: Any) -> list[Any]:
        from caseway_control.docket import TOPICS, TYPES, open_dockets  # noqa: PLC0415
        from caseway_control.reading import events_of_topics, registry_of  # noqa: PLC0415

        registry = await registry_of(space.log)
        roles = _roles(registry, role, person)
        with progress("reading", is_shown=not as_json) as tell:
            events = events_of_topics(space.log, registry.generation, TOPICS, TYPES, tell)
            dockets = await open_dockets(events)
        found = [item for docket in dockets for item in docket.items()]
        shown = [item for item in found if roles is None or roles & set(item.roles)]
        return sorted(shown, key=lambda item: (item.due_at is None, item.due_at or 0, item.since))

    items = in_space(log, body)

    def show(out: Any) -> None:
        if not items:
            out.print("nothing waits")
            return
        headers = ("case", "what", "waits for", "amount", "row", "due in")
        rows = [
            (i.case_id, f"{i.kind} {i.name}", " + ".join(i.roles), i.amount, i.row, left(i.due_at))
            for i in items
        ]
        table(out, headers, rows)

    emit(as_json, [item.data() for item in items], show)


def case(
    case_id: Annotated[str, typer.Argument(metavar="ID", help="The case id.")],
    at: Annotated[
        str | None,
        typer.Option("--at", help="A time with its offset, or the number of an event of the case."),
    ] = None,
    log: LogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a case as it stands or stood.

    Example: caseway case c-ade4f5010e0358d4e78db39a --at 2026-11-21T09:00:00Z
    """
    moment = _moment(at)

    async def body(space: Any) -> Any:
        from caseway.casefile.history import view  # noqa: PLC0415 - not for --help
        from caseway.errors import ConfigError  # noqa: PLC0415
        from caseway_control.reading import events_of_case, registry_of  # noqa: PLC0415

        registry = await registry_of(space.log)
        with progress("reading", is_shown=not as_json) as tell:
            events = await events_of_case(space.log, registry.generation, case_id, tell)
        found = view(case_id, events, moment)
        if found is None:
            raise ConfigError(
                f"case {case_id!r} was never opened; `caseway history` says what became of it",
                code="CASE_UNKNOWN",
            )
        return found

    found = in_space(log, body)
    emit(as_json, _case_data(found), lambda out: _show_case(out, found))


def history(
    case_id: Annotated[str, typer.Argument(metavar="ID", help="The case id.")],
    log: LogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell the whole history of a case.

    It merges all logs; a cause stands before what it caused.

    Example: caseway history c-ade4f5010e0358d4e78db39a
    """

    async def body(space: Any) -> list[Any]:
        from caseway.casefile.history import timeline  # noqa: PLC0415 - not for --help
        from caseway_control.reading import events_of_case, registry_of  # noqa: PLC0415

        registry = await registry_of(space.log)
        with progress("reading", is_shown=not as_json) as tell:
            events = await events_of_case(space.log, registry.generation, case_id, tell)
        return timeline(events)

    lines = in_space(log, body)

    def show(out: Any) -> None:
        rows = [(_clock(line.at), line.service, line.text, line.actor) for line in lines]
        table(out, ("time (UTC)", "service", "what happened", "by"), rows)

    emit(as_json, [_line_data(line) for line in lines], show)


def left(due_at: Any) -> str:
    """How long there is left, in the two biggest units; overdue is said as such."""
    if due_at is None:
        return "no deadline"
    from datetime import UTC, datetime  # noqa: PLC0415 - not for --help

    seconds = int((due_at - datetime.now(UTC)).total_seconds())
    minutes = abs(seconds) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    text = f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"
    return text if seconds >= 0 else f"overdue by {text}"


def _roles(registry: Any, role: str | None, person: str | None) -> set[str] | None:
    from caseway.errors import ConfigError  # noqa: PLC0415 - not for --help

    if person is None:
        return None if role is None else {role}
    name = person.removeprefix("person:")
    if name not in registry.persons:
        raise ConfigError(
            f"{name!r} is not a person of this namespace; known are "
            f"{', '.join(sorted(registry.persons)) or 'none yet'}",
            code="PERSON_UNKNOWN",
        )
    return set(registry.roles_of(name)) | ({role} if role else set())


def _moment(at: str | None) -> Any:
    if at is None:
        return None
    from datetime import datetime  # noqa: PLC0415 - not for --help

    from caseway.errors import ConfigError  # noqa: PLC0415

    if at.lstrip("-").isdecimal():
        return int(at)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise ConfigError(
            "--at: is neither an event's number nor a time that exists; write e.g. 7 or "
            "2026-11-21T09:00:00Z",
            code="TIME_INVALID",
        ) from None
    if moment.tzinfo is None:
        raise ConfigError(
            "--at: the time has no offset; write e.g. 2026-11-21T09:00:00Z", code="TIME_OFFSET"
        )
    return moment


def _clock(at: Any) -> str:
    return str(at.strftime("%Y-%m-%d %H:%M:%S.")) + f"{at.microsecond // 1000:03d}"


def _case_data(found: Any) -> dict[str, Any]:
    from pydantic import TypeAdapter  # noqa: PLC0415 - not for --help

    from caseway.casefile.state import CaseState  # noqa: PLC0415
    from caseway.contracts.fields import format_instant  # noqa: PLC0415

    return {
        "case_id": found.case_id,
        "sequence": found.sequence,
        "latest": found.latest,
        "at": format_instant(found.at),
        "state": TypeAdapter(CaseState).dump_python(found.state, mode="json"),
    }


def _show_case(out: Any, found: Any) -> None:
    state = found.state
    where = f"in phase {state.phase}, round {state.round}" if state.phase else "just opened"
    if state.is_closed:
        where = f"closed as {state.outcome}"
    rows = [
        ("case", found.case_id),
        ("stands", where),
        ("as of", f"event {found.sequence} of {found.latest}, {_clock(found.at)} UTC"),
        ("definition", str(state.definition)),
        ("source", state.source),
    ]
    rows += [(f"fact {name}", fact_text(value)) for name, value in state.facts.items()]
    rows += [
        (f"task {t.task_id}", f"{t.status.value} {t.holder or t.queue}".rstrip())
        for t in state.tasks.values()
    ]
    if state.gate is not None:
        approved = "approved" if state.gate.is_approved else "waits for a decision"
        rows.append((f"gate {state.gate.gate_id}", f"revision {state.gate.revision}, {approved}"))
    table(out, ("what", "is"), rows)


def fact_text(value: Any) -> str:
    """One fact as a person reads it; sealed ones stay sealed."""
    if isinstance(value, dict) and {"amount", "currency"} == value.keys():
        from caseway.contracts.money import Money  # noqa: PLC0415 - not for --help

        return str(Money(**value))
    if isinstance(value, dict) and "ciphertext" in value:
        return "(sealed)"
    if isinstance(value, list):
        return ", ".join(str(v.get("uri", v)) if isinstance(v, dict) else str(v) for v in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _line_data(line: Any) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415 - not for --help

    from caseway.contracts.fields import format_instant  # noqa: PLC0415

    return {**asdict(line), "at": format_instant(line.at)}
