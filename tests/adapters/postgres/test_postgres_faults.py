"""postgres:// under many writers, lost connections, a killed server, cancelled calls, and with a replica."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from openmem import (
    AsyncMemory,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    OMPError,
    ProviderUnavailableError,
)
from openmem.adapters.postgres import PostgresAdapter
from openmem.types import MemoryRecord
from support.half_open import HalfOpen
from support.servers import PostgresCluster
from support.stores import everything, open_store

WRITERS = 16


def open_async(url: str, **options: Any) -> AsyncMemory:
    return AsyncMemory(url, **{"embedder": "test:32", **options})


async def outcomes(calls: list[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


# --- writers side by side ---------------------------------------------------------------------------------------


def test_one_record_a_key_however_many_add_it(postgres_url: str) -> None:
    with open_store(postgres_url) as one, open_store(postgres_url) as other, ThreadPoolExecutor(WRITERS) as pool:

        def write(writer: int) -> list[MemoryRecord]:
            memory = (one, other)[writer % 2]
            added = [memory.add(f"writer {writer} fact {n}", "u", external_id=f"k{n}") for n in range(20)]
            items = [{"content": f"writer {writer} again {n}", "external_id": f"k{n}"} for n in range(60)]
            results = memory.add_many(items, user_id="u")
            assert [result.error for result in results] == [None] * 60
            return added + [result.memory for result in results if result.memory]

        answers = [record for answer in pool.map(write, range(WRITERS)) for record in answer]
        assert len(answers) == WRITERS * 80
        records = everything(one, "u")
        assert Counter(record.external_id for record in records) == {f"k{n}": 1 for n in range(60)}
        ids = {record.external_id: record.id for record in records}
        assert all(answer.id == ids[answer.external_id] for answer in answers)
        versions = {record.external_id: record.version for record in records}
        assert versions == {f"k{n}": (2 if n < 20 else 1) * WRITERS for n in range(60)}, "no update was lost"
        assert len(one.search("again", "u", mode="keyword", limit=100)) == 60
        assert one.search("fact", "u", mode="keyword") == []


def test_one_update_wins_a_version(postgres_url: str) -> None:
    async def scenario() -> None:
        clients = [open_async(postgres_url), open_async(postgres_url)]
        record = await clients[0].add("a fact", "u")
        for version in range(1, 6):
            calls = [clients[n % 2].update(record.id, content=f"by {n}", if_version=version) for n in range(WRITERS)]
            answers = await outcomes(calls)  # type: ignore[arg-type]
            won = [answer for answer in answers if isinstance(answer, MemoryRecord)]
            assert len(won) == 1
            assert {type(answer) for answer in answers if answer is not won[0]} == {ConflictError}
            read = await clients[0].get(record.id)
            assert (read.version, read.content) == (version + 1, won[0].content)
        plain = [clients[n % 2].update(record.id, metadata={f"k{n}": n}) for n in range(WRITERS)]
        await asyncio.gather(*plain)
        read = await clients[1].get(record.id)
        assert (read.version, read.metadata) == (6 + WRITERS, {f"k{n}": n for n in range(WRITERS)})
        gone = await outcomes([clients[n % 2].delete(record.id) for n in range(WRITERS)])
        assert Counter(map(type, gone)) == {type(None): 1, NotFoundError: WRITERS - 1}
        for client in clients:
            await client.close()

    asyncio.run(scenario())


def test_one_successor_wins(postgres_url: str) -> None:
    async def scenario() -> None:
        clients = [open_async(postgres_url), open_async(postgres_url)]
        for _ in range(5):
            old = await clients[0].add("old", "u")
            other = await clients[0].add("another", "u")
            calls = [
                clients[n % 2].add(f"new {n}", "u", supersedes=[old.id, other.id][:: (1, -1)[n % 2]])
                for n in range(WRITERS)
            ]
            answers = await outcomes(calls)  # type: ignore[arg-type]
            won = [answer for answer in answers if isinstance(answer, MemoryRecord)]
            assert len(won) == 1
            assert Counter(map(type, answers)) == {MemoryRecord: 1, ConflictError: WRITERS - 1}
            for each in (old, other):
                assert (await clients[1].get(each.id)).superseded_by == won[0].id
            assert len(await clients[0].history(old.id)) == 3
        for client in clients:
            await client.close()

    asyncio.run(scenario())


def test_chains_stay_whole_under_many_writers(postgres_url: str) -> None:
    """Adds that supersede, updates that free and deletes, all over the same few records."""
    with open_store(postgres_url) as one, open_store(postgres_url) as other, ThreadPoolExecutor(WRITERS) as pool:
        ids = [one.add(f"fact {n}", "u").id for n in range(6)]

        def write(writer: int) -> None:
            memory = (one, other)[writer % 2]
            for n in range(12):
                place = (writer + n) % 6
                try:
                    if n % 3 == 0:
                        memory.add(f"next {writer} {n}", "u", supersedes=[ids[place], ids[(place + 1) % 6]])
                    elif n % 3 == 1:
                        memory.update(ids[place], supersedes=[ids[(place + 2) % 6]])
                    else:
                        memory.update(ids[place], supersedes=None)
                except ConflictError:
                    pass

        list(pool.map(write, range(WRITERS)))
        records = {record.id: record for record in everything(one, "u")}
        for record in records.values():
            for each in record.supersedes or ():
                assert records[each].superseded_by == record.id
            if record.superseded_by is not None:
                assert record.id in (records[record.superseded_by].supersedes or ())
            assert (record.superseded_by is None) == (record.superseded_at is None)


def test_changes_of_linked_memories_wait_for_one_another(postgres_url: str) -> None:
    """Each reads its neighbours too, in whatever order they are linked."""
    with open_store(postgres_url) as one, open_store(postgres_url) as other, ThreadPoolExecutor(WRITERS) as pool:
        ids = [one.add("fact 0", "u").id]
        for n in range(1, 8):
            ids.append(one.add(f"fact {n}", "u", supersedes=[ids[-1]]).id)

        def write(writer: int) -> None:
            for n in range(16):
                (one, other)[writer % 2].update(ids[(writer * (n + 1)) % 8], metadata={f"w{writer}n{n}": 1})

        list(pool.map(write, range(WRITERS)))
        records = everything(one, "u")
        assert sum(record.version - 1 for record in records) == WRITERS * 16
        assert sum(len(record.metadata or {}) for record in records) == WRITERS * 16
        assert [record.id for record in one.history(ids[3])] == ids


def test_statistics_of_words_stay_right_under_many_writers(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    with open_store(postgres_url) as memory, ThreadPoolExecutor(WRITERS) as pool:

        def write(writer: int) -> None:
            user = f"user {writer % 2}"
            ids = [memory.add("one two " * (n + 1), user).id for n in range(10)]
            memory.add_many([{"content": f"three four {n}", "user_id": user} for n in range(30)])
            memory.update(ids[0], content="five")
            memory.delete(ids[1])
            memory.delete_many(ids[2:5])

        list(pool.map(write, range(WRITERS)))
    totals = "SELECT user_id, sum(memories)::int FROM openmem.users GROUP BY user_id ORDER BY user_id"
    told = postgres.run(totals, database=database)
    assert told == [("user 0", 8 * 36), ("user 1", 8 * 36)]  # each writer leaves 6 memories, and 30
    counted = "SELECT user_id, count(DISTINCT key)::int FROM openmem.postings GROUP BY user_id ORDER BY user_id"
    assert postgres.run(counted, database=database) == told
    orphans = "SELECT count(*) FROM openmem.postings p LEFT JOIN openmem.memories m USING (user_id, key)"
    assert postgres.run(f"{orphans} WHERE m.key IS NULL", database=database) == [(0,)]


# --- lost connections -------------------------------------------------------------------------------------------


def cut(postgres: PostgresCluster, database: str) -> int:
    """End every connection that openmem has to a database; return how many there were."""
    sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    return len(postgres.run(sql, database))


def test_lost_connections_cost_nobody_an_error(postgres: PostgresCluster, database: str, postgres_url: str) -> None:
    async def scenario() -> None:
        async with open_async(postgres_url) as memory:
            kept = await memory.add("a fact", "u")
            steps: list[Callable[[], Awaitable[Any]]] = [
                lambda: memory.get(kept.id),
                lambda: memory.search("fact", "u"),
                lambda: memory.list("u"),
                lambda: memory.audit("u"),
                lambda: memory.add("another fact", "u"),
                lambda: memory.add("a keyed fact", "u", external_id="k"),
                lambda: memory.update(kept.id, pinned=True),
                lambda: memory.add_many([{"content": f"fact {n}", "user_id": "u"} for n in range(300)]),
                lambda: memory.delete(kept.id),
            ]
            for step in steps:
                await asyncio.gather(*(memory.list("u") for _ in range(20)))  # several connections are open
                assert cut(postgres, database) > 0
                await step()
            assert len(await memory.search("fact", "u", limit=100)) == 100
            assert (await memory.stats("u")).total == 302

    asyncio.run(scenario())


@pytest.fixture
def fragile(servers: Path) -> Iterator[PostgresCluster]:
    """A server that may be killed."""
    cluster = PostgresCluster(servers / "fragile")
    yield cluster
    cluster.close()


def test_a_killed_server_loses_nothing_acknowledged(fragile: PostgresCluster) -> None:
    """Sixteen writers and four readers go on while the server is killed and started again, twice."""
    memory = open_store(fragile.url(fragile.create()), connect_timeout=60, timeout=120)
    acknowledged: list[MemoryRecord] = []
    keyed: dict[str, set[str]] = {}
    refusals: list[BaseException] = []
    lock, over = threading.Lock(), threading.Event()
    progress = threading.Semaphore(0)

    def write(writer: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            key = f"w{writer % 8} k{number}" if writer % 4 else None  # two writers share their keys
            try:
                if number % 5:
                    added = [memory.add(f"fact w{writer}n{number}", f"u{writer % 2}", external_id=key)]
                else:
                    items = [{"content": f"item w{writer}n{number}i{n}"} for n in range(30)]
                    results = memory.add_many(items, user_id=f"u{writer % 2}")
                    added = [result.memory for result in results if result.memory]
            except OMPError as error:
                with lock:
                    refusals.append(error)
                continue
            with lock:
                acknowledged.extend(added)
                if key is not None and number % 5:
                    keyed.setdefault(f"u{writer % 2} {key}", set()).add(added[0].id)
            progress.release()

    def read(reader: int) -> None:
        while not over.is_set():
            try:
                memory.search("fact", f"u{reader % 2}", limit=5)
                memory.list(f"u{reader % 2}", limit=5)
            except OMPError as error:
                with lock:
                    refusals.append(error)

    def advance(count: int) -> None:
        for _ in range(count):
            assert progress.acquire(timeout=120)

    memory.add("first", "u0")
    with ThreadPoolExecutor(WRITERS + 4) as pool:
        work = [pool.submit(write, n) for n in range(WRITERS)] + [pool.submit(read, n) for n in range(4)]
        try:
            for _ in range(2):
                advance(150)
                fragile.kill()
                fragile.start()
                while progress.acquire(blocking=False):
                    pass
            advance(150)  # the same client goes on by itself
        finally:
            over.set()
        for each in work:
            each.result()
    assert {type(error) for error in refusals} <= {ProviderUnavailableError}
    stored = {record.id: record for user in ("u0", "u1") for record in everything(memory, user)}
    assert {record.id for record in acknowledged} <= stored.keys(), "an acknowledged write is lost"
    keys = Counter((record.user_id, record.external_id) for record in stored.values() if record.external_id)
    assert set(keys.values()) == {1}
    assert all(len(ids) == 1 for ids in keyed.values())
    for record in acknowledged[:: max(1, len(acknowledged) // 50)]:
        [hit] = memory.search(stored[record.id].content, record.user_id, mode="keyword", limit=1)
        assert hit.memory.content == stored[record.id].content
    memory.close()


def test_a_dead_server_is_a_typed_error_and_a_living_one_is_used_again(fragile: PostgresCluster) -> None:
    async def scenario() -> None:
        options: dict[str, Any] = {"connect_timeout": 0.5, "retries": 0}
        async with open_async(fragile.url(fragile.create()), **options) as memory:
            kept = await memory.add("a fact", "u")
            fragile.kill()
            for call in [memory.get(kept.id), memory.search("fact", "u"), *(memory.add("lost", "u") for _ in range(5))]:
                with pytest.raises(ProviderUnavailableError):
                    await call
            fragile.start()  # however long it was down, the next call connects
            assert (await memory.get(kept.id)).content == "a fact"
            await memory.add("found", "u")
            assert [record.content for record in (await memory.list("u")).items] == ["found", "a fact"]

    asyncio.run(scenario())


# --- cancelling -------------------------------------------------------------------------------------------------


def pool_of(memory: AsyncMemory) -> Any:
    return memory.adapter.connections.primary.pool  # type: ignore[attr-defined]


async def comes_back(memory: AsyncMemory) -> None:
    """Wait until no connection is lent: one that was cancelled in the midst of a COPY is made anew."""
    async with asyncio.timeout(60):
        while True:
            stats = pool_of(memory).get_stats()
            if stats["pool_available"] == stats["pool_size"] and not stats.get("requests_waiting"):
                return
            await asyncio.sleep(0)


def test_cancelled_searches_give_their_connections_back(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    async def scenario() -> None:
        async with open_async(postgres_url) as memory:
            await memory.add_many([{"content": f"fact {n}", "user_id": "u"} for n in range(300)])
            for round_ in range(3):
                searches = [asyncio.ensure_future(memory.search("fact", "u")) for _ in range(100)]
                for _ in range(3 * round_):
                    await asyncio.sleep(0)
                chosen = [search for search in (searches[0], searches[50], searches[99]) if search.cancel()]
                assert len(chosen) >= 2
                answers = await asyncio.gather(*searches, return_exceptions=True)
                cancelled = [search for search, answer in zip(searches, answers, strict=True) if search.cancelled()]
                assert set(cancelled) == set(chosen)
                assert [len(answer) for answer in answers if isinstance(answer, list)] == [10] * (100 - len(chosen))
                await comes_back(memory)
            everyone = [asyncio.ensure_future(memory.search("fact", "u")) for _ in range(100)]
            await everyone[0]
            for search in everyone:
                search.cancel()
            await asyncio.gather(*everyone, return_exceptions=True)
            assert len(await memory.search("fact", "u")) == 10
            await comes_back(memory)
            busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state <> 'idle'"
            assert postgres.run(busy, database) == [(0,)]

    asyncio.run(scenario())


def test_a_cancelled_add_is_written_whole_or_not_at_all(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    """An add is cancelled at every point at which it waits."""

    async def cancelled_after(memory: AsyncMemory, steps: int) -> bool:
        old = await memory.add("old", "u")
        task = asyncio.ensure_future(memory.add(f"new {steps}", "u", supersedes=[old.id], external_id=f"k{steps}"))
        for _ in range(steps):
            if task.done():
                break
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        after = await memory.get(old.id)
        found = await memory.list("u", filter={"external_id": f"k{steps}"})
        assert len(found.items) == (after.superseded_by is not None)
        assert all(record.supersedes == [old.id] for record in found.items)
        assert len(await memory.search(f"{steps}", "u", mode="keyword")) == len(found.items)
        await comes_back(memory)
        return not task.cancelled()

    async def scenario() -> None:
        async with open_async(postgres_url, pool_size=2) as memory:
            await memory.add("first", "u")
            steps = 0
            while not await cancelled_after(memory, steps):
                steps += 1
            assert steps > 5

    asyncio.run(scenario())
    orphans = "SELECT count(*) FROM openmem.postings p LEFT JOIN openmem.memories m USING (user_id, key)"
    assert postgres.run(f"{orphans} WHERE m.key IS NULL", database=database) == [(0,)]


def test_a_cancelled_batch_leaves_no_connection_busy(postgres_url: str) -> None:
    async def scenario() -> None:
        async with open_async(postgres_url) as memory:
            await memory.add("first", "u")
            items = [{"content": f"fact {n}", "user_id": "u"} for n in range(6 * PostgresAdapter.batch)]
            for steps in range(0, 60, 6):
                task = asyncio.ensure_future(memory.add_many(items))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await comes_back(memory)
                counted = (await memory.stats("u")).total
                found = len((await memory.list("u", limit=500)).items)
                assert min(counted, 500) == found
                assert counted % PostgresAdapter.batch == 1, "a chunk is written whole or not at all"

    asyncio.run(scenario())


def test_a_refused_change_gives_its_connection_back(postgres_url: str) -> None:
    async def scenario() -> None:
        async with open_async(postgres_url, pool_size=2) as memory:
            kept = await memory.add("a fact", "u")
            for _ in range(5):
                calls: list[Any] = [memory.update(kept.id, pinned=True, if_version=99) for _ in range(10)]
                calls += [memory.delete("nothing"), memory.add("x", "u", supersedes=["nothing"])]
                assert all(isinstance(answer, OMPError) for answer in await outcomes(calls))
            await comes_back(memory)
            assert (await memory.get(kept.id)).version == 1

    asyncio.run(scenario())


def test_cancelled_calls_leave_the_pool_whole(postgres_url: str) -> None:
    """Also those that are cancelled while they give a connection back."""

    async def scenario() -> None:
        async with open_async(postgres_url, pool_size=3) as memory:
            kept = await memory.add("a fact", "u")
            calls: list[Callable[[], Awaitable[Any]]] = [
                lambda: memory.get(kept.id),
                lambda: memory.search("fact", "u"),
                lambda: memory.update(kept.id, pinned=True),
                lambda: memory.add_many([{"content": f"fact {n}", "user_id": "v"} for n in range(60)]),
            ]

            async def cancelled(number: int) -> None:
                task = asyncio.ensure_future(calls[number % 4]())
                for _ in range(number % 90):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            for start in range(0, 360, 12):
                await asyncio.gather(*(cancelled(number) for number in range(start, start + 12)))
            await comes_back(memory)
            assert pool_of(memory).get_stats()["pool_size"] <= 3
            assert len(await asyncio.gather(*(memory.get(kept.id) for _ in range(20)))) == 20

    asyncio.run(scenario())


# --- a server that falls silent ---------------------------------------------------------------------------------


def test_an_opening_that_is_cancelled_leaves_no_connection(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    """Whoever keeps the task keeps its error too, with all frames that it was raised through."""
    with open_store(postgres_url) as memory:
        memory.list("u")
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND application_name = 'openmem'"

    async def scenario() -> None:
        kept = []
        for turns in range(0, 160, 4):
            memory = open_async(postgres_url)
            opening = asyncio.ensure_future(memory.open())
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
            await memory.close()
            kept.append((memory, opening))
        for _ in range(1000):  # a server process ends a moment after its client
            if await asyncio.to_thread(postgres.run, sql) == [(0,)]:
                return
        pytest.fail("the server still has connections")

    asyncio.run(scenario())


def test_a_silent_server_is_given_up_in_time(postgres: PostgresCluster, database: str) -> None:
    proxy = HalfOpen(postgres.folder / ".s.PGSQL.5432")
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}"

    async def scenario() -> None:
        memory = open_async(url, timeout=1.0, retries=0, connect_timeout=1.0)
        kept = await memory.add("a fact", "u")
        await asyncio.gather(*(memory.list("u") for _ in range(20)))  # several connections are open
        steps: list[Callable[[], Awaitable[Any]]] = [
            lambda: memory.get(kept.id),
            lambda: memory.list("u"),
            lambda: memory.search("fact", "u"),
            lambda: memory.add("another", "u"),
            lambda: memory.update(kept.id, pinned=True),
            lambda: memory.history(kept.id),
            lambda: memory.stats("u"),
            lambda: memory.audit("u"),
            lambda: memory.delete(kept.id),
        ]
        proxy.freeze()
        async with asyncio.timeout(3 * len(steps)):  # psycopg by itself takes longer than that for one
            for step in steps:
                with pytest.raises(ProviderUnavailableError):
                    await step()
        [result] = await memory.add_many([{"content": "another"}], user_id="u")
        assert result.error is not None
        proxy.thaw()
        assert (await memory.get(kept.id)).content == "a fact"
        await comes_back(memory)
        proxy.freeze()
        async with asyncio.timeout(10):
            with suppress(ProviderUnavailableError):
                await memory.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    try:
        asyncio.run(scenario())
    finally:
        proxy.close()


# --- forks ------------------------------------------------------------------------------------------------------


def test_children_answer_while_threads_work_in_the_parent(postgres_url: str) -> None:
    with open_store(postgres_url) as memory, ThreadPoolExecutor(4) as pool:
        kept = memory.add("a fact", "u")
        over = threading.Event()

        def work(number: int) -> None:
            while not over.is_set():
                memory.search("fact", "u")
                memory.add(f"fact of {number}", f"u{number}")

        busy = [pool.submit(work, number) for number in range(4)]
        try:
            for number in range(4):
                child = os.fork()
                if child == 0:
                    answered = False
                    try:
                        added = memory.add(f"from child {number}", "u")
                        answered = len(memory.search("fact", "u")) > 0 and memory.get(added.id) == added
                    finally:
                        os._exit(0 if answered else 1)
                _, status = os.waitpid(child, 0)
                assert os.waitstatus_to_exitcode(status) == 0
        finally:
            over.set()
        for each in busy:
            each.result()
        assert len(memory.list("u").items) == 5
        assert memory.get(kept.id).content == "a fact"


# --- a replica --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def replicated(servers: Path) -> Iterator[tuple[PostgresCluster, PostgresCluster]]:
    """A server and its replica."""
    primary = PostgresCluster(servers / "primary", ["fsync = off"])
    replica = primary.follow(servers / "replica")
    yield primary, replica
    replica.close()
    primary.close()


def test_reads_go_to_the_replica_once_it_has_what_was_written(
    replicated: tuple[PostgresCluster, PostgresCluster],
) -> None:
    primary, replica = replicated
    name = primary.create()

    def caught_up() -> None:
        [(written,)] = primary.run("SELECT pg_current_wal_lsn()::text")
        with psycopg.connect(replica.url("postgres"), autocommit=True) as session:
            sql = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            while session.execute(sql, [written]).fetchone() != (True,):
                pass

    def served() -> int:
        """Count the statements that the replica's connection of openmem ran last: lists or searches."""
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE '%%openmem.memories%%'"
        return int(replica.run(sql, name)[0][0])

    primary_url, replica_url = primary.url(name), replica.url(name)
    with open_store(primary_url) as memory:
        memory.list("u")
    caught_up()
    with open_store(primary_url, replica_url=replica_url) as memory:
        for n in range(10):
            memory.add(f"fact {n}", "u")
            assert memory.search(f"fact {n}", "u", limit=1)[0].memory.content == f"fact {n}"
            assert len(memory.list("u").items) == n + 1
        caught_up()
        assert len(memory.list("u").items) == 10
        assert served() > 0, "the replica answers once it has everything"

        replica.run("SELECT pg_wal_replay_pause()")
        try:
            memory.add("while the replica stands still", "u")
            assert memory.search("still stands", "u", limit=1)[0].memory.content == "while the replica stands still"
            assert len(memory.list("u").items) == 11
        finally:
            replica.run("SELECT pg_wal_replay_resume()")
        caught_up()
        memory.delete(memory.list("u", limit=1).items[0].id)
        assert len(memory.list("u").items) == 10


def test_a_replica_is_no_store(replicated: tuple[PostgresCluster, PostgresCluster]) -> None:
    with open_store(replicated[1].url("postgres")) as memory, pytest.raises(ConfigurationError) as caught:
        memory.list("u")
    assert "replica_url" in caught.value.remedy


def test_a_lost_replica_costs_no_error(replicated: tuple[PostgresCluster, PostgresCluster]) -> None:
    primary, replica = replicated
    name = primary.create()
    with open_store(primary.url(name)) as memory:
        memory.add("a fact", "u")
    options: dict[str, Any] = {"replica_url": replica.url(name)}
    with open_store(primary.url(name), **options) as memory:
        memory.add("another", "u")
        replica.kill()
        try:
            assert len(memory.list("u").items) == 2
            assert len(memory.search("fact another", "u")) == 2
            memory.add("a third", "u")
        finally:
            replica.start()
        assert len(memory.list("u").items) == 3
