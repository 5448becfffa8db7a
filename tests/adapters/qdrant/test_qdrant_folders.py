"""Folders and collections: whose they are, what becomes of half-made, deleted and full ones, and of a child of fork."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from openmem import AsyncMemory, ConfigurationError, Memory, OMPError, ProviderError
from openmem.adapters.kit.folders import claim
from openmem.embedding.testing import WordEmbedder
from support.processes import python
from support.qdrant_server import Server
from support.stores import open_store, refused
from support.twins import at

ENGINES: Any = ("qdrant+local", "qdrant+edge", "mem0")
FOLDERS = ENGINES[:2]


def opened(engine: str, folder: Path, **options: Any) -> Memory:
    return open_store(f"{engine}:///{folder}", **options)


# --- whose a folder is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("holder", ENGINES)
def test_a_folder_of_one_engine_is_no_other_engines(holder: str, marked: bool, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(holder, folder) as memory:
        memory.add("a fact", "u")
    for engine in ENGINES:
        if not marked:
            (folder / ".openmem").unlink(missing_ok=True)
        if engine == holder:
            with opened(engine, folder) as memory:
                assert [each.content for each in memory.list("u").items] == ["a fact"]
        else:
            error = refused(f"{engine}:///{folder}")
            assert f"a store of {holder}" in error.message
            assert f"{holder}:///{folder}" in error.remedy


@pytest.mark.parametrize("left", [b"", b"qdrant+", b"\0" * 12, b"\xff\xfe\0\n"])
@pytest.mark.parametrize("holder", ENGINES)
def test_a_marker_that_a_machine_left_half_written_is_written_anew(holder: str, left: bytes, tmp_path: Path) -> None:
    folder, foreign = tmp_path / "store", tmp_path / "foreign"
    with opened(holder, folder) as memory:
        memory.add("a fact", "u")
    foreign.mkdir()
    (foreign / "chroma.sqlite3").write_text("")
    for engine in sorted(ENGINES, key=lambda each: each == holder):
        for place in (folder, foreign):
            (place / ".openmem").write_bytes(left)
        assert "chroma.sqlite3" in refused(f"{engine}:///{foreign}").message
        if engine != holder:
            assert f"a store of {holder}" in refused(f"{engine}:///{folder}").message
    with opened(holder, folder) as memory:
        assert [each.content for each in memory.list("u").items] == ["a fact"]
    assert (folder / ".openmem").read_text() == f"{holder}\n"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_folder_is_one_however_its_path_is_spelled(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    paths = [tmp_path / "real" / "store", Path("real/store"), Path("link/../real/store"), tmp_path / "link" / "store"]
    with opened(engine, paths[0]) as memory:
        memory.add("a fact", "u")
        for path in paths:
            with opened(engine, path) as other:
                assert [each.content for each in other.list("u").items] == ["a fact"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_folder_with_other_files_is_refused_and_left_as_it_is(engine: str, tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").write_text("")
    error = refused(f"{engine}:///{tmp_path}")
    assert "chroma.sqlite3" in error.message
    assert [each.name for each in tmp_path.iterdir()] == ["chroma.sqlite3"]


@pytest.mark.parametrize("engine", FOLDERS)
def test_a_path_that_is_a_file_is_refused(engine: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be used as a folder" in refused(f"{engine}:///{tmp_path / 'file'}").message


def test_of_two_engines_that_claim_a_folder_at_once_one_gets_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        for turn in range(20):
            folder = tmp_path / str(turn)

            def take(engine: Any, folder: Path = folder) -> str:
                claimed = claim(folder, engine, private=True)
                claimed.close()
                return claimed.engine

            takes = (asyncio.to_thread(take, engine) for engine in ENGINES)
            got = await asyncio.gather(*takes, return_exceptions=True)
            assert sorted(isinstance(each, ConfigurationError) for each in got) == [False, True, True]

    asyncio.run(scenario())


@pytest.mark.parametrize("engine", FOLDERS)
@pytest.mark.parametrize(("private", "mode"), [(True, 0o700), (False, 0o755)])
def test_a_new_folder_is_its_owners_alone_unless_told_otherwise(
    engine: str, private: bool, mode: int, tmp_path: Path
) -> None:
    with opened(engine, tmp_path / "store", private=private) as memory:
        memory.list("u")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == mode & ~umask


@pytest.mark.parametrize("engine", FOLDERS)
@pytest.mark.parametrize("again", [True, False])
def test_a_folder_that_was_deleted_or_replaced_is_noticed(engine: str, again: bool, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(engine, folder) as memory:
        memory.add("a fact", "u")
        shutil.rmtree(folder)
        if again:
            claim(folder, engine, private=True).close()  # type: ignore[arg-type]
        verbs: list[Callable[[], Any]] = [
            lambda: memory.list("u"),
            lambda: memory.search("fact", "u"),
            lambda: memory.add("another", "u"),
        ]
        for verb in verbs:
            with pytest.raises(ConfigurationError, match="deleted or replaced") as caught:
                verb()
            assert caught.value.written == "nothing"
        if again:
            assert "deleted or replaced" in refused(f"{engine}:///{folder}").message
    with opened(engine, folder) as memory:
        assert memory.list("u").items == []


# --- collections ------------------------------------------------------------------------------------------------


def foreign(client: QdrantClient, collection: str, vectors: Any, filled: bool) -> None:
    client.create_collection(collection, vectors_config=vectors)
    if filled:
        vector: Any = [0.1] * 8 if isinstance(vectors, models.VectorParams) else {}
        client.upsert(collection, [models.PointStruct(id=1, vector=vector, payload={"user_id": "u"})])


COSINE = models.VectorParams(size=8, distance=models.Distance.COSINE)
FOREIGN: list[tuple[str, Any, bool]] = [
    ("openmem", COSINE, True),
    ("openmem", COSINE, False),
    ("openmem", {"text": COSINE}, False),
    ("openmem_sidecar", {}, True),
]


@pytest.mark.parametrize(("collection", "vectors", "filled"), FOREIGN)
@pytest.mark.parametrize("server", [True, False])
def test_a_collection_of_another_program_is_refused_and_left_as_it_is(
    server: bool, collection: str, vectors: Any, filled: bool, tmp_path: Path
) -> None:
    folder, twin = tmp_path / "store", Server()
    client = twin.client if server else QdrantClient(path=str(folder))
    foreign(client, collection, vectors, filled)
    if not server:
        client.close()
    twin.indexes[collection] = {}
    with at("qdrant.test", twin):
        url = "qdrant://qdrant.test:6333" if server else f"qdrant+local:///{folder}"
        error = refused(url)
        assert f"the collection {collection} was made by another program" in error.message
        assert "collection=" in error.remedy
        if not filled:  # else that is seen in what is in it
            assert len(twin.client.get_collections().collections) == int(server)
        for _ in range(2):
            with open_store(url, collection="mine") as memory:
                memory.add("a fact", "u", external_id="k")
                assert len(memory.list("u").items) == 1
    client = twin.client if server else QdrantClient(path=str(folder))
    assert client.count(collection).count == int(filled)
    client.close()
    twin.client.close()


def test_an_edge_shard_of_another_program_is_refused(tmp_path: Path) -> None:
    import qdrant_edge as edge

    shard = tmp_path / "store" / "openmem"
    shard.mkdir(parents=True)
    vectors = {"": edge.EdgeVectorParams(size=8, distance=edge.Distance.Cosine)}
    edge.EdgeShard.create(str(shard), edge.EdgeConfig(vectors=vectors)).close()
    assert "another program" in refused(f"qdrant+edge:///{tmp_path / 'store'}").message
    with opened("qdrant+edge", tmp_path / "store", collection="mine") as memory:
        assert memory.add("a fact", "u").content == "a fact"


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("engine", FOLDERS)
def test_a_process_that_dies_while_it_makes_a_store_leaves_one_that_is_made_to_the_end(
    engine: str, step: int, tmp_path: Path
) -> None:
    script = """
