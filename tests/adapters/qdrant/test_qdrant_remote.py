"""qdrant:// against the contract of the client: what is sent, what errors become, and writers that meet."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import httpx
import pytest
import respx
from qdrant_client import models

from openmem import (
    AsyncMemory,
    ConfigurationError,
    ConflictError,
    Memory,
    OMPError,
    PayloadTooLargeError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    UnauthorizedError,
)
from openmem.conformance.runner import run as conform
from openmem.embedding.testing import WordEmbedder
from support.clocks import Clock
from support.qdrant_server import Server
from support.stores import everything
from support.twins import at

URL = "qdrant://qdrant.test:6333/mem"
SECRET = "sk-very-secret"


@pytest.fixture
def server() -> Iterator[Server]:
    """Yield a server at qdrant.test, by either scheme."""
    twin = Server()
    with at("qdrant.test", twin):
        yield twin
    twin.client.close()


@pytest.fixture
def routes() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


def open_store(url: str = URL, **options: Any) -> Memory:
    return Memory(url, **{"embedder": "test:32", **options})


def both(scenario: Callable[[AsyncMemory, AsyncMemory], Any]) -> Any:
    """Run a scenario with two clients that share nothing but the server, as two processes do."""

    async def run() -> Any:
        async with AsyncMemory(URL, embedder="test:32") as one, AsyncMemory(URL, embedder="test:32") as two:
            return await scenario(one, two)

    return asyncio.run(run())


# --- what is sent -----------------------------------------------------------------------------------------------


def test_the_key_goes_with_every_request_and_asks_for_tls(server: Server) -> None:
    with open_store(api_key=SECRET) as memory:
        memory.add("a fact", "u")
        memory.search("fact", "u")
    assert len(server.requests) > 5
    assert {request.headers.get("api-key") for request in server.requests} == {SECRET}
    assert {request.url.scheme for request in server.requests} == {"https"}


@pytest.mark.parametrize(
    ("url", "options", "scheme"),
    [
        (URL, {}, "http"),
        (URL.replace("qdrant:", "qdrants:"), {}, "https"),
        (URL, {"https": True}, "https"),
        (URL, {"https": False, "api_key": SECRET}, "http"),
        ("qdrants://:sk-very-secret@qdrant.test/mem", {}, "https"),
        (f"{URL}?api_key={SECRET}", {}, "https"),
    ],
)
def test_tls_is_used_where_the_url_or_the_options_say_so(
    server: Server, url: str, options: dict[str, Any], scheme: str
) -> None:
    with open_store(url, **options) as memory:
        memory.list("u")
    for request in server.requests:
        assert str(request.url).startswith(f"{scheme}://qdrant.test:6333/")
    assert {"mem", "mem_sidecar"} == server.created.keys()


def test_a_new_collection_is_made_for_many_users_and_for_a_cluster(server: Server) -> None:
    with open_store(shard_number=6, replication_factor=2, write_consistency_factor=2) as memory:
        memory.list("u")
    for asked in server.created.values():
        assert (asked["shard_number"], asked["replication_factor"], asked["write_consistency_factor"]) == (6, 2, 2)
        assert asked["hnsw_config"] == {"m": 0, "payload_m": 16}
        assert asked["sparse_vectors"] == {"terms-unicode-3": {"modifier": "idf"}}
    assert server.created["mem"]["vectors"] == {"dense": {"size": 32, "distance": "Cosine"}}
    assert server.indexes["mem"]["user_id"] == {"type": "keyword", "is_tenant": True}
    assert {"scopes", "tags", "created_at", "superseded_at"} < server.indexes["mem"].keys()
    made = server.asked["put_index"]
    with open_store() as memory:
        memory.list("u")
    assert server.asked["put_index"] == made, "what is there is not made again"


def test_searches_are_exact_unless_told_otherwise(server: Server) -> None:
    with open_store() as memory:
        memory.add_many([{"content": f"fact {'further ' * n}", "user_id": "u"} for n in range(40)])
        server.searches.clear()
        assert len(memory.search("fact", "u", mode="vector")) == 10
    assert [search["params"] for search in server.searches] == [{"exact": True}]
    server.searches.clear()
    with open_store(exact=False) as memory:
        assert len(memory.search("fact", "u", mode="vector")) == 10
        assert [search["params"] for search in server.searches] == [{"exact": False}]
        assert len(memory.search("fact", "u", mode="vector", limit=60)) == 40
    exact = [search["params"]["exact"] for search in server.searches]
    assert exact == [False, False, True], "an answer shorter than asked for is looked for exactly"


def test_rarity_is_counted_among_the_users_own(server: Server) -> None:
    with open_store() as memory:
        memory.add("a fact", "u")
        server.searches.clear()
        memory.search("fact", "u", mode="keyword")
    [search] = server.searches
    assert search["params"]["idf"]["corpus"]["must"] == [{"key": "user_id", "match": {"value": "u"}}]


def test_a_batch_of_changes_is_few_requests(server: Server) -> None:
    with open_store() as memory:
        memory.list("u")
        for new in (1, 0):
            before = server.asked.total()
            memory.add_many([{"content": f"fact {n}", "user_id": f"user {n}"} for n in range(250)])
            told = (
                "a look at the store's embedding, for new terms, at who was forgotten, the memories, and the audit log"
            )
            assert server.asked.total() - before == 3 + 2 * new, told
        assert memory.audit("user 7")[0].action == "add_many"


def test_what_few_records_answer_is_few_requests_however_many_there_are(server: Server) -> None:
    with open_store() as memory:
        memory.add_many([{"content": f"fact {n}", "user_id": "u", "external_id": f"k{n}"} for n in range(400)])
        chain = [memory.add("version 0", "u").id]
        for number in range(1, 40):
            chain.append(memory.add(f"version {number}", "u", supersedes=chain[-1:]).id)
        before = server.asked.total()
        assert [each.id for each in memory.history(chain[17], user_id="u")] == chain
        assert server.asked.total() - before <= 3
        before = server.asked.total()
        assert [each.content for each in memory.list("u", filter={"external_id": "k7"}).items] == ["fact 7"]
        assert memory.list("u", filter={"external_id": "k7", "content": "other"}).items == []
        assert memory.list("u", filter={"external_id": "none"}).items == []
        assert server.asked.total() - before <= 6
        before = server.asked.total()
        assert memory.stats("u").superseded == 39
        assert server.asked.total() - before <= 2


def test_history_of_a_long_chain_leaves_out_what_was_deleted(server: Server) -> None:
    with open_store() as memory:
        chain = [memory.add("version 0", "u").id]
        for number in range(1, 6):
            chain.append(memory.add(f"version {number}", "u", supersedes=chain[-1:]).id)
        memory.delete(chain[3])
        assert [each.id for each in memory.history(chain[0])] == chain[:3]
        assert [each.id for each in memory.history(chain[5])] == chain[4:]
        loose = memory.add("alone", "u")
        assert [each.id for each in memory.history(loose.id)] == [loose.id]


def test_a_lock_of_a_process_that_died_is_waited_for_and_then_taken_over(
    server: Server, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store() as memory:
        record = memory.add("a fact", "u")
        [point] = server.client.scroll("mem")[0]
        server.client.set_payload("mem", {"revision": f"~{int(time.time())}~another"}, [point.id])
        for change in (lambda: memory.delete(record.id), lambda: memory.update(record.id, tags=["x"])):
            with pytest.raises(ConflictError, match="locked") as caught:
                change()
            assert caught.value.written == "nothing"
        assert naps, "the other writer is waited for"
        assert memory.get(record.id) == record
        monkeypatch.setattr("openmem.adapters.qdrant.points.ABANDONED", -2.0)
        assert memory.update(record.id, tags=["x"]).version == 2
        memory.delete(record.id)
        assert memory.list("u").items == []


@pytest.mark.parametrize("verb", ["delete", "supersede"])
def test_a_lock_that_could_not_be_taken_off_is_taken_off_by_the_next_write(
    verb: str, server: Server, naps: list[float]
) -> None:
    with open_store() as memory, open_store() as other:
        record = memory.add("a fact", "u")
        other.list("u")
        refused: list[httpx.Request] = []

        def broken(request: httpx.Request) -> httpx.Response | None:
            """Refuse every write of memories but the first, which locks, and the looks after those."""
            if request.url.path.startswith("/collections/mem/points"):
                refused.append(request)
                return httpx.Response(500) if len(refused) > reads else None
            return None

        reads = 3  # the memory, its lock, and whether that is there
        server.fault = broken
        with pytest.raises(ProviderError):
            memory.delete(record.id) if verb == "delete" else memory.add("new", "u", supersedes=[record.id])
        server.fault = lambda request: None
        held = server.client.retrieve("mem", [each.id for each in server.client.scroll("mem")[0]])
        assert [str((each.payload or {})["revision"])[0] for each in held] == ["~"], "it is locked"
        memory.add("another", "v")
        assert other.update(record.id, tags=["x"]).version == 2
        assert not naps, "nobody waits for it"


@pytest.mark.parametrize("before", [None, "test:8", "none"])
def test_some_that_open_an_empty_store_with_different_embedders_agree(server: Server, before: str | None) -> None:
    async def scenario() -> None:
        for turn in range(4):
            if before is not None:
                async with AsyncMemory(f"{URL}{turn}", embedder=before) as former:
                    await former.delete((await former.add("a fact", "u")).id)
            clients = [AsyncMemory(f"{URL}{turn}", embedder=f"test:{width}") for width in (16, 32, 16, 32)]
            added = await asyncio.gather(*(each.add("a fact", "u") for each in clients), return_exceptions=True)
            stored = [each for each in added if not isinstance(each, BaseException)]
            assert stored
            failed = [each for each in added if isinstance(each, BaseException)]
            assert {type(each) for each in failed} <= {ConfigurationError, ProviderError}
            assert {each.written for each in failed if isinstance(each, OMPError)} <= {"nothing"}
            [model] = {each.embedding_model or "" for each in stored}
            for each in clients:
                await each.close()
            async with AsyncMemory(f"{URL}{turn}", embedder=model.replace("test-words-", "test:")) as memory:
                hits = await memory.search("a fact", "u", mode="vector")
                assert {hit.memory.id for hit in hits if hit.score > 0.99} == {each.id for each in stored}
            assert len(server.client.get_collection(f"mem{turn}").config.params.vectors or ()) == 1

    asyncio.run(scenario())


# --- errors -----------------------------------------------------------------------------------------------------

ANSWERS: list[tuple[Any, type[OMPError], float | None]] = [
    (httpx.Response(401), UnauthorizedError, None),
    (httpx.Response(403), UnauthorizedError, None),
    (httpx.Response(413), PayloadTooLargeError, None),
    (httpx.Response(429), RateLimitedError, None),
    (httpx.Response(429, headers={"Retry-After": "7"}), RateLimitedError, 7.0),
    (httpx.Response(429, headers={"Retry-After": "Sat, 01 Jan 2028 00:00:00 GMT"}), RateLimitedError, None),
    (httpx.Response(503, headers={"Retry-After": "3"}), ProviderUnavailableError, 3.0),
    (httpx.Response(502, text="<html>"), ProviderUnavailableError, None),
    (httpx.Response(500, text=SECRET), ProviderError, None),
    (httpx.Response(400), ProviderError, None),
    (httpx.Response(200, text="<html>"), ProviderError, None),
    (httpx.Response(200, json={"unexpected": 1}), ProviderError, None),
    (httpx.ConnectError("refused"), ProviderUnavailableError, None),
    (httpx.ReadTimeout("slow"), ProviderUnavailableError, None),
    (ssl.SSLError("certificate"), ProviderUnavailableError, None),
]


@pytest.mark.parametrize(("answer", "expected", "after"), ANSWERS)
def test_failures_are_typed_and_keep_the_key_to_themselves(
    routes: respx.MockRouter, answer: Any, expected: type[OMPError], after: float | None
) -> None:
    how = {"return_value": answer} if isinstance(answer, httpx.Response) else {"side_effect": answer}
    routes.route(host="qdrant.test").mock(**how)
    with open_store(api_key=SECRET, retries=0) as memory:
        with pytest.raises(expected) as caught:
            memory.list("u")
        assert SECRET not in repr(memory) + repr(memory.adapter.settings)
    error = caught.value
    assert type(error) is expected
    assert error.retry_after == after
    assert error.remedy
    assert error.__cause__ is not None
    assert "qdrant.test:6333" in error.message
    assert SECRET not in f"{error} {error!r} {error.detail()}"


def test_refused_reads_are_repeated(server: Server, naps: list[float]) -> None:
    with open_store() as memory:
        record = memory.add("a fact", "u")
        server.refusals += [httpx.Response(429, headers={"Retry-After": "2"}), httpx.Response(503)]
        assert memory.get(record.id) == record
    assert naps[0] == 2
    assert len(naps) == 2


def test_a_write_whose_answer_was_lost_is_repeated_and_done_once(server: Server, naps: list[float]) -> None:
    with open_store() as memory:
        memory.list("u")
        with server.failing(["cut"]):
            record = memory.add("a fact", "u")
        assert len(naps) == 1
        assert memory.list("u").items == [record]


@pytest.mark.parametrize("reached", [0, 1])
@pytest.mark.parametrize("verb", ["add", "add with external_id", "supersede", "update", "delete"])
def test_a_write_that_never_reached_the_server_changed_nothing(
    verb: str, reached: int, server: Server, naps: list[float]
) -> None:
    with open_store() as memory:
        record = memory.add("a fact", "u")
        changes: dict[str, Callable[[], Any]] = {
            "add": lambda: memory.add("more", "u"),
            "add with external_id": lambda: memory.add("more", "u", external_id="k"),
            "supersede": lambda: memory.add("more", "u", supersedes=[record.id]),
            "update": lambda: memory.update(record.id, content="changed"),
            "delete": lambda: memory.delete(record.id),
        }
        left = reached if verb in ("supersede", "delete") else 0  # there, locks are taken before

        def gone(request: httpx.Request) -> None:
            """Be away from a write of memories on."""
            nonlocal left
            left -= request.url.path == "/collections/mem/points/batch"
            if left < 0:
                tries.append(request)
                raise httpx.ConnectError("refused", request=request)

        tries: list[httpx.Request] = []
        server.fault = gone
        with pytest.raises(ProviderUnavailableError) as caught:
            changes[verb]()
        assert caught.value.written == "nothing"
        assert verb != "add" or len(tries) == 3, "nothing is looked up in vain"
        server.fault = lambda request: None
        assert [each.content for each in memory.list("u").items] == ["a fact"]


@pytest.mark.parametrize("version", ["1.18.4", "0.11.0"])
def test_a_server_that_is_too_old_is_refused(server: Server, version: str) -> None:
    server.version = version
    with open_store() as memory, pytest.raises(ConfigurationError, match=version) as caught:
        memory.list("u")
    assert "1.19" in caught.value.remedy


# --- several processes ------------------------------------------------------------------------------------------


def test_several_processes_open_an_empty_server_at_once(server: Server) -> None:
    async def run() -> None:
        clients = [AsyncMemory(URL, embedder="test:32") for _ in range(6)]
        await asyncio.gather(*(client.add("a fact", "u") for client in clients))
        assert len((await clients[0].list("u")).items) == 6
        for client in clients:
            await client.close()

    asyncio.run(run())


def test_an_external_id_is_one_memory_whoever_adds_it(server: Server) -> None:
    async def scenario(one: AsyncMemory, two: AsyncMemory) -> None:
        await asyncio.gather(one.list("u"), two.list("u"))
        for key in ("a", "b", "c"):
            adds = [client.add(f"fact {n}", "u", external_id=key) for n in range(4) for client in (one, two)]
            results = await asyncio.gather(*adds)
            assert len({record.id for record in results}) == 1
            assert sorted(record.version or 0 for record in results) == list(range(1, 9))
        assert len((await one.list("u")).items) == 3

    both(scenario)


def test_of_two_that_change_one_version_one_wins(server: Server) -> None:
    async def scenario(one: AsyncMemory, two: AsyncMemory) -> None:
        record = await one.add("a fact", "u")
        changes = [
            client.update(record.id, content=f"fact {n}", if_version=1) for n in range(3) for client in (one, two)
        ]
        results = await asyncio.gather(*changes, return_exceptions=True)
        won = [result for result in results if not isinstance(result, BaseException)]
        assert len(won) == 1
        assert {type(result) for result in results if isinstance(result, BaseException)} == {ConflictError}
        assert await two.get(record.id) == won[0]
        [found] = await two.search(won[0].content, "u", mode="vector", limit=1)
        assert found.score == pytest.approx(1), "the vectors are those of the change that won"

    both(scenario)


def test_changes_of_two_processes_add_up(server: Server) -> None:
    async def scenario(one: AsyncMemory, two: AsyncMemory) -> None:
        record = await one.add("a fact", "u", metadata={})
        await asyncio.gather(
            *(client.update(record.id, metadata={f"{n}": n}) for n in range(10) for client in (one, two)[n % 2 :][:1])
        )
        changed = await one.get(record.id)
        assert changed.metadata == {str(n): n for n in range(10)}
        assert changed.version == 11

    both(scenario)


@pytest.mark.parametrize("failure", ["429", "cut"])
def test_each_of_many_changes_of_one_memory_is_done_once(server: Server, failure: Any, naps: list[float]) -> None:
    """Others may have changed it again before this one looks whether its write was done."""

    async def scenario(one: AsyncMemory, two: AsyncMemory) -> None:
        record = await one.add("a fact", "u", metadata={})

        async def work(client: AsyncMemory, number: int) -> list[str]:
            said = []
            for turn in range(8):
                try:
                    await client.update(record.id, metadata={f"{number} {turn}": 1})
                    said.append("done")
                except OMPError as error:  # the others were faster, or the server failed, too often
                    said.append(error.written)
            return said

        await two.open()
        with server.failing(cycle([None] * 6 + [failure])):
            said = await asyncio.gather(*(work(client, n) for n, client in enumerate([one, two] * 3)))
        changed, counts = await one.get(record.id), Counter(each for some in said for each in some)
        assert changed.version == len(changed.metadata or {}) + 1
        assert counts["done"] <= len(changed.metadata or {}) <= counts["done"] + counts["perhaps"]

    both(scenario)


def test_of_two_successors_one_is_a_conflict_that_leaves_nothing(server: Server) -> None:
    async def scenario(one: AsyncMemory, two: AsyncMemory) -> None:
        for turn in range(5):
            user = f"user {turn}"
            old = [(await one.add(f"old {n}", user)).id for n in range(3)]
            results = await asyncio.gather(
                one.add("new", user, supersedes=old, external_id="k"),
                two.add("newer", user, supersedes=old[::-1]),
                return_exceptions=True,
            )
            assert sorted(isinstance(result, ConflictError) for result in results) == [False, True]
            [won] = [result for result in results if not isinstance(result, BaseException)]
            assert {(await two.get(each)).superseded_by for each in old} == {won.id}
            assert [record.id for record in (await one.list(user)).items] == [won.id]
            again = await two.add("again", user, external_id="k")
            assert again.version == (2 if won.external_id else 1)

    both(scenario)


def test_deleting_and_changing_at_once_leave_nothing_in_part(server: Server) -> None:
    async def scenario(one: AsyncMemory, two: AsyncMemory) -> None:
        for turn in range(5):
            user = f"user {turn}"
            first = await one.add("first", user, external_id="k")
            second = await one.add("second", user, supersedes=[first.id])
            await asyncio.gather(
                one.delete(second.id), two.update(first.id, tags=["x"]), two.delete(first.id), return_exceptions=True
            )
            left = [record.id for record in (await one.list(user, include=["superseded"])).items]
            for record in (await two.list(user, include=["superseded"])).items:
                assert record.superseded_by in (None, *left)
            added = await two.add("anew", user, external_id="k")
            assert len([each for each in (await one.list(user)).items if each.external_id == "k"]) == 1
            assert added.version == (2 if first.id in left else 1)

    both(scenario)


def test_what_a_process_that_died_had_claimed_is_free_again(server: Server, naps: list[float]) -> None:
    with open_store() as memory:
        gone = memory.add("a fact", "u", external_id="k")
        [point] = server.client.scroll("mem")[0]
        server.client.delete("mem", [point.id])  # as if it had not been stored yet
        with pytest.raises(ConflictError, match="external_id"):
            memory.add("a fact", "u", external_id="k")
        assert naps, "the other writer is waited for"
        assert not memory.list("u").items
        [claim] = [
            each for each in server.client.scroll("mem_sidecar", limit=99)[0] if "memory" in (each.payload or {})
        ]
        server.client.set_payload("mem_sidecar", {"at": 0}, [claim.id])
        added = memory.add("a fact", "u", external_id="k")
        assert added.id != gone.id
        assert memory.add("a fact", "u", external_id="k").id == added.id


def test_an_add_that_failed_half_way_is_added_by_its_repetition(server: Server, naps: list[float]) -> None:
    """Lose the memory itself, whose external_id was claimed before; the retry must not take that for another's."""
    lost = iter([httpx.Response(503)])
    with open_store() as memory:
        memory.list("u")
        server.fault = lambda request: next(lost, None) if request.url.path == "/collections/mem/points/batch" else None
        record = memory.add("a fact", "u", external_id="k")
        assert len(naps) == 1, "the server was asked again, and nobody waited for"
        assert memory.add("a fact", "u", external_id="k").id == record.id
        assert [each.id for each in memory.list("u").items] == [record.id]


