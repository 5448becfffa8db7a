"""Backends over an engine of their own pass the whole suite, and have nothing of it afterwards."""

from __future__ import annotations

import asyncio

import pytest

from openmem.conformance import Progress, run
from support.servers import PostgresCluster


def memories(postgres: PostgresCluster, database: str) -> int:
    count: int = postgres.run("SELECT count(*) FROM openmem.memories", database=database)[0][0]
    return count


@pytest.mark.parametrize("options", [{"embedder": "test"}, {"embedder": "none", "partitions": "3"}])
def test_postgres_conforms(
    postgres: PostgresCluster, database: str, postgres_url: str, options: dict[str, str]
) -> None:
    report = asyncio.run(run(postgres_url, options=options))
    assert report.exit_code == 0, report.summary()
    assert report.level == ("full" if options["embedder"] == "test" else "standard")
    assert {name for name, count in report.counts.items() if count} <= {"pass", "verified-unsupported"}
    assert memories(postgres, database) == 0


def test_a_run_over_postgres_that_is_cancelled_leaves_nothing(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    async def interrupted() -> None:
        task = asyncio.current_task()

        def watch(progress: Progress) -> None:
            if progress.done == 5 and task is not None:
                asyncio.get_running_loop().call_soon(task.cancel)

        await run(postgres_url, only=["BAT"], watch=watch)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert memories(postgres, database) == 0