import os, sys
from openmem import Memory
from openmem.adapters.qdrant import local, shard
engine, left = {"qdrant+local": local.LocalEngine, "qdrant+edge": shard.EdgeEngine}[sys.argv[1]], [int(sys.argv[3])]
def dying(verb):
    async def until_then(*args):
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)
        return await verb(*args)
    return until_then
for name in ("create", "write"):
    setattr(engine, name, dying(getattr(engine, name)))
if left[0] == 5:  # between a shard that is whole and its name
    left[0] = 99
    from pathlib import Path
    Path.rename = lambda *_: os._exit(9)
    QdrantClient = __import__("qdrant_client").QdrantClient
    QdrantClient.create_collection = lambda *_, **__: os._exit(9)
Memory(f"{sys.argv[1]}:///{sys.argv[2]}", embedder="test:32").add("a fact", "u")
"""
    folder = tmp_path / "store"
    assert python(script, engine, str(folder), str(step)).returncode == 9
    with opened(engine, folder) as memory:
        memory.add("another", "u")
        assert "another" in [each.content for each in memory.list("u").items]


MAKING = """
import os, sys, time
from openmem import ConfigurationError, Memory
from openmem.adapters.qdrant.shard import EdgeEngine
folder, number = sys.argv[1], int(sys.argv[2])
children, (ready, go) = [], os.pipe()
for name in range(number):
    child = os.fork()
    if not child:
        os.close(go)
        os.read(ready, 1)  # until all have begun
        try:
            memory = Memory(f"qdrant+edge:///{folder}", embedder="test:32")
            memory.add(str(name), "u")
        except ConfigurationError as error:
            os._exit(3 if "is open in another process" in str(error) else 4)
        except BaseException:
            os._exit(5)
        while len(os.listdir(os.path.dirname(folder))) <= number:  # who has it keeps it until all were refused
            open(f"{folder}.{name}", "w").close()
            time.sleep(0.01)
        memory.close()
        os._exit(0)
    children.append(child)