def test_a_claim_is_kept_where_what_it_is_for_may_be_there(server: Server, naps: list[float]) -> None:
    def dying(request: httpx.Request) -> httpx.Response | None:
        """Store the memory, answer that it failed, and then fail whoever looks whether it is there."""
        if b"a fact" in request.content:
            looks.append(request)
            return server.reply(request) and httpx.Response(503)
        return httpx.Response(500) if looks and request.url.path.startswith("/collections/mem/") else None

    looks: list[httpx.Request] = []
    with open_store() as memory, open_store() as other:
        memory.list("u"), other.list("u")
        server.fault = dying
        with pytest.raises(OMPError) as caught:
            memory.add("a fact", "u", external_id="k")
        assert caught.value.written == "perhaps"
        server.fault = lambda request: None
        assert [each.content for each in other.list("u", filter={"external_id": "k"}).items] == ["a fact"]
        assert [client.add("a fact", "u", external_id="k").version for client in (other, memory)] == [2, 3]
        assert len(other.list("u").items) == 1


def test_nothing_is_stored_under_a_claim_that_grew_old(server: Server, naps: list[float]) -> None:
    pause = httpx.Response(503, headers={"Retry-After": "20"})
    with open_store() as memory:
        memory.list("u")
        server.fault = lambda request: pause if b"a fact" in request.content else None
        with pytest.raises(ProviderUnavailableError) as caught:
            memory.add("a fact", "u", external_id="k")
    assert caught.value.retry_after == 20
    assert not naps, "others might have taken the external_id before the next try"


