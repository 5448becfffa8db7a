"""The models behave as the SDK's page on types says."""

from __future__ import annotations

import json
import pickle
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import openmem
from openmem import Memory, MemoryRecord
from openmem._generated import models
from openmem._generated.verbs import VERBS
from support.clocks import START
from support.scripted import Scripted, record

RESPONSES = [
    *(models.MemoryRecord, models.MemorySource, models.MemoryPage, models.SearchResult, models.ContextBlock),
    *(models.Citation, models.Capabilities, models.CapabilityFeatures, models.CapabilityLimits, models.AuditEntry),
    *(models.BatchResult, models.Stats, models.ScoreKinds, models.EmbeddingInfo, models.ErrorDetail),
]
LEAST: dict[type[BaseModel], dict[str, Any]] = {
    models.MemoryRecord: {"id": "m", "content": "c", "user_id": "u", "created_at": "2026-01-01T00:00:00Z"},
    models.MemoryPage: {"items": []},
    models.SearchResult: {"memory": {"id": "m", "content": "c", "user_id": "u", "created_at": START}, "score": 0.5},
    models.ContextBlock: {"text": "", "citations": []},
    models.Citation: {"memory_id": "m", "score": 1},
    models.Capabilities: {"omp_version": "0.1", "provider": "p", "verbs": [], "features": {}},
    models.Stats: {"user_id": "u", "total": 0, "current": 0},
    models.EmbeddingInfo: {"model": "m", "dimension": 3},
    models.ErrorDetail: {"code": "not_found", "message": "No.", "type": "not_found"},
}
"""What a 0.1 peer may answer: the required fields alone."""

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
EXTENSIONS = st.dictionaries(st.from_regex(r"x-[a-z0-9]{1,8}", fullmatch=True), JSON, max_size=3)


@pytest.mark.parametrize("model", RESPONSES)
def test_fields_of_later_versions_are_kept(model: type[BaseModel]) -> None:
    sent = {**LEAST.get(model, {}), "later": {"deep": [1, None]}, "x-vendor": "mark"}
    read = model.model_validate(sent)
    assert read.model_extra == {"later": {"deep": [1, None]}, "x-vendor": "mark"}
    again = json.loads(read.model_dump_json())
    assert (again["later"], again["x-vendor"]) == ({"deep": [1, None]}, "mark")


@pytest.mark.parametrize("model", RESPONSES)
def test_what_a_0_1_peer_leaves_out_is_none(model: type[BaseModel]) -> None:
    read = model.model_validate(LEAST.get(model, {}))
    absent = {name for name in model.model_fields if name not in LEAST.get(model, {})}
    assert {name for name in absent if getattr(read, name) is not None} == set()


def test_the_fields_of_the_page_with_their_types() -> None:
    sent = {
        **LEAST[models.MemoryRecord],
        "scope": "coding/preferences",
        "tags": ["editor"],
        "source": {"app": "cursor", "type": "explicit", "ref": "session-1"},
        "confidence": 0.9,
        "valid_to": "2027-01-01T00:00:00+02:00",
        "supersedes": ["m0"],
        "status": "queued",
    }
    read = MemoryRecord.model_validate(sent)
    assert read.created_at == START
    assert read.source == openmem.MemorySource(app="cursor", type="explicit", ref="session-1")
    assert read.valid_to == datetime(2026, 12, 31, 22, tzinfo=UTC)
    assert (read.status, read.confidence, read.tags, read.supersedes) == ("queued", 0.9, ["editor"], ["m0"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "lost"},
        {"source": {"type": "guessed"}},
        {"confidence": 1.5},
        {"created_at": "2026-01-01T00:00:00"},
        {"content": None},
    ],
)
def test_what_is_no_memory_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MemoryRecord.model_validate({**LEAST[models.MemoryRecord], **wrong})


@given(EXTENSIONS, st.none() | st.dictionaries(st.text(alphabet="abc.é$ ", min_size=1), JSON, max_size=4))
def test_extensions_and_metadata_round_trip(extensions: dict[str, Any], metadata: dict[str, Any] | None) -> None:
    from openmem import InvalidRequestError

    memory = Memory("memory://", embedder="none")
    try:
        added = memory.add("content", "u", metadata=metadata, **extensions)
    except InvalidRequestError as error:
        assert "U+0000" in str(error)  # the only thing in these texts that no backend keeps
        return
    read = memory.get(added.id)
    # As JSON text, where 1, 1.0 and True differ as they do for the caller.
    kept = {name: value for name, value in extensions.items() if value is not None}
    assert json.dumps(read.model_extra, sort_keys=True) == json.dumps(kept, sort_keys=True)
    assert json.dumps(read.metadata) == json.dumps(metadata)
    again = MemoryRecord.model_validate_json(read.model_dump_json())
    assert again.model_extra == read.model_extra


