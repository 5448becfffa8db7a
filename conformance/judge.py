"""Decides what becomes of a check: run where its needs are declared, else held to the refusal of what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from openmem.errors import OMPError

from .backend import Backend
from .check import Check
from .checks import CHECKS
from .harness import Harness
from .probes import declared, probe
from .report import Outcome
from .verdicts import REFUSALS, Failure, Inconclusive, told

SECONDS = 60.0
"""For one check in one colour."""
UNWAIVABLE = frozenset({"OWN", "CON", "IDN", "DEL"})
"""Isolation, fidelity, identity and deletion: their checks can be neither skipped nor waived."""


class Verdict(NamedTuple):
    """The outcome of a check and what there is to say about it; expected and got where the message does not suffice."""

    outcome: Outcome
    message: str = ""
    expected: str = ""
    got: str = ""


class Judge:
    """Judges the checks of one run in one colour. unguarded: the same backend with nothing refused as undeclared."""

    def __init__(self, guarded: Backend, unguarded: Backend, waived: Mapping[str, str]) -> None:
        self._guarded = guarded
        self._unguarded = unguarded
        self._waived = waived
        self._works: dict[str, bool] = {}

    async def judge(self, check: Check) -> Verdict:
        """Judge a check, and remove what it wrote."""
        try:
            missing = self._missing(check)
            if missing:
                return self._waive(check, await self._verify_unsupported(check, missing))
            return self._waive(check, await attempt(check, self._guarded.harness(check.id)))
        finally:
            await self._guarded.remove()
            await self._unguarded.remove()

    def _waive(self, check: Check, verdict: Verdict) -> Verdict:
        """Tell a failure that is listed as a deviation, and a listed one that is none."""
        if check.id not in self._waived:
            return verdict
        if verdict.outcome == "fail":
            return verdict._replace(outcome="deviation", message=f"{self._waived[check.id]} ({verdict.message})")
        if verdict.outcome == "pass":
            return Verdict("fail", "a listed deviation passes now: take it off the list")
        return verdict

    def _missing(self, check: Check) -> list[str]:
        return [need for need in check.requires if not declared(need, self._guarded.capabilities)]

    async def _verify_unsupported(self, check: Check, missing: Sequence[str]) -> Verdict:
        """Hold a provider to what it does not declare: the guard refuses it, and the backend does not do it either."""
        for need in missing:
            fault = await probe(need, self._guarded.harness(check.id, need))
            if fault:
                return Verdict("fail", fault)
            if await self._does(need):
                return Verdict("fail", f"{need} works, though it is not declared")
        return Verdict("verified-unsupported", f"without {', '.join(missing)}")

    async def _does(self, need: str) -> bool:
        """Tell whether every check that lacks only this passes all the same, over the backend without its guard."""
        if need not in self._works:
            lacking = [check for check in CHECKS if need in check.requires]
            held = [check for check in lacking if self._missing(check) == [need]] or lacking
            outcomes = {(await attempt(check, self._unguarded.harness(check.id, need))).outcome for check in held}
            self._works[need] = outcomes == {"pass"}
        return self._works[need]


async def attempt(check: Check, harness: Harness) -> Verdict:
    """Run a check; a failure is the provider's, an error is of the check or of what the provider is made of."""
    verdict = await _run(check, harness)
    verb = harness.leaked()
    return verdict if verb is None else Verdict("fail", f"{verb} is answered with another user's memory")


async def _run(check: Check, harness: Harness) -> Verdict:
    try:
        async with asyncio.timeout(SECONDS):
            await check.run(harness)
    except Failure as failure:
        return Verdict("fail", str(failure), failure.expected, failure.got)
    except Inconclusive as doubt:
        return Verdict("inconclusive", str(doubt))
    except REFUSALS as error:
        return Verdict("fail", f"refused with {type(error).__name__}: {error}")
    except OMPError as error:
        return Verdict("error", f"{type(error).__name__}: {told(error)}")
    except TimeoutError:
        return Verdict("error", f"no end after {SECONDS:g} s")
    except Exception as error:
        return Verdict("error", told(error))
    return Verdict("pass")
