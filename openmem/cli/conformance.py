"""`openmem conformance run`: prove that backends behave as the protocol says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from . import output, text
from .common import Json, Options
from .values import pairs

app = typer.Typer(rich_markup_mode=None)


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
    option: Options = None,
    json: Json = False,
) -> None:
    """Run the checks; exit code 0 all pass, 1 some fail, 2 they could not run."""
    reports = asyncio.run(_run(urls, only or (), pairs("--option", option or ())))
    if report is not None:
        for folder, each in zip(_folders(report, urls), reports, strict=True):
            each.write(folder)
        _write_matrix(report, reports)
    if json or not output.terminal():
        output.write_json([{**each.as_json(), "target": text.line(each.target)} for each in reports])
    else:
        _show(reports)
    raise typer.Exit(max(each.exit_code for each in reports))


async def _run(urls: Sequence[str], only: Sequence[str], options: dict[str, str]) -> list[Any]:
    from openmem import conformance

    return [await conformance.run(url, only=only, options=options) for url in urls]


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
