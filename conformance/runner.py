"""Runs the checks against a backend and reports; needs no test framework."""

from __future__ import annotations

import asyncio
import secrets
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from openmem.errors import ConfigurationError, ProviderUnavailableError
from openmem.runtime.bridge import cancelling
from openmem.urls import redact

from .backend import Backend, Target
from .check import Check
from .checks import CHECKS
from .harness import Colour
from .header import Header
from .hiding import hider
from .judge import UNWAIVABLE, Judge
from .levels import LEVELS
from .report import GOOD, Outcome, Report, Result
from .verdicts import told

ANSWER = 60.0
"""Seconds that a provider has to answer after an error, lest the run stops."""
LONGEST = 1000
"""Characters of what a report quotes in one place: a message may hold whole records."""


@dataclass(frozen=True)
class Progress:
    """How far a run is: the group of the check that is next, checks that are done, of all, and how many were bad."""

    target: str
    group: str
    done: int
    of: int
    failed: int


async def run(
    target: Target,
    *,
    only: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    deviations: Mapping[str, str] | None = None,
    seed: int | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    directory: Path | None = None,
) -> Report:
    """Run the checks, each through AsyncMemory and through Memory, and remove what they wrote, also when cancelled.

    The run stops where the provider does not answer any more. What could not be removed is named in `left` of the
    report, and in a note of the CancelledError where the run is cancelled.

    only: ids, clauses, groups or levels to run. options: client options; the embedder is the predictable one unless
    they name another. deviations: check id -> reason, besides the file of the provider in conformance/deviations.
    seed: a whole number, from which all users, texts, tags and keys are made that the provider gets; None: a new one.
    watch: is told before each check how far the run is. directory: the report is written there, first as one of a run
    that was cut off, and once more at the end, also where the run is cancelled.
    """
    name = redact(target) if isinstance(target, str) else getattr(target, "__name__", "adapter")
    report = Report(target=name, header=Header(secrets.randbits(32) if seed is None else seed), only=tuple(only))
    if directory is not None:
        report.write(directory)
    try:
        await _run(report, target, options or {}, deviations, watch)
    finally:
        if directory is not None:
            report.write(directory)
    return report


async def _run(
    report: Report,
    target: Target,
    options: Mapping[str, Any],
    deviations: Mapping[str, str] | None,
    watch: Callable[[Progress], None],
) -> None:
    hide = hider(target, options)
    try:
        checks = _chosen(report.only)
        report.planned = len(checks) * len(get_args(Colour))
        trial = _Trial(target, options, checks, deviations, report, hide, watch)
        for colour in get_args(Colour):
            await trial.run(colour)
        report.complete = True
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # an adapter of anyone's, perhaps not yet behind the layers that type its errors
        report.could_not_run = _bounded(hide(told(error)))
        if isinstance(error, asyncio.CancelledError) and cancelling():
            report.could_not_run = "it was interrupted"
            if report.left:
                error.add_note(report.remains)
            raise


def _chosen(only: Sequence[str]) -> list[Check]:
    if not only:
        return list(CHECKS)
    names = {
        name: [c for c in CHECKS if name in (c.id, c.clause, c.group) or c.clause in LEVELS.get(name, ())]
        for name in only
    }
    unknown = [name for name, found in names.items() if not found]
    if unknown:
        raise ConfigurationError(
            f"no check is called {', '.join(unknown)}.", remedy="Name a check id, a clause, a group or a level."
        )
    chosen = {check.id for found in names.values() for check in found}
    return [check for check in CHECKS if check.id in chosen]


@dataclass
class _Trial:
    """The checks of a run, each colour in turn."""

    target: Target
    options: Mapping[str, Any]
    checks: Sequence[Check]
    deviations: Mapping[str, str] | None
    report: Report
    hide: Callable[[str], str]
    watch: Callable[[Progress], None]

    async def run(self, colour: Colour) -> None:
        """Run every check through clients of one colour."""
        guarded, unguarded = (Backend(self.target, colour, self.options, self.report.header.seed) for _ in range(2))
        guarded.beside, unguarded.beside = [unguarded], [guarded]
        self.report.header.name(guarded.raw)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._leave, guarded)
            stack.push_async_callback(self._leave, unguarded)
            await guarded.open()
            await unguarded.open(admit_everything=True)
            self.report.capabilities = guarded.capabilities
            self.report.provider = guarded.capabilities.provider
            judge = Judge(guarded, unguarded, deviations_of(self.report.provider, self.deviations))
            for check in self.checks:
                self._tell(check)
                outcome = await self._judge(judge, check, colour)
                if outburst := guarded.outburst or unguarded.outburst:
                    raise outburst
                if outcome == "error":
                    await _reach(guarded)

    def _tell(self, check: Check) -> None:
        results = self.report.results
        failed = sum(result.outcome not in GOOD for result in results)
        self.watch(Progress(self.report.target, check.group, len(results), self.report.planned, failed))

    async def _judge(self, judge: Judge, check: Check, colour: Colour) -> Outcome:
        started = time.perf_counter()
        verdict = await judge.judge(check)
        seconds = time.perf_counter() - started
        message, expected, got = (_bounded(self.hide(text)) for text in verdict[1:])
        if verdict.outcome not in GOOD:
            expected, got = expected or check.title, got or message
        result = Result(check.id, check.clause, colour, verdict.outcome, message, seconds, expected, got)
        self.report.results.append(result)
        return result.outcome

    async def _leave(self, backend: Backend) -> None:
        """Take out of the provider what the run wrote, and close."""
        try:
            await backend.remove(again=True)
        finally:
            self.report.left += backend.left
            await backend.close()


async def _reach(backend: Backend) -> None:
    """Raise where a backend does not answer any more."""
    try:
        async with asyncio.timeout(ANSWER):
            await backend.reach()
    except TimeoutError:
        raise ProviderUnavailableError(f"no answer within {ANSWER:g} s.") from None


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … and {len(text) - LONGEST} characters more"


def deviations_of(provider: str, given: Mapping[str, str] | None) -> Mapping[str, str]:
    """Read the provider's file of known deviations, check id -> reason, and add the given ones."""
    file = files(__package__ or "openmem.conformance") / "deviations" / f"{provider}.toml"
    listed = tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
    waived = {**listed, **(given or {})}
    by_id = {check.id: check for check in CHECKS}
    for name in waived:
        if name not in by_id:
            raise ConfigurationError(f"a deviation names {name}, which is no check.", remedy="Correct the id.")
        if by_id[name].group in UNWAIVABLE:
            raise ConfigurationError(f"{name} cannot be waived.", remedy="Take it off the list and mend the adapter.")
    return waived
