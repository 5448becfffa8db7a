"""Whatever an adapter answers, nobody is handed another user's memory."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from openmem import InvalidRequestError, Memory, ProviderError, UserMemory
from openmem._generated import models
from openmem._generated.verbs import VERBS
from support.scripted import Remote, Scripted, record

MINE, THEIRS = record("m1"), record("m2", user_id="v")


def _mixing(*memories: models.MemoryRecord) -> Scripted:
    results = [models.SearchResult(memory=memory, score=0.5) for memory in memories]
    return Scripted(
        add=lambda request: memories[-1],
        get=lambda request: memories[-1],
        update=lambda request: memories[-1],
        list=lambda request: models.MemoryPage(items=[*memories]),
        search=lambda request: models.SearchResponse(results=[*results]),
        related=lambda request: models.SearchResponse(results=[*results]),
        history=lambda request: models.HistoryResponse(items=[*memories]),
        stats=lambda request: models.Stats(user_id=memories[-1].user_id, total=1, current=1),
        remember=lambda request: models.RememberResponse(items=[*memories]),
        **dict.fromkeys(
            ("add_many", "get_many", "update_many"),
            lambda request: models.BatchResponse(
                results=[models.BatchResult(id=memory.id, memory=memory) for memory in memories]
            ),
        ),
    )


def test_what_a_search_or_a_list_finds_of_others_is_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(_mixing(MINE, THEIRS))
    assert [each.id for each in memory.list("u").items] == ["m1"]
    assert [hit.memory.id for hit in memory.search("x", "u")] == ["m1"]
    assert [each.id for each in memory.remember([{"role": "user", "content": "x"}], "u")] == ["m1"]
    assert [each.levelno for each in caplog.records] == [logging.ERROR] * 3
    assert not any(secret in caplog.text for secret in (THEIRS.content, THEIRS.id))


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("add", ("x",)),
        ("get", ("m2",)),
        ("update", ("m2",)),
        ("related", ("m1",)),
        ("history", ("m1",)),
        ("stats", ()),
    ],
)
def test_what_a_verb_answers_of_another_user_is_an_error(verb: str, arguments: tuple[str, ...]) -> None:
    bound: Any = Memory(_mixing(MINE, THEIRS)).for_user("u")
    with pytest.raises(ProviderError, match="another memory"):
        getattr(bound, verb)(*arguments, **({"content": "y"} if verb == "update" else {}))


@pytest.mark.parametrize("verb", ["related", "history"])
def test_an_unbound_verb_by_id_answers_with_one_user_only(verb: str) -> None:
    with pytest.raises(ProviderError, match="another memory"):
        getattr(Memory(_mixing(MINE, THEIRS)), verb)("m1")


def test_a_verb_by_id_answers_with_that_id() -> None:
    with pytest.raises(ProviderError, match="another memory"):
        Memory(_mixing(MINE)).get("m7")


def test_an_item_of_a_batch_that_came_to_another_user_fails_alone() -> None:
    first, second = Memory(_mixing(MINE, THEIRS)).add_many([{"content": "x"}, {"content": "y"}], user_id="u")
    assert (first.id, first.error) == ("m1", None)
    assert second.error
    assert (second.id, second.memory, second.error.code) == (None, None, "provider_error")


@pytest.mark.parametrize(
    ("verb", "named"),
    [
        ("get_many", {"ids": ["m1", "m2", "m3"]}),
        ("get_many", {"external_ids": ["k1", "k2", "k3"]}),
        ("update_many", {"items": [{"id": "m1"}, {"id": "m2"}, {"id": "m3"}]}),
        ("update_many", {"items": [{"external_id": "k1"}, {"external_id": "k2"}, {"external_id": "k3"}]}),
    ],
)
def test_an_item_answered_with_another_memory_than_it_names_fails_alone(verb: str, named: dict[str, Any]) -> None:
    mine, other = record("m1", external_id="k1"), record("m7", external_id="k7")
    adapter = _mixing(mine, record("m2", user_id="v", external_id="k2"), other)
    first, *rest = getattr(Memory(adapter).for_user("u"), verb)(**named)
    assert (first.id, first.error) == ("m1", None)
    for result in rest:
        assert (result.id, result.memory) == (None, None)
        assert result.error.code == "provider_error"


def test_an_item_without_a_user_is_that_of_its_batch() -> None:
    with Memory("memory://", embedder="none") as memory:
        mine, theirs = memory.add("x", "u"), memory.add("x", "v")
        items = [models.UpdateRequest(id=each.id, kind="fact") for each in (mine, theirs)]
        first, second = memory.for_user("u").update_many(items)
        assert (first.id, first.error) == (mine.id, None)
        assert second.error
        assert second.error.code == "not_found"


@pytest.mark.parametrize("verb", ["get", "update", "history", "related"])
def test_a_verb_by_key_answers_with_the_memory_of_that_key_and_user(verb: str) -> None:
    fields = {"external_id": "k1", **({"kind": "fact"} if verb == "update" else {})}
    wrong = [record("m1", external_id="k1", user_id="v")]
    if verb != "related":  # whose answer is of other memories
        wrong += [record("m1", external_id="k2"), record("m1")]
    for each in wrong:
        with pytest.raises(ProviderError, match="another memory"):
            getattr(Memory(_mixing(each)).for_user("u"), verb)(**fields)
    assert getattr(Memory(_mixing(record("m1", external_id="k1"))).for_user("u"), verb)(**fields)


NOBODY: list[Any] = [None, 7, 0, True, b"u", ["u"], "", " ", "\t\n", "\u2003", "x" * 257, "a\x00b", "\ud800"]


@pytest.mark.parametrize("user_id", NOBODY, ids=repr)
def test_a_view_is_bound_to_a_user_or_not_made(user_id: Any) -> None:
    with pytest.raises(InvalidRequestError, match="user_id"):
        Memory(Remote()).for_user(user_id)


def test_a_bound_view_cannot_be_unbound() -> None:
    view = Memory("memory://", embedder="none").for_user("u")
    with pytest.raises(AttributeError):
        view.user_id = None  # type: ignore[misc,assignment]
    assert view.user_id == "u"


def test_every_verb_of_a_bound_view_names_its_user() -> None:
    adapter = _mixing(MINE)
    view = Memory(adapter).for_user("u")
    calls: dict[str, Any] = {
        "add": {"content": "x"},
        "get": {"id": "m1"},
        "update": {"id": "m1", "kind": "fact"},
        "list": {},
        "search": {"query": "x"},
        "context": {"query": "x"},
        "related": {"id": "m1"},
        "history": {"id": "m1"},
        "stats": {},
        "scopes": {},
        "remember": {"messages": [{"role": "user", "content": "x"}]},
        "add_many": {"items": [{"content": "x"}]},
        "get_many": {"ids": ["m1"]},
        "update_many": {"items": [{"id": "m1", "kind": "fact"}]},
    }
    for verb, fields in calls.items():
        getattr(view, verb)(**fields)
    users = {getattr(request, "user_id", None) or request.items[0].user_id for request in adapter.reached}
    assert users == {"u"}
    takes_a_user = {verb for verb in VERBS if "user_id" in VERBS[verb].request.model_fields}
    assert takes_a_user - calls.keys() == {
        "delete",
        "delete_many",
        "audit",
        "erase",
    }  # whose requests are shown elsewhere
    assert isinstance(view, UserMemory)


class Turncoat(Scripted):
    """Changes the request it is given to another user, and answers that one's."""

    async def handle(self, request: Any) -> Any:
        answer = await super().handle(request)
        request.user_id = "v"
        return answer


