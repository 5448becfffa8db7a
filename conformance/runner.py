"""Runs the checks against a backend and reports; needs no test framework."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from typing import Any, get_args
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit

from openmem.config import redact
from openmem.errors import ConfigurationError, OMPError

from .backend import Backend, Target
from .check import Check
from .checks import CHECKS
from .harness import Colour
from .judge import UNWAIVABLE, Judge
from .report import Report, Result


async def run(
    target: Target,
    *,
    only: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    deviations: Mapping[str, str] | None = None,
) -> Report:
    """Run the checks, each through AsyncMemory and through Memory.

    only: ids, clauses, groups or levels to run. options: client options; the embedder is the predictable one unless
    they name another. deviations: check id -> reason, besides the file of the provider in conformance/deviations.
    """
    name = redact(target) if isinstance(target, str) else getattr(target, "__name__", "adapter")
    report = Report(target=name, only=tuple(only))
    hide = _hider(target, options or {})
    try:
        checks = _chosen(only)
        for colour in get_args(Colour):
            await _run_colour(colour, target, checks, options or {}, deviations, report, hide)
        report.complete = True
    except OMPError as error:
        report.could_not_run = hide(str(error))
    except Exception as error:  # an adapter of anyone's, not yet behind the layers that type its errors
        report.could_not_run = hide(f"{type(error).__name__}: {error}")
    return report


def _chosen(only: Sequence[str]) -> list[Check]:
    if not only:
        return list(CHECKS)
    names = {name: [c for c in CHECKS if name in (c.id, c.clause, c.group, c.level)] for name in only}
    unknown = [name for name, found in names.items() if not found]
    if unknown:
        raise ConfigurationError(
            f"no check is called {', '.join(unknown)}.", remedy="Name a check id, a clause, a group or a level."
        )
    chosen = {check.id for found in names.values() for check in found}
    return [check for check in CHECKS if check.id in chosen]


async def _run_colour(
    colour: Colour,
    target: Target,
    checks: Sequence[Check],
    options: Mapping[str, Any],
    deviations: Mapping[str, str] | None,
    report: Report,
    hide: Callable[[str], str],
) -> None:
    guarded, unguarded = Backend(target, colour, options), Backend(target, colour, options)
    guarded.beside, unguarded.beside = [unguarded], [guarded]
    try:
        await guarded.open()
        await unguarded.open(admit_everything=True)
        report.provider, report.capabilities = guarded.capabilities.provider, guarded.capabilities
        judge = Judge(guarded, unguarded, _waived(guarded.capabilities.provider, deviations))
        for check in checks:
            started = time.perf_counter()
            outcome, message = await judge.judge(check)
            seconds = time.perf_counter() - started
            result = Result(check.id, check.clause, check.level, colour, outcome, hide(message), seconds)
            report.results.append(result)
    finally:
        await guarded.close()
        await unguarded.close()


def _hider(target: Target, options: Mapping[str, Any]) -> Callable[[str], str]:
    """Make the function that takes the secrets of a URL and of options out of a message, which may quote a vendor's."""
    secrets: set[str] = set()
    pairs = [(name, value) for name, value in options.items() if isinstance(value, str)]
    if isinstance(target, str):
        with suppress(ValueError):  # a URL that cannot be read is refused without being quoted
            split = urlsplit(target)
            pairs += parse_qsl(split.query)
            secrets.add(split.password or "")
    secrets |= {value for name, value in pairs if redact("?" + urlencode({name: value})).endswith("=***")}
    forms = {form(secret) for secret in secrets for form in (str, quote, quote_plus, unquote)} - {""}

    def hide(message: str) -> str:
        for form in sorted(forms, key=len, reverse=True):
            message = message.replace(form, "***")
        return message

    return hide


def _waived(provider: str, given: Mapping[str, str] | None) -> Mapping[str, str]:
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
