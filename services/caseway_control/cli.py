"""The command `caseway`: every command by theme, one way to fail, exit codes 0, 1, 2 and 130.

0: all was done. 1: it was done, and some of it was refused or found wrong. 2: it could not be
begun or finished; the error says why. 130: interrupted; every command may be run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from caseway.errors import CasewayError
from caseway_control import (
    cli_control,
    cli_decide,
    cli_demo,
    cli_read,
    cli_run,
    cli_submit,
    cli_verify,
)
from caseway_control.cli_output import DONE, FAILED, INTERRUPTED, close_quietly, report

app = typer.Typer(
    name="caseway",
    help="Cases that agents and people work on together, under an authority that is written down.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for theme in (cli_run, cli_control, cli_submit, cli_read, cli_decide, cli_verify, cli_demo):
    theme.register(app)


class _Usage(CasewayError):
    """A command line that is not one of ours."""

    code = "USAGE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; never shows a stack trace for our errors."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        code = app(given, prog_name="caseway", standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        message = error.format_message() or _help_of(error)
        report(_Usage(f"{message.rstrip('.')}; see `caseway --help`"), as_json=as_json)
        return FAILED
    except CasewayError as error:
        report(error, as_json=as_json)
        return FAILED
    except (KeyboardInterrupt, Abort):
        return INTERRUPTED
    except BrokenPipeError:
        close_quietly()
        return DONE
    except SystemExit as end:
        # The framework's own answer to a reader that went away.
        close_quietly()
        return end.code if isinstance(end.code, int) and end.code != 1 else DONE
    if code == INTERRUPTED:
        sys.stderr.write("interrupted; what was done is kept, run it again to go on\n")
    return code if isinstance(code, int) else DONE


def _help_of(error: TyperException) -> str:
    return type(error).__name__


def _version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version  # noqa: PLC0415 - not for --help

        sys.stdout.write(f"caseway {version('caseway')}\n")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
