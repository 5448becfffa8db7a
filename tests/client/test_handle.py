"""The waist of a client: a request model in, its response model out."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import BaseModel

from openmem import AsyncMemory, ClosedError, InvalidRequestError, Memory, NotFoundError, Principal, current_call
from openmem._generated.verbs import VERBS
from openmem.types import (
    AddManyRequest,
    AddRequest,
    CapabilitiesRequest,
    DeleteRequest,
    GetRequest,
    ListRequest,
    SearchRequest,
    SearchResponse,
    UpdateRequest,
)
from support.processes import run
from support.scripted import Remote, Scripted, record


@pytest.fixture
def memory() -> Any:
    with Memory("memory://", embedder="test:16") as client:
        yield client


def test_every_verb_is_answered_with_its_response_model(memory: Memory) -> None:
    mine = memory.add("green tea", "u")
    fields: dict[str, dict[str, Any]] = {
        "add": {"content": "x", "user_id": "u"},
        "add_many": {"items": [{"content": "x", "user_id": "u"}]},
        "delete": {"id": memory.add("y", "u").id},
        "get_many": {"ids": ["none"]},
        "update_many": {"items": [{"id": "none"}]},
        "delete_many": {"ids": ["none"]},
        "search": {"query": "tea", "user_id": "u"},
        "context": {"query": "tea", "user_id": "u"},
        "update": {"id": mine.id, "kind": "fact"},
        **{verb: {"id": mine.id} for verb in ("get", "related", "history")},
        **{verb: {"user_id": "u"} for verb in ("list", "audit", "stats", "scopes")},
        **{verb: {} for verb in ("capabilities", "users", "health")},
        "erase": {"user_id": "u", "tag": "t"},
    }
    for name in memory.capabilities().verbs:
        verb = VERBS[name]
        answer = memory.handle(verb.request.model_validate(fields[name]))
        assert type(answer) is (verb.response or type(None)), name


def test_it_answers_as_the_verb_does(memory: Memory) -> None:
    record = memory.handle(AddRequest(content="green tea", user_id="u", metadata={"a": 1}))
    assert memory.get(record.id) == record
    answer = memory.handle(SearchRequest(query="tea", user_id="u"))
    assert isinstance(answer, SearchResponse)
    assert answer.results == memory.search("tea", "u")
    cleared = memory.handle(UpdateRequest(id=record.id, metadata=None))
    assert (cleared.metadata, cleared.content) == (None, "green tea")
    memory.handle(DeleteRequest(id=record.id))
    with pytest.raises(NotFoundError):
        memory.handle(GetRequest(id=record.id))


def test_a_request_is_left_as_it_is(memory: Memory) -> None:
    requests: list[BaseModel] = [
        AddRequest(content="x", user_id="u"),
        SearchRequest(query="x", user_id="u", filter={"kind": "fact"}),
        AddManyRequest(items=[{"content": "x", "user_id": "u"}]),
        ListRequest(user_id="u", filter={"kind": "fact"}),
    ]
    for request in requests:
        before = request.model_copy(deep=True)
        memory.handle(request)
        memory.handle(request)
        assert (request, request.model_fields_set) == (before, before.model_fields_set)


def test_what_was_changed_since_it_was_made_is_held_to_the_protocol(memory: Memory) -> None:
    for request, wrong in [
        (AddRequest(content="x", user_id="u"), {"user_id": None}),
        (AddRequest(content="x", user_id="u"), {"user_id": " "}),
        (ListRequest(user_id="u"), {"limit": 10**6}),
        (SearchRequest(query="x", user_id="u"), {"query": None}),
    ]:
        for name, value in wrong.items():
            setattr(request, name, value)
        with pytest.raises(InvalidRequestError):
            memory.handle(request)
    with pytest.raises(InvalidRequestError):
        memory.handle(GetRequest.model_construct(id=7))


@pytest.mark.parametrize("request_", [None, {"id": "a"}, "get", record(), GetRequest])
def test_what_is_no_request_is_refused(memory: Memory, request_: Any) -> None:
    with pytest.raises(InvalidRequestError, match="is no request") as caught:
        memory.handle(request_)
    assert caught.value.remedy and caught.value.request_id and caught.value.provider == "memory"


def test_the_callers_request_id_and_principal_are_those_of_the_call(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "openmem")
    seen: list[Any] = []

    def get(request: GetRequest) -> Any:
        seen.append(current_call())
        if request.id == "gone":
            raise NotFoundError("gone.")
        return record(request.id)

    for adapter in (Scripted(get=get), Remote(get=get)):
        alice = Principal("alice", frozenset({"read:a"}))
        with Memory(adapter) as memory:
            memory.handle(GetRequest(id="a"), request_id="from-afar", principal=alice)
            assert (seen[-1].request_id, seen[-1].principal, seen[-1].verb) == ("from-afar", alice, "get")
            assert "from-afar" in caplog.messages[-1]
            with pytest.raises(NotFoundError) as caught:
                memory.handle(GetRequest(id="gone"), request_id="from-afar", principal=alice)
            assert caught.value.request_id == "from-afar"
            memory.get("a")
            assert seen[-1].principal is None and seen[-1].request_id != "from-afar"
    assert current_call() is None


@pytest.mark.parametrize("wrong", ["", " ", "a b", "é", "a\nb", "x" * 129, 7, b"x"])
def test_a_request_id_that_logs_should_not_hold_is_refused(memory: Memory, wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match="request_id") as caught:
        memory.handle(CapabilitiesRequest(), request_id=wrong)
    assert caught.value.request_id != wrong
    with pytest.raises(InvalidRequestError, match="principal is str"):
        memory.handle(CapabilitiesRequest(), principal="alice")  # type: ignore[arg-type]


def test_both_colours_have_it() -> None:
    async def main() -> None:
        async with AsyncMemory("memory://", embedder="none") as memory:
            made = await memory.handle(AddRequest(content="x", user_id="u"), request_id="r")
            assert await memory.handle(GetRequest(id=made.id, user_id="u")) == made
        with pytest.raises(ClosedError):
            await memory.handle(GetRequest(id=made.id))

    run(main)