@pytest.mark.parametrize("verb", ["list", "search"])
def test_what_was_asked_for_is_noted_before_the_adapter_has_it(verb: str) -> None:
    memory = Memory(Turncoat(**_mixing(THEIRS).scripts))
    found: Any = memory.list("u").items if verb == "list" else memory.search("x", "u")
    assert found == []


ODD: list[Any] = [None, 7, "text", {"id": "m1", "content": "x", "user_id": "u"}, [MINE], models.MemoryPage(items=[])]


@pytest.mark.parametrize("answer", ODD, ids=repr)
@pytest.mark.parametrize("verb", ["add", "get", "update", "stats", "search", "history"])
def test_an_answer_of_another_kind_is_an_error(verb: str, answer: Any) -> None:
    arguments = {"add": ("x", "u"), "get": ("m1",), "update": ("m1",), "stats": ("u",), "history": ("m1",)}
    memory: Any = Memory(Scripted(**{**_mixing(MINE).scripts, verb: lambda request: answer}))
    with pytest.raises(ProviderError, match="the provider answered"):
        getattr(memory, verb)(*arguments.get(verb, ("x", "u")), **({"kind": "y"} if verb == "update" else {}))


def test_a_history_holds_the_memory_it_is_of() -> None:
    with pytest.raises(ProviderError, match="another memory"):
        Memory(_mixing(MINE)).history("m7")