def test_what_was_stored_under_a_claim_that_others_took_meanwhile_is_taken_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: dict[str, models.PointStruct] = {}

    def slow(request: httpx.Request) -> None:
        """Let another writer take over what this request's memory was claimed for."""
        if request.url.path == "/collections/mem/points/batch" and b"mine" in request.content and others:
            monkeypatch.setattr("openmem.adapters.qdrant.claims.ABANDONED", 0.0)
            for name in list(others):
                server.client.upsert(name, [others.pop(name)])

    with open_store() as memory, open_store() as other:
        memory.list("u")
        theirs = other.add("theirs", "u", external_id="k")
        for name in ("mem", "mem_sidecar"):
            for each in server.client.scroll(name, limit=99, with_vectors=True)[0]:
                if each.payload and ("record" in each.payload or "memory" in each.payload):
                    vector: Any = each.vector or {}
                    others[name] = models.PointStruct(id=each.id, payload=each.payload, vector=vector)
                    server.client.delete(name, [each.id])
        server.fault = slow
        added = memory.add("mine", "u", external_id="k")
        assert (added.id, added.version) == (theirs.id, 2)
        assert [each.id for each in memory.list("u").items] == [theirs.id]


# --- as a whole -------------------------------------------------------------------------------------------------


def test_everything_survives_reopening(server: Server) -> None:
    clock = Clock()
    with open_store(clock=clock) as memory:
        old = memory.add("green tea", "u", metadata={"n": [1.0, 2**63 - 1, None]}, tags=["x"], scope="a/b")
        memory.add("black tea", "u", supersedes=[old.id])
        before = everything(memory, "u"), memory.search("tea", "u"), memory.history(old.id)
    with open_store(clock=clock) as memory:
        assert (everything(memory, "u"), memory.search("tea", "u"), memory.history(old.id)) == before


def test_reembed_makes_every_vector_anew(server: Server) -> None:
    with open_store(embedder="none") as memory:
        memory.add_many([{"content": f"fact {n}", "user_id": "u"} for n in range(30)])
    source = open_store(embedder="test:16")
    adapter = source.adapter

    async def reembed() -> int:
        try:
            return await adapter.reembed(WordEmbedder(dimension=16).embed)
        finally:
            await adapter.close()

    assert asyncio.run(reembed()) == 30
    with open_store(embedder="test:16") as memory:
        assert memory.search("fact 7", "u", mode="vector")[0].score == pytest.approx(1)
    with open_store(embedder="test:32") as memory, pytest.raises(ConfigurationError, match="test-words-16"):
        memory.list("u")


@pytest.mark.parametrize("group", ["IDN", "UPD", "SUP", "DEL", "AUD", "BAT", "OWN", "CON"])
def test_a_server_conforms(server: Server, group: str) -> None:
    report = asyncio.run(conform(URL, only=[group]))
    assert report.exit_code == 0, report.summary()
