"""`openmem conformance run`: prove that backends behave as the protocol says."""

from __future__ import annotations

import asyncio
import os
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
from openmem.urls import redact

from . import output, text
from .common import Json, Options
from .values import pairs

app = typer.Typer(rich_markup_mode=None)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
FILES = ("report.json", "junit.xml", "matrix.md")
STOPPED = 2
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

    The memories they wrote are removed, also where the run is interrupted; a second signal ends it at once.
    Entries of an audit log stay.
    """
    folders = [] if report is None else _folders(report, urls)
    signals = _Signals()
    arguments = {"only": only or (), "options": pairs("--option", option or ()), "seed": seed}
    try:
        reports = asyncio.run(_run(urls, folders, signals, **arguments))
    except asyncio.CancelledError:
        if signals.first is None:
            raise
        raise typer.Exit(KILLED_BY + signals.first) from None
    except SystemExit as error:  # of a task that a provider made, which ends the event loop
        output.warn(f"stopped: a task of the provider raised {error!r}")
        raise typer.Exit(STOPPED) from None
    if report is not None:
        _write_matrix(report, reports)
    if json or not output.terminal():
        output.write_json([{**each.as_json(), "target": text.line(each.target)} for each in reports])
    else:
        _show(reports)
        if report is not None:
            output.write(text.safe(f"The whole report: {report}"))
    raise typer.Exit(max(each.exit_code for each in reports))


async def _run(urls: Sequence[str], folders: Sequence[Path], signals: _Signals, **arguments: Any) -> list[Any]:
    """Run one after the other, each into its folder if there are any; a signal cancels."""
    from openmem import conformance

    reports = []
    try:
        with _progress() as watch, signals.heeded():
            for url, folder in zip_longest(urls, folders):
                signals.target = url
                reports.append(await conformance.run(url, watch=watch, directory=folder, **arguments))
    except asyncio.CancelledError as interrupt:
        for note in getattr(interrupt, "__notes__", ()):
            output.warn(note)
        raise
    return reports


class _Signals:
    """Lets the first signal cancel the running task, and a second one end the process, also where the loop is held."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.target = ""

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Handle signals meanwhile; those of the system, for a provider that blocks keeps the loop's from running."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def handle(sent: int, frame: Any) -> None:
            if self.first is not None:
                self._end(sent)
            self.first = sent
            if output.watched():
                _clear()
                output.warn("interrupted; what the run wrote is being removed; once more ends it at once …")
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)

        former = {}
        with suppress(ValueError):  # beside the main thread
            former = {each: signal.signal(each, handle) for each in SIGNALS}
        try:
            yield
        finally:
            if self.first is None:  # else a thread that a provider blocks may still keep the process from ending
                for each, handler in former.items():
                    signal.signal(each, handler)

    def _end(self, sent: int) -> None:
        output.warn(f"memories may be left in {redact(self.target)}")
        sys.stderr.flush()
        os._exit(KILLED_BY + sent)


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
    """Name the folder of each report, and find out before the minutes of a run whether any can be made.

    Reports of a former run are taken out, lest they pass for those of one that ends early.
    """
    several = [directory / f"{number}-{urlsplit(url).scheme}" for number, url in enumerate(urls, 1)]
    folders = [directory] if len(urls) == 1 else several
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for former in (folder / name for folder in (directory, *folders) for name in FILES):
            former.unlink(missing_ok=True)
    except OSError as error:
        message = f"the report cannot be written to {directory}: {error.strerror or error}."
        raise InvalidRequestError(message, remedy="Name a folder that can be made.") from error
    return folders
