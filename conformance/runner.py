"""Runs the checks against a backend and reports; needs no test framework."""

from __future__ import annotations

import asyncio
import time
import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, get_args

from openmem._generated.verbs import VERBS
from openmem.adapter import Adapter
from openmem.client import AsyncMemory, Memory
from openmem.config import redact
from openmem.embedding import resolve
from openmem.errors import ConfigurationError, OMPError, UnsupportedCapabilityError
from openmem.types import Capabilities, CapabilityFeatures, EmbeddingInfo

from .check import Check, Failure, Inconclusive
from .checks import CHECKS
from .harness import Colour, Harness, TickingClock
from .report import Outcome, Report, Result

SECONDS = 60.0
UNWAIVABLE = frozenset({"OWN", "CON", "IDN", "DEL"})
"""Isolation, fidelity, identity and deletion: their checks can be neither skipped nor waived."""

Target = str | Callable[..., Adapter]
"""A URL, or a class or function that makes an adapter from embedding= and clock=."""


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
    report = Report(target=redact(target) if isinstance(target, str) else getattr(target, "__name__", "adapter"))
    try:
        checks = _chosen(only)
        for colour in get_args(Colour):
            await _run_colour(colour, target, checks, options or {}, deviations, report)
        report.complete = True
    except (OMPError, ValueError) as error:
        report.could_not_run = str(error)
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
) -> None:
    guarded, unguarded = Backend(target, colour, options), Backend(target, colour, options)
    try:
        await guarded.open()
        await unguarded.open(admit_everything=True)
        report.provider, report.capabilities = guarded.capabilities.provider, guarded.capabilities
        waived = _deviations(guarded.capabilities.provider, deviations)
        for check in checks:
            started = time.perf_counter()
            outcome, message = await _judge(check, guarded, unguarded, waived)
            seconds = time.perf_counter() - started
            report.results.append(Result(check.id, check.clause, check.level, colour, outcome, message, seconds))
    finally:
        await guarded.close()
        await unguarded.close()


class Backend:
    """A client of one colour over the target, and its raw adapter with the requests counted that reach it."""

    def __init__(self, target: Target, colour: Colour, options: Mapping[str, Any]) -> None:
        self.colour = colour
        self.clock = TickingClock()
        client: Callable[..., AsyncMemory | Memory] = AsyncMemory if colour == "async" else Memory
        settings = {"embedder": "test", **options}
        if isinstance(target, str):
            self.client = client(target, clock=self.clock, **settings)
        else:
            embedder = resolve(settings["embedder"])
            info = EmbeddingInfo(model=embedder.model, dimension=embedder.dimension) if embedder else None
            self.client = client(target(embedding=info, clock=self.clock), **settings)
        self.raw = self.client._core.adapter
        self.reached = 0
        self._count_requests()

    def _count_requests(self) -> None:
        handle = self.raw.handle

        async def counted(request: Any) -> Any:
            self.reached += 1
            return await handle(request)

        self.raw.handle = counted  # type: ignore[method-assign]

    async def open(self, *, admit_everything: bool = False) -> None:
        """Reach the backend; with admit_everything the guard lets undeclared verbs and features through."""
        self.capabilities = await self.client._core.describe()
        if admit_everything:
            self.capabilities = self.client._core._capabilities = _claiming_everything(self.capabilities)
        await self.harness().memory.list(self.harness().user, limit=1)

    def harness(self) -> Harness:
        """Make a fresh harness."""
        return Harness(self.client, self.raw, self.capabilities, self.clock, self.colour)

    async def close(self) -> None:
        """Close the client."""
        await self.harness().memory.close()


def _claiming_everything(capabilities: Capabilities) -> Capabilities:
    kept = capabilities.features.model_dump(exclude_none=True)
    flags = {
        name: True for name, field in CapabilityFeatures.model_fields.items() if bool in get_args(field.annotation)
    }
    features = {**kept, **flags, "scopes": "native", "filters": "native"}
    return capabilities.model_copy(
        update={"verbs": [*VERBS], "features": CapabilityFeatures.model_validate(features)}, deep=True
    )


# --- judging ------------------------------------------------------------------------------------------------------


async def _judge(
    check: Check, guarded: Backend, unguarded: Backend, waived: Mapping[str, str]
) -> tuple[Outcome, str]:
    missing = [need for need in check.requires if not _declared(need, guarded.capabilities)]
    if not missing:
        outcome, message = await _attempt(check, guarded.harness())
    elif check.level == "core" and check.group in UNWAIVABLE:
        return "fail", f"{', '.join(missing)} is not declared, and this check cannot be skipped"
    else:
        outcome, message = await _verify_unsupported(check, missing, guarded, unguarded)
    if check.id not in waived:
        return outcome, message
    if outcome == "fail":
        return "deviation", f"{waived[check.id]} ({message})"
    return ("fail", "a listed deviation passes now: take it off the list") if outcome == "pass" else (outcome, message)