os.close(go)
codes = []
for _ in children:
    child, status = os.wait()
    codes.append(os.waitstatus_to_exitcode(status))
    open(f"{folder}.left.{child}", "w").close()
print(sorted(codes))
with Memory(f"qdrant+edge:///{folder}", embedder="test:32") as memory:
    print(len(memory.list("u").items))
"""


def test_of_processes_that_make_a_folder_at_once_one_gets_it_whole(tmp_path: Path) -> None:
    for turn in range(5):
        (tmp_path / str(turn)).mkdir()
        told = python(MAKING, str(tmp_path / str(turn) / "store"), "4")
        assert told.stdout == "[0, 3, 3, 3]\n1\n", told.stderr


@pytest.mark.parametrize("scheme", ["qdrant", *FOLDERS])
def test_a_client_does_not_go_on_by_an_embedding_that_is_no_longer_the_stores(scheme: str, tmp_path: Path) -> None:
    twin = Server()
    url = "qdrant://qdrant.test:6333/mem" if scheme == "qdrant" else f"{scheme}:///{tmp_path / 'store'}"

    async def reembed(source: Memory) -> None:
        adapter: Any = source.adapter
        try:
            await adapter.reembed(WordEmbedder(dimension=adapter.embedding.dimension).embed)
        finally:
            await adapter.close()

    with at("qdrant.test", twin), open_store(url) as memory, open_store(url, embedder="none") as without:
        record = memory.add("a fact", "u")
        with pytest.raises(ConfigurationError):
            without.list("u")
        asyncio.run(reembed(open_store(url, embedder="test:16")))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("time.monotonic", lambda at=time.monotonic: at() + 1)
            changes: list[Callable[[], Any]] = [
                lambda: memory.add("another", "u", external_id="k"),
                lambda: memory.update(record.id, content="another"),
                lambda: memory.search("fact", "u"),
                lambda: memory.search("fact", "u", mode="vector"),
            ]
            for change in changes:
                with pytest.raises(ConfigurationError, match="test-words-16") as caught:
                    change()
                assert caught.value.written == "nothing"
                assert "new client" in caught.value.remedy
        assert memory.update(record.id, tags=["x"]).tags == ["x"]
        assert [each.content for each in memory.list("u").items] == ["a fact"]
        with open_store(url, embedder="test:16") as anew:
            assert anew.add("another", "u", external_id="k").version == 1
            assert anew.search("fact", "u", mode="vector")[0].score > 0.5
    twin.client.close()


# --- a full disk ------------------------------------------------------------------------------------------------


def test_edge_asks_for_room_before_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("qdrant+edge", tmp_path / "store") as memory:
        memory.add("a fact", "u")
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=60 << 20))
        changes: list[Callable[[], Any]] = [
            lambda: memory.add("another", "u"),
            lambda: memory.add("another", "u", external_id="k"),
            lambda: memory.delete(memory.list("u").items[0].id),
        ]
        for change in changes:
            with pytest.raises(ProviderError, match="full") as caught:
                change()
            assert caught.value.written == "nothing"
            assert "MiB" in caught.value.remedy
        [result] = memory.add_many([{"content": "another", "user_id": "u"}])
        assert result.error is not None
        assert result.error.written == "nothing"
        assert [each.content for each in memory.list("u").items] == ["a fact"]
        assert [hit.memory.content for hit in memory.search("fact", "u")] == ["a fact"]
        assert memory.audit("u")
        monkeypatch.undo()
        assert memory.add("another", "u", external_id="k").version == 1


# --- closing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", FOLDERS)
def test_a_close_that_fails_has_released_everything(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    memory = opened(engine, folder)
    memory.add("a fact", "u")
    memory.list("u")  # leaves an audit entry to be stored
    place = "local.LocalEngine" if engine == "qdrant+local" else "shard.EdgeEngine"

    async def fails(*_: Any) -> None:
        raise ProviderError("the disk is full.")

    monkeypatch.setattr(f"openmem.adapters.qdrant.{place}.write", fails)
    with pytest.raises(OMPError, match="full"):
        memory.close()
    monkeypatch.undo()
    memory.close()
    script = "import sys\nfrom openmem import Memory\nMemory(sys.argv[1], embedder='test:32').list('u')"
    assert python(script, f"{engine}:///{folder}").returncode == 0, "another process can have it"


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_left_open_at_exit_is_closed_quietly(engine: str, tmp_path: Path) -> None:
    script = """
