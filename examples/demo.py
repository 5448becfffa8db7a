"""One script on five backends, then the conformance suite on each; see `make demo`.

What each engine answered is one table; the suite ends in a verdict of one line for each and the path of the report.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path

from agent import LATER, talk

from openmem import Memory
from openmem.cli import output
from openmem.cli.tables import show_rows
from openmem.conformance import CHECKS, Progress, Report, matrix, run

OUT = Path("out/conformance")
ENGINES = {
    "memory": "memory://",
    "sqlite": f"sqlite:///{OUT}/store.db",
    "postgres": f"{os.environ['POSTGRES_URL']}&db_schema=conformance",
    "qdrant": f"qdrant+local:///{OUT}/qdrant",
    "edge": f"qdrant+edge:///{OUT}/edge",
}
"""Profile of openmem.toml -> where the suite writes, and removes what it wrote."""
LONG = {"BAT", "CTX", "FIL"}
"""Groups that take minutes in the Qdrant client's local mode, which reads everything for each answer."""
PARTS = {"qdrant": [group for group in dict.fromkeys(check.group for check in CHECKS) if group not in LONG]}
"""Engine -> the groups of checks that it runs here where it does not run all; `make test` runs them."""
DONE: SynchronizedArray[int]


def main() -> int:
    """Show what the engines answered, then what the suite says of them; return the worst exit code."""
    show_rows(answers(), ("question", "recalled", *ENGINES))
    print("\nThe conformance suite on each, two at a time, which takes one to two minutes …", flush=True)
    spawn = multiprocessing.get_context("spawn")
    done = spawn.Array("i", len(ENGINES))
    with ProcessPoolExecutor(2, spawn, share, (done,)) as pool:
        slowest_first = sorted(ENGINES, key="qdrant".__ne__)
        running = {engine: pool.submit(conform, engine) for engine in slowest_first}
        show_progress([*running.values()], done)
        reports = {engine: running[engine].result() for engine in ENGINES}
    for engine, report in reports.items():
        report.write(OUT / engine)
        print(f"{engine:<9} {verdict(report)}")
    (OUT / "matrix.md").write_text(matrix(list(reports.values())), "utf-8")
    print(f"The whole report: {OUT / 'matrix.md'}")
    return max(report.exit_code for report in reports.values())


def answers() -> list[dict[str, str]]:
    """Ask each engine, and note for each answer which of them gave it."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for engine in ENGINES:
        with Memory.from_config(profile=engine) as memory:
            for (question, _), block in zip(LATER, talk(memory), strict=True):
                recalled = re.sub(r" \[[^][]*\]$", "", block.text, flags=re.MULTILINE)  # ids are each engine's own
                row = rows.setdefault((question, recalled), {"question": question, "recalled": recalled})
                row[engine] = "✓"
    return sorted(rows.values(), key=lambda row: [question for question, _ in LATER].index(row["question"]))


def share(done: SynchronizedArray[int]) -> None:
    """Let the processes of the suite tell this one how much of it is done on each engine, in percent."""
    global DONE
    DONE = done


def conform(engine: str) -> Report:
    """Run the suite on an engine, or its part."""

    def watch(progress: Progress) -> None:
        DONE[[*ENGINES].index(engine)] = 100 * progress.done // progress.of

    return asyncio.run(run(ENGINES[engine], only=PARTS.get(engine, ()), watch=watch))


def show_progress(running: Sequence[Future[Report]], done: SynchronizedArray[int]) -> None:
    """Wait for the runs, and show a person at a terminal how far they are, on a line that is gone afterwards."""
    while output.watched() and wait(running, timeout=0.2).not_done:
        shown = ", ".join(f"{engine} {percent} %" for engine, percent in zip(ENGINES, done[:], strict=True))
        sys.stderr.write(f"\r\x1b[K{shown}")
        sys.stderr.flush()
    if output.watched():
        sys.stderr.write("\r\x1b[K")


def verdict(report: Report) -> str:
    """Say in a line what a report comes to."""
    if report.exit_code == 2:
        return report.verdict
    checks = {result.check for result in report.results}
    bad = len({result.check for result in report.results if result.outcome not in ("pass", "verified-unsupported")})
    left_out = list(dict.fromkeys(check.group for check in CHECKS if check.id not in checks))
    level = f"a part ({', '.join(left_out)} not run)" if left_out else report.verdict
    full = report.reaches[-1]
    said = [f"{len(checks)} checks, {bad} not good" if bad else f"{len(checks)} checks, all good"]
    said += [f"{len(full.clauses.get('proven', ()))} of {full.of} clauses proven"]
    said += [f"{len(declined)} declined"] if (declined := full.clauses.get("declined")) else []
    return f"{level}: {'; '.join(said)}"


if __name__ == "__main__":
    sys.exit(main())
