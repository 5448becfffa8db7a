"""memory:// under Ctrl-C and fork: each change is whole or not at all, the indexes are those of the records."""

from __future__ import annotations

import os
import threading
import traceback
from datetime import datetime
from itertools import count
from typing import Any

import pytest

from openmem import InvalidRequestError, Memory
from openmem._generated import models
from openmem.adapters.memory import MemoryAdapter
from openmem.runtime import bridge
from openmem.runtime.calls import CURRENT
from support.clocks import START
from support.interrupts import at_bytecodes
from support.stand import VERBS, WAYS, Stand, check, hold_indexes, interrupt, traced
from support.stores import everything

ROUNDS = 40
"""Interrupts a verb and way; tests/soak has more."""


# An interrupt between the making of a coroutine and its first step leaves one that nobody awaits.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", VERBS)
def test_an_interrupted_change_is_whole_or_nothing(verb: str, way: str) -> None:
    stand = Stand(verb + way)
    came = 0
    for _ in range(ROUNDS):
        came += interrupt(stand, verb, WAYS[way])
        hold_indexes(stand.memory)
        assert not bridge.stepping()  # nobody is taken for a sync caller for ever
        assert CURRENT.get() is None
    assert came > 0.8 * ROUNDS


@pytest.mark.parametrize("verb", VERBS)
def test_a_child_finds_no_change_of_another_thread_half_done(verb: str) -> None:
    stand = Stand(verb)
    stand.refill()
    change = getattr(stand, verb)()
    with at_bytecodes(None, traced) as counted:
        stand.do(change)
    for share in range(1, 6):
        stand.refill()
        halted_and_forked(stand, verb, share * counted.seen // 6)


def halted_and_forked(stand: Stand, verb: str, at: int) -> None:
    """Fork while another thread stands in the midst of a change, and use the store in the child, then here."""
    change, before = getattr(stand, verb)(), stand.state()
    halted, go_on = threading.Event(), threading.Event()

    def halt() -> None:
        halted.set()
        go_on.wait()

    def work() -> None:
        with at_bytecodes(at, traced, halt):
            stand.do(change)
        halted.set()

    thread = threading.Thread(target=work)
    thread.start()
    halted.wait()
    child = os.fork()
    if child == 0:
        try:
            check(stand, before, verb)
            hold_indexes(stand.memory)
            stand.do(stand.add())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    go_on.set()
    thread.join()
    assert status == 0
    assert check(stand, before, verb)
    hold_indexes(stand.memory)


def test_a_vector_that_does_not_fit_changes_nothing() -> None:
    adapter = MemoryAdapter(embedding=models.EmbeddingInfo(model="m", dimension=2))
    kept = bridge.step(adapter.handle(models.AddRequest(content="tea", user_id="u", vector=[1.0, 0.0])))
    requests = [
        models.AddRequest(content="more tea", user_id="u", vector=[1.0, 0.0, 0.0]),
        models.UpdateRequest(id=kept.id, content="coffee", vector=[1.0]),
        models.AddRequest(content="more tea", user_id="u", vector=[1.0, 0.0, 0.0], supersedes=[kept.id]),
    ]
    for request in requests:
        with pytest.raises(InvalidRequestError, match="numbers, not 2"):
            bridge.step(adapter.handle(request))
        page = bridge.step(adapter.handle(models.ListRequest(user_id="u", include=["superseded"])))
        assert page.items == [kept]
        assert bridge.step(adapter.handle(models.SearchRequest(query="tea", user_id="u", mode="keyword"))).results


def test_a_part_of_a_batch_that_fails_is_undone() -> None:
    calls = count(1)

    def clock() -> datetime:
        if next(calls) == 1_500:  # in the second part of the batch
            raise OSError("no clock")
        return START

    memory = Memory("memory://", embedder="test:16", clock=clock)
    kept = memory.add("kept word", "u", external_id="kept")
    items: list[Any] = [{"content": f"word{number}"} for number in range(1_200)]
    items[700] = {"content": "changed word", "external_id": "kept"}
    results = memory.add_many(items, user_id="u")
    assert [number for number, result in enumerate(results) if result.error] == list(range(500, 1_000))
    assert {result.error.code for result in results[500:1_000] if result.error} == {"provider_error"}
    assert {each.id for each in everything(memory, "u")} == {kept.id, *(each.id for each in results if each.id)}
    assert memory.get(kept.id) == kept
    assert [hit.memory.id for hit in memory.search("kept", "u", mode="keyword")] == [kept.id]
    assert memory.search("changed", "u", mode="keyword") == []
