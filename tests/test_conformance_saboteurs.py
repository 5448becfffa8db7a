"""The kill matrix: each planted defect makes the suite fail on the clauses it breaks, through both clients."""

from __future__ import annotations

import asyncio

import pytest
from openmem.conformance import run
from saboteurs import SABOTEURS, Saboteur


@pytest.mark.parametrize("saboteur", SABOTEURS, ids=lambda saboteur: saboteur.name)
def test_is_caught(saboteur: Saboteur) -> None:
    with saboteur.patch():
        report = asyncio.run(run(saboteur.adapter, only=saboteur.clauses))
    assert report.exit_code == 1, report.summary()
    for colour in ("async", "sync"):
        failed = {each.clause for each in report.results if each.outcome == "fail" and each.colour == colour}
        assert set(saboteur.clauses) <= failed, report.summary()
