"""mem0:// in process: the suite, records that plain mem0 wrote or reads, extraction, and nothing on the network."""

from __future__ import annotations

import asyncio
import json
import os
import re
import string
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem import (
    AsyncMemory,
    ConfigurationError,
    Memory,
    NotFoundError,
    ProviderError,
    UnsupportedCapabilityError,
)
from openmem.adapters.mem0.envelope import Stored, memory_of, metadata_of
from openmem.adapters.mem0.library import FOLDERS
from openmem.conformance import run
from openmem.types import MemoryRecord
from support.llm_server import Endpoint, serving
from support.mem0_forks import FORKED_AT_WORK
from support.plain_mem0 import PlainMem0
from support.processes import finished, python
from support.stores import everything, open_store, refused

ALL_GOOD = {"pass", "verified-unsupported"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"mem0:///{tmp_path}/mem0"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as served:
        yield served


# --- the suite --------------------------------------------------------------------------------------------------


def test_mem0_conforms(url: str) -> None:
    report = asyncio.run(run(url))
    assert report.exit_code == 0, report.summary()
    assert report.level == "standard"
    assert {name for name, count in report.counts.items() if count} <= ALL_GOOD


def test_mem0_over_pgvector_conforms(tmp_path: Path, postgres_url: str) -> None:
    store = {"provider": "pgvector", "config": {"connection_string": postgres_url}}
    report = asyncio.run(run(f"mem0:///{tmp_path}/mem0", options={"config": {"vector_store": store}}))
    assert report.exit_code == 0, report.summary()
    assert {name for name, count in report.counts.items() if count} <= ALL_GOOD


def test_what_mem0_cannot_do_is_declared(url: str) -> None:
    with open_store(url) as memory:
        features = memory.capabilities().features
        assert (features.keyword_search, features.hybrid_search, features.supports_audit) == (False, False, False)
        with pytest.raises(UnsupportedCapabilityError):
            memory.search("x", "u", mode="keyword")
        with pytest.raises(UnsupportedCapabilityError, match="llm_url"):
            memory.remember([{"role": "user", "content": "I moved to Oslo."}], "u")


def test_an_embedder_is_needed(url: str) -> None:
    assert "embedder" in str(refused(url, embedder="none"))


# --- nothing is looked up ---------------------------------------------------------------------------------------

OFFLINE = """
import json, os, socket, sys
looked_up = []
def refuse(*arguments, **_):
    looked_up.append(str(arguments[:2]))
    raise OSError("no network")
socket.getaddrinfo = socket.socket.connect = socket.create_connection = refuse
from openmem import Memory
with Memory(sys.argv[1], embedder="test") as memory:
    ids = [memory.add(f"fact {n}", "u").id for n in range(3)]
    memory.search("fact", "u")
    memory.update(ids[0], content="changed")
    memory.delete(ids[1])
    left = len(memory.list("u").items)
import threading
threads = [thread.name for thread in threading.enumerate() if not thread.daemon]
print(json.dumps([looked_up, left, threads, os.environ["MEM0_TELEMETRY"]]))
"""


def test_nothing_is_looked_up_on_the_network(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MEM0_")}
    told = finished(OFFLINE, f"mem0:///{tmp_path}/mem0", env={**environment, "HOME": str(home)})
    assert json.loads(told) == [[], 2, ["MainThread"], "False"]
    assert list(home.iterdir()) == [], "mem0 wrote into the home of its user"


def test_without_a_path_the_store_is_where_mem0_keeps_its_own(tmp_path: Path) -> None:
    code = "from openmem import Memory\nwith Memory('mem0://', embedder='test') as m: m.add('a fact', 'u')"
    finished(code, env={**os.environ, "MEM0_DIR": str(tmp_path / "dir")})
    assert {each.name for each in (tmp_path / "dir").iterdir()} >= {"qdrant", "history.db"}


# --- records of plain mem0 --------------------------------------------------------------------------------------


def test_records_of_plain_mem0_are_memories(tmp_path: Path, url: str) -> None:
    with open_store(url) as memory:
        memory.list("ann")
    with PlainMem0(tmp_path) as mem0:
        made = mem0.add(
            "Ann likes tea", user_id="ann", agent_id="bot", infer=False,
            metadata={"topic": "drinks", "deep": {"a": [1, None]}}, expiration_date="2999-01-31",
        )["results"][0]  # fmt: skip
        mem0.add("Bob likes coffee", user_id="bob", infer=False)
    with open_store(url) as memory:
        found = memory.get(made["id"], user_id="ann")
        assert (found.content, found.user_id, found.version) == ("Ann likes tea", "ann", 1)
        assert found.metadata == {"topic": "drinks", "deep": {"a": [1, None]}}
        assert found.valid_to == datetime(2999, 2, 1, tzinfo=UTC)
        assert (found.model_extra or {})["x-mem0"] == {"agent_id": "bot", "expiration_date": "2999-01-31"}
        assert [hit.memory.id for hit in memory.search("tea", "ann")] == [found.id]
        assert memory.list("ann", filter={"metadata.topic": "drinks"}).items == [found]
        with pytest.raises(NotFoundError):
            memory.get(found.id, user_id="bob")
        changed = memory.update(found.id, user_id="ann", scope="a/b", metadata={"topic": None, "new": 1.5})
        assert changed.metadata == {"deep": {"a": [1, None]}, "new": 1.5}
        assert memory.get(found.id) == changed
    with PlainMem0(tmp_path) as mem0:
        kept = mem0.get(made["id"])
        assert (kept["memory"], kept["agent_id"], kept["expiration_date"]) == ("Ann likes tea", "bot", "2999-01-31")
        assert kept["metadata"]["new"] == 1.5
        assert kept["metadata"].get("topic") is None


def test_plain_mem0_reads_and_changes_ours(tmp_path: Path, url: str) -> None:
    with open_store(url) as memory:
        record = memory.add("Ann likes tea", "ann", scope="food", metadata={"topic": "drinks", "deep": {"a": 1}})
        changed = memory.update(record.id, content="Ann likes green tea")
        gone = memory.add("Ann is six", "ann")
        memory.delete(gone.id)
    with PlainMem0(tmp_path) as mem0:
        (seen,) = mem0.get_all(filters={"user_id": "ann"})["results"]
        assert (seen["id"], seen["memory"]) == (record.id, "Ann likes green tea")
        assert seen["metadata"]["topic"] == "drinks"
        assert [event["event"] for event in mem0.history(record.id)] == ["ADD", "UPDATE"]
        assert [event["event"] for event in mem0.history(gone.id)] == ["ADD", "DELETE"]
        assert [hit["id"] for hit in mem0.get_all(filters={"user_id": "ann", "topic": "drinks"})["results"]] == [
            record.id
        ]
        mem0.update(record.id, text="Ann likes coffee", metadata={"topic": "coffee"})
    with open_store(url) as memory:
        found = memory.get(record.id, user_id="ann")
        assert (found.content, found.scope, found.version) == ("Ann likes coffee", "food", 2)
        assert found.metadata == {"topic": "coffee", "deep": {"a": 1}}
        assert found.updated_at is not None and changed.updated_at is not None
        assert found.updated_at > changed.updated_at


@pytest.mark.parametrize("user", ["*", "a b", "50%", "50%25", " x ", "ann\n", "%2A", "Ünï"])
def test_no_name_of_a_user_selects_another(url: str, user: str) -> None:
    with open_store(url) as memory:
        others = ["ann", "bob", "50%2525"]
        for each in others:
            memory.add(f"a fact of {each}", each, external_id="*")
        mine = memory.add("my own fact", user, external_id="*")
        assert memory.list(user).items == [mine]
        assert [hit.memory for hit in memory.search("fact", user)] == [mine]
        assert memory.add("my fact, changed", user, external_id="*").id == mine.id
        for each in others:
            assert [hit.memory.content for hit in memory.search("fact", each)] == [f"a fact of {each}"]


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text
trees = st.recursive(scalars, lambda part: st.lists(part, max_size=3) | st.dictionaries(text, part, max_size=3))
keys = text | st.sampled_from(["data", "hash", "user_id", "openmem", "created_at", "role", "id", "metadata"])


@given(
    st.dictionaries(keys, trees, max_size=4) | st.none(),
    st.dictionaries(text.map("x-".__add__).filter(lambda key: len(key) > 2), trees, max_size=2),
    text,
)
def test_the_envelope_brings_back_what_it_was_given(
    metadata: dict[str, Any] | None, extensions: dict[str, Any], external_id: str
) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    memory = MemoryRecord.model_validate(
        {
            "id": "i", "content": "text", "user_id": "u", "created_at": moment, "updated_at": moment, "version": 3,
            "status": "done", "tags": ["a"], "metadata": metadata, "external_id": external_id or None, **extensions,
        }
    )  # fmt: skip
    kept = json.loads(json.dumps(metadata_of(memory)))
    assert memory_of(Stored("i", "text", "u", None, None, kept, {})) == memory


def test_the_calls_of_the_manual_work_side_by_side(tmp_path: Path, url: str, endpoint: Endpoint) -> None:
    manual = (Path(__file__).parents[3] / "docs" / "mem0.md").read_text()
    blocks = re.findall(r"```python (mem0|openmem)\n(.*?)```", manual, re.DOTALL)
    theirs, ours = ["".join(code for side, code in blocks if side == name) for name in ("mem0", "openmem")]
    endpoint.facts("Drinks tea in the morning")
    llm = {"provider": "vllm", "config": {"model": "m", "vllm_base_url": endpoint.url}}
    names: dict[str, Any] = {"messages": TALK, "config": {"llm": llm}}
    memory = Memory(url, embedder="test:32", config={"llm": llm})
    mine = names | {"Memory": lambda *_, **__: memory}
    exec(ours, mine)
    assert (mine["one"], mine["drinks"][0].memory) == (mine["made"], mine["made"])
    assert [each.content for each in mine["facts"]] == ["Drinks tea in the morning"]
    assert [each.content for each in mine["past"]] == ["Likes coffee", "Likes water"]
    assert everything(memory, "alice") == []
    memory.close()
    with PlainMem0(tmp_path, {"llm": llm}) as mem0:
        other = names | {"Memory": type("Memory", (), {"from_config": lambda config: mem0})}
        exec(theirs, other)
        assert (other["one"]["id"], other["drinks"][0]["id"]) == (other["made"]["id"], other["made"]["id"])
        assert [fact["memory"] for fact in other["facts"]] == ["Drinks tea in the morning"]
        assert mem0.get_all(filters={"user_id": "alice"})["results"] == []


# --- size and concurrency ---------------------------------------------------------------------------------------


def test_two_thousand_in_two_thousand_out(url: str) -> None:
    letters = string.ascii_letters + "äß漢字🙂 \t\n\"\\'"
    texts = [f"{n} {letters[n % 50 :]}{letters[: n % 50]}" for n in range(2000)]
    with open_store(url) as memory:
        for start in range(0, 2000, 1000):
            items = [{"content": each, "user_id": "u"} for each in texts[start : start + 1000]]
            assert not [result for result in memory.add_many(items) if result.error]
        found = everything(memory, "u")
        assert len({each.id for each in found}) == 2000
        assert sorted(each.content for each in found) == sorted(texts)


def test_fifty_concurrent_adds_and_searches(url: str) -> None:
    async def main() -> None:
        async with AsyncMemory(url, embedder="test:32") as memory:
            adds = [memory.add(f"fact {n}", f"user {n % 5}", external_id=f"k{n % 25}") for n in range(50)]
            finds = [memory.search("fact", f"user {n % 5}") for n in range(50)]
            await asyncio.gather(*adds, *finds)
            left = [(await memory.list(f"user {n}", limit=100)).items for n in range(5)]
            assert sorted({each.external_id or "" for items in left for each in items}) == sorted(
                {f"k{n}" for n in range(25)}
            )
            assert sum(map(len, left)) == 25

    asyncio.run(main())


def test_clients_of_one_folder_share_it_and_close_it(tmp_path: Path, url: str) -> None:
    with open_store(url) as one, open_store(url) as other:
        record = one.add("shared", "u")
        assert other.list("u").items == [record]
        other.close()
        assert one.list("u").items == [record]
    with PlainMem0(tmp_path) as mem0:
        assert len(mem0.get_all(filters={"user_id": "u"})["results"]) == 1


# --- configuration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [False, True])
def test_what_is_made_is_for_its_owner_alone(tmp_path: Path, url: str, there: bool) -> None:
    folder = tmp_path / "mem0"
    if there:
        folder.mkdir(0o755)
    with open_store(url) as memory:
        memory.add("a secret", "u")
    exposed = [each for each in folder.iterdir() if each.stat().st_mode & 0o077]
    assert exposed == []
    assert (folder.stat().st_mode & 0o777) == (0o755 if there else 0o700)
    with open_store(f"mem0:///{tmp_path}/open", private=False) as memory:
        memory.add("no secret", "u")
    assert (tmp_path / "open" / "history.db").stat().st_mode & 0o044


def test_a_folder_of_another_engine_is_refused(tmp_path: Path, url: str) -> None:
    with open_store(url) as memory:
        memory.add("a fact", "u")
    for other in ("qdrant+local", "qdrant+edge"):
        assert "mem0" in str(refused(f"{other}:///{tmp_path}/mem0"))
        with open_store(f"{other}:///{tmp_path}/{other}") as memory:
            memory.add("a fact", "u")
        assert other in str(refused(f"mem0:///{tmp_path}/{other}"))


def test_a_close_that_fails_leaves_nothing_open(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = open_store(url)
    memory.add("a fact", "u")
    [folder] = FOLDERS.by_place.values()
    monkeypatch.setattr(
        folder.opened.vector_store.client,
        "close",
        lambda close=folder.opened.vector_store.client.close: (close(), 1 / 0),
    )
    with pytest.raises(ProviderError):
        memory.close()
    opened = [each.resolve() for each in Path("/proc/self/fd").iterdir()]
    assert not [each for each in opened if each.is_relative_to(tmp_path)]
    with PlainMem0(tmp_path) as mem0:
        assert len(mem0.get_all(filters={"user_id": "u"})["results"]) == 1


def test_another_embedding_is_refused(url: str) -> None:
    with open_store(url) as memory:
        memory.add("fact", "u")
    assert "test-words-32" in str(refused(url, embedder="test:16"))


def test_a_folder_of_another_process_is_refused(url: str) -> None:
    code = "import sys\nfrom openmem import Memory\nMemory(sys.argv[1], embedder='test:32').list('u')"
    with open_store(url) as memory:
        memory.list("u")
        assert "open in another process" in python(code, url).stderr


FORKED = """
import os, sys
from openmem import ConfigurationError, Memory
with Memory(sys.argv[1], embedder="test:32") as memory:
    memory.add("a fact", "u")
    child = os.fork()
    if not child:
        try:
            memory.list("u")
        except ConfigurationError as error:
            os._exit(7 if "another process" in str(error) else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    memory.add("another", "u")
    print(len(memory.list("u").items))
"""


def test_a_forked_child_is_another_process(url: str) -> None:
    assert finished(FORKED, url) == "2\n"


def test_children_forked_while_others_work_are_other_processes(url: str) -> None:
    assert finished(FORKED_AT_WORK, url, "10") == "1\n"


REMEMBERED_BY_A_CHILD = """
import os, sys
from openmem import Memory
memory = Memory(sys.argv[1], embedder="test:32", llm_url=sys.argv[2], llm_model="m")
child = os.fork()
if not child:
    print(len(memory.remember([{"role": "user", "content": "I drink tea."}], "u")), flush=True)
    memory.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_child_keeps_its_embedder(url: str, endpoint: Endpoint) -> None:
    endpoint.facts("User drinks tea")
    assert finished(REMEMBERED_BY_A_CHILD, url, endpoint.url) == "1\n"


def test_a_config_that_mem0_refuses_shows_no_secret(url: str) -> None:
    config = {"vector_store": {"provider": "qdrant", "config": {"api_kee": "sk-secret"}}}
    with open_store(url, config=config) as memory:
        assert "sk-secret" not in repr(memory.adapter.settings)
        with pytest.raises(ConfigurationError, match="config") as caught:
            memory.list("u")
    assert "sk-secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_two_configurations_of_one_folder_are_refused(url: str) -> None:
    with open_store(url) as memory:
        memory.list("u")
        assert "another configuration" in str(refused(url, config={"custom_instructions": "be brief"}))


def test_mem0s_own_embedder_serves(url: str, endpoint: Endpoint) -> None:
    embedder = {
        "provider": "openai",
        "config": {"model": "letters", "openai_base_url": endpoint.url, "api_key": "sk-1", "embedding_dims": 32},
    }
    store = {"provider": "qdrant", "config": {"path": f"{url.removeprefix('mem0:///')}-q", "embedding_model_dims": 32}}
    config = {"embedder": embedder, "vector_store": store}
    with Memory(url, config=config) as memory:
        embedding = memory.capabilities().features.embedding
        assert embedding is not None
        assert (embedding.model, embedding.dimension) == ("openai:letters", 32)
        memory.add_many([{"content": each, "user_id": "u"} for each in ("aaaa", "bbbb", "cccc")])
        assert [hit.memory.content for hit in memory.search("b", "u", limit=1)] == ["bbbb"]
        changed = memory.update(memory.search("b", "u", limit=1)[0].memory.id, content="dddd")
        assert [hit.memory for hit in memory.search("d", "u", limit=1)] == [changed]
    with pytest.raises(ConfigurationError, match="own vectors"):
        Memory(url, config=config, embedder="test")


# --- remember ---------------------------------------------------------------------------------------------------

TALK = [
    {"role": "user", "content": "I moved to Oslo and I drink tea."},
    {"role": "assistant", "content": "Noted."},
]


def test_remember_extracts_facts(url: str, endpoint: Endpoint) -> None:
    endpoint.facts("User moved to Oslo", "User drinks tea")
    options: dict[str, Any] = {"llm_url": endpoint.url, "llm_model": "m", "llm_api_key": "sk-key"}
    with open_store(url, embedder="test", **options) as memory:
        made = memory.remember(TALK, "ann", scope="life", tags=["chat"], metadata={"deep": {"a": [1]}})
        assert [each.content for each in made] == ["User moved to Oslo", "User drinks tea"]
        assert {(each.scope, each.user_id, each.version, *(each.tags or ())) for each in made} == {
            ("life", "ann", 1, "chat")
        }
        assert all(each.metadata == {"deep": {"a": [1]}} for each in made)
        assert {each.id: each for each in memory.list("ann").items} == {each.id: each for each in made}
        assert memory.search("tea", "ann")[0].memory == made[1]
        assert memory.list("bob").items == []
        assert "sk-key" not in repr(memory.adapter.settings)
        assert "I moved to Oslo" in json.dumps(endpoint.asked[0])
        assert endpoint.keys == ["Bearer sk-key"]
        assert memory.remember(TALK, "ann") == [], "mem0 stores what it knows already once"


@pytest.mark.parametrize("answer", ["no JSON", "[]", '{"facts": ["x"]}', ""])
def test_an_answer_without_facts_makes_no_memories(url: str, endpoint: Endpoint, answer: str) -> None:
    endpoint.answer = answer
    with open_store(url, llm_url=endpoint.url, llm_model="m") as memory:
        assert memory.remember(TALK, "ann") == []
        assert memory.list("ann").items == []


@pytest.mark.parametrize("answer", ['{"memory": ["text"]}', 400])
def test_a_model_that_fails_is_an_error(url: str, endpoint: Endpoint, answer: str | int) -> None:
    endpoint.answer = answer
    with open_store(url, llm_url=endpoint.url, llm_model="m", retries=0) as memory:
        with pytest.raises(ProviderError, match="mem0 failed"):
            memory.remember(TALK, "ann")
        assert memory.list("ann").items == []


def test_a_model_is_named_in_full(url: str) -> None:
    with pytest.raises(ConfigurationError, match="llm_model"):
        open_store(url, llm_url="http://127.0.0.1:1/v1")
    with pytest.raises(ConfigurationError, match="one of the two"):
        open_store(url, llm_url="http://127.0.0.1:1/v1", config={"llm": {"provider": "openai"}})
