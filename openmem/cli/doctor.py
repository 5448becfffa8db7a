"""`openmem doctor`: whether a backend works from here, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from openmem.errors import InvalidRequestError, NotFoundError, OMPError, UnsupportedCapabilityError

from . import output, text
from .common import Json, Options, Profile, Url, arguments

if TYPE_CHECKING:
    from openmem.adapter import Adapter
    from openmem.client import AsyncMemory
    from openmem.config import Configuration
    from openmem.embedding import Embedder

NOBODY = "openmem-doctor-nobody"
"""The id of no memory and of no user."""


class Finding(NamedTuple):
    """What one step found; an adapter's `async diagnose()` returns its own as plain tuples of these four."""

    step: str
    ok: bool
    detail: str
    remedy: str = ""


def doctor(
    url: Annotated[str | None, typer.Argument(metavar="URL", help="The backend; else as for every command.")] = None,
    url_option: Url = None,
    profile: Profile = None,
    option: Options = None,
    json: Json = False,
) -> None:
    """Check that a backend works from here, and say what to do where it does not."""
    if url is not None and url_option is not None:
        raise InvalidRequestError("the URL is given twice.", remedy="Give it once.")
    findings = asyncio.run(Examination(arguments(url or url_option, profile, option)).run())
    healthy = all(finding.ok for finding in findings)
    if json or not output.terminal():
        output.write_json({"ok": healthy, "findings": [finding._asdict() for finding in findings]})
    else:
        _show(findings)
    raise typer.Exit(0 if healthy else 1)


def _show(findings: list[Finding]) -> None:
    from .tables import show_rows

    rows = [{**finding._asdict(), "ok": "ok" if finding.ok else "FAIL"} for finding in findings]
    show_rows(rows, ("ok", "step", "detail", "remedy"))


class Examination:
    """The steps in order; each builds on those before and returns what it saw."""

    def __init__(self, keywords: dict[str, Any]) -> None:
        self.keywords = keywords
        self.findings: list[Finding] = []
        self.chosen: Configuration
        self.embeds: Embedder | None = None
        self.adapter: Adapter | None = None
        self.memory: AsyncMemory | None = None

    async def run(self) -> list[Finding]:
        """Take the steps until one fails, then ask the adapter what it knows of itself."""
        try:
            for step in (self._configuration, self._embedder, self._embedding, self._backend, self._capabilities):
                if not await self._take(step) and step != self._embedding:
                    break
            await self._take(self._diagnose)
        finally:
            await self._take(self._close)
        return self.findings

    async def _take(self, step: Callable[[], Awaitable[str]]) -> bool:
        name = step.__name__.strip("_")
        try:
            detail = await step()
        except Exception as error:  # whatever goes wrong is what we are here to report
            self.findings.append(_failure(name, error))
            return False
        if detail:
            self.findings.append(Finding(name, True, detail))
        return True

    async def _configuration(self) -> str:
        from openmem import config

        self.chosen = config.resolve(**self.keywords)
        return f"{self.chosen.safe_url} by {self.chosen.adapter.__module__}.{self.chosen.adapter.__qualname__}"

    async def _embedder(self) -> str:
        from openmem import embedding
        from openmem.client import AsyncMemory

        options = self.chosen.options
        self.embeds = embedder = self.chosen.make_embedder()
        self.adapter = self.chosen.adapter(self.chosen.settings, embedding=embedding.info(embedder))
        # No retries: the doctor reports the first failure.
        self.memory = AsyncMemory(self.adapter, embedder=embedder or "none", timeout=options.timeout, retries=0)
        if embedder is not None:
            return f"{embedder.model}, {embedder.dimension} dimensions"
        if self.chosen.adapter.embeds_itself(self.chosen.settings):
            return "the backend's own"
        detail = "none: search is by words alone"
        if options.embedder != "auto":
            return detail
        self.findings.append(Finding("embedder", True, detail, f"For search by meaning run {embedding.INSTALL}."))
        return ""

    async def _embedding(self) -> str:
        if self.embeds is None:
            return ""
        from openmem.embedding.gate import Gated

        started = perf_counter()
        await Gated(self.embeds).embed(["prefers dark mode"])
        return f"one text in {_since(started)}"

    async def _backend(self) -> str:
        assert self.memory is not None  # noqa: S101  set by the step before
        await self.memory.open()  # which takes as long as it takes
        started = perf_counter()
        try:
            health = await self.memory.health()
        except UnsupportedCapabilityError:  # it can neither tell nor list
            await self._get_nothing(self.memory)
            return f"answers in {_since(started)}"
        engine = f"{health.engine} " if health.engine else ""
        return f"{engine}answers in {health.latency_ms:.0f} ms"

    @staticmethod
    async def _get_nothing(memory: AsyncMemory) -> None:
        try:
            await memory.get(NOBODY, user_id=NOBODY)
        except NotFoundError:
            return

    async def _capabilities(self) -> str:
        assert self.memory is not None  # noqa: S101  set by an earlier step
        told = await self.memory.capabilities()
        emulated = f", of them emulated: {', '.join(told.emulated)}" if told.emulated else ""
        return f"OMP {told.omp_version}, verbs {', '.join(told.verbs)}{emulated}"

    async def _diagnose(self) -> str:
        diagnose = getattr(self.adapter, "diagnose", None)
        if diagnose is not None:
            self.findings += [Finding(*found) for found in await diagnose()]
        return ""

    async def _close(self) -> str:
        if self.memory is not None:
            await self.memory.close()
        return ""


def _failure(step: str, error: Exception) -> Finding:
    cause = error.__cause__
    because = f" ({type(cause).__name__})" if cause is not None else ""
    if isinstance(error, OMPError):
        return Finding(step, False, text.line(error.message) + because, text.line(error.remedy))
    return Finding(step, False, type(error).__name__ + because, "Report it, with the output of this command.")


def _since(started: float) -> str:
    return f"{(perf_counter() - started) * 1000:.0f} ms"
