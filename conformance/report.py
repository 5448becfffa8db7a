"""What a run found: one screen, JSON, JUnit and a Markdown matrix."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

from openmem.types import Capabilities

from .check import Level

Outcome = Literal["pass", "verified-unsupported", "deviation", "inconclusive", "fail", "error"]
OUTCOMES: tuple[Outcome, ...] = ("pass", "verified-unsupported", "deviation", "inconclusive", "fail", "error")
GOOD = frozenset({"pass", "verified-unsupported", "deviation"})
LEVELS: tuple[Level, ...] = ("core", "standard", "full")
MARKS = {"pass": "✓", "verified-unsupported": "–", "deviation": "△", "inconclusive": "?", "fail": "✗", "error": "!"}


@dataclass(frozen=True)
class Result:
    """What became of one check through one client."""

    check: str
    clause: str
    level: Level
    colour: str
    outcome: Outcome
    message: str
    seconds: float


@dataclass
class Report:
    """A run over one backend; without complete it did not reach its end and proves nothing."""

    target: str
    only: tuple[str, ...] = ()
    provider: str = ""
    capabilities: Capabilities | None = None
    results: list[Result] = field(default_factory=list)
    could_not_run: str = ""
    complete: bool = False

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many results there are of each outcome."""
        counted = Counter(result.outcome for result in self.results)
        return {outcome: counted[outcome] for outcome in OUTCOMES}

    @property
    def exit_code(self) -> int:
        """0 where every check is good, 1 where one is not, 2 where the run could not be made or has no results."""
        if self.could_not_run or not self.complete or not self.results:
            return 2
        return 0 if all(result.outcome in GOOD for result in self.results) else 1

    @property
    def level(self) -> str:
        """The highest level all of whose checks, and all below it, are good; a deviation ends it one below.

        A run of some checks only reaches none.
        """
        reached = "none"
        if self.only:
            return reached
        for level in LEVELS:
            outcomes = {result.outcome for result in self.results if result.level == level}
            if self.exit_code == 2 or not outcomes <= {"pass", "verified-unsupported"}:
                break
            reached = level
        return reached

    def summary(self) -> str:
        """Say the outcome on one screen: counts, then what is not good."""
        if self.exit_code == 2:
            return f"{self.target}: could not run: {self.could_not_run or 'no check was run'}"
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items() if count)
        checks = len({result.check for result in self.results})
        level = f"only {', '.join(self.only)}" if self.only else f"level {self.level}"
        lines = [f"{self.target}: {level}; {checks} checks, async and sync: {counts}"]
        bad = [result for result in self.results if result.outcome not in GOOD]
        lines += [f"  {r.outcome:<12} {r.check} ({r.colour}): {r.message}" for r in bad]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Write the report as JSON values."""
        return {
            "target": self.target,
            "only": list(self.only),
            "provider": self.provider,
            "capabilities": self.capabilities.model_dump(exclude_none=True) if self.capabilities else None,
            "level": self.level,
            "exit_code": self.exit_code,
            "could_not_run": self.could_not_run or None,
            "counts": self.counts,
            "results": [asdict(result) for result in self.results],
            "complete": self.complete,
        }

    def write(self, directory: Path) -> None:
        """Write report.json, junit.xml and matrix.md into a directory, made where it is missing."""
        directory.mkdir(parents=True, exist_ok=True)
        document = json.dumps(self.as_json(), indent=2, ensure_ascii=False)
        # A message may quote a lone surrogate, which UTF-8 does not have; JSON has its escape.
        (directory / "report.json").write_text(document + "\n", "utf-8", errors="backslashreplace")
        ET.ElementTree(self._junit()).write(directory / "junit.xml", encoding="utf-8", xml_declaration=True)
        (directory / "matrix.md").write_text(matrix([self]), "utf-8")

    def _junit(self) -> ET.Element:
        counts = self.counts
        totals = {
            "tests": len(self.results) + (self.exit_code == 2),
            "failures": counts["fail"] + counts["inconclusive"],
            "errors": counts["error"] + (self.exit_code == 2),
            "skipped": counts["deviation"] + counts["verified-unsupported"],
        }
        suite = ET.Element("testsuite", {"name": self.target, **{name: str(n) for name, n in totals.items()}})
        elements = {"fail": "failure", "inconclusive": "failure", "error": "error"}
        for result in self.results:
            case = ET.SubElement(
                suite,
                "testcase",
                classname=f"{result.clause}.{result.colour}",
                name=result.check,
                time=f"{result.seconds:.4f}",
            )
            if result.outcome != "pass":
                text = f"{result.outcome}: {_printable(result.message)}"
                ET.SubElement(case, elements.get(result.outcome, "skipped"), message=text)
        if self.exit_code == 2:
            case = ET.SubElement(suite, "testcase", classname="run", name="run")
            ET.SubElement(case, "error", message=_printable(self.could_not_run or "no check was run"))
        return suite


def _printable(text: str) -> str:
    # XML has no control characters; a message may quote a record that does.
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def matrix(reports: Sequence[Report]) -> str:
    """Write several reports as one Markdown table: a row a check, a column a backend."""
    lines = ["# Conformance", "", "| backend | provider | level | " + " | ".join(OUTCOMES) + " |"]
    lines.append("|" + "---|" * (3 + len(OUTCOMES)))
    for report in reports:
        counts = " | ".join(str(count) for count in report.counts.values())
        level = report.level if report.exit_code != 2 else f"could not run: {_in_table(report.could_not_run)}"
        lines.append(f"| {_in_table(report.target)} | {report.provider} | {level} | {counts} |")
    lines += ["", " ".join(f"{mark} {name}" for name, mark in MARKS.items()), ""]
    lines += ["| clause | check | " + " | ".join(_in_table(report.target) for report in reports) + " |"]
    lines.append("|" + "---|" * (2 + len(reports)))
    for check, clause in _checks(reports):
        cells = " | ".join(_cell(report, check) for report in reports)
        lines.append(f"| {clause} | {check.partition('.')[2]} | {cells} |")
    return "\n".join(lines) + "\n"


def _in_table(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _checks(reports: Iterable[Report]) -> list[tuple[str, str]]:
    seen = {result.check: result.clause for report in reports for result in report.results}
    return list(seen.items())


def _cell(report: Report, check: str) -> str:
    outcomes = {result.outcome for result in report.results if result.check == check}
    return MARKS[max(outcomes, key=OUTCOMES.index)] if outcomes else ""
