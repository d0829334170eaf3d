"""What every command shares: its options, how it prints, how it fails, and how it ends.

Results go to standard output, progress and errors to standard error; colour only where a
terminal is. Imports of weight stay inside functions: `--help` must not pay for them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer

from caseway.errors import CasewayError

if TYPE_CHECKING:
    from rich.console import Console

    from caseway_control.spaces import Space

T = TypeVar("T")
# Everything asked was done; some of it was refused or found wrong; it could not be begun.
DONE, REFUSED, FAILED, INTERRUPTED = 0, 1, 2, 130

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
LogOption = Annotated[
    str | None,
    typer.Option(
        "--log",
        help="sqlite:DIRECTORY or kafka://host:port; else CASEWAY_LOG.",
        show_default=False,
    ),
]
SignOption = Annotated[
    list[str],
    typer.Option("--sign", help="A key file to sign with; give it again for a second signature."),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", help="Seconds without any answer until it gives up.")
]


class Progress(Protocol):
    """How far something is: done of total (0: nobody knows), and what it is at."""

    def __call__(self, done: int, total: int, what: str = "") -> None:
        """Show it."""


def in_space(log: str | None, body: Callable[[Space], Awaitable[T]]) -> T:
    """Open the namespace that the options and settings name, run the body, close it."""
    import asyncio  # noqa: PLC0415 - not for --help
    import logging  # noqa: PLC0415

    from caseway_control.spaces import load_settings, open_space  # noqa: PLC0415

    settings = load_settings(log=log)
    # What a client library says of its reconnects is noise here: a failure is told once, as one.
    logging.basicConfig(level=logging.CRITICAL)

    async def main() -> T:
        async with open_space(settings) as space:
            return await body(space)

    return asyncio.run(main())


def console(*, is_error: bool = False) -> Console:
    """Where people read; plain and unwrapped when it is no terminal."""
    from rich.console import Console  # noqa: PLC0415 - not for --help

    stream = sys.stderr if is_error else sys.stdout
    made = Console(file=stream, highlight=False, no_color=None if stream.isatty() else True)
    if not stream.isatty():
        # A pipe has no width; lines are never broken for whoever reads them with tools.
        made.width = 10_000
    return made


def emit(as_json: bool, data: Any, show: Callable[[Console], None]) -> None:
    """The result, for a machine or for a person."""
    if as_json:
        print_json(data)
    else:
        show(console())


def print_json(data: Any) -> None:
    """One JSON document on standard output, at once; indented only for a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(data, indent=indent, ensure_ascii=False, default=str) + "\n")
    # What a service says at its start would else lie in the buffer of a pipe until its end.
    sys.stdout.flush()


def table(out: Console, headers: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Rows under headers; separated by tabs where no terminal is."""
    if not out.is_terminal:
        for row in (headers, *rows):
            # Straight to the stream: the console would turn the tabs into blanks.
            out.file.write("\t".join(row) + "\n")
        return
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    made = Table(*headers, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    out.print(made)


@contextmanager
def progress(label: str, *, is_shown: bool = True) -> Iterator[Progress]:
    """A progress bar on the terminal's standard error; elsewhere nothing."""
    if not is_shown or not sys.stderr.isatty():
        yield lambda done, total, what="": None
        return
    from rich.progress import Progress as Bar  # noqa: PLC0415

    with Bar(console=console(is_error=True), transient=True) as bar:
        task = bar.add_task(label, total=None)

        def show(done: int, total: int, what: str = "") -> None:
            text = f"{label}: {what}" if what else label
            bar.update(task, completed=done, total=total or None, description=text)

        yield show


def note(text: str) -> None:
    """A remark beside the result, on standard error."""
    sys.stderr.write(text + "\n")


def report(error: CasewayError, *, as_json: bool) -> None:
    """An error as one block: code, what and where, what to do."""
    message = str(error)
    what, separator, advice = message.rpartition("; ")
    if not separator:
        what, advice = message, ""
    where = str(getattr(error, "where", ""))
    if as_json:
        body: Mapping[str, str] = {"code": error.code, "message": message, "where": where}
        sys.stderr.write(json.dumps({"error": body}, ensure_ascii=False) + "\n")
        return
    lines = [f"error {error.code}", f"  {what}"]
    if where and where not in what:
        lines.append(f"  where: {where}")
    if advice:
        lines.append(f"  do: {advice}")
    sys.stderr.write("\n".join(lines) + "\n")


def close_quietly() -> None:
    """The reader of our output went away: nobody is left to write to, and that is no error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
