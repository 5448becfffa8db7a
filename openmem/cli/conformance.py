"""`openmem conformance run`: prove that backends behave as the protocol says."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from openmem.errors import InvalidRequestError

from . import output, text
from .common import Json, Options
from .values import pairs

app = typer.Typer(rich_markup_mode=None)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
KILLED_BY = 128
"""And the number of the signal: the exit code of what a signal ended."""


@app.callback()
def _conformance() -> None:
    """Prove that a backend behaves as the protocol says."""


@app.command("run")
def run(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="The backends to check, one run each.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="ID|CLAUSE|GROUP|LEVEL", help="Only these checks; repeatable."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write the report here; one folder a URL if several.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Send what the run of this seed sent; else every run is new.")
    ] = None,
    option: Options = None,
    json: Json = False,
) -> None:
    """Run the checks; exit code 0 all good, 1 some not, 2 they could not run or were stopped.

    The memories they wrote are removed, also where the run is interrupted; entries of an audit log stay.
    """
    folders = [] if report is None else _folders(report, urls)
    received: list[int] = []
    arguments = {"only": only or (), "options": pairs("--option", option or ()), "seed": seed}
    try:
        reports = asyncio.run(_run(urls, folders, received, **arguments))
    except asyncio.CancelledError:
        raise typer.Exit(KILLED_BY + received[0]) from None
    if report is not None:
        _write_matrix(report, reports)
    if json or not output.terminal():
        output.write_json([{**each.as_json(), "target": text.line(each.target)} for each in reports])
    else:
        _show(reports)
        if report is not None:
            output.write(text.safe(f"The whole report: {report}"))
    raise typer.Exit(max(each.exit_code for each in reports))


async def _run(urls: Sequence[str], folders: Sequence[Path], received: list[int], **arguments: Any) -> list[Any]:
    """Run one after the other, each into its folder if there are any; a signal, noted in received, cancels."""
    from openmem import conformance

    _heed(received)
    reports = []
    try:
        with _progress() as watch:
            for url, folder in zip_longest(urls, folders):
                reports.append(await conformance.run(url, watch=watch, **arguments))
                if folder is not None:
                    reports[-1].write(folder)
    except asyncio.CancelledError as interrupt:
        for note in getattr(interrupt, "__notes__", ()):
            output.warn(note)
        raise
    return reports


def _heed(received: list[int]) -> None:
    """Let signals cancel the running task."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def cancel(sent: int) -> None:
        received.append(sent)
        if output.watched():
            _clear()
            output.warn("interrupted; what the run wrote is being removed …")
        if task is not None:
            task.cancel()

    with suppress(NotImplementedError, RuntimeError, ValueError):  # on Windows, and beside the main thread
        for each in SIGNALS:
            loop.add_signal_handler(each, cancel, each)


@contextmanager
def _progress() -> Iterator[Any]:
    """Show a person at a terminal how far the run is, on a line that is gone afterwards."""
    if not output.watched():
        yield lambda progress: None
        return

    def show(progress: Any) -> None:
        line = f"{progress.target}: {progress.group}, {progress.done} of {progress.of}, {progress.failed} failed"
        sys.stderr.write(f"\r\x1b[K{text.line(line)}")
        sys.stderr.flush()

    try:
        yield show
    finally:
        _clear()


def _clear() -> None:
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()


def _write_matrix(directory: Path, reports: Sequence[Any]) -> None:
    from openmem import conformance

    (directory / "matrix.md").write_text(conformance.matrix(reports), "utf-8")


def _show(reports: Sequence[Any]) -> None:
    from openmem import conformance

    if len(reports) > 1:
        output.write(text.safe(conformance.matrix(reports)))
    for report in reports:  # last, for the matrix is longer than a screen
        output.write(text.safe(report.summary()))


def _folders(directory: Path, urls: Sequence[str]) -> list[Path]:
    """Name the folder of each report, and find out before the minutes of a run whether any can be made."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the report cannot be written to {directory}: {error.strerror or error}."
        raise InvalidRequestError(message, remedy="Name a folder that can be made.") from error
    if len(urls) == 1:
        return [directory]
    return [directory / f"{number}-{urlsplit(url).scheme}" for number, url in enumerate(urls, 1)]
