"""mem0://HOST where the platform takes its time: queued memories, facts of conversations, and batches."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx

from openmem import AsyncMemory, ConflictError, IngestionTimeoutError, Memory, NotFoundError, ProviderError
from support.mem0_platform import KEY, URL, Platform, row_of

# --- queued -----------------------------------------------------------------------------------------------------


def test_a_queued_memory_is_followed_until_it_is_there(platform: Platform, mem: Memory, naps: list[float]) -> None:
    platform.polls = 9
    record = mem.add("tea", "ann", tags=["t"])
    assert record.status == "queued"
    assert mem.get(record.id) == record
    assert not mem.list("ann").items
    for call in (lambda: mem.update(record.id, content="x"), lambda: mem.delete(record.id)):
        with pytest.raises(ConflictError, match="queued"):
            call()
    with pytest.raises(NotFoundError, match="there is no memory"):
        mem.get(record.id, user_id="bob")
    mem.wait_for_ingest([record.id], "ann")
    stored = mem.get(record.id)
    assert stored == record.model_copy(update={"status": "done"}) == mem.list("ann").items[0]
    assert mem.update(record.id, content="coffee").version == 2
    mem.delete(record.id)


def test_a_batch_knows_what_is_still_queued(platform: Platform, mem: Memory) -> None:
    there = mem.add("tea", "ann")
    platform.polls = 3
    queued = mem.add_many([{"content": "coffee"}], user_id="ann")[0]
    assert queued.memory is not None and queued.memory.status == "queued"
    one, other = mem.delete_many([queued.id or "", there.id], user_id="ann")
    assert one.error is not None and one.error.code == "conflict"
    assert other.error is None


@pytest.mark.parametrize("outcome", ["FAILED", "DROPPED"])
def test_an_add_that_stores_nothing_says_so(platform: Platform, mem: Memory, naps: list[float], outcome: str) -> None:
    platform.outcome = outcome
    with pytest.raises(ProviderError) as caught:
        mem.add("tea", "ann")
    assert caught.value.remedy
    platform.polls = 2
    record = mem.add("tea", "ann")
    with pytest.raises(ProviderError, match=record.id):
        mem.wait_for_ingest([record.id])
    assert mem.get(record.id).status == "failed"
    with pytest.raises(NotFoundError):
        mem.delete(record.id)


def test_a_queue_that_does_not_move_ends_the_wait(platform: Platform, mem: Memory, naps: list[float]) -> None:
    platform.polls = 10**6
    record = mem.add("tea", "ann")
    with pytest.raises(IngestionTimeoutError, match=record.id):
        mem.wait_for_ingest([record.id], timeout=0)


def test_the_oldest_of_too_many_queued_memories_is_forgotten(
    platform: Platform, mem: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openmem.adapters.mem0.ingestion.MOST", 1)
    platform.polls = 9
    first, second = mem.add("tea", "ann"), mem.add("coffee", "ann")
    assert mem.get(second.id).status == "queued"
    with pytest.raises(NotFoundError):
        mem.get(first.id)


def test_an_event_that_the_platform_forgot_leaves_the_record(platform: Platform, mem: Memory) -> None:
    platform.polls = 1
    record = mem.add("tea", "ann")
    platform.finish(platform.events.popitem()[1])
    assert mem.get(record.id).status == "done"


# --- facts ------------------------------------------------------------------------------------------------------

SAID = [{"role": "user", "content": "I like tea. I live in Oslo."}]


def test_facts_are_extracted_and_have_the_fields_asked_for(platform: Platform, mem: Memory, naps: list[float]) -> None:
    platform.polls = 3
    facts = mem.remember(SAID, "ann lee", scope="a/b", tags=["t"], metadata={"topic": "self", "deep": [1]})
    assert [each.content for each in facts] == ["I like tea", "I live in Oslo"]
    assert {(each.user_id, each.scope, each.status) for each in facts} == {("ann lee", "a/b", "done")}
    assert all(each.metadata == {"topic": "self", "deep": [1]} and each.tags == ["t"] for each in facts)
    assert len({each.id for each in facts}) == 2
    assert [mem.get(each.id, user_id="ann lee") for each in facts] == facts
    changed = mem.update(facts[0].id, content="I like coffee")
    assert mem.get(changed.id) == changed == mem.search("coffee", "ann lee")[0].memory


def test_facts_that_take_too_long_are_queued_as_one_conversation(platform: Platform, naps: list[float]) -> None:
    platform.polls = 2
    with Memory(URL, api_key=KEY, wait=0) as mem:
        [queued] = mem.remember(SAID, "ann", scope="a")
        assert (queued.status, queued.kind) == ("queued", "conversation")
        mem.wait_for_ingest([queued.id], "ann")
        made = (mem.get(queued.id).model_extra or {})["x-mem0"]["memories"]
        assert [mem.get(each).content for each in made] == ["I like tea", "I live in Oslo"]
        assert [each.scope for each in mem.list("ann").items] == ["a", "a"]


def test_an_extraction_that_fails_says_so_and_one_without_facts_is_empty(platform: Platform, mem: Memory) -> None:
    platform.outcome = "DROPPED"
    assert mem.remember(SAID, "ann") == []
    platform.outcome = "FAILED"
    with pytest.raises(ProviderError, match="facts"):
        mem.remember(SAID, "ann")


# --- batches ----------------------------------------------------------------------------------------------------


def test_an_item_that_is_refused_fails_alone(platform: Platform, mem: Memory) -> None:
    refusals = {b'"bad"': httpx.Response(400, json={"error": "no"}), b'"slow down"': httpx.Response(429)}
    platform.fault = lambda request: next((r for text, r in refusals.items() if text in request.content), None)
    items = [{"content": each} for each in ("one", "bad", "two", "slow down", "three")]
    results = mem.add_many(items, user_id="ann")
    codes = [result.error.code if result.error else None for result in results]
    assert codes == [None, "invalid_request", None, "rate_limited", None]
    assert sorted(each.content for each in mem.list("ann").items) == ["one", "three", "two"]


def test_deletes_are_one_request_and_single_ones_where_that_is_refused(platform: Platform, mem: Memory) -> None:
    ids = [result.id or "" for result in mem.add_many([{"content": f"fact {n}"} for n in range(250)], user_id="ann")]
    assert not any(result.error for result in mem.delete_many(ids[:200], user_id="ann"))
    assert (platform.asked["batch"], platform.asked["delete"]) == (1, 0)
    gone = row_of(platform, ids[200])

    def meanwhile(request: httpx.Request) -> None:
        if request.url.path == "/v1/batch/" and gone["id"] in platform.rows:
            platform.remove(gone)

    platform.fault = meanwhile
    results = mem.delete_many(ids[200:], user_id="ann")
    assert [result.error.code for result in results if result.error] == ["not_found"]
    assert results[0].error is not None
    assert not platform.rows


def test_a_cancelled_batch_leaves_nothing_running() -> None:
    async def work() -> None:
        platform = Platform()
        begun, held = asyncio.Event(), asyncio.Event()

        async def hold(request: httpx.Request) -> httpx.Response:
            begun.set()
            await held.wait()
            return platform.answer(request)

        with respx.mock(assert_all_called=False) as router:
            router.route().mock(side_effect=hold)
            async with AsyncMemory(URL, api_key=KEY, timeout=1000) as mem:
                batch = asyncio.ensure_future(mem.add_many([{"content": "x"}] * 50, user_id="ann"))
                await begun.wait()
                batch.cancel()
                await asyncio.wait({batch}, timeout=30)
                assert batch.cancelled()
                assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not platform.rows

    asyncio.run(work())


def test_many_work_side_by_side_in_order_of_their_items(platform: Platform, mem: Memory) -> None:
    results = mem.add_many([{"content": f"fact {n}"} for n in range(60)], user_id="ann")
    assert [result.memory.content for result in results if result.memory] == [f"fact {n}" for n in range(60)]
    since = datetime.now(UTC) - timedelta(days=1)
    assert len(mem.list("ann", limit=500, since=since).items) == 60
