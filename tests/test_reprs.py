"""Whatever an object holds, its repr is one short line, and tells no secret."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import openmem
from openmem import Memory, MemoryRecord, config, types
from openmem._generated import models
from openmem.adapter import Settings
from openmem.embedding import gated
from openmem.embedding.local import LocalEmbedder
from openmem.embedding.testing import WordEmbedder
from openmem.model import LONGEST, Model
from support.clocks import START

MODELS = [
    each for each in vars(models).values() if isinstance(each, type) and issubclass(each, Model) and each is not Model
]
SECRET = "Zq7-private"
ID, TEXT = "mem_18eba9fa5ed44fa23ef1e760ba", "Prefers dark mode"
RECORD = MemoryRecord(id=ID, content=TEXT, user_id="alice", created_at=START)


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


VALUES = st.recursive(
    st.none()
    | st.text(st.characters())
    | st.text(min_size=50).map(lambda text: "\n\u2028\x1b" + text)
    | st.floats()
    | st.integers()
    | st.datetimes(timezones=st.just(UTC))
    | st.builds(Broken)
    | st.just(RECORD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def check(value: object) -> str:
    """Assert that a repr is one short line, and return it."""
    text = repr(value)
    assert text.isprintable()
    assert len(text) <= LONGEST
    return text


def test_every_public_model_is_among_them() -> None:
    public = [getattr(types, name) for name in types.__all__]
    assert len(MODELS) > 35
    assert set(public) <= set(MODELS)
    assert issubclass(Settings, Model)


@pytest.mark.parametrize("model", MODELS)
@given(st.data())
def test_any_model_with_anything_in_it_is_one_short_line(model: type[Model], data: st.DataObject) -> None:
    fields = data.draw(st.dictionaries(st.sampled_from([*model.model_fields, "x-own"]) | st.text(), VALUES))
    made = model.model_construct(**{name: value for name, value in fields.items() if name != "_fields_set"})
    assert check(made).startswith(f"{model.__name__}(")
    assert str(made) == f"{made}" == repr(made)


def test_a_record_shows_what_it_is_known_by() -> None:
    assert check(RECORD) == f"MemoryRecord(id='{ID}', content='{TEXT}', user_id='alice', …)"
    least = RECORD.model_copy(update={"id": "m1"})
    assert repr(least) == (
        f"MemoryRecord(id='m1', content='{TEXT}', user_id='alice', created_at=2026-01-01T00:00:00+00:00)"
    )


def test_a_long_text_is_shortened_and_what_has_no_room_is_not_hidden() -> None:
    long = RECORD.model_copy(update={"content": "Line one\nline two, " * 40, "metadata": {"a": 1, "b": 2}})
    assert check(long) == f"MemoryRecord(id='{ID}', content='Line one\\nline two, Line one\\nline two,…', …)"


def test_lists_objects_and_vectors_are_counted() -> None:
    add = models.AddRequest(content="x", user_id="u", tags=["a"], vector=[0.125] * 384, metadata={"a": 1, "b": 2})
    assert repr(add) == "AddRequest(content='x', user_id='u', tags=1 item, metadata=2 keys, vector=384 items)"


def test_a_result_shows_score_and_memory() -> None:
    shown = check(models.SearchResult(memory=RECORD, score=0.123456789))
    assert shown.startswith(f"SearchResult(score=0.1235, memory=MemoryRecord(id='{ID}', content='Prefers")


def test_capabilities_show_their_provider_and_how_many_verbs() -> None:
    shown = check(Memory("memory://", embedder="none").capabilities())
    assert shown.startswith("Capabilities(omp_version='0.2', provider='memory', verbs=19 items")


def test_a_model_that_holds_itself_is_shown() -> None:
    page = models.MemoryPage.model_construct(items=[], next_cursor=None)
    page.model_extra["x-itself"] = page  # type: ignore[index]
    check(page)


def test_fields_that_are_not_for_show_stay_hidden() -> None:
    made = config.resolve(
        "memory://", embedder="openai:m", embedder_url=f"http://u:{SECRET}@h/v1", embedder_dimension=3
    )
    assert SECRET not in check(made.options)
    assert SECRET not in check(made)


URLS = {
    "memory://": "MemoryAdapter(audit_limit=10000)",
    "sqlite:///{}/a.db": "SqliteAdapter(path=",
    f"postgres://al:{SECRET}@localhost/d": "PostgresAdapter(user='al', password=SecretStr('**********'), ",
    f"qdrant://:{SECRET}@localhost": "QdrantAdapter(host='localhost', ",
    f"mem0://?llm_url=http://localhost/v1&llm_model=m&llm_api_key={SECRET}": "Mem0Adapter(",
}


@pytest.mark.parametrize("url", URLS)
def test_an_adapter_shows_its_settings_but_no_secret(url: str, tmp_path: Any) -> None:
    chosen = config.resolve(url.format(tmp_path), embedder="none")
    shown = check(chosen.adapter(chosen.settings))
    assert shown.startswith(URLS[url])
    assert SECRET not in shown + check(chosen.settings) + check(chosen)


def test_an_adapter_that_is_not_made_yet_has_a_repr() -> None:
    kind = config.resolve("memory://").adapter
    assert repr(kind.__new__(kind)) == "MemoryAdapter()"


def test_embedders_show_model_and_dimension() -> None:
    words = WordEmbedder(dimension=16)
    assert check(words) == "WordEmbedder(dimension=16)"
    assert check(gated(words)) == "Gated('test-words-16', dimension=16)"
    assert check(LocalEmbedder()) == "LocalEmbedder('wordllama-256', dimension=256)"


def test_clients_and_errors_are_one_line() -> None:
    memory = Memory("sqlite:///a.db", embedder="none")
    assert check(memory) == "Memory('sqlite:///a.db')"
    assert check(memory.for_user("alice")) == "Memory('sqlite:///a.db').for_user('alice')"
    assert check(openmem.NotFoundError("no\nmemory.")) == r"NotFoundError('no\nmemory.')"


def test_a_moment_and_a_flag_are_shown_plainly() -> None:
    entry = models.AuditEntry(timestamp=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), action="get")
    assert repr(entry) == "AuditEntry(timestamp=2026-01-02T03:04:05+00:00, action='get')"
    assert repr(models.UpdateRequest(id="m", pinned=True)) == "UpdateRequest(id='m', pinned=True)"
    assert isinstance(entry, BaseModel)


def test_a_run_of_the_suite_and_its_parts_are_one_line() -> None:
    from openmem.conformance import Check, Report, Result
    from openmem.conformance.header import Header

    async def run(harness: object) -> None: ...

    assert check(Check("OWN-1.a", "OWN-1", "a title", (), run)) == "Check('OWN-1.a')"
    result = Result("OWN-1.a", "OWN-1", "sync", "pass", "", 0.1)
    assert check(result) == "Result('OWN-1.a', 'sync', 'pass')"
    report = Report("memory://", Header(1), planned=2, results=[result])
    assert check(report) == "Report('memory://', 1 of 2 results, complete=False)"


def test_a_collection_that_cannot_be_counted_is_shown_by_its_type() -> None:
    class Uncounted(dict[str, Any]):
        def __len__(self) -> int:
            raise ValueError("no length")

    record = MemoryRecord.model_construct(id="m", content="x", user_id="u", metadata=Uncounted())
    assert "metadata=<Uncounted>" in repr(record)