def test_an_adapters_extension_arrives_whole() -> None:
    graph = {"x-mem0": {"graph": [{"from": "a", "to": "b"}]}}
    memory = Memory(Scripted(get=lambda request: record(request.id, **graph)))
    assert memory.get("mem_abc123").model_extra == graph


@pytest.mark.parametrize("count", [0, 1, 3, 4, 6, 7])
def test_the_pagination_loop_of_the_page(count: int) -> None:
    memory = Memory("memory://", embedder="none")
    ids = [memory.add(f"number {number}", "u1").id for number in range(count)]
    cursor, seen, pages = None, [], 0
    while True:
        page = memory.list(user_id="u1", limit=3, cursor=cursor)
        pages += 1
        seen += [item.id for item in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert seen == ids[::-1]
    assert pages == max(1, -(-count // 3))


def test_what_the_verbs_return() -> None:
    memory = Memory("memory://", embedder="test:16")
    added = memory.add(content="tabs over spaces", user_id="u", source={"app": "cursor"})
    assert isinstance(added, MemoryRecord)
    assert isinstance(memory.get(added.id), MemoryRecord)
    assert isinstance(memory.update(added.id, tags=["style"]), MemoryRecord)
    assert isinstance(memory.list(user_id="u"), openmem.MemoryPage)
    found = memory.search(query="tabs", user_id="u")
    assert [type(result) for result in found] == [openmem.SearchResult]
    block = memory.context(query="tabs", user_id="u", token_budget=400)
    assert isinstance(block, openmem.ContextBlock)
    assert [citation.memory_id for citation in block.citations] == [added.id]
    assert {type(entry) for entry in memory.audit(user_id="u")} == {openmem.AuditEntry}
    assert isinstance(memory.capabilities(), openmem.Capabilities)
    assert memory.delete(added.id) is None


def test_audit_entries_name_what_was_done() -> None:
    memory = Memory("memory://", embedder="none")
    added = memory.add("a", "u", scope="s", source={"app": "chatbot"})
    memory.list("u", scope="s")
    latest, first = memory.audit("u")
    assert (first.action, first.app, first.memory_id, first.scope) == ("add", "chatbot", added.id, "s")
    assert (latest.action, latest.memory_id, latest.scope) == ("list", None, "s")
    assert first.timestamp is not None
    assert first.timestamp.tzinfo is UTC
    assert first.request_id
    assert first.request_id != latest.request_id


def test_moments_are_answered_in_utc() -> None:
    memory = Memory("memory://", embedder="none")
    east = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    added = memory.add("a", "u", valid_to=east)
    assert added.valid_to == east
    assert added.valid_to.utcoffset() == timedelta(0)


def test_capabilities_tell_what_is_supported() -> None:
    told = Memory("memory://", embedder="test:16").capabilities()
    assert (told.omp_version, told.provider) == ("0.2", "memory")
    assert set(told.verbs) == set(VERBS) - {"capabilities", "remember"}
    assert (told.features.vector_search, told.features.keyword_search, told.features.scopes) == (True, True, "native")
    assert told.features.embedding == openmem.EmbeddingInfo(model="test-words-16", dimension=16)
    assert told.limits is not None
    assert told.limits.max_search_results == 100


def test_a_store_without_an_embedder_says_so() -> None:
    features = Memory("memory://", embedder="none").capabilities().features
    assert not (features.vector_search or features.hybrid_search or features.supports_vectors)
    assert features.keyword_search
    assert features.embedding is None


def test_changing_the_capabilities_answered_changes_nothing() -> None:
    memory = Memory("memory://", embedder="none")
    told = memory.capabilities()
    told.verbs.clear()
    told.features.keyword_search = False
    assert "add" in memory.capabilities().verbs
    memory.add("a word", "u")
    assert len(memory.search("word", "u")) == 1


# --- the page, word for word, on both backends --------------------------------------------------------------------


@pytest.fixture(params=["memory://", "sqlite:///{}/t.db"])
def mem(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    with Memory(request.param.format(tmp_path), embedder="test:16") as memory:
        yield memory


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 100, 101])
def test_the_loop_of_the_page_meets_every_memory_once(mem: Memory, count: int) -> None:
    added = mem.add_many([{"content": f"number {number}"} for number in range(count)], user_id="u1") if count else []
    seen: list[MemoryRecord] = []
    process = seen.append
    cursor = None
    while True:
        page = mem.list(user_id="u1", limit=50, cursor=cursor)
        for m in page.items:
            process(m)
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert sorted(m.id for m in seen) == sorted(result.id for result in added if result.id)


EVERYTHING: dict[str, Any] = {
    "x-mem0": {"graph": [{"from": "a", "to": None}], "deep": [[1, 1.0, True, "1", "é🚀"]]},
    "x-flag": False,
    "x-n": 2**53 + 1,
    "x-A.b c": "",
}


def test_extension_fields_round_trip(mem: Memory) -> None:
    added = mem.add("tabs", "u", metadata={"k": [None, {"é": 0.1}]}, source={"app": "a", "own": [1]}, **EVERYTHING)
    extra = added.model_extra
    assert extra is not None
    assert extra.get("x-mem0") == EVERYTHING["x-mem0"]
    listed, found = mem.list("u").items[0], mem.search("tabs", "u")[0].memory
    for read in (added, mem.get(added.id), listed, found, mem.history(added.id)[0]):
        assert json.dumps(read.model_extra, sort_keys=True) == json.dumps(EVERYTHING, sort_keys=True)
        assert json.dumps(read.metadata) == json.dumps({"k": [None, {"é": 0.1}]})
        assert read.source is not None
        assert read.source.model_extra == {"own": [1]}


@given(EXTENSIONS.filter(lambda fields: "\\u0000" not in json.dumps(fields)))
def test_any_extension_round_trips_through_a_file(extensions: dict[str, Any]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Memory(f"sqlite:///{folder}/t.db?synchronous=normal", embedder="none") as memory,
    ):
        added = memory.add("content", "u", **extensions)
        kept = {name: value for name, value in extensions.items() if value is not None}
        assert json.dumps(memory.get(added.id).model_extra, sort_keys=True) == json.dumps(kept, sort_keys=True)


def test_extensions_are_merged_and_cleared_by_an_update(mem: Memory) -> None:
    added = mem.add("tabs", "u", **EVERYTHING)
    changed = mem.update(added.id, **{"x-flag": None, "x-mem0": {"deep": None, "more": 1}, "x-new": [1]})
    assert changed.model_extra == mem.get(added.id).model_extra
    assert changed.model_extra == {
        **{name: EVERYTHING[name] for name in ("x-n", "x-A.b c")},
        "x-mem0": {"graph": EVERYTHING["x-mem0"]["graph"], "more": 1},
        "x-new": [1],
    }


def test_the_least_memory_has_none_for_all_it_does_not_say(mem: Memory) -> None:
    read = mem.get(mem.add("tabs", "u").id)
    said = {"id", "content", "user_id", "created_at", "updated_at", "status", "version", "embedding_model"}
    assert {name for name, value in read if value is not None} == said
    assert (read.status, read.version, read.updated_at) == ("done", 1, read.created_at)
    assert read.embedding_model == "test-words-16"


def test_every_answer_survives_serialisation(mem: Memory) -> None:
    first = mem.add("tabs over spaces", "u", tags=["a"], scope="a/b", source={"app": "a"}, **EVERYTHING)
    mem.add("spaces over tabs", "u", supersedes=[first.id], valid_to=datetime(2999, 1, 1, tzinfo=UTC))
    answers: list[BaseModel] = [
        *(mem.get(first.id), mem.list("u", limit=1), mem.context("tabs", "u"), mem.capabilities(), mem.stats("u")),
        *(*mem.search("tabs", "u"), *mem.audit("u"), *mem.history(first.id), *mem.related(first.id)),
        *mem.add_many([{"content": "c"}, {"content": ""}], user_id="u"),
    ]
    assert len({type(answer) for answer in answers}) == 8
    for answer in answers:
        model = type(answer)
        assert model.model_validate_json(answer.model_dump_json()) == answer
        assert model.model_validate(answer.model_dump(mode="json")) == answer
        assert model.model_validate(answer.model_dump()) == answer
        assert json.loads(answer.model_dump_json(exclude_none=True)) == answer.model_dump(
            mode="json", exclude_none=True
        )
        assert pickle.loads(pickle.dumps(answer)) == answer
        copied = answer.model_copy(deep=True)
        assert copied == answer
        assert copied is not answer


def test_a_moment_is_written_as_iso_8601_in_utc(mem: Memory) -> None:
    written = json.loads(mem.add("tabs", "u", valid_to="2030-01-01T05:30:00.000001+05:30").model_dump_json())
    assert written["valid_to"] == "2030-01-01T00:00:00.000001Z"


def test_the_usage_in_a_prompt(mem: Memory) -> None:
    added = mem.add("Set up a Node project with pnpm", "u1")
    ctx = mem.context(query="set up a new Node project", user_id="u1", token_budget=400)
    message = {"role": "system", "content": f"Relevant user memory:\n{ctx.text}"}
    assert message["content"] == f"Relevant user memory:\n- Set up a Node project with pnpm [{added.id}]"
    assert ctx.token_count is not None
    assert 0 < ctx.token_count <= 400
    assert 0 <= ctx.citations[0].score <= 1


@pytest.mark.parametrize("model", RESPONSES)
def test_a_model_states_its_json_schema(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()
    assert schema["additionalProperties"] is True
    assert set(schema["properties"]) == set(model.model_fields)
    assert all(field.description for field in model.model_fields.values())