async def _attempt(check: Check, harness: Harness) -> tuple[Outcome, str]:
    try:
        async with asyncio.timeout(SECONDS):
            await check.run(harness)
    except Failure as failure:
        return "fail", str(failure)
    except Inconclusive as doubt:
        return "inconclusive", str(doubt)
    except UnsupportedCapabilityError as error:
        return "fail", f"declared, yet refused: {error}"
    except OMPError as error:
        return "error", f"{type(error).__name__}: {error}" + (f" <- {error.__cause__!r}" if error.__cause__ else "")
    except TimeoutError:
        return "error", f"no end after {SECONDS:g} s"
    except Exception as error:
        return "error", f"{type(error).__name__}: {error}"
    return "pass", ""


async def _verify_unsupported(
    check: Check, missing: Sequence[str], guarded: Backend, unguarded: Backend
) -> tuple[Outcome, str]:
    """Hold a provider to what it does not declare: the guard refuses it, and the backend does not do it either."""
    for need in missing:
        fault = await _probe(need, guarded)
        if fault:
            return "fail", fault
    outcome, _ = await _attempt(check, unguarded.harness())
    if outcome == "pass":
        return "fail", f"{', '.join(missing)} works, though it is not declared"
    return "verified-unsupported", f"without {', '.join(missing)}"


def _declared(need: str, capabilities: Capabilities) -> bool:
    if need in VERBS:
        return need in capabilities.verbs or need == "capabilities"
    return getattr(capabilities.features, need) not in (None, False, "none")


async def _probe(need: str, guarded: Backend) -> str:
    """Ask for what is not declared; say what is wrong unless it is refused before the adapter is reached."""
    harness = guarded.harness()
    reached = guarded.reached
    try:
        await PROBES[need](harness)
    except UnsupportedCapabilityError:
        return "" if guarded.reached == reached else f"{need} is refused only after the backend was asked"
    except OMPError as error:
        return f"{need} is not declared and raises {type(error).__name__}, not UnsupportedCapabilityError"
    return f"{need} is not declared, yet the client let it through"


Probe = Callable[[Harness], Awaitable[object]]
_UNKNOWN = "mem_unknown"

PROBES: dict[str, Probe] = {
    "update": lambda h: h.memory.update(_UNKNOWN, content="probe"),
    "context": lambda h: h.memory.context("probe", h.user),
    "audit": lambda h: h.memory.audit(h.user),
    "add_many": lambda h: h.memory.add_many([{"content": "probe", "user_id": h.user}]),
    "delete_many": lambda h: h.memory.delete_many([_UNKNOWN]),
    "related": lambda h: h.memory.related(_UNKNOWN),
    "history": lambda h: h.memory.history(_UNKNOWN),
    "stats": lambda h: h.memory.stats(h.user),
    "remember": lambda h: h.memory.remember([{"role": "user", "content": "probe"}], h.user),
    "add": lambda h: h.memory.add("probe", h.user),
    "get": lambda h: h.memory.get(_UNKNOWN),
    "delete": lambda h: h.memory.delete(_UNKNOWN),
    "list": lambda h: h.memory.list(h.user),
    "search": lambda h: h.memory.search("probe", h.user),
    "vector_search": lambda h: h.memory.search("probe", h.user, mode="vector"),
    "keyword_search": lambda h: h.memory.search("probe", h.user, mode="keyword"),
    "hybrid_search": lambda h: h.memory.search("probe", h.user, mode="hybrid"),
    "temporal": lambda h: h.memory.list(h.user, include=["archived"]),
    "scopes": lambda h: h.memory.list(h.user, scope="probe"),
    "filters": lambda h: h.memory.list(h.user, filter={"kind": "probe"}),
    "supports_audit": lambda h: h.memory.audit(h.user),
    "supports_supersession": lambda h: h.memory.add("probe", h.user, supersedes=[_UNKNOWN]),
    "supports_if_version": lambda h: h.memory.delete(_UNKNOWN, if_version=1),
    "supports_external_id": lambda h: h.memory.add("probe", h.user, external_id="probe"),
    "supports_archive": lambda h: h.memory.add("probe", h.user, archived=True),
    "supports_metadata": lambda h: h.memory.add("probe", h.user, metadata={"probe": True}),
    "supports_vectors": lambda h: h.memory.add("probe", h.user, vector=[1.0]),
}
"""For each verb and feature that a check may require, a request that asks for it."""


# --- deviations ---------------------------------------------------------------------------------------------------


def _deviations(provider: str, given: Mapping[str, str] | None) -> Mapping[str, str]:
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
