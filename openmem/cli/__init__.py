"""The command line: every verb from its request model, and a few commands about backends."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated

import typer

from openmem.errors import InvalidRequestError, OMPError

from . import conformance, doctor, output, providers, reembed, verbs

__all__ = ["app", "main"]

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
_QUOTED = re.compile(r"""(['"])(?:(?!\1).)*(?:://|=).*\1""", re.DOTALL)

app = typer.Typer(
    help="Store, search and read AI memories on any backend.",
    rich_markup_mode=None,  # importing rich for a help page takes longer than the rest of the command
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
verbs.register(app)
app.command("providers")(providers.providers)
app.command("doctor")(doctor.doctor)
app.command("reembed")(reembed.reembed)
app.add_typer(conformance.app, name="conformance")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        output.write(f"openmem {version('openmem-sdk')}")
        raise typer.Exit


@app.callback(epilog="Exit codes: 0 done, 1 failed, 2 the request or the configuration is wrong.")
def _openmem(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Store, search and read AI memories on any backend."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; bad input ends in one line on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    as_json = "--json" in takewhile(lambda argument: argument != "--", arguments)
    output.prepare()
    try:
        code = app(arguments, prog_name="openmem", standalone_mode=False)
        output.flush()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        output.abandon()
        return FAILED
    except Exception as error:
        known = _known(error)
        if known is None:
            raise
        output.complain(known, as_json=as_json)
        return MISUSED if isinstance(known, InvalidRequestError) else FAILED
    return code or 0


def _known(error: Exception) -> OMPError | None:
    """Describe what a user or the system can cause; None for a defect, which keeps its traceback."""
    if isinstance(error, OMPError):
        return error
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename is not None else ""
        return OMPError(f"{error.strerror or error}{place}.", remedy="Correct it and retry.")
    if hasattr(error, "format_message"):  # what Typer makes of a command line it cannot read
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "openmem"
        return InvalidRequestError(f"{_told(error.format_message()).rstrip('.')}.", remedy=f"See '{command} --help'.")
    return None


def _told(message: str) -> str:
    """Leave out of a message what may be a URL or NAME=SECRET in a wrong place."""
    if "extra argument" in message:
        return "There are more arguments than are taken; a text with blanks stands in quotes, an option after --option"
    return _QUOTED.sub(r"\1…\1", message)
