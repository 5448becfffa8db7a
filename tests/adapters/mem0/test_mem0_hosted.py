"""mem0://HOST over the contract of mem0's hosted platform: what is sent, kept, owned, listed and ranked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from openmem import (
    InvalidRequestError,
    Memory,
    NotFoundError,
    ProviderUnavailableError,
    UnsupportedCapabilityError,
)
from openmem.conformance import run as conform
from support.mem0_platform import KEY, URL, Platform, row_of
from support.stores import everything

# --- as a whole -------------------------------------------------------------------------------------------------


def test_the_platform_conforms(platform: Platform) -> None:
    report = asyncio.run(conform(URL, options={"api_key": KEY}))
    assert report.exit_code == 0, report.summary()
    assert {name for name, count in report.counts.items() if count} <= {"pass", "verified-unsupported"}


def test_the_platform_conforms_where_it_queues_what_is_added(platform: Platform, naps: list[float]) -> None:
    platform.polls = 3
    report = asyncio.run(conform(URL, options={"api_key": KEY}))
    assert report.exit_code == 0, report.summary()
    assert {name for name, count in report.counts.items() if count} <= {"pass", "verified-unsupported"}
    assert naps


@pytest.mark.parametrize("group", ["UPD", "CON"])
def test_it_conforms_where_an_update_merges_metadata(platform: Platform, group: str) -> None:
    platform.merges = True
    report = asyncio.run(conform(URL, only=[group], options={"api_key": KEY}))
    assert report.exit_code == 0, report.summary()


# --- what is sent and kept --------------------------------------------------------------------------------------


def test_a_memory_goes_as_it_is_and_beside_its_envelope_for_others_to_see(platform: Platform, mem: Memory) -> None:
    record = mem.add(" Likes\ttea ", "ann lee", metadata={"topic": "drinks", "deep": {"a": [1]}}, scope="a/b")
    row = row_of(platform, record.id)
    assert (row["memory"], row["user_id"], row["metadata"]["topic"]) == (" Likes\ttea ", "ann%20lee", "drinks")
    assert row["metadata"].keys() == {"topic", "openmem", "openmem_id"}
    assert mem.get(record.id) == record
    assert (record.status, record.metadata, record.scope) == ("done", {"topic": "drinks", "deep": {"a": [1]}}, "a/b")


def test_what_an_update_takes_away_is_gone_beside_the_envelope_too(platform: Platform, mem: Memory) -> None:
    record = mem.add("tea", "ann", metadata={"topic": "drinks", "kept": 1}, tags=["t"])
    changed = mem.update(record.id, metadata={"topic": None}, content="coffee")
    row = row_of(platform, record.id)
    assert {name: row["metadata"].get(name) for name in ("topic", "kept")} == {"topic": None, "kept": 1}
    assert mem.get(record.id, user_id="ann") == changed
    assert (changed.metadata, changed.tags, changed.version) == ({"kept": 1}, ["t"], 2)
    assert mem.search("coffee", "ann")[0].memory == changed


def test_what_is_mem0s_own_travels_as_such(platform: Platform, mem: Memory) -> None:
    own = {"agent_id": "tutor", "run_id": "r1", "expiration_date": "2020-01-01"}
    record = mem.add("tea", "ann", **{"x-mem0": own})
    row = row_of(platform, record.id)
    assert {name: row[name] for name in own} == own
    assert mem.get(record.id) == record == mem.list("ann").items[0] == mem.search("tea", "ann")[0].memory
    mem.update(record.id, **{"x-mem0": {"expiration_date": None}})
    assert row["expiration_date"] is None
    with pytest.raises(InvalidRequestError, match="agent_id"):
        mem.update(record.id, **{"x-mem0": {"agent_id": "other"}})


# --- records of applications written for mem0 -------------------------------------------------------------------


def test_plain_records_are_read_changed_and_deleted(platform: Platform, mem: Memory) -> None:
    nested = {"topic": "drinks", "prefs": {"cup": "big"}}
    row = platform.store("Likes green tea", {"user_id": "ann", "metadata": nested, "run_id": "r1"})
    [plain] = mem.list("ann").items
    assert (plain.id, plain.content, plain.metadata) == (row["id"], "Likes green tea", nested)
    assert (plain.model_extra or {})["x-mem0"] == {"run_id": "r1", "categories": ["misc"]}
    assert [plain] == mem.list("ann", session="r1").items and not mem.list("ann", session="r2").items
    assert plain == mem.get(row["id"]) == mem.get(row["id"], user_id="ann") == mem.search("tea", "ann")[0].memory
    changed = mem.update(row["id"], tags=["t"], metadata={"topic": None})
    assert (changed.id, changed.tags, changed.metadata) == (row["id"], ["t"], {"prefs": {"cup": "big"}})
    assert mem.get(row["id"]) == changed == mem.list("ann").items[0]
    assert row["metadata"]["prefs"] == {"cup": "big"}, "its own application still finds it"
    mem.delete(row["id"], user_id="ann")
    assert not platform.rows


def test_a_plain_record_that_expired_is_read_where_that_is_asked_for(platform: Platform, mem: Memory) -> None:
    platform.store("old tea", {"user_id": "ann", "expiration_date": "2020-01-31"})
    assert not mem.list("ann").items
    [old] = mem.list("ann", include=["expired"]).items
    assert old.valid_to == datetime(2020, 2, 1, tzinfo=UTC)
    assert mem.search("tea", "ann", include=["expired"])[0].memory == old


def test_an_envelope_that_others_wrote_over_costs_what_was_in_it_and_no_more(platform: Platform, mem: Memory) -> None:
    record = mem.add("tea", "ann", scope="a")
    for broken in ("{", '{"created_at": 5}', '{"metadata": 7}'):
        row_of(platform, record.id)["metadata"]["openmem"] = broken
        assert [(each.id, each.content, each.scope) for each in mem.list("ann").items] == [(record.id, "tea", None)]
    assert mem.update(record.id, scope="b").scope == "b"
    assert mem.get(record.id).scope == "b"


# --- ownership --------------------------------------------------------------------------------------------------


def test_another_users_records_are_never_answered_though_the_platform_answers_them(
    platform: Platform, mem: Memory
) -> None:
    mine, theirs = mem.add("green tea", "ann"), mem.add("green tea indeed", "bob")
    plain, nobodys = platform.store("tea", {"user_id": "bob"}), platform.store("tea", {"agent_id": "ann"})
    platform.leaks = True
    assert everything(mem, "ann") == [mine]
    assert [each.memory for each in mem.search("green tea indeed", "ann")] == [mine]
    assert [each.memory for each in mem.related(mine.id)] == []
    assert mem.stats("ann").total == 1
    before = {row_id: dict(row) for row_id, row in platform.rows.items()}
    for memory_id in (theirs.id, plain["id"], nobodys["id"]):
        by_id: list[Callable[[], Any]] = [
            lambda each=memory_id: mem.get(each, user_id="ann"),
            lambda each=memory_id: mem.update(each, user_id="ann", content="taken over"),
            lambda each=memory_id: mem.delete(each, user_id="ann"),
        ]
        for call in by_id:
            with pytest.raises(NotFoundError, match="there is no memory"):
                call()
        [result] = mem.delete_many([memory_id], user_id="ann")
        assert result.error is not None and result.error.code == "not_found"
    with pytest.raises(NotFoundError):
        mem.get(nobodys["id"])
    assert platform.rows == before


def test_an_envelope_of_one_user_in_a_record_of_another_is_none(platform: Platform, mem: Memory) -> None:
    theirs = mem.add("a secret", "bob", scope="s")
    copied = platform.store("a secret", {"user_id": "ann", "metadata": row_of(platform, theirs.id)["metadata"]})
    for platform.leaks in (False, True):
        assert [(each.id, each.user_id, each.scope) for each in everything(mem, "ann")] == [(copied["id"], "ann", None)]
        assert everything(mem, "bob") == [theirs]
        assert mem.get(theirs.id) == theirs == mem.get(theirs.id, user_id="bob")
        assert mem.get(copied["id"], user_id="ann").content == "a secret"
        with pytest.raises(NotFoundError):
            mem.get(copied["id"], user_id="bob")
    mem.delete(theirs.id)
    assert [row["id"] for row in platform.rows.values()] == [copied["id"]]


# --- pages ------------------------------------------------------------------------------------------------------


def test_450_records_come_without_loss_or_repetition(platform: Platform, mem: Memory) -> None:
    for number in range(450):
        platform.store(f"fact {number}", {"user_id": "ann"})
    platform.store("theirs", {"user_id": "bob"})
    found = everything(mem, "ann")
    assert [each.content for each in found] == [f"fact {number}" for number in reversed(range(450))]
    assert platform.asked["list"] == 3
    pages, cursor = [], None
    while not pages or cursor:
        page = mem.list("ann", limit=32, cursor=cursor)
        pages.append(page.items)
        cursor = page.next_cursor
    assert [len(page) for page in pages] == [32] * 14 + [2]
    assert [each for page in pages for each in page] == found
    with Memory(URL, api_key=KEY, page_size=7) as small:
        assert everything(small, "ann") == found


def test_a_record_that_stays_is_not_lost_when_another_goes_between_pages(platform: Platform, mem: Memory) -> None:
    rows = [platform.store(f"fact {number}", {"user_id": "ann"}) for number in range(450)]
    newest = [rows[-1], rows[-2]]

    def shift(request: httpx.Request) -> None:
        if request.url.params.get("page") == "2" and newest:
            platform.remove(newest.pop())

    platform.fault = shift
    assert len({each.id for each in everything(mem, "ann")}) == 448


def test_a_list_that_never_holds_still_is_not_answered_in_part(platform: Platform, naps: list[float]) -> None:
    for number in range(30):
        platform.store(f"fact {number}", {"user_id": "ann"})

    def shift(request: httpx.Request) -> None:
        if request.url.params.get("page") == "2":
            platform.store("more", {"user_id": "ann"})

    platform.fault = shift
    with Memory(URL, api_key=KEY, page_size=10, retries=0) as mem, pytest.raises(ProviderUnavailableError) as caught:
        mem.list("ann")
    assert "came and went" in caught.value.message


# --- search -----------------------------------------------------------------------------------------------------


def test_equal_scores_are_newest_first_though_the_platform_has_them_otherwise(platform: Platform, mem: Memory) -> None:
    ids = [platform.store("tea", {"user_id": "ann"})["id"] for _ in range(80)]
    assert [each.memory.id for each in mem.search("tea", "ann", limit=3)] == ids[:-4:-1]
    assert len(mem.search("nothing like it", "ann", limit=100)) == 80


def test_few_among_more_than_the_platform_ranks_are_found_all_the_same(platform: Platform, mem: Memory) -> None:
    wanted = [mem.add(f"{'other ' * n}tea", "ann", scope="in").id for n in range(1, 6)]
    for _ in range(1100):
        platform.store("tea", {"user_id": "ann"})
    assert [each.memory.id for each in mem.search("tea", "ann", scope="in")] == wanted
    assert [each.memory.id for each in mem.search("tea", "ann", scope="in", limit=2)] == wanted[:2]
    assert mem.search("tea", "ann", scope="out") == []
    assert len(mem.search("tea", "ann", limit=100)) == 100
    assert mem.search("tea", "ann", scope="in", min_score=0.999) == [], "nothing deeper scores as much"


def test_what_cannot_be_ranked_is_refused_and_not_left_out(platform: Platform, mem: Memory) -> None:
    platform.store("something else", {"user_id": "ann", "metadata": {"topic": "rare"}})
    for _ in range(1000):
        platform.store("tea", {"user_id": "ann"})
    rare = {"metadata.topic": "rare"}
    with pytest.raises(UnsupportedCapabilityError, match="1000") as caught:
        mem.search("tea", "ann", filter=rare)
    assert mem.search("coffee", "ann", filter=rare, min_score=0.5) == [], "what was not read scores less"
    assert "list" in caught.value.remedy
    assert [each.content for each in mem.list("ann", filter=rare).items] == ["something else"]