import sys
from openmem import Memory
memory = Memory(sys.argv[1], embedder="test:32")
memory.add("a fact", "u")
"""
    url = f"{engine}:///{tmp_path / 'store'}"
    told = python(script, url)
    assert (told.returncode, told.stderr) == (0, "")
    with open_store(url) as memory:
        assert [each.content for each in memory.list("u").items] == ["a fact"]


@pytest.mark.parametrize("engine", FOLDERS)
def test_cancelled_openings_and_verbs_leave_nothing_taken(engine: str, tmp_path: Path) -> None:
    url = f"{engine}:///{tmp_path / 'store'}"

    async def scenario() -> None:
        for turn in range(25):
            async with AsyncMemory(url, embedder="test:32") as memory:
                verbs = [memory.add("a fact", "u"), memory.search("fact", "u"), memory.list("u")]
                tasks = [asyncio.ensure_future(verb) for verb in verbs]
                for _ in range(turn):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                assert (await memory.add("kept", "v", external_id=str(turn))).version == 1
        async with AsyncMemory(url, embedder="test:32") as memory:
            assert len((await memory.list("v", limit=100)).items) == 25

    asyncio.run(scenario())
    script = "import sys\nfrom openmem import Memory\nMemory(sys.argv[1], embedder='test:32').list('u')"
    assert python(script, url).returncode == 0


# --- forks ------------------------------------------------------------------------------------------------------

FORKING = """
import os, sys, threading
from openmem import ConfigurationError, Memory
memory = Memory(sys.argv[1], embedder="test:32")
memory.add("seed tea", "u")
stop = threading.Event()
def work(number):
    while not stop.is_set():
        memory.add("tea", f"user {number}")
threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
[thread.start() for thread in threads]
refused = 0
for _ in range(4):
    child = os.fork()
    if not child:
        try:
            memory.search("seed tea", "u")
        except ConfigurationError as error:
            os._exit(3 if "another process" in str(error) else 4)
        os._exit(5)
    refused += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
stop.set()
[thread.join() for thread in threads]
assert memory.stats("u").total == 1
memory.close()
print(refused)
"""


@pytest.mark.parametrize("engine", FOLDERS)
def test_a_child_of_fork_is_another_process_also_while_threads_work(engine: str, tmp_path: Path) -> None:
    told = python(FORKING, f"{engine}:///{tmp_path / 'store'}")
    assert told.stdout == "4\n", told.stderr
