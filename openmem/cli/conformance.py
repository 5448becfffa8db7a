"""`openmem conformance run`: prove that backends behave as the protocol says."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from . import output, text
from .common import Json, Options
from .values import pairs

app = typer.Typer(rich_markup_mode=None)
TERMINATED = 128 + signal.SIGTERM


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
    """Run the checks; exit code 0 all pass, 1 some fail, 2 they could not run. What they wrote is removed."""
    try:
        reports = asyncio.run(_run(urls, only=only or (), options=pairs("--option", option or ()), seed=seed))
    except asyncio.CancelledError:
        raise typer.Exit(TERMINATED) from None
    if report is not None:
        for folder, each in zip(_folders(report, urls), reports, strict=True):
            each.write(folder)
        _write_matrix(report, reports)
    if json or not output.terminal():
        output.write_json([{**each.as_json(), "target": text.line(each.target)} for each in reports])
    else:
        _show(reports)
    raise typer.Exit(max(each.exit_code for each in reports))


async def _run(urls: Sequence[str], **arguments: Any) -> list[Any]:
    from openmem import conformance

    task = asyncio.current_task()
    with suppress(NotImplementedError, RuntimeError, ValueError):  # on Windows, and beside the main thread
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: task and task.cancel())
    with _progress() as watch:
        return [await conformance.run(url, watch=watch, **arguments) for url in urls]


@contextmanager
def _progress() -> Iterator[Any]:
    """Show a person at a terminal how far the run is, on a line that is gone afterwards."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda progress: None
        return

    def show(progress: Any) -> None:
        line = f"{progress.target}: {progress.group}, {progress.done} of {progress.of}, {progress.failed} failed"
        sys.stderr.write(f"\r\x1b[K{text.line(line)}")
        sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _write_matrix(directory: Path, reports: Sequence[Any]) -> None:
    from openmem import conformance

    (directory / "matrix.md").write_text(conformance.matrix(reports), "utf-8")


def _show(reports: Sequence[Any]) -> None:
    from openmem import conformance

    for report in reports:
        output.write(text.safe(report.summary()))
    if len(reports) > 1:
        output.write(text.safe(conformance.matrix(reports)))


def _folders(directory: Path, urls: Sequence[str]) -> list[Path]:
    if len(urls) == 1:
        return [directory]
    return [directory / f"{number}-{urlsplit(url).scheme}" for number, url in enumerate(urls, 1)]
