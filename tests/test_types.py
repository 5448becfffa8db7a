"""The models behave as the SDK's page on types says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from conftest import START, Scripted, record
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import openmem
from openmem import Memory, MemoryRecord
from openmem._generated import models
from openmem._generated.verbs import VERBS

RESPONSES = [
    *(models.Memory, models.MemorySource, models.MemoryPage, models.SearchResult, models.ContextBlock),
    *(models.Citation, models.Capabilities, models.CapabilityFeatures, models.CapabilityLimits, models.AuditEntry),
    *(models.BatchResult, models.Stats, models.ScoreKinds, models.EmbeddingInfo, models.ErrorDetail),
]
LEAST: dict[type[BaseModel], dict[str, Any]] = {
    models.Memory: {"id": "m", "content": "c", "user_id": "u", "created_at": "2026-01-01T00:00:00Z"},
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
        **LEAST[models.Memory],
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
        MemoryRecord.model_validate({**LEAST[models.Memory], **wrong})


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
