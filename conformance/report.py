"""What a run found: one screen, JSON, JUnit and a Markdown matrix."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

from openmem._generated.clauses import CLAUSES
from openmem.types import Capabilities

from .checks import CHECKS
from .header import Header
from .levels import LEVELS, Reach, reaches
from .probes import declared

Outcome = Literal["pass", "verified-unsupported", "deviation", "inconclusive", "fail", "error"]
OUTCOMES: tuple[Outcome, ...] = ("pass", "verified-unsupported", "deviation", "inconclusive", "fail", "error")
GOOD = frozenset({"pass", "verified-unsupported", "deviation"})
SHOWN = 400
"""Characters of what was due and what came, on the screen."""
MARKS = {"pass": "✓", "verified-unsupported": "–", "deviation": "△", "inconclusive": "?", "fail": "✗", "error": "!"}


@dataclass(frozen=True)
class Result:
    """What became of one check through one client."""

    check: str
    clause: str
    colour: str
    outcome: Outcome
    message: str
    seconds: float
    expected: str = ""
    """What was due where it is not good, and what came instead."""
    got: str = ""

    def __repr__(self) -> str:
        return f"Result({self.check!r}, {self.colour!r}, {self.outcome!r})"


@dataclass
class Report:
    """A run over one backend; without complete it did not reach its end and proves nothing.

    planned: how many results a run to the end has. could_not_run: why it did not begin, or stopped.
    """

    target: str
    header: Header
    only: tuple[str, ...] = ()
    planned: int = 0
    provider: str = ""
    capabilities: Capabilities | None = None
    results: list[Result] = field(default_factory=list)
    could_not_run: str = ""
    complete: bool = False
    left: list[str] = field(default_factory=list)
    """Users of whom memories may be left in the provider."""

    def __repr__(self) -> str:
        return f"Report({self.target!r}, {len(self.results)} of {self.planned} results, complete={self.complete})"

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
    def reaches(self) -> list[Reach]:
        """How far each level is proven, the lowest first; a run without its end proves nothing."""
        outcomes: dict[str, set[str]] = {}
        for result in self.results if self.exit_code != 2 else ():
            outcomes.setdefault(result.check, set()).add(result.outcome)
        return reaches(outcomes)

    @property
    def level(self) -> str:
        """The highest level all of whose clauses, and all below it, are proven."""
        reached = "none"
        for reach in self.reaches:
            if self.exit_code == 2 or not reach.reached:
                break
            reached = reach.level
        return reached

    def summary(self) -> str:
        """Say the outcome: circumstances, counts, levels, then what is not good."""
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items() if count)
        checks = f"{len({result.check for result in self.results})} checks, async and sync: {counts}"
        if self.exit_code == 2:
            lines = [f"{self.target}: {self.verdict}", f"  {self.header}", *([f"  {checks}"] if counts else ())]
        else:
            lines = [f"{self.target}: {self.verdict}; {checks}"]
            lines += [f"  {line}" for line in (self.header, *self.reaches)]
        lines += [f"  not declared: {', '.join(self.undeclared)}"] if self.undeclared else []
        lines += [f"  {self.remains}"] if self.left else []
        return "\n".join([*lines, *self._faults()])

    @property
    def verdict(self) -> str:
        """The level that is proven, or why the run proves none."""
        if self.exit_code != 2:
            return f"level {self.level}" + (f", only {', '.join(self.only)}" if self.only else "")
        if not self.results:
            return f"could not run: {self.could_not_run or 'no check was run'}"
        last = self.results[-1]
        where = f"{len(self.results)} of {self.planned} results, with {last.check} ({last.colour})"
        return f"stopped after {where}: {self.could_not_run or 'the run was cut off'}"

    @property
    def undeclared(self) -> list[str]:
        """Verbs and features that checks of the run need and the provider does not declare."""
        if self.capabilities is None:
            return []
        run = {result.check for result in self.results}
        needs = dict.fromkeys(need for check in CHECKS if check.id in run for need in check.requires)
        return [need for need in needs if not declared(need, self.capabilities)]

    @property
    def remains(self) -> str:
        """Say what could not be removed."""
        users = "one user" if len(self.left) == 1 else f"{len(self.left)} users"
        return f"memories may be left in {self.target}, of {users}, such as {self.left[0]}"

    def _faults(self) -> Iterator[str]:
        """Say what is not good: the clause, what was due and what came, of both clients in the words of the first."""
        faults: dict[tuple[Outcome, str], list[Result]] = {}
        for result in self.results:
            if result.outcome not in GOOD:
                faults.setdefault((result.outcome, result.check), []).append(result)
        for (outcome, check), results in faults.items():
            first = results[0]
            yield f"  {outcome:<12} {check} ({', '.join(each.colour for each in results)})"
            yield f"    {first.clause}: {_law(first)}"
            yield f"    expected: {_cut(first.expected)}"
            yield f"    got: {_cut(first.got)}"

    def as_json(self) -> dict[str, Any]:
        """Write the report as JSON values."""
        return {
            "target": self.target,
            "header": asdict(self.header),
            "only": list(self.only),
            "provider": self.provider,
            "capabilities": self.capabilities.model_dump(exclude_none=True) if self.capabilities else None,
            "level": self.level,
            "levels": {reach.level: reach.clauses for reach in self.reaches},
            "exit_code": self.exit_code,
            "could_not_run": self.could_not_run or None,
            "counts": self.counts,
            "planned": self.planned,
            "undeclared": self.undeclared,
            "results": [asdict(result) | {"clause_text": _law(result)} for result in self.results],
            "complete": self.complete,
            "left": self.left,
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
                told = ET.SubElement(case, elements.get(result.outcome, "skipped"), message=text)
                if result.outcome not in GOOD:
                    clause = f"{result.clause}: {_law(result)}"
                    told.text = _printable(f"{clause}\nexpected: {result.expected}\ngot: {result.got}")
        if self.exit_code == 2:
            case = ET.SubElement(suite, "testcase", classname="run", name="run")
            ET.SubElement(case, "error", message=_printable(self.verdict))
        return suite


def _law(result: Result) -> str:
    """Quote the clause that a result is not good by."""
    return "" if result.outcome in GOOD else CLAUSES.get(result.clause, "")


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]} …"


def _printable(text: str) -> str:
    # XML has no control characters; a message may quote a record that does.
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def matrix(reports: Sequence[Report]) -> str:
    """Write several reports as one Markdown table: a row a check, a column a backend."""
    levels = [f"{level} proven" for level in LEVELS]
    columns = ["backend", "provider", "level", *levels, *OUTCOMES]
    lines = ["# Conformance", "", *_row(columns), *_row(["---"] * len(columns))]
    for report in reports:
        level = report.level if report.exit_code != 2 else report.verdict
        proven = [f"{len(each.clauses.get('proven', ()))} of {each.of}" for each in report.reaches]
        lines += _row([report.target, report.provider, level, *proven, *map(str, report.counts.values())])
    lines += ["", " ".join(f"{mark} {name}" for name, mark in MARKS.items()), ""]
    lines += [f"- {_in_table(f'{report.target}: {_part(report)}{report.header}')}" for report in reports]
    lines += ["", *_row(["clause", "check", *(report.target for report in reports)])]
    lines += _row(["---"] * (2 + len(reports)))
    for check, clause in _checks(reports):
        lines += _row([clause, check.partition(".")[2], *(_cell(report, check) for report in reports)])
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> list[str]:
    return [f"| {' | '.join(map(_in_table, cells))} |"]


def _part(report: Report) -> str:
    return f"only {', '.join(report.only)}; " if report.only else ""


def _in_table(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _checks(reports: Iterable[Report]) -> list[tuple[str, str]]:
    seen = {result.check: result.clause for report in reports for result in report.results}
    return list(seen.items())


def _cell(report: Report, check: str) -> str:
    outcomes = {result.outcome for result in report.results if result.check == check}
    return MARKS[max(outcomes, key=OUTCOMES.index)] if outcomes else ""
