"""Backends over an engine of their own pass the whole suite."""

from __future__ import annotations

import asyncio

import pytest
from openmem.conformance import run


@pytest.mark.parametrize("options", [{"embedder": "test"}, {"embedder": "none", "partitions": "3"}])
def test_postgres_conforms(postgres_url: str, options: dict[str, str]) -> None:
    report = asyncio.run(run(postgres_url, options=options))
    assert report.exit_code == 0, report.summary()
    assert report.level == "full"
    assert {name for name, count in report.counts.items() if count} <= {"pass", "verified-unsupported"}
